// Request bodies.
#pragma once

#include "nginx/ngx.hpp"

#include <string>
#include <string_view>

namespace realtime {

off_t bodySize(const ngx_http_request_t* r);

// The body in one piece. `buffer` holds it if nginx has it in several, or in a file. Throws std::runtime_error if the
// file cannot be read.
std::string_view gatherBody(ngx_http_request_t* r, std::string& buffer);

} // namespace realtime
