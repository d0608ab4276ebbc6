// realtime_status: JSON and Prometheus text.
#include "support/realtime.hpp"
#include "support/sse.hpp"
#include "support/websocket.hpp"

#include <algorithm>
#include <iomanip>
#include <regex>
#include <set>
#include <sstream>

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
            std::string name = match[1];
            // A histogram's samples have names of their own.
            for (const std::string suffix : {"_bucket", "_sum", "_count"}) {
                const std::string base = name.substr(0, name.size() - std::min(name.size(), suffix.size()));
                if (name.ends_with(suffix) && types.contains(base) && types[base] == "histogram") {
                    name = base;
                }
            }
            expect(types.contains(name), "a TYPE before the sample: " + line);
            if (types[name] == "counter") {
                expect(name.ends_with("_total"), "a counter's name ends in _total: " + line);
            }
            if (name != current) {
                expect(finished.insert(name).second, "samples of one metric stand together: " + line);
                current = name;
            }
            expect(samples.emplace(match[1].str() + match[2].str(), std::stod(match[3])).second,
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
            const Json events = status.at("brokers").at("events");
            return events.at("confirmed_total").number() == 1 && events.at("state").text() == "up";
        },
        "the event is stored, and both workers are connected");
    expectEqual(status.at("connections").at("websocket").number(), 1);
    expectEqual(status.at("channels").number(), 1);
    expectEqual(status.at("published_http_total").number(), 1);
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

// --- what each delivery took

TEST_WITH_WORKERS(the_latency_of_every_delivery_is_measured)
{
    const Nginx nginx(endpoints(workers));
    std::vector<WebSocket> sockets;
    for (int i = 0; i < 6; ++i) {
        sockets.emplace_back(nginx.port(), "/sub/room");
    }
    for (int i = 0; i < 20; ++i) {
        publish(nginx, "room", "x");
    }
    for (auto& socket : sockets) {
        for (int i = 0; i < 20; ++i) {
            socket.receive();
        }
    }
    const std::string name = "realtime_delivery_latency_seconds";
    std::map<std::string, double> samples;
    eventually(
        [&] {
            samples = prometheus(nginx);
            return total(samples, name + "_count") == 120;
        },
        "all are measured");
    expectEqual(total(samples, "realtime_delivered_total"), 120.0);
    expectEqual(total(samples, "realtime_delivery_waited_total"), 0.0);
    expectEqual(total(samples, name + "_bucket", "+Inf"), 120.0);
    expect(total(samples, name + "_sum") > 0, "no delivery takes no time");
    double before = 0;
    std::size_t bounds = 0;
    for (int i = 4; i <= 23; ++i, ++bounds) {
        std::ostringstream bound;
        bound << std::fixed << std::setprecision(6) << (1 << i) / 1e6;
        const double count = total(samples, name + "_bucket", '"' + bound.str() + '"');
        expect(count >= before, "buckets are cumulative");
        before = count;
    }
    expectEqual(before, 120.0); // none took eight seconds
    expectEqual(std::count_if(samples.begin(), samples.end(),
                              [&](const auto& one) { return one.first.starts_with(name + "_bucket"); }),
                static_cast<std::ptrdiff_t>(bounds + 1));

    const auto latency = Json::parse(get(nginx.url("/status")).body).at("delivery_latency");
    expectEqual(latency.at("count").number(), 120);
    expectEqual(latency.at("bucket_counts").size(), latency.at("bucket_us").size() + 1);
    const std::int64_t p50 = latency.at("p50_us").number();
    expect(p50 > 0 && p50 <= latency.at("p90_us").number() &&
               latency.at("p90_us").number() <= latency.at("p99_us").number(),
           "percentiles are in order");
}

// --- who and what

