#include "node/status_figures.hpp"

#include "node/node.hpp"

namespace realtime {

namespace {

constexpr Metric counterMetric(const char* name, Counter counter, const char* help)
{
    return {name, word(counter), false, help};
}

constexpr Metric MetricTable[] = {
    counterMetric("published_http_total", Counter::PublishedHttp, "Events published by HTTP requests"),
    counterMetric("published_websocket_total", Counter::PublishedWebSocket,
                  "Events published over WebSockets"),
    counterMetric("published_bytes_total", Counter::PublishedBytes, "Bytes of published data"),
    counterMetric("publish_repeated_total", Counter::PublishRepeated,
                  "Publishes recognised by Idempotency-Key"),
    counterMetric("publish_refused_total", Counter::PublishRefused, "Publishes refused for the time being"),
    counterMetric("publish_invalid_total", Counter::PublishInvalid, "Publishes refused as invalid"),
    counterMetric("rate_limited_total", Counter::RateLimited,
                  "Messages of clients refused for coming too fast"),
    counterMetric("delivered_total", Counter::Delivered, "Events delivered, once a subscriber"),
    counterMetric("delivered_bytes_total", Counter::DeliveredBytes, "Bytes handed to subscribers' sockets"),
    counterMetric("deflate_in_bytes_total", Counter::DeflateIn,
                  "Bytes of messages that were compressed, once a worker"),
    counterMetric("deflate_out_bytes_total", Counter::DeflateOut, "Bytes that became of them"),
    counterMetric("gaps_total", Counter::Gaps, "Gaps announced to subscribers"),
    counterMetric("overtaken_total", Counter::Overtaken, "Times that the log ran over a worker's cursor"),
    counterMetric("slow_closed_total", Counter::SlowClosed, "Subscribers closed because they did not read"),
    counterMetric("protocol_errors_total", Counter::ProtocolErrors, "WebSockets closed for protocol errors"),
    counterMetric("timed_out_total", Counter::TimedOut, "WebSockets closed because nothing came"),
    counterMetric("partial_timed_out_total", Counter::PartialTimedOut,
                  "WebSockets closed because the end of a message did not come"),
    counterMetric("partial_closed_total", Counter::PartialClosed,
                  "WebSockets closed because half messages took too much memory"),
    {"partial_messages", word(Gauge::PartialMessages), true, "Messages of clients of which a part has come"},
    {"partial_bytes", word(Gauge::PartialBytes), true, "Memory that they take"},
    counterMetric("pings_skipped_total", Counter::PingsSkipped,
                  "Pings of clients for which only a later one was answered"),
    counterMetric("origin_refused_total", Counter::OriginRefused, "Requests refused for their origin"),
    counterMetric("webhooks_sent_total", Counter::WebhooksSent,
                  "Webhook events that receivers have accepted"),
    counterMetric("webhooks_refused_total", Counter::WebhooksRefused,
                  "Webhook events refused by a full queue"),
    counterMetric("webhooks_dropped_total", Counter::WebhooksDropped, "Webhook events not accepted in time"),
    counterMetric("webhook_failures_total", Counter::WebhookFailures, "Failed attempts to send webhooks"),
    counterMetric("cluster_received_total", Counter::PeerReceived, "Events of other nodes"),
    counterMetric("cluster_repeated_total", Counter::PeerRepeated, "Events of other nodes that came again"),
    counterMetric("cluster_ignored_total", Counter::PeerIgnored,
                  "Messages of other nodes that were of no use"),
    {"cluster_nodes", word(Gauge::ClusterNodes), true, "Nodes of the cluster, as this one knows"},
    counterMetric("handed_over_total", Counter::HandedOver,
                  "WebSockets that reloads have moved to new workers"),
    counterMetric("handover_failed_total", Counter::HandOverFailed,
                  "WebSockets that reloads could not move and asked to reconnect"),
    counterMetric("delivery_waited_total", Counter::DeliveryWaited,
                  "Deliveries that the subscriber's socket did not take at once"),
    {"webhooks_queued", word(Gauge::WebhooksQueued), true, "Webhook events that wait for their receiver"},
    {"webhooks_failing", word(Gauge::WebhooksFailing), true, "Receivers that fail, once a worker"},
    {"slow_subscribers", word(Gauge::SlowSubscribers), true,
     "Subscribers whose sockets have been full for a second or more"},
    {"waiting_bytes", word(Gauge::WaitingBytes), true, "Bytes that wait for them"},
};

constexpr Transport TransportTable[] = {
    {"websocket", Gauge::WebSocket, Counter::ConnectedWebSocket},
    {"sse", Gauge::Sse, Counter::ConnectedSse},
    {"longpoll", Gauge::LongPoll, Counter::ConnectedLongPoll},
};

constexpr BrokerMetric BrokerMetricTable[] = {
    {"offered_total", BrokerCounter::Offered, "Events handed to the broker's queue"},
    {"confirmed_total", BrokerCounter::Confirmed, "Events that the broker has stored"},
    {"failed_total", BrokerCounter::Failed,
     "Events that the broker refused or returned; they are sent again"},
    {"refused_total", BrokerCounter::Refused, "Events refused because the queue was full or the store away"},
    {"reconnects_total", BrokerCounter::Reconnects, "Connections made anew"},
};

std::vector<WorkerFigures> workersOf(const SharedLog& log)
{
    std::vector<WorkerFigures> workers;
    for (std::uint32_t i = 0; i < log.slots(); i++) {
        if (!log.slotInUse(i)) {
            continue;
        }
        Counters slot(log.slotCounters(i));
        WorkerFigures& worker = workers.emplace_back();
        worker.pid = log.slotPid(i);
        worker.generation = slot.get(Gauge::Generation);
        worker.startedMs = static_cast<std::int64_t>(slot.get(Gauge::StartedMs));
        worker.draining = slot.get(Gauge::Draining) != 0;
        for (const Transport& transport : Transports) {
            worker.connections += slot.get(transport.open);
        }
        worker.published = slot.get(Counter::PublishedHttp) + slot.get(Counter::PublishedWebSocket);
        worker.delivered = slot.get(Counter::Delivered);
    }
    return workers;
}

} // namespace

const std::span<const Metric> Metrics{MetricTable};
const std::span<const Transport> Transports{TransportTable};
const std::span<const BrokerMetric> BrokerMetrics{BrokerMetricTable};

const char* transportName(Gauge gauge)
{
    auto* found = std::find_if(std::begin(TransportTable), std::end(TransportTable),
                               [gauge](const Transport& one) { return one.open == gauge; });
    return found != std::end(TransportTable) ? found->name : "unknown";
}

Totals::Totals(const SharedLog& log)
{
    auto add = [this](std::span<std::atomic<std::uint64_t>, SharedLog::SlotCounters> row, std::size_t words) {
        for (std::size_t i = 0; i < words; i++) {
            words_[i] += row[i].load(std::memory_order_relaxed);
        }
    };
    add(log.retiredCounters(), SharedLog::FirstGauge);
    for (std::uint32_t slot = 0; slot < log.slots(); slot++) {
        if (!log.slotInUse(slot)) {
            continue;
        }
        add(log.slotCounters(slot), SharedLog::SlotCounters);
        for (std::size_t i = 0; i < MaxBrokers; i++) {
            worst_[i] =
                std::max(worst_[i], Counters(log.slotCounters(slot)).get(word(i, BrokerGauge::State)));
        }
    }
}

StatusFigures takeFigures(Node& node)
{
    Hub& hub = node.hub();
    const SharedLog& first = hub.log(0).log;
    StatusFigures figures{node.now(), first.generation(), Totals(first), workersOf(first), {}, {}};
    for (std::uint32_t i = 0; i < hub.logCount(); i++) {
        const SharedLog& log = hub.log(i).log;
        figures.zones.push_back({node.config().zones[i].name, log.stats(), log.appUses(),
                                 busiestChannels(log), slowSubscribers(log)});
    }
    for (std::size_t i = 0; i < node.config().brokers.size(); i++) {
        figures.brokers.push_back({node.config().brokers[i]->name, lastBrokerError(first, i)});
    }
    return figures;
}

} // namespace realtime
