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

std::vector<std::string_view> evaluateChannels(ngx_http_request_t* r, const LocConf& conf,
                                               std::string_view& bad)
{
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
    return channels;
}

std::vector<std::string_view> channelsOf(ngx_http_request_t* r, const LocConf& conf, std::string_view& bad)
{
    RequestContext& context = contextOf(r);
    context.app = borrow(conf.app->app.id);
    auto channels = evaluateChannels(r, conf, bad);
    if (!channels.empty()) {
        context.channel = joined(r, channels);
    }
    return channels;
}

ngx_str_t joined(ngx_http_request_t* r, const std::vector<std::string_view>& channels)
{
    if (channels.size() == 1) {
        return borrow(channels.front());
    }
    std::string joined;
    for (std::string_view channel : channels) {
        joined.append(joined.empty() ? "" : ",").append(channel);
    }
    return copyTo(r->pool, joined);
}

ngx_str_t evaluateEvent(ngx_http_request_t* r, const LocConf& conf)
{
    return conf.event == nullptr ? ngx_str_t ngx_null_string : evaluate(r, conf.event);
}

std::string_view prefixOf(ngx_http_request_t* r)
{
    const auto& core =
        *static_cast<ngx_http_core_loc_conf_t*>(ngx_http_get_module_loc_conf(r, ngx_http_core_module));
#if (NGX_PCRE)
    if (core.regex != nullptr) {
        return {};
    }
#endif
    return view(core.name);
}

std::string_view eventOf(ngx_http_request_t* r, const LocConf& conf)
{
    RequestContext& context = contextOf(r);
    context.event = evaluateEvent(r, conf);
    return view(context.event);
}

} // namespace realtime
