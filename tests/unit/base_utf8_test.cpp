#include "base/utf8.hpp"

#include "testing.hpp"

using namespace realtime;

namespace {

struct Case {
    const char* what;
    std::string text;
    bool valid;
};

// After Markus Kuhn's UTF-8 decoder capability and stress test.
const std::vector<Case>& cases()
{
    static const std::vector<Case> all{
        {"nothing", "", true},
        {"ASCII", "plain", true},
        {"NUL", std::string(3, '\0'), true},
        {"Greek", "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", true},
        // 2.1, 2.2: first and last of each length
        {"U+0080", "\xc2\x80", true},
        {"U+0800", "\xe0\xa0\x80", true},
        {"U+10000", "\xf0\x90\x80\x80", true},
        {"U+007F", "\x7f", true},
        {"U+07FF", "\xdf\xbf", true},
        {"U+FFFF", "\xef\xbf\xbf", true},
        {"U+10FFFF", "\xf4\x8f\xbf\xbf", true},
        {"U+D7FF", "\xed\x9f\xbf", true},
        {"U+E000", "\xee\x80\x80", true},
        {"U+FFFD", "\xef\xbf\xbd", true},
        {"U+FEFF, a byte order mark", "\xef\xbb\xbf", true},
        {"U+110000", "\xf4\x90\x80\x80", false},
        {"5 bytes", "\xf8\x88\x80\x80\x80", false},
        {"6 bytes", "\xfc\x84\x80\x80\x80\x80", false},
        // 3.1: continuation bytes alone
        {"80", "\x80", false},
        {"BF", "\xbf", false},
        {"80 BF", "\x80\xbf", false},
        // 3.2, 3.3: lead bytes without the rest
        {"C2 alone", "\xc2", false},
        {"C2 and a space", "\xc2 ", false},
        {"E0 A0", "\xe0\xa0", false},
        {"E2 82 and a space", "\xe2\x82 ", false},
        {"F0 90 80", "\xf0\x90\x80", false},
        {"F0 90 and a lead byte", "\xf0\x90\xc2\x80", false},
        // 3.5: never
        {"FE", "\xfe", false},
        {"FF", "\xff", false},
        {"F5", "\xf5\x80\x80\x80", false},
        // 4: overlong
        {"C0 AF", "\xc0\xaf", false},
        {"C1 BF", "\xc1\xbf", false},
        {"E0 80 AF", "\xe0\x80\xaf", false},
        {"E0 9F BF", "\xe0\x9f\xbf", false},
        {"F0 80 80 AF", "\xf0\x80\x80\xaf", false},
        {"F0 8F BF BF", "\xf0\x8f\xbf\xbf", false},
        // 5: surrogates
        {"U+D800", "\xed\xa0\x80", false},
        {"U+DFFF", "\xed\xbf\xbf", false},
        {"a pair", "\xed\xa0\x80\xed\xb0\x80", false},
    };
    return all;
}

bool validInPieces(std::string_view text, std::size_t cut)
{
    Utf8Validator validator;
    return validator.feed(text.substr(0, cut)) && validator.feed(text.substr(cut)) && validator.complete();
}

bool validByteByByte(std::string_view text)
{
    Utf8Validator validator;
    for (const char& c : text) {
        if (!validator.feed({&c, 1})) {
            return false;
        }
    }
    return validator.complete();
}

// The definition, from the other end: encode each code point and compare.
std::string encode(std::uint32_t code)
{
    const auto tail = [code](int shift) { return static_cast<char>(0x80 | (code >> shift & 0x3f)); };
    if (code < 0x80) {
        return {static_cast<char>(code)};
    }
    if (code < 0x800) {
        return {static_cast<char>(0xc0 | code >> 6), tail(0)};
    }
    if (code < 0x10000) {
        return {static_cast<char>(0xe0 | code >> 12), tail(6), tail(0)};
    }
    return {static_cast<char>(0xf0 | code >> 18), tail(12), tail(6), tail(0)};
}

} // namespace

