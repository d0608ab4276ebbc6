#include "nginx/origins.hpp"

#include "nginx/conf.hpp"
#include "nginx/guard.hpp"
#include "nginx/response.hpp"
#include "nginx/response_headers.hpp"
#include "nginx/str.hpp"
#include "nginx/worker.hpp"

#include "base/ascii.hpp"
#include "wire/accept.hpp"

#include <algorithm>

namespace realtime {

namespace {

constexpr std::string_view AllowOrigin = "Access-Control-Allow-Origin";
constexpr std::string_view AllowCredentials = "Access-Control-Allow-Credentials";
constexpr std::string_view AllowMethods = "Access-Control-Allow-Methods";
constexpr std::string_view AllowHeaders = "Access-Control-Allow-Headers";
constexpr std::string_view ExposeHeaders = "Access-Control-Expose-Headers";
constexpr std::string_view MaxAge = "Access-Control-Max-Age";

std::string_view schemeOf(const ngx_http_request_t* r)
{
#if (NGX_SSL || NGX_COMPAT)
    return r->connection->ssl != nullptr ? "https" : "http";
#else
    return "http";
#endif
}

// Host and port as the client has named them.
std::string_view authorityOf(const ngx_http_request_t* r)
{
    if (std::string_view absolute = absoluteAuthority(view(r->request_line)); !absolute.empty()) {
        return absolute;
    }
    if (r->headers_in.host != nullptr) { // with HTTP/2 nginx makes it from :authority
        return view(r->headers_in.host->value);
    }
    if (r->host_start != nullptr && r->host_end != nullptr) { // :authority of HTTP/3
        return {reinterpret_cast<char*>(r->host_start),
                static_cast<std::size_t>(r->host_end - r->host_start)};
    }
    return view(r->headers_in.server);
}

// The header as it is; of several lines, which no browser sends, a list that is nobody's origin.
std::string_view originOf(ngx_http_request_t* r)
{
    std::string_view first = requestHeader(r, "origin");
    std::string all = joinedHeader(r, "origin");
    return all.size() == first.size() ? first : view(copyTo(r->pool, all));
}

// Where TLS ends in front of nginx, the scheme that the browser sees is not known here. Browsers of today say themselves
// whether a request stays within an origin, and no page can make them say it.
bool endsTlsInFront(ngx_http_request_t* r, std::string_view origin)
{
    return schemeOf(r) == "http" && requestHeader(r, "sec-fetch-site") == "same-origin" &&
           sameOrigin(origin, "https", authorityOf(r));
}

bool isSame(ngx_http_request_t* r, std::string_view origin)
{
    return sameOrigin(origin, schemeOf(r), authorityOf(r)) || endsTlsInFront(r, origin);
}

bool isAllowed(const LocConf& conf, std::string_view origin)
{
    return conf.origins != nullptr && originAllowed(*conf.origins, origin);
}

// For who sets nginx up: what was compared, and what to write.
void logRefusal(ngx_http_request_t* r, const LocConf& conf, std::string_view origin)
{
    ngx_str_t page = borrow(origin.substr(0, 200));
    ngx_str_t scheme = borrow(schemeOf(r));
    ngx_str_t authority = borrow(authorityOf(r).substr(0, 200));
    const char* why = !validOrigin(origin)      ? "is no origin"
                      : conf.origins != nullptr ? "is not among \"realtime_origins\""
                      : sameOrigin(origin, "https", view(authority)) && view(scheme) == "http"
                          ? "is not the same; if TLS ends in front of nginx, name it in \"realtime_origins\""
                          : "is not the same; to let it in, name it in \"realtime_origins\"";
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "realtime: a page of \"%V\" asks \"%V://%V\": its origin %s", &page, &scheme, &authority,
                  why);
}

ngx_int_t answerOptions(ngx_http_request_t* r, const LocConf& conf)
{
    // What clients of today send; and what this page asks for.
    constexpr std::string_view Known =
        "authorization, content-type, idempotency-key, last-event-id, x-requested-with";
    addHeader(r, "Allow", methodsOf(conf));
    addHeader(r, AllowMethods, methodsOf(conf));
    std::string asked = requestedHeaders(joinedHeader(r, "access-control-request-headers"), Known);
    std::string allowed(Known);
    allowed += asked.empty() ? "" : ", " + asked;
    addHeader(r, AllowHeaders, view(copyTo(r->pool, allowed)));
    addHeader(r, MaxAge, "86400");
    return respondEmpty(r, NGX_HTTP_NO_CONTENT);
}

} // namespace

