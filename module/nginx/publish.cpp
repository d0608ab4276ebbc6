// realtime_publish: POST or PUT, the body is the event.
#include "nginx/publish.hpp"
#include "nginx/body.hpp"
#include "nginx/conf.hpp"
#include "nginx/event_source.hpp"
#include "nginx/guard.hpp"
#include "nginx/origins.hpp"
#include "nginx/request_context.hpp"
#include "nginx/response.hpp"
#include "nginx/str.hpp"
#include "nginx/waiting_request.hpp"
#include "nginx/worker.hpp"

#include "base/json_text.hpp"
#include "base/message_id.hpp"

#include <charconv>
#include <memory>
#include <utility>

namespace realtime {

namespace {

constexpr std::size_t MaxContentTypeBytes = 255; // as of an AMQP short string
constexpr std::size_t MaxEventBytes = 200;

ngx_int_t refuse(ngx_http_request_t* r, ngx_uint_t status, std::string_view message)
{
    Worker::current()->counters().add(Counter::PublishInvalid);
    return respondError(r, status, message);
}

ngx_int_t refuseForNow(ngx_http_request_t* r, std::string_view message)
{
    Worker::current()->counters().add(Counter::PublishRefused);
    addHeader(r, "Retry-After", "1");
    return respondError(r, NGX_HTTP_SERVICE_UNAVAILABLE, message);
}

ngx_str_t formatted(ngx_pool_t* pool, const MessageId& id)
{
    char text[MaxMessageIdBytes];
    return copyTo(pool, {text, formatMessageId(id, text)});
}

ngx_int_t answer(ngx_http_request_t* r, ngx_uint_t status, const Published& published)
{
    RequestContext& context = contextOf(r);
    std::string body;
    body.reserve(256); // once, for all but the longest names
    body += "{\"id\":\"";
    body += view(context.messageId);
    body += "\",\"channel\":";
    appendJsonString(body, view(context.channel));
    body += ",\"subscribers\":";
    char digits[NGX_INT_T_LEN];
    body.append(digits, std::to_chars(digits, digits + sizeof(digits), published.subscribers).ptr);
    body += "}\n";
    return respond(r, status, "application/json", body);
}

// A publish that waits until brokers have stored its event; see waiting_request.hpp for who owns it. The event stays queued,
// whatever becomes of the request.
class PendingPublish final : public AckWaiter {
public:
    explicit PendingPublish(ngx_http_request_t* r)
        : request_(r, this), late_([this] { finish(NGX_HTTP_GATEWAY_TIME_OUT); }),
          token_(Worker::current()->expectAck(*this))
    {
    }
    ~PendingPublish() { Worker::current()->forgetAck(token_); }
    PendingPublish(const PendingPublish&) = delete;
    PendingPublish& operator=(const PendingPublish&) = delete;

    std::uint64_t token() const { return token_; }

    // From now on it belongs to itself. The reference that it needs is the one that reading the body took.
    void await(const Published& published, ngx_msec_t atMost)
    {
        published_ = published;
        request_.wait();
        late_.after(atMost, true);
    }

    void placed(std::uint64_t, const MessageId& id, std::uint32_t subscribers) override
    {
        published_.id = id;
        published_.subscribers = subscribers;
        RequestContext& context = contextOf(request_.get());
        context.messageId = formatted(request_->pool, id);
        context.subscribers = subscribers;
    }

    void stored(std::uint64_t, bool good) override
    {
        if (!good) {
            finish(NGX_HTTP_GATEWAY_TIME_OUT);
        } else if (--published_.stores == 0) {
            finish(NGX_HTTP_OK);
        }
    }

private:
    void finish(ngx_uint_t status)
    {
        ngx_http_request_t* r = request_.get();
        const Published published = std::move(published_);
        delete this;
        finishRequest(r, [&] {
            if (status == NGX_HTTP_OK) {
                return answer(r, status, published);
            }
            // Not 503, which means that it was not broadcast either.
            return respondError(r, status,
                                published.handBack.empty()
                                    ? "the event was broadcast, but is not confirmed yet; it stays queued"
                                    : "the event is not delivered yet; it stays queued");
        });
    }

