// A subscriber of this worker with everything but its transport: its place in the keep-alive lists and how it ends.
// Transports: Connection (WebSocket, SSE over HTTP/1.1), RequestOutlet (SSE over HTTP/2, long-polls).
//
// Ownership  an Outlet owns itself: finish(), processEnds() and the like destroy it. It always is in one of the
//            worker's lists. All functions are called on the event loop.
#pragma once

#include "nginx/ngx.hpp"

#include "hub/subscriber.hpp"
#include "nginx/idle_list.hpp"
#include "node/counters.hpp"

#include <cstdint>
#include <string_view>

namespace realtime {

struct Endpoint;

class Outlet : public Subscriber, public IdleNode {
public:
    Outlet(Encoding encoding, Endpoint& endpoint, Gauge gauge, Counter connected);
    // Of a connection that another worker has had until now.
    Outlet(Encoding encoding, Endpoint& endpoint, Gauge gauge);
    virtual ~Outlet();

    // Nothing has been heard (or said) for `realtime_ping`.
    virtual void pingDue() = 0;
    // Nor for `realtime_timeout`. Leaves the list that it is in.
    virtual void timeoutDue() = 0;
    // The peer had Worker::CloseWait to end it. Destroys it.
    virtual void closeWaitOver() = 0;
    // The peer had Worker::LingerWait to take what was said last. Leaves the list that it is in.
    virtual void lingerWaitOver() { closeWaitOver(); }
    // It has not shown in time who it is, see Worker::expectAuthorization().
    virtual void authorizationDue() {}
    // nginx wants to go: asks the client to come back elsewhere. Leaves the list that it is in.
    virtual void askToReconnect() = 0;
    // The process ends now: says so if it can be said at once, and destroys it.
    virtual void processEnds() = 0;
    // Called by the worker after finishLater(): carries out what it was asked for. May destroy it.
    virtual void finish() = 0;

    // Nobody but the worker tells it that nginx wants to go.
    virtual bool waitsInRequest() const { return false; }

    Gauge transport() const { return static_cast<Gauge>(gauge_); }

    // Of the TCP connection that it is served over, of which HTTP/2 has several on one.
    virtual std::uint64_t connectionNumber() const = 0;
    std::size_t historyAllowance() final;
    void historySent(std::size_t bytes) final;

protected:
    Endpoint& endpoint() { return endpoint_; }
    // A sign of life: the time to the next ping starts anew.
    void touch();
    // It was idle before it came here.
    void setIdle(ngx_msec_t forMs);
    // It waits in a list that signs of life do not take it from.
    void setLeaving() { leaving_ = true; }
    bool leaving() const { return leaving_; }
    // It is to go to another worker, which will read on.
    bool moving() const { return leaving_ && offered_; }

private:
    friend class HandOver;
    friend class Worker;
    Endpoint& endpoint_;
    std::uint16_t gauge_; // a Gauge, made small
    bool leaving_ = false;
    bool offered_ = false; // HandOver::offer()
    bool pumpPending_ = false;
    bool pumpTimed_ = false; // Worker::pumpAfter()
    bool finishPending_ = false;
};

} // namespace realtime
