// The yardstick: an event loop that does no more than move the bytes. It takes what the load generator sends without
// looking at more than it must, and serves the same paths as the nginx under test:
//
//   GET  /sub/NAME   101; the connection becomes a subscriber
//   GET  /ws/NAME    the same; a frame that it sends comes back to it
//   POST /pub/all    the body goes as one frame to every subscriber, one send() each; answered as the module would
//   POST /pub/N      to the subscriber number N alone
#pragma once

#include "serve/process.hpp"

namespace realtime::bench {

class BareServer final : public Server {
public:
    BareServer(); // a child process, pinned to the server's core
    ~BareServer() override;

    std::string name() const override { return "bare loop"; }
    std::uint16_t port() const override { return port_; }
    std::vector<pid_t> workers() const override { return {pid_}; }

private:
    std::uint16_t port_ = 0;
    pid_t pid_ = 0;
};

} // namespace realtime::bench