TEST(the_table_holds_for_each_case_in_any_surroundings)
{
    for (const Case& c : cases()) {
        // The fast path looks at eight bytes: put the case at each alignment.
        for (std::size_t before = 0; before < 18; ++before) {
            const std::string text = std::string(before, 'x') + c.text + std::string(before % 3 * 7, 'y');
            if (validUtf8(text) != c.valid) {
                fail_msg("%s behind %zu bytes", c.what, before);
            }
        }
    }
}

TEST(the_table_holds_for_each_case_cut_anywhere)
{
    for (const Case& c : cases()) {
        const std::string text = "0123456789" + c.text + "0123456789";
        for (std::size_t cut = 0; cut <= text.size(); ++cut) {
            if (validInPieces(text, cut) != c.valid) {
                fail_msg("%s cut at %zu", c.what, cut);
            }
        }
        if (validByteByByte(text) != c.valid) {
            fail_msg("%s byte by byte", c.what);
        }
    }
}

TEST(every_code_point_but_surrogates_is_valid)
{
    for (std::uint32_t code = 0; code < 0x111000; ++code) {
        const std::string text = encode(code);
        const bool expected = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
        const Utf8Step step = utf8Step(text);
        if (validUtf8(text) != expected || validByteByByte(text) != expected || step.valid != expected ||
            (expected && step.bytes != text.size())) {
            fail_msg("U+%04X", static_cast<unsigned>(code));
        }
    }
}

TEST(every_sequence_of_three_bytes_is_judged_alike)
{
    // A letter behind it: a truncated sequence must not pass. The validators share no loop.
    std::string text = "...z";
    for (unsigned a = 0x7f; a < 0x100; ++a) {
        for (unsigned b = 0; b < 0x100; ++b) {
            for (unsigned c = 0x70; c < 0x100; ++c) {
                text[0] = static_cast<char>(a);
                text[1] = static_cast<char>(b);
                text[2] = static_cast<char>(c);
                Utf8Validator validator;
                const bool incremental = validator.feed(text) && validator.complete();
                if (validUtf8(text) != incremental) {
                    fail_msg("%02x %02x %02x", a, b, c);
                }
            }
        }
    }
}

TEST(a_validator_stays_failed)
{
    Utf8Validator validator;
    assert_false(validator.feed("\xff"));
    assert_false(validator.feed("fine"));
    assert_false(validator.complete());
}

TEST(a_validator_is_not_complete_within_a_sequence)
{
    Utf8Validator validator;
    assert_true(validator.feed("\xe2\x82"));
    assert_false(validator.complete());
    assert_true(validator.feed("\xac"));
    assert_true(validator.complete());
}

TEST(a_validator_fails_at_the_first_wrong_byte)
{
    Utf8Validator validator;
    assert_true(validator.feed("\xf4"));
    assert_false(validator.feed("\x90")); // past U+10FFFF, known before the sequence is whole
}

TEST(an_ill_formed_sequence_is_as_long_as_unicode_says)
{
    // Unicode 15, table 3-11 and its neighbours: 61 F1 80 80 E1 80 C2 62 80 63 80 BF 64.
    const struct {
        std::string text;
        int bytes;
    } steps[]{{"\xf1\x80\x80\xe1", 3}, {"\xe1\x80\xc2", 2}, {"\xc2\x62", 1}, {"\x80\x63", 1},
              {"\xed\xa0\x80", 1},     {"\xc0\xaf", 1},     {"\xf4\x90", 1}, {"\xf0\x90\x80", 3}};
    for (const auto& step : steps) {
        const Utf8Step found = utf8Step(step.text);
        assert_false(found.valid);
        assert_int_equal(found.bytes, step.bytes);
    }
}

TEST(a_prefix_ends_between_characters)
{
    const std::string text = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"; // 1 + 2 + 3 + 4 bytes
    const std::size_t expected[]{0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
    for (std::size_t limit = 0; limit < std::size(expected); ++limit) {
        assert_int_equal(utf8Prefix(text, limit), expected[limit]);
    }
    assert_int_equal(utf8Prefix("\x80\x80\x80\x80\x80\x80", 5), 2); // no text: ends somewhere near
}

TEST_MAIN()
