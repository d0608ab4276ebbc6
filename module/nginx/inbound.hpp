// What is kept of a WebSocket's client only while there is something to keep: half a message, pings. Most clients send
// whole messages and do not ping, so that their connections have one pointer for all of it.
//
// Thread     the event loop.
// Ownership  the connection's; it leaves the lists that it is in with its owner.
#pragma once

#include "nginx/idle_list.hpp"
#include "nginx/rate_limit.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>

namespace realtime {

class FramedConnection;
class PartialMessages;

// A message, frame or header of which the end has not come, and the time that it has for that.
class PartialMessage {
public:
    // `number`: ws::FrameParser::begun(), which tells it from the next one.
    PartialMessage(FramedConnection& owner, PartialMessages& all, std::uint32_t number, ngx_msec_t due);
    ~PartialMessage();
    PartialMessage(const PartialMessage&) = delete;
    PartialMessage& operator=(const PartialMessage&) = delete;

    FramedConnection& owner() const { return owner_; }
    std::uint32_t number() const { return number_; }
    ngx_msec_t due() const { return due_; }
    void holds(std::size_t parserBytes); // ws::FrameParser::heldBytes()

private:
    friend class PartialMessages;
    FramedConnection& owner_;
    PartialMessages& all_;
    ngx_msec_t due_;
    std::size_t bytes_ = 0;
    std::uint32_t number_;
};

// All of a worker's.
class PartialMessages {
public:
    explicit PartialMessages(std::size_t most) : most_(most) {}

    std::size_t count() const { return bySize_.size(); }
    std::size_t bytes() const { return bytes_; }
    // The largest, if all together hold more than they may; else null.
    PartialMessage* excess() const { return bytes_ > most_ ? *bySize_.rbegin() : nullptr; }
    // One whose time is over; else null.
    PartialMessage* late(ngx_msec_t now) const;

private:
    friend class PartialMessage;
    static bool before(ngx_msec_t a, ngx_msec_t b) { return static_cast<ngx_msec_int_t>(a - b) < 0; }
    struct Smaller {
        bool operator()(const PartialMessage* a, const PartialMessage* b) const
        {
            return a->bytes_ != b->bytes_ ? a->bytes_ < b->bytes_ : std::less<>{}(a, b);
        }
    };
    struct Earlier {
        bool operator()(const PartialMessage* a, const PartialMessage* b) const
        {
            return a->due_ != b->due_ ? before(a->due_, b->due_) : std::less<>{}(a, b);
        }
    };

    std::set<PartialMessage*, Smaller> bySize_;
    std::set<PartialMessage*, Earlier> byDue_; // no IdleList: a reload brings them in any order
    std::size_t bytes_ = 0;
    std::size_t most_;
};

// Pings of the last seconds: in Endpoint::pinging, since the last one.
class Pings final : public IdleNode {
public:
    explicit Pings(FramedConnection& owner) : owner_(owner) {}

    FramedConnection& owner() const { return owner_; }
    RateLimit rate;                  // of answers
    std::optional<std::string> owed; // the payload of the latest one, which waits for its answer

private:
    FramedConnection& owner_;
};

struct Inbound {
    std::optional<PartialMessage> partial;
    std::optional<Pings> pings;
    bool empty() const { return !partial && !pings; }
};

} // namespace realtime
