// realtime_status: what this nginx does, all workers together. The dashboard, JSON, Prometheus' text; and where the
// configuration allows it, a look into a channel and test events.
//
//   GET                       the dashboard for who accepts text/html (browsers), else JSON
//   GET  ?format=html|json|prometheus|events
//   GET  ?file=NAME           what the dashboard consists of
//   GET  ?watch=CHANNEL       an event stream of the channel     realtime_status watch
//   POST ?publish=CHANNEL     publishes the body                 realtime_status publish
//
// Only query arguments, so that it works in any location.
#include "nginx/conf.hpp"
#include "nginx/dashboard.hpp"
#include "nginx/guard.hpp"
#include "nginx/origins.hpp"
#include "nginx/publish.hpp"
#include "nginx/request_context.hpp"
#include "nginx/response.hpp"
#include "nginx/str.hpp"
#include "nginx/subscribe.hpp"
#include "nginx/worker.hpp"
#include "node/status_figures.hpp"

#include "base/json_text.hpp"
#include "wire/accept.hpp"

namespace realtime {

namespace {

// What the page may offer.
std::string settings(ngx_http_request_t* r, const LocConf& conf)
{
    std::string out = "{\"watch\":";
    out += conf.watch ? "true" : "false";
    out += ",\"publish\":";
    out += conf.publishes ? "true" : "false";
    out += ",\"apps\":[";
    if (conf.watch || conf.publishes) {
        for (const auto& app : mainConf(r).apps) {
            out += out.back() == '[' ? "" : ",";
            appendJsonString(out, app->app.id);
        }
    }
    return out += "]}";
}

// The `app` of the query, or the default one; null: there is none of this name.
const AppConf* appOf(ngx_http_request_t* r)
{
    bool given = false;
    std::string_view id = queryArgument(r, "app", given);
    return mainConf(r).app(given ? id : std::string_view("default"));
}

// What is in channels is for the dashboard's own page, also if realtime_origins lets other pages read the figures: it may
// have been said for all locations, with subscribers in mind.
std::optional<ngx_int_t> refuseOtherOrigin(ngx_http_request_t* r)
{
    if (fromSameOrigin(r)) {
        return std::nullopt;
    }
    Worker::current()->counters().add(Counter::OriginRefused);
    return respondError(r, NGX_HTTP_FORBIDDEN, "only the dashboard itself may watch and publish");
}

ngx_int_t watch(ngx_http_request_t* r, const LocConf& conf, std::string_view channel)
{
    if (!conf.watch) {
        return respondError(r, NGX_HTTP_FORBIDDEN, "\"realtime_status\" has no \"watch\" here");
    }
    if (auto refused = refuseOtherOrigin(r)) {
        return *refused;
    }
    const AppConf* app = appOf(r);
    if (app == nullptr) {
        return respondError(r, NGX_HTTP_BAD_REQUEST, "no such app");
    }
    if (!validChannelName(channel)) {
        return respondError(r, NGX_HTTP_BAD_REQUEST, "invalid channel name");
    }
    RequestContext& context = contextOf(r);
    context.app = borrow(app->app.id);
    context.channel = borrow(channel);
    return openEventStream(r, {.conf = &conf, .app = &app->app, .channels = {channel}, .since = sinceOf(r)});
}

ngx_int_t show(ngx_http_request_t* r, const LocConf& conf)
{
    bool given = false;
    std::string_view format = queryArgument(r, "format", given);
    if (!given) {
        addHeader(r, "Vary", "Accept");
        format = acceptsHtml(joinedHeader(r, "accept")) ? "html" : "json";
    }
    if (format == "html") {
        return respondDashboardFile(r, DashboardPage);
    }
    if (format == "events" && r == r->main) {
        return openStatusStream(r, conf, settings(r, conf));
    }
    forbidCaching(r);
    if (format == "json") {
        return respond(r, NGX_HTTP_OK, "application/json", renderJson(takeFigures(*Worker::current())));
    }
    if (format == "prometheus") {
        return respond(r, NGX_HTTP_OK, "text/plain; version=0.0.4",
                       renderPrometheus(takeFigures(*Worker::current())));
    }
    return respondError(r, NGX_HTTP_BAD_REQUEST, "\"format\" is html, json, prometheus or events");
}

ngx_int_t get(ngx_http_request_t* r, const LocConf& conf)
{
    ngx_int_t rc = discardBody(r);
    if (rc != NGX_OK) {
        return rc;
    }
    bool given = false;
    if (std::string_view file = queryArgument(r, "file", given); given) {
        return respondDashboardFile(r, file);
    }
    std::string_view channel = queryArgument(r, "watch", given);
    if (given && r == r->main) {
        return watch(r, conf, channel);
    }
    return show(r, conf);
}

ngx_int_t post(ngx_http_request_t* r)
{
    if (auto refused = refuseOtherOrigin(r)) {
        return *refused;
    }
    bool given = false;
    std::string_view channel = queryArgument(r, "publish", given);
    if (!given) {
        return respondError(r, NGX_HTTP_BAD_REQUEST, "\"publish\" names the channel");
    }
    bool named = false;
    std::string_view app = queryArgument(r, "app", named);
    return publishTestEvent(r, named ? app : std::string_view("default"), channel,
                            queryArgument(r, "event", given));
}

} // namespace

ngx_int_t statusHandler(ngx_http_request_t* r)
{
    return guard<ngx_int_t>(r->connection->log, NGX_HTTP_INTERNAL_SERVER_ERROR, [&]() -> ngx_int_t {
        const LocConf& conf = locConf(r);
        if (auto answered = checkOrigin(r, conf)) {
            return *answered;
        }
        if ((r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD)) != 0) {
            return get(r, conf);
        }
        return conf.publishes && r->method == NGX_HTTP_POST ? post(r) : refuseMethod(r, methodsOf(conf));
    });
}

} // namespace realtime
