// Every mistake in the configuration is found by `nginx -t`, with file and line and a sentence that helps; everything
// that is right starts.
#include "support/realtime.hpp"
#include "support/websocket.hpp"

#include <iostream>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

// `where` says in which part of the configuration `text` stands; the line of the mistake is then known.
enum class In { Http, Server };

struct Mistake {
    In where;
    std::string text;
    std::string words; // part of what nginx says
    int line = 1;      // of `text`
};

// Lines before NginxOptions::http (with a zone) and ::server in the harness' configuration.
std::size_t firstLine(const NginxOptions& options, const std::string& marker)
{
    auto marked = options;
    marked.http = options.http.empty() ? "" : options.http;
    (marker == "http" ? marked.http : marked.server) = "marker;";
    const auto result = testConfiguration(marked);
    const auto at = result.output.find("nginx.conf:");
    expect(at != std::string::npos, "a line number in: " + result.output);
    return std::stoul(result.output.substr(at + 11));
}

const std::vector<Mistake> Mistakes{
    // realtime_zone
    {In::Http, "realtime_zone main 8m;", "duplicate"},
    {In::Http, "realtime_zone other;", "number of arguments"},
    {In::Http, "realtime_zone other 100k;", "too small"},
    {In::Http, "realtime_zone other much;", "invalid size \"much\""},
    {In::Server, "realtime_zone other 8m;", "not allowed here"},
    // realtime_broker
    {In::Http, "realtime_broker b { }", "needs a \"server\""},
    {In::Http, "realtime_broker b { server http://x; }", "must begin with amqp://"},
    {In::Http, "realtime_broker b { server amqp://u:p@host:99999/; }", "port"},
    {In::Http, "realtime_broker b { server amqp://; }", ""},
    {In::Http, "realtime_broker b { server sqlite:relative.db; }", "absolute path"},
    {In::Http, "realtime_broker b { server nonsense; }", "must begin with amqp://"},
    {In::Http, "realtime_broker b {\nserver sqlite:/a.db;\nserver sqlite:/b.db;\n}", "stands alone", 3},
    {In::Http, "realtime_broker b { server sqlite:/a.db; server amqp://h; }", "stands alone"},
    {In::Http, "realtime_broker b { server amqps://h; }", "tls_ca"},
    {In::Http, "realtime_broker b { server amqps://h; tls_ca /nonexistent; }", "/nonexistent"},
    {In::Http, "realtime_broker b { server amqp://h; exchange x sideways; }", "exchange type \"sideways\""},
    {In::Http, "realtime_broker b { server amqp://h; queue q bigger; }", "invalid parameter \"bigger\""},
    {In::Http, "realtime_broker b { server amqp://h; queue q; queue q; }", "duplicate queue \"q\""},
    {In::Http, "realtime_broker b { server amqp://h; heartbeat never; }", "invalid time \"never\""},
    {In::Http, "realtime_broker b { server amqp://h; exchange x; exchange x; }", "duplicate exchange \"x\""},
    {In::Http, "realtime_broker b { server amqp://h; queue q exchange=y; }", "unknown exchange \"y\""},
    {In::Http, "realtime_broker b { server amqp://h; queue q arg=x-max-length; }", "x-NAME:VALUE"},
    {In::Http, "realtime_broker b { server amqp://h; queue q arg=x-queue-type:quorum; }", "x-NAME:VALUE"},
    {In::Http, "realtime_broker b { server amqp://h; spool; }", "number of arguments"},
    {In::Http, "realtime_broker b { server amqp://h; spool a b; }", "invalid parameter \"b\""},
    {In::Http, "realtime_broker b { server amqp://h; spool a max=1; }", "invalid size \"1\""},
    {In::Http, "realtime_broker b { server amqp://h; spool a;\nspool b; }", "duplicate", 2},
    {In::Http, "realtime_broker b { server sqlite:/a.db; spool a; }", "takes no \"spool\""},
    {In::Http, "realtime_broker b { server amqp://h; }\nrealtime_app a { broker b exchange=z; }",
     "no exchange \"z\"", 2},
    {In::Http, "realtime_broker b { server amqp://h; cluster perhaps; }", "invalid value \"perhaps\""},
    {In::Http, "realtime_broker b { server amqp://h; cluster on name=x; }", "invalid parameter \"name=x\""},
    {In::Http, "realtime_app default { channels a { deliver first; } }", "invalid value \"first\""},
    {In::Http, "realtime_app default { channels a { deliver log; deliver log; } }", "duplicate"},
    {In::Http, "realtime_app default { channels a { deliver broker; } }",
     "needs a broker with a queue of type stream"},
    {In::Http,
     "realtime_broker b { server amqp://h; queue q quorum; }\n"
     "realtime_app default { channels a { broker b; deliver broker; } }",
     "needs a broker with a queue of type stream for \"a\"", 2},
    {In::Http,
     "realtime_broker b { server amqp://h; exchange x; exchange y; queue q stream exchange=y; }\n"
     "realtime_app default { broker b; channels a { deliver broker; } }",
     "needs a broker with a queue of type stream", 2},
    {In::Http, "realtime_broker b { server amqp://h; cluster off node=x; }", "invalid parameter \"node=x\""},
    {In::Http, "realtime_broker b { server amqp://h; cluster on node=a/b; }", "invalid node name \"a/b\""},
    {In::Http, "realtime_broker b { server sqlite:/a.db; cluster on; }", "needs an amqp server"},
    {In::Http, "realtime_broker b { server amqp://h; exchange x direct; cluster on; }", "not direct"},
    {In::Http, "realtime_broker b { server amqp://h; exchange x; exchange x.cluster; cluster on; }",
     "uses exchange \"x.cluster\" itself"},
    {In::Http,
     "realtime_broker b { server amqp://h; cluster on; }\n"
     "realtime_broker c { server amqp://h;\ncluster on; }",
     "in realtime_broker \"b\" already", 3},
    {In::Http, "realtime_broker b { server amqp://h; nonsense on; }", "unknown directive \"nonsense\""},
    {In::Http, "realtime_broker b { server sqlite:/a.db; }\nrealtime_broker b { server sqlite:/b.db; }",
     "duplicate", 2},
    {In::Server, "realtime_broker b { server sqlite:/a.db; }", "not allowed here"},
    // realtime_app
    {In::Http, "realtime_app shop { }\nrealtime_app shop { }", "duplicate", 2},
    {In::Http, "realtime_app shop { key k; }", "\"secret\""},
    {In::Http, "realtime_app shop { key k; secret_file /nonexistent; }", "/nonexistent"},
    {In::Http, "realtime_app shop { key k; key l; }", "\"k\" has no \"secret\""},
    {In::Http, "realtime_app shop { key k; secret s; key k; }", "duplicate \"key\" \"k\""},
    {In::Http, "realtime_app shop { key k; secret s; }\nrealtime_app other { key k; }",
     "duplicate \"key\" \"k\"", 2},
    {In::Http, "realtime_app shop { key a/b; }", "invalid \"key\""},
    {In::Http, "realtime_app shop { key k; secret s; secret t; }", "follows the \"key\""},
    {In::Http, "realtime_app shop { client_events perhaps; }", "invalid value \"perhaps\""},
    {In::Http, "realtime_app shop { client_events on rate=fast; }", "invalid parameter"},
    {In::Http, "realtime_app shop { max_connections 0; }", "invalid number"},
    {In::Http, "realtime_app shop { max_channels 100001; }", "invalid number"},
    {In::Http, "realtime_app shop { channels_quota 0; }", "invalid number"},
    {In::Http, "realtime_app shop { channels_quota 101%; }", "invalid number"},
    {In::Http, "realtime_app shop { channels_quota %; }", "invalid number"},
    {In::Http, "realtime_app shop { presence_quota half; }", "invalid number"},
    {In::Http, "realtime_app shop {\nrepeat_quota -1;\n}", "invalid number", 2},
    {In::Http, "realtime_app shop { repeat_quota 1 2; }", "number of arguments"},
    {In::Http, "realtime_app shop { repeat_quota 10%; repeat_quota 10%; }", "duplicate"},
    {In::Http, "realtime_app shop { origins example.com; }", "invalid origin"},
    {In::Http, "realtime_app shop { activity_timeout 0; }", "invalid time"},
    {In::Http, "realtime_app shop { authorized_connections soon; }", "invalid time"},
    {In::Http, "realtime_app shop { presence_limits 0; }", "invalid number"},
    {In::Http, "realtime_app shop { presence_limits 10 1m; }", "invalid size"},
    {In::Http, "realtime_app shop { webhook ftp://a/; }", "http"},
    {In::Http, "realtime_app shop { key k; secret s; webhook http://a/ events=all; }",
     "unknown webhook events"},
    {In::Http, "realtime_app shop { webhook http://a/; }", "needs a \"key\""},
    {In::Server, "location /a { realtime_pusher both; }", "websocket or api"},
    {In::Http, "realtime_app shop {\nbroker nowhere;\n}", "unknown realtime_broker \"nowhere\"", 2},
    {In::Http, "realtime_app shop {\n\nzone nowhere;\n}", "unknown realtime_zone \"nowhere\"", 3},
    {In::Http, "realtime_app shop { worker_processes 2; }", "not allowed here"},
    // channels
    {In::Http, "realtime_app shop { channels { } }", "number of arguments"},
    {In::Http, "realtime_app shop { channels ~^( { } }", ""},
    {In::Http, "realtime_app shop { channels a { history many; } }", "\"many\""},
    {In::Http, "realtime_app shop { channels a { history 10 soon; } }", "\"soon\""},
    {In::Http, "realtime_app shop { channels a { history off 10m; } }", "history off"},
    {In::Http, "realtime_app shop { channels a { history 1; history 2; } }", "duplicate"},
    {In::Http, "realtime_app shop { channels a { client_publish maybe; } }", "\"maybe\""},
    {In::Http, "realtime_app shop { channels a { client_publish on rate=fast; } }", "rate=fast"},
    {In::Http, "realtime_app shop { channels a { client_publish off rate=5r/s; } }", "rate=5r/s"},
    {In::Http, "realtime_app shop {\nchannels a {\nbroker nowhere;\n}\n}", "unknown realtime_broker", 3},
    {In::Http,
     "realtime_broker b { server sqlite:/a.db; }\n"
     "realtime_app shop { channels a.* { broker b routing_key=$2; } }",
     "2", 2},
    {In::Http,
     "realtime_broker b { server sqlite:/a.db; }\n"
     "realtime_app shop { channels ~(?<x>a) { broker b routing_key=$y; } }",
     "y", 2},
    {In::Http,
     "realtime_broker b { server sqlite:/a.db; }\n"
     "realtime_app shop { channels a { broker routing_key=x; } }",
     "routing_key", 2},
    // endpoints
    {In::Server, "location /a { realtime_publish; }", "number of arguments"},
    {In::Server, "location /a { realtime_publish room app=nowhere; }", "unknown realtime_app \"nowhere\""},
    {In::Server, "location /a { realtime_publish room ack=perhaps; }", "invalid parameter \"ack=perhaps\""},
    {In::Server, "location /a { realtime_publish room other; }", "invalid parameter \"other\""},
    {In::Server, "location /a { realtime_publish app=default; }", "needs a channel"},
    {In::Server, "location /a { realtime_pubsub room echo=perhaps; }", "invalid parameter \"echo=perhaps\""},
    {In::Server, "location /a { realtime_pubsub room rate=fast; }", "invalid parameter \"rate=fast\""},
    {In::Server, "location /a { realtime_publish room rate=5r/s; }", "invalid parameter \"rate=5r/s\""},
    {In::Server, "location /a {\nrealtime_publish a;\nrealtime_subscribe b;\n}", "second realtime endpoint",
     3},
    {In::Server, "realtime_publish room;", "not allowed here"},
    {In::Server, "location /a { realtime_status json; }", "invalid parameter \"json\""},
    {In::Server, "location /a { realtime_status watch watch; }", "invalid parameter \"watch\""},
    {In::Server, "location /a { realtime_status watch publish watch; }", "number of arguments"},
    {In::Server, "realtime_max_message_size 0;", "greater than zero"},
    {In::Server, "realtime_max_message_size huge;", "invalid value"},
    {In::Server, "realtime_buffer 1k;", "at least 4k"},
    {In::Server, "realtime_ping often;", "invalid value"},
    {In::Server, "realtime_origins example.com;", "invalid origin \"example.com\""},
    {In::Server, "realtime_origins https://a.example/path;", "invalid origin"},
    {In::Server, "realtime_origins *;\nrealtime_origins *;", "duplicate", 2},
    {In::Server, "realtime_drain 5s;", "not allowed here"},
    {In::Http, "realtime_drain sometime;", "invalid value"},
};

} // namespace

