// A message that RabbitMQ delivers, put together from its frames.
#pragma once

#include "broker/amqp/amqp_codec.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace realtime {

// What it is about, as AmqpLink writes it down. `data` and all names are as their publisher sent them: not checked.
struct IncomingMessage {
    std::string node; // whose it is; empty: a stranger's
    std::string messageId, app, channel, event, contentType, data, userId, socketId;
    std::uint64_t tag = 0;               // of the delivery
    std::int64_t timeMs = 0;             // when it was published; 0: not said
    std::uint64_t number = 0;            // of a stream's event, from 0
    std::uint64_t life = 0;              // of the stream, as its publisher knew it; 0: it did not
    std::optional<std::uint32_t> worker; // the slot of the worker that published it
};

class MessageAssembler {
public:
    static constexpr std::size_t MaxBody = 16 << 20;

    void begin(std::uint64_t tag);
    bool begun() const { return message_ != nullptr; }

    enum class Part { More, Complete, Bad };
    Part header(const amqp_basic_properties_t& properties, std::uint64_t bodySize);
    Part body(std::string_view piece); // Bad: more than was announced
    // Complete, but its body was larger than MaxBody and is left out, with the channel's name.
    bool tooLarge() const { return tooLarge_; }
    std::unique_ptr<IncomingMessage> take();

private:
    std::unique_ptr<IncomingMessage> message_;
    std::uint64_t missing_ = 0; // bytes of its body
    bool tooLarge_ = false;
};

} // namespace realtime
