// Webhooks of the Pusher protocol: the body of the request that tells an application's server what happened, and its
// signature. Pure functions, any thread. Who is told, when, and how often is not decided here.
#pragma once

#include "wire/pusher_auth.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace realtime::pusher {

enum class WebhookName : std::uint8_t {
    ChannelOccupied,
    ChannelVacated,
    MemberAdded,
    MemberRemoved,
    ClientEvent,
    CacheMiss,
    SubscriptionCount,
};
std::string_view toString(WebhookName name); // "channel_occupied"
// What an operator switches on: "channel_existence", "presence", "client_events", "cache_channels",
// "subscription_count".
std::string_view groupOf(WebhookName name);

struct WebhookEvent {
    WebhookName name = WebhookName::ChannelOccupied;
    std::string channel;
    std::string userId;                  // empty: none
    std::string event, data, socketId;   // of ClientEvent, as it was relayed
    std::uint64_t subscriptionCount = 0; // of SubscriptionCount
};

// {"time_ms":…,"events":[…]}. All values but the numbers are strings, since receivers decode them so.
std::string webhookBody(std::int64_t timeMilliseconds, std::span<const WebhookEvent> events);

// "Name: value", spelt as receivers look for them: Content-Type, X-Pusher-Key, X-Pusher-Signature of exactly this body.
std::array<std::string, 3> webhookHeaders(const Credentials& credentials, std::string_view body);

} // namespace realtime::pusher
