// UTF-8 in its three implementations, and what is built on it: JSON strings that any parser reads back, Base64.
#include "base/base64.hpp"
#include "base/json_text.hpp"
#include "base/utf8.hpp"

#include <jansson.h>

#include "fuzz.hpp"

using namespace realtime;

namespace {

// By decoding, as RFC 3629 describes it; shares nothing with the code that is tested.
bool decodes(std::string_view text)
{
    std::size_t at = 0;
    while (at < text.size()) {
        const auto first = static_cast<std::uint8_t>(text[at++]);
        const int more = first < 0x80       ? 0
                         : first >> 5 == 6  ? 1
                         : first >> 4 == 14 ? 2
                         : first >> 3 == 30 ? 3
                                            : -1;
        if (more < 0) {
            return false;
        }
        std::uint32_t code = more == 0 ? first : first & (0x3f >> more);
        for (int i = 0; i < more; ++i) {
            if (at == text.size() || (static_cast<std::uint8_t>(text[at]) & 0xc0) != 0x80) {
                return false;
            }
            code = code << 6 | (static_cast<std::uint8_t>(text[at++]) & 0x3f);
        }
        static constexpr std::uint32_t Smallest[] = {0, 0x80, 0x800, 0x10000};
        if (code < Smallest[more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
            return false;
        }
    }
    return true;
}

bool validInPieces(std::string_view text, std::size_t step)
{
    Utf8Validator validator;
    for (std::size_t at = 0; at < text.size(); at += step) {
        if (!validator.feed(text.substr(at, step))) {
            return false;
        }
    }
    return validator.complete();
}

void checkJson(std::string_view text, bool valid)
{
    std::string json;
    appendJsonString(json, text);
    FrameBuilder builder;
    appendJsonString(builder, text);
    CHECK(builder.view() == json);

    json_t* value = json_loadb(json.data(), json.size(), JSON_DECODE_ANY | JSON_ALLOW_NUL, nullptr);
    CHECK(json_is_string(value));
    const std::string_view back(json_string_value(value), json_string_length(value));
    CHECK(decodes(back));
    CHECK(!valid || back == text);
    json_decref(value);
}

} // namespace

std::vector<std::string> seeds()
{
    return {"\x01plain text, longer than a word",
            "\x02gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
            "\x03\xed\xa0\x80 \xf4\x90\x80\x80 \xc0\xaf \xe0\x80\xaf",
            "\x04{\"a\":\"\\\\\",\"b\":[1,2]}\r\n\t\b",
            std::string("\x05\0\x1f\x7f\x80", 5),
            "\x06Zm9vYg=="};
}

FUZZ_TARGET(utf8)(const std::uint8_t* data, std::size_t size)
{
    Input in(data, size);
    const std::size_t step = in.byte() % 8 + 1;
    const std::string_view text = in.rest();

    const bool valid = decodes(text);
    CHECK(validUtf8(text) == valid);
    CHECK(validInPieces(text, step) == valid);
    const std::size_t prefix = utf8Prefix(text, step * 3);
    CHECK(prefix <= step * 3 && prefix <= text.size());
    CHECK(!valid || decodes(text.substr(0, prefix)));

    checkJson(text, valid);

    std::string encoded;
    appendBase64(encoded, text);
    CHECK(decodeBase64(encoded) == text);
    if (const auto decoded = decodeBase64(text)) {
        std::string again;
        appendBase64(again, *decoded);
        CHECK(again == text);
    }
    return 0;
}
