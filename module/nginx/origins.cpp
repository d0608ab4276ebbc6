#include "nginx/origins.hpp"

#include "nginx/conf.hpp"
#include "nginx/response.hpp"
#include "nginx/str.hpp"
#include "nginx/worker.hpp"

#include "wire/accept.hpp"

namespace realtime {

namespace {

std::string_view hostOf(ngx_http_request_t* r)
{
    // The header as the browser sent it, port included; with HTTP/2 nginx makes it from :authority.
    return r->headers_in.host != nullptr ? view(r->headers_in.host->value) : view(r->headers_in.server);
}

void addCorsHeaders(ngx_http_request_t* r, std::string_view origin, bool any)
{
    addHeader(r, "Access-Control-Allow-Origin", any ? std::string_view("*") : origin);
    if (!any) {
        addHeader(r, "Access-Control-Allow-Credentials", "true");
        addHeader(r, "Vary", "Origin");
    }
    addHeader(r, "Access-Control-Expose-Headers", "Realtime-Last-Id, Retry-After");
}

ngx_int_t answerPreflight(ngx_http_request_t* r, std::string_view methods)
{
    addHeader(r, "Allow", methods);
    addHeader(r, "Access-Control-Allow-Methods", methods);
    addHeader(r, "Access-Control-Allow-Headers",
              "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Requested-With");
    addHeader(r, "Access-Control-Max-Age", "86400");
    return respondEmpty(r, NGX_HTTP_NO_CONTENT);
}

} // namespace

bool fromSameOrigin(ngx_http_request_t* r)
{
    std::string_view origin = requestHeader(r, "origin");
    return origin.empty() || sameOrigin(origin, hostOf(r));
}

std::optional<ngx_int_t> checkOrigin(ngx_http_request_t* r, const LocConf& conf, std::string_view methods)
{
    if (!fromSameOrigin(r)) {
        std::string_view origin = requestHeader(r, "origin");
        bool any = conf.origins != nullptr && conf.origins->front() == "*" && conf.origins->size() == 1;
        if (conf.origins == nullptr || !originAllowed(*conf.origins, origin)) {
            Worker::current()->counters().add(Counter::OriginRefused);
            return respondError(r, NGX_HTTP_FORBIDDEN, "this origin may not connect");
        }
        addCorsHeaders(r, origin, any);
    }
    if (r->method == NGX_HTTP_OPTIONS) {
        return answerPreflight(r, methods);
    }
    return std::nullopt;
}

} // namespace realtime
