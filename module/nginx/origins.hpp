// Whose pages may use an endpoint (realtime_origins), and CORS (Fetch standard) for those that may.
#pragma once

#include "nginx/ngx.hpp"

#include <optional>
#include <string_view>

namespace realtime {

struct LocConf;

// The methods that the endpoint takes.
std::string_view methodsOf(const LocConf& conf);

// Looks at the request's Origin. A refusal is answered, and the returned value is what the content handler is to
// return; nullopt: go on. OPTIONS is answered. Requests without an Origin are no pages.
std::optional<ngx_int_t> checkOrigin(ngx_http_request_t* r, const LocConf& conf);

// Is it from no page, or from one of this host, scheme and port? Whatever realtime_origins says.
bool fromSameOrigin(ngx_http_request_t* r);

// The CORS headers of an answer that an allowed page may read, whoever gives it. Called when `add_header` has added what it
// has: each header is there once.
void completeCorsHeaders(ngx_http_request_t* r, const LocConf& conf);

} // namespace realtime
