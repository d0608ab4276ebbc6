#include "base/connection_id.hpp"

#include <charconv>
#include <sys/random.h>

namespace realtime {

ConnectionId drawConnectionId()
{
    // One getrandom() for many ids: a subscriber storm must not be a storm of system calls.
    static thread_local ConnectionId pool[64];
    static thread_local std::size_t left = 0;

    for (;;) {
        if (left == 0) {
            // Requests of up to 256 bytes are neither interrupted nor cut short (getrandom(2)).
            ssize_t got = getrandom(pool, 256, 0);
            left = got > 0 ? static_cast<std::size_t>(got) / sizeof(pool[0]) : 0;
            if (left == 0) {
                continue;
            }
        }
        ConnectionId id = pool[--left];
        pool[left] = 0;
        if ((id >> 32) != 0 && (id & 0xffffffffU) != 0) {
            return id;
        }
    }
}

std::string toString(ConnectionId id)
{
    return std::to_string(id >> 32) + '.' + std::to_string(id & 0xffffffffU);
}

std::optional<ConnectionId> parseConnectionId(std::string_view text)
{
    std::uint32_t high = 0;
    std::uint32_t low = 0;
    const char* end = text.data() + text.size();

    auto [dot, highError] = std::from_chars(text.data(), end, high);
    if (highError != std::errc() || dot == end || *dot != '.') {
        return std::nullopt;
    }
    auto [rest, lowError] = std::from_chars(dot + 1, end, low);
    if (lowError != std::errc() || rest != end) {
        return std::nullopt;
    }
    return (static_cast<ConnectionId>(high) << 32) | low;
}

} // namespace realtime
