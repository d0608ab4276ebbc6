#include "nginx/request_context.hpp"

#include "nginx/conf.hpp"
#include "nginx/str.hpp"

#include <span>

namespace realtime {

namespace {

ngx_str_t evaluate(ngx_http_request_t* r, ngx_http_complex_value_t* value)
{
    ngx_str_t text;
    if (ngx_http_complex_value(r, value, &text) != NGX_OK) {
        throw std::bad_alloc();
    }
    return text;
}

} // namespace

std::vector<std::string_view> channelsOf(ngx_http_request_t* r, const LocConf& conf, std::string_view& bad)
{
    RequestContext& context = contextOf(r);
    context.app = borrow(conf.app->app.id);

    std::vector<std::string_view> channels;
    auto* values = static_cast<ngx_http_complex_value_t*>(conf.channels->elts);
    for (ngx_http_complex_value_t& value : std::span(values, conf.channels->nelts)) {
        std::string_view channel = view(evaluate(r, &value));
        if (!validChannelName(channel)) {
            bad = channel;
            return {};
        }
        channels.push_back(channel);
    }
    if (channels.size() == 1) {
        context.channel = borrow(channels.front());
        return channels;
    }
    std::string joined;
    for (std::string_view channel : channels) {
        joined.append(joined.empty() ? "" : ",").append(channel);
    }
    context.channel = copyTo(r->pool, joined);
    return channels;
}

std::string_view eventOf(ngx_http_request_t* r, const LocConf& conf)
{
    if (conf.event == nullptr) {
        return {};
    }
    RequestContext& context = contextOf(r);
    context.event = evaluate(r, conf.event);
    return view(context.event);
}

} // namespace realtime
