// What clients of the Pusher protocol send: one JSON object a text frame. Read liberally, as the SDKs differ, and never
// written anew: what is relayed or signed is the text that came.
//
// Thread     pure functions, any thread. Results own their text.
// Errors     none but std::bad_alloc: what is wrong with a message is in its `error`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace realtime::pusher {

struct ClientMessage {
    enum class Kind : std::uint8_t {
        Subscribe,
        Unsubscribe,
        Ping,
        Pong,
        SignIn,
        ClientEvent,     // `client-…`
        Publish,         // realtime:publish
        UnknownReserved, // other pusher:, pusher_internal:, realtime:
        UnknownEvent,
        Malformed, // not JSON, nested too deep, no object, no string `event`
    };

    Kind kind = Kind::Malformed;

    // Not empty: what is wrong, a literal for a soft error; the message is not to be carried out. `kind`, `channel` and
    // `ref` still tell what it was about, as far as could be read.
    std::string_view error;

    std::string event;   // of ClientEvent and Publish: what subscribers get to see; else as it came
    std::string channel; // of Subscribe, Unsubscribe, ClientEvent, Publish; unchecked, see checkChannelName()

    // ClientEvent, Publish: what is relayed. A string is taken out of its quotes, anything else is its JSON text, and
    // what is absent is "null".
    std::string data;

    std::optional<std::string> auth;        // Subscribe, SignIn; absent if it is no string
    std::optional<std::string> channelData; // Subscribe
    bool channelDataUnusable = false;       // it is there, but no string: nobody can have signed it
    std::optional<std::string> since;       // Subscribe: resume from there (ours)
    std::optional<std::string> userData;    // SignIn; absent if it is no string
    std::string ref = "null";               // Publish: JSON text of a string or number, to be given back
    std::string key;                        // Publish: idempotency key; empty: none
};

ClientMessage parseClientMessage(std::string_view text);

// --- channel_data of presence channels

// Raw JSON text is kept as it came.
struct PresenceMember {
    std::string userId;
    std::string userInfo = "{}"; // any JSON
};

struct PresenceLimits {
    std::size_t maxUserIdCharacters = 128;
    std::size_t maxUserInfoBytes = 1024;
};

enum class PresenceFault : std::uint8_t {
    None,
    Malformed, // no JSON object, or no user_id that is a string or a number
    UserIdTooLong,
    UserInfoTooLarge,
};
// A sentence for the client, a literal.
std::string_view describe(PresenceFault fault);

struct PresenceData {
    PresenceFault fault = PresenceFault::None;
    PresenceMember member;
};

// `{"user_id": string|number, "user_info": any}`. A number's id is its text, 1.0 stays "1.0".
PresenceData parsePresenceData(std::string_view channelData, const PresenceLimits& limits = {});

// For a member that comes from a sign-in.
PresenceFault checkMember(const PresenceMember& member, const PresenceLimits& limits = {});

// --- user_data of a sign-in

inline constexpr std::size_t MaxWatchlist = 100;

struct UserData {
    std::string_view error; // not empty: a sentence for the client, a literal; the rest is empty then
    std::string id;
    std::optional<std::string> userInfo; // raw JSON
    std::vector<std::string> watchlist;  // the first MaxWatchlist distinct ids
    std::size_t watchlistTotal = 0;      // elements as they were sent
    bool watchlistTooLong = false;       // there are more distinct ids than MaxWatchlist: error 4302
};

// `{"id": string, "user_info": any, "watchlist": [string…]}`; ids that are no validUserId() match nobody and are left
// out of the watchlist.
UserData parseUserData(std::string_view userData);

} // namespace realtime::pusher
