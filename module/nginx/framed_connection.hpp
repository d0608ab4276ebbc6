// A detached connection that speaks WebSocket frames: reads, answers pings, closes as RFC 6455 says. What messages mean
// is the subclass's.
#pragma once

#include "nginx/connection.hpp"
#include "nginx/inbound.hpp"
#include "nginx/rate_limit.hpp"
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
    // Half of a message has been there for realtime_timeout.
    void partialDue();
    // It is the largest where all of the worker's are too much.
    void partialExceeds();
    // Now and then, for one that is in Endpoint::pinging: answers what is owed, forgets what is over.
    void settlePings();

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
    // For how many a message counts that has, or leads to, so many bytes.
    static double costOf(std::size_t bytes);
    // May the client publish one more event of so many bytes (as they are when they are decompressed), by the endpoint's
    // realtime_publish_rate? What it pushes out of the log is what it costs.
    bool admitPublish(RateLimit& limit, std::size_t bytes);
    // Something that it has sent is refused because it comes too fast.
    void tooFast(std::string_view what);

    void close(std::uint16_t code, std::string_view reason) override; // ws::FrameHandler: the peer's
    using Connection::close;
    // The client has broken the rules: tells it, and reads no more.
    void failWith(const FramePtr& farewell);
    void failWith(std::uint16_t code, std::string_view why);

private:
    void onAttached(std::string rest) override;
    void onReadable() override { readInput(); }
    void onInput(std::span<char> bytes) override;
    void onWritable() override;
    Next ping(std::string_view payload) override;
    Next pong(std::string_view) override { return Next::Continue; }

    void deliverEcho();
    Inbound& inbound();
    void releaseInbound();
    void notePartial(ngx_msec_t ageMs = 0);
    void forgetPartial();
    bool mayAnswer(Pings& pings);
    bool answerOwed();

    ws::FrameParser parser_;
    std::unique_ptr<Inbound> inbound_;
};

} // namespace realtime
