// The directives that make a location an endpoint.
#pragma once

#include "nginx/conf.hpp"

#include <span>

namespace realtime {

char* publishDirective(ngx_conf_t* cf, ngx_command_t* cmd, void* data);
char* subscribeDirective(ngx_conf_t* cf, ngx_command_t* cmd, void* data);
char* pubsubDirective(ngx_conf_t* cf, ngx_command_t* cmd, void* data);
char* pusherDirective(ngx_conf_t* cf, ngx_command_t* cmd, void* data);
char* statusDirective(ngx_conf_t* cf, ngx_command_t* cmd, void* data);

// An `if` or `limit_except` within our location is a location of its own to nginx, and the same to people: it takes over
// the endpoint. For mergeLocConf(); throws std::bad_alloc.
void inheritEndpoint(ngx_conf_t* cf, const LocConf& prev, LocConf& conf);

// As they are written.
std::span<const ngx_http_complex_value_t> channelsOf(const LocConf& endpoint);

} // namespace realtime
