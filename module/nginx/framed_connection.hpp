// A detached connection that speaks WebSocket frames: reads, answers pings, closes as RFC 6455 says. What messages mean
// is the subclass's.
#pragma once

#include "nginx/connection.hpp"

#include "wire/websocket.hpp"

#include <span>
#include <string>

namespace realtime {

class FramedConnection : public Connection, protected ws::FrameHandler {
public:
    FramedConnection(Encoding encoding, Endpoint& endpoint, ngx_http_request_t* r)
        : Connection(encoding, endpoint, Gauge::WebSocket, Counter::ConnectedWebSocket, r)
    {
    }

    void pingDue() override;

protected:
    void close(std::uint16_t code, std::string_view reason) override; // ws::FrameHandler: the peer's
    using Connection::close;

private:
    static constexpr int MaxReads = 16; // of one connection before the others have their turn

    void onAttached(std::string rest) override;
    void onReadable() override;
    void take(std::span<char> bytes);
    Next ping(std::string_view payload) override;
    Next pong(std::string_view) override { return Next::Continue; }

    ws::FrameParser parser_;
};

} // namespace realtime
