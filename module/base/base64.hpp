// Base64 of RFC 4648 section 4: the standard alphabet, padded. Pure functions, any thread.
#pragma once

#include "base/frame.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace realtime {

constexpr std::size_t base64Size(std::size_t bytes)
{
    return (bytes + 2) / 3 * 4;
}

void appendBase64(FrameBuilder& out, std::string_view bytes);
void appendBase64(std::string& out, std::string_view bytes);

// Strict: whole groups of four, padding where it belongs and nowhere else, unused bits zero, no white space.
std::optional<std::string> decodeBase64(std::string_view text);

} // namespace realtime
