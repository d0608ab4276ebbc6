#include "wire/envelope.hpp"

#include "base/base64.hpp"

#include <jansson.h>

#include <memory>

#include "testing.hpp"

using namespace realtime;

namespace {

struct JsonFree {
    void operator()(json_t* j) const noexcept { json_decref(j); }
};
using Json = std::unique_ptr<json_t, JsonFree>;

Json parse(std::string_view text)
{
    json_error_t error;
    Json value(json_loadb(text.data(), text.size(), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error));
    if (!json_is_object(value.get())) {
        fail_msg("jansson: %s in %s", error.text, std::string(text).c_str());
    }
    return value;
}

std::string member(const Json& object, const char* name)
{
    json_t* value = json_object_get(object.get(), name);
    return value == nullptr ? "(none)" : std::string(json_string_value(value), json_string_length(value));
}

Json envelope(std::string_view id, std::string_view channel, std::string_view event, std::string_view data)
{
    FrameBuilder builder;
    appendJsonEnvelope(builder, id, channel, event, data);
    return parse(builder.view());
}

} // namespace

TEST(an_envelope_looks_as_documented)
{
    FrameBuilder builder;
    appendJsonEnvelope(builder, "e1-7", "room", "news", "hello");
    assert_text_equal(builder.view(), R"({"id":"e1-7","channel":"room","event":"news","data":"hello"})");
}

TEST(every_member_is_escaped)
{
    const std::string hostile = "\"},{\\\n\x01\xc3\xa9";
    const Json object = envelope(hostile, hostile, hostile, hostile);
    assert_int_equal(json_object_size(object.get()), 4);
    for (const char* name : {"id", "channel", "event", "data"}) {
        assert_text_equal(member(object, name), hostile);
    }
}

TEST(an_unnamed_event_is_message)
{
    assert_text_equal(member(envelope("1-1", "c", "", ""), "event"), "message");
}

TEST(data_that_is_not_utf8_is_base64)
{
    const std::string data("\x00\xff\xfe", 3);
    const Json object = envelope("1-1", "c", "e", data);
    assert_text_equal(member(object, "encoding"), "base64");
    assert_text_equal(decodeBase64(member(object, "data")).value(), data);
    assert_text_equal(member(envelope("1-1", "c", "e", "text"), "encoding"), "(none)");
}

TEST(a_gap_has_no_id)
{
    FrameBuilder builder;
    appendJsonGap(builder, "ro\"om", "{\"missed\":3}");
    assert_text_equal(builder.view(),
                      R"({"event":"realtime:gap","channel":"ro\"om","data":"{\"missed\":3}"})");
    parse(builder.view());
}

TEST_MAIN()
