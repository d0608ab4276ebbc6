#include "base/base64.hpp"

#include "testing.hpp"

using namespace realtime;

namespace {

std::string encoded(std::string_view bytes)
{
    FrameBuilder builder;
    appendBase64(builder, bytes);
    std::string text;
    appendBase64(text, bytes);
    assert_text_equal(builder.view(), text); // both ways alike
    return text;
}

} // namespace

TEST(the_vectors_of_rfc_4648_hold)
{
    const struct {
        const char *bytes, *text;
    } vectors[]{{"", ""},
                {"f", "Zg=="},
                {"fo", "Zm8="},
                {"foo", "Zm9v"},
                {"foob", "Zm9vYg=="},
                {"fooba", "Zm9vYmE="},
                {"foobar", "Zm9vYmFy"}};
    for (const auto& vector : vectors) {
        assert_text_equal(encoded(vector.bytes), vector.text);
        assert_text_equal(decodeBase64(vector.text).value(), vector.bytes);
    }
}

TEST(every_byte_value_comes_back)
{
    std::string bytes;
    for (int i = 0; i < 1000; ++i) {
        bytes += static_cast<char>(i * 7 + i / 256);
        const std::string text = encoded(bytes);
        assert_int_equal(text.size(), base64Size(bytes.size()));
        assert_true(decodeBase64(text) == bytes);
    }
}

TEST(appending_keeps_what_is_there)
{
    std::string text = "data:";
    appendBase64(text, "foo");
    assert_text_equal(text, "data:Zm9v");
}

TEST(what_is_not_canonical_is_refused)
{
    for (const char* text : {"Z", "Zg", "Zg=", "Zg===", "====", "=", "=Zg=", "Z===", "Zm9v\n", "Zm 9v",
                             "Zm9v====", "Zh==", "Zm9=", "Zg==Zg==", "Zm-_", "Zm9\x80"}) {
        if (decodeBase64(text)) {
            fail_msg("%s was taken", text);
        }
    }
    assert_false(decodeBase64(std::string_view("Zm9\0", 4)).has_value());
}

TEST_MAIN()