    WaitingRequest request_;
    Callback late_;
    std::uint64_t token_;
    Published published_;
};

// The header, or the query argument: navigator.sendBeacon cannot send headers.
std::string_view idempotencyKeyOf(ngx_http_request_t* r)
{
    std::string_view key = requestHeader(r, "idempotency-key");
    bool given = false;
    return key.empty() ? queryArgument(r, "idempotency_key", given) : key;
}

// What comes from a web page is a client's, as over its WebSocket: it may have sent the same there before. Browsers say
// where a page comes from with every POST, and pages cannot keep them from it.
KeyOwner keyOwnerOf(ngx_http_request_t* r, const LocConf& conf)
{
    const bool client = conf.kind == PubSub || !requestHeader(r, "origin").empty();
    return client ? KeyOwner::Client : KeyOwner::Publisher;
}

// A test event of realtime_status goes where its request says, any other where its location does.
const App& appOf(ngx_http_request_t* r, const LocConf& conf)
{
    return conf.kind == Status ? mainConf(r).app(view(contextOf(r).app))->app : conf.app->app;
}

std::string_view contentTypeOf(const ngx_http_request_t* r)
{
    return r->headers_in.content_type != nullptr ? view(r->headers_in.content_type->value)
                                                 : std::string_view();
}

ngx_int_t publishBody(ngx_http_request_t* r)
{
    const LocConf& conf = locConf(r);
    Worker& worker = *Worker::current();
    RequestContext& context = contextOf(r);

    if (!bodyIsWhole(r)) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "realtime: another location has sent the request body on without keeping it: it needs "
                      "\"proxy_request_buffering on\"");
        return refuse(r, NGX_HTTP_INTERNAL_SERVER_ERROR, "the request body was not kept for this location");
    }
    if (bodySize(r) > static_cast<off_t>(conf.maxMessageBytes)) {
        return refuse(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE, "larger than realtime_max_message_size");
    }
    std::string buffer;
    Publication publication;
    publication.channel = view(context.channel);
    publication.event = view(context.event);
    publication.data = gatherBody(r, buffer);
    publication.idempotencyKey = idempotencyKeyOf(r);
    publication.keyOwner = keyOwnerOf(r, conf);
    publication.contentType = contentTypeOf(r);
    publication.timeMs = Worker::nowMs();

    const App& app = appOf(r, conf);
    const bool ordered = app.ordered(publication.channel);
    auto pending = conf.ack == Ack::Log && !ordered ? nullptr : std::make_unique<PendingPublish>(r);
    publication.token = pending != nullptr ? pending->token() : 0;
    publication.needsConfirm = conf.ack == Ack::Broker;
    publication.streamAlone = conf.ack == Ack::Log;
    Published published = worker.publish(app, publication);
    switch (published.status) {
    case PublishStatus::Published:
        worker.counters().add(Counter::PublishedHttp);
        worker.counters().add(Counter::PublishedBytes, publication.data.size());
        break;
    case PublishStatus::Repeated:
        worker.counters().add(Counter::PublishRepeated);
        break;
    case PublishStatus::Reserved:
        return refuse(r, NGX_HTTP_BAD_REQUEST, ReservedName);
    case PublishStatus::BrokerFull:
        return refuseForNow(r, "the broker is behind and its queue is full");
    case PublishStatus::BrokerAway:
        return refuseForNow(r, "the broker cannot store events now");
    case PublishStatus::ChannelsFull:
        return refuseForNow(r, "the realtime_zone has no room for another channel");
    case PublishStatus::TooLarge:
        return refuse(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                      "larger than the realtime_zone or a broker can ever take");
    }
    if (!ordered) {
        context.messageId = formatted(r->pool, published.id);
        context.subscribers = published.subscribers;
    }
    if (pending != nullptr && published.stores > 0) {
        pending.release()->await(published, conf.timeout);
        return NGX_DONE;
    }
    pending.reset(); // before it is answered, as always
    return answer(r, NGX_HTTP_ACCEPTED, published);
}

