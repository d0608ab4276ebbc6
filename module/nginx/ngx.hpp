// nginx's headers, for everything in this folder. Include it before any other header: it sets _GNU_SOURCE and
// _FILE_OFFSET_BITS. nginx has no C++ guards of its own.
#pragma once

extern "C" {
#include <ngx_config.h>

#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
}
