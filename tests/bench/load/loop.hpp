// The load generator's event loop: it spins instead of sleeping, so that no server pays for waking it up, and the
// time at which something arrived is known. Or it naps, where what is measured needs all cores.
//
// Thread     one thread a Loop.
// Errors     std::runtime_error: a peer that closes or a wait that takes too long spoils the measurement.
#pragma once

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

namespace realtime::bench {

using Clock = std::chrono::steady_clock;

class Loop;

// A TCP connection to 127.0.0.1:port, with TCP_NODELAY and, where the kernel allows it, congestion control `cubic`.
// Not movable: the loop knows its address.
class Socket {
public:
    // `source`: the client's address is 127.0.0.(1 + source); more of them make more ports.
    Socket(Loop& loop, std::uint16_t port, unsigned source = 0);
    virtual ~Socket();
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;

    // All of it; spins while the socket takes nothing.
    void send(std::string_view bytes);

protected:
    virtual void received(std::span<char> bytes) = 0;
    virtual void closed(); // by the peer; throws unless overridden
    Loop& loop() { return loop_; }

private:
    friend class Loop;
    Loop& loop_;
    int fd_;
};

class Loop {
public:
    // `nap`: how long poll() waits for something to come. 0: it spins.
    explicit Loop(std::chrono::nanoseconds nap = {});
    ~Loop();
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    void poll(); // handles what is there; throws after interrupt()
    // Polls until `done()`; throws, naming `what`, if it takes longer.
    void until(std::string_view what, const std::function<bool()>& done,
               std::chrono::seconds patience = std::chrono::seconds(60));

    // For signal handlers: the measurement ends with an exception, so that the servers are stopped.
    static void interrupt() { interrupted = 1; }
    static void checkInterrupted(); // throws after interrupt()

private:
    friend class Socket;
    static volatile std::sig_atomic_t interrupted;
    int epoll_;
    std::chrono::nanoseconds nap_;
    std::vector<char> buffer_;
};

} // namespace realtime::bench
