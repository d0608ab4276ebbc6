// What a node runs with, once the configuration is read and its names are resolved.
//
// Lifetime   views and pointers are into the configuration, which outlives the node.
#pragma once

#include "app/app.hpp"
#include "broker/broker.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace realtime {

struct NodeConfig {
    struct Zone {
        std::string_view name;
        std::span<std::byte> memory;            // of its log
        std::span<const AppQuotas> quotas = {}; // of the apps that may have channels there
    };
    std::vector<Zone> zones; // the first is the default, and holds the counters
    std::vector<const BrokerConfig*> brokers;
    std::vector<const App*> apps;
    unsigned workers = 1; // that share a spool's size
    std::uint64_t generation = 0;

    const App* app(std::string_view id) const; // null: there is none
};

} // namespace realtime
