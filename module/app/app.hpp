// An application: its credentials and what its channels may do. Built from the configuration, immutable in workers.
#pragma once

#include "app/channel_rule.hpp"

#include <cstdint>
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
};

struct App {
    std::string id;
    std::string key;    // empty: not reachable over the Pusher protocol
    std::string secret; // never logged
    std::vector<ChannelRule> rules;
    std::vector<std::uint32_t> ruleLogs; // beside `rules`: the zone that each one's channels live in
    std::vector<BrokerRoute> brokers;    // of channels whose rule names none
    std::string zone;                    // name; empty: the first
    std::uint32_t log = 0;               // its index

    ChannelPolicy policyOf(std::string_view channel) const;
};

} // namespace realtime
