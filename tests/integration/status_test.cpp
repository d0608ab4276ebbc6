// realtime_status: JSON and Prometheus text.
#include "support/realtime.hpp"
#include "support/sse.hpp"
#include "support/websocket.hpp"

#include <regex>
#include <set>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

NginxOptions withStore(int workers)
{
    auto options = endpoints(workers);
    options.http = "realtime_broker events { server sqlite:%DIR%/events.db; }\n"
                   "realtime_app default { broker events; }\n";
    return options;
}

// The rules of the text format: each metric has one TYPE before its samples, names and labels are well-formed, every
// line ends in a line feed, no series comes twice. Returns all samples by their name and labels.
std::map<std::string, double> lint(const std::string& text)
{
    static const std::regex type(
        "# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram|summary|untyped)");
    static const std::regex help("# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) .+");
    static const std::regex sample("([a-zA-Z_:][a-zA-Z0-9_:]*)"
                                   "(\\{[a-zA-Z_][a-zA-Z0-9_]*=\"(?:[^\"\\\\\n]|\\\\.)*\""
                                   "(?:,[a-zA-Z_][a-zA-Z0-9_]*=\"(?:[^\"\\\\\n]|\\\\.)*\")*\\})? "
                                   "([0-9]+(?:\\.[0-9]+)?(?:e[+-]?[0-9]+)?|NaN|\\+Inf)");
    std::map<std::string, std::string> types;
    std::map<std::string, double> samples;
    std::set<std::string> finished;
    std::string current;
    expect(text.ends_with('\n'), "the text ends with a line feed");
    for (const auto& line : split(text.substr(0, text.size() - 1), '\n')) {
        std::smatch match;
        if (std::regex_match(line, match, type)) {
            expect(!types.contains(match[1]), "one TYPE a metric: " + line);
            types[match[1]] = match[2];
        } else if (std::regex_match(line, match, sample)) {
            const std::string name = match[1];
            expect(types.contains(name), "a TYPE before the sample: " + line);
            if (types[name] == "counter") {
                expect(name.ends_with("_total"), "a counter's name ends in _total: " + line);
            }
            if (name != current) {
                expect(finished.insert(name).second, "samples of one metric stand together: " + line);
                current = name;
            }
            expect(samples.emplace(name + match[2].str(), std::stod(match[3])).second,
                   "a series once: " + line);
        } else {
            expect(std::regex_match(line, match, help), "a line of the text format: " + line);
        }
    }
    return samples;
}

double total(const std::map<std::string, double>& samples, const std::string& name,
             const std::string& label = "")
{
    double sum = 0;
    bool found = false;
    for (const auto& [series, value] : samples) {
        const bool same = series.substr(0, series.find('{')) == name;
        if (same && series.find(label) != std::string::npos) {
            sum += value;
            found = true;
        }
    }
    expect(found, "no " + name + " with " + label);
    return sum;
}

std::map<std::string, double> prometheus(const Nginx& nginx)
{
    const auto answer = get(nginx.url("/status?format=prometheus"));
    expectEqual(answer.status, 200L);
    expectContains(answer.header("content-type"), "text/plain; version=0.0.4");
    return lint(answer.body);
}

} // namespace

TEST_WITH_WORKERS(prometheus_counts_what_happens_on_all_workers)
{
    const Nginx nginx(withStore(workers));
    std::vector<WebSocket> sockets;
    for (int i = 0; i < 5; ++i) {
        sockets.emplace_back(nginx.port(), "/sub/room");
    }
    SseClient stream(nginx.url("/sub/room"));
    for (int i = 0; i < 10; ++i) {
        publish(nginx, "room", "0123456789");
    }
    for (auto& socket : sockets) {
        for (int i = 0; i < 10; ++i) {
            socket.receive();
        }
    }
    for (int i = 0; i < 10; ++i) {
        stream.receive();
    }
    std::map<std::string, double> samples;
    eventually(
        [&] {
            samples = prometheus(nginx);
            return total(samples, "realtime_broker_confirmed_total", "events") == 10;
        },
        "all are stored");
    expectEqual(total(samples, "realtime_connections", "websocket"), 5.0);
    expectEqual(total(samples, "realtime_connections", "sse"), 1.0);
    expectEqual(total(samples, "realtime_published_http_total"), 10.0);
    expectEqual(total(samples, "realtime_delivered_total"), 60.0);
    expectEqual(total(samples, "realtime_published_bytes_total"), 100.0);
    expect(total(samples, "realtime_delivered_bytes_total") >= 600, "bytes out");
    expectEqual(total(samples, "realtime_subscribed_channels"), 1.0);
    expectEqual(total(samples, "realtime_slow_closed_total"), 0.0);
    expect(total(samples, "realtime_log_used_bytes") > 100, "the log is used");
    expectEqual(total(samples, "realtime_broker_queued"), 0.0);
    expectEqual(total(samples, "realtime_broker_failed_total"), 0.0);
    sockets.clear();
    eventually([&] { return total(prometheus(nginx), "realtime_connections", "websocket") == 0; },
               "all are gone");
}

TEST(json_says_the_same)
{
    const Nginx nginx(withStore(2));
    const WebSocket socket(nginx.port(), "/sub/room");
    publish(nginx, "room", "hello");
    Json status = Json::parse("{}");
    eventually(
        [&] {
            const auto answer = get(nginx.url("/status?format=json"));
            expectEqual(answer.status, 200L);
            expectContains(answer.header("content-type"), "application/json");
            expectContains(answer.header("cache-control"), "no-");
            status = Json::parse(answer.body);
            return status.at("brokers").at("events").at("confirmed_total").number() == 1;
        },
        "the event is stored");
    expectEqual(status.at("connections").at("websocket").number(), 1);
    expectEqual(status.at("channels").number(), 1);
    expectEqual(status.at("published_http_total").number(), 1);
    expectEqual(status.at("brokers").at("events").at("state").text(), "up");
    expectEqual(status.at("brokers").at("events").at("queued").number(), 0);
}

TEST(counters_outlive_their_worker)
{
    auto options = withStore(2);
    options.expectedErrors = {"exited on signal 9"};
    Nginx nginx(options);
    for (int i = 0; i < 10; ++i) {
        publish(nginx, "room", "x");
    }
    nginx.killWorker(nginx.workers().at(0));
    nginx.killWorker(nginx.workers().at(0));
    expectEqual(total(prometheus(nginx), "realtime_published_http_total"), 10.0);
    nginx.reload();
    expectEqual(total(prometheus(nginx), "realtime_published_http_total"), 10.0);
}

TEST(a_slow_subscriber_that_was_closed_is_counted)
{
    auto options = endpoints();
    options.http = "realtime_buffer 4k;";
    options.listen = "sndbuf=8k";
    const Nginx nginx(options);
    const WebSocket slow(nginx.port(), "/sub/room");
    const std::string large(60'000, 'x');
    for (int i = 0; i < 300 && total(prometheus(nginx), "realtime_slow_closed_total") == 0; ++i) {
        publish(nginx, "room", large);
    }
    expectEqual(total(prometheus(nginx), "realtime_slow_closed_total"), 1.0);
}

TEST(only_get_is_answered)
{
    const Nginx nginx(endpoints());
    const auto answer = post(nginx.url("/status"), "x");
    expectEqual(answer.status, 405L);
    expectContains(answer.header("allow"), "GET");
    expectEqual(get(nginx.url("/status?format=xml")).status, 400L);
}

TEST_MAIN()
