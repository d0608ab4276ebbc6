// UTF-8 as RFC 3629 and Unicode table 3-7 define it: no overlong forms, no surrogates, nothing past U+10FFFF.
// Pure functions, any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace realtime {

bool validUtf8(std::string_view text);

// The code point that begins `text`, which is not empty.
struct Utf8Step {
    std::uint8_t
        bytes; // valid: its length, 1 to 4; else what one U+FFFD stands for (Unicode 3.9, "maximal subparts")
    bool valid;
};
Utf8Step utf8Step(std::string_view text);

// How many bytes of `text` fit into `limit` without cutting a sequence in two.
std::size_t utf8Prefix(std::string_view text, std::size_t limit);

// The same check over pieces cut anywhere, also within a code point.
class Utf8Validator {
public:
    // False as soon as the bytes so far cannot begin valid text. Afterwards it stays false.
    bool feed(std::string_view piece);
    // True if the text may end here.
    bool complete() const { return needed_ == 0; }

private:
    static constexpr std::uint8_t Failed = 0xff;

    std::uint8_t needed_ = 0; // continuation bytes to come
    std::uint8_t low_ = 0x80; // what the next one may be
    std::uint8_t high_ = 0xbf;
};

} // namespace realtime
