// TCP and WebSocket frames by hand: for input that no well-behaved client sends.
#pragma once

#include "support/check.hpp"

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace realtime::testing {

// The other side has ended the connection, or it is broken.
struct PeerGone : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class RawSocket {
public:
    explicit RawSocket(std::uint16_t port, int receiveBuffer = 0); // 0: the system's default
    ~RawSocket();
    RawSocket(const RawSocket&) = delete;
    RawSocket& operator=(const RawSocket&) = delete;

    void send(std::string_view bytes);
    void shutdownWriting();
    std::string receiveUntil(std::string_view end,
                             std::chrono::milliseconds patience = Patience); // end included
    std::string receiveBytes(std::size_t count, std::chrono::milliseconds patience = Patience);
    std::string receiveUntilClosed(std::chrono::milliseconds patience = Patience); // throws if it stays open
    bool wasReset() const { return reset_; }                                       // when it was closed
    bool pending() const; // something to receive, be it the end
    std::uint16_t clientPort() const;

private:
    bool receiveMore(Clock::time_point deadline); // false: closed by the peer
    void receiveMoreOrThrow(Clock::time_point deadline);
    int fd_;
    std::string buffer_;
    bool reset_ = false;
};

struct Frame {
    unsigned opcode = 1;
    std::string payload;
    bool final = true;
    bool masked = true;
    unsigned reserved = 0; // RSV1 to RSV3 as bits 4, 2, 1
};

enum Opcode : unsigned { Continuation = 0, Text = 1, Binary = 2, Close = 8, Ping = 9, Pong = 10 };

std::string encode(const Frame& frame);

class RawWebSocket {
public:
    // Shakes hands; throws if the answer is not 101.
    RawWebSocket(std::uint16_t port, std::string_view path, std::string_view headers = "",
                 int receiveBuffer = 0);

    void send(const Frame& frame) { socket_.send(encode(frame)); }
    void sendBytes(std::string_view bytes) { socket_.send(bytes); }
    Frame receive(std::chrono::milliseconds patience = Patience);
    bool pending() const { return socket_.pending(); }
    // Skips messages until the close frame; returns its code (1005: none).
    int receiveClose(std::chrono::milliseconds patience = Patience);
    RawSocket& socket() { return socket_; }
    const std::string& responseHead() const { return head_; }

private:
    RawSocket socket_;
    std::string head_;
};

} // namespace realtime::testing
