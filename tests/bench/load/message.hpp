// The messages that are published: who sent it and its number, so that each receiver can tell that it got every
// message of every publisher once and in order.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace realtime::bench {

inline constexpr std::size_t MessageBytes = 128;

struct Message {
    std::uint32_t publisher = 0;
    std::uint64_t number = 0; // from 1
};

std::string encode(const Message& message); // MessageBytes, ASCII
std::optional<Message> decode(std::string_view text);

// A WebSocket frame from the client, masked.
std::string maskedFrame(std::string_view text);

} // namespace realtime::bench
