#include "base/json_text.hpp"

#include "base/ascii.hpp"
#include "base/utf8.hpp"

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace realtime {

namespace {

static_assert(std::endian::native == std::endian::little, "the first byte in memory is the lowest of a word");

// The lowest bit that is set belongs to the first byte of `word` that is 0; those above it may err.
constexpr std::uint64_t zeroBytes(std::uint64_t word)
{
    return (word - Ones) & ~word & HighBits;
}

// Marks control characters, quotes and backslashes; the lowest mark is exact. Bytes of other scripts stay as they are.
constexpr std::uint64_t specialBytes(std::uint64_t word)
{
    const std::uint64_t control = (word - Ones * 0x20) & ~word & HighBits;
    return control | zeroBytes(word ^ Ones * '"') | zeroBytes(word ^ Ones * '\\');
}

// What stands behind the backslash: 0: nothing to escape, 'u': a hexadecimal code.
constexpr std::array<char, 256> makeEscapes()
{
    std::array<char, 256> escapes{};
    for (std::size_t code = 0; code < 0x20; ++code) {
        escapes[code] = 'u';
    }
    escapes['\n'] = 'n';
    escapes['\r'] = 'r';
    escapes['\t'] = 't';
    escapes['"'] = '"';
    escapes['\\'] = '\\';
    return escapes;
}

constexpr std::array<char, 256> Escapes = makeEscapes();

// Writes one byte, escaped if need be, to `out`; at most 6 bytes. Returns the end.
char* writeByte(char byte, char* out)
{
    constexpr std::string_view Hex = "0123456789abcdef";
    const auto code = static_cast<std::uint8_t>(byte);
    const char letter = Escapes[code];
    if (letter == 0) {
        *out++ = byte;
        return out;
    }
    *out++ = '\\';
    *out++ = letter;
    if (letter == 'u') {
        *out++ = '0';
        *out++ = '0';
        *out++ = Hex[code >> 4];
        *out++ = Hex[code & 15];
    }
    return out;
}

constexpr std::size_t BufferBytes = 512;
constexpr std::size_t StepBytes = 16; // no step writes more

// Takes as much off `text`, which is UTF-8, as fits into `buffer` when escaped.
std::string_view escapeSome(std::string_view& text, char (&buffer)[BufferBytes])
{
    const char* in = text.data();
    const char* const end = in + text.size();
    char* out = buffer;
    while (in != end && out <= buffer + BufferBytes - StepBytes) {
        std::uint64_t word;
        if (static_cast<std::size_t>(end - in) < sizeof word) {
            out = writeByte(*in++, out);
            continue;
        }
        std::memcpy(&word, in, sizeof word);
        std::memcpy(out, &word, sizeof word); // what is behind the plain bytes is written over
        const std::uint64_t special = specialBytes(word);
        if (special == 0) {
            in += sizeof word;
            out += sizeof word;
            continue;
        }
        const int plain = std::countr_zero(special) / 8;
        out = writeByte(in[plain], out + plain);
        in += plain + 1;
    }
    text.remove_prefix(static_cast<std::size_t>(in - text.data()));
    return {buffer, static_cast<std::size_t>(out - buffer)};
}

// By way of a small buffer: what a text grows to is not known beforehand, and events are mostly JSON, with a quote
// every few bytes, so that appending run by run is slower.
template <class Sink> void appendEscaped(Sink& out, std::string_view utf8)
{
    char buffer[BufferBytes];
    while (!utf8.empty()) {
        out.append(escapeSome(utf8, buffer));
    }
}

template <class Sink> void appendReplaced(Sink& out, std::string_view text)
{
    constexpr std::string_view Replacement = "\xef\xbf\xbd"; // U+FFFD
    std::size_t at = 0;
    while (at < text.size()) {
        const Utf8Step step = utf8Step(text.substr(at));
        if (step.valid) {
            at += step.bytes;
            continue;
        }
        appendEscaped(out, text.substr(0, at));
        out.append(Replacement);
        text.remove_prefix(at + step.bytes);
        at = 0;
    }
    appendEscaped(out, text);
}

template <class Sink> void appendString(Sink& out, std::string_view text)
{
    constexpr std::string_view Quote = "\"";
    out.append(Quote);
    if (validUtf8(text)) {
        appendEscaped(out, text);
    } else {
        appendReplaced(out, text);
    }
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

std::string jsonString(std::string_view text)
{
    std::string out;
    appendJsonString(out, text);
    return out;
}

} // namespace realtime
