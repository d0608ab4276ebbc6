// Strings as JSON text (RFC 8259 section 7). Pure functions, any thread.
#pragma once

#include "base/frame.hpp"

#include <string>
#include <string_view>

namespace realtime {

// Appends `text` in quotes, escaped. Whatever the bytes are, the result is valid JSON in valid UTF-8: each
// ill-formed sequence becomes one U+FFFD. Printable text and other scripts stay as they are.
void appendJsonString(FrameBuilder& out, std::string_view text);
void appendJsonString(std::string& out, std::string_view text);
std::string jsonString(std::string_view text);

} // namespace realtime
