// What the server sends to clients of the Pusher protocol: one JSON object a text frame. Each function appends that text;
// the caller makes a frame of it with ws::finishFrame().
//
// `data` is always a string that holds JSON, but for pusher:error, where SDKs read an object. Every frame has one.
// Pure functions, any thread. Text that is not UTF-8 is mended (U+FFFD), data of events is Base64 then.
#pragma once

#include "base/frame.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace realtime::pusher {

// Codes of pusher:error and of close frames, and what pusher-js does about a close. Others must not be sent: it takes
// 4300 and above for a permanent refusal.
namespace code {
inline constexpr std::uint16_t TlsOnly = 4000;   // switches to TLS
inline constexpr std::uint16_t NoSuchApp = 4001; // stays away, as with all below 4100
inline constexpr std::uint16_t AppDisabled = 4003;
inline constexpr std::uint16_t OverQuota = 4004; // connections of the app
inline constexpr std::uint16_t PathNotFound = 4005;
inline constexpr std::uint16_t BadVersion = 4006;
inline constexpr std::uint16_t UnsupportedProtocol = 4007;
inline constexpr std::uint16_t NoProtocol = 4008;
inline constexpr std::uint16_t Unauthorized = 4009; // origin, terminated by the REST API, timeout
inline constexpr std::uint16_t OverCapacity = 4100; // comes back after a second
inline constexpr std::uint16_t Reconnect = 4200;    // comes back at once
inline constexpr std::uint16_t PongTimeout = 4201;
inline constexpr std::uint16_t Inactive = 4202;
inline constexpr std::uint16_t ClientEventRejected = 4301; // in pusher:error only
inline constexpr std::uint16_t WatchlistTooLong = 4302;    // in pusher:error only
} // namespace code

// --- the connection

// Must be the first frame. The timeout is in seconds and not 0, or pusher-js hangs.
void appendConnectionEstablished(FrameBuilder& out, std::string_view socketId,
                                 std::uint32_t activityTimeoutSeconds);

// Before the frame above it must have a code. `channel`, unless it is empty, is told too.
void appendError(FrameBuilder& out, std::optional<int> code, std::string_view message,
                 std::string_view channel = {});

void appendPong(FrameBuilder& out);

// `userData`: the very text that the client sent.
void appendSigninSuccess(FrameBuilder& out, std::string_view userData);

// A list that is empty is left out. Appends nothing, and returns false, if both are.
bool appendWatchlistEvents(FrameBuilder& out, std::span<const std::string_view> online,
                           std::span<const std::string_view> offline);

// --- subscriptions

inline constexpr std::string_view NoData = "{}";

// What answers a `since` (ours).
struct Resumed {
    bool recovered;      // nothing is missing behind it
    std::string_view id; // the position at which the subscription begins: what comes is behind it
};
// `data` is a JSON object: NoData or presenceData(). `resumed` becomes members of it.
void appendSubscriptionSucceeded(FrameBuilder& out, std::string_view channel, std::string_view data = NoData,
                                 std::optional<Resumed> resumed = std::nullopt);

struct SubscriptionError {
    std::string_view type; // "AuthError", "LimitReached", "InvalidChannel", "ServerError"
    std::string_view error;
    int status;
};
void appendSubscriptionError(FrameBuilder& out, std::string_view channel, const SubscriptionError& what);
// The same under the name that pusher-dotnet-client waits for.
void appendInternalSubscriptionError(FrameBuilder& out, std::string_view channel,
                                     const SubscriptionError& what);

void appendSubscriptionCount(FrameBuilder& out, std::string_view channel, std::uint64_t count);
void appendCacheMiss(FrameBuilder& out, std::string_view channel);

// --- presence

struct PresenceEntry {
    std::string_view userId;
    std::string_view userInfo; // JSON; empty: {}
};
// {"presence":{"count":…,"ids":[…],"hash":{…}}} of distinct users.
std::string presenceData(std::span<const PresenceEntry> users);

void appendMemberAdded(FrameBuilder& out, std::string_view channel, const PresenceEntry& user);
void appendMemberRemoved(FrameBuilder& out, std::string_view channel, std::string_view userId);

// --- events

struct EventFrame {
    std::string_view event;
    std::string_view channel;
    std::string_view data;   // not UTF-8: Base64, and a member "encoding":"base64"
    std::string_view id;     // ours; empty: none
    std::string_view userId; // of who sent a client event on a presence channel; empty: none
};
void appendEvent(FrameBuilder& out, const EventFrame& frame);

// --- answers to realtime:publish; `ref` is ClientMessage::ref

void appendAck(FrameBuilder& out, std::string_view ref, std::string_view id);
void appendPublishError(FrameBuilder& out, std::string_view ref, int code, std::string_view message);

} // namespace realtime::pusher
