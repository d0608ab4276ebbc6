// What tells the endpoints of a configuration apart, so that the next configuration's worker finds the same one again.
#pragma once

#include "nginx/conf.hpp"

namespace realtime {

// Fills MainConf::byIdentity, when all has been read. An identity is the server's first name, the location, the endpoint
// directive word by word, and which of several that agree in all of this. So an endpoint whose directive has changed is
// another one.
void identifyEndpoints(MainConf& conf);

} // namespace realtime
