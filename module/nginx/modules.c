/* What nginx looks up in the shared object; everything else is hidden. */

#include <ngx_config.h>
#include <ngx_core.h>

extern ngx_module_t ngx_http_realtime_module;
extern ngx_module_t ngx_http_realtime_before_headers_filter_module;
extern ngx_module_t ngx_http_realtime_after_headers_filter_module;

__attribute__((visibility("default"))) ngx_module_t *ngx_modules[] = {
    &ngx_http_realtime_module,
    &ngx_http_realtime_before_headers_filter_module,
    &ngx_http_realtime_after_headers_filter_module,
    NULL
};

__attribute__((visibility("default"))) char *ngx_module_names[] = {
    "ngx_http_realtime_module",
    "ngx_http_realtime_before_headers_filter_module",
    "ngx_http_realtime_after_headers_filter_module",
    NULL
};

/* Filters run from the last module to the first: what stands here before nginx's filter runs after it. */
__attribute__((visibility("default"))) char *ngx_module_order[] = {
    "ngx_http_realtime_module",
    /* The first of the filters that alter responses: ours is below all of them, see stream_head.hpp. */
    "ngx_http_range_header_filter_module",
    "ngx_http_realtime_after_headers_filter_module",
    "ngx_http_headers_filter_module",
    "ngx_http_realtime_before_headers_filter_module",
    "ngx_http_copy_filter_module",
    NULL
};
