// Puts a message that RabbitMQ delivers together from its frames.
#pragma once

#include "broker/amqp/amqp_codec.hpp"
#include "broker/incoming_message.hpp"

#include <cstdint>
#include <memory>
#include <string_view>

namespace realtime {

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
