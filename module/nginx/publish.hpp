// Publishing by HTTP, beside realtime_publish itself.
#pragma once

#include "nginx/ngx.hpp"

#include <string_view>

namespace realtime {

// For the content handler of realtime_status: publishes the request's body. The names are checked; they must live as
// long as the request.
ngx_int_t publishTestEvent(ngx_http_request_t* r, std::string_view app, std::string_view channel,
                           std::string_view event);

} // namespace realtime
