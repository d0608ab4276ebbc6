// $realtime_app, $realtime_channel, $realtime_event, $realtime_message_id, $realtime_subscribers,
// $realtime_transport: for log_format, map, if, limit_conn and whatever else takes variables. Before our handler has seen
// the request they are what it will find; in a subrequest (auth_request) they are of the request that it serves. Not found
// where a request has nothing of the kind.
#include "nginx/conf.hpp"
#include "nginx/guard.hpp"
#include "nginx/request_context.hpp"
#include "nginx/str.hpp"
#include "nginx/subscribe.hpp"

#include <algorithm>

namespace realtime {

namespace {

// The request that is at an endpoint of ours, be it that `r` serves it; null: there is none.
ngx_http_request_t* requestAtEndpoint(ngx_http_request_t* r)
{
    while (r != nullptr && locConf(r).kind == 0) {
        r = r->parent;
    }
    return r;
}

ngx_str_t appOf(ngx_http_request_t*, const LocConf& conf)
{
    return conf.app == nullptr ? ngx_str_t ngx_null_string : borrow(conf.app->app.id);
}

ngx_str_t channelOf(ngx_http_request_t* r, const LocConf& conf)
{
    std::string_view bad;
    if (conf.channels == nullptr) {
        return ngx_null_string;
    }
    const auto channels = evaluateChannels(r, conf, bad);
    return channels.empty() ? ngx_str_t ngx_null_string : joined(r, channels);
}

ngx_str_t transportOf(ngx_http_request_t* r, const LocConf& conf)
{
    if ((conf.kind & (Subscribe | PusherWebSocket)) != 0 &&
        (r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD)) != 0) {
        switch (serviceOf(r)) {
        case Service::WebSocket:
            return ngx_string("websocket");
        case Service::EventStream:
            return ngx_string("sse");
        case Service::LongPoll:
            return ngx_string("longpoll");
        }
    }
    const bool publishes = (r->method & (NGX_HTTP_POST | NGX_HTTP_PUT)) != 0;
    const bool http = conf.kind == Publish || conf.kind == PusherApi || (conf.kind == PubSub && publishes);
    return http ? ngx_str_t ngx_string("http") : ngx_str_t ngx_null_string;
}

// What the handler has noted, else what it will.
struct Text {
    ngx_str_t RequestContext::*noted;
    ngx_str_t (*foreseen)(ngx_http_request_t* r, const LocConf& conf); // null: nobody can
};

constexpr Text Texts[] = {
    {&RequestContext::app, appOf},
    {&RequestContext::channel, channelOf},
    {&RequestContext::event, evaluateEvent},
    {&RequestContext::messageId, nullptr},
    {&RequestContext::transport, transportOf},
};

ngx_str_t textOf(ngx_http_request_t* r, const Text& text)
{
    ngx_http_request_t* at = requestAtEndpoint(r);
    if (at == nullptr) {
        return ngx_null_string;
    }
    const RequestContext* context = existingContext(at);
    if (context != nullptr && (context->*text.noted).data != nullptr) {
        return context->*text.noted;
    }
    return text.foreseen == nullptr ? ngx_str_t ngx_null_string : text.foreseen(at, locConf(at));
}

void set(ngx_http_variable_value_t* v, const ngx_str_t& text)
{
    v->data = text.data;
    v->len = static_cast<unsigned>(text.len);
    v->valid = text.data != nullptr;
    v->not_found = text.data == nullptr;
    v->no_cacheable = 1;
}

// `data` is the index in Texts.
ngx_int_t getText(ngx_http_request_t* r, ngx_http_variable_value_t* v, uintptr_t data)
{
    return guard<ngx_int_t>(r->connection->log, NGX_ERROR, [&]() -> ngx_int_t {
        set(v, textOf(r, Texts[data]));
        return NGX_OK;
    });
}

ngx_int_t getSubscribers(ngx_http_request_t* r, ngx_http_variable_value_t* v, uintptr_t)
{
    ngx_http_request_t* at = requestAtEndpoint(r);
    const RequestContext* context = at == nullptr ? nullptr : existingContext(at);
    ngx_str_t text = ngx_null_string;
    if (context != nullptr && context->subscribers >= 0) {
        text.data = static_cast<u_char*>(ngx_pnalloc(r->pool, NGX_INT_T_LEN));
        if (text.data == nullptr) {
            return NGX_ERROR;
        }
        text.len = static_cast<std::size_t>(ngx_sprintf(text.data, "%i", context->subscribers) - text.data);
    }
    set(v, text);
    return NGX_OK;
}

struct Variable {
    const char* name;
    ngx_http_get_variable_pt get;
    uintptr_t data;
};

constexpr Variable Variables[] = {
    {"realtime_app", getText, 0},       {"realtime_channel", getText, 1},
    {"realtime_event", getText, 2},     {"realtime_message_id", getText, 3},
    {"realtime_transport", getText, 4}, {"realtime_subscribers", getSubscribers, 0},
};

// nginx's log takes the value that a variable had when it was first asked for, which may be of before our handler, or of a
// location that the request has left. So these are asked for anew.
ngx_int_t forgetBeforeLog(ngx_http_request_t* r)
{
    for (const ngx_http_variable_t* one : mainConf(r).variables) {
        if ((one->flags & NGX_HTTP_VAR_INDEXED) != 0) {
            r->variables[one->index].valid = 0;
            r->variables[one->index].not_found = 0;
        }
    }
    return NGX_OK;
}

} // namespace

ngx_int_t addVariables(ngx_conf_t* cf)
{
    return guard<ngx_int_t>(cf->log, NGX_ERROR, [&]() -> ngx_int_t {
        auto* conf = static_cast<MainConf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_realtime_module));
        for (const Variable& one : Variables) {
            ngx_str_t name = borrow(one.name);
            ngx_http_variable_t* variable = ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_NOCACHEABLE);
            if (variable == nullptr) {
                return NGX_ERROR;
            }
            variable->get_handler = one.get;
            variable->data = one.data;
            conf->variables.push_back(variable); // nginx writes its index there if somebody uses it
        }
        return NGX_OK;
    });
}

ngx_int_t installVariables(ngx_conf_t* cf)
{
    auto* core =
        static_cast<ngx_http_core_main_conf_t*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module));
    ngx_array_t& handlers = core->phases[NGX_HTTP_LOG_PHASE].handlers;
    if (ngx_array_push(&handlers) == nullptr) {
        return NGX_ERROR;
    }
    auto* first = static_cast<ngx_http_handler_pt*>(handlers.elts); // of this phase, the first runs first
    std::copy_backward(first, first + handlers.nelts - 1, first + handlers.nelts);
    *first = forgetBeforeLog;
    return NGX_OK;
}

} // namespace realtime
