#include "wire/pusher_message.hpp"

#include "base/json_scan.hpp"
#include "base/message_id.hpp"
#include "wire/pusher_channel.hpp"

#include <algorithm>
#include <array>

namespace realtime::pusher {

namespace {

using Kind = ClientMessage::Kind;

constexpr std::string_view NoObject = "Expected data to be an object";
constexpr std::string_view NoChannel = "Expected channel to be a string";
constexpr std::string_view BadKey = "Expected key to be a string of 1 to 255 bytes";
constexpr std::string_view BadEventName = "Expected an event name of 1 to 200 characters";

Kind kindOf(std::string_view event)
{
    constexpr std::array<std::pair<std::string_view, Kind>, 6> Known{{
        {"pusher:subscribe", Kind::Subscribe},
        {"pusher:unsubscribe", Kind::Unsubscribe},
        {"pusher:ping", Kind::Ping},
        {"pusher:pong", Kind::Pong},
        {"pusher:signin", Kind::SignIn},
        {"realtime:publish", Kind::Publish},
    }};
    for (const auto& [name, kind] : Known) {
        if (event == name) {
            return kind;
        }
    }
    if (clientEvent(event)) {
        return Kind::ClientEvent;
    }
    return reservedEvent(event) ? Kind::UnknownReserved : Kind::UnknownEvent;
}

// The `data` of a message to the server: an object, or a string that holds one (third-party clients encode twice).
// Absent, null and "" are {}.
class Data {
public:
    explicit Data(const json::Value& value) : value_(value)
    {
        if (value.isString()) {
            decoded_ = json::unescape(value.raw);
            value_ = decoded_.empty() ? json::Value() : json::parse(decoded_).value_or(Wrong);
        }
        if (value_.isNull()) {
            value_ = {json::Type::Object, "{}"};
        }
    }
    Data(const Data&) = delete; // value_ may be a view into decoded_
    Data& operator=(const Data&) = delete;

    bool isObject() const { return value_.isObject(); }
    const json::Value& value() const { return value_; }

private:
    static constexpr json::Value Wrong{json::Type::False, "false"};

