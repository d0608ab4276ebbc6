// The status as JSON. docs/operations.md describes it; scripts/check-docs compares.
#include "node/status_figures.hpp"

#include "base/json_text.hpp"

#include <cmath>

namespace realtime {

namespace {

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
    void thousandths(std::string_view name, double value)
    {
        auto whole = static_cast<std::uint64_t>(std::llround(value * 1000));
        std::string rest = std::to_string(1000 + whole % 1000);
        key(name) += std::to_string(whole / 1000) + '.' + rest.substr(1);
    }
    void text(std::string_view name, std::string_view value) { appendJsonString(key(name), value); }

private:
    std::string& out_;
    bool first_ = true;
};

// Calls `body` for each of `items`, between brackets and commas.
template <class Items, class Body> void appendList(std::string& out, const Items& items, Body&& body)
{
    out += '[';
    bool first = true;
    for (const auto& item : items) {
        out += first ? "" : ",";
        first = false;
        body(item);
    }
    out += ']';
}

std::uint64_t since(std::int64_t nowMs, std::int64_t thenMs)
{
    return static_cast<std::uint64_t>(std::max<std::int64_t>(nowMs - thenMs, 0));
}

void appendLatency(std::string& out, const Totals& totals)
{
    auto counts = totals.latency();
    std::uint64_t all = 0;
    for (std::uint64_t count : counts) {
        all += count;
    }
    JsonObject latency(out);
    latency.number("count", all);
    latency.number("sum_us", totals.latencySumUs());
    latency.number("p50_us", latencyPercentile(counts, 0.5));
    latency.number("p90_us", latencyPercentile(counts, 0.9));
    latency.number("p99_us", latencyPercentile(counts, 0.99));
    std::array<std::size_t, LatencyBuckets::Count - 1> bounded{};
    for (std::size_t i = 0; i < bounded.size(); i++) {
        bounded[i] = i;
    }
    appendList(latency.key("bucket_us"), bounded,
               [&](std::size_t i) { out += std::to_string(LatencyBuckets::upperMicros(i)); });
    appendList(latency.key("bucket_counts"), counts,
               [&](std::uint64_t count) { out += std::to_string(count); });
}

void appendWorker(std::string& out, const StatusFigures& figures, const WorkerFigures& figure)
{
    JsonObject worker(out);
    worker.number("pid", static_cast<std::uint64_t>(figure.pid));
    worker.number("generation", figure.generation);
    worker.number("age_ms", since(figures.nowMs, figure.startedMs));
    worker.key("draining") += figure.draining ? "true" : "false";
    worker.number("open_connections", figure.connections);
    worker.number("published_total", figure.published);
    worker.number("delivered_total", figure.delivered);
}

// The rows that `list` names of all zones, each an object that begins with its zone and channel.
template <class Row, class Body>
void appendOfZones(std::string& out, const StatusFigures& figures, std::vector<Row> ZoneFigures::*list,
                   Body&& body)
{
    std::vector<std::pair<const ZoneFigures*, const Row*>> rows;
    for (const ZoneFigures& zone : figures.zones) {
        for (const Row& row : zone.*list) {
            rows.emplace_back(&zone, &row);
        }
    }
    appendList(out, rows, [&](const auto& item) {
        const auto& [zone, row] = item;
        JsonObject object(out);
        object.text("zone", zone->name);
        object.text("app", row->app);
        object.text("channel", row->channel);
        body(object, *row);
    });
}

void appendApp(std::string& out, std::string_view zone, const AppUse& use)
{
    JsonObject app(out);
    app.text("zone", zone);
    app.text("app", use.app);
    app.number("channels", use.channels);
    app.number("channel_quota", use.channelLimit);
    app.number("members", use.members);
    app.number("member_quota", use.memberLimit);
    app.number("refused_total", use.refused);
}

void appendApps(std::string& out, const StatusFigures& figures)
{
    std::vector<std::pair<std::string_view, const AppUse*>> rows;
    for (const ZoneFigures& zone : figures.zones) {
        for (const AppUse& use : zone.apps) {
            rows.emplace_back(zone.name, &use);
        }
    }
    appendList(out, rows, [&](const auto& row) { appendApp(out, row.first, *row.second); });
}

void addBusy(JsonObject& out, const BusyChannel& channel)
{
    out.thousandths("events_per_second", channel.perSecond);
    out.number("events_total", channel.events);
    out.number("subscribers", channel.subscribers);
}

void addSlow(JsonObject& out, const SlowSubscriber& slow)
{
    out.text("transport", transportName(slow.transport));
    out.number("pid", static_cast<std::uint64_t>(slow.pid));
    out.number("waiting_bytes", slow.waitingBytes);
    out.number("waiting_seconds", slow.waitingSeconds);
}

void appendZone(std::string& out, const LogStats& stats, std::int64_t nowMs)
{
    JsonObject zone(out);
    zone.number("log_bytes", stats.ringBytes);
    zone.number("log_used_bytes", stats.usedBytes);
    zone.number("appended_bytes_total", stats.appendedBytes);
    zone.number("appended_total", stats.appendedRecords);
    zone.number("oldest_ms", stats.oldestTimeMs == 0 ? 0 : since(nowMs, stats.oldestTimeMs));
    zone.number("channels", stats.channels);
    zone.number("channel_capacity", stats.channelCapacity);
    zone.number("subscribed_channels", stats.subscribedChannels);
    zone.number("subscriptions", stats.subscribers);
    zone.number("members", stats.members);
    zone.number("member_capacity", stats.memberCapacity);
    zone.number("recoveries_total", stats.recoveries);
    zone.number("slots", stats.slots);
    zone.number("slots_in_use", stats.slotsInUse);
}

void appendBroker(std::string& out, const StatusFigures& figures, std::size_t index)
{
    const Totals& totals = figures.totals;
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
    if (const auto& error = figures.brokers[index].lastError) {
        broker.text("last_error", error->text);
        broker.number("last_error_ms", since(figures.nowMs, error->timeMs));
    }
}

void appendConnections(JsonObject& root, const Totals& totals)
{
    {
        JsonObject open(root.key("connections"));
        for (const Transport& transport : Transports) {
            open.number(transport.name, totals[word(transport.open)]);
        }
    }
    JsonObject ever(root.key("connected_total"));
    for (const Transport& transport : Transports) {
        ever.number(transport.name, totals[word(transport.ever)]);
    }
}

} // namespace

