// Ways to subscribe at a location-routed endpoint; subscribe.cpp chooses between them.
#pragma once

#include "nginx/ngx.hpp"

#include "hub/hub.hpp"
#include "nginx/conf.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace realtime {

struct SubscribeRequest {
    const LocConf* conf = nullptr;
    const App* app = nullptr;
    std::vector<std::string_view> channels;
    Since since;
};

// Each answers the request, one way or the other, and returns what the content handler is to return.
ngx_int_t openWebSocket(ngx_http_request_t* r, const SubscribeRequest& request);
ngx_int_t openEventStream(ngx_http_request_t* r, const SubscribeRequest& request);
ngx_int_t openLongPoll(ngx_http_request_t* r, const SubscribeRequest& request);
// What the head of an event stream says.
void setEventStreamHeaders(ngx_http_request_t* r);
// The figures of realtime_status, see StatusFeed.
ngx_int_t openStatusStream(ngx_http_request_t* r, const LocConf& conf, std::string_view greeting);

// How the client wants to be served.
enum class Service { WebSocket, EventStream, LongPoll };
Service serviceOf(ngx_http_request_t* r);

// Where the client wants to start: its Last-Event-ID, else the same as a parameter of the query, else `since` of the query.
Since sinceOf(ngx_http_request_t* r);
// Joins the hub; NGX_OK, or the answer that refuses it. Channels that the app reserves are for its Pusher clients alone:
// even a silent listener would count as a connection of the user.
ngx_int_t joinOrRefuse(ngx_http_request_t* r, const SubscribeRequest& request, Subscriber& subscriber);

// Joins the hub; NGX_OK, or the answer that refuses it. `reached` is for Hub::positionOf().
ngx_int_t joinOrRefuse(ngx_http_request_t* r, const SubscribeRequest& request, Subscriber& subscriber,
                       Reached& reached);

} // namespace realtime
