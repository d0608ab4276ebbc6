// An event that another program, or another node, has put into RabbitMQ.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace realtime {

// What it is about, as amqp/amqp_link.hpp writes it down. `data` and all names are as their publisher sent them: not checked.
struct IncomingMessage {
    std::string node; // whose it is; empty: a stranger's
    std::string messageId, app, channel, event, contentType, data, userId, socketId;
    std::uint64_t tag = 0;               // of the delivery
    std::int64_t timeMs = 0;             // when it was published; 0: not said
    std::uint64_t number = 0;            // of a stream's event, from 0
    std::uint64_t life = 0;              // of the stream, as its publisher knew it; 0: it did not
    std::optional<std::uint32_t> worker; // the slot of the worker that published it
};

} // namespace realtime
