#include "support/pusher.hpp"

#include "base/hmac.hpp"
#include "base/json_text.hpp"

namespace realtime::testing {

namespace {

std::string jsonText(const std::string& text)
{
    std::string out;
    appendJsonString(out, text);
    return out;
}

} // namespace

PusherClient::PusherClient(std::uint16_t port, std::string key, std::string secret)
    : key_(std::move(key)), secret_(std::move(secret)), socket_(port, "/app/" + key_ + "?protocol=7")
{
    const PusherEvent first = receive();
    expectEqual(first.event, "pusher:connection_established");
    id_ = Json::parse(first.data).at("socket_id").text();
}

std::string PusherClient::signature(const std::string& text) const
{
    return key_ + ":" + hmacSha256Hex(secret_, id_ + text);
}

void PusherClient::askToSubscribe(const std::string& channel, const std::string& member,
                                  const std::string& since)
{
    std::string data = "{\"channel\":" + jsonText(channel);
    if (channel.starts_with("private-") || channel.starts_with("presence-")) {
        data += ",\"auth\":" + jsonText(signature(":" + channel + (member.empty() ? "" : ":" + member)));
    }
    if (!member.empty()) {
        data += ",\"channel_data\":" + jsonText(member);
    }
    if (!since.empty()) {
        data += ",\"since\":" + jsonText(since);
    }
    send(R"({"event":"pusher:subscribe","data":)" + data + "}}");
}

PusherEvent PusherClient::subscribe(const std::string& channel, const std::string& member)
{
    askToSubscribe(channel, member, "");
    for (;;) {
        PusherEvent answer = receive();
        if (answer.event == "pusher_internal:subscription_succeeded" && answer.channel == channel) {
            return answer;
        }
        expect(answer.event.find("error") == std::string::npos, answer.event + " " + answer.data);
    }
}

void PusherClient::signIn(const std::string& userData)
{
    send(R"({"event":"pusher:signin","data":{"auth":)" + jsonText(signature("::user::" + userData)) +
         ",\"user_data\":" + jsonText(userData) + "}}");
    while (receive().event != "pusher:signin_success") {
    }
}

void PusherClient::trigger(const std::string& event, const std::string& channel, const std::string& data)
{
    send("{\"event\":" + jsonText(event) + ",\"channel\":" + jsonText(channel) +
         ",\"data\":" + jsonText(data) + "}");
}

PusherEvent PusherClient::receive(std::chrono::milliseconds patience)
{
    for (;;) {
        const Frame frame = socket_.receive(patience);
        if (frame.opcode == Ping) {
            socket_.send({Pong, frame.payload});
            continue;
        }
        if (frame.opcode == Close) {
            throw PeerGone("closed with a code");
        }
        expectEqual(frame.opcode, static_cast<unsigned>(Text));
        const Json message = Json::parse(frame.payload);
        PusherEvent event;
        event.event = message.at("event").text();
        event.channel = message.has("channel") ? message.at("channel").text() : "";
        event.id = message.has("id") ? message.at("id").text() : "";
        if (message.has("data")) {
            const std::string dump = message.at("data").dump();
            event.data = dump.starts_with('"') ? message.at("data").text() : dump;
        }
        return event;
    }
}

} // namespace realtime::testing
