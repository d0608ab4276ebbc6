// Things that call back from nginx's event loop: timers, posted events, eventfds. RAII around ngx_event_t.
#pragma once

#include "nginx/ngx.hpp"

#include "broker/broker.hpp"
#include "log/shared_log.hpp"

#include <functional>

namespace realtime {

// Is it so long ago? By nginx's clock, which wraps around.
inline bool elapsed(ngx_msec_t since, ngx_msec_t pause)
{
    return static_cast<ngx_msec_int_t>(ngx_current_msec - since - pause) >= 0;
}

// A function that the event loop calls: after a time, at the end of the turn, or in the next one. Not movable, since
// nginx holds its address. An exception in it is logged.
class Callback {
public:
    explicit Callback(std::function<void()> body);
    ~Callback();
    Callback(const Callback&) = delete;
    Callback& operator=(const Callback&) = delete;

    // `holdsExit`: a worker that is shutting down waits for it.
    void after(ngx_msec_t delay, bool holdsExit = false);
    void atTurnEnd();  // once everything that this turn of the loop has brought in was handled
    void inNextTurn(); // after the sockets had their turn
    void cancel();

private:
    static void run(ngx_event_t* event);

    std::function<void()> body_;
    ngx_event_t event_{};
    ngx_connection_t connection_{}; // nginx's debug lines read data->fd
};

// Watches a descriptor for something to read. Does not own it: both generations of a reload hold those that wake
// workers.
class EventSource {
public:
    enum class Kind {
        Counter, // an eventfd: read here, where that is needed
        Socket,  // read by `body`, until there is nothing more; called too when the worker is told to go
    };
    // Throws std::runtime_error if nginx has no free connection or the event cannot be added.
    EventSource(int fd, std::function<void()> body, Kind kind = Kind::Counter);
    ~EventSource();
    EventSource(const EventSource&) = delete;
    EventSource& operator=(const EventSource&) = delete;

private:
    static void run(ngx_event_t* event);

    std::function<void()> body_;
    Kind kind_;
    ngx_connection_t* connection_;
};

// Wakes the workers that sleep on the slots of one log.
class LogWakeUp final : public WakeUp {
public:
    explicit LogWakeUp(SharedLog log) : log_(log) {}
    void wake(std::uint32_t slot) override;

private:
    SharedLog log_;
};

// How the brokers' threads call the event loop. wake() is theirs, the rest is the loop's.
class BrokerEvents final : public LoopWakeUp {
public:
    BrokerEvents();
    ~BrokerEvents();
    void watch(std::function<void()> body);
    void wake() override;

private:
    int fd_;
    std::unique_ptr<EventSource> source_;
};

} // namespace realtime