    std::string decoded_;
    json::Value value_;
};

std::string relayed(const json::Value& data)
{
    if (data.absent()) {
        return "null";
    }
    return data.isString() ? json::unescape(data.raw) : std::string(data.raw);
}

void takeChannel(ClientMessage& message, const json::Value& channel)
{
    if (channel.isString()) {
        message.channel = json::unescape(channel.raw);
    } else {
        message.error = NoChannel;
    }
}

void readSubscribe(ClientMessage& message, const json::Value& data)
{
    constexpr std::array<std::string_view, 4> Names{"channel", "auth", "channel_data", "since"};
    std::array<json::Value, Names.size()> values;
    json::pick(data, Names, values);
    const auto& [channel, auth, channelData, since] = values;
    takeChannel(message, channel);
    message.auth = json::asString(auth);
    message.channelData = json::asString(channelData);
    message.channelDataUnusable = !channelData.isString() && !channelData.isNull();
    message.since = json::asString(since);
}

void readSignIn(ClientMessage& message, const json::Value& data)
{
    message.auth = json::asString(json::find(data, "auth"));
    message.userData = json::asString(json::find(data, "user_data"));
}

void readClientEvent(ClientMessage& message, const json::Value& channel, const json::Value& data)
{
    takeChannel(message, channel);
    if (message.error.empty() && !validEventName(message.event)) {
        message.error = BadEventName;
    }
    message.data = relayed(data);
}

void readPublish(ClientMessage& message, const json::Value& object)
{
    constexpr std::array<std::string_view, 5> Names{"ref", "channel", "event", "data", "key"};
    std::array<json::Value, Names.size()> values;
    json::pick(object, Names, values);
    const auto& [ref, channel, event, data, key] = values;
    constexpr std::size_t MaxRefBytes = 255; // it is kept until brokers have stored the event
    if ((ref.isString() || ref.type == json::Type::Number) && ref.raw.size() <= MaxRefBytes) {
        message.ref = ref.raw;
    }
    message.event = json::asString(event).value_or("");
    message.data = relayed(data);
    message.key = json::asString(key).value_or("");
    takeChannel(message, channel);
    if (message.error.empty() && !key.isNull() &&
        (message.key.empty() || message.key.size() > MaxIdempotencyKeyBytes)) {
        message.error = BadKey;
    }
    if (message.error.empty() && message.ref == "null") {
        message.error = "Expected ref to be a string or a number, of at most 255 bytes";
    }
    if (message.error.empty() && !validEventName(message.event)) {
        message.error = BadEventName;
    }
    if (message.error.empty() && reservedEvent(message.event)) {
        message.error = "The event name is reserved";
    }
}

void readData(ClientMessage& message, const json::Value& value)
{
    const Data data(value);
    if (!data.isObject()) {
        message.error = NoObject;
        return;
    }
    switch (message.kind) {
    case Kind::Subscribe:
        readSubscribe(message, data.value());
        break;
    case Kind::Unsubscribe:
        takeChannel(message, json::find(data.value(), "channel"));
        break;
    case Kind::SignIn:
        readSignIn(message, data.value());
        break;
    default:
        readPublish(message, data.value());
    }
}

PresenceData fault(PresenceFault what)
{
    return {what, {}};
}

UserData userError(std::string_view what)
{
    UserData data;
    data.error = what;
    return data;
}

void readWatchlist(UserData& user, const json::Value& list)
{
    json::ArrayReader ids(list);
    while (const auto element = ids.next()) {
        ++user.watchlistTotal;
        if (user.watchlistTooLong || !element->isString()) {
            continue;
        }
        std::string id = json::unescape(element->raw);
        if (!validUserId(id) ||
            std::find(user.watchlist.begin(), user.watchlist.end(), id) != user.watchlist.end()) {
            continue; // at most MaxWatchlist to compare with
        }
        if (user.watchlist.size() == MaxWatchlist) {
            user.watchlistTooLong = true;
        } else {
            user.watchlist.push_back(std::move(id));
        }
    }
}

} // namespace

ClientMessage parseClientMessage(std::string_view text)
{
    constexpr std::array<std::string_view, 3> Names{"event", "channel", "data"};
    std::array<json::Value, Names.size()> values;
    ClientMessage message;
    const auto frame = json::parse(text);
    if (!frame || !frame->isObject()) {
        message.error = "Invalid message: expected a JSON object";
        return message;
    }
    json::pick(*frame, Names, values);
    const auto& [event, channel, data] = values;
    if (!event.isString()) {
        message.error = "Invalid message: expected event to be a string";
        return message;
    }
    message.event = json::unescape(event.raw);
    message.kind = kindOf(message.event);
    switch (message.kind) {
    case Kind::ClientEvent:
        readClientEvent(message, channel, data);
        break;
    case Kind::Subscribe:
    case Kind::Unsubscribe:
    case Kind::SignIn:
    case Kind::Publish:
        readData(message, data);
        break;
    case Kind::UnknownReserved:
    case Kind::UnknownEvent:
        message.error = "Unsupported event";
        break;
    case Kind::Ping: // whatever their data
    case Kind::Pong:
    case Kind::Malformed:
        break;
    }
    return message;
}

std::string_view describe(PresenceFault fault)
{
    switch (fault) {
    case PresenceFault::None:
        break;
    case PresenceFault::Malformed:
        return "Expected channel_data to be a JSON object with a user_id";
    case PresenceFault::UserIdTooLong:
        return "The user_id is too long";
    case PresenceFault::UserInfoTooLarge:
        return "The user_info is too large";
    }
    return "";
}

PresenceFault checkMember(const PresenceMember& member, const PresenceLimits& limits)
{
    if (countCharacters(member.userId) > limits.maxUserIdCharacters) {
        return PresenceFault::UserIdTooLong;
    }
    return member.userInfo.size() > limits.maxUserInfoBytes ? PresenceFault::UserInfoTooLarge
                                                            : PresenceFault::None;
}

PresenceData parsePresenceData(std::string_view channelData, const PresenceLimits& limits)
{
    const auto object = json::parse(channelData);
    if (!object || !object->isObject()) {
        return fault(PresenceFault::Malformed);
    }
    const json::Value userId = json::find(*object, "user_id");
    const json::Value userInfo = json::find(*object, "user_info");
    PresenceMember member;
    if (userId.isString()) {
        member.userId = json::unescape(userId.raw);
    } else if (userId.type == json::Type::Number) {
        member.userId = userId.raw;
    }
    if (member.userId.empty()) {
        return fault(PresenceFault::Malformed);
    }
    if (!userInfo.absent()) {
        member.userInfo = userInfo.raw;
    }
    const PresenceFault what = checkMember(member, limits);
    return what == PresenceFault::None ? PresenceData{what, std::move(member)} : fault(what);
}

UserData parseUserData(std::string_view userData)
{
    const auto object = json::parse(userData);
    if (!object || !object->isObject()) {
        return userError("Expected user_data to be a JSON object");
    }
    constexpr std::array<std::string_view, 3> Names{"id", "user_info", "watchlist"};
    std::array<json::Value, Names.size()> values;
    json::pick(*object, Names, values);
    const auto& [id, userInfo, watchlist] = values;
    UserData user;
    user.id = json::asString(id).value_or("");
    if (!validUserId(user.id)) {
        return userError("Expected the id in user_data to be a string of 1 to 200 bytes");
    }
    if (!watchlist.isArray() && !watchlist.isNull()) {
        return userError("Expected the watchlist in user_data to be an array");
    }
    if (!userInfo.absent()) {
        user.userInfo = userInfo.raw;
    }
    readWatchlist(user, watchlist);
    return user;
}

} // namespace realtime::pusher
