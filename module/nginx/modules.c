/* What nginx looks up in the shared object; everything else is hidden. */

#include <ngx_config.h>
#include <ngx_core.h>

extern ngx_module_t ngx_http_realtime_module;

__attribute__((visibility("default"))) ngx_module_t *ngx_modules[] = {
    &ngx_http_realtime_module,
    NULL
};

__attribute__((visibility("default"))) char *ngx_module_names[] = {
    "ngx_http_realtime_module",
    NULL
};

__attribute__((visibility("default"))) char *ngx_module_order[] = {
    "ngx_http_realtime_module",
    /* The first of the filters that alter responses: ours is below all of them, see stream_head.hpp. */
    "ngx_http_range_header_filter_module",
    NULL
};
