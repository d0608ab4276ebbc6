// A detached connection that speaks WebSocket frames: reads, answers pings, closes as RFC 6455 says. What messages mean
// is the subclass's.
#pragma once

#include "nginx/connection.hpp"
#include "nginx/worker.hpp"

#include "wire/websocket.hpp"

#include <span>
#include <string>

namespace realtime {

// With permessage-deflate its encoding is a deflated one, and its parser decompresses. It may also do only the latter:
// what has been negotiated stays so, if a new configuration has turned compression off meanwhile.
class FramedConnection : public Connection, protected ws::FrameHandler {
public:
    // `encoding`: the plain one.
    FramedConnection(Encoding encoding, Endpoint& endpoint, ngx_http_request_t* r, bool deflate)
        : Connection(deflate ? deflatedOf(encoding) : encoding, endpoint, Gauge::WebSocket,
                     Counter::ConnectedWebSocket, r),
          parser_(deflate)
    {
    }

    // Of a connection that comes from another worker, see takeover.hpp.
    FramedConnection(Encoding encoding, Endpoint& endpoint, ngx_connection_t* c, bool deflate)
        : Connection(deflate && endpoint.conf->deflate != 0 ? deflatedOf(encoding) : encoding, endpoint,
                     Gauge::WebSocket, c),
          parser_(deflate)
    {
    }

    void pingDue() override;

    Movable movable() const override { return socketMovable(); }
    void describe(HandoverRecord& record) override;
    // Half a message, and what waits to be sent. False: it is past what this endpoint allows.
    [[nodiscard]] bool restore(const HandoverRecord& record);
    // A channel that it was subscribed to is again, and `from` has counted it until now. False: not as it was.
    [[nodiscard]] virtual bool resumed(const HandoverRecord::Channel&, const Subscription&, const SlotOwner&)
    {
        return true;
    }
    // All are; what else it was before goes on.
    virtual void allResumed(const HandoverRecord&) {}
    // It cannot go on here: says good-bye.
    enum class TurnAway : std::uint8_t { Elsewhere, NoSuchApp };
    virtual void turnAway(TurnAway why) = 0;

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
