// HTTP/2 frames by hand, without TLS (prior knowledge): for what no well-behaved client does, such as a reset in the middle
// of a frame or a window that stays closed.
#pragma once

#include "support/raw_socket.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace realtime::testing {

struct Http2Options {
    std::uint32_t window = 0x3fffffff; // of each stream, in bytes; that of the connection is never closed
    int receiveBuffer = 0;             // of the socket; 0: the system's default
};

// What has come for one stream.
struct Http2Stream {
    int status = 0; // 0: no head yet
    std::string body;
    bool ended = false; // in an orderly manner
    bool reset = false; // by the server
    bool over() const { return ended || reset; }
};

class Http2Connection {
public:
    explicit Http2Connection(std::uint16_t port, const Http2Options& options = {});

    std::uint32_t get(std::string_view path, std::string_view accept = "text/event-stream");
    std::uint32_t post(std::string_view path, std::string_view body); // short
    void reset(std::uint32_t stream);
    void openWindow(std::uint32_t stream, std::uint32_t bytes);
    void ping();

    // Reads the next frame, whatever it is. Throws PeerGone at the end.
    void receive(std::chrono::milliseconds patience = Patience);
    // Reads what has come. False: the connection is closed.
    bool receiveAll();
    // Reads until all is there that the server had sent when it answered this.
    void receiveToPong();
    // Reads until a stream's answer or events hold this text, or until it is over.
    void receiveUntil(std::uint32_t stream, std::string_view text);
    void receiveToEnd(std::uint32_t stream);

    const Http2Stream& stream(std::uint32_t id) { return streams_[id]; }
    bool goingAway() const { return goingAway_; }

private:
    void send(unsigned type, unsigned flags, std::uint32_t stream, std::string_view payload);
    std::uint32_t request(std::string_view method, std::string_view path, std::string_view accept,
                          unsigned flags);

    RawSocket socket_;
    std::map<std::uint32_t, Http2Stream> streams_;
    std::uint32_t nextStream_ = 1;
    std::size_t pongs_ = 0;
    bool goingAway_ = false;
};

} // namespace realtime::testing
