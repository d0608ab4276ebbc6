#include "base/base64.hpp"

#include <array>
#include <cstdint>

namespace realtime {

namespace {

constexpr std::string_view Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t NotInAlphabet = 0xff;

constexpr std::array<std::uint8_t, 256> makeValues()
{
    std::array<std::uint8_t, 256> values{};
    values.fill(NotInAlphabet);
    for (std::size_t i = 0; i < Alphabet.size(); ++i) {
        values[static_cast<std::uint8_t>(Alphabet[i])] = static_cast<std::uint8_t>(i);
    }
    return values;
}

constexpr std::array<std::uint8_t, 256> Values = makeValues();

std::uint32_t byteAt(std::string_view bytes, std::size_t at)
{
    return static_cast<std::uint8_t>(bytes[at]);
}

void encode(std::string_view bytes, char* out)
{
    std::size_t at = 0;
    for (; bytes.size() - at >= 3; at += 3) {
        const std::uint32_t group =
            byteAt(bytes, at) << 16 | byteAt(bytes, at + 1) << 8 | byteAt(bytes, at + 2);
        *out++ = Alphabet[group >> 18];
        *out++ = Alphabet[group >> 12 & 63];
        *out++ = Alphabet[group >> 6 & 63];
        *out++ = Alphabet[group & 63];
    }
    if (at == bytes.size()) {
        return;
    }
    const bool two = bytes.size() - at == 2;
    const std::uint32_t group = byteAt(bytes, at) << 16 | (two ? byteAt(bytes, at + 1) << 8 : 0);
    *out++ = Alphabet[group >> 18];
    *out++ = Alphabet[group >> 12 & 63];
    *out++ = two ? Alphabet[group >> 6 & 63] : '=';
    *out = '=';
}

} // namespace

void appendBase64(FrameBuilder& out, std::string_view bytes)
{
    encode(bytes, out.extend(base64Size(bytes.size())));
}

void appendBase64(std::string& out, std::string_view bytes)
{
    const std::size_t before = out.size();
    out.resize(before + base64Size(bytes.size()));
    encode(bytes, out.data() + before);
}

std::optional<std::string> decodeBase64(std::string_view text)
{
    if (text.size() % 4 != 0) {
        return std::nullopt;
    }
    std::size_t padding = 0;
    while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') {
        ++padding;
    }
    text.remove_suffix(padding);

    std::string bytes;
    bytes.reserve(text.size() / 4 * 3 + 2);
    std::uint32_t pending = 0;
    unsigned bits = 0;
    for (const char c : text) {
        const std::uint8_t value = Values[static_cast<std::uint8_t>(c)];
        if (value == NotInAlphabet) {
            return std::nullopt;
        }
        pending = pending << 6 | value;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            bytes += static_cast<char>(pending >> bits);
            pending &= (1U << bits) - 1;
        }
    }
    if (pending != 0) { // RFC 4648 3.5: the encoder was not canonical, or the end was tampered with
        return std::nullopt;
    }
    return bytes;
}

} // namespace realtime
