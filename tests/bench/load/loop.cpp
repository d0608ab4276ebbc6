#include "load/loop.hpp"

#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdexcept>
#include <string>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace realtime::bench {

namespace {

constexpr std::size_t ReadBytes = std::size_t{256} * 1024;
constexpr int MaxEvents = 512;

[[noreturn]] void fail(const char* what)
{
    throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
}

void enable(int fd, int level, int option)
{
    const int on = 1;
    setsockopt(fd, level, option, &on, sizeof(on));
}

sockaddr_in loopback(unsigned host, std::uint16_t port)
{
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + host);
    address.sin_port = htons(port);
    return address;
}

} // namespace

Socket::Socket(Loop& loop, std::uint16_t port, unsigned source)
    : loop_(loop), fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))
{
    if (fd_ == -1) {
        fail("socket");
    }
    enable(fd_, IPPROTO_TCP, TCP_NODELAY);
    enable(fd_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
    setsockopt(fd_, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);

    const sockaddr_in from = loopback(source, 0);
    const sockaddr_in to = loopback(0, port);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP;
    event.data.ptr = this;
    if (bind(fd_, reinterpret_cast<const sockaddr*>(&from), sizeof(from)) == -1 ||
        connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == -1 ||
        fcntl(fd_, F_SETFL, O_NONBLOCK) == -1 || epoll_ctl(loop.epoll_, EPOLL_CTL_ADD, fd_, &event) == -1) {
        const int error = errno;
        close(fd_);
        errno = error;
        fail("connect");
    }
}

Socket::~Socket()
{
    close(fd_);
}

void Socket::send(std::string_view bytes)
{
    while (!bytes.empty()) {
        const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (n > 0) {
            bytes.remove_prefix(static_cast<std::size_t>(n));
        } else if (errno != EAGAIN && errno != EINTR) {
            fail("send");
        }
    }
}

void Socket::closed()
{
    throw std::runtime_error("the server has closed a connection");
}

Loop::Loop(std::chrono::nanoseconds nap) : epoll_(epoll_create1(EPOLL_CLOEXEC)), nap_(nap), buffer_(ReadBytes)
{
    if (epoll_ == -1) {
        fail("epoll_create1");
    }
}

Loop::~Loop()
{
    close(epoll_);
}

volatile std::sig_atomic_t Loop::interrupted = 0;

void Loop::checkInterrupted()
{
    if (interrupted != 0) {
        throw std::runtime_error("interrupted");
    }
}

void Loop::poll()
{
    checkInterrupted();
    std::array<epoll_event, MaxEvents> events;
    const timespec patience{0, static_cast<long>(nap_.count())};
    const int count = epoll_pwait2(epoll_, events.data(), MaxEvents, &patience, nullptr);
    for (int i = 0; i < count; i++) {
        auto& socket = *static_cast<Socket*>(events[static_cast<std::size_t>(i)].data.ptr);
        const ssize_t n = recv(socket.fd_, buffer_.data(), buffer_.size(), 0);
        if (n > 0) {
            socket.received({buffer_.data(), static_cast<std::size_t>(n)});
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            epoll_ctl(epoll_, EPOLL_CTL_DEL, socket.fd_, nullptr);
            socket.closed();
        }
    }
}

void Loop::until(std::string_view what, const std::function<bool()>& done, std::chrono::seconds patience)
{
    const auto deadline = Clock::now() + patience;
    while (!done()) {
        poll();
        if (Clock::now() > deadline) {
            throw std::runtime_error("waited in vain until " + std::string(what));
        }
    }
}

} // namespace realtime::bench