TEST(every_mistake_is_found_with_file_line_and_a_sentence)
{
    const NginxOptions base;
    const std::size_t http = firstLine(base, "http");
    const std::size_t server = firstLine(base, "server");
    std::string problems;
    for (const auto& mistake : Mistakes) {
        NginxOptions options;
        (mistake.where == In::Http ? options.http : options.server) = mistake.text;
        const auto result = testConfiguration(options);
        const auto line =
            (mistake.where == In::Http ? http : server) + static_cast<std::size_t>(mistake.line) - 1;
        const std::string place = "nginx.conf:" + std::to_string(line) + "\n";
        if (result.status != 1 || result.output.find("[emerg]") == std::string::npos ||
            result.output.find(place) == std::string::npos ||
            result.output.find(mistake.words) == std::string::npos) {
            problems += "\n" + mistake.text + "\n  status " + std::to_string(result.status) + ", wanted \"" +
                        mistake.words + "\" and line " + std::to_string(line) + ", got: " + result.output;
        }
    }
    expectEqual(problems, std::string());
}

TEST(a_mistake_that_shows_only_at_the_end_is_found_too)
{
    NginxOptions options;
    options.server = "location /a { realtime_ping 60s; realtime_timeout 60s; realtime_subscribe room; }";
    const auto result = testConfiguration(options);
    expectEqual(result.status, 1);
    expectContains(result.output, "\"realtime_timeout\" must be longer than \"realtime_ping\"");
    expectContains(result.output, "nginx.conf:");

    NginxOptions unknown; // nginx's own message, without a line
    unknown.server = "location /a { realtime_publish $nothing_has_set_this; }";
    const auto variable = testConfiguration(unknown);
    expectEqual(variable.status, 1);
    expectContains(variable.output, "unknown \"nothing_has_set_this\" variable");

    NginxOptions noZone;
    noZone.zone = "";
    noZone.server = "location /a { realtime_publish room; }";
    const auto without = testConfiguration(noZone);
    expectEqual(without.status, 1);
    expectContains(without.output, "realtime_zone");
    expectContains(without.output, "nginx.conf:");
}

