// The one owner of a file descriptor.
#pragma once

#include <unistd.h>
#include <utility>

namespace realtime {

class OwnFd {
public:
    OwnFd() = default;
    explicit OwnFd(int fd) : fd_(fd) {}
    ~OwnFd() { reset(); }
    OwnFd(OwnFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    OwnFd& operator=(OwnFd&& other) noexcept
    {
        if (this != &other) {
            reset();
            fd_ = std::exchange(other.fd_, -1);
        }
        return *this;
    }
    OwnFd(const OwnFd&) = delete;
    OwnFd& operator=(const OwnFd&) = delete;

    int get() const { return fd_; } // -1: none
    [[nodiscard]] int release() { return std::exchange(fd_, -1); }
    void reset()
    {
        if (fd_ >= 0) {
            ::close(fd_);
            fd_ = -1;
        }
    }

private:
    int fd_ = -1;
};

} // namespace realtime
