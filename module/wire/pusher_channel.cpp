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

// The code point that begins `text`, which is taken off it; a byte that is no UTF-8 stands for itself.
std::uint32_t takeCodePoint(std::string_view& text)
{
    const Utf8Step step = utf8Step(text);
    const auto first = static_cast<std::uint8_t>(text[0]);
    if (!step.valid || step.bytes == 1) {
        text.remove_prefix(1);
        return first;
    }
    std::uint32_t point = first & (0xffU >> (step.bytes + 1U));
    for (std::size_t i = 1; i < step.bytes; ++i) {
        point = point << 6U | (static_cast<std::uint8_t>(text[i]) & 0x3fU);
    }
    text.remove_prefix(step.bytes);
    return point;
}

// Controls, and what Unicode calls Default_Ignorable_Code_Point: comparisons by a language's rules leave them out.
bool ignorable(std::uint32_t point)
{
    struct Range {
        std::uint32_t first, last;
    };
    constexpr std::array<Range, 19> Ranges{{
        {0x00, 0x1f},     {0x7f, 0x9f},       {0xad, 0xad},       {0x34f, 0x34f},     {0x61c, 0x61c},
        {0x115f, 0x1160}, {0x17b4, 0x17b5},   {0x180b, 0x180f},   {0x200b, 0x200f},   {0x2028, 0x202e},
        {0x2060, 0x206f}, {0x3164, 0x3164},   {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},   {0xffa0, 0xffa0},
        {0xfff0, 0xfffb}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
    }};
    return std::any_of(Ranges.begin(), Ranges.end(),
                       [point](const Range& one) { return point >= one.first && point <= one.last; });
}

// The ASCII character that it may be taken for, in lower case; 0: none.
char plainForm(std::uint32_t point)
{
    constexpr std::uint32_t FullWidth = 0xfee0; // from `!` at U+FF01 on
    constexpr std::uint32_t LongS = 0x17f;      // `s`, in upper case
    if (point == LongS) {
        return 's';
    }
    if (point > 0xff00 && point < 0xff5f) {
        point -= FullWidth;
    }
    return point < 0x80 ? lower(static_cast<char>(point)) : '\0';
}

bool looksLikePrefix(std::string_view prefix, std::string_view text)
{
    while (!prefix.empty() && !text.empty()) {
        const std::uint32_t point = takeCodePoint(text);
        if (ignorable(point)) {
            continue;
        }
        if (plainForm(point) != prefix[0]) {
            return false;
        }
        prefix.remove_prefix(1);
    }
    return prefix.empty();
}

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
    // Most names are done with at their first letter.
    if (event.empty() || (isAlnum(event[0]) && lower(event[0]) != 'p' && lower(event[0]) != 'r')) {
        return false;
    }
    constexpr std::array<std::string_view, 3> Reserved{"pusher:", "pusher_internal:", "realtime:"};
    return std::any_of(Reserved.begin(), Reserved.end(),
                       [event](std::string_view prefix) { return looksLikePrefix(prefix, event); });
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
