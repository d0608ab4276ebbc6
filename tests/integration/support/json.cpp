#include "support/json.hpp"

#include <cstdlib>
#include <stdexcept>

namespace realtime::testing {
namespace {

std::shared_ptr<json_t> owned(json_t* value)
{
    return {value, [](json_t* json) { json_decref(json); }};
}

} // namespace

Json Json::parse(std::string_view text)
{
    json_error_t error;
    json_t* value = json_loadb(text.data(), text.size(), JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (value == nullptr) {
        throw std::runtime_error(std::string("not JSON (") + error.text +
                                 "): " + std::string(text.substr(0, 2000)));
    }
    return Json(owned(value));
}

Json Json::at(std::string_view key) const
{
    json_t* found = json_object_get(value_.get(), std::string(key).c_str());
    if (found == nullptr) {
        throw std::runtime_error("no \"" + std::string(key) + "\" in " + dump());
    }
    return Json(owned(json_incref(found)));
}

bool Json::has(std::string_view key) const
{
    return json_object_get(value_.get(), std::string(key).c_str()) != nullptr;
}

Json Json::at(std::size_t index) const
{
    json_t* found = json_array_get(value_.get(), index);
    if (found == nullptr) {
        throw std::runtime_error("no element " + std::to_string(index) + " in " + dump());
    }
    return Json(owned(json_incref(found)));
}

std::size_t Json::size() const
{
    return json_is_array(value_.get()) ? json_array_size(value_.get()) : json_object_size(value_.get());
}

std::string Json::text() const
{
    if (!json_is_string(value_.get())) {
        throw std::runtime_error("not a string: " + dump());
    }
    return {json_string_value(value_.get()), json_string_length(value_.get())};
}

std::int64_t Json::number() const
{
    if (!json_is_integer(value_.get())) {
        throw std::runtime_error("not an integer: " + dump());
    }
    return json_integer_value(value_.get());
}

std::vector<std::string> Json::keys() const
{
    std::vector<std::string> names;
    const char* name = nullptr;
    json_t* value = nullptr;
    json_object_foreach(value_.get(), name, value)
    {
        names.emplace_back(name);
    }
    return names;
}

std::string Json::dump() const
{
    char* text = json_dumps(value_.get(), JSON_ENCODE_ANY | JSON_COMPACT);
    std::string copy = text == nullptr ? "?" : text;
    std::free(text);
    return copy;
}

} // namespace realtime::testing
