#include "base/json_text.hpp"

#include "base/utf8.hpp"

#include <cstdint>
#include <cstring>

namespace realtime {

namespace {

constexpr std::uint64_t Ones = 0x0101010101010101;
constexpr std::uint64_t HighBits = Ones * 0x80;

constexpr std::uint64_t zeroBytes(std::uint64_t word)
{
    return (word - Ones) & ~word & HighBits; // not 0 exactly if a byte of `word` is 0
}

// Are there control characters, quotes, backslashes or bytes of other scripts among the eight?
bool needsCare(std::uint64_t word)
{
    const std::uint64_t control = (word - Ones * 0x20) & ~word & HighBits;
    return ((word & HighBits) | control | zeroBytes(word ^ Ones * '"') | zeroBytes(word ^ Ones * '\\')) != 0;
}

bool needsCare(char byte)
{
    const auto b = static_cast<std::uint8_t>(byte);
    return b < 0x20 || b == '"' || b == '\\' || b >= 0x80;
}

std::size_t skipPlain(std::string_view text, std::size_t at)
{
    while (text.size() - at >= sizeof(std::uint64_t)) {
        std::uint64_t word;
        std::memcpy(&word, text.data() + at, sizeof word);
        if (needsCare(word)) {
            break;
        }
        at += sizeof word;
    }
    while (at < text.size() && !needsCare(text[at])) {
        ++at;
    }
    return at;
}

template <class Sink> void appendEscaped(Sink& out, char c)
{
    switch (c) {
    case '"':
        out.append(std::string_view("\\\""));
        return;
    case '\\':
        out.append(std::string_view("\\\\"));
        return;
    case '\n':
        out.append(std::string_view("\\n"));
        return;
    case '\r':
        out.append(std::string_view("\\r"));
        return;
    case '\t':
        out.append(std::string_view("\\t"));
        return;
    default:
        break;
    }
    constexpr const char* Hex = "0123456789abcdef";
    const auto code = static_cast<std::uint8_t>(c);
    const char escape[6] = {'\\', 'u', '0', '0', Hex[code >> 4], Hex[code & 15]};
    out.append(std::string_view(escape, sizeof escape));
}

template <class Sink> void appendString(Sink& out, std::string_view text)
{
    constexpr std::string_view Quote = "\"", Replacement = "\xef\xbf\xbd";

    out.append(Quote);
    std::size_t from = 0; // what is to be copied as it is
    std::size_t at = 0;
    while ((at = skipPlain(text, at)) < text.size()) {
        if (static_cast<std::uint8_t>(text[at]) < 0x80) {
            out.append(text.substr(from, at - from));
            appendEscaped(out, text[at]);
            from = ++at;
            continue;
        }
        do {
            const Utf8Step step = utf8Step(text.substr(at));
            if (!step.valid) {
                out.append(text.substr(from, at - from));
                out.append(Replacement);
                from = at + step.bytes;
            }
            at += step.bytes;
        } while (at < text.size() && static_cast<std::uint8_t>(text[at]) >= 0x80);
    }
    out.append(text.substr(from));
    out.append(Quote);
}

} // namespace

void appendJsonString(FrameBuilder& out, std::string_view text)
{
    appendString(out, text);
}

void appendJsonString(std::string& out, std::string_view text)
{
    appendString(out, text);
}

} // namespace realtime
