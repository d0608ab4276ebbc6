// The command-line tool `realtime`, as people use it: against nginx, over TLS, with RabbitMQ.
#include "support/check.hpp"
#include "support/rabbitmq.hpp"
#include "support/realtime.hpp"
#include "support/sqlite.hpp"

#include <csignal>
#include <utility>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

constexpr const char* Tool = REALTIME_TOOL_PATH;

NginxOptions withPusher(int workers = 1)
{
    auto options = endpoints(workers);
    options.http += "realtime_app shop { key k1; secret s1; }\n";
    options.server += "location /app/ { realtime_pusher websocket; }\n"
                      "location /apps/ { realtime_pusher api; }\n";
    return options;
}

const Environment Credentials{{"REALTIME_KEY", "k1"}, {"REALTIME_SECRET", "s1"}};

CommandResult realtimeTool(std::vector<std::string> words, const Environment& environment = {})
{
    words.insert(words.begin(), Tool);
    return run(words, environment);
}

// The tool in the background, its output in a file.
class Running {
public:
    Running(std::vector<std::string> words, const Environment& environment = {})
    {
        words.insert(words.begin(), Tool);
        pid_ = spawn(words, log(), environment);
    }
    ~Running()
    {
        if (pid_ > 0) {
            kill(pid_, SIGKILL);
            waitFor(pid_, Patience);
        }
    }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

    std::string output() const { return readFile(log()); }
    void awaitOutput(std::string_view text) const
    {
        eventually([&] { return output().find(text) != std::string::npos; }, text);
    }
    int end(int signal = 0)
    {
        if (signal != 0) {
            kill(pid_, signal);
        }
        return waitFor(std::exchange(pid_, 0), Patience);
    }

private:
    std::filesystem::path log() const { return directory_.path() / "output"; }
    TempDir directory_;
    pid_t pid_ = 0;
};

void awaitSubscriber(const Nginx& nginx, int count = 1)
{
    eventually(
        [&] {
            const Json status = Json::parse(get(nginx.url("/status?format=json")).body);
            return status.at("connections").at("websocket").number() == count;
        },
        "it is connected");
}

} // namespace

TEST(what_is_published_comes_to_who_subscribes)
{
    const Nginx nginx(endpoints(2));
    Running sub({"sub", nginx.url("/sub/"), "news", "--count", "2"});
    awaitSubscriber(nginx);
    const auto published = realtimeTool({"pub", nginx.url("/pub/"), "news", "hello"});
    expectEqual(published.status, 0);
    expectEqual(realtimeTool({"pub", nginx.url("/pub/news"), "a\tb\x1b[2J", "--event", "tab"}).status, 0);
    expectEqual(sub.end(), 0);
    expectEqual(sub.output(), "news: hello\nnews tab: a\\tb\\x1b[2J\n");

    const auto answer = realtimeTool({"pub", nginx.url("/pub/news"), "x", "--json"}).output;
    expectEqual(answer.find('\n'), answer.size() - 1); // a line, as it is for programs

    const auto tail = realtimeTool({"tail", nginx.url("/sub/{channel}"), "news", "--count", "1", "--json"});
    expectEqual(tail.status, 0);
    const Json message = Json::parse(tail.output);
    expectEqual(message.at("data").text(), "hello");
    expectEqual(message.at("id").text() + '\n', published.output);
}

TEST(lines_of_standard_input_are_messages_in_order)
{
    const Nginx nginx(endpoints());
    const auto done = run({"/bin/sh", "-c",
                           std::string("printf 'one\\ntwo\\n\\nthree' | ") + Tool + " pub --quiet --lines " +
                               nginx.url("/pub/lines")});
    expectEqual(done.output, "");
    expectEqual(done.status, 0);
    expectEqual(realtimeTool({"tail", nginx.url("/sub/lines"), "--count", "3", "--raw"}).output,
                "one\ntwo\nthree\n");
}

