#include "wire/pusher_channel.hpp"

#include "base/ascii.hpp"
#include "base/utf8.hpp"

#include <algorithm>
#include <array>

namespace realtime::pusher {

namespace {

constexpr bool channelCharacter(char c)
{
    return isAlnum(c) || std::string_view("_-=@,.;").find(c) != std::string_view::npos;
}

bool allDigits(std::string_view text)
{
    return !text.empty() && std::all_of(text.begin(), text.end(), isDigit);
}

struct Prefix {
    std::string_view text;
    ChannelKind kind;
};

// Longer ones in front of those that begin them.
constexpr std::array<Prefix, 9> Prefixes{{
    {"private-encrypted-cache-", {.isPrivate = true, .encrypted = true, .cache = true}},
    {"private-encrypted-", {.isPrivate = true, .encrypted = true}},
    {"private-cache-", {.isPrivate = true, .cache = true}},
    {"private-", {.isPrivate = true}},
    {"presence-cache-", {.presence = true, .cache = true}},
    {"presence-", {.presence = true}},
    {"cache-", {.cache = true}},
    {ServerToUserPrefix, {.serverToUser = true}},
    {"", {}},
}};

bool controlCharacter(char c)
{
    const auto code = static_cast<std::uint8_t>(c);
    return code < 0x20 || code == 0x7f;
}

} // namespace

NameCheck checkChannelName(std::string_view name, std::size_t maxBytes)
{
    if (const auto id = serverToUserId(name)) {
        if (id->size() > MaxUserIdBytes) {
            return NameCheck::TooLong;
        }
        return validUserId(*id) ? NameCheck::Ok : NameCheck::Malformed;
    }
    if (name.empty() || !std::all_of(name.begin(), name.end(), channelCharacter)) {
        return NameCheck::Malformed;
    }
    return name.size() > maxBytes ? NameCheck::TooLong : NameCheck::Ok;
}

bool validUserId(std::string_view id)
{
    return !id.empty() && id.size() <= MaxUserIdBytes && validUtf8(id) &&
           std::none_of(id.begin(), id.end(), controlCharacter);
}

ChannelKind classify(std::string_view name)
{
    return std::find_if(Prefixes.begin(), Prefixes.end(),
                        [name](const Prefix& prefix) { return name.starts_with(prefix.text); })
        ->kind; // the empty prefix is the last
}

std::optional<std::string_view> serverToUserId(std::string_view name)
{
    if (!name.starts_with(ServerToUserPrefix)) {
        return std::nullopt;
    }
    return name.substr(ServerToUserPrefix.size());
}

bool reservedEvent(std::string_view event)
{
    return event.starts_with("pusher:") || event.starts_with("pusher_internal:") ||
           event.starts_with("realtime:");
}

bool clientEvent(std::string_view event)
{
    return event.starts_with("client-");
}

std::size_t countCharacters(std::string_view utf8)
{
    return static_cast<std::size_t>(std::count_if(
        utf8.begin(), utf8.end(), [](char c) { return (static_cast<std::uint8_t>(c) & 0xc0) != 0x80; }));
}

bool validEventName(std::string_view event)
{
    return !event.empty() && countCharacters(event) <= MaxEventCharacters;
}

bool validSocketId(std::string_view socketId)
{
    const std::size_t dot = socketId.find('.');
    return dot != std::string_view::npos && allDigits(socketId.substr(0, dot)) &&
           allDigits(socketId.substr(dot + 1));
}

} // namespace realtime::pusher
