#include "base/json_text.hpp"

#include "base/utf8.hpp"

#include <jansson.h>

#include <memory>

#include "testing.hpp"

using namespace realtime;

namespace {

std::string json(std::string_view text)
{
    FrameBuilder builder;
    appendJsonString(builder, text);
    std::string other;
    appendJsonString(other, text);
    assert_text_equal(builder.view(), other); // both ways alike
    return other;
}

struct JsonFree {
    void operator()(json_t* j) const noexcept { json_decref(j); }
};

// What a parser that is not ours reads.
std::string parsed(const std::string& text)
{
    json_error_t error;
    const std::unique_ptr<json_t, JsonFree> value(
        json_loadb(text.data(), text.size(), JSON_DECODE_ANY | JSON_ALLOW_NUL, &error));
    if (!json_is_string(value.get())) {
        fail_msg("jansson: %s in %s", error.text, text.c_str());
    }
    return {json_string_value(value.get()), json_string_length(value.get())};
}

} // namespace

TEST(escapes_are_those_of_rfc_8259)
{
    assert_text_equal(json(""), "\"\"");
    assert_text_equal(json("plain"), "\"plain\"");
    assert_text_equal(json("a\"b\\c/d"), "\"a\\\"b\\\\c/d\"");
    assert_text_equal(json("\n\r\t\b\f"), "\"\\n\\r\\t\\u0008\\u000c\"");
    assert_text_equal(json(std::string_view("\0\x1f\x7f", 3)), "\"\\u0000\\u001f\x7f\"");
    assert_text_equal(json("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80"), "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\"");
}

TEST(ill_formed_bytes_become_one_replacement_a_sequence)
{
    assert_text_equal(json("a\xff"
                           "b"),
                      "\"a\xef\xbf\xbd"
                      "b\"");
    // Unicode 15, table 3-11
    assert_text_equal(json("a\xf1\x80\x80\xe1\x80\xc2"
                           "b\x80"
                           "c\x80\xbf"
                           "d"),
                      "\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                      "b\xef\xbf\xbd"
                      "c\xef\xbf\xbd\xef\xbf\xbd"
                      "d\"");
    assert_text_equal(json("cut \xe2\x82"), "\"cut \xef\xbf\xbd\"");
    assert_text_equal(json("\"\xff\n"), "\"\\\"\xef\xbf\xbd\\n\"");
}

TEST(every_byte_at_every_alignment_parses_back)
{
    for (unsigned byte = 0; byte < 0x80; ++byte) {
        for (std::size_t before = 0; before < 18; ++before) {
            const std::string text = std::string(before, 'x') + static_cast<char>(byte) + std::string(9, 'y');
            assert_text_equal(parsed(json(text)), text);
        }
    }
}

TEST(neighbours_of_special_bytes_are_not_escaped)
{
    // The search for special bytes works on words and may only err behind a hit.
    for (unsigned first = 0; first < 0x80; ++first) {
        for (unsigned second = 0; second < 0x80; ++second) {
            const std::string text{'a',
                                   static_cast<char>(first),
                                   static_cast<char>(second),
                                   '!',
                                   '#',
                                   '[',
                                   ']',
                                   '\x20',
                                   '\x7f',
                                   '\x01'};
            assert_text_equal(parsed(json(text)), text);
        }
    }
    assert_text_equal(json("\"\x21\x21\x23\x5b\x5d\x20\x21"), "\"\\\"\x21\x21\x23\x5b\x5d\x20\x21\"");
}

TEST(long_texts_of_every_kind_parse_back)
{
    for (const std::string piece :
         {"plain text ", "\"", "\\\"", "\x01", "\xe2\x82\xac", "x\xf0\x9f\x98\x80\n", "1234567\""}) {
        std::string text;
        for (int i = 0; i < 1500; ++i) {
            text += piece;
        }
        assert_text_equal(parsed(json(text)), text);
    }
}

TEST(hostile_bytes_always_make_valid_json)
{
    std::uint32_t random = 1;
    for (int round = 0; round < 20'000; ++round) {
        std::string text;
        for (std::uint32_t size = round % 40; size > 0; --size) {
            random = random * 1664525 + 1013904223;
            text += static_cast<char>(random >> 24);
        }
        const std::string got = parsed(json(text));
        assert_true(validUtf8(got));
        if (validUtf8(text)) {
            assert_text_equal(got, text);
        }
    }
}

TEST_MAIN()
