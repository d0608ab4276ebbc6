// Reads JSON with a parser that is not ours (jansson), to check what we write. Include before testing.hpp.
#pragma once

#include <jansson.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace realtime::testing {

struct JsonFree {
    void operator()(json_t* j) const noexcept { json_decref(j); }
};
using Json = std::unique_ptr<json_t, JsonFree>;

// Throws std::runtime_error, which fails the test, if it is not strict JSON without repeated members.
inline Json readJson(std::string_view text)
{
    json_error_t error;
    Json value(json_loadb(text.data(), text.size(), JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
                          &error));
    if (!value) {
        throw std::runtime_error("jansson: " + std::string(error.text) + " in " + std::string(text));
    }
    return value;
}

// A string's text; "(none)" if there is none.
inline std::string textOf(const json_t* value)
{
    return json_is_string(value) ? std::string(json_string_value(value), json_string_length(value))
                                 : "(none)";
}

inline std::string member(const Json& object, const char* name)
{
    return textOf(json_object_get(object.get(), name));
}

// Compact text, members in the order in which they came.
inline std::string dump(const json_t* value)
{
    const std::unique_ptr<char, decltype(&std::free)> text(
        json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_PRESERVE_ORDER), &std::free);
    return text == nullptr ? "(none)" : text.get();
}

} // namespace realtime::testing
