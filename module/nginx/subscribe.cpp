// realtime_subscribe and realtime_pubsub: which way the client wants to be served.
#include "nginx/subscribe.hpp"

#include "nginx/guard.hpp"
#include "nginx/handshake.hpp"
#include "nginx/origins.hpp"
#include "nginx/publish.hpp"
#include "nginx/request_context.hpp"
#include "nginx/response.hpp"
#include "nginx/str.hpp"
#include "nginx/stream_head.hpp"
#include "nginx/worker.hpp"

#include "base/ascii.hpp"
#include "wire/accept.hpp"

#include <algorithm>

namespace realtime {

namespace {

ngx_int_t subscribe(ngx_http_request_t* r)
{
    const LocConf& conf = locConf(r);
    if (auto answered = checkOrigin(r, conf)) {
        return *answered;
    }
    // Nobody waits for what a subrequest or a post_action gets.
    if ((r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD)) == 0 || r != r->main || r->post_action) {
        return refuseMethod(r, methodsOf(conf));
    }
    ngx_int_t rc = discardBody(r);
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

    request.since = sinceOf(r);

    switch (serviceOf(r)) {
    case Service::WebSocket:
        return openWebSocket(r, request);
    case Service::EventStream:
        return openEventStream(r, request);
    case Service::LongPoll:
        return openLongPoll(r, request);
    }
    return NGX_ERROR;
}

// What polyfills of EventSource, which cannot send the header, call it: lastEventId, Last-Event-ID, last_event_id …
bool namesLastEventId(std::string_view name)
{
    constexpr std::string_view Name = "lasteventid";
    std::size_t matched = 0;
    for (char c : name) {
        if (c == '-' || c == '_') {
            continue;
        }
        if (matched == Name.size() || lower(c) != Name[matched++]) {
            return false;
        }
    }
    return matched == Name.size();
}

bool isBlank(std::string_view text)
{
    return text.find_first_not_of(" \t") == std::string_view::npos;
}

} // namespace

ngx_int_t joinOrRefuse(ngx_http_request_t* r, const SubscribeRequest& request, Subscriber& subscriber,
                       Reached& reached)
{
    if (std::any_of(request.channels.begin(), request.channels.end(),
                    [&](std::string_view channel) { return request.app->reserves(channel); })) {
        return respondError(r, NGX_HTTP_BAD_REQUEST, ReservedName);
    }
    Worker& worker = *Worker::current();
    JoinResult joined = worker.join(subscriber, *request.app, request.channels, request.since);
    switch (joined.status) {
    case Joined::Ok:
        reached = std::move(joined.reached);
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

Service serviceOf(ngx_http_request_t* r)
{
    if (r->method == NGX_HTTP_GET && wantsWebSocket(r)) {
        return Service::WebSocket;
    }
    return acceptsEventStream(joinedHeader(r, "accept")) ? Service::EventStream : Service::LongPoll;
}

// A reconnecting EventSource sends several: the URL it was made with, and how far it got since.
Since sinceOf(ngx_http_request_t* r)
{
    std::string_view text = requestHeader(r, "last-event-id");
    if (isBlank(text)) {
        text = lastQueryArgument(r, namesLastEventId);
    }
    if (isBlank(text)) {
        text = lastQueryArgument(r, [](std::string_view name) { return name == "since"; });
    }
    return parseSince(text);
}

ngx_int_t subscribeHandler(ngx_http_request_t* r)
{
    return guard<ngx_int_t>(r->connection->log, NGX_HTTP_INTERNAL_SERVER_ERROR, [&] { return subscribe(r); });
}

ngx_int_t pubsubHandler(ngx_http_request_t* r)
{
    if ((r->method & (NGX_HTTP_POST | NGX_HTTP_PUT)) != 0) {
        return publishHandler(r);
    }
    return guard<ngx_int_t>(r->connection->log, NGX_HTTP_INTERNAL_SERVER_ERROR, [&] { return subscribe(r); });
}

} // namespace realtime
