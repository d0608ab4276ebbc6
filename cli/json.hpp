// Read-only JSON, over jansson. Whatever is missing, or of another type, is empty: a server's text is never trusted.
#pragma once

#include <jansson.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace realtime::cli {

class Json {
public:
    static Json parse(std::string_view text)
    {
        json_error_t error;
        return Json(json_loadb(text.data(), text.size(), JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error));
    }
    explicit Json(json_t* owned) : value_(owned) {}
    ~Json() { json_decref(value_); }
    Json(Json&& other) noexcept : value_(std::exchange(other.value_, nullptr)) {}
    Json& operator=(Json&& other) noexcept
    {
        std::swap(value_, other.value_);
        return *this;
    }
    Json(const Json& other) : value_(json_incref(other.value_)) {}
    Json& operator=(const Json&) = delete;

    explicit operator bool() const { return value_ != nullptr; }
    json_t* get() const { return value_; }
    Json at(const char* name) const { return Json(json_incref(json_object_get(value_, name))); }
    bool has(const char* name) const { return json_object_get(value_, name) != nullptr; }

    std::string text() const
    {
        const char* bytes = json_string_value(value_);
        return bytes == nullptr ? std::string() : std::string(bytes, json_string_length(value_));
    }
    std::string text(const char* name) const { return at(name).text(); }
    bool isTrue(const char* name) const { return json_is_true(json_object_get(value_, name)); }

private:
    json_t* value_;
};

} // namespace realtime::cli
