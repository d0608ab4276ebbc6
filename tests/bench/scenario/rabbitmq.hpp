// The RabbitMQ that rabbitmq.sh runs for the scenarios that need one.
#pragma once

#include "report.hpp"

#include "broker/broker.hpp"
#include "serve/nginx_server.hpp"

#include <string>

namespace realtime::bench {

// False: there is none, and the report says that the scenario is left out.
bool hasRabbitMq(const Options& options, Report& report, const std::string& scenario);
std::string rabbitMqUrl();

// `realtime_broker events` with these lines in it, which all channels of the app `default` go to.
std::string rabbitMqBlock(const std::string& lines);

// An exchange and a queue of this type, with one name.
BrokerConfig rabbitMqConfig(const std::string& queueType);
std::string rabbitMqLines(const BrokerConfig& config); // the same for nginx

} // namespace realtime::bench