TEST(a_secret_never_shows_in_a_message)
{
    NginxOptions options;
    options.http = "realtime_broker b { server amqp://user:hush@host:port/; }\n";
    expectLacks(testConfiguration(options).output, "hush");
}

TEST(good_configurations_pass)
{
    const std::vector<NginxOptions> good = [] {
        std::vector<NginxOptions> list(6);
        list[0].zone = "";        // loaded but unused
        list[1].zone = "main 1m"; // the least
        list[2].http =
            "realtime_zone other 2m;\n"
            "realtime_broker a { server amqp://h1; server amqps://h2:5671/vhost; tls_ca %DIR%/nginx.conf;\n"
            "  exchange e fanout; queue q quorum bind=#; queue r stream; heartbeat 30s; confirm 5s "
            "window=10; }\n"
            "realtime_app shop { key k; secret s; zone other; broker a;\n"
            "  channels orders.* { history 100 10m; broker a routing_key=orders.$1; client_publish off; }\n"
            "  channels ~^analytics\\.(?<tenant>\\w+)$ { broker a routing_key=analytics.$tenant;\n"
            "    client_publish on rate=50r/s; }\n"
            "  channels quiet.* { history off; broker off; } }\n"
            "realtime_drain 10s; realtime_max_message_size 1m; realtime_buffer 4m; realtime_ping 0;\n"
            "realtime_origins https://a.example https://*.b.example null;\n";
        list[2].server =
            "location ~ ^/pub/(?<ch>[\\w.-]+)$ { realtime_publish $ch app=shop event=$arg_event ack=broker; "
            "}\n"
            "location ~ ^/sub/(?<ch>[\\w.-]+)$ { realtime_subscribe $ch news.$arg_x app=shop; }\n"
            "location ~ ^/ws/(?<ch>[\\w.-]+)$ { realtime_pubsub $ch app=shop echo=off; }\n"
            "location /realtime/ { realtime_status; }\n"
            "location /look/ { realtime_status watch; }\n"
            "location /try/ { realtime_status publish watch; }\n";
        list[3].server = Endpoints;
        list[3].master = false;
        list[4].http = "realtime_broker b { server sqlite:/nonexistent/x.db; }"; // unused brokers do no harm
        list[5].server = "location /a { if ($arg_x) { add_header X-Y z; } realtime_publish room; }";
        return list;
    }();
    for (const auto& options : good) {
        const auto result = testConfiguration(options);
        expect(result.status == 0, result.output + options.http + options.server);
        expectLacks(result.output, "[warn]");
    }
}

