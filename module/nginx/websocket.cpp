// WebSocket subscribers (and, on realtime_pubsub, publishers): RFC 6455 over a detached connection.
#include "nginx/framed_connection.hpp"
#include "nginx/handshake.hpp"
#include "nginx/publish.hpp"
#include "nginx/rate_limit.hpp"
#include "nginx/request_context.hpp"
#include "nginx/response.hpp"
#include "nginx/str.hpp"
#include "nginx/subscribe.hpp"
#include "nginx/takeover.hpp"
#include "nginx/worker.hpp"

#include "wire/accept.hpp"
#include "wire/envelope.hpp"
#include "wire/pusher_channel.hpp"
#include "wire/websocket.hpp"

namespace realtime {

namespace {

// What a client of realtime_pubsub publishes to.
struct PublishTarget {
    std::string channel;
    std::string event;
    std::string origin; // its own connection id if it is not to hear itself
    RateLimit rate;     // of the endpoint's `rate=`
    RateLimit all;      // of realtime_publish_rate
};

class WebSocket final : public FramedConnection {
public:
    using FramedConnection::FramedConnection;

    void publishTo(std::string_view channel, std::string_view event, bool echo)
    {
        target_ = std::make_unique<PublishTarget>(
            PublishTarget{std::string(channel), std::string(event), {}, {}, {}});
        if (!echo) {
            if (skips() == 0) {
                setSkips(drawConnectionId());
            }
            target_->origin = toString(skips());
        }
    }

    void describe(HandoverRecord& record) override
    {
        FramedConnection::describe(record);
        record.kind = plainOf(encoding()) == Encoding::WebSocketJson ? HandoverRecord::Kind::Json
                                                                     : HandoverRecord::Kind::Raw;
        record.app = endpoint().conf->app->app.id;
        if (target_ != nullptr) {
            record.publishEvent = target_->event;
            record.publishes = target_->rate.save();
            record.allPublishes = target_->all.save();
        }
    }

    void allResumed(const HandoverRecord& record) override
    {
        const LocConf& conf = *endpoint().conf;
        if ((conf.kind & Publish) != 0) {
            publishTo(record.channels.front().name, record.publishEvent, conf.echo);
            target_->rate.restore(record.publishes);
            target_->all.restore(record.allPublishes);
        }
    }

    void turnAway(TurnAway) override { close(farewell(Why::Restart)); }

    void timeoutDue() override
    {
        ngx_log_error(NGX_LOG_INFO, connection()->log, 0, "realtime: WebSocket client does not answer");
        Worker::current()->counters().add(Counter::TimedOut);
        destroy();
    }

private:
    Next message(ws::Opcode, std::string_view payload) override
    {
        if (closing()) {
            return Next::Continue;
        }
        if (target_ == nullptr) {
            failWith(ws::close_code::PolicyViolation, "this endpoint takes no messages");
            return Next::Stop;
        }
        Worker& worker = *Worker::current();
        if (!target_->rate.admit(endpoint().conf->rate) || !admitPublish(target_->all, payload.size())) {
            tooFast("message");
            worker.counters().add(Counter::PublishInvalid);
            failWith(ws::close_code::PolicyViolation, "too many messages");
            return Next::Stop;
        }
        Publication publication;
        publication.channel = target_->channel;
        publication.event = target_->event;
        publication.origin = target_->origin;
        publication.data = payload;
        publication.keyOwner = KeyOwner::Client;
        publication.timeMs = Worker::nowMs();
        const PublishStatus status = worker.publish(endpoint().conf->app->app, publication).status;
        if (status != PublishStatus::Published) {
            refuse(status);
            return Next::Stop;
        }
        worker.counters().add(Counter::PublishedWebSocket);
        worker.counters().add(Counter::PublishedBytes, payload.size());
        setEchoDue(target_->origin.empty());
        return Next::Continue;
    }

    // It cannot be told which message it was, so none may follow as if nothing had happened.
    void refuse(PublishStatus status)
    {
        Counters& counters = Worker::current()->counters();
        if (status == PublishStatus::TooLarge) {
            counters.add(Counter::PublishInvalid);
            failWith(ws::close_code::TooBig, "larger than the realtime_zone or a broker can ever take");
        } else if (status == PublishStatus::Reserved) {
            counters.add(Counter::PublishInvalid);
            failWith(ws::close_code::PolicyViolation, "the name is reserved");
        } else {
            counters.add(Counter::PublishRefused);
            failWith(ws::close_code::TryAgainLater, "the event could not be stored");
        }
    }

    FramePtr farewell(Why why) override
    {
        switch (why) {
        case Why::Slow:
            return ws::encodeClose(ws::close_code::TryAgainLater, "too slow");
        case Why::Gap:
            return ws::encodeClose(ws::close_code::TryAgainLater, GapEvent);
        case Why::Busy:
            return ws::encodeClose(ws::close_code::TryAgainLater, "too many half messages");
        case Why::Restart:
            return ws::encodeClose(ws::close_code::ServiceRestart, "please reconnect");
        }
        return nullptr;
    }

    std::unique_ptr<PublishTarget> target_;
};

static_assert(sizeof(WebSocket) <= 168,
              "there is one for each idle client, and past this the allocator takes 16 more");

} // namespace

std::unique_ptr<FramedConnection> restoreWebSocket(const HandoverRecord& record, Endpoint& endpoint,
                                                   ngx_connection_t* c)
{
    bool json = record.kind == HandoverRecord::Kind::Json;
    return std::make_unique<WebSocket>(json ? Encoding::WebSocketJson : Encoding::WebSocketRaw, endpoint, c,
                                       record.deflate);
}

ngx_int_t openWebSocket(ngx_http_request_t* r, const SubscribeRequest& request)
{
    contextOf(r).transport = ngx_string("websocket");
    const Handshake handshake = checkHandshake(r);
    if (handshake.answered) {
        return *handshake.answered;
    }

    constexpr std::string_view Subprotocols[] = {EnvelopeSubprotocol};
    auto subprotocol = chooseSubprotocol(joinedHeader(r, "sec-websocket-protocol"), Subprotocols);
    auto socket = std::make_unique<WebSocket>(subprotocol ? Encoding::WebSocketJson : Encoding::WebSocketRaw,
                                              Worker::current()->endpointOf(*request.conf), r,
                                              !handshake.extension.empty());
    if ((request.conf->kind & Publish) != 0) {
        const std::string_view event = eventOf(r, *request.conf);
        if (!validEvent(event) || pusher::reservedEvent(event)) {
            return respondError(r, NGX_HTTP_BAD_REQUEST, "invalid or reserved event name");
        }
        socket->publishTo(request.channels.front(), event, request.conf->echo);
    }
    Reached reached;
    ngx_int_t rc = joinOrRefuse(r, request, *socket, reached);
    if (rc != NGX_OK || !socket->subscribed()) {
        return rc;
    }
    addHeader(r, "Realtime-Last-Id",
              view(copyTo(r->pool, Worker::current()->hub().positionOf(*socket, reached))));
    if (auto answered = sendSwitchingProtocols(r, subprotocol.value_or(""), handshake.extension)) {
        return *answered;
    }
    return Connection::detachAtTurnEnd(std::move(socket));
}

} // namespace realtime
