// The forms in which subscribers receive events. A run of events of one channel is encoded at most once a worker
// for each form, whatever the number of subscribers.
#pragma once

#include "base/frame.hpp"
#include "log/shared_log.hpp"
#include "wire/deflate.hpp"

#include <array>
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
    // The same frames, compressed where that makes them smaller (permessage-deflate).
    WebSocketRawDeflated,
    WebSocketJsonDeflated,
    PusherDeflated,
};
inline constexpr std::size_t EncodingCount = 9;

constexpr Encoding deflatedOf(Encoding encoding)
{
    switch (encoding) {
    case Encoding::WebSocketRaw:
        return Encoding::WebSocketRawDeflated;
    case Encoding::WebSocketJson:
        return Encoding::WebSocketJsonDeflated;
    case Encoding::Pusher:
        return Encoding::PusherDeflated;
    default:
        return encoding;
    }
}

// What is compressed in it; others are themselves.
constexpr Encoding plainOf(Encoding encoding)
{
    switch (encoding) {
    case Encoding::WebSocketRawDeflated:
        return Encoding::WebSocketRaw;
    case Encoding::WebSocketJsonDeflated:
        return Encoding::WebSocketJson;
    case Encoding::PusherDeflated:
        return Encoding::Pusher;
    default:
        return encoding;
    }
}

// A record of this event and record_flag::Internal tells subscribers of the Pusher protocol LogRecord::subscribers.
inline constexpr std::string_view SubscriptionCountEvent = "pusher_internal:subscription_count";

// All of `records`, in order, as bytes ready for the socket. Those of record_flag::Internal are left out where they are
// not for this form, so that the frame may be empty. Nothing is compressed: a deflated form is given as its plain one.
FramePtr encode(Encoding encoding, std::span<const LogRecord> records);

// What compression has come to, payloads only.
struct DeflateStats {
    std::uint64_t in = 0, out = 0; // bytes
};

// WebSocket frames of ours with each message compressed that gets smaller by it; `plain` itself if none does.
FramePtr deflateFrames(const FramePtr& plain, ws::Deflater& deflater, DeflateStats& stats);

// The forms of one run of records, each made when it is first wanted.
class SharedFrames {
public:
    const FramePtr& of(Encoding encoding, std::span<const LogRecord> records, ws::Deflater& deflater,
                       DeflateStats& stats)
    {
        FramePtr& frame = frames_[static_cast<std::size_t>(encoding)];
        return frame ? frame : make(encoding, records, deflater, stats);
    }
    void clear() { frames_.fill(nullptr); }

private:
    const FramePtr& make(Encoding encoding, std::span<const LogRecord> records, ws::Deflater& deflater,
                         DeflateStats& stats);

    std::array<FramePtr, EncodingCount> frames_;
};

// The announcement that events of `channel` are missing at this point, not compressed; null where the form has no room
// for one (WebSocketRaw: the subscriber is closed instead).
FramePtr encodeGap(Encoding encoding, std::string_view channel);

} // namespace realtime
