#include "base/message_id.hpp"

#include <algorithm>
#include <charconv>
#include <system_error>

namespace realtime {

namespace {

constexpr int EpochBase = 36;
constexpr int OffsetBase = 10;

// from_chars takes upper-case digits and leading zeros too, which would give one id several spellings.
std::optional<std::uint64_t> parseNumber(std::string_view text, int base)
{
    const bool leadingZero = text.size() > 1 && text.front() == '0';
    const bool upperCase = std::any_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
    if (text.empty() || leadingZero || upperCase) {
        return std::nullopt;
    }
    std::uint64_t number = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number, base);
    if (error != std::errc{} || stop != end) {
        return std::nullopt;
    }
    return number;
}

} // namespace

std::size_t formatMessageId(const MessageId& id, char* out)
{
    char* const end = out + MaxMessageIdBytes;
    char* at = std::to_chars(out, end, id.epoch, EpochBase).ptr;
    *at++ = '-';
    at = std::to_chars(at, end, id.offset, OffsetBase).ptr;
    return static_cast<std::size_t>(at - out);
}

std::string toString(const MessageId& id)
{
    char text[MaxMessageIdBytes];
    return {text, formatMessageId(id, text)};
}

std::optional<MessageId> parseMessageId(std::string_view text)
{
    const std::size_t dash = text.find('-');
    if (text.size() > MaxMessageIdBytes || dash == std::string_view::npos) {
        return std::nullopt;
    }
    const auto epoch = parseNumber(text.substr(0, dash), EpochBase);
    const auto offset = parseNumber(text.substr(dash + 1), OffsetBase);
    if (!epoch || !offset) {
        return std::nullopt;
    }
    return MessageId{*epoch, *offset};
}

} // namespace realtime