std::string renderJson(const StatusFigures& figures)
{
    std::string out;
    {
        JsonObject root(out);
        root.text("version", REALTIME_VERSION);
        root.number("time_ms", static_cast<std::uint64_t>(figures.nowMs));
        root.number("generation", figures.generation);
        root.number("workers", figures.workers.size());
        std::uint64_t channels = 0;
        for (const ZoneFigures& zone : figures.zones) {
            channels += zone.stats.subscribedChannels;
        }
        root.number("channels", channels);
        appendConnections(root, figures.totals);
        for (const Metric& metric : Metrics) {
            root.number(metric.name, figures.totals[metric.word]);
        }
        appendLatency(root.key("delivery_latency"), figures.totals);
        appendList(root.key("worker_list"), figures.workers,
                   [&](const WorkerFigures& worker) { appendWorker(out, figures, worker); });
        appendApps(root.key("app_list"), figures);
        appendOfZones(root.key("busiest_channels"), figures, &ZoneFigures::busiest, addBusy);
        appendOfZones(root.key("slow_list"), figures, &ZoneFigures::slow, addSlow);
        {
            JsonObject zones(root.key("zones"));
            for (const ZoneFigures& zone : figures.zones) {
                appendZone(zones.key(zone.name), zone.stats, figures.nowMs);
            }
        }
        {
            JsonObject brokers(root.key("brokers"));
            for (std::size_t i = 0; i < figures.brokers.size(); i++) {
                appendBroker(brokers.key(figures.brokers[i].name), figures, i);
            }
        }
    }
    return out += '\n';
}

} // namespace realtime
