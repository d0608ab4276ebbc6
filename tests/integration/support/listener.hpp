// A socket that listens on a loopback port of its own: what stands between two programs begins with it.
#pragma once

#include "support/check.hpp"

#include <arpa/inet.h>
#include <cstdint>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace realtime::testing {

class ListeningSocket {
public:
    ListeningSocket() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))
    {
        auto address = loopback(0);
        socklen_t size = sizeof(address);
        auto* raw = reinterpret_cast<sockaddr*>(&address);
        expect(bind(fd_, raw, size) == 0 && listen(fd_, 64) == 0, "a proxy listens");
        getsockname(fd_, raw, &size);
        port_ = ntohs(address.sin_port);
    }
    ~ListeningSocket() { close(fd_); }
    ListeningSocket(const ListeningSocket&) = delete;
    ListeningSocket& operator=(const ListeningSocket&) = delete;

    int fd() const { return fd_; }
    std::uint16_t port() const { return port_; }
    int accept() const { return accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC); }

    // False: nobody listens there.
    static bool connectTo(int socket, std::uint16_t port)
    {
        const auto address = loopback(port);
        return connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
    }

private:
    static sockaddr_in loopback(std::uint16_t port)
    {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return address;
    }

    int fd_;
    std::uint16_t port_ = 0;
};

} // namespace realtime::testing
