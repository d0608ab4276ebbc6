// The subprotocol `realtime.json`: one JSON object an event, in WebSocket text frames and in the array that a
// long-poll answers with. Pure functions, any thread.
#pragma once

#include "base/frame.hpp"

#include <string_view>

namespace realtime {

inline constexpr std::string_view EnvelopeSubprotocol = "realtime.json";
inline constexpr std::string_view GapEvent = "realtime:gap";

// {"id":"…","channel":"…","event":"…","data":"…"}. An empty event is "message". Data that is not UTF-8 is
// Base64, and "encoding":"base64" comes before it.
void appendJsonEnvelope(FrameBuilder& out, std::string_view id, std::string_view channel,
                        std::string_view event, std::string_view data);

// {"event":"realtime:gap","channel":"…","data":"…"}: events of the channel are missing here. It has no id,
// since it is no position to resume from.
void appendJsonGap(FrameBuilder& out, std::string_view channel, std::string_view data);

} // namespace realtime
