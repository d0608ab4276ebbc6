// What tells the endpoints of a configuration apart, so that the next configuration's worker finds the same one again.
#pragma once

#include "nginx/conf.hpp"

#include <string>
#include <string_view>

namespace realtime {

// The server's first name, the location, the endpoint directive word by word, and which of several that agree in all
// of this. So an endpoint whose directive has changed is another one.
std::string identityOf(const MainConf& conf, const LocConf& endpoint);
// Null if there is none.
const LocConf* findEndpoint(const MainConf& conf, std::string_view identity);

} // namespace realtime
