// When all has been read.
#pragma once

#include "nginx/conf.hpp"

namespace realtime {

// Looks up the names that could not be looked up while the file was read; throws ConfErrorAt.
void resolveNames(MainConf& conf);

// What is right by itself and makes no sense as a whole: refused (ConfErrorAt), or warned of where it may be meant.
void checkWhole(ngx_conf_t* cf, const MainConf& conf);

} // namespace realtime
