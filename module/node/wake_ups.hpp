// The eventfds by which workers wake each other, and helper threads their event loop.
#pragma once

#include "base/own_fd.hpp"
#include "base/thread/note.hpp"
#include "log/shared_log.hpp"
#include "node/event_loop.hpp"

#include <cstdint>
#include <functional>
#include <memory>

namespace realtime {

// Wakes the workers that sleep on the slots of one log.
class LogWakeUp final : public WakeUp {
public:
    explicit LogWakeUp(SharedLog log) : log_(log) {}
    void wake(std::uint32_t slot) override;

private:
    SharedLog log_;
};

// How helper threads call the event loop. wake() is theirs, the rest is the loop's.
class ThreadEvents final : public LoopWakeUp {
public:
    ThreadEvents(); // throws std::runtime_error if there is no descriptor
    void watch(EventLoop& loop, std::function<void()> body);
    void wake() override;

private:
    OwnFd fd_;
    std::unique_ptr<EventLoop::Watch> watch_;
};

} // namespace realtime