TEST(testing_a_configuration_has_no_effects)
{
    // A broker that is away must not keep nginx from starting, and -t must not make files or connect.
    NginxOptions options = endpoints();
    options.http = "realtime_broker b { server amqp://127.0.0.1:1; }\n"
                   "realtime_broker c { server sqlite:/nonexistent/directory/events.db; }\n"
                   "realtime_app default { broker b; }";
    expectEqual(testConfiguration(options).status, 0);
}

TEST(loaded_but_unused_it_does_nothing)
{
    NginxOptions options;
    options.zone = "";
    options.workers = 2;
    options.server = "location / { return 200 fine; }";
    Nginx nginx(options);
    expectEqual(get(nginx.url("/")).body, "fine");
    for (const pid_t worker : nginx.workers()) {
        const auto tasks = std::filesystem::directory_iterator("/proc/" + std::to_string(worker) + "/task");
        expectEqual(std::distance(begin(tasks), end(tasks)), 1); // no thread
        const std::string maps = readFile("/proc/" + std::to_string(worker) + "/maps");
        expectContains(maps, "ngx_http_realtime_module.so");
    }
    nginx.reload();
    expectEqual(get(nginx.url("/")).body, "fine");
}

TEST(without_an_http_block_nginx_starts)
{
    NginxOptions options;
    options.whole =
        "load_module %MODULE%;\npid %DIR%/nginx.pid;\nerror_log %DIR%/error.log info;\nuser root;\n"
        "worker_processes 1;\nevents { }\n";
    Nginx nginx(options);
    nginx.reload();
    nginx.quit();
    expectEqual(nginx.waitForExit(Patience), 0);
}

TEST(without_a_master_it_works_as_a_single_process)
{
    NginxOptions options = endpoints();
    options.master = false;
    options.http = "realtime_broker b { server sqlite:%DIR%/events.db; }\nrealtime_app default { broker b; }";
    options.server += "location = /stored { realtime_publish room ack=stored; }\n";
    Nginx nginx(options);
    WebSocket socket(nginx.port(), "/sub/room");
    publish(nginx, "room", "hello");
    expectEqual(socket.receiveText(), "hello");
    expectEqual(post(nginx.url("/stored"), "kept").status, 200L);
    expectEqual(socket.receiveText(), "kept");
    nginx.quit();
    expectEqual(nginx.waitForExit(Patience), 0);
}

TEST_MAIN()
