#include "base/json_scan.hpp"

#include "json_reader.hpp"

#include "testing.hpp"

using namespace realtime;
using realtime::testing::readJson;

namespace {

json::Value parsed(std::string_view text)
{
    const auto value = json::parse(text);
    if (!value) {
        throw std::runtime_error("refused: " + std::string(text));
    }
    return *value;
}

std::string unescaped(std::string_view raw)
{
    return json::asString(parsed(raw)).value();
}

std::string nested(std::size_t depth)
{
    return std::string(depth, '[') + std::string(depth, ']');
}

} // namespace

TEST(what_rfc_8259_allows_is_read)
{
    const struct {
        std::string_view text;
        json::Type type;
        std::string_view raw;
    } cases[] = {
        {"null", json::Type::Null, "null"},
        {"\t\r\n true ", json::Type::True, "true"},
        {"false", json::Type::False, "false"},
        {"0", json::Type::Number, "0"},
        {" -0 ", json::Type::Number, "-0"},
        {"-12.50e+300", json::Type::Number, "-12.50e+300"},
        {"1E-1", json::Type::Number, "1E-1"},
        {"123456789012345678901234567890", json::Type::Number, "123456789012345678901234567890"},
        {"1e999999", json::Type::Number, "1e999999"},
        {R"("")", json::Type::String, R"("")"},
        {R"("\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00")", json::Type::String,
         R"("\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00")"},
        {"\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80 \x7f\"", json::Type::String,
         "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80 \x7f\""},
        {R"("\ud800")", json::Type::String, R"("\ud800")"}, // 8.2: legal, not good
        {" [] ", json::Type::Array, "[]"},
        {"[ 1 , [ ] , { } ]", json::Type::Array, "[ 1 , [ ] , { } ]"},
        {"{ }", json::Type::Object, "{ }"},
        {R"({ "a" : 1 , "" : [ "]" ] })", json::Type::Object, R"({ "a" : 1 , "" : [ "]" ] })"},
    };
    for (const auto& each : cases) {
        const json::Value value = parsed(each.text);
        assert_int_equal(value.type, each.type);
        assert_text_equal(value.raw, each.raw);
        assert_false(value.absent());
    }
}

TEST(everything_else_is_refused)
{
    const std::string_view cases[] = {
        "",
        " ",
        "nul",
        "nulll",
        "NULL",
        "True",
        "+1",
        "-",
        "01",
        "-01",
        "1.",
        ".5",
        "1.e5",
        "1e",
        "1e+",
        "0x10",
        "Infinity",
        "NaN",
        "1 2",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\u123\"",
        "\"\\U0041\"",
        "'a'",
        "\"\n\"",
        "\"\t\"",
        "\"\x1f\"",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1}",
        "{",
        "}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\" 1}",
        "{\"a\":1,}",
        "{,\"a\":1}",
        "{a:1}",
        "{1:1}",
        "{\"a\":1]",
        "{\"a\":1 \"b\":2}",
        "[1]//x",
        "/**/1",
        "\xef\xbb\xbf[]",
        "\v1",
        "1\f",
        "\"\xff\"",
        "\"\xc3\"",
        "\"\xc0\xaf\"",
        "\"\xed\xa0\x80\"",
        "\xff",
        "\"a\"\"b\"",
    };
    for (const std::string_view text : cases) {
        if (json::parse(text)) {
            fail_msg("accepted: %s", std::string(text).c_str());
        }
    }
    using namespace std::string_view_literals;
    assert_false(json::parse("\"\0\""sv).has_value());
    assert_false(json::parse("1\0"sv).has_value());
    assert_false(json::parse({}).has_value());
}

TEST(every_beginning_of_a_text_is_refused)
{
    const std::string_view text = R"({"a":[1,-2.5e3,"x\u00e9\n",true,false,null,{"b":{}}],"c":"\"}"})";
    assert_true(json::parse(text).has_value());
    for (std::size_t size = 0; size < text.size(); ++size) {
        assert_false(json::parse(text.substr(0, size)).has_value());
        assert_false(json::parse(text.substr(size + 1)).has_value());
    }
}

