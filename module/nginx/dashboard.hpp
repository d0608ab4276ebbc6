// The dashboard: files that are part of the module, served from memory.
#pragma once

#include "nginx/ngx.hpp"

#include <string_view>

namespace realtime {

// The page itself; it asks for the others by their names.
inline constexpr std::string_view DashboardPage = "index.html";

// The file, with an ETag and a Content-Security-Policy that lets the page have nothing but the others and figures;
// 404 if there is none of this name.
ngx_int_t respondDashboardFile(ngx_http_request_t* r, std::string_view name);

} // namespace realtime