TEST_WITH_WORKERS(the_busiest_channels_come_first_whatever_their_names)
{
    const Nginx nginx(endpoints(workers));
    const std::string hostile = "<img src=x onerror=alert(1)>\"\\";
    const std::string path = "%3Cimg%20src=x%20onerror=alert(1)%3E%22%5C";
    const WebSocket socket(nginx.port(), "/sub/room");
    Json busiest = Json::parse("[]");
    eventually(
        [&] {
            for (int i = 0; i < 3; ++i) {
                publish(nginx, "room", "x");
            }
            expectEqual(post(nginx.url("/pub/" + path), "x").status, 202L);
            busiest = Json::parse(get(nginx.url("/status")).body).at("busiest_channels");
            return busiest.size() == 2;
        },
        "both are noticed");
    eventually(
        [&] {
            publish(nginx, "room", "x");
            busiest = Json::parse(get(nginx.url("/status")).body).at("busiest_channels");
            return busiest.at(0).at("channel").text() == "room";
        },
        "the busier one leads");
    expectEqual(busiest.at(0).at("zone").text(), "main");
    expectEqual(busiest.at(0).at("app").text(), "default");
    expectEqual(busiest.at(0).at("subscribers").number(), 1);
    expect(busiest.at(0).at("events_total").number() > 3, "it has had events");
    expectEqual(busiest.at(1).at("channel").text(), hostile);
    const auto samples = prometheus(nginx);
    expect(total(samples, "realtime_channel_events_per_second", "channel=\"room\"") > 0, "and a rate");
    expect(total(samples, "realtime_channel_events_per_second", "onerror") > 0, "both of them");
}

