// WebSockets of a client, over libwebsockets.
//
// Thread     everything on the thread that calls SocketLoop::turn().
// Ownership  a Socket may be destroyed at any time, also by its own handler; it must not outlive the loop.
#pragma once

#include "endpoint.hpp"
#include "http.hpp"

#include <chrono>
#include <deque>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

struct lws;
struct lws_context;

namespace realtime::cli {

class SocketLoop {
public:
    SocketLoop(const Transport& transport, std::size_t sockets);
    ~SocketLoop();
    SocketLoop(const SocketLoop&) = delete;
    SocketLoop& operator=(const SocketLoop&) = delete;

    // Handles what there is, waiting for it at most so long. What a handler throws comes out here.
    void turn(std::chrono::milliseconds atMost);

private:
    friend class Socket;
    Transport transport_;
    lws_context* context_;
    std::exception_ptr failure_;
};

class SocketHandler {
public:
    // The position is where a location's subscription begins (`Realtime-Last-Id`), or empty.
    virtual void onOpen(const std::string& position) = 0;
    virtual void onMessage(std::string_view message) = 0;
    // Once, and last. `opened` false: the handshake failed, `status` is that of its answer, or 0 without one. Else it is
    // the close code, 1006 without one.
    virtual void onEnd(bool opened, int status, const std::string& why) = 0;

    virtual ~SocketHandler() = default;
};

class Socket {
public:
    Socket(SocketLoop& loop, const Endpoint& endpoint, const char* subprotocol, SocketHandler& handler);
    ~Socket();
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;

    void send(std::string_view text);
    void close(); // after what was sent; onEnd() follows

    static constexpr std::size_t MaxMessage = 64 << 20;

private:
    friend class SocketLoop;
    static int callback(lws* wsi, int reason, void* user, void* in, std::size_t size);
    int handle(lws* wsi, int reason, void* in, std::size_t size);
    int addHeaders(unsigned char** position, std::size_t room) const;
    int writeOne();
    int take(const char* bytes, std::size_t size);
    void end(lws* wsi, int status, const std::string& why);

    SocketLoop& loop_;
    SocketHandler& handler_;
    lws* wsi_ = nullptr;
    bool opened_ = false, closing_ = false;
    int closeCode_ = 1006;
    std::string closeReason_, position_;
    std::string partial_;
    std::deque<std::string> outgoing_; // each behind LWS_PRE bytes of room
};

} // namespace realtime::cli
