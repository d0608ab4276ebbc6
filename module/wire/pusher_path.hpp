// Where in a request's path the Pusher protocol's own path begins: `/realtime/apps/731/events` is `/apps/731/events`, below
// what its location is mounted at. The location alone says where that is, and nothing of the path that a client may add: what
// access rules of the location `/apps/731/` guard is app 731, and no other.
//
// Thread     pure functions, any thread.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace realtime::pusher {

// `uri` is the path as nginx has matched it with its locations: decoded, dots and double slashes resolved. `location` is the
// text of a prefix location. If `uri` does not begin with it (it is a regex, a name, or the path was rewritten), the first
// segment that counts decides. `beginnings`: the first segments that the protocol's paths have, those that weigh more first.
// nullopt: there is none. The protocol's path is what follows; it may still be none.
//
//     /apps/           /apps/731/events           0     the location itself has the first segment
//     /realtime/       /realtime/apps/731/events  9     or ends before it
//     /apps/           /apps/x/apps/731/events    0     which is no path of the protocol
//     ^/(a|b)/apps/    /a/apps/731/events         2
std::optional<std::size_t> mountedAt(std::string_view location, std::string_view uri,
                                     std::initializer_list<std::string_view> beginnings);

// Where in `path`, which is as it came, what decodes to `decoded` begins, to its end; at a slash. nullopt: nowhere.
std::optional<std::size_t> undecodedAt(std::string_view path, std::string_view decoded);

// Percent-decoded. What is no escape stays as it is.
std::string percentDecoded(std::string_view text, bool plusIsSpace = false);

// The key of `/app/KEY`; empty if the path is not exactly that.
std::string_view keyOfPath(std::string_view path);

} // namespace realtime::pusher
