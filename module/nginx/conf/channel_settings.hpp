// `channels`, and what stands in it as well as in realtime_app.
#pragma once

#include "nginx/conf/block.hpp"

#include <string>
#include <vector>

namespace realtime {

// The block of one rule.
void channelsBlock(AppBlock& block, Arguments arguments);

// zone NAME. The name is looked up when all has been read.
std::string zoneName(ngx_conf_t* cf, AppConf& app, Arguments arguments);

// broker off | NAME [exchange=NAME] [routing_key=TEMPLATE] [NAME …]…  Likewise. `pattern` has the captures of a template.
std::vector<BrokerRoute> brokerRoutes(ngx_conf_t* cf, AppConf& app, Arguments arguments,
                                      const ChannelPattern* pattern);

} // namespace realtime