TEST(a_subscriber_that_does_not_read_is_named_while_it_waits)
{
    auto options = endpoints(2);
    options.http = "realtime_buffer 8m;";
    options.listen = "sndbuf=8k";
    const Nginx nginx(options);
    auto slow = std::make_unique<WebSocket>(nginx.port(), "/sub/room");
    const std::string large(60'000, 'x');
    Json status = Json::parse("{}");
    for (int i = 0; i < 100; ++i) {
        publish(nginx, "room", large);
    }
    eventually(
        [&] {
            status = Json::parse(get(nginx.url("/status")).body);
            return status.at("slow_subscribers").number() == 1;
        },
        "it is noticed");
    const Json one = status.at("slow_list").at(std::size_t{0});
    expectEqual(one.at("channel").text(), "room");
    expectEqual(one.at("transport").text(), "websocket");
    expect(one.at("waiting_bytes").number() > 100'000, "much waits");
    expect(status.at("delivery_waited_total").number() > 0, "and could not be measured");
    eventually([&] { return total(prometheus(nginx), "realtime_waiting_bytes") > 100'000; }, "it counts");
    slow.reset();
    eventually(
        [&] {
            status = Json::parse(get(nginx.url("/status")).body);
            return status.at("slow_subscribers").number() == 0 && status.at("slow_list").size() == 0;
        },
        "it is forgotten");
}

TEST(workers_have_a_generation_and_an_age)
{
    auto options = endpoints(2);
    options.http = "realtime_drain 60s;";
    options.tls = true;
    Nginx nginx(options);
    auto workersOf = [&] { return Json::parse(get(nginx.url("/status")).body).at("worker_list"); };
    Json workers = workersOf();
    expectEqual(workers.size(), std::size_t{2});
    for (std::size_t i = 0; i < 2; ++i) {
        expectEqual(workers.at(i).at("generation").number(), 1);
        expect(workers.at(i).at("age_ms").number() < 60'000, "young");
    }
    // One that cannot be handed over, and does not answer the good-bye: it keeps its worker for a while.
    WebSocketOptions overTls;
    overTls.port = nginx.tlsPort();
    overTls.path = "/sub/room";
    overTls.certificate = nginx.certificate();
    const WebSocket socket(overTls);
    const auto old = nginx.workers();
    nginx.reload();
    eventually(
        [&] {
            workers = workersOf();
            int fresh = 0;
            int draining = 0;
            for (std::size_t i = 0; i < workers.size(); ++i) {
                fresh += workers.at(i).at("generation").number() == 2 ? 1 : 0;
                draining +=
                    std::regex_search(workers.at(i).dump(), std::regex("\"draining\": ?true")) ? 1 : 0;
            }
            return fresh == 2 && draining == 1;
        },
        "two new workers, and an old one that is going");
    expectEqual(Json::parse(get(nginx.url("/status")).body).at("generation").number(), 2);
    expectEqual(total(prometheus(nginx), "realtime_generation"), 2.0);
    expectEqual(total(prometheus(nginx), "realtime_worker_draining"), 1.0);
}

TEST(the_last_error_of_a_broker_is_told_by_every_worker)
{
    auto options = endpoints(2);
    options.reuseport = true;
    options.http = "realtime_broker events { server amqp://guest:guest@127.0.0.1:1/%2F; }\n"
                   "realtime_app default { broker events; }\n";
    const Nginx nginx(options);
    for (auto& [worker, connected] : clientOnEachWorker(nginx)) {
        HttpClient& client = *connected;
        eventually(
            [&] {
                HttpRequest request;
                request.url = nginx.url("/status");
                const auto answer = client.send(request);
                const Json broker = Json::parse(answer.body).at("brokers").at("events");
                return broker.has("last_error") &&
                       broker.at("last_error").text().find("127.0.0.1:1") != std::string::npos &&
                       broker.at("state").text() == "down";
            },
            "it is told");
    }
    expect(total(prometheus(nginx), "realtime_broker_last_error_timestamp_seconds") > 1e9, "with its time");
}

// --- the dashboard

TEST(browsers_get_the_page_and_programs_json)
{
    const Nginx nginx(endpoints());
    const auto page = get(nginx.url("/status"), {"Accept: text/html,application/xhtml+xml,*/*;q=0.8"});
    expectEqual(page.status, 200L);
    expectEqual(page.header("content-type"), std::string("text/html; charset=utf-8"));
    expectContains(page.header("vary"), "Accept");
    expectContains(page.body, "<!doctype html>");
    for (const std::string accept : {"*/*", "application/json", "text/plain"}) {
        const auto answer = get(nginx.url("/status"), {"Accept: " + accept});
        expectEqual(answer.header("content-type"), std::string("application/json"));
    }
    expectEqual(get(nginx.url("/status?format=html")).body, page.body);
    expectEqual(get(nginx.url("/status?format=json"), {"Accept: text/html"}).header("content-type"),
                std::string("application/json"));
}

TEST(the_page_and_its_files_come_from_memory_with_a_strict_policy)
{
    const Nginx nginx(endpoints());
    const std::string page = get(nginx.url("/status?format=html")).body;
    expectLacks(page, "<style");
    expectLacks(page, " style=");
    expectLacks(page, " onclick=");
    static const std::regex file("(?:src|href)=\"(\\?file=[a-z.]+)\"");
    int files = 0;
    for (auto it = std::sregex_iterator(page.begin(), page.end(), file); it != std::sregex_iterator(); ++it) {
        ++files;
        const std::string path = "/status" + (*it)[1].str();
        const auto answer = get(nginx.url(path));
        expectEqual(answer.status, 200L);
        expect(answer.body.size() > 500, "there is something in " + path);
        expectEqual(answer.header("x-content-type-options"), std::string("nosniff"));
        expectContains(answer.header("content-security-policy"), "default-src 'none'");
        expectContains(answer.header("content-security-policy"), "frame-ancestors 'none'");
        expectLacks(answer.header("content-security-policy"), "unsafe");
        expectEqual(answer.header("cache-control"), std::string("no-cache"));
        const std::string tag = answer.header("etag");
        expect(tag.size() > 5, "it has a tag");
        const auto again = get(nginx.url(path), {"If-None-Match: " + tag});
        expectEqual(again.status, 304L);
        expectEqual(again.body, std::string());
        expectEqual(get(nginx.url(path), {"If-None-Match: \"other\""}).status, 200L);
    }
    expectEqual(files, 4);
    expectEqual(get(nginx.url("/status?file=../nginx.conf")).status, 404L);
    expectEqual(get(nginx.url("/status?file=")).status, 404L);
}

TEST_WITH_WORKERS(the_figures_come_as_an_event_stream)
{
    auto options = endpoints(workers);
    options.http2 = true;
    const Nginx nginx(options);
    for (const bool http2 : {false, true}) {
        HttpRequest request;
        request.url = http2 ? nginx.http2Url("/status?format=events") : nginx.url("/status?format=events");
        request.version = http2 ? HttpVersion::Http2Cleartext : HttpVersion::Http11;
        SseClient stream(request);
        const auto settings = stream.receive();
        expectEqual(settings.event, std::string("settings"));
        expectContains(settings.data, "\"watch\":false,\"publish\":false");
        std::int64_t last = 0;
        for (int i = 0; i < 3; ++i) {
            const Json figures = Json::parse(stream.receive().data);
            expect(figures.at("time_ms").number() > last, "time goes on");
            last = figures.at("time_ms").number();
            expect(figures.at("connections").at("sse").number() >= 1, "it counts itself");
        }
    }
    eventually([&] { return total(prometheus(nginx), "realtime_connections", "sse") == 0; }, "none is left");
}

TEST(the_stream_of_figures_ends_with_its_worker_and_comes_back_on_the_next)
{
    auto options = endpoints();
    options.http = "realtime_drain 1s;";
    Nginx nginx(options);
    SseClient stream(nginx.url("/status?format=events"));
    stream.receive();
    nginx.reload();
    expect(stream.waitForEnd(), "the old worker lets go of it");
    SseClient next(nginx.url("/status?format=events"));
    next.receive();
    expectEqual(Json::parse(next.receive().data).at("generation").number(), 2);
}

// --- a look into a channel, and test events

TEST(nothing_is_watched_or_published_unless_the_configuration_says_so)
{
    const Nginx nginx(endpoints());
    expectEqual(get(nginx.url("/status?watch=room")).status, 403L);
    const auto answer = post(nginx.url("/status?publish=room"), "x");
    expectEqual(answer.status, 405L);
    expectLacks(answer.header("allow"), "POST");
    expectEqual(total(prometheus(nginx), "realtime_published_http_total"), 0.0);
}

namespace {

NginxOptions withTests(int workers, const std::string& permissions)
{
    auto options = endpoints(workers);
    options.http = "realtime_app shop { }\n";
    options.server += "location = /test { realtime_status " + permissions +
                      "; }\n"
                      "location = /shop { realtime_subscribe room app=shop; }\n";
    return options;
}

} // namespace

TEST_WITH_WORKERS(a_watched_channel_shows_what_is_published_there_and_its_history)
{
    const Nginx nginx(withTests(workers, "watch"));
    const std::string first = publish(nginx, "room", "one");
    SseClient stream(nginx.url("/test?watch=room&since=earliest"));
    const auto event = stream.receive();
    expectEqual(event.data, std::string("one"));
    expectEqual(event.id, first);
    publish(nginx, "other", "no");
    publish(nginx, "room", "two", "named");
    const auto second = stream.receive();
    expectEqual(second.event, std::string("named"));
    expectEqual(second.data, std::string("two"));
    SseClient resumed(nginx.url("/test?watch=room"), {"Last-Event-ID: " + first});
    expectEqual(resumed.receive().data, std::string("two"));

    expectEqual(get(nginx.url("/test?watch=")).status, 400L);
    expectEqual(get(nginx.url("/test?watch=room&app=none")).status, 400L);
    SseClient strange(nginx.url("/test?watch=room&since=x")); // an id that is not ours
    expectEqual(strange.receive().event, std::string("realtime:gap"));
    expectEqual(post(nginx.url("/test?publish=room"), "x").status, 405L);
}

TEST(a_test_event_is_published_to_the_app_and_under_the_name_that_it_says)
{
    const Nginx nginx(withTests(2, "publish"));
    SseClient stream(nginx.url("/sub/room"));
    SseClient shop(nginx.url("/shop"));
    const auto answer = post(nginx.url("/test?publish=room&event=try"), "hello");
    expectEqual(answer.status, 202L);
    expectEqual(Json::parse(answer.body).at("subscribers").number(), 1);
    const auto event = stream.receive();
    expectEqual(event.event, std::string("try"));
    expectEqual(event.data, std::string("hello"));
    expectEqual(event.id, Json::parse(answer.body).at("id").text());
    expectEqual(post(nginx.url("/test?publish=room&app=shop"), "for the shop").status, 202L);
    expectEqual(shop.receive().data, std::string("for the shop"));
    stream.expectSilence();

    expectEqual(get(nginx.url("/test?watch=room")).status, 403L);
    expectEqual(post(nginx.url("/test"), "x").status, 400L);
    expectEqual(post(nginx.url("/test?publish="), "x").status, 400L);
    expectEqual(post(nginx.url("/test?publish=a%00b"), "x").status, 400L);
    expectEqual(post(nginx.url("/test?publish=room&app=none"), "x").status, 400L);
    expectEqual(post(nginx.url("/test?publish=room&event=%0a"), "x").status, 400L);
    expectEqual(post(nginx.url("/test?publish=room"), std::string(70'000, 'x')).status, 413L);
}

TEST(no_other_page_watches_or_publishes_also_if_it_may_read_the_figures)
{
    auto options = withTests(1, "watch publish");
    options.http += "realtime_origins *;\n";
    const Nginx nginx(options);
    const std::string here = "Origin: http://127.0.0.1:" + std::to_string(nginx.port());
    expectEqual(get(nginx.url("/test"), {"Origin: https://evil.example"}).status, 200L);
    for (const std::string origin : {"https://evil.example", "null", "http://127.0.0.1:1"}) {
        expectEqual(post(nginx.url("/test?publish=room"), "x", {"Origin: " + origin}).status, 403L);
        expectEqual(get(nginx.url("/test?watch=room"), {"Origin: " + origin}).status, 403L);
    }
    expectEqual(total(prometheus(nginx), "realtime_published_http_total"), 0.0);
    expectEqual(total(prometheus(nginx), "realtime_origin_refused_total"), 6.0);
    expectEqual(post(nginx.url("/test?publish=room"), "x", {here}).status, 202L);
}

TEST(figures_without_their_own_page_keep_to_the_same_origin)
{
    const Nginx nginx(endpoints());
    expectEqual(get(nginx.url("/status"), {"Origin: https://evil.example"}).status, 403L);
    expectEqual(get(nginx.url("/status?format=events"), {"Origin: https://evil.example"}).status, 403L);
}

// --- examples for monitoring

namespace {

// The names of metrics in the queries of a file.
std::set<std::string> metricsIn(const std::string& text)
{
    static const std::regex name("realtime_[a-z_]+(?=[ \\[{)\n])");
    std::set<std::string> names;
    for (auto it = std::sregex_iterator(text.begin(), text.end(), name); it != std::sregex_iterator(); ++it) {
        names.insert(it->str());
    }
    return names;
}

std::string monitoringExample(const std::string& name)
{
    return readFile(std::string(REALTIME_SOURCE_DIR "/monitoring-examples/") + name);
}

// The queries of a panel's targets, one a line.
std::string queriesOf(const Json& dashboard)
{
    std::string queries;
    const Json panels = dashboard.at("panels");
    for (std::size_t i = 0; i < panels.size(); ++i) {
        const Json targets = panels.at(i).at("targets");
        for (std::size_t j = 0; j < targets.size(); ++j) {
            queries += targets.at(j).at("expr").text() + '\n';
        }
    }
    return queries;
}

std::string expressionsOf(const std::string& rules)
{
    std::string expressions;
    for (const auto& line : split(rules, '\n')) {
        if (const auto at = line.find("expr: "); at != std::string::npos) {
            expressions += line.substr(at + 6) + '\n';
        }
    }
    return expressions;
}

} // namespace

TEST(the_examples_for_monitoring_ask_for_metrics_that_there_are)
{
    const Nginx nginx(withStore(1));
    const std::string text = get(nginx.url("/status?format=prometheus")).body;
    lint(text);
    const auto panels = metricsIn(queriesOf(Json::parse(monitoringExample("grafana-dashboard.json"))));
    const auto alerts = metricsIn(expressionsOf(monitoringExample("realtime-alerts.yml")));
    expect(panels.size() > 20 && alerts.size() > 12, "queries are found");
    for (const auto* names : {&panels, &alerts}) {
        for (const auto& name : *names) {
            const std::string histogram = std::regex_replace(name, std::regex("_bucket$"), "");
            expect(text.find("# TYPE " + name + ' ') != std::string::npos ||
                       text.find("# TYPE " + histogram + " histogram") != std::string::npos,
                   "a metric " + name);
        }
    }
}

TEST_MAIN()
