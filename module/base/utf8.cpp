#include "base/utf8.hpp"

#include "base/ascii.hpp"

#include <cstring>

namespace realtime {

namespace {

// What may follow a lead byte (Unicode table 3-7): the second byte's range; the others are 80..BF.
struct Lead {
    std::uint8_t following; // how many bytes; NotALead: none may begin so
    std::uint8_t low, high;
};

constexpr std::uint8_t NotALead = 0xff;

constexpr Lead lead(std::uint8_t byte)
{
    if (byte < 0x80) {
        return {0, 0, 0};
    }
    if (byte < 0xc2) { // continuation bytes; C0 and C1 would be overlong
        return {NotALead, 0, 0};
    }
    if (byte < 0xe0) {
        return {1, 0x80, 0xbf};
    }
    if (byte < 0xf0) {
        // E0 80..9F: overlong, ED A0..BF: surrogates
        return {2, static_cast<std::uint8_t>(byte == 0xe0 ? 0xa0 : 0x80),
                static_cast<std::uint8_t>(byte == 0xed ? 0x9f : 0xbf)};
    }
    if (byte < 0xf5) {
        // F0 80..8F: overlong, F4 90..BF: past U+10FFFF
        return {3, static_cast<std::uint8_t>(byte == 0xf0 ? 0x90 : 0x80),
                static_cast<std::uint8_t>(byte == 0xf4 ? 0x8f : 0xbf)};
    }
    return {NotALead, 0, 0};
}

std::size_t skipAscii(std::string_view text, std::size_t at)
{
    while (text.size() - at >= sizeof(std::uint64_t)) {
        std::uint64_t word;
        std::memcpy(&word, text.data() + at, sizeof word);
        if ((word & HighBits) != 0) {
            break;
        }
        at += sizeof word;
    }
    while (at < text.size() && static_cast<std::uint8_t>(text[at]) < 0x80) {
        ++at;
    }
    return at;
}

constexpr bool continues(char byte)
{
    return (static_cast<std::uint8_t>(byte) & 0xc0) == 0x80;
}

// The length of a sequence of two or three bytes that is valid without a look at special ranges; 0: look closer.
std::size_t commonSequence(const char* at, std::size_t left)
{
    const auto first = static_cast<std::uint8_t>(*at);
    if (left >= 2 && first >= 0xc2 && first < 0xe0) {
        return continues(at[1]) ? 2 : 0;
    }
    if (left >= 3 && first > 0xe0 && first < 0xf0 && first != 0xed) {
        return continues(at[1]) && continues(at[2]) ? 3 : 0;
    }
    return 0;
}

} // namespace

Utf8Step utf8Step(std::string_view text)
{
    const Lead first = lead(static_cast<std::uint8_t>(text[0]));
    if (first.following == NotALead) {
        return {1, false};
    }
    std::uint8_t low = first.low, high = first.high;
    for (std::uint8_t i = 1; i <= first.following; ++i) {
        if (i >= text.size()) {
            return {i, false};
        }
        const auto byte = static_cast<std::uint8_t>(text[i]);
        if (byte < low || byte > high) {
            return {i, false};
        }
        low = 0x80;
        high = 0xbf;
    }
    return {static_cast<std::uint8_t>(first.following + 1), true};
}

bool validUtf8(std::string_view text)
{
    std::size_t at = 0;
    while ((at = skipAscii(text, at)) < text.size()) {
        // Text of other scripts comes in runs: stay here until the next ASCII byte.
        do {
            const std::size_t size = commonSequence(text.data() + at, text.size() - at);
            if (size != 0) {
                at += size;
                continue;
            }
            const Utf8Step step = utf8Step(text.substr(at));
            if (!step.valid) {
                return false;
            }
            at += step.bytes;
        } while (at < text.size() && static_cast<std::uint8_t>(text[at]) >= 0x80);
    }
    return true;
}

std::size_t utf8Prefix(std::string_view text, std::size_t limit)
{
    if (text.size() <= limit) {
        return text.size();
    }
    std::size_t at = limit;
    for (int back = 0; back < 3 && at > 0 && continues(text[at]); ++back) {
        --at;
    }
    return at;
}

bool Utf8Validator::feed(std::string_view piece)
{
    if (needed_ == Failed) {
        return false;
    }
    std::size_t at = 0;
    while (at < piece.size()) {
        if (needed_ == 0) {
            at = skipAscii(piece, at);
            if (at == piece.size()) {
                return true;
            }
            const Lead next = lead(static_cast<std::uint8_t>(piece[at++]));
            if (next.following == NotALead) {
                needed_ = Failed;
                return false;
            }
            needed_ = next.following;
            low_ = next.low;
            high_ = next.high;
            continue;
        }
        const auto byte = static_cast<std::uint8_t>(piece[at++]);
        if (byte < low_ || byte > high_) {
            needed_ = Failed;
            return false;
        }
        --needed_;
        low_ = 0x80;
        high_ = 0xbf;
    }
    return true;
}

} // namespace realtime
