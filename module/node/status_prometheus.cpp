// The status in Prometheus' text format 0.0.4. docs/operations.md describes it; scripts/check-docs compares.
#include "node/status_figures.hpp"

#include <initializer_list>

namespace realtime {

namespace {

class Exposition {
public:
    struct Label {
        std::string_view name, value;
    };
    using Labels = std::initializer_list<Label>;

    void family(std::string_view name, std::string_view type, std::string_view help)
    {
        name_ = "realtime_" + std::string(name);
        out_ += "# HELP " + name_ + ' ' + std::string(help) + "\n# TYPE " + name_ + ' ' + std::string(type) +
                '\n';
    }
    void sample(std::uint64_t value, Labels labels = {}, std::string_view suffix = {})
    {
        line(std::to_string(value), labels, suffix);
    }
    // `value` in units of 10^-digits.
    void fraction(std::uint64_t value, unsigned digits, Labels labels = {}, std::string_view suffix = {})
    {
        line(decimal(value, digits), labels, suffix);
    }
    static std::string decimal(std::uint64_t value, unsigned digits)
    {
        std::string text = std::to_string(value);
        if (text.size() <= digits) {
            text.insert(0, digits + 1 - text.size(), '0');
        }
        return text.insert(text.size() - digits, 1, '.');
    }
    std::string take() { return std::move(out_); }

private:
    void line(std::string_view value, Labels labels, std::string_view suffix)
    {
        out_ += name_;
        out_ += suffix;
        char separator = '{';
        for (const Label& label : labels) {
            out_ += separator;
            separator = ',';
            out_ += label.name;
            out_ += "=\"";
            appendEscaped(label.value);
            out_ += '"';
        }
        out_ += labels.size() != 0 ? "} " : " ";
        out_ += value;
        out_ += '\n';
    }
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

const char* typeOf(bool gauge)
{
    return gauge ? "gauge" : "counter";
}

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
    {"members", true, "Users in presence channels, once a channel",
     [](const LogStats& s) { return std::uint64_t{s.members}; }},
    {"member_capacity", true, "Of them so many have room",
     [](const LogStats& s) { return std::uint64_t{s.memberCapacity}; }},
    {"worker_slots", true, "Places for workers", [](const LogStats& s) { return std::uint64_t{s.slots}; }},
    {"worker_slots_in_use", true, "Of them taken",
     [](const LogStats& s) { return std::uint64_t{s.slotsInUse}; }},
    {"log_recoveries_total", false, "Repairs after a worker died within the log",
     [](const LogStats& s) { return std::uint64_t{s.recoveries}; }},
};

struct AppMetric {
    const char* name;
    bool gauge;
    const char* help;
    std::uint64_t (*get)(const AppUse&);
};

constexpr AppMetric AppMetrics[] = {
    {"app_channels", true, "Channels of the app in the directory",
     [](const AppUse& use) { return std::uint64_t{use.channels}; }},
    {"app_channel_quota", true, "Most that it may have",
     [](const AppUse& use) { return std::uint64_t{use.channelLimit}; }},
    {"app_members", true, "Users in its presence channels, once a channel",
     [](const AppUse& use) { return std::uint64_t{use.members}; }},
    {"app_member_quota", true, "Most that it may have",
     [](const AppUse& use) { return std::uint64_t{use.memberLimit}; }},
    {"app_refused_total", false, "Its channels and users refused for lack of room",
     [](const AppUse& use) { return use.refused; }},
};

void exposeApps(Exposition& out, const StatusFigures& figures)
{
    for (const AppMetric& metric : AppMetrics) {
        out.family(metric.name, typeOf(metric.gauge), metric.help);
        for (const ZoneFigures& zone : figures.zones) {
            for (const AppUse& use : zone.apps) {
                out.sample(metric.get(use), {{"zone", zone.name}, {"app", use.app}});
            }
        }
    }
}

void exposeZones(Exposition& out, const StatusFigures& figures)
{
    for (const ZoneMetric& metric : ZoneMetrics) {
        out.family(metric.name, typeOf(metric.gauge), metric.help);
        for (const ZoneFigures& zone : figures.zones) {
            out.sample(metric.get(zone.stats), {{"zone", zone.name}});
        }
    }
    out.family("log_oldest_seconds", "gauge", "Age of the oldest event in the log");
    for (const ZoneFigures& zone : figures.zones) {
        std::int64_t age = zone.stats.oldestTimeMs == 0 ? 0 : figures.nowMs - zone.stats.oldestTimeMs;
        out.fraction(static_cast<std::uint64_t>(std::max<std::int64_t>(age, 0)), 3, {{"zone", zone.name}});
    }
    out.family("channel_events_per_second", "gauge",
               "Events of the busiest channels, averaged over some seconds");
    for (const ZoneFigures& zone : figures.zones) {
        for (const BusyChannel& busy : zone.busiest) {
            out.fraction(static_cast<std::uint64_t>(busy.perSecond * 1000), 3,
                         {{"zone", zone.name}, {"app", busy.app}, {"channel", busy.channel}});
        }
    }
}

// Bounds a power of two apart: four times as many would be a burden to a server that keeps them for a year.
void exposeLatency(Exposition& out, const Totals& totals)
{
    auto counts = totals.latency();
    out.family("delivery_latency_seconds", "histogram",
               "Time from the append to the log until the subscriber's socket had the event");
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i + 1 < counts.size(); i++) {
        sum += counts[i];
        if (i % LatencyBuckets::Steps == 0) {
            out.sample(sum, {{"le", Exposition::decimal(LatencyBuckets::upperMicros(i), 6)}}, "_bucket");
        }
    }
    sum += counts.back();
    out.sample(sum, {{"le", "+Inf"}}, "_bucket");
    out.fraction(totals.latencySumUs(), 6, {}, "_sum");
    out.sample(sum, {}, "_count");
}

void exposeWorkers(Exposition& out, const StatusFigures& figures)
{
    out.family("workers", "gauge", "Worker processes, all generations");
    out.sample(figures.workers.size());
    out.family("generation", "gauge", "Times that the configuration has been loaded");
    out.sample(figures.generation);

    auto each = [&](auto&& expose) {
        for (const WorkerFigures& worker : figures.workers) {
            std::string pid = std::to_string(worker.pid);
            std::string generation = std::to_string(worker.generation);
            expose(worker, Exposition::Labels{{"pid", pid}, {"generation", generation}});
        }
    };
    out.family("worker_start_time_seconds", "gauge", "When the worker was started, Unix time");
    each([&](const WorkerFigures& worker, Exposition::Labels labels) {
        out.fraction(static_cast<std::uint64_t>(worker.startedMs), 3, labels);
    });
    out.family("worker_draining", "gauge", "1 if the worker has been told to go");
    each([&](const WorkerFigures& worker, Exposition::Labels labels) {
        out.sample(worker.draining ? 1 : 0, labels);
    });
    out.family("worker_connections", "gauge", "Open connections of the worker");
    each([&](const WorkerFigures& worker, Exposition::Labels labels) {
        out.sample(worker.connections, labels);
    });
    out.family("worker_published_total", "counter", "Events that the worker has taken in");
    each([&](const WorkerFigures& worker, Exposition::Labels labels) {
        out.sample(worker.published, labels);
    });
    out.family("worker_delivered_total", "counter", "Events that the worker has delivered");
    each([&](const WorkerFigures& worker, Exposition::Labels labels) {
        out.sample(worker.delivered, labels);
    });
}

void exposeBrokers(Exposition& out, const StatusFigures& figures)
{
    auto each = [&](auto&& value) {
        for (std::size_t i = 0; i < figures.brokers.size(); i++) {
            out.sample(value(i), {{"broker", figures.brokers[i].name}});
        }
    };
    if (figures.brokers.empty()) {
        return;
    }
    out.family("broker_up", "gauge", "1 if every worker's connection to the broker is up");
    each([&](std::size_t i) { return std::uint64_t{figures.totals.worstState(i) == BrokerState::Up}; });
    out.family("broker_queued", "gauge", "Events that wait for the broker, unconfirmed ones included");
    each([&](std::size_t i) { return figures.totals[word(i, BrokerGauge::QueuedEvents)]; });
    out.family("broker_queued_bytes", "gauge", "Their bytes");
    each([&](std::size_t i) { return figures.totals[word(i, BrokerGauge::QueuedBytes)]; });
    out.family("broker_spool_events", "gauge", "Events in the spool");
    each([&](std::size_t i) { return figures.totals[word(i, BrokerGauge::SpoolEvents)]; });
    out.family("broker_spool_bytes", "gauge", "Their bytes");
    each([&](std::size_t i) { return figures.totals[word(i, BrokerGauge::SpoolBytes)]; });
    out.family("broker_spool_failed_workers", "gauge", "Workers that cannot use their spool now");
    each([&](std::size_t i) { return figures.totals[word(i, BrokerGauge::SpoolFailed)]; });
    for (const BrokerMetric& metric : BrokerMetrics) {
        out.family(std::string("broker_") + metric.name, "counter", metric.help);
        each([&](std::size_t i) { return figures.totals[word(i, metric.counter)]; });
    }
    out.family("broker_last_error_timestamp_seconds", "gauge", "When its last error was seen; 0: none was");
    for (const BrokerFigures& broker : figures.brokers) {
        std::int64_t ms = broker.lastError ? broker.lastError->timeMs : 0;
        out.fraction(static_cast<std::uint64_t>(ms), 3, {{"broker", broker.name}});
    }
}

} // namespace

std::string renderPrometheus(const StatusFigures& figures)
{
    Exposition out;
    out.family("build_info", "gauge", "Always 1; its label is the version of the module");
    out.sample(1, {{"version", REALTIME_VERSION}});
    exposeWorkers(out, figures);
    out.family("connections", "gauge", "Open connections");
    for (const Transport& transport : Transports) {
        out.sample(figures.totals[word(transport.open)], {{"transport", transport.name}});
    }
    out.family("connected_total", "counter", "Connections ever made");
    for (const Transport& transport : Transports) {
        out.sample(figures.totals[word(transport.ever)], {{"transport", transport.name}});
    }
    for (const Metric& metric : Metrics) {
        out.family(metric.name, typeOf(metric.gauge), metric.help);
        out.sample(figures.totals[metric.word]);
    }
    exposeLatency(out, figures.totals);
    exposeZones(out, figures);
    exposeApps(out, figures);
    exposeBrokers(out, figures);
    return out.take();
}

} // namespace realtime
