// Whose pages may use an endpoint (realtime_origins), and CORS (Fetch standard) for those that may.
#pragma once

#include "nginx/ngx.hpp"

#include <optional>
#include <string_view>

namespace realtime {

struct LocConf;

// Looks at the request's Origin. A refusal is answered, and the returned value is what the content handler is to
// return; nullopt: go on. CORS headers are added for allowed foreign origins, and a preflight (OPTIONS) is answered.
// Requests without an Origin are no pages.
std::optional<ngx_int_t> checkOrigin(ngx_http_request_t* r, const LocConf& conf, std::string_view methods);

// Is it from no page, or from one of this host? Whatever realtime_origins says.
bool fromSameOrigin(ngx_http_request_t* r);

} // namespace realtime
