// What a node needs of the event loop that it runs in: a clock, timers, posted work, descriptors to watch, log lines. In nginx
// that is nginx's (nginx/event_source.hpp), in unit tests one that is turned by hand.
//
// Thread     all of it belongs to the event loop's.
#pragma once

#include "base/thread/note.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace realtime {

// Milliseconds of a clock that never jumps. As wide as nginx's: on a 32-bit machine it wraps around after 49 days, so times are
// compared with elapsed() only.
using Msec = std::uintptr_t;

class EventLoop {
public:
    // A function that the loop calls: after a time, at the end of the turn, or in the next one. Whoever holds it cancels it by
    // destroying it. What it throws is logged.
    class Task {
    public:
        virtual ~Task() = default;
        // `holdsExit`: a process that is shutting down waits for it.
        virtual void after(Msec delay, bool holdsExit = false) = 0;
        virtual void atTurnEnd() = 0; // once everything that this turn of the loop has brought in was handled
        virtual void inNextTurn() = 0; // after the sockets had their turn
        virtual void cancel() = 0;
    };
    // Calls its function whenever the descriptor has something to read, until it is destroyed. Does not own the descriptor.
    class Watch {
    public:
        virtual ~Watch() = default;
    };

    virtual std::int64_t nowMs() const = 0; // Unix
    virtual Msec ticks() const = 0;
    // The process was told to go, and serves what it has.
    virtual bool exiting() const = 0;
    virtual void log(const Note& note) = 0;
    virtual std::unique_ptr<Task> task(std::function<void()> body) = 0;
    // An eventfd. Throws std::runtime_error if it cannot be watched.
    virtual std::unique_ptr<Watch> watch(int fd, std::function<void()> body) = 0;

    // Is it so long ago?
    bool elapsed(Msec since, Msec pause) const
    {
        return static_cast<std::intptr_t>(ticks() - since - pause) >= 0;
    }

protected:
    ~EventLoop() = default;
};

} // namespace realtime
