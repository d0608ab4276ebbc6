// Channel names of the Pusher protocol and what their prefixes mean. Pure functions, any thread; views are of the
// arguments.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace realtime::pusher {

inline constexpr std::size_t MaxChannelBytes = 200; // the protocol's SDKs allow so many
inline constexpr std::size_t MaxUserIdBytes = 200;  // of a signed-in user
inline constexpr std::string_view ServerToUserPrefix = "#server-to-user-";

enum class NameCheck : std::uint8_t { Ok, Malformed, TooLong };

// 1 to `maxBytes` of A-Z a-z 0-9 _ - = @ , . ; or "#server-to-user-" and a user's id, which has its own limit:
// 1 to MaxUserIdBytes of UTF-8 without control characters (SDKs do not restrict it further).
NameCheck checkChannelName(std::string_view name, std::size_t maxBytes = MaxChannelBytes);

// What a sign-in and `#server-to-user-` accept as a user's id.
bool validUserId(std::string_view id);

// What the longest anchored prefix says; case counts and the dash belongs to the prefix, so that `privateers` and
// `Private-x` are public.
struct ChannelKind {
    bool isPrivate = false;    // private-…; not presence-…
    bool presence = false;     // presence-…
    bool encrypted = false;    // private-encrypted-…
    bool cache = false;        // the last event is kept and replayed
    bool serverToUser = false; // #server-to-user-…

    bool needsSignature() const { return isPrivate || presence; }
    // May clients send events to each other there? Encrypted ones carry what the server side encrypted.
    bool allowsClientEvents() const { return (isPrivate && !encrypted) || presence; }

    friend bool operator==(const ChannelKind&, const ChannelKind&) = default;
};
ChannelKind classify(std::string_view name);

// The user that "#server-to-user-<id>" is of; null for every other name.
std::optional<std::string_view> serverToUserId(std::string_view name);

// Names that only the server may give an event: `pusher:`, `pusher_internal:` and our own `realtime:`. Also what some
// client could take for one of these: letter case, full-width forms and characters that comparisons leave out
// (controls, zero-width ones) make no difference.
bool reservedEvent(std::string_view event);
// Names that only the protocol itself gives channels: they begin with `#`.
inline bool reservedChannel(std::string_view name)
{
    return name.starts_with('#');
}
// `client-…`
bool clientEvent(std::string_view event);

// Code points of valid UTF-8: what the protocol's limits on names call characters.
std::size_t countCharacters(std::string_view utf8);

// Events' names are at most so many characters (code points) of UTF-8, and at least one.
inline constexpr std::size_t MaxEventCharacters = 200;
bool validEventName(std::string_view event);

// ^\d+\.\d+$ : every SDK sends it so. It need not be one of ours, see parseConnectionId().
bool validSocketId(std::string_view socketId);

} // namespace realtime::pusher
