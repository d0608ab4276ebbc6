// The subprotocol realtime.json at a location.
#include "feed.hpp"
#include "json.hpp"

#include "base/base64.hpp"
#include "wire/envelope.hpp"

namespace realtime::cli {

namespace {

class LocationFeed final : public Feed {
public:
    LocationFeed(SocketLoop& loop, const Endpoint& endpoint, FeedOptions options, FeedEvents events)
        : Feed(loop, std::move(options), std::move(events)), endpoint_(endpoint)
    {
    }

private:
    Endpoint target() const override
    {
        const std::string& since = lastId_.empty() ? options().since : lastId_;
        return since == "latest" ? endpoint_ : endpoint_.with("since", since);
    }
    const char* subprotocol() const override { return EnvelopeSubprotocol.data(); }

    // So that a connection that breaks before its first message loses none. (Who asks for history and got none of it asks
    // again.)
    void opened(const std::string& position) override
    {
        if (lastId_.empty() && options().since == "latest") {
            lastId_ = position;
        }
    }

    void take(const Json& json) override
    {
        Message message{json.text("id"), json.text("channel"), json.text("event"), json.text("data")};
        if (message.event == GapEvent) {
            announceGap(message.channel);
            return;
        }
        if (json.text("encoding") == "base64") {
            message.data = decodeBase64(message.data).value_or("");
        }
        if (!message.id.empty()) {
            lastId_ = message.id;
        }
        deliver(message);
    }

    Endpoint endpoint_;
    std::string lastId_;
};

} // namespace

std::unique_ptr<Feed> followLocation(SocketLoop& loop, const Endpoint& endpoint, FeedOptions options,
                                     FeedEvents events)
{
    return std::make_unique<LocationFeed>(loop, endpoint, std::move(options), std::move(events));
}

} // namespace realtime::cli
