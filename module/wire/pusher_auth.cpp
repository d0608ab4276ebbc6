#include "wire/pusher_auth.hpp"

#include "base/hmac.hpp"

#include <algorithm>
#include <initializer_list>

namespace realtime::pusher {

namespace {

std::string join(std::initializer_list<std::string_view> parts)
{
    std::size_t size = 0;
    for (const std::string_view part : parts) {
        size += part.size();
    }
    std::string out;
    out.reserve(size);
    for (const std::string_view part : parts) {
        out += part;
    }
    return out;
}

// What is in front of and behind the colon, and the pair that the key is of.
struct Claim {
    AuthResult result;
    const Credentials* pair;
    std::string_view signature;
};

Claim readClaim(std::span<const Credentials> credentials, std::string_view auth)
{
    if (auth.empty()) {
        return {AuthResult::Missing, nullptr, {}};
    }
    const std::size_t colon = auth.find(':');
    if (colon == std::string_view::npos) {
        return {AuthResult::Malformed, nullptr, {}};
    }
    const Credentials* pair = findKey(credentials, auth.substr(0, colon));
    return {pair == nullptr ? AuthResult::WrongKey : AuthResult::Ok, pair, auth.substr(colon + 1)};
}

bool signs(const Claim& claim, std::string_view text)
{
    return equalInConstantTime(claim.signature, hmacSha256Hex(claim.pair->secret, text));
}

} // namespace

const Credentials* findKey(std::span<const Credentials> credentials, std::string_view key)
{
    const auto found = std::find_if(credentials.begin(), credentials.end(),
                                    [key](const Credentials& pair) { return pair.key == key; });
    return found == credentials.end() ? nullptr : &*found;
}

std::string_view describe(AuthResult result)
{
    switch (result) {
    case AuthResult::Ok:
        break;
    case AuthResult::Missing:
        return "Auth info required";
    case AuthResult::Malformed:
        return "Invalid format: auth must have the format key:signature";
    case AuthResult::WrongKey:
        return "Invalid key in auth";
    case AuthResult::WrongSignature:
        return "Invalid signature";
    }
    return "Authorized";
}

AuthResult verifyChannelAuth(std::span<const Credentials> credentials, std::string_view socketId,
                             std::string_view channel, std::optional<std::string_view> channelData,
                             std::string_view auth)
{
    const Claim claim = readClaim(credentials, auth);
    if (claim.result != AuthResult::Ok) {
        return claim.result;
    }
    const bool right = (channelData && signs(claim, join({socketId, ":", channel, ":", *channelData}))) ||
                       (channelData.value_or("").empty() && signs(claim, join({socketId, ":", channel})));
    return right ? AuthResult::Ok : AuthResult::WrongSignature;
}

AuthResult verifyUserAuth(std::span<const Credentials> credentials, std::string_view socketId,
                          std::string_view userData, std::string_view auth)
{
    const Claim claim = readClaim(credentials, auth);
    if (claim.result != AuthResult::Ok) {
        return claim.result;
    }
    return signs(claim, join({socketId, "::user::", userData})) ? AuthResult::Ok : AuthResult::WrongSignature;
}

} // namespace realtime::pusher
