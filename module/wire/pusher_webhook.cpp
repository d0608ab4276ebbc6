#include "wire/pusher_webhook.hpp"

#include "base/hmac.hpp"
#include "base/json_text.hpp"

namespace realtime::pusher {

namespace {

void appendMember(std::string& out, std::string_view name, std::string_view value)
{
    out.append(",\"").append(name).append("\":");
    appendJsonString(out, value);
}

void appendEventObject(std::string& out, const WebhookEvent& event)
{
    out.append("{\"name\":\"").append(toString(event.name)).append("\"");
    appendMember(out, "channel", event.channel);
    if (event.name == WebhookName::ClientEvent) {
        appendMember(out, "event", event.event);
        appendMember(out, "data", event.data);
        appendMember(out, "socket_id", event.socketId);
    }
    if (!event.userId.empty()) {
        appendMember(out, "user_id", event.userId);
    }
    if (event.name == WebhookName::SubscriptionCount) {
        out.append(",\"subscription_count\":").append(std::to_string(event.subscriptionCount));
    }
    out += '}';
}

} // namespace

std::string_view toString(WebhookName name)
{
    switch (name) {
    case WebhookName::ChannelOccupied:
        return "channel_occupied";
    case WebhookName::ChannelVacated:
        return "channel_vacated";
    case WebhookName::MemberAdded:
        return "member_added";
    case WebhookName::MemberRemoved:
        return "member_removed";
    case WebhookName::ClientEvent:
        return "client_event";
    case WebhookName::CacheMiss:
        return "cache_miss";
    case WebhookName::SubscriptionCount:
        return "subscription_count";
    }
    return "";
}

std::string_view groupOf(WebhookName name)
{
    switch (name) {
    case WebhookName::ChannelOccupied:
    case WebhookName::ChannelVacated:
        return "channel_existence";
    case WebhookName::MemberAdded:
    case WebhookName::MemberRemoved:
        return "presence";
    case WebhookName::ClientEvent:
        return "client_events";
    case WebhookName::CacheMiss:
        return "cache_channels";
    case WebhookName::SubscriptionCount:
        return "subscription_count";
    }
    return "";
}

std::string webhookBody(std::int64_t timeMilliseconds, std::span<const WebhookEvent> events)
{
    std::string out = "{\"time_ms\":" + std::to_string(timeMilliseconds) + ",\"events\":[";
    for (std::size_t i = 0; i < events.size(); ++i) {
        if (i > 0) {
            out += ',';
        }
        appendEventObject(out, events[i]);
    }
    return out + "]}";
}

std::array<std::string, 3> webhookHeaders(const Credentials& credentials, std::string_view body)
{
    return {"Content-Type: application/json", "X-Pusher-Key: " + credentials.key,
            "X-Pusher-Signature: " + hmacSha256Hex(credentials.secret, body)};
}

} // namespace realtime::pusher
