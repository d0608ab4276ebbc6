// Whatever a client sends over the Pusher protocol: it is understood or refused, and what is relayed of it is one frame
// with exactly the text that it sent.
#include "base/json_scan.hpp"
#include "base/utf8.hpp"
#include "wire/pusher_auth.hpp"
#include "wire/pusher_channel.hpp"
#include "wire/pusher_frame.hpp"
#include "wire/pusher_message.hpp"

#include "fuzz.hpp"

using namespace realtime;
using namespace realtime::pusher;
using Kind = ClientMessage::Kind;

namespace {

json::Value parsed(std::string_view text)
{
    const auto value = json::parse(text, 100);
    CHECK(value && value->isObject());
    return *value;
}

// The member `data` of a frame, unescaped.
std::string dataOf(const FrameBuilder& frame)
{
    const auto data = json::asString(json::find(parsed(frame.view()), "data"));
    CHECK(data.has_value());
    return *data;
}

void checkRelay(const ClientMessage& message)
{
    CHECK(validUtf8(message.data));
    CHECK(countCharacters(message.event) <= MaxEventCharacters);
    FrameBuilder frame;
    appendEvent(frame, {message.event, message.channel, message.data, "e1-1", "u"});
    CHECK(dataOf(frame) == message.data);
    CHECK(json::asString(json::find(parsed(frame.view()), "event")) == message.event);
    CHECK(json::find(parsed(frame.view()), "encoding").absent());
}

void checkPublish(const ClientMessage& message)
{
    const auto ref = json::parse(message.ref);
    CHECK(ref && ref->raw == message.ref);
    FrameBuilder ack, error;
    appendAck(ack, message.ref, "e1-1");
    appendPublishError(error, message.ref, 400, message.error);
    CHECK(json::find(parsed(dataOf(ack)), "ref").raw == message.ref);
    CHECK(json::find(parsed(dataOf(error)), "ref").raw == message.ref);
    CHECK(!message.error.empty() || (!reservedEvent(message.event) && message.ref != "null"));
}

void checkSubscribe(const ClientMessage& message)
{
    const ChannelKind kind = classify(message.channel);
    CHECK(!(kind.isPrivate && kind.presence) && (!kind.encrypted || kind.isPrivate));
    CHECK(!message.channelDataUnusable || !message.channelData);
    if (checkChannelName(message.channel) == NameCheck::Ok && !kind.serverToUser) {
        CHECK(!message.channel.empty() && message.channel.size() <= pusher::MaxChannelBytes);
    }
    const std::vector<Credentials> pairs{{"k", "s"}};
    (void)verifyChannelAuth(pairs, "1.2", message.channel, message.channelData, message.auth.value_or(""));
}

void checkPresence(std::string_view text)
{
    const PresenceData data = parsePresenceData(text);
    if (data.fault != PresenceFault::None) {
        CHECK(data.member.userId.empty());
        return;
    }
    CHECK(!data.member.userId.empty() && countCharacters(data.member.userId) <= 128);
    const std::vector<PresenceEntry> users{{data.member.userId, data.member.userInfo}};
    const std::string snapshot = presenceData(users);
    const json::Value presence = json::find(parsed(snapshot), "presence");
    CHECK(json::find(json::find(presence, "hash"), data.member.userId).raw == data.member.userInfo);
    FrameBuilder added;
    appendMemberAdded(added, "presence-a", users[0]);
    const std::string inner = dataOf(added);
    CHECK(json::find(parsed(inner), "user_info").raw == data.member.userInfo);
}

void checkUser(std::string_view text)
{
    const UserData user = parseUserData(text);
    if (!user.error.empty()) {
        CHECK(user.id.empty() && user.watchlist.empty());
        return;
    }
    CHECK(validUserId(user.id));
    CHECK(user.watchlist.size() <= MaxWatchlist && user.watchlist.size() <= user.watchlistTotal);
    std::vector<std::string_view> ids(user.watchlist.begin(), user.watchlist.end());
    FrameBuilder frame, success;
    CHECK(appendWatchlistEvents(frame, ids, {}) == !ids.empty());
    appendSigninSuccess(success, text);
    CHECK(json::asString(json::find(parsed(dataOf(success)), "user_data")) == text);
}

} // namespace

std::vector<std::string> seeds()
{
    return {
        R"({"event":"pusher:subscribe","data":{"auth":"k:00","channel":"presence-room-7","channel_data":"{\"user_id\":\"u-17\",\"user_info\":{\"name\":\"Zo\\u00eb\"}}","since":"e1-7"}})",
        R"({"event":"pusher:subscribe","data":"{\"channel\":\"news\"}"})",
        R"({"event":"pusher:unsubscribe","data":{"channel":"news"}})",
        R"({"event":"pusher:ping","data":{}})",
        R"({"event":"client-typing","data":{"on":true, "x":[1.0,"\ud800"]},"channel":"presence-room-7"})",
        R"({"event":"realtime:publish","data":{"ref":"r\n","channel":"orders","event":"created","data":"text"}})",
        R"({"event":"pusher:signin","data":{"auth":"k:s","user_data":"{\"id\":\"u-17\",\"watchlist\":[\"a\",\"b\"]}"}})",
        R"({"user_id":12345678901234567890,"user_info":[ true ]})",
        R"({"id":"u-17","user_info":{"name":"Ada"},"watchlist":["u-18","u-19","u-18",7]})",
    };
}

FUZZ_TARGET(pusher_message)(const std::uint8_t* data, std::size_t size)
{
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const ClientMessage message = parseClientMessage(text);
    CHECK(message.kind != Kind::Malformed || !message.error.empty());
    CHECK(validUtf8(message.event) && validUtf8(message.channel));
    if (message.kind == Kind::Publish) {
        checkPublish(message);
    }
    if (message.kind == Kind::ClientEvent || message.kind == Kind::Publish) {
        if (message.error.empty()) {
            checkRelay(message);
        }
    }
    if (message.kind == Kind::Subscribe) {
        checkSubscribe(message);
    }
    checkPresence(message.channelData.value_or(std::string(text)));
    checkUser(message.userData.value_or(std::string(text)));
    FrameBuilder error;
    appendError(error, std::nullopt, message.error, message.channel);
    CHECK(json::find(parsed(error.view()), "data").isObject());
    return 0;
}
