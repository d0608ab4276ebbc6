// What stands in http, server and location, as nginx wants it. allCommands() adds the blocks.
#pragma once

#include "nginx/ngx.hpp"

#include <span>

namespace realtime {

// What stands in http, server and location: conf.cpp.
std::span<const ngx_command_t> httpCommands();

} // namespace realtime
