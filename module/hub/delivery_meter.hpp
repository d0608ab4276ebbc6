// How long events take from the log to the sockets of this worker's subscribers: what a turn of the hub has enqueued for
// whom, until it was flushed.
//
// Cost       one reading of the clock for ChunkFlushes flushes, and one histogram entry for each event of each group of
//            subscribers that were flushed in the same chunk and got the same events.
// Precision  a subscriber counts as served when its chunk is.
#pragma once

#include "base/latency.hpp"

#include <array>
#include <cstdint>
#include <vector>

namespace realtime {

class DeliveryMeter {
public:
    // Some microseconds of work between two readings, which cost a system call where the clock is not in the vDSO.
    static constexpr std::size_t ChunkFlushes = 8;

    DeliveryMeter() : histogram_(own_) {}
    // Counts there from now on.
    void measureInto(LatencyHistogram histogram) { histogram_ = histogram; }

    // An event of this turn; returns its place for delivered().
    std::uint32_t event(std::uint32_t appendedUs)
    {
        events_.push_back(appendedUs);
        return static_cast<std::uint32_t>(events_.size() - 1);
    }
    // `count` events from place `first` on go to the subscriber that is flushed as the `flush`-th.
    void delivered(std::size_t flush, std::uint32_t first, std::uint32_t count)
    {
        deliveries_.push_back({static_cast<std::uint32_t>(flush), first, count});
    }
    bool idle() const { return deliveries_.empty(); }
    // The next subscriber was flushed; false: its socket has not taken everything (or it is gone), so that there is
    // nothing to measure yet.
    void flushed(bool handedOver);
    // The turn is over. Returns how many events were not measured.
    std::uint64_t finish();

private:
    struct Delivery {
        std::uint32_t flush, first, count;
    };
    struct Flush {
        std::uint32_t at = 0;
        bool handedOver = false;
    };
    void readClock();

    std::array<std::atomic<std::uint64_t>, LatencyHistogram::Words> own_{};
    LatencyHistogram histogram_;
    std::vector<std::uint32_t> events_; // when each was appended
    std::vector<Delivery> deliveries_;
    std::vector<Flush> flushes_;
    std::size_t timed_ = 0; // of `flushes_`
};

} // namespace realtime