TEST(long_work_shows_on_a_terminal_how_far_it_is)
{
    const Nginx nginx(endpoints());
    const auto onTerminal = [](const std::string& command) {
        return run({"script", "--quiet", "--return", "--command", command, "/dev/null"});
    };
    const auto lines =
        onTerminal("seq 3 | " + std::string(Tool) + " pub --quiet --lines " + nginx.url("/pub/a"));
    expectEqual(lines.status, 0);
    expectContains(lines.output, "\rpublished 3\x1b[K");
    expect(lines.output.ends_with("\r\x1b[K"), "nothing of it is left");
    const auto bench = onTerminal(std::string(Tool) + " bench --subscribers 2 --seconds 1 " +
                                  nginx.url("/sub/b") + ' ' + nginx.url("/pub/b"));
    expectEqual(bench.status, 0);
    expectContains(bench.output, "[###");
    // A file is no terminal, and an id no progress.
    expectEqual(
        run({"/bin/sh", "-c", "seq 3 | " + std::string(Tool) + " pub --quiet --lines " + nginx.url("/pub/a")})
            .output,
        "");
}

TEST(the_pusher_protocol_with_private_and_presence_channels)
{
    const Nginx nginx(withPusher());
    Running sub({"sub", nginx.url("/app/k1"), "private-a", "presence-b", "--user", "tom", "--count", "2"},
                Credentials);
    const auto users = [&] { return get(nginx.url("/status?format=json")).body; };
    eventually(
        [&] {
            return users().find("\"subscribed_channels\":2") != std::string::npos ||
                   Json::parse(users()).at("channels").number() == 2;
        },
        "both are subscribed");
    expectEqual(realtimeTool({"pub", nginx.url("/apps/shop"), "private-a", "{\"n\":1}", "--event", "made"},
                             Credentials)
                    .status,
                0);
    expectEqual(realtimeTool({"pub", nginx.url("/apps/shop"), "presence-b", "x"}, Credentials).status, 0);
    expectEqual(sub.end(), 0);
    expectEqual(sub.output(), "private-a made: {\"n\":1}\npresence-b: x\n");

    // Without, with a wrong and with no readable secret.
    expectEqual(realtimeTool({"sub", nginx.url("/app/k1"), "private-a"}).status, 2);
    const auto wrong = realtimeTool({"sub", nginx.url("/app/k1"), "private-a"}, {{"REALTIME_SECRET", "s2"}});
    expectEqual(wrong.status, 1);
    expectContains(wrong.output, "private-a");
    expectEqual(realtimeTool({"pub", nginx.url("/apps/shop"), "a", "b"},
                             {{"REALTIME_KEY", "k1"}, {"REALTIME_SECRET", "s2"}})
                    .status,
                1);
    expectEqual(
        realtimeTool({"sub", nginx.url("/app/k1"), "private-a", "--secret-file", "/nonexistent"}).status, 2);
    // An app that is not there: 4001 is for good.
    const auto unknown = realtimeTool({"sub", nginx.url("/app/k9"), "a"});
    expectEqual(unknown.status, 1);
    expectEqual(unknown.output, "realtime: closed with 4001: Application does not exist\n");
}

TEST(a_killed_worker_costs_no_message)
{
    auto options = withPusher(1);
    options.expectedErrors = {"exited on signal 9"};
    Nginx nginx(options);
    Running location({"sub", nginx.url("/sub/"), "a"});
    Running pusher({"sub", nginx.url("/app/k1"), "a"});
    awaitSubscriber(nginx, 2);
    publish(nginx, "a", "one");
    location.awaitOutput("a: one");
    expectEqual(realtimeTool({"pub", nginx.url("/apps/shop"), "a", "eins"}, Credentials).status, 0);
    pusher.awaitOutput("a: eins");
    nginx.killWorker(nginx.workers().front());
    publish(nginx, "a", "two");
    expectEqual(realtimeTool({"pub", nginx.url("/apps/shop"), "a", "zwei"}, Credentials).status, 0);
    location.awaitOutput("a: two");
    pusher.awaitOutput("a: zwei");
    expectContains(location.output(), "connecting again");
    expectLacks(location.output() + pusher.output(), "missing");
    expectEqual(location.end(SIGINT), 0);
    expectEqual(pusher.end(SIGTERM), 0);
}

