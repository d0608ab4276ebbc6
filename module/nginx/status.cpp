// realtime_status: what this nginx does, all workers together, as JSON or for Prometheus.
#include "nginx/conf.hpp"
#include "nginx/guard.hpp"
#include "nginx/origins.hpp"
#include "nginx/response.hpp"
#include "nginx/str.hpp"
#include "nginx/worker.hpp"

#include "base/json_text.hpp"

#include <charconv>

namespace realtime {

namespace {

struct Metric {
    const char* name; // in JSON; Prometheus: realtime_<name>
    std::size_t word;
    bool gauge;
    const char* help;
};

constexpr Metric counterMetric(const char* name, Counter counter, const char* help)
{
    return {name, word(counter), false, help};
}

constexpr Metric Metrics[] = {
    counterMetric("published_http_total", Counter::PublishedHttp, "Events published by HTTP requests"),
    counterMetric("published_websocket_total", Counter::PublishedWebSocket,
                  "Events published over WebSockets"),
    counterMetric("published_bytes_total", Counter::PublishedBytes, "Bytes of published data"),
    counterMetric("publish_repeated_total", Counter::PublishRepeated,
                  "Publishes recognised by Idempotency-Key"),
    counterMetric("publish_refused_total", Counter::PublishRefused, "Publishes refused for the time being"),
    counterMetric("publish_invalid_total", Counter::PublishInvalid, "Publishes refused as invalid"),
    counterMetric("delivered_total", Counter::Delivered, "Events delivered, once a subscriber"),
    counterMetric("delivered_bytes_total", Counter::DeliveredBytes, "Bytes handed to subscribers' sockets"),
    counterMetric("gaps_total", Counter::Gaps, "Gaps announced to subscribers"),
    counterMetric("overtaken_total", Counter::Overtaken, "Times that the log ran over a worker's cursor"),
    counterMetric("slow_closed_total", Counter::SlowClosed, "Subscribers closed because they did not read"),
    counterMetric("protocol_errors_total", Counter::ProtocolErrors, "WebSockets closed for protocol errors"),
    counterMetric("timed_out_total", Counter::TimedOut, "WebSockets closed because nothing came"),
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
    {"webhooks_queued", word(Gauge::WebhooksQueued), true, "Webhook events that wait for their receiver"},
    {"webhooks_failing", word(Gauge::WebhooksFailing), true, "Receivers that fail, once a worker"},
};

struct Transport {
    const char* name;
    Gauge open;
    Counter ever;
};

constexpr Transport Transports[] = {
    {"websocket", Gauge::WebSocket, Counter::ConnectedWebSocket},
    {"sse", Gauge::Sse, Counter::ConnectedSse},
    {"longpoll", Gauge::LongPoll, Counter::ConnectedLongPoll},
};

struct BrokerMetric {
    const char* name;
    BrokerCounter counter;
    const char* help;
};

constexpr BrokerMetric BrokerMetrics[] = {
    {"offered_total", BrokerCounter::Offered, "Events handed to the broker's queue"},
    {"confirmed_total", BrokerCounter::Confirmed, "Events that the broker has stored"},
    {"failed_total", BrokerCounter::Failed,
     "Events that the broker refused or returned; they are sent again"},
    {"refused_total", BrokerCounter::Refused, "Events refused because the queue was full or the store away"},
    {"reconnects_total", BrokerCounter::Reconnects, "Connections made anew"},
};

// The sums over all workers, dead ones included.
class Totals {
public:
    explicit Totals(const SharedLog& log)
    {
        add(log.retiredCounters());
        for (std::uint32_t slot = 0; slot < log.slots(); slot++) {
            if (log.slotInUse(slot)) {
                add(log.slotCounters(slot));
                workers_++;
                for (std::size_t i = 0; i < MaxBrokers; i++) {
                    std::uint64_t state = log.slotCounters(slot)[realtime::word(i, BrokerGauge::State)].load(
                        std::memory_order_relaxed);
                    worst_[i] = std::max(worst_[i], state);
                }
            }
        }
    }
    std::uint64_t operator[](std::size_t word) const { return words_[word]; }
    BrokerState worstState(std::size_t broker) const { return static_cast<BrokerState>(worst_[broker]); }
    std::uint32_t workers() const { return workers_; }

private:
    void add(std::span<std::atomic<std::uint64_t>, SharedLog::SlotCounters> row)
    {
        for (std::size_t i = 0; i < row.size(); i++) {
            words_[i] += row[i].load(std::memory_order_relaxed);
        }
    }
    std::array<std::uint64_t, SharedLog::SlotCounters> words_{};
    std::array<std::uint64_t, MaxBrokers> worst_{};
    std::uint32_t workers_ = 0;
};

struct Snapshot {
    Totals totals;
    std::vector<std::pair<std::string_view, LogStats>> zones;
    std::vector<std::string_view> brokers;
    std::vector<std::string_view> brokerErrors; // as this worker sees them
};

Snapshot takeSnapshot(Worker& worker)
{
    Snapshot snapshot{Totals(worker.hub().log(0).log), {}, {}, {}};
    for (std::uint32_t i = 0; i < worker.hub().logCount(); i++) {
        snapshot.zones.emplace_back(worker.conf().zones[i]->name, worker.hub().log(i).log.stats());
    }
    for (const auto& broker : worker.conf().brokers) {
        snapshot.brokers.push_back(broker->config.name);
    }
    for (const NamedBroker& broker : worker.brokers()) {
        snapshot.brokerErrors.push_back(broker.broker->lastError());
    }
    return snapshot;
}

// --- JSON -------------------------------------------------------------------------------------------------------

// Members of one object after the other; commas by itself.
class JsonObject {
public:
    explicit JsonObject(std::string& out) : out_(out) { out_ += '{'; }
    ~JsonObject() { out_ += '}'; }
    JsonObject(const JsonObject&) = delete;
    JsonObject& operator=(const JsonObject&) = delete;

