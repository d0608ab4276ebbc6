#include "nginx/inbound.hpp"

namespace realtime {

namespace {

// Beside what the parser holds: what is kept here, and two places in the worker's sets.
constexpr std::size_t OwnBytes = sizeof(Inbound) + 12 * sizeof(void*);

} // namespace

PartialMessage::PartialMessage(FramedConnection& owner, PartialMessages& all, std::uint32_t number,
                               ngx_msec_t due)
    : owner_(owner), all_(all), due_(due), number_(number)
{
    all_.bySize_.insert(this);
    try {
        all_.byDue_.insert(this);
    } catch (...) {
        all_.bySize_.erase(this);
        throw;
    }
}

PartialMessage::~PartialMessage()
{
    all_.bySize_.erase(this);
    all_.byDue_.erase(this);
    all_.bytes_ -= bytes_;
}

void PartialMessage::holds(std::size_t parserBytes)
{
    const std::size_t bytes = parserBytes + OwnBytes;
    if (bytes == bytes_) {
        return;
    }
    auto place = all_.bySize_.extract(this);
    all_.bytes_ = all_.bytes_ - bytes_ + bytes;
    bytes_ = bytes;
    all_.bySize_.insert(std::move(place));
}

PartialMessage* PartialMessages::late(ngx_msec_t now) const
{
    return byDue_.empty() || before(now, (*byDue_.begin())->due()) ? nullptr : *byDue_.begin();
}

} // namespace realtime
