// Request bodies.
#pragma once

#include "nginx/ngx.hpp"

#include <string>
#include <string_view>

namespace realtime {

off_t bodySize(const ngx_http_request_t* r);

// Does its Content-Encoding name something that would have to be undone?
bool bodyIsEncoded(ngx_http_request_t* r);

// Is it all there, once nginx has called back? Not if another location has sent it on while it came in
// (`proxy_request_buffering off`) or thrown it away, and has led here then.
bool bodyIsWhole(const ngx_http_request_t* r);

// The body in one piece. `buffer` holds it if nginx has it in several, or in a file. Throws std::runtime_error if the
// file cannot be read.
std::string_view gatherBody(ngx_http_request_t* r, std::string& buffer);

} // namespace realtime
