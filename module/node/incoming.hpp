// An event that RabbitMQ hands over, on its way into the log: checked, since whoever may publish to the exchange may have
// written it.
#pragma once

#include "app/publisher.hpp"
#include "broker/incoming_message.hpp"
#include "node/node_config.hpp"

#include <cstddef>
#include <optional>
#include <string_view>

namespace realtime {

struct Incoming {
    const App* app = nullptr;
    Publication publication; // views into the message; `timeMs` and the key are the caller's to set
};

// nullopt: it is for no app or channel here, malformed, or under a reserved name.
std::optional<Incoming> readIncoming(const NodeConfig& config, const IncomingMessage& message);

// UTF-8 without control characters, of at most so many bytes.
bool plainText(std::string_view text, std::size_t most);

} // namespace realtime
