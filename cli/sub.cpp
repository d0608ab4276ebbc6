// `sub` and `tail`: what comes on channels, for as long as one likes.
#include "commands.hpp"
#include "errors.hpp"
#include "feed.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <unistd.h>

namespace realtime::cli {

namespace {

using namespace std::chrono_literals;

constexpr Option OwnSubOptions[] = {
    {"since", "ID", "start behind this id; or: earliest, latest"},
    {"count", "N", "end after so many messages"},
    {"timeout", "SECONDS", "end with status 4 if they have not come by then"},
    {"no-reconnect", nullptr, "end when the connection does"},
    {"user", "ID", "who to be on presence channels (default: realtime-cli)"},
    {"json", nullptr, "a JSON object for each message"},
    {"raw", nullptr, "nothing but the data"},
    {"quiet", nullptr, "no word of connections and gaps"},
};
constexpr auto SubOptions = joined(OwnSubOptions, CredentialOptions, TransportOptions);

constexpr std::size_t MaxChannels = 1'000;

class Subscription {
public:
    Subscription(const Arguments& arguments, const char* since)
        : quiet_(arguments.has("quiet")), format_(formatOf(arguments)),
          most_(static_cast<std::size_t>(arguments.number("count", 0, 1, 1'000'000'000))),
          timeout_(arguments.number("timeout", 0, 1, 1'000'000)), loop_(transportOf(arguments), MaxChannels)
    {
        const Endpoint endpoint = parseEndpoint(arguments.operands().front());
        std::vector<std::string> channels(arguments.operands().begin() + 1, arguments.operands().end());
        FeedOptions options;
        options.since = arguments.text("since").value_or(since);
        options.user = arguments.text("user").value_or("realtime-cli");
        options.reconnect = !arguments.has("no-reconnect");
        if (endpoint.kind == Endpoint::Kind::PusherApi) {
            throw UsageError("/apps/ID is for publishing; subscribe at /app/KEY");
        }
        if (endpoint.kind == Endpoint::Kind::PusherSocket) {
            follow(endpoint, std::move(channels), credentialsOf(arguments, endpoint), options);
        } else {
            follow(endpoint, channels, options);
        }
    }

    int run()
    {
        const auto begin = Feed::Clock::now();
        while (!interrupted() && !complete()) {
            for (const auto& feed : feeds_) {
                feed->turn();
                if (feed->ended()) {
                    complain(feed->ended()->text);
                    return feed->ended()->status;
                }
            }
            if (timeout_ > 0s && Feed::Clock::now() - begin > timeout_) {
                complain("only " + std::to_string(count_) + " messages in time");
                return exit_status::TimedOut;
            }
            loop_.turn(100ms);
        }
        if (interrupted() && !quiet_ && isatty(STDERR_FILENO) == 1) {
            std::fprintf(stderr, "\n%zu messages, %zu gaps\n", count_, gaps_);
        }
        return exit_status::Good;
    }

private:
    // The channels of locations: a connection each.
    void follow(const Endpoint& endpoint, const std::vector<std::string>& channels,
                const FeedOptions& options)
    {
        if (channels.empty() != !endpoint.takesChannel()) {
            throw UsageError(
                channels.empty()
                    ? "which channel? The URL ends in a slash, or holds {channel}"
                    : "the URL names a channel itself: end it in a slash, or put {channel} in it");
        }
        if (channels.empty()) {
            feeds_.push_back(followLocation(loop_, endpoint, options, events()));
        }
        for (const std::string& channel : channels) {
            feeds_.push_back(followLocation(loop_, endpoint.of(channel), options, events()));
        }
    }

    void follow(const Endpoint& endpoint, std::vector<std::string> channels, Credentials credentials,
                const FeedOptions& options)
    {
        if (channels.empty()) {
            throw UsageError("which channels?");
        }
        const bool needsSecret =
            std::any_of(channels.begin(), channels.end(), [](const std::string& channel) {
                return channel.starts_with("private-") || channel.starts_with("presence-");
            });
        if (needsSecret && !credentials.complete()) {
            throw UsageError("private and presence channels need the app's secret: --secret-file or "
                             "$REALTIME_SECRET");
        }
        feeds_.push_back(
            followPusher(loop_, endpoint, std::move(credentials), std::move(channels), options, events()));
    }

    FeedEvents events()
    {
        return {[this](const Message& message) {
                    if (!complete()) {
                        ++count_;
                        print(message, format_);
                    }
                },
                [this](const std::string& channel) {
                    ++gaps_;
                    if (format_ == Format::Json) {
                        print({"", channel, "realtime:gap", ""}, format_);
                    } else if (!quiet_) {
                        complain(channel + ": messages are missing here");
                    }
                },
                [this](const std::string& text) {
                    if (!quiet_) {
                        complain(text);
                    }
                }};
    }

    bool complete() const { return most_ > 0 && count_ >= most_; }

    bool quiet_;
    Format format_;
    std::size_t most_, count_ = 0, gaps_ = 0;
    std::chrono::seconds timeout_;
    SocketLoop loop_; // before the feeds, which must not outlive it
    std::vector<std::unique_ptr<Feed>> feeds_;
};

int subscribe(const Arguments& arguments, const char* since)
{
    arguments.expectOperands(1, MaxChannels);
    return Subscription(arguments, since).run();
}

} // namespace

const Command SubCommand{
    "sub",
    "URL [CHANNEL...]",
    "print what comes on channels, from now on",
    "URL is a location with realtime_subscribe or realtime_pubsub that ends in a slash or holds\n"
    "{channel}, or that names its channel itself; or http://HOST/app/KEY, the Pusher protocol.\n"
    "A connection that breaks is made again, and goes on behind the last message.\n",
    SubOptions,
    [](const Arguments& arguments) { return subscribe(arguments, "latest"); }};

const Command TailCommand{"tail",
                          "URL [CHANNEL...]",
                          "the same, beginning with the history that the server has",
                          "As `sub`, with --since earliest.\n",
                          SubOptions,
                          [](const Arguments& arguments) { return subscribe(arguments, "earliest"); }};

} // namespace realtime::cli