TEST(nesting_is_bounded)
{
    assert_true(json::parse(nested(json::DefaultDepth)).has_value());
    assert_false(json::parse(nested(json::DefaultDepth + 1)).has_value());
    assert_true(json::parse(nested(1000), 1000).has_value());
    assert_false(json::parse(nested(1001), 100'000).has_value()); // each level takes stack
    assert_true(json::parse("1", 0).has_value());
    assert_false(json::parse("[]", 0).has_value());
    assert_true(json::parse(R"({"a":{"b":[1]}})", 3).has_value());
    assert_false(json::parse(R"({"a":{"b":[1]}})", 2).has_value());
    // Siblings are not deeper.
    assert_true(json::parse("[[],[],[[]],{}]", 3).has_value());
    assert_false(json::parse(std::string(1'000'000, '[')).has_value());
    assert_false(json::parse(nested(1'000'000)).has_value());
}

TEST(an_array_gives_its_elements_as_they_came)
{
    const json::Value array = parsed(R"( [ 1.50 ,"a]\"b" , [ 2 ,"]" ],{ "x" :[ ] } ,null] )");
    json::ArrayReader reader(array);
    for (const std::string_view expected :
         {"1.50", R"("a]\"b")", R"([ 2 ,"]" ])", R"({ "x" :[ ] })", "null"}) {
        const auto element = reader.next();
        assert_true(element.has_value());
        assert_text_equal(element->raw, expected);
        assert_int_equal(element->type, parsed(expected).type);
    }
    assert_false(reader.next().has_value());
    assert_false(reader.next().has_value());
}

TEST(an_object_gives_its_members_as_they_came)
{
    const json::Value object = parsed(R"({ "a" : "1" , "\u0062":{"c":[1, 2]},"" :-0 , "a":2})");
    json::ObjectReader reader(object);
    const std::pair<std::string_view, std::string_view> expected[] = {
        {R"("a")", R"("1")"}, {R"("\u0062")", R"({"c":[1, 2]})"}, {R"("")", "-0"}, {R"("a")", "2"}};
    for (const auto& [name, value] : expected) {
        const auto found = reader.next();
        assert_true(found.has_value());
        assert_text_equal(found->rawName, name);
        assert_text_equal(found->value.raw, value);
    }
    assert_false(reader.next().has_value());
}

TEST(only_containers_can_be_walked)
{
    for (const std::string_view text : {"null", "\"[1]\"", "12", "true", "[]", "{}", "[ ]", "{ }"}) {
        assert_false(json::ArrayReader(parsed(text)).next().has_value());
        assert_false(json::ObjectReader(parsed(text)).next().has_value());
    }
    assert_false(json::ArrayReader(parsed("{\"a\":1}")).next().has_value());
    assert_false(json::ObjectReader(parsed("[1]")).next().has_value());
    assert_false(json::ArrayReader(json::Value()).next().has_value());
    assert_true(json::find(parsed("[\"a\",1]"), "a").absent());
}

TEST(the_last_of_repeated_members_counts)
{
    const json::Value object = parsed(R"({"a":1,"b":2,"a":3,"\u0061":4,"A":5})");
    assert_text_equal(json::find(object, "a").raw, "4");
    assert_text_equal(json::find(object, "b").raw, "2");
    assert_true(json::find(object, "c").absent());

    constexpr std::string_view Names[] = {"A", "none", "a"};
    json::Value values[3] = {parsed("7"), parsed("8"), parsed("9")};
    json::pick(object, Names, values);
    assert_text_equal(values[0].raw, "5");
    assert_true(values[1].absent()); // what was in it before is gone
    assert_text_equal(values[2].raw, "4");
}

TEST(null_is_there_and_absent_is_not)
{
    const json::Value null = json::find(parsed(R"({"a":null})"), "a");
    const json::Value absent = json::find(parsed(R"({"a":null})"), "b");
    assert_true(null.isNull());
    assert_false(null.absent());
    assert_true(absent.isNull());
    assert_true(absent.absent());
}

TEST(escapes_are_undone_once)
{
    assert_text_equal(unescaped(R"("\"\\\/\b\f\n\r\t")"), "\"\\/\b\f\n\r\t");
    assert_text_equal(unescaped(R"("a\\u00e9b")"), R"(a\u00e9b)");
    assert_text_equal(unescaped(R"("\u0041\u00e9\u20AC\uD83D\uDE00\uffff\u0000x")"),
                      std::string("A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbf\0x", 15));
    assert_text_equal(unescaped(R"("\uD800\uDC00\udbff\udfff")"), "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf");
}

