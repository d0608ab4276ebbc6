// Reading JSON in tests: anything missing or of another type throws, and so fails the test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <jansson.h>

namespace realtime::testing {

class Json {
public:
    static Json parse(std::string_view text); // throws with the text if it is not JSON

    Json at(std::string_view key) const;
    bool has(std::string_view key) const;
    Json at(std::size_t index) const;
    std::size_t size() const; // of an array or object
    std::string text() const; // of a string
    std::int64_t number() const;
    std::vector<std::string> keys() const;
    std::string dump() const;

private:
    explicit Json(std::shared_ptr<json_t> value) : value_(std::move(value)) {}
    std::shared_ptr<json_t> value_;
};

} // namespace realtime::testing
