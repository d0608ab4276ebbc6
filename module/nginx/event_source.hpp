// Things that call back from nginx's event loop: timers, posted events, eventfds. RAII around ngx_event_t.
#pragma once

#include "nginx/ngx.hpp"

#include "node/event_loop.hpp"

#include <functional>
#include <memory>

namespace realtime {

// A function that the event loop calls: after a time, at the end of the turn, or in the next one. Not movable, since
// nginx holds its address. An exception in it is logged.
class Callback final : public EventLoop::Task {
public:
    explicit Callback(std::function<void()> body);
    ~Callback() override;
    Callback(const Callback&) = delete;
    Callback& operator=(const Callback&) = delete;

    void after(ngx_msec_t delay, bool holdsExit = false) override;
    void atTurnEnd() override;
    void inNextTurn() override;
    void cancel() override;

private:
    static void run(ngx_event_t* event);

    std::function<void()> body_;
    ngx_event_t event_{};
    ngx_connection_t connection_{}; // nginx's debug lines read data->fd
};

// Watches a descriptor for something to read. Does not own it: both generations of a reload hold those that wake
// workers.
class EventSource final : public EventLoop::Watch {
public:
    enum class Kind {
        Counter, // an eventfd: read here, where that is needed
        Socket,  // read by `body`, until there is nothing more; called too when the worker is told to go
    };
    // Throws std::runtime_error if nginx has no free connection or the event cannot be added.
    EventSource(int fd, std::function<void()> body, Kind kind = Kind::Counter);
    ~EventSource() override;
    EventSource(const EventSource&) = delete;
    EventSource& operator=(const EventSource&) = delete;

private:
    static void run(ngx_event_t* event);

    std::function<void()> body_;
    Kind kind_;
    ngx_connection_t* connection_;
};

// nginx's event loop, for what is not nginx's. Has no state of its own.
class NginxEventLoop final : public EventLoop {
public:
    std::int64_t nowMs() const override; // by nginx's cached time
    Msec ticks() const override { return ngx_current_msec; }
    bool exiting() const override { return ngx_exiting != 0; }
    void log(const Note& note) override;
    std::unique_ptr<Task> task(std::function<void()> body) override;
    std::unique_ptr<Watch> watch(int fd, std::function<void()> body) override;
};

} // namespace realtime
