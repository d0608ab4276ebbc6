// WebSocket subscribers (and, on realtime_pubsub, publishers): RFC 6455 over a detached connection.
#include "nginx/connection.hpp"
#include "nginx/request_context.hpp"
#include "nginx/response.hpp"
#include "nginx/str.hpp"
#include "nginx/subscribe.hpp"
#include "nginx/worker.hpp"

#include "wire/accept.hpp"
#include "wire/envelope.hpp"
#include "wire/websocket.hpp"

namespace realtime {

namespace {

constexpr int MaxReads = 16; // of one connection before the others have their turn

// What a client of realtime_pubsub publishes to.
struct PublishTarget {
    std::string channel;
    std::string event;
    std::string origin; // its own connection id if it is not to hear itself
};

class WebSocket final : public Connection, private ws::FrameHandler {
public:
    WebSocket(Encoding encoding, Endpoint& endpoint, ngx_http_request_t* r)
        : Connection(encoding, endpoint, Gauge::WebSocket, Counter::ConnectedWebSocket, r)
    {
    }

    void publishTo(std::string_view channel, std::string_view event, bool echo)
    {
        target_ =
            std::make_unique<PublishTarget>(PublishTarget{std::string(channel), std::string(event), {}});
        if (!echo) {
            setSkips(drawConnectionId());
            target_->origin = toString(skips());
        }
    }

    void pingDue() override
    {
        enqueue(ws::encodeFrame(ws::Opcode::Ping, {}), 0);
        flush();
    }

    void timeoutDue() override
    {
        ngx_log_error(NGX_LOG_INFO, connection()->log, 0, "realtime: WebSocket client does not answer");
        Worker::current()->counters().add(Counter::TimedOut);
        destroy();
    }

private:
    void onAttached(std::string rest) override
    {
        take(rest);
        flush();
        onReadable();
    }

    void onReadable() override
    {
        Worker& worker = *Worker::current();
        for (int reads = 0; reads < MaxReads && connection()->read->ready; reads++) {
            ssize_t n = receive(worker.readBuffer(), Worker::ReadBytes);
            if (n == NGX_AGAIN) {
                break;
            }
            if (n <= 0) {
                destroy();
                return;
            }
            take({worker.readBuffer(), static_cast<std::size_t>(n)});
        }
        if (connection()->read->ready) {
            ngx_post_event(connection()->read, &ngx_posted_next_events);
        } else if (!awaitRead()) {
            destroy();
        }
    }

    // What comes behind an error or a close frame is ignored by the parser.
    void take(std::span<char> bytes)
    {
        touch();
        auto error = parser_.feed(bytes, {endpoint().conf->maxMessageBytes}, *this);
        if (error) {
            ngx_str_t reason = borrow(error->reason);
            ngx_log_error(NGX_LOG_INFO, connection()->log, 0, "realtime: WebSocket closed with %ui: %V",
                          static_cast<ngx_uint_t>(error->code), &reason);
            Worker::current()->counters().add(Counter::ProtocolErrors);
            close(ws::encodeClose(error->code, error->reason));
        }
    }

    // --- ws::FrameHandler ---

    Next message(ws::Opcode, std::string_view payload) override
    {
        if (closing()) {
            return Next::Continue;
        }
        if (target_ == nullptr) {
            close(ws::encodeClose(ws::close_code::PolicyViolation, "this endpoint takes no messages"));
            return Next::Continue;
        }
        Publication publication;
        publication.channel = target_->channel;
        publication.event = target_->event;
        publication.origin = target_->origin;
        publication.data = payload;
        publication.timeMs = Worker::nowMs();
        Worker& worker = *Worker::current();
        if (worker.publish(endpoint().conf->app->app, publication).status != PublishStatus::Published) {
            // It cannot be told which message it was, so none may follow as if nothing had happened.
            worker.counters().add(Counter::PublishRefused);
            close(ws::encodeClose(ws::close_code::TryAgainLater, "the event could not be stored"));
            return Next::Continue;
        }
        worker.counters().add(Counter::PublishedWebSocket);
        worker.counters().add(Counter::PublishedBytes, payload.size());
        return Next::Continue;
    }

