// What is going on, beside counters: which channels are busiest, which subscribers do not read, what brokers complain
// of. Each worker notes its part in its slot of the zones, so that any worker can show all of it.
//
// Thread     the event loop.
// Cost       once a second: the newest records of the log are counted by one of the workers, by their headers and at
//            most MaxTallied of them; of the subscribers only those are looked at whose sockets are full.
#pragma once

#include "base/keyed_hash.hpp"
#include "hub/hub.hpp"
#include "log/shared_log.hpp"
#include "node/counters.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace realtime {

class Node;

class Activity {
public:
    static constexpr std::size_t MaxTallied = 8192;

    explicit Activity(Node& node) : node_(node) {}
    // Called often; does its work once a second.
    void tick();

private:
    // Rates are averages that forget: half of what was is gone after some seconds.
    class Ranking final : private SharedLog::Tally {
    public:
        // Counts what has come to the log since the last call.
        void look(const SharedLog& log, double seconds);
        void write(Counters slot) const;
        void forget();

    private:
        struct Channel {
            std::uint32_t index = 0;
            std::uint32_t fresh = 0;
            double perSecond = 0;
        };
        void count(const ChannelRef& channel, std::uint32_t flags) override;
        void average(double scale, double seconds);

        LogPosition cursor_ = 0;                                         // 0: it has not looked yet
        std::unordered_map<std::uint64_t, Channel, KeyedHash> channels_; // by epoch, which all know
    };

    void rankChannels(double seconds);
    void noteSlowSubscribers();
    void listSlowSubscribers(std::uint32_t zone, std::span<const WaitingSubscriber> waiting,
                             std::int64_t nowMs);
    void noteBrokerErrors();

    Node& node_;
    std::vector<Ranking> rankings_; // beside the hub's logs
    std::int64_t lastMs_ = 0;
};

// --- what all workers have noted

struct BusyChannel {
    std::string app, channel;
    double perSecond = 0;
    std::uint64_t events = 0; // of its life so far
    std::uint32_t subscribers = 0;
};
std::vector<BusyChannel> busiestChannels(const SharedLog& log); // busiest first

struct SlowSubscriber {
    std::string app, channel; // the channel it has subscribed to last
    Gauge transport = Gauge::WebSocket;
    std::int32_t pid = 0;
    std::uint64_t waitingBytes = 0;
    std::uint64_t waitingSeconds = 0;
};
std::vector<SlowSubscriber> slowSubscribers(const SharedLog& log); // most bytes first

struct BrokerError {
    std::int64_t timeMs = 0; // when it was seen last
    std::string text;
};
std::optional<BrokerError> lastBrokerError(const SharedLog& log, std::size_t broker);

} // namespace realtime
