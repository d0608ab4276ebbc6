#include "wire/pusher_frame.hpp"

#include "base/base64.hpp"
#include "base/json_text.hpp"
#include "base/utf8.hpp"

namespace realtime::pusher {

namespace {

// {"event":…,"channel":…, unless the channel is empty.
void begin(FrameBuilder& out, std::string_view event, std::string_view channel)
{
    out.append("{\"event\":");
    appendJsonString(out, event);
    if (!channel.empty()) {
        out.append(",\"channel\":");
        appendJsonString(out, channel);
    }
}

void appendFrame(FrameBuilder& out, std::string_view event, std::string_view channel, std::string_view data)
{
    begin(out, event, channel);
    out.append(",\"data\":");
    appendJsonString(out, data);
    out.append('}');
}

std::string errorData(const SubscriptionError& what)
{
    return "{\"type\":" + jsonString(what.type) + ",\"error\":" + jsonString(what.error) +
           ",\"status\":" + std::to_string(what.status) + '}';
}

void appendList(std::string& out, std::span<const std::string_view> texts)
{
    out += '[';
    for (std::size_t i = 0; i < texts.size(); ++i) {
        if (i > 0) {
            out += ',';
        }
        appendJsonString(out, texts[i]);
    }
    out += ']';
}

std::string_view infoOf(const PresenceEntry& user)
{
    return user.userInfo.empty() ? NoData : user.userInfo;
}

} // namespace

void appendConnectionEstablished(FrameBuilder& out, std::string_view socketId,
                                 std::uint32_t activityTimeoutSeconds)
{
    appendFrame(out, "pusher:connection_established", {},
                "{\"socket_id\":" + jsonString(socketId) +
                    ",\"activity_timeout\":" + std::to_string(activityTimeoutSeconds) + '}');
}

void appendError(FrameBuilder& out, std::optional<int> code, std::string_view message,
                 std::string_view channel)
{
    begin(out, "pusher:error", channel);
    out.append(",\"data\":{\"code\":");
    out.append(code ? std::to_string(*code) : "null");
    out.append(",\"message\":");
    appendJsonString(out, message);
    out.append("}}");
}

void appendPong(FrameBuilder& out)
{
    appendFrame(out, "pusher:pong", {}, NoData);
}

void appendSigninSuccess(FrameBuilder& out, std::string_view userData)
{
    appendFrame(out, "pusher:signin_success", {}, "{\"user_data\":" + jsonString(userData) + '}');
}

bool appendWatchlistEvents(FrameBuilder& out, std::span<const std::string_view> online,
                           std::span<const std::string_view> offline)
{
    if (online.empty() && offline.empty()) {
        return false;
    }
    std::string data = "{\"events\":[";
    if (!online.empty()) {
        data += "{\"name\":\"online\",\"user_ids\":";
        appendList(data, online);
        data += offline.empty() ? "}" : "},";
    }
    if (!offline.empty()) {
        data += "{\"name\":\"offline\",\"user_ids\":";
        appendList(data, offline);
        data += '}';
    }
    data += "]}";
    appendFrame(out, "pusher_internal:watchlist_events", {}, data);
    return true;
}

void appendSubscriptionSucceeded(FrameBuilder& out, std::string_view channel, std::string_view data,
                                 std::optional<Resumed> resumed)
{
    constexpr std::string_view Event = "pusher_internal:subscription_succeeded";
    if (!resumed) {
        appendFrame(out, Event, channel, data);
        return;
    }
    std::string extended(data.substr(0, data.size() - 1)); // without its closing brace
    extended += data == NoData ? "\"recovered\":" : ",\"recovered\":";
    extended += resumed->recovered ? "true" : "false";
    extended += ",\"id\":" + jsonString(resumed->id) + '}';
    appendFrame(out, Event, channel, extended);
}

void appendSubscriptionError(FrameBuilder& out, std::string_view channel, const SubscriptionError& what)
{
    appendFrame(out, "pusher:subscription_error", channel, errorData(what));
}

void appendInternalSubscriptionError(FrameBuilder& out, std::string_view channel,
                                     const SubscriptionError& what)
{
    appendFrame(out, "pusher_internal:subscription_error", channel, errorData(what));
}

void appendSubscriptionCount(FrameBuilder& out, std::string_view channel, std::uint64_t count)
{
    appendFrame(out, "pusher_internal:subscription_count", channel,
                "{\"subscription_count\":" + std::to_string(count) + '}');
}

void appendCacheMiss(FrameBuilder& out, std::string_view channel)
{
    appendFrame(out, "pusher:cache_miss", channel, NoData);
}

std::string presenceData(std::span<const PresenceEntry> users)
{
    std::string ids, hash;
    for (const PresenceEntry& user : users) {
        const std::string_view separator = ids.empty() ? "" : ",";
        const std::string id = jsonString(user.userId);
        ids.append(separator).append(id);
        hash.append(separator).append(id).append(":").append(infoOf(user));
    }
    return "{\"presence\":{\"count\":" + std::to_string(users.size()) + ",\"ids\":[" + ids + "],\"hash\":{" +
           hash + "}}}";
}

void appendMemberAdded(FrameBuilder& out, std::string_view channel, const PresenceEntry& user)
{
    std::string data = "{\"user_id\":" + jsonString(user.userId) + ",\"user_info\":";
    data.append(infoOf(user)).append("}");
    appendFrame(out, "pusher_internal:member_added", channel, data);
}

void appendMemberRemoved(FrameBuilder& out, std::string_view channel, std::string_view userId)
{
    appendFrame(out, "pusher_internal:member_removed", channel, "{\"user_id\":" + jsonString(userId) + '}');
}

void appendEvent(FrameBuilder& out, const EventFrame& frame)
{
    begin(out, frame.event, frame.channel);
    if (validUtf8(frame.data)) {
        out.append(",\"data\":");
        appendJsonString(out, frame.data);
    } else {
        out.append(",\"encoding\":\"base64\",\"data\":\"");
        appendBase64(out, frame.data);
        out.append('"');
    }
    if (!frame.userId.empty()) {
        out.append(",\"user_id\":");
        appendJsonString(out, frame.userId);
    }
    if (!frame.id.empty()) {
        out.append(",\"id\":");
        appendJsonString(out, frame.id);
    }
    out.append('}');
}

void appendAck(FrameBuilder& out, std::string_view ref, std::string_view id)
{
    std::string data = "{\"ref\":";
    data.append(ref).append(",\"id\":").append(jsonString(id)).append("}");
    appendFrame(out, "realtime:ack", {}, data);
}

void appendPublishError(FrameBuilder& out, std::string_view ref, int code, std::string_view message)
{
    std::string data = "{\"ref\":";
    data.append(ref).append(",\"code\":").append(std::to_string(code));
    data.append(",\"message\":").append(jsonString(message)).append("}");
    appendFrame(out, "realtime:error", {}, data);
}

} // namespace realtime::pusher
