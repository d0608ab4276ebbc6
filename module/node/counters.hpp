// What a worker counts, in the words of its slot in the first zone (SharedLog::slotCounters): any worker can add up
// all of them, and counters outlive their worker.
#pragma once

#include "base/latency.hpp"
#include "log/shared_log.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace realtime {

enum class Counter : std::size_t {
    PublishedHttp,      // events
    PublishedWebSocket, // events
    PublishedBytes,     // of data
    PublishRepeated,    // recognised by their Idempotency-Key
    PublishRefused,     // 503: broker full or away, channel directory full
    PublishInvalid,     // 4xx
    Delivered,          // events, once a subscriber
    DeliveredBytes,     // handed to sockets
    Gaps,               // announced to subscribers
    Overtaken,          // times that the ring ran over a worker
    SlowClosed,         // subscribers closed because they did not read
    ProtocolErrors,     // WebSockets closed with 1002, 1007 or 1009
    TimedOut,           // WebSockets closed because nothing came
    OriginRefused,      // requests from pages that may not connect
    ConnectedWebSocket, // ever
    ConnectedSse,
    ConnectedLongPoll,
    WebhooksSent,    // events of webhooks, as the next three
    WebhooksRefused, // the queue was full
    WebhooksDropped, // not accepted in time
    WebhookFailures, // attempts, each with a batch of events
    DeliveryWaited,  // deliveries that their subscriber's socket did not take at once
    HandedOver,      // WebSockets that a reload has moved here from another worker
    HandOverFailed,  // WebSockets that a reload could not move: closed or asked to reconnect
    PeerReceived,    // events of other nodes, as the next two
    PeerRepeated,    // had come before
    PeerIgnored,     // of no app or channel of this node's cluster, or invalid
    DeflateIn,       // bytes of messages that were compressed, once for all subscribers of the worker
    DeflateOut,      // what has become of them
    PartialTimedOut, // WebSockets closed since the end of a message did not come
    PartialClosed,   // WebSockets closed since all half messages were too much
    PingsSkipped,    // a later one was answered for them
    RateLimited,     // messages of clients that came too fast, and were refused
    Count
};

enum class Gauge : std::size_t {
    WebSocket = SharedLog::FirstGauge, // open now
    Sse,
    LongPoll,
    Channels,        // with subscribers in this worker
    WebhooksQueued,  // events
    ClusterNodes,    // that this one knows, itself included; the same in all workers, of which one says it
    WebhooksFailing, // receivers whose last attempt failed, as this worker sees it
    SlowSubscribers, // for whom something has waited for a while
    WaitingBytes,    // for them
    Generation,      // of the configuration that the worker runs with
    StartedMs,       // Unix milliseconds
    Draining,        // 1: nginx has told it to go
    PartialMessages, // of which the end has not come
    PartialBytes,    // what they hold
    End
};

// A row of words for each broker, in the order of the configuration.
inline constexpr std::size_t MaxBrokers = 8;
enum class BrokerCounter : std::size_t { Offered, Confirmed, Failed, Refused, Reconnects, Count };
enum class BrokerGauge : std::size_t {
    State,
    QueuedEvents,
    QueuedBytes,
    SpoolEvents,
    SpoolBytes,
    SpoolFailed,
    Count
};

// How long deliveries take: LatencyHistogram::Words counters.
inline constexpr std::size_t FirstLatencyWord = 40;

// Tables that activity.hpp keeps, each row of so many words.
inline constexpr std::size_t MaxBusyChannels = 16;
inline constexpr std::size_t BusyChannelWords = 2;
inline constexpr std::size_t FirstBusyChannelWord = SharedLog::FirstGauge + 72;
inline constexpr std::size_t MaxSlowSubscribers = 5;
inline constexpr std::size_t SlowSubscriberWords = 3;
inline constexpr std::size_t FirstSlowSubscriberWord =
    FirstBusyChannelWord + MaxBusyChannels * BusyChannelWords;
// In the retired row of the first zone.
inline constexpr std::size_t BrokerErrorWords = 15;
inline constexpr std::size_t FirstBrokerErrorWord = SharedLog::FirstGauge + 16;

// Connections of an app with max_connections.
inline constexpr std::size_t MaxCountedApps = 16;
struct AppGauge {
    std::uint32_t row;
};

constexpr std::size_t word(Counter counter)
{
    return static_cast<std::size_t>(counter);
}
constexpr std::size_t word(Gauge gauge)
{
    return static_cast<std::size_t>(gauge);
}
constexpr std::size_t word(std::size_t broker, BrokerCounter counter)
{
    return 128 + broker * static_cast<std::size_t>(BrokerCounter::Count) + static_cast<std::size_t>(counter);
}
constexpr std::size_t word(std::size_t broker, BrokerGauge gauge)
{
    return SharedLog::FirstGauge + 16 + broker * static_cast<std::size_t>(BrokerGauge::Count) +
           static_cast<std::size_t>(gauge);
}
constexpr std::size_t word(AppGauge app)
{
    return SharedLog::SlotCounters - MaxCountedApps + app.row;
}
static_assert(word(Counter::Count) <= FirstLatencyWord);
static_assert(FirstLatencyWord + LatencyHistogram::Words <= word(0, BrokerCounter::Offered));
static_assert(word(MaxBrokers, BrokerCounter::Offered) <= SharedLog::FirstGauge);
static_assert(word(MaxBrokers, BrokerGauge::State) <= FirstBusyChannelWord);
static_assert(FirstSlowSubscriberWord + MaxSlowSubscribers * SlowSubscriberWords <= word(AppGauge{0}));
static_assert(word(Gauge::End) <= FirstBrokerErrorWord);
static_assert(word(Gauge::End) <= 0xffff, "an Outlet has one in two bytes");
static_assert(FirstBrokerErrorWord + MaxBrokers * BrokerErrorWords <= SharedLog::SlotCounters);
static_assert(word(Gauge::End) <= word(0, BrokerGauge::State));

class Counters {
public:
    using Words = std::span<std::atomic<std::uint64_t>, SharedLog::SlotCounters>;
    explicit Counters(Words words) : words_(words) {}

    // One writer a row, so a load and a store do; readers may see any recent value.
    template <class Name> void add(Name name, std::uint64_t n = 1) { set(word(name), get(word(name)) + n); }
    template <class Name> void subtract(Name name) { set(word(name), get(word(name)) - 1); }
    void set(std::size_t at, std::uint64_t value) { words_[at].store(value, std::memory_order_relaxed); }
    std::uint64_t get(std::size_t at) const { return words_[at].load(std::memory_order_relaxed); }
    template <class Name> std::uint64_t get(Name name) const { return get(word(name)); }
    LatencyHistogram latency() const
    {
        return LatencyHistogram(words_.subspan<FirstLatencyWord, LatencyHistogram::Words>());
    }

private:
    Words words_;
};

} // namespace realtime
