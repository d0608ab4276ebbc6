// The Pusher protocol with its additions: ids, and `since` in a subscription.
#include "errors.hpp"
#include "feed.hpp"
#include "json.hpp"

#include "base/json_text.hpp"

namespace realtime::cli {

namespace {

class PusherFeed final : public Feed {
public:
    PusherFeed(SocketLoop& loop, const Endpoint& endpoint, Credentials credentials,
               std::vector<std::string> channels, FeedOptions options, FeedEvents events)
        : Feed(loop, std::move(options), std::move(events)),
          endpoint_(
              endpoint.with("protocol", "7").with("client", "realtime").with("version", REALTIME_VERSION)),
          credentials_(std::move(credentials)), channels_(std::move(channels))
    {
    }

private:
    Endpoint target() const override { return endpoint_; }
    bool lasting(int code) const override
    {
        return Feed::lasting(code) ||
               (code >= 4000 && code < 4100); // "the connection should not be tried again"
    }

    void take(const Json& json) override
    {
        const std::string event = json.text("event"), channel = json.text("channel");
        if (event == "pusher:ping") {
            send(R"({"event":"pusher:pong","data":{}})");
        } else if (event == "pusher:connection_established") {
            socketId_ = Json::parse(json.text("data")).text("socket_id");
            for (const std::string& each : channels_) {
                subscribe(each);
            }
        } else if (event == "pusher_internal:subscription_succeeded") {
            succeeded(channel, Json::parse(json.text("data")));
        } else if (event == "pusher:subscription_error") {
            const Json data = json.at("data");
            end(exit_status::Refused,
                channel + ": " + (data.has("error") ? data : Json::parse(data.text())).text("error"));
        } else if (event == "pusher:error") {
            const Json data = json.at("data");
            const json_int_t code = json_integer_value(data.at("code").get());
            if (code < 4000 || code >= 4300) { // else a close follows that says the same
                note("the server says: " + data.text("message"));
            }
        } else if (!channel.empty()) {
            message(json, event, channel);
        }
    }

    void subscribe(const std::string& channel)
    {
        std::string data = "{\"channel\":" + jsonString(channel);
        if (channel.starts_with("private-") || channel.starts_with("presence-")) {
            std::string channelData;
            if (channel.starts_with("presence-")) {
                channelData = "{\"user_id\":" + jsonString(options().user) + '}';
                data += ",\"channel_data\":" + jsonString(channelData);
            }
            data += ",\"auth\":" + jsonString(credentials_.channelAuth(socketId_, channel, channelData));
        }
        const auto last = lastIds_.find(channel);
        data += ",\"since\":" + jsonString(last == lastIds_.end() ? options().since : last->second) + '}';
        send("{\"event\":\"pusher:subscribe\",\"data\":" + data + '}');
    }

    void succeeded(const std::string& channel, const Json& data)
    {
        if (lastIds_.contains(channel) && data.has("recovered") && !data.isTrue("recovered")) {
            announceGap(channel);
        }
        // From here on, even if the connection breaks before the first message.
        if (const std::string id = data.text("id"); !id.empty()) {
            lastIds_.try_emplace(channel, id);
        }
    }

    void message(const Json& json, const std::string& event, const std::string& channel)
    {
        const std::string id = json.text("id");
        if (!id.empty()) {
            lastIds_[channel] = id;
        }
        deliver({id, channel, event, json.text("data")});
    }

    Endpoint endpoint_;
    Credentials credentials_;
    std::vector<std::string> channels_;
    std::string socketId_;
    std::map<std::string, std::string> lastIds_;
};

} // namespace

std::unique_ptr<Feed> followPusher(SocketLoop& loop, const Endpoint& endpoint, Credentials credentials,
                                   std::vector<std::string> channels, FeedOptions options, FeedEvents events)
{
    return std::make_unique<PusherFeed>(loop, endpoint, std::move(credentials), std::move(channels),
                                        std::move(options), std::move(events));
}

} // namespace realtime::cli