    std::string& key(std::string_view name)
    {
        out_ += first_ ? "" : ",";
        first_ = false;
        appendJsonString(out_, name);
        out_ += ':';
        return out_;
    }
    void number(std::string_view name, std::uint64_t value) { key(name) += std::to_string(value); }
    void text(std::string_view name, std::string_view value) { appendJsonString(key(name), value); }

private:
    std::string& out_;
    bool first_ = true;
};

void appendZone(std::string& out, const LogStats& stats)
{
    JsonObject zone(out);
    zone.number("log_bytes", stats.ringBytes);
    zone.number("log_used_bytes", stats.usedBytes);
    zone.number("appended_bytes_total", stats.appendedBytes);
    zone.number("appended_total", stats.appendedRecords);
    std::int64_t age = stats.oldestTimeMs == 0 ? 0 : Worker::nowMs() - stats.oldestTimeMs;
    zone.number("oldest_ms", static_cast<std::uint64_t>(std::max<std::int64_t>(age, 0)));
    zone.number("channels", stats.channels);
    zone.number("channel_capacity", stats.channelCapacity);
    zone.number("subscribed_channels", stats.subscribedChannels);
    zone.number("subscriptions", stats.subscribers);
    zone.number("recoveries_total", stats.recoveries);
    zone.number("slots", stats.slots);
    zone.number("slots_in_use", stats.slotsInUse);
}

void appendBroker(std::string& out, const Snapshot& snapshot, std::size_t index)
{
    const Totals& totals = snapshot.totals;
    JsonObject broker(out);
    broker.text("state", toString(totals.worstState(index)));
    broker.number("queued", totals[word(index, BrokerGauge::QueuedEvents)]);
    broker.number("queued_bytes", totals[word(index, BrokerGauge::QueuedBytes)]);
    broker.number("spool_events", totals[word(index, BrokerGauge::SpoolEvents)]);
    broker.number("spool_bytes", totals[word(index, BrokerGauge::SpoolBytes)]);
    broker.number("spool_failed_workers", totals[word(index, BrokerGauge::SpoolFailed)]);
    for (const BrokerMetric& metric : BrokerMetrics) {
        broker.number(metric.name, totals[word(index, metric.counter)]);
    }
    if (index < snapshot.brokerErrors.size() && !snapshot.brokerErrors[index].empty()) {
        broker.text("last_error", snapshot.brokerErrors[index]);
    }
}

std::string renderJson(const Snapshot& snapshot)
{
    std::string out;
    {
        JsonObject root(out);
        root.number("time_ms", static_cast<std::uint64_t>(Worker::nowMs()));
        root.number("workers", snapshot.totals.workers());
        std::uint64_t channels = 0;
        for (const auto& zone : snapshot.zones) {
            channels += zone.second.subscribedChannels;
        }
        root.number("channels", channels);
        {
            JsonObject open(root.key("connections"));
            for (const Transport& transport : Transports) {
                open.number(transport.name, snapshot.totals[word(transport.open)]);
            }
        }
        {
            JsonObject ever(root.key("connected_total"));
            for (const Transport& transport : Transports) {
                ever.number(transport.name, snapshot.totals[word(transport.ever)]);
            }
        }
        for (const Metric& metric : Metrics) {
            root.number(metric.name, snapshot.totals[metric.word]);
        }
        {
            JsonObject zones(root.key("zones"));
            for (const auto& [name, stats] : snapshot.zones) {
                appendZone(zones.key(name), stats);
            }
        }
        {
            JsonObject brokers(root.key("brokers"));
            for (std::size_t i = 0; i < snapshot.brokers.size(); i++) {
                appendBroker(brokers.key(snapshot.brokers[i]), snapshot, i);
            }
        }
    }
    return out += '\n';
}

// --- Prometheus text format 0.0.4 -------------------------------------------------------------------------------

class Exposition {
public:
    void family(std::string_view name, bool gauge, std::string_view help)
    {
        name_ = "realtime_" + std::string(name);
        out_ += "# HELP " + name_ + ' ' + std::string(help) + "\n# TYPE " + name_ +
                (gauge ? " gauge\n" : " counter\n");
    }
    void sample(std::uint64_t value, std::string_view label = {}, std::string_view labelValue = {})
    {
        out_ += name_;
        if (!label.empty()) {
            out_ += '{';
            out_ += label;
            out_ += "=\"";
            appendEscaped(labelValue);
            out_ += "\"}";
        }
        out_ += ' ' + std::to_string(value) + '\n';
    }
    std::string take() { return std::move(out_); }

private:
    void appendEscaped(std::string_view text)
    {
        for (char c : text) {
            if (c == '\n') {
                out_ += "\\n";
                continue;
            }
            if (c == '"' || c == '\\') {
                out_ += '\\';
            }
            out_ += c;
        }
    }
    std::string out_;
    std::string name_;
};

struct ZoneMetric {
    const char* name;
    bool gauge;
    const char* help;
    std::uint64_t (*get)(const LogStats&);
};

constexpr ZoneMetric ZoneMetrics[] = {
    {"log_bytes", true, "Size of the log", [](const LogStats& s) { return s.ringBytes; }},
    {"log_used_bytes", true, "Bytes of the log that hold events",
     [](const LogStats& s) { return s.usedBytes; }},
    {"log_appended_bytes_total", false, "Bytes ever appended",
     [](const LogStats& s) { return s.appendedBytes; }},
    {"log_appended_total", false, "Events ever appended",
     [](const LogStats& s) { return s.appendedRecords; }},
    {"channels", true, "Channels in the directory",
     [](const LogStats& s) { return std::uint64_t{s.channels}; }},
    {"channel_capacity", true, "Channels that the directory takes",
     [](const LogStats& s) { return std::uint64_t{s.channelCapacity}; }},
    {"subscribed_channels", true, "Channels with subscribers",
     [](const LogStats& s) { return std::uint64_t{s.subscribedChannels}; }},
    {"subscriptions", true, "Subscriptions of all workers", [](const LogStats& s) { return s.subscribers; }},
    {"log_recoveries_total", false, "Repairs after a worker died within the log",
     [](const LogStats& s) { return std::uint64_t{s.recoveries}; }},
};

void exposeBrokers(Exposition& out, const Snapshot& snapshot)
{
    auto each = [&](auto&& value) {
        for (std::size_t i = 0; i < snapshot.brokers.size(); i++) {
            out.sample(value(i), "broker", snapshot.brokers[i]);
        }
    };
    if (snapshot.brokers.empty()) {
        return;
    }
    out.family("broker_up", true, "1 if every worker's connection to the broker is up");
    each([&](std::size_t i) { return std::uint64_t{snapshot.totals.worstState(i) == BrokerState::Up}; });
    out.family("broker_queued", true, "Events that wait for the broker, unconfirmed ones included");
    each([&](std::size_t i) { return snapshot.totals[word(i, BrokerGauge::QueuedEvents)]; });
    out.family("broker_queued_bytes", true, "Their bytes");
    each([&](std::size_t i) { return snapshot.totals[word(i, BrokerGauge::QueuedBytes)]; });
    out.family("broker_spool_events", true, "Events in the spool");
    each([&](std::size_t i) { return snapshot.totals[word(i, BrokerGauge::SpoolEvents)]; });
    out.family("broker_spool_bytes", true, "Their bytes");
    each([&](std::size_t i) { return snapshot.totals[word(i, BrokerGauge::SpoolBytes)]; });
    out.family("broker_spool_failed_workers", true, "Workers that cannot use their spool now");
    each([&](std::size_t i) { return snapshot.totals[word(i, BrokerGauge::SpoolFailed)]; });
    for (const BrokerMetric& metric : BrokerMetrics) {
        out.family(std::string("broker_") + metric.name, false, metric.help);
        each([&](std::size_t i) { return snapshot.totals[word(i, metric.counter)]; });
    }
}

std::string renderPrometheus(const Snapshot& snapshot)
{
    Exposition out;
    out.family("workers", true, "Worker processes, all generations");
    out.sample(snapshot.totals.workers());
    out.family("connections", true, "Open connections");
    for (const Transport& transport : Transports) {
        out.sample(snapshot.totals[word(transport.open)], "transport", transport.name);
    }
    out.family("connected_total", false, "Connections ever made");
    for (const Transport& transport : Transports) {
        out.sample(snapshot.totals[word(transport.ever)], "transport", transport.name);
    }
    for (const Metric& metric : Metrics) {
        out.family(metric.name, metric.gauge, metric.help);
        out.sample(snapshot.totals[metric.word]);
    }
    for (const ZoneMetric& metric : ZoneMetrics) {
        out.family(metric.name, metric.gauge, metric.help);
        for (const auto& [name, stats] : snapshot.zones) {
            out.sample(metric.get(stats), "zone", name);
        }
    }
    exposeBrokers(out, snapshot);
    return out.take();
}

} // namespace

ngx_int_t statusHandler(ngx_http_request_t* r)
{
    return guard<ngx_int_t>(r->connection->log, NGX_HTTP_INTERNAL_SERVER_ERROR, [&]() -> ngx_int_t {
        constexpr std::string_view Methods = "GET, HEAD, OPTIONS";
        if (auto answered = checkOrigin(r, locConf(r), Methods)) {
            return *answered;
        }
        if ((r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD)) == 0) {
            return refuseMethod(r, Methods);
        }
        bool given = false;
        std::string_view format = queryArgument(r, "format", given);
        addHeader(r, "Cache-Control", "no-store");
        Snapshot snapshot = takeSnapshot(*Worker::current());
        if (!given || format == "json") {
            return respond(r, NGX_HTTP_OK, "application/json", renderJson(snapshot));
        }
        if (format == "prometheus") {
            return respond(r, NGX_HTTP_OK, "text/plain; version=0.0.4", renderPrometheus(snapshot));
        }
        return respondError(r, NGX_HTTP_BAD_REQUEST, "\"format\" is json or prometheus");
    });
}

} // namespace realtime
