// The id of one subscriber's connection: what the Pusher protocol calls socket_id, "310462.91724455". A publisher
// that names it is skipped by delivery.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace realtime {

// Two 32-bit halves, drawn from a CSPRNG, neither of them 0: unique across workers and nodes, not predictable.
// 0 is nobody's.
using ConnectionId = std::uint64_t;

ConnectionId drawConnectionId();
std::string toString(ConnectionId id); // "<high>.<low>" in decimal
// nullopt if the text is not of that form. Longer numbers than ours are another server's and nobody here.
std::optional<ConnectionId> parseConnectionId(std::string_view text);

} // namespace realtime
