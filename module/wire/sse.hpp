// Server-Sent Events (WHATWG HTML, section 9.2 "Server-sent events"), and HTTP/1.1 chunks (RFC 9112
// section 7.1) to carry them in. Pure functions, any thread.
#pragma once

#include "base/frame.hpp"

#include <cstdint>
#include <string_view>

namespace realtime {

// One event: `id:` unless it is empty, `event:` unless it is empty or "message", `data:` once a line (CR, LF
// and CRLF each end one, so that CR and CRLF arrive as LF), an empty line. Line breaks and NULs in `id` and
// `event` are dropped, since they would let a publisher forge fields.
//
// The stream is UTF-8. Data that is not is sent as Base64 behind a line `encoding: base64`: EventSource
// ignores the line, other clients can tell.
void appendSseEvent(FrameBuilder& out, std::string_view id, std::string_view event, std::string_view data);

// A comment: a heartbeat that EventSource does not show.
void appendSseComment(FrameBuilder& out);

// How long EventSource waits before it reconnects.
void appendSseRetry(FrameBuilder& out, std::uint64_t milliseconds);

// --- HTTP/1.1 chunked coding
// ---------------------------------------------------------------------------------- One chunk that carries
// `payload`. Nothing if it is empty: an empty chunk would be the last.
void appendChunk(FrameBuilder& out, std::string_view payload);

// Turns what has been built into one chunk, without a copy: the size goes into the builder's headroom. An
// empty builder gives an empty frame.
FramePtr finishChunk(FrameBuilder& payload);

inline constexpr std::string_view LastChunk = "0\r\n\r\n";

} // namespace realtime
