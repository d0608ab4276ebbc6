// Our reader accepts what jansson accepts, and both read the same. Known differences: jansson has no numbers of any size,
// no NUL in names, refuses escaped lone surrogates, and (2.14) overlooks a NUL byte behind a number.
#include "base/json_scan.hpp"
#include "base/utf8.hpp"

#include <jansson.h>

#include <algorithm>
#include <memory>

#include "fuzz.hpp"

using namespace realtime;

namespace {

constexpr std::size_t Deep = 1000;

struct JsonFree {
    void operator()(json_t* j) const noexcept { json_decref(j); }
};

void compare(const json::Value& ours, const json_t* theirs);

void compareArray(const json::Value& ours, const json_t* theirs)
{
    json::ArrayReader reader(ours);
    std::size_t count = 0;
    while (const auto element = reader.next()) {
        CHECK(count < json_array_size(theirs));
        compare(*element, json_array_get(theirs, count++));
    }
    CHECK(count == json_array_size(theirs));
}

void compareObject(const json::Value& ours, const json_t* theirs)
{
    json::ObjectReader reader(ours);
    std::size_t count = 0;
    while (const auto member = reader.next()) {
        ++count;
        const std::string name = json::unescape(member->rawName);
        CHECK(json::equals(member->rawName, name));
        json_t* value = json_object_getn(theirs, name.data(), name.size());
        CHECK(value != nullptr);
        const json::Value last = json::find(ours, name);
        if (last.raw.data() == member->value.raw.data()) {
            compare(last, value);
        }
    }
    CHECK(count >= json_object_size(theirs));
}

void compare(const json::Value& ours, const json_t* theirs)
{
    switch (ours.type) {
    case json::Type::Null:
        CHECK(json_is_null(theirs));
        break;
    case json::Type::False:
        CHECK(json_is_false(theirs));
        break;
    case json::Type::True:
        CHECK(json_is_true(theirs));
        break;
    case json::Type::Number:
        CHECK(json_is_number(theirs));
        CHECK(json::asInteger(ours).has_value() == json_is_integer(theirs));
        CHECK(!json_is_integer(theirs) || json::asInteger(ours) == json_integer_value(theirs));
        break;
    case json::Type::String:
        CHECK(json_is_string(theirs));
        CHECK(json::asString(ours) ==
              std::string_view(json_string_value(theirs), json_string_length(theirs)));
        break;
    case json::Type::Array:
        CHECK(json_is_array(theirs));
        compareArray(ours, theirs);
        break;
    case json::Type::Object:
        CHECK(json_is_object(theirs));
        compareObject(ours, theirs);
    }
}

bool knownDifference(const json_error_t& error)
{
    const auto code = json_error_code(&error);
    return code == json_error_numeric_overflow || code == json_error_null_byte_in_key ||
           std::string_view(error.text).starts_with("invalid Unicode");
}

// A slice is a text of its own, and what is unescaped is UTF-8.
void walk(const json::Value& value, std::size_t depth)
{
    const auto again = json::parse(value.raw, Deep);
    CHECK(again && again->type == value.type && again->raw == value.raw);
    if (value.isString()) {
        CHECK(validUtf8(json::unescape(value.raw)));
    }
    if (depth == 0) {
        return;
    }
    json::ArrayReader elements(value);
    while (const auto element = elements.next()) {
        walk(*element, depth - 1);
    }
    json::ObjectReader members(value);
    while (const auto member = members.next()) {
        CHECK(json::equals(member->rawName, json::unescape(member->rawName)));
        walk(member->value, depth - 1);
    }
}

} // namespace

std::vector<std::string> seeds()
{
    return {R"({"event":"pusher:subscribe","data":{"channel":"a","auth":"k:s"}})",
            R"( [ 1 , -2.50e+3, 0 , "x\u00e9\\\"\/\b\f\n\r\t" , true,false ,null,{ } ,[ ] ] )",
            R"({"a":1,"a":{"b":[[[]]]},"\u0061":"\ud83d\ude00","":"\ud800x"})",
            R"(123456789012345678901234567890)",
            R"(["\u0000",9223372036854775807,-9223372036854775808,1E400])",
            "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\""};
}

FUZZ_TARGET(json_scan)(const std::uint8_t* data, std::size_t size)
{
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto shallow = json::parse(text)) {
        walk(*shallow, 8);
    }
    const auto nesting = std::count_if(text.begin(), text.end(), [](char c) { return c == '[' || c == '{'; });
    if (static_cast<std::size_t>(nesting) > Deep) {
        return 0;
    }
    const auto ours = json::parse(text, Deep);
    if (text.find('\0') != std::string_view::npos) {
        CHECK(!ours.has_value());
        return 0;
    }
    json_error_t error;
    const std::unique_ptr<json_t, JsonFree> theirs(
        json_loadb(text.data(), text.size(), JSON_DECODE_ANY | JSON_ALLOW_NUL, &error));
    if (!theirs && knownDifference(error)) {
        return 0;
    }
    CHECK(ours.has_value() == (theirs != nullptr));
    if (ours && nesting < 100) {
        compare(*ours, theirs.get());
    }
    return 0;
}
