// An application: its credentials and what its channels may do. Built from the configuration, immutable in workers.
#pragma once

#include "app/channel_rule.hpp"
#include "wire/pusher_auth.hpp"
#include "wire/pusher_webhook.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace realtime {

// What holds for one channel: the first rule that matches it, with the app's own settings where it is silent.
struct ChannelPolicy {
    const ChannelRule* rule = nullptr; // null: none matched
    const std::vector<BrokerRoute>* brokers = nullptr;
    HistoryLimit history;
    std::uint32_t log = 0; // index of the zone
    Captures captures;     // views into the channel's name
    StreamKey stream;      // that gives it order and ids, if one does
};

struct WebhookTarget {
    std::string url;
    std::vector<std::string> events; // names, such as "channel_occupied"
};

// How the app behaves over the Pusher protocol.
struct PusherSettings {
    std::vector<pusher::Credentials> credentials; // none: not reachable; the first signs webhooks
    std::vector<std::string> origins;             // none: all
    std::vector<WebhookTarget> webhooks;
    std::uint32_t maxConnections = 0; // 0: no limit
    std::uint32_t maxChannels = 1000; // of one connection; without those that stand for its user
    std::uint32_t connectionRow = 0;  // where they are counted, if there is a limit
    std::uint32_t presenceMembers = 100;
    std::uint32_t presenceInfoBytes = 1024;
    double clientEventsPerSecond = 10;
    std::uint32_t activitySeconds = 120;
    std::uint32_t authorizeSeconds = 0; // 0: connections need not authorize themselves
    bool clientEvents = false;
    bool subscriptionCount = false;
    bool watchlist = false;
    bool tlsOnly = false;
    bool disabled = false;
};

// What is said of the app's share of the zones that it has channels in.
struct AppShares {
    std::optional<Quota> channels, presence, repeats;
};

struct App {
    std::string id;
    PusherSettings pusher;
    AppShares shares;
    std::vector<ChannelRule> rules;
    std::vector<std::uint32_t> ruleLogs; // beside `rules`: the zone that each one's channels live in
    std::vector<BrokerRoute> brokers;    // of channels whose rule names none
    std::string zone;                    // name; empty: the first
    std::uint32_t log = 0;               // its index

    bool anyStream = false; // a rule says `deliver broker`

    ChannelPolicy policyOf(std::string_view channel) const;
    // Is it a name that the Pusher protocol keeps to itself here? Nobody else subscribes or publishes there. An app
    // without keys has nobody who speaks it, and its channels may be called anything.
    bool reserves(std::string_view channel) const;
    // Is what is published there delivered when a stream hands it back?
    bool ordered(std::string_view channel) const;
};

} // namespace realtime