TEST(a_connection_that_breaks_before_its_first_message_costs_none)
{
    auto options = withPusher(1);
    options.expectedErrors = {"exited on signal 9"};
    Nginx nginx(options);
    publish(nginx, "a", "before");
    Running location({"sub", nginx.url("/sub/"), "a"});
    Running pusher({"sub", nginx.url("/app/k1"), "a"});
    eventually(
        [&] {
            const Json status = Json::parse(get(nginx.url("/status?format=json")).body);
            return status.at("zones").at("main").at("subscriptions").number() == 2;
        },
        "both are subscribed");
    nginx.killWorker(nginx.workers().front());
    publish(nginx, "a", "one");
    expectEqual(realtimeTool({"pub", nginx.url("/apps/shop"), "a", "eins"}, Credentials).status, 0);
    location.awaitOutput("a: one");
    pusher.awaitOutput("a: eins");
    expectLacks(location.output(), "before");
}

TEST(a_gap_is_told)
{
    auto options = endpoints();
    options.zone = "main 1m";
    const Nginx nginx(options);
    const std::string id = publish(nginx, "a", "one");
    publish(nginx, "a", "lost");
    for (int i = 0; i < 40; ++i) { // more than the log holds
        publish(nginx, "b", std::string(50'000, 'x'));
    }
    publish(nginx, "a", "two");
    const auto late = realtimeTool({"sub", nginx.url("/sub/a"), "--since", id, "--count", "1"});
    expectContains(late.output, "a: messages are missing here");
    expectContains(late.output, "a: two");
    expectContains(realtimeTool({"sub", nginx.url("/sub/a"), "--since", id, "--count", "1", "--json"}).output,
                   "\"event\":\"realtime:gap\"");
}

TEST(exit_statuses_tell_what_went_wrong)
{
    const Nginx nginx(endpoints());
    const auto status = [](std::vector<std::string> words) { return realtimeTool(std::move(words)).status; };
    expectEqual(status({}), 2);
    expectEqual(status({"--help"}), 0);
    expectEqual(status({"--version"}), 0);
    expectEqual(status({"nonsense"}), 2);
    for (const char* command : {"sub", "tail", "pub", "stats", "bench", "consume"}) {
        const auto help = realtimeTool({command, "--help"});
        expectEqual(help.status, 0);
        expectContains(help.output, std::string("usage: realtime ") + command);
        expectEqual(status({command}), 2);
        expectEqual(status({command, "--nonsense"}), 2);
    }
    const std::string nowhere = "http://127.0.0.1:" + std::to_string(freePort());
    expectEqual(status({"sub", nowhere + "/sub/a"}), 3);
    expectEqual(status({"pub", nowhere + "/pub/a", "x"}), 3);
    expectEqual(status({"stats", nowhere + "/status"}), 3);
    expectEqual(status({"consume", "amqp://127.0.0.1:" + std::to_string(freePort()), "q"}), 3);
    expectEqual(status({"sub", nginx.url("/nowhere/a")}), 1);
    expectEqual(status({"pub", nginx.url("/nowhere/a"), "x"}), 1);
    expectEqual(status({"stats", nginx.url("/pub/a")}), 1);
    expectEqual(status({"sub", "ftp://localhost/a"}), 2);
    expectEqual(status({"sub", nginx.url("/sub/")}), 2);
    expectEqual(status({"sub", nginx.url("/sub/a"), "b"}), 2);
    expectEqual(status({"sub", nginx.url("/sub/a"), "--count", "none"}), 2);
    expectEqual(status({"sub", nginx.url("/sub/a"), "--count", "1", "--timeout", "1"}), 4);
}

TEST(a_reader_that_goes_is_no_failure)
{
    const Nginx nginx(endpoints());
    for (int i = 0; i < 5; ++i) {
        publish(nginx, "a", std::to_string(i));
    }
    const auto done = run({"/bin/bash", "-c",
                           std::string("set -o pipefail; ") + Tool + " tail " + nginx.url("/sub/a") +
                               " --count 5 | head -n 1"});
    expectEqual(done.status, 0);
    expectEqual(done.output, "a: 0\n");
}

TEST(tls_is_verified_unless_told_otherwise)
{
    auto options = endpoints();
    options.tls = true;
    const Nginx nginx(options);
    std::string url = nginx.tlsUrl("/pub/a");
    replaceAll(url, "127.0.0.1", "localhost");
    expectEqual(realtimeTool({"pub", url, "x"}).status, 3);
    expectEqual(realtimeTool({"pub", url, "x", "--ca-file", nginx.certificate()}).status, 0);
    replaceAll(url, "/pub/", "/sub/");
    expectEqual(realtimeTool({"tail", url, "--count", "1"}).status, 3);
    expectEqual(realtimeTool({"tail", url, "--count", "1", "--ca-file", nginx.certificate()}).output,
                "a: x\n");
    expectEqual(realtimeTool({"tail", url, "--count", "1", "--insecure"}).output, "a: x\n");
}

TEST(headers_reach_the_access_phase)
{
    auto options = endpoints();
    options.server +=
        "location = /guarded { if ($http_x_token != let-me) { return 403; } realtime_subscribe a; }\n";
    const Nginx nginx(options);
    publish(nginx, "a", "x");
    expectEqual(realtimeTool({"tail", nginx.url("/guarded"), "--count", "1"}).status, 1);
    expectEqual(
        realtimeTool({"tail", nginx.url("/guarded"), "--count", "1", "--header", "X-Token: let-me"}).output,
        "a: x\n");
}

TEST(figures_are_shown)
{
    const Nginx nginx(endpoints());
    publish(nginx, "a", "x");
    eventually(
        [&] {
            const auto stats = realtimeTool({"stats", nginx.url("/status")});
            return stats.status == 0 && stats.output.find("published_http_total") != std::string::npos;
        },
        "a table");
    expect(Json::parse(realtimeTool({"stats", nginx.url("/status"), "--json"}).output).has("zones"), "JSON");
}

TEST(a_bench_counts_what_came)
{
    const Nginx nginx(withPusher(2));
    const auto location = realtimeTool({"bench", nginx.url("/sub/"), nginx.url("/pub/"), "room",
                                        "--subscribers", "20", "--rate", "200", "--seconds", "1", "--json"});
    expectEqual(location.status, 0);
    const Json report = Json::parse(location.output);
    expectEqual(report.at("delivered").number(), report.at("published").number() * 20);
    expectEqual(report.at("published").number(), 200);
    expect(report.at("latency_us").at("p99").number() > 0, "latencies");
    const auto pusher = realtimeTool({"bench", nginx.url("/app/k1"), nginx.url("/apps/shop"), "private-room",
                                      "--subscribers", "20", "--rate", "100", "--seconds", "1"},
                                     Credentials);
    expectEqual(pusher.status, 0);
    expectContains(pusher.output, "delivered   2000 to 20 subscribers");
    expectContains(pusher.output, "lost        0\n");
    // A refusal is no success.
    expectEqual(realtimeTool({"bench", nginx.url("/sub/"), nginx.url("/nowhere/"), "room", "--subscribers",
                              "1", "--seconds", "1"})
                    .status,
                1);
}

TEST(the_manual_has_each_option_of_each_command)
{
    const std::string manual = readFile(REALTIME_SOURCE_DIR "/docs/realtime.1");
    for (const char* command : {"sub", "tail", "pub", "stats", "bench", "consume"}) {
        expectContains(manual, std::string(".B realtime ") + command + '\n');
        for (const std::string& word : split(realtimeTool({command, "--help"}).output, ' ')) {
            if (word.starts_with("--") && word.size() > 3) {
                std::string option = word.substr(0, word.find_first_of(" ,.;:)\n"));
                replaceAll(option, "-", "\\-");
                expectContains(manual, ".B " + option);
            }
        }
    }
}

TEST(a_queue_is_consumed_into_a_table_and_each_event_is_there_once)
{
    auto& server = RabbitMq::share();
    auto options = endpoints();
    options.http = "realtime_broker events { server " + server.url() +
                   "; exchange tool; queue tool.all; }\nrealtime_app default { broker events; }\n";
    options.server += "location = /stored { realtime_publish room event=made ack=broker; }\n";
    const Nginx nginx(options);
    for (int i = 0; i < 3; ++i) {
        expectEqual(post(nginx.url("/stored"), "event " + std::to_string(i)).status, 200L);
    }
    const TempDir directory;
    const auto database = directory.path() / "events.db";
    // Twice the same id, as after a break of the connection.
    const auto again = run({"amqp-publish", "-u", server.url(), "-r", "tool.all", "-b", "foreign"});
    expectEqual(again.status, 0);
    const auto consumed =
        realtimeTool({"consume", server.url(), "tool.all", "--db", database, "--count", "3", "--idle", "10"});
    expectEqual(consumed.output, "");
    expectEqual(consumed.status, 0);
    const auto rows =
        query(database, "SELECT channel, event, data, node IS NOT NULL, published_at LIKE '20%Z' "
                        "FROM events ORDER BY seq");
    expectEqual(rows.size(), 3U);
    expect(rows[0] == Row{"room", "made", "event 0", "1", "1"}, "the columns are filled");
    expectEqual(rows[2][2], "event 2");

    const auto printed =
        realtimeTool({"consume", server.url(), "tool.all", "--count", "1", "--idle", "10", "--raw"});
    expectEqual(printed.output, "foreign\n");
    expectEqual(realtimeTool({"consume", server.url(), "no.such.queue", "--idle", "1"}).status, 1);
}

TEST(the_report_reads_the_same_from_both_stores)
{
    auto& server = RabbitMq::share();
    auto options = endpoints();
    options.http = "realtime_broker queue { server " + server.url() +
                   "; exchange report; queue report.all; }\n"
                   "realtime_broker table { server sqlite:%DIR%/data/events.db; }\n"
                   "realtime_app default { broker queue table; }\n";
    options.server +=
        "location ~ ^/stored/(?<ch>.+)$ { realtime_publish $ch event=$arg_event ack=broker; }\n";
    const Nginx nginx(options);
    for (const char* path : {"/stored/shop", "/stored/shop", "/stored/shop?event=click", "/stored/chat"}) {
        expectEqual(post(nginx.url(path), "12345").status, 200L);
    }
    const TempDir directory;
    const std::string consumed = directory.path() / "consumed.db";
    expectEqual(
        realtimeTool({"consume", server.url(), "report.all", "--db", consumed, "--count", "4"}).status, 0);
    const auto report = [](const std::string& database) {
        const auto done =
            run({"/bin/sh", "-c",
                 "sqlite3 " + database + " <" REALTIME_SOURCE_DIR "/nginx-conf-examples/report.sql"});
        expectEqual(done.status, 0);
        std::string out; // without the times: RabbitMQ's have whole seconds
        for (const std::string& line : split(done.output, '\n')) {
            const auto columns = split(line, '|');
            if (line.empty()) {
                continue;
            }
            expect(columns.size() == 7, line);
            out += columns[1] + '|' + columns[2] + '|' + columns[3] + '|' + columns[5] + '\n';
        }
        return out;
    };
    expectEqual(report(consumed), "shop|message|2|10\nchat|message|1|5\nshop|click|1|5\n");
    expectEqual(report(nginx.directory() / "data/events.db"), report(consumed));
}

TEST_MAIN()
