// Subscribers and their subscriptions, as the hub sees them.
//
// Thread     the worker's event loop.
// Ownership  the hub owns LocalChannel and Subscription objects; a Subscriber belongs to its connection, which
//            calls Hub::leave() before it dies.
#pragma once

#include "base/connection_id.hpp"
#include "hub/encoding.hpp"

#include <cstdint>
#include <memory>
#include <string_view>

namespace realtime {

struct LocalChannel;
struct Subscription;

// What a subscriber that is behind has still to read from the log; see Hub::pump().
struct Replay;

// One connection's end of delivery. The functions are called by the hub while it walks its tables: they must not
// call the hub back. Who wants to leave says so to its event loop and leaves later.
class Subscriber {
public:
    explicit Subscriber(Encoding encoding);
    Subscriber(const Subscriber&) = delete;
    Subscriber& operator=(const Subscriber&) = delete;

    // Takes one more frame of `events` events behind those that wait.
    virtual void enqueue(const FramePtr& frame, std::uint32_t events) = 0;
    // Hands what waits to the socket. Called once a turn, after everything was enqueued.
    virtual void flush() = 0;
    // A record of record_flag::Control, which is not for the client but for its connection.
    virtual void control(const LogRecord&) {}
    // How many bytes of history it may have now. 0: none for the time being, and it sees to it that Hub::pump() is called
    // when it may have more. What it got is told by historySent(), and may be a little more.
    virtual std::size_t historyAllowance() { return ~std::size_t{0}; }
    virtual void historySent(std::size_t /* bytes */) {}
    // Is it this user in the channel? Then it does not hear that this user comes and goes (record_flag::Presence).
    virtual bool isMember(std::string_view /* channel */, std::string_view /* userId */) const
    {
        return false;
    }
    // What was enqueued and flushed, and its socket has not taken.
    virtual std::size_t waitingBytes() const { return 0; }
    // Events of `channel` are lost to this subscriber for good, and its encoding cannot say so.
    virtual void cutOff(std::string_view channel) = 0;

    Encoding encoding() const { return encoding_; }
    bool subscribed() const { return subscriptions_ != nullptr; }
    const Subscription* subscriptions() const { return subscriptions_; }
    Subscription* follows(std::string_view app, std::string_view channel) const; // null: not
    // It is being brought up to date from the log: whenever its socket has taken everything, call Hub::pump().
    bool replaying() const { return replay_ != nullptr; }

    // Events of this origin are not delivered to it; 0: it hears its own.
    ConnectionId skips() const { return skips_; }

protected:
    ~Subscriber();
    void setSkips(ConnectionId id) { skips_ = id; }

private:
    friend class Hub;
    Subscription* subscriptions_ = nullptr; // a list by Subscription::next
    std::unique_ptr<Replay> replay_;
    ConnectionId skips_ = 0;
    std::uint32_t flushPlace_ = 0; // 1 + where it is among those to flush; 0: it is not
    Encoding encoding_;
    bool listedAsWaiting_ = false;
};

// One subscriber's place in one channel. `lastOffset`: events up to it are delivered (or were before its time).
struct Subscription {
    Subscriber* subscriber = nullptr;
    LocalChannel* channel = nullptr;
    Subscription* next = nullptr;
    std::uint64_t lastOffset = 0;
    std::uint32_t index = 0; // in LocalChannel::subscriptions
    bool postponed = false;  // it hears nothing until its history has come, see Hub::postpone()
};

} // namespace realtime
