// realtime_subscribe and realtime_pubsub: which way the client wants to be served.
#include "nginx/subscribe.hpp"

#include "nginx/guard.hpp"
#include "nginx/handshake.hpp"
#include "nginx/origins.hpp"
#include "nginx/request_context.hpp"
#include "nginx/response.hpp"
#include "nginx/str.hpp"
#include "nginx/stream_head.hpp"
#include "nginx/worker.hpp"

#include "wire/accept.hpp"

namespace realtime {

namespace {

// As a GET would be answered, without its body: there is nothing to wait for.
ngx_int_t answerHead(ngx_http_request_t* r)
{
    if (acceptsEventStream(requestHeader(r, "accept"))) {
        setEventStreamHeaders(r);
        return sendStreamHead(r).value_or(NGX_OK);
    }
    addHeader(r, "Cache-Control", "no-store");
    return respond(r, NGX_HTTP_OK, "application/json", "[]");
}

ngx_int_t subscribe(ngx_http_request_t* r, std::string_view methods)
{
    const LocConf& conf = locConf(r);
    if (auto answered = checkOrigin(r, conf, methods)) {
        return *answered;
    }
    // Nobody waits for what a subrequest or a post_action gets.
    if ((r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD)) == 0 || r != r->main || r->post_action) {
        return refuseMethod(r, methods);
    }
    ngx_int_t rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    SubscribeRequest request;
    request.conf = &conf;
    request.app = &conf.app->app;
    std::string_view bad;
    request.channels = channelsOf(r, conf, bad);
    if (request.channels.empty()) {
        return respondError(r, NGX_HTTP_BAD_REQUEST,
                            bad.empty() ? "empty channel name" : "invalid channel name");
    }

    auto since = sinceOf(r);
    if (!since) {
        return respondError(r, NGX_HTTP_BAD_REQUEST, "\"since\" is earliest, latest, or ids of events");
    }
    request.since = *since;
    if (r->method == NGX_HTTP_HEAD) {
        return answerHead(r);
    }

    if (wantsWebSocket(r)) {
        return openWebSocket(r, request);
    }
    if (acceptsEventStream(requestHeader(r, "accept"))) {
        return openEventStream(r, request);
    }
    return openLongPoll(r, request);
}

} // namespace

ngx_int_t joinOrRefuse(ngx_http_request_t* r, const SubscribeRequest& request, Subscriber& subscriber)
{
    Worker& worker = *Worker::current();
    switch (worker.join(subscriber, *request.app, request.channels, request.since).status) {
    case Joined::Ok:
        worker.pump(subscriber);
        return NGX_OK;
    case Joined::ChannelsFull:
        addHeader(r, "Retry-After", "1");
        return respondError(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                            "the realtime_zone has no room for another channel");
    case Joined::NoSlot:
        addHeader(r, "Retry-After", "1");
        return respondError(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                            "this worker has no place in the realtime_zone yet");
    case Joined::SeveralZones:
        return respondError(r, NGX_HTTP_BAD_REQUEST,
                            "the channels of one subscription must share a realtime_zone");
    }
    return NGX_ERROR;
}

// A reconnecting EventSource sends both: the URL it was made with, and how far it got since.
std::optional<Since> sinceOf(ngx_http_request_t* r)
{
    bool given = false;
    std::string_view text = queryArgument(r, "since", given);
    std::string_view lastEventId = requestHeader(r, "last-event-id");
    return parseSince(lastEventId.empty() ? text : lastEventId);
}

std::string positionOf(const Subscriber& subscriber)
{
    std::string position;
    for (const Subscription* s = subscriber.subscriptions(); s != nullptr; s = s->next) {
        position += (position.empty() ? "" : ",") + toString(MessageId{s->channel->ref.epoch, s->lastOffset});
    }
    return position;
}

ngx_int_t subscribeHandler(ngx_http_request_t* r)
{
    return guard<ngx_int_t>(r->connection->log, NGX_HTTP_INTERNAL_SERVER_ERROR,
                            [&] { return subscribe(r, "GET, HEAD, OPTIONS"); });
}

ngx_int_t pubsubHandler(ngx_http_request_t* r)
{
    if ((r->method & (NGX_HTTP_POST | NGX_HTTP_PUT)) != 0) {
        return publishHandler(r);
    }
    return guard<ngx_int_t>(r->connection->log, NGX_HTTP_INTERNAL_SERVER_ERROR,
                            [&] { return subscribe(r, "GET, HEAD, POST, PUT, OPTIONS"); });
}

} // namespace realtime
