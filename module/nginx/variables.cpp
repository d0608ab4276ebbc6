// $realtime_app, $realtime_channel, $realtime_event, $realtime_message_id, $realtime_subscribers,
// $realtime_transport: for log_format, map and if. Not found where a request has nothing of the kind.
#include "nginx/conf.hpp"
#include "nginx/request_context.hpp"
#include "nginx/str.hpp"

namespace realtime {

namespace {

// `data` is the offset of the ngx_str_t in RequestContext.
ngx_int_t getText(ngx_http_request_t* r, ngx_http_variable_value_t* v, uintptr_t data)
{
    RequestContext* context = existingContext(r);
    if (context == nullptr) {
        v->not_found = 1;
        return NGX_OK;
    }
    auto* text = reinterpret_cast<ngx_str_t*>(reinterpret_cast<char*>(context) + data);
    v->data = text->data;
    v->len = static_cast<unsigned>(text->len);
    v->valid = text->data != nullptr;
    v->not_found = text->data == nullptr;
    v->no_cacheable = 1;
    return NGX_OK;
}

ngx_int_t getSubscribers(ngx_http_request_t* r, ngx_http_variable_value_t* v, uintptr_t)
{
    RequestContext* context = existingContext(r);
    if (context == nullptr || context->subscribers < 0) {
        v->not_found = 1;
        return NGX_OK;
    }
    auto* digits = static_cast<u_char*>(ngx_pnalloc(r->pool, NGX_INT_T_LEN));
    if (digits == nullptr) {
        return NGX_ERROR;
    }
    v->data = digits;
    v->len = static_cast<unsigned>(ngx_sprintf(digits, "%i", context->subscribers) - digits);
    v->valid = 1;
    v->not_found = 0;
    v->no_cacheable = 1;
    return NGX_OK;
}

struct Variable {
    const char* name;
    ngx_http_get_variable_pt get;
    uintptr_t data;
};

constexpr Variable Variables[] = {
    {"realtime_app", getText, offsetof(RequestContext, app)},
    {"realtime_channel", getText, offsetof(RequestContext, channel)},
    {"realtime_event", getText, offsetof(RequestContext, event)},
    {"realtime_message_id", getText, offsetof(RequestContext, messageId)},
    {"realtime_transport", getText, offsetof(RequestContext, transport)},
    {"realtime_subscribers", getSubscribers, 0},
};

} // namespace

ngx_int_t addVariables(ngx_conf_t* cf)
{
    for (const Variable& one : Variables) {
        ngx_str_t name = borrow(one.name);
        ngx_http_variable_t* variable = ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_NOCACHEABLE);
        if (variable == nullptr) {
            return NGX_ERROR;
        }
        variable->get_handler = one.get;
        variable->data = one.data;
    }
    return NGX_OK;
}

} // namespace realtime
