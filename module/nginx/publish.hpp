// Publishing by HTTP, beside realtime_publish itself.
#pragma once

#include "nginx/ngx.hpp"

#include <string_view>

namespace realtime {

// What is answered to who uses a name that is not for him, see mayPublish() and App::reserves().
inline constexpr std::string_view ReservedName = "reserved: channels that begin with \"#\", and events that "
                                                 "begin with \"pusher:\", \"pusher_internal:\" or "
                                                 "\"realtime:\"";

// Is it a name that a publisher may give an event, if it is not reserved? Empty: the default.
bool validEvent(std::string_view event);

// For the content handler of realtime_status: publishes the request's body. The names are checked; they must live as
// long as the request.
ngx_int_t publishTestEvent(ngx_http_request_t* r, std::string_view app, std::string_view channel,
                           std::string_view event);

} // namespace realtime