void onBody(ngx_http_request_t* r)
{
    ngx_int_t rc =
        guard<ngx_int_t>(r->connection->log, NGX_HTTP_INTERNAL_SERVER_ERROR, [&] { return publishBody(r); });
    if (rc != NGX_DONE) { // NGX_DONE: it waits, and keeps the reference that reading the body took
        ngx_http_finalize_request(r, rc);
    }
}

// What is wrong with the request is said before its body is read: a client that waits for `100 Continue` sends none then.
ngx_int_t readAndPublish(ngx_http_request_t* r, const LocConf& conf)
{
    Publication named;
    named.channel = view(contextOf(r).channel);
    named.event = view(contextOf(r).event);
    if (!validEvent(named.event)) {
        return refuse(r, NGX_HTTP_BAD_REQUEST, "invalid event name");
    }
    if (!mayPublish(appOf(r, conf), named)) {
        return refuse(r, NGX_HTTP_BAD_REQUEST, ReservedName);
    }
    if (contentTypeOf(r).size() > MaxContentTypeBytes ||
        idempotencyKeyOf(r).size() > MaxIdempotencyKeyBytes) {
        return refuse(r, NGX_HTTP_BAD_REQUEST, "Content-Type and Idempotency-Key have at most 255 bytes");
    }
    if (bodyIsEncoded(r)) {
        addHeader(r, "Accept-Encoding", "identity");
        return refuse(r, NGX_HTTP_UNSUPPORTED_MEDIA_TYPE, "the body must not have a Content-Encoding");
    }
    if (r->headers_in.content_length_n > static_cast<off_t>(conf.maxMessageBytes)) {
        return refuse(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE, "larger than realtime_max_message_size");
    }
    ngx_int_t rc = ngx_http_read_client_request_body(r, onBody);
    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}

} // namespace

bool validEvent(std::string_view event)
{
    return event.empty() || (event.size() <= MaxEventBytes && validChannelName(event));
}

ngx_int_t publishHandler(ngx_http_request_t* r)
{
    return guard<ngx_int_t>(r->connection->log, NGX_HTTP_INTERNAL_SERVER_ERROR, [&]() -> ngx_int_t {
        const LocConf& conf = locConf(r);
        contextOf(r).transport = ngx_string("http");
        if (auto answered = checkOrigin(r, conf)) {
            return *answered;
        }
        if ((r->method & (NGX_HTTP_POST | NGX_HTTP_PUT)) == 0) {
            return refuseMethod(r, methodsOf(conf));
        }
        std::string_view bad;
        if (channelsOf(r, conf, bad).empty()) {
            return refuse(r, NGX_HTTP_BAD_REQUEST,
                          bad.empty() ? "empty channel name" : "invalid channel name");
        }
        eventOf(r, conf);
        return readAndPublish(r, conf);
    });
}

ngx_int_t publishTestEvent(ngx_http_request_t* r, std::string_view app, std::string_view channel,
                           std::string_view event)
{
    RequestContext& context = contextOf(r);
    context.transport = ngx_string("http");
    if (mainConf(r).app(app) == nullptr) {
        return refuse(r, NGX_HTTP_BAD_REQUEST, "no such app");
    }
    if (!validChannelName(channel)) {
        return refuse(r, NGX_HTTP_BAD_REQUEST, "invalid channel name");
    }
    context.app = borrow(app);
    context.channel = borrow(channel);
    context.event = borrow(event);
    return readAndPublish(r, locConf(r));
}

} // namespace realtime