TEST(every_byte_counts_at_every_place_of_a_string)
{
    // Runs of plain text are searched by words.
    for (std::size_t before = 0; before < 18; ++before) {
        for (int byte = 0; byte < 0x80; ++byte) {
            const bool plain = byte >= 0x20 && byte != '"' && byte != '\\';
            std::string text = '"' + std::string(before, '!');
            text += static_cast<char>(byte);
            text += "]]]]]]]]]\"";
            if (byte != '\\') { // which makes an escape of what follows: not this test's business
                assert_int_equal(json::parse(text).has_value(), plain);
            }
            if (!plain) {
                text.replace(before + 1, 1, R"(\")");
            }
            std::string array = "[";
            array.append(text).append(",\"next\"]");
            json::ArrayReader reader(parsed(array));
            assert_text_equal(reader.next()->raw, text);
            assert_text_equal(reader.next()->raw, "\"next\"");
        }
    }
}

TEST(lone_surrogates_become_replacements)
{
    const std::string_view r = "\xef\xbf\xbd";
    assert_text_equal(unescaped(R"("\ud800")"), r);
    assert_text_equal(unescaped(R"("\udc00")"), r);
    assert_text_equal(unescaped(R"("a\ud800b")"), "a" + std::string(r) + "b");
    assert_text_equal(unescaped(R"("\ud800\n")"), std::string(r) + "\n");
    assert_text_equal(unescaped(R"("\ud800\u0041")"), std::string(r) + "A");
    assert_text_equal(unescaped(R"("\ud800\ud83d\ude00")"), std::string(r) + "\xf0\x9f\x98\x80");
    for (const std::string_view two : {R"("\ude00\ud83d")", R"("\udc00\udc00")", R"("\ud800\ud800")"}) {
        assert_text_equal(unescaped(two), std::string(r) + std::string(r));
    }
}

TEST(names_are_compared_unescaped)
{
    assert_true(json::equals(R"("abc")", "abc"));
    assert_true(json::equals(R"("\u0061\u0062\u0063")", "abc"));
    assert_true(json::equals(R"("\u00e9")", "\xc3\xa9"));
    assert_true(json::equals(R"("")", ""));
    assert_false(json::equals(R"("abc")", "ab"));
    assert_false(json::equals(R"("a\u0062")", "a\\u0062"));
    assert_false(json::equals(R"("\u0061")", ""));
    assert_false(json::equals(R"("\u0061\u0061")", "a"));
}

TEST(integers_are_exact_or_none)
{
    assert_int_equal(json::asInteger(parsed("0")).value(), 0);
    assert_int_equal(json::asInteger(parsed("-0")).value(), 0);
    assert_int_equal(json::asInteger(parsed("9223372036854775807")).value(), INT64_MAX);
    assert_int_equal(json::asInteger(parsed("-9223372036854775808")).value(), INT64_MIN);
    for (const std::string_view text :
         {"9223372036854775808", "1.0", "1e2", "\"1\"", "null", "true", "[1]", "1E0"}) {
        assert_false(json::asInteger(parsed(text)).has_value());
    }
    assert_false(json::asInteger(json::Value()).has_value());
    assert_false(json::asString(parsed("1")).has_value());
    assert_false(json::asString(json::Value()).has_value());
}

TEST(a_large_text_is_read_in_linear_time)
{
    // Quadratic work on a megabyte takes minutes, and the test's time is limited.
    std::string text = "{\"a\":[";
    for (int i = 0; i < 100'000; ++i) {
        text += R"({"k":["\u00e9\"",1]},)";
    }
    text += "0]}";
    const json::Value value = parsed(text);
    json::ArrayReader reader(json::find(value, "a"));
    int count = 0;
    while (const auto element = reader.next()) {
        count += json::find(*element, "k").isArray() ? 1 : 0;
    }
    assert_int_equal(count, 100'000);
    std::string members = "{\"x\":0";
    for (int i = 0; i < 100'000; ++i) {
        members += R"(,"\u006ey":1)";
    }
    assert_text_equal(json::find(parsed(members + '}'), "x").raw, "0");
}

TEST(slices_mean_the_same_to_another_parser)
{
    const std::string_view text = R"({"s":"\u00e9\\\"","n":-12.5e3,"o":{"a":[1,{"b":null}]},"a":[[],"]}"]})";
    const auto theirs = readJson(text);
    json::ObjectReader reader(parsed(text));
    while (const auto found = reader.next()) {
        const auto slice = readJson(found->value.raw);
        assert_true(json_equal(slice.get(),
                               json_object_get(theirs.get(), json::unescape(found->rawName).c_str())) == 1);
    }
}

TEST_MAIN()