    Next ping(std::string_view payload) override
    {
        enqueue(ws::encodeFrame(ws::Opcode::Pong, payload), 0);
        flush();
        return Next::Continue;
    }

    Next pong(std::string_view) override { return Next::Continue; }

    void close(std::uint16_t code, std::string_view) override
    {
        if (!closing()) {
            enqueue(ws::encodeClose(code == ws::close_code::None ? 0 : code, {}), 0);
        }
        endSoon();
    }

    FramePtr farewell(Why why) override
    {
        switch (why) {
        case Why::Slow:
            return ws::encodeClose(ws::close_code::TryAgainLater, "too slow");
        case Why::Gap:
            return ws::encodeClose(ws::close_code::TryAgainLater, GapEvent);
        case Why::Restart:
            return ws::encodeClose(ws::close_code::ServiceRestart, "please reconnect");
        }
        return nullptr;
    }

    using Connection::close;

    ws::FrameParser parser_;
    std::unique_ptr<PublishTarget> target_;
};

ngx_int_t refuseVersion(ngx_http_request_t* r)
{
    addHeader(r, "Upgrade", "websocket");
    addHeader(r, "Sec-WebSocket-Version", "13");
    return respondError(r, 426, "Sec-WebSocket-Version must be 13");
}

ngx_int_t sendSwitchingProtocols(ngx_http_request_t* r, std::string_view key, std::string_view subprotocol)
{
    addHeader(r, "Upgrade", "websocket");
    addHeader(r, "Sec-WebSocket-Accept", view(copyTo(r->pool, ws::acceptKey(key))));
    if (!subprotocol.empty()) {
        addHeader(r, "Sec-WebSocket-Protocol", subprotocol);
    }
    r->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS; // the header filter adds Connection: upgrade
    r->headers_out.content_length_n = -1;
    r->keepalive = 0;
    r->header_only = 1; // nothing follows as far as the filters know: the header goes out at once
    return ngx_http_send_header(r);
}

} // namespace

ngx_int_t openWebSocket(ngx_http_request_t* r, const SubscribeRequest& request)
{
    contextOf(r).transport = ngx_string("websocket");
    std::string_view key = requestHeader(r, "sec-websocket-key");
    if (r->http_version != NGX_HTTP_VERSION_11 || !listHasToken(requestHeader(r, "connection"), "upgrade")) {
        return respondError(r, NGX_HTTP_BAD_REQUEST,
                            "a WebSocket needs HTTP/1.1 and \"Connection: upgrade\"");
    }
    if (requestHeader(r, "sec-websocket-version") != "13") {
        return refuseVersion(r);
    }
    if (!ws::validKey(key)) {
        return respondError(r, NGX_HTTP_BAD_REQUEST, "Sec-WebSocket-Key is missing or malformed");
    }

    constexpr std::string_view Subprotocols[] = {EnvelopeSubprotocol};
    auto subprotocol = chooseSubprotocol(requestHeader(r, "sec-websocket-protocol"), Subprotocols);
    auto socket = std::make_unique<WebSocket>(subprotocol ? Encoding::WebSocketJson : Encoding::WebSocketRaw,
                                              Worker::current()->endpointOf(*request.conf), r);
    if ((request.conf->kind & Publish) != 0) {
        socket->publishTo(request.channels.front(), eventOf(r, *request.conf), request.conf->echo);
    }
    ngx_int_t rc = joinOrRefuse(r, request, *socket);
    if (rc != NGX_OK || !socket->subscribed()) {
        return rc;
    }
    addHeader(r, "Realtime-Last-Id", view(copyTo(r->pool, positionOf(*socket))));
    rc = sendSwitchingProtocols(r, key, subprotocol.value_or(""));
    if (rc == NGX_ERROR || rc > NGX_OK) {
        return rc == NGX_ERROR ? NGX_ERROR : rc;
    }
    return Connection::detachAtTurnEnd(std::move(socket));
}

} // namespace realtime
