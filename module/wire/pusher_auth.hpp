// Who may subscribe and who somebody is: the signatures that an application's server hands to its clients.
// Pure functions, any thread. Errors of OpenSSL are std::runtime_error.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace realtime::pusher {

// One of an application's pairs; several are valid while keys are rotated.
struct Credentials {
    std::string key;    // public
    std::string secret; // never logged
};

// The pair of that key; null if the key is none of ours.
const Credentials* findKey(std::span<const Credentials> credentials, std::string_view key);

enum class AuthResult : std::uint8_t {
    Ok,
    Missing,   // empty
    Malformed, // not "key:signature"
    WrongKey,
    WrongSignature,
};
// A sentence for the client, a literal. It tells neither what was expected nor what came.
std::string_view describe(AuthResult result);

// `auth` is "key:" and the hexadecimal HMAC-SHA256 of "socket_id:channel" or "socket_id:channel:channel_data".
// Whether channel_data counts is a matter of its presence, not of the kind of channel; it is the text that one JSON
// unescape gives, byte for byte. If it is empty, a signature with or without its colon will do.
AuthResult verifyChannelAuth(std::span<const Credentials> credentials, std::string_view socketId,
                             std::string_view channel, std::optional<std::string_view> channelData,
                             std::string_view auth);

// The same for a sign-in: "socket_id::user::user_data".
AuthResult verifyUserAuth(std::span<const Credentials> credentials, std::string_view socketId,
                          std::string_view userData, std::string_view auth);

} // namespace realtime::pusher
