// What realtime_status shows: a snapshot of all workers' figures, and the two texts that it is told in.
//
// Thread     the event loop.
#pragma once

#include "node/activity.hpp"
#include "node/counters.hpp"

#include "broker/broker.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace realtime {

class Node;

// The sums over all workers, dead ones included.
class Totals {
public:
    explicit Totals(const SharedLog& log);
    std::uint64_t operator[](std::size_t word) const { return words_[word]; }
    std::span<const std::uint64_t, LatencyBuckets::Count> latency() const
    {
        return std::span(words_).subspan<FirstLatencyWord, LatencyBuckets::Count>();
    }
    std::uint64_t latencySumUs() const { return words_[FirstLatencyWord + LatencyBuckets::Count]; }
    BrokerState worstState(std::size_t broker) const { return static_cast<BrokerState>(worst_[broker]); }

private:
    std::array<std::uint64_t, SharedLog::SlotCounters> words_{};
    std::array<std::uint64_t, MaxBrokers> worst_{};
};

struct WorkerFigures {
    std::int32_t pid = 0;
    std::uint64_t generation = 0;
    std::int64_t startedMs = 0;
    bool draining = false;
    std::uint64_t connections = 0;
    std::uint64_t published = 0; // events, ever
    std::uint64_t delivered = 0;
};

struct ZoneFigures {
    std::string_view name;
    LogStats stats;
    std::vector<AppUse> apps;
    std::vector<BusyChannel> busiest;
    std::vector<SlowSubscriber> slow;
};

struct BrokerFigures {
    std::string_view name;
    std::optional<BrokerError> lastError;
};

// Views are of the configuration.
struct StatusFigures {
    std::int64_t nowMs = 0;
    std::uint64_t generation = 0;
    Totals totals;
    std::vector<WorkerFigures> workers;
    std::vector<ZoneFigures> zones;
    std::vector<BrokerFigures> brokers;
};

StatusFigures takeFigures(Node& node);

std::string renderJson(const StatusFigures& figures);       // one object, and a line feed
std::string renderPrometheus(const StatusFigures& figures); // text format 0.0.4

// --- names, the same in both

struct Metric {
    const char* name; // in JSON; Prometheus: realtime_<name>
    std::size_t word;
    bool gauge;
    const char* help;
};
extern const std::span<const Metric> Metrics;

struct Transport {
    const char* name;
    Gauge open;
    Counter ever;
};
extern const std::span<const Transport> Transports;
const char* transportName(Gauge gauge);

struct BrokerMetric {
    const char* name;
    BrokerCounter counter;
    const char* help;
};
extern const std::span<const BrokerMetric> BrokerMetrics;

} // namespace realtime