std::string_view methodsOf(const LocConf& conf)
{
    switch (conf.kind) {
    case Publish:
        return "POST, PUT, OPTIONS";
    case Subscribe:
        return "GET, HEAD, OPTIONS";
    case PubSub:
        return "GET, HEAD, POST, PUT, OPTIONS";
    default:
        return conf.publishes ? "GET, HEAD, POST, OPTIONS" : "GET, HEAD, OPTIONS";
    }
}

bool fromSameOrigin(ngx_http_request_t* r)
{
    std::string_view origin = originOf(r);
    return origin.empty() || isSame(r, origin);
}

std::optional<ngx_int_t> checkOrigin(ngx_http_request_t* r, const LocConf& conf)
{
    std::string_view origin = originOf(r);
    if (!origin.empty() && !isSame(r, origin) && !isAllowed(conf, origin)) {
        Worker::current()->counters().add(Counter::OriginRefused);
        logRefusal(r, conf, origin);
        return respondError(r, NGX_HTTP_FORBIDDEN, "this origin may not connect");
    }
    if (r->method == NGX_HTTP_OPTIONS) {
        return answerOptions(r, conf);
    }
    return std::nullopt;
}

namespace {

// Browsers send a preflight without credentials, so that it is answered before the access directives have their say. Those
// that limit (limit_req, limit_conn) had it already.
ngx_int_t answerPreflight(ngx_http_request_t* r)
{
    const LocConf& conf = locConf(r);
    if (r->method != NGX_HTTP_OPTIONS || r != r->main || (conf.kind & (PubSub | Status)) == 0) {
        return NGX_DECLINED;
    }
    return guard<ngx_int_t>(r->connection->log, NGX_HTTP_INTERNAL_SERVER_ERROR, [&]() -> ngx_int_t {
        if (requestHeader(r, "access-control-request-method").empty() || !isAllowed(conf, originOf(r))) {
            return NGX_DECLINED;
        }
        ngx_http_finalize_request(r, answerOptions(r, conf));
        return NGX_DONE;
    });
}

} // namespace

ngx_int_t installPreflights(ngx_conf_t* cf)
{
    auto* core =
        static_cast<ngx_http_core_main_conf_t*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module));
    auto* handler = static_cast<ngx_http_handler_pt*>(
        ngx_array_push(&core->phases[NGX_HTTP_ACCESS_PHASE].handlers)); // of this phase, the last runs first
    if (handler == nullptr) {
        return NGX_ERROR;
    }
    *handler = answerPreflight;
    return NGX_OK;
}

void completeCorsHeaders(ngx_http_request_t* r, const LocConf& conf)
{
    std::string_view origin = originOf(r);
    if (origin.empty() || isSame(r, origin) || !isAllowed(conf, origin)) {
        return;
    }
    // `*` says the least: who writes more with `add_header` is right, and no answer may name two.
    const bool any = std::find(conf.origins->begin(), conf.origins->end(), "*") != conf.origins->end();
    setHeader(r, AllowOrigin, any && !hasHeader(r, AllowOrigin, origin) ? std::string_view("*") : origin);
    if (!any) {
        setHeader(r, AllowCredentials, "true");
        addToList(r, "Vary", "Origin");
    }
    addToList(r, ExposeHeaders, "Realtime-Last-Id");
    addToList(r, ExposeHeaders, "Retry-After");
    mergeHeader(r, AllowHeaders);
    mergeHeader(r, AllowMethods);
    keepFirstHeader(r, AllowCredentials);
    keepFirstHeader(r, MaxAge);
}

} // namespace realtime
