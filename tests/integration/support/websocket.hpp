// A WebSocket client for tests, on libwebsockets. Nothing happens between calls: what the server sends meanwhile
// waits in the socket.
#pragma once

#include "support/check.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace realtime::testing {

struct WebSocketOptions {
    std::uint16_t port = 0;
    std::string path = "/";
    std::string subprotocol; // empty: none is asked for
    std::vector<std::pair<std::string, std::string>> headers;
    std::string certificate; // set: TLS to "localhost", this certificate trusted
    bool deflate = false;    // offers permessage-deflate, as libwebsockets has it
};

struct WebSocketMessage {
    std::string data;
    bool binary = false;
};

struct WebSocketClose {
    int code = 0; // 1005: a close frame without a code; 1006: the connection ended without a close frame
    std::string reason;
};

class WebSocket {
public:
    // Waits for the handshake; throws if it fails.
    explicit WebSocket(const WebSocketOptions& options);
    WebSocket(std::uint16_t port, const std::string& path, const std::string& subprotocol = "");
    ~WebSocket();
    WebSocket(WebSocket&&) noexcept;
    WebSocket& operator=(WebSocket&&) noexcept;

    void send(std::string_view text);
    void sendBinary(std::string_view data);
    WebSocketMessage receive(std::chrono::milliseconds patience = Patience); // throws if none comes
    std::string receiveText(std::chrono::milliseconds patience = Patience);  // and it must be text
    void expectSilence(std::chrono::milliseconds duration = Silence);
    bool pending(); // takes in what has come; is there a message to receive()?

    void close(int code = 1000, std::string_view reason = "");
    WebSocketClose waitForClose(std::chrono::milliseconds patience = Patience); // throws if it stays open
    bool open() const;
    std::string acceptedSubprotocol() const;
    std::string acceptedExtensions() const;
    std::uint16_t clientPort() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace realtime::testing
