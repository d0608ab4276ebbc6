// The consumer that the tests believe: npm's amqplib in Node (tests/consumer/drain.js), which shares no line with the module.
#pragma once

#include "support/check.hpp"
#include "support/rabbitmq.hpp"

#include <string>
#include <vector>

namespace realtime::testing {

struct Delivery {
    std::string messageId, body;
};

enum class Drain { Queue, Stream }; // a queue is empty afterwards; a stream is read from its beginning

// All deliveries, until none has come for `idle`; lines of bodies after the first are left out.
std::vector<Delivery> drain(const RabbitMq& server, const std::string& queue, Drain kind = Drain::Queue,
                            std::chrono::seconds idle = 3s);

} // namespace realtime::testing
