#include "base/message_id.hpp"

#include "testing.hpp"

using namespace realtime;

TEST(ids_have_one_spelling)
{
    const struct {
        MessageId id;
        const char* text;
    } rows[] = {
        {{0, 0}, "0-0"},
        {{1, 0}, "1-0"},
        {{35, 9}, "z-9"},
        {{36, 10}, "10-10"},
        {{UINT64_MAX, UINT64_MAX}, "3w5e11264sgsf-18446744073709551615"},
    };
    for (const auto& row : rows) {
        assert_text_equal(toString(row.id), row.text);
        const auto parsed = parseMessageId(row.text);
        assert_true(parsed.has_value());
        assert_true(*parsed == row.id);
    }
}

TEST(the_longest_id_fills_the_buffer)
{
    char text[MaxMessageIdBytes];
    assert_int_equal(formatMessageId({UINT64_MAX, UINT64_MAX}, text), MaxMessageIdBytes);
}

TEST(anything_but_an_id_is_refused)
{
    const std::string_view rows[] = {
        "",
        "-",
        "1",
        "1-",
        "-1",
        "1--1",
        "1-1-1",
        "01-1",
        "1-01",
        "00-0",
        "0-00",
        "A-1",
        "aB-1",
        "1-a",
        " 1-1",
        "1-1 ",
        "1 -1",
        "1- 1",
        "+1-1",
        "1-+1",
        "1--0",
        "3w5e11264sgsg-1",
        "zzzzzzzzzzzzz-1",
        "1-18446744073709551616",
        "1-99999999999999999999",
        "1_1",
        "\xc3\xa4-1",
        "00000000000000000000000000000000000-1",
    };
    for (const auto row : rows) {
        if (parseMessageId(row)) {
            fail_msg("taken: \"%s\"", std::string(row).c_str());
        }
    }
    assert_false(parseMessageId(std::string_view("1-1\0", 4)).has_value());
    assert_false(parseMessageId(std::string_view("1\0-1", 4)).has_value());
}

TEST(ids_of_one_channel_are_ordered_by_offset)
{
    assert_true((MessageId{1, 2} < MessageId{1, 10}));
    assert_true((MessageId{1, 10} < MessageId{2, 1}));
}

TEST_MAIN()
