#include "scenario/rabbitmq.hpp"

#include <cstdlib>
#include <stdexcept>

namespace realtime::bench {

bool hasRabbitMq(const Options& options, Report& report, const std::string& scenario)
{
    if (options.rabbitmq.empty() || std::getenv("RABBITMQ_DIR") == nullptr) {
        report.add({scenario, "skipped: no RabbitMQ given", 0, "", {}, {}, {}, {}});
        return false;
    }
    return true;
}

std::string rabbitMqUrl()
{
    const char* port = std::getenv("RABBITMQ_AMQP_PORT");
    if (port == nullptr) {
        throw std::runtime_error("RABBITMQ_AMQP_PORT is not set: run it by `rabbitmq.sh run`");
    }
    return "amqp://guest:guest@127.0.0.1:" + std::string(port) + "/%2F";
}

std::string rabbitMqBlock(const std::string& lines)
{
    return "realtime_broker events {\nserver " + rabbitMqUrl() + ";\n" + lines +
           "}\nrealtime_app default { broker events; }\n";
}

BrokerConfig rabbitMqConfig(const std::string& queueType)
{
    BrokerConfig config;
    config.name = "bench";
    config.node = "node1";
    config.servers = {parseBrokerServer(rabbitMqUrl())};
    config.exchange.name = "bench." + queueType;
    config.queues = {{config.exchange.name, queueType, {"#"}}};
    return config;
}

std::string rabbitMqLines(const BrokerConfig& config)
{
    const QueueConfig& queue = config.queues.at(0);
    return "exchange " + config.exchange.name + " topic;\nqueue " + queue.name + ' ' + queue.type +
           " bind=#;\nconfirm 10s window=" + std::to_string(config.window) + ";\n";
}

} // namespace realtime::bench
