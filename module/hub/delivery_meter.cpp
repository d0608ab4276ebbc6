#include "hub/delivery_meter.hpp"

namespace realtime {

void DeliveryMeter::flushed(bool handedOver)
{
    if (idle()) {
        return;
    }
    flushes_.push_back({0, handedOver});
    if (flushes_.size() - timed_ == ChunkFlushes) {
        readClock();
    }
}

void DeliveryMeter::readClock()
{
    const std::uint32_t now = monotonicMicros();
    for (; timed_ < flushes_.size(); timed_++) {
        flushes_[timed_].at = now;
    }
}

std::uint64_t DeliveryMeter::finish()
{
    std::uint64_t waited = 0;
    if (timed_ < flushes_.size()) {
        readClock();
    }
    for (std::size_t i = 0; i < deliveries_.size();) {
        const Delivery& delivery = deliveries_[i];
        const Flush& flush = flushes_[delivery.flush];
        std::uint64_t alike = 1;
        for (i++; i < deliveries_.size(); i++, alike++) {
            const Delivery& next = deliveries_[i];
            const Flush& other = flushes_[next.flush];
            if (next.first != delivery.first || next.count != delivery.count || other.at != flush.at ||
                other.handedOver != flush.handedOver) {
                break;
            }
        }
        if (!flush.handedOver) {
            waited += alike * delivery.count;
            continue;
        }
        for (std::uint32_t event = delivery.first; event < delivery.first + delivery.count; event++) {
            histogram_.add(flush.at - events_[event], alike);
        }
    }
    events_.clear();
    deliveries_.clear();
    flushes_.clear();
    timed_ = 0;
    return waited;
}

} // namespace realtime
