// What a request of ours has come to, for the variables and for its handlers. In the request's pool; without a
// destructor, since a cleanup handler would keep the request of a detached connection alive.
#pragma once

#include "nginx/ngx.hpp"

#include "nginx/pool.hpp"

#include <string_view>
#include <vector>

extern ngx_module_t ngx_http_realtime_module;

namespace realtime {

struct LocConf;

struct RequestContext {
    ngx_str_t app = ngx_null_string;
    ngx_str_t channel = ngx_null_string; // several: separated by commas
    ngx_str_t event = ngx_null_string;
    ngx_str_t messageId = ngx_null_string;
    ngx_str_t transport = ngx_null_string; // http, websocket, sse, longpoll
    ngx_int_t subscribers = -1;            // of a publish; -1: none
    ngx_uint_t streamStatus = 0; // of a response that stays open, see sendStreamHead(); 0: it does not
    void* outlet = nullptr;      // the Outlet or waiter that belongs to the request
    bool uncached = false;       // see forbidCaching()
    ngx_uint_t status = 0;       // the answer's, while the filter of `add_header` sees another
};

// Null if the request has not come to us, or not yet.
inline RequestContext* existingContext(ngx_http_request_t* r)
{
    return static_cast<RequestContext*>(ngx_http_get_module_ctx(r, ngx_http_realtime_module));
}

// Made when first asked for. Throws std::bad_alloc.
inline RequestContext& contextOf(ngx_http_request_t* r)
{
    RequestContext* context = existingContext(r);
    if (context == nullptr) {
        context = &poolNewPlain<RequestContext>(r->pool);
        ngx_http_set_ctx(r, context, ngx_http_realtime_module);
    }
    return *context;
}

// Of a request that was given one of this type.
template <class T> T& outletOf(ngx_http_request_t* r)
{
    return *static_cast<T*>(existingContext(r)->outlet);
}

// The endpoint's channels with their variables filled in; views into the request's pool. Empty if one is not a valid
// name: `bad` then holds it.
std::vector<std::string_view> evaluateChannels(ngx_http_request_t* r, const LocConf& conf,
                                               std::string_view& bad);
// One text for all of them.
ngx_str_t joined(ngx_http_request_t* r, const std::vector<std::string_view>& channels);
// As evaluateChannels(), and the context has them and the app from now on.
std::vector<std::string_view> channelsOf(ngx_http_request_t* r, const LocConf& conf, std::string_view& bad);

// The text of the request's location, if it is a prefix; of others (a regex, a name) there is none that fits.
std::string_view prefixOf(ngx_http_request_t* r);

// The endpoint's `event=`; empty: the default.
ngx_str_t evaluateEvent(ngx_http_request_t* r, const LocConf& conf);
// The same, and the context has it from now on.
std::string_view eventOf(ngx_http_request_t* r, const LocConf& conf);

} // namespace realtime
