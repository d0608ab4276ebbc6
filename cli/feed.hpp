// Channels that are followed for as long as one likes: connects, subscribes, connects again after a break and goes on
// behind the last message.
#pragma once

#include "credentials.hpp"
#include "endpoint.hpp"
#include "output.hpp"
#include "socket.hpp"

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace realtime::cli {

class Json;

struct FeedOptions {
    std::string since = "latest"; // latest, earliest or ids
    std::string user;             // who to be on presence channels
    bool reconnect = true;
};

// What a feed tells. All functions are set.
struct FeedEvents {
    std::function<void(const Message&)> message;
    std::function<void(const std::string& channel)> gap; // messages are lost
    std::function<void(const std::string& text)> note;   // it reconnects, and why; what the server says
};

class Feed : public SocketHandler {
public:
    using Clock = std::chrono::steady_clock;

    // The end of it all: an exit status and a sentence.
    struct End {
        int status;
        std::string text;
    };

    ~Feed() override;
    Feed(const Feed&) = delete;
    Feed& operator=(const Feed&) = delete;

    // To be called now and then: connects when it is time.
    void turn();
    const std::optional<End>& ended() const { return end_; }

protected:
    Feed(SocketLoop& loop, FeedOptions options, FeedEvents events);

    virtual Endpoint target() const = 0;
    virtual const char* subprotocol() const { return nullptr; }
    virtual void opened(const std::string& /*position*/) {}
    virtual void take(const Json& message) = 0;
    // Of a close code: is it in vain to come again?
    virtual bool lasting(int code) const { return code == 1008 || code == 1009; }

    const FeedOptions& options() const { return options_; }
    void deliver(const Message& message);
    void announceGap(const std::string& channel) { events_.gap(channel); }
    void note(const std::string& text) { events_.note(text); }
    void send(const std::string& text) { socket_->send(text); }
    void end(int status, std::string text);

private:
    void onOpen(const std::string& position) override;
    void onMessage(std::string_view text) override;
    void onEnd(bool opened, int status, const std::string& why) override;
    void comeAgain(const std::string& why, bool soon);

    SocketLoop& loop_;
    FeedOptions options_;
    FeedEvents events_;
    std::unique_ptr<Socket> socket_;
    std::unique_ptr<Socket> old_; // has just ended, and may still be on the stack
    std::optional<End> end_;
    std::optional<Clock::time_point> connectAt_ = Clock::now();
    std::chrono::milliseconds pause_;
    std::minstd_rand random_{std::random_device{}()};
    bool everOpen_ = false;
};

// One connection of a location with realtime_subscribe or realtime_pubsub.
std::unique_ptr<Feed> followLocation(SocketLoop& loop, const Endpoint& endpoint, FeedOptions options,
                                     FeedEvents events);
// Channels of the Pusher protocol, on one connection.
std::unique_ptr<Feed> followPusher(SocketLoop& loop, const Endpoint& endpoint, Credentials credentials,
                                   std::vector<std::string> channels, FeedOptions options, FeedEvents events);

} // namespace realtime::cli
