#include "base/connection_id.hpp"

#include "base/random.hpp"

#include <array>
#include <charconv>

namespace realtime {

ConnectionId drawConnectionId()
{
    // One getrandom() for many ids: a subscriber storm must not be a storm of system calls.
    static thread_local std::array<ConnectionId, 64> pool;
    static thread_local std::size_t left = 0;

    for (;;) {
        if (left == 0) {
            pool = drawRandom<decltype(pool)>();
            left = pool.size();
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
