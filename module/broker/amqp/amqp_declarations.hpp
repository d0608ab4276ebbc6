// What a broker's configuration has RabbitMQ declare: exchanges, queues and bindings, in an order that works.
//
// Thread     any; what is returned points into the configuration, which must outlive it.
#pragma once

#include "broker/amqp/amqp_connection.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace realtime {

struct AmqpDeclaration {
    enum class Kind { Exchange, Queue, Binding };
    Kind kind;
    std::string name;          // exchange or queue
    std::string argument;      // type of exchange or queue, or the routing key of the binding
    std::string exchange = {}; // of a binding
    bool byHeaders = false;    // the binding's argument is "NAME:VALUE,..."
    const QueueConfig* queue = nullptr;
};

std::vector<AmqpDeclaration> amqpDeclarations(const BrokerConfig& config);
// Of one queue alone, with the exchange that it hangs on.
std::vector<AmqpDeclaration> amqpDeclarations(const BrokerConfig& config, std::string_view queue);

// Sends it; one answer follows. False: a name is longer than AMQP allows.
[[nodiscard]] bool declare(AmqpConnection& connection, amqp_channel_t channel,
                           const AmqpDeclaration& declaration);

// For a message about it.
std::string describe(const AmqpDeclaration& declaration);

} // namespace realtime
