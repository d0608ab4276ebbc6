#include "node/wake_ups.hpp"

#include <stdexcept>
#include <sys/eventfd.h>
#include <unistd.h>

namespace realtime {

namespace {

void signalFd(int fd)
{
    std::uint64_t one = 1;
    // It fails only if the count is full (EAGAIN), and then the reader is awake anyway.
    [[maybe_unused]] ssize_t written = write(fd, &one, sizeof(one));
}

} // namespace

void LogWakeUp::wake(std::uint32_t slot)
{
    signalFd(log_.wakeFd(slot));
}

ThreadEvents::ThreadEvents() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC))
{
    if (fd_.get() == -1) {
        throw std::runtime_error("eventfd() failed");
    }
}

void ThreadEvents::watch(EventLoop& loop, std::function<void()> body)
{
    watch_ = loop.watch(fd_.get(), std::move(body));
}

void ThreadEvents::wake()
{
    signalFd(fd_.get());
}

} // namespace realtime
