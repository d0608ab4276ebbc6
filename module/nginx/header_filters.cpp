// Two header filters around nginx's own of `add_header` and `expires`. As modules of their own, since nginx orders filters by
// module: see ngx_module_order in modules.c.
#include "nginx/conf.hpp"
#include "nginx/guard.hpp"
#include "nginx/origins.hpp"
#include "nginx/request_context.hpp"
#include "nginx/response_headers.hpp"

namespace realtime {

namespace {

ngx_http_output_header_filter_pt nextBefore, nextAfter;

const LocConf* endpointOf(ngx_http_request_t* r)
{
    const LocConf& conf = locConf(r);
    return r == r->main && conf.kind != 0 ? &conf : nullptr;
}

// `add_header` without `always` knows the statuses of 1999: 202 and 101 are successes as 200 is.
ngx_int_t beforeAddHeader(ngx_http_request_t* r)
{
    ngx_uint_t status = r->headers_out.status;
    if ((status == NGX_HTTP_ACCEPTED || status == NGX_HTTP_SWITCHING_PROTOCOLS) && endpointOf(r) != nullptr) {
        if (RequestContext* context = existingContext(r)) {
            context->status = status;
            r->headers_out.status = NGX_HTTP_OK;
        }
    }
    return nextBefore(r);
}

void complete(ngx_http_request_t* r, const LocConf& conf)
{
    if (RequestContext* context = existingContext(r)) {
        if (context->status != 0 && r->headers_out.status == NGX_HTTP_OK) {
            r->headers_out.status = context->status;
        }
        if (context->uncached) {
            setHeader(r, "Cache-Control", "no-store");
            removeHeader(r, "Expires");
        }
    }
    if ((conf.kind & (PubSub | Status)) != 0) {
        completeCorsHeaders(r, conf);
    }
}

ngx_int_t afterAddHeader(ngx_http_request_t* r)
{
    const LocConf* conf = endpointOf(r);
    if (conf != nullptr && !guardVoid(r->connection->log, [&] { complete(r, *conf); })) {
        return NGX_ERROR;
    }
    return nextAfter(r);
}

// Only where there are endpoints: unconfigured, the module does nothing.
ngx_int_t install(ngx_conf_t* cf, ngx_http_output_header_filter_pt filter,
                  ngx_http_output_header_filter_pt& next)
{
    auto* conf = static_cast<MainConf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_realtime_module));
    if (!conf->endpoints.empty()) {
        next = ngx_http_top_header_filter;
        ngx_http_top_header_filter = filter;
    }
    return NGX_OK;
}

ngx_http_module_t beforeContext = {
    nullptr,                                                                 /* preconfiguration */
    [](ngx_conf_t* cf) { return install(cf, beforeAddHeader, nextBefore); }, /* postconfiguration */
    nullptr,                                                                 /* create main configuration */
    nullptr,                                                                 /* init main configuration */
    nullptr,                                                                 /* create server configuration */
    nullptr,                                                                 /* merge server configuration */
    nullptr, /* create location configuration */
    nullptr, /* merge location configuration */
};

ngx_http_module_t afterContext = {
    nullptr,                                                               /* preconfiguration */
    [](ngx_conf_t* cf) { return install(cf, afterAddHeader, nextAfter); }, /* postconfiguration */
    nullptr,                                                               /* create main configuration */
    nullptr,                                                               /* init main configuration */
    nullptr,                                                               /* create server configuration */
    nullptr,                                                               /* merge server configuration */
    nullptr,                                                               /* create location configuration */
    nullptr,                                                               /* merge location configuration */
};

} // namespace

} // namespace realtime

extern ngx_module_t ngx_http_realtime_before_headers_filter_module;
extern ngx_module_t ngx_http_realtime_after_headers_filter_module;

ngx_module_t ngx_http_realtime_before_headers_filter_module = {
    NGX_MODULE_V1,
    &realtime::beforeContext, /* module context */
    nullptr,                  /* module directives */
    NGX_HTTP_MODULE,          /* module type */
    nullptr,                  /* init master */
    nullptr,                  /* init module */
    nullptr,                  /* init process */
    nullptr,                  /* init thread */
    nullptr,                  /* exit thread */
    nullptr,                  /* exit process */
    nullptr,                  /* exit master */
    NGX_MODULE_V1_PADDING,
};

ngx_module_t ngx_http_realtime_after_headers_filter_module = {
    NGX_MODULE_V1,
    &realtime::afterContext, /* module context */
    nullptr,                 /* module directives */
    NGX_HTTP_MODULE,         /* module type */
    nullptr,                 /* init master */
    nullptr,                 /* init module */
    nullptr,                 /* init process */
    nullptr,                 /* init thread */
    nullptr,                 /* exit thread */
    nullptr,                 /* exit process */
    nullptr,                 /* exit master */
    NGX_MODULE_V1_PADDING,
};
