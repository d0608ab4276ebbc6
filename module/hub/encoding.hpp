// The forms in which subscribers receive events. A run of events of one channel is encoded at most once a worker
// for each form, whatever the number of subscribers.
#pragma once

#include "base/frame.hpp"
#include "log/shared_log.hpp"

#include <cstdint>
#include <span>
#include <string_view>

namespace realtime {

enum class Encoding : std::uint8_t {
    WebSocketRaw,  // one frame an event: text if the data is UTF-8, else binary
    WebSocketJson, // one text frame an event: the envelope of subprotocol realtime.json
    Sse,           // an event stream as it is (HTTP/2, HTTP/1.0)
    SseChunked,    // the same as one HTTP/1.1 chunk
    Pusher,        // one text frame an event, as the Pusher protocol has it
    JsonList,      // envelopes, each followed by a comma: the inside of a long-poll answer
};
inline constexpr std::size_t EncodingCount = 6;

// A record of this event and record_flag::Internal tells subscribers of the Pusher protocol LogRecord::subscribers.
inline constexpr std::string_view SubscriptionCountEvent = "pusher_internal:subscription_count";

// All of `records`, in order, as bytes ready for the socket. Those of record_flag::Internal are left out where they are
// not for this form, so that the frame may be empty.
FramePtr encode(Encoding encoding, std::span<const LogRecord> records);

// The announcement that events of `channel` are missing at this point; null where the form has no room for one
// (WebSocketRaw: the subscriber is closed instead).
FramePtr encodeGap(Encoding encoding, std::string_view channel);

} // namespace realtime
