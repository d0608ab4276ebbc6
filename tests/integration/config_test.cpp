// Every mistake in the configuration is found by `nginx -t`, with file and line and a sentence that helps; everything
// that is right starts.
#include "support/realtime.hpp"
#include "support/websocket.hpp"

#include <csignal>
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
    {In::Http, "realtime_partial 1k;", "invalid size \"1k\": at least 4096"},
    {In::Http, "realtime_partial much;", "invalid size \"much\""},
    {In::Http, "realtime_partial 1m;\nrealtime_partial 2m;", "duplicate", 2},
    {In::Server, "realtime_partial 1m;", "not allowed here"},
    {In::Server, "realtime_ping_rate often;", "invalid rate \"often\""},
    {In::Server, "realtime_ping_rate 0r/s;", "invalid rate \"0r/s\""},
    {In::Server, "realtime_ping_rate 1r/s;\nrealtime_ping_rate 1r/s;", "duplicate", 2},
    {In::Server, "realtime_ping often;", "invalid value"},
    {In::Server, "realtime_origins example.com;", "invalid origin \"example.com\""},
    {In::Server, "realtime_origins https://a.example/path;", "invalid origin"},
    {In::Server, "realtime_origins *;\nrealtime_origins *;", "duplicate", 2},
    {In::Server, "realtime_subscribe_rate fast;", "invalid value \"fast\", realtime_subscribe_rate"},
    {In::Server, "realtime_subscribe_rate 0r/s;", "invalid value \"0r/s\""},
    {In::Server, "realtime_subscribe_rate 10r/s burst=0;", "invalid number \"0\""},
    {In::Server, "realtime_subscribe_rate 10r/s burst=;", "invalid number \"\""},
    {In::Server, "realtime_subscribe_rate 10r/s 5;", "invalid parameter \"5\""},
    {In::Server, "realtime_subscribe_rate off burst=5;", "invalid value \"burst=5\""},
    {In::Server, "realtime_subscribe_rate 1r/s;\nrealtime_subscribe_rate 1r/s;", "duplicate", 2},
    {In::Server, "realtime_publish_rate 10;", "invalid value \"10\""},
    {In::Server, "realtime_publish_rate 10r/s burst=99999999999;", "invalid number"},
    {In::Http, "realtime_publish_rate off;\nrealtime_publish_rate off;", "duplicate", 2},
    {In::Server, "realtime_history_rate 1k;", "at least 4k"},
    {In::Server, "realtime_history_rate slow;", "invalid value"},
    {In::Server, "realtime_history_rate 8m 1;", "number of arguments"},
    {In::Server, "location /a { realtime_publish a event=pusher:x; }",
     "invalid parameter \"event=pusher:x\""},
    {In::Server, "location /a { realtime_pubsub a event=Realtime:gap; }", "invalid parameter"},
    {In::Http,
     "realtime_app shop { key k; secret s; }\n"
     "server { listen unix:%DIR%/a; location /a {\nrealtime_subscribe room \"#server-to-user-a\" app=shop; } "
     "}",
     "reserves channels that begin with \"#\", such as \"#server-to-user-a\"", 3},
    {In::Server, "realtime_drain 5s;", "not allowed here"},
    {In::Http, "realtime_drain sometime;", "invalid value"},
    // What may stand only once.
    {In::Http, "realtime_drain 1s;\nrealtime_drain 1s;", "\"realtime_drain\" directive is duplicate", 2},
    {In::Http, "realtime_broker b { server amqp://h; confirm 5s;\nconfirm 6s; }",
     "\"confirm\" directive is duplicate", 2},
    {In::Http, "realtime_broker b { server amqp://h; heartbeat 5s;\nheartbeat 6s; }",
     "\"heartbeat\" directive is duplicate", 2},
    {In::Http, "realtime_broker b { server amqp://h; cluster off;\ncluster off; }",
     "\"cluster\" directive is duplicate", 2},
    {In::Http, "realtime_broker b { server amqps://h; tls_ca /etc/hostname;\ntls_ca /etc/hostname; }",
     "\"tls_ca\" directive is duplicate", 2},
    {In::Http, "realtime_broker b { server amqp://h; server amqp://i; server amqp://h:5672/; }",
     "duplicate server"},
    {In::Http, "realtime_broker b { server amqp://h; queue q; queue off; }", "beside no other queue"},
    {In::Http, "realtime_broker b { server amqp://h; queue off; queue q; }", "beside no other queue"},
    {In::Http, "realtime_broker b { server amqp://h; confirm 5s window=1 window=2; }",
     "duplicate parameter \"window=2\""},
    {In::Http, "realtime_broker b { server amqp://h; confirm 5s 6s; }", "invalid parameter \"6s\""},
    {In::Http, "realtime_broker b { server amqp://h; queue q quorum quorum; }",
     "invalid parameter \"quorum\""},
    {In::Http, "realtime_app a { client_events on;\nclient_events on; }",
     "\"client_events\" directive is duplicate", 2},
    {In::Http, "realtime_app a { max_connections 1;\nmax_connections 1; }", "duplicate", 2},
    {In::Http, "realtime_app a { max_channels 1;\nmax_channels 1; }", "duplicate", 2},
    {In::Http, "realtime_app a { origins *;\norigins *; }", "\"origins\" directive is duplicate", 2},
    {In::Http, "realtime_app a { activity_timeout 1m;\nactivity_timeout 1m; }", "duplicate", 2},
    {In::Http, "realtime_app a { authorized_connections 1m;\nauthorized_connections 1m; }", "duplicate", 2},
    {In::Http, "realtime_app a { presence_limits 1;\npresence_limits 1; }", "duplicate", 2},
    {In::Http, "realtime_app a { watchlist on;\nwatchlist on; }", "duplicate", 2},
    {In::Http, "realtime_app a { tls_only on;\ntls_only on; }", "duplicate", 2},
    {In::Http, "realtime_app a { disabled on;\ndisabled on; }", "duplicate", 2},
    {In::Http, "realtime_app a { zone main;\nzone main; }", "\"zone\" directive is duplicate", 2},
    {In::Http, "realtime_app a { broker off;\nbroker off; }", "\"broker\" directive is duplicate", 2},
    {In::Http, "realtime_app a { channels x { zone main;\nzone main; } }", "\"zone\" directive is duplicate",
     2},
    {In::Server, "location /a { realtime_publish room app=default app=default; }",
     "duplicate parameter \"app=default\""},
    {In::Server, "location /a { realtime_publish room ack=log ack=log; }", "duplicate parameter \"ack=log\""},
    // Words of a list: it is told.
    {In::Server, "location /a { realtime_publish room ack=store; }", "ack: log, stored or broker"},
    {In::Server, "location /a { realtime_pubsub room echo=no; }", "echo: on or off"},
    {In::Server, "location /a { realtime_pusher ws; }", "realtime_pusher: websocket or api"},
    {In::Server, "location /a { realtime_status json; }", "watch or publish"},
    {In::Http, "realtime_broker b { server amqp://h; exchange x topc; }",
     "exchange: topic, direct, fanout or headers"},
    {In::Http, "realtime_broker b { server amqp://h; queue q quorm; }",
     "classic, quorum, stream, exchange=, bind= or arg="},
    {In::Http, "realtime_broker b { server amqp://h; cluster yes; }", "cluster: on or off"},
    {In::Http, "realtime_app a { channels x { deliver first; } }", "deliver: log or broker"},
    {In::Http, "realtime_app a { channels x { client_publish yes; } }", "client_publish: on or off"},
    {In::Http, "realtime_app a { client_events yes; }", "client_events: on or off"},
    {In::Http, "realtime_app a { watchlist yes; }", "watchlist: on or off"},
    {In::Http, "realtime_app a { key k; secret s; webhook http://a/ events=all; }",
     "events: channel_existence, presence, client_events, cache_channels or subscription_count"},
    // Names: those that there are.
    {In::Server, "location /a { realtime_publish room app=nowhere; }", "there is default"},
    {In::Http, "realtime_app a { zone nowhere; }", "there is main"},
    // Endpoints.
    {In::Server, "location /a { realtime_publish \"\"; }", "invalid channel name \"\""},
    {In::Server, "location /a { realtime_subscribe news ap=shop; }", "invalid parameter \"ap=shop\""},
    {In::Server, "location /a { realtime_subscribe news App=shop; }", "invalid parameter \"App=shop\""},
    {In::Server, "location /a { realtime_publish ap=shop; }", "invalid parameter \"ap=shop\""},
    {In::Server, "location /a { realtime_publish $nothing_has_set_this; }",
     "unknown \"nothing_has_set_this\" variable"},
    {In::Server, "location /a { realtime_publish a.${nothing}.b; }", "unknown \"nothing\" variable"},
    {In::Server, "location /a { realtime_publish a event=$nothing; }", "unknown \"nothing\" variable"},
    {In::Server, "location ~ ^/(?<chan>a)$ {\nrealtime_publish $chanel;\n}", "unknown \"chanel\" variable",
     2},
    {In::Server, "realtime_ping 60s;\nrealtime_timeout 60s;", "longer than \"realtime_ping\"", 2},
    // Origins.
    {In::Server, "realtime_origins htps://a.example;", "https://a.example"},
    {In::Server, "realtime_origins HTTP1://a.example;", "http://a.example"},
    {In::Server, "realtime_origins wss://a.example;", "https://a.example"},
    {In::Server, "realtime_origins https://a.example/;", "without \"/\" at its end, as in https://a.example"},
    {In::Server, "realtime_origins https://a.example/path;", "without a path, as in https://a.example"},
    {In::Server, "realtime_origins *.example.com;", "as in https://*.example.com"},
    {In::Server, "realtime_origins https://a.example, https://b.example;", "separated by spaces"},
    {In::Server, "realtime_origins https://*;", "* stands for all origins"},
    {In::Server, "realtime_origins https://a*.example;", "* stands for all origins"},
    {In::Server, "realtime_origins https://u:p@a.example;", "without user and password"},
    {In::Server, "realtime_origins same-origin;", "as in https://www.example.com, "},
    {In::Server, "realtime_origins https://a.example:65536;", "at most 65535"},
    {In::Http, "realtime_broker b { server amqp://h; }\nrealtime_app a { broker b rounting_key=x; }",
     "broker: routing_key= or exchange=", 2},
    {In::Http, "realtime_broker b { server amqp://h; }\nrealtime_app a { broker b exchange=; }",
     "invalid exchange", 2},
    {In::Http, "realtime_broker b { server sqlite:/a.db; }\nrealtime_app a { broker b exchange=realtime; }",
     "no exchange \"realtime\"", 2},
    {In::Http, "realtime_app a { client_events off rate=5r/s; }", "belongs to \"client_events on\""},
    {In::Http, "realtime_app a { origins htps://a.example; }", "https://a.example"},
    // Brokers.
    {In::Http, "realtime_broker off { server amqp://h; }", "means none"},
    {In::Http, "realtime_broker b { server amqp://u:p@ss@h; }", "%40"},
    {In::Http, "realtime_broker b { server amqp://u:p/ss@h; }", "%2F"},
    {In::Http, "realtime_broker b { server amqp://h;\ntls_ca /etc/hostname; }", "amqps://", 2},
    {In::Http, "realtime_broker b { server sqlite:/a.db;\ntls_cert /etc/hostname; }", "amqps://", 2},
    {In::Http, "realtime_broker b { server amqps://h;\ntls_ca /etc/hostname; }", "a PEM file is wanted", 2},
    {In::Http, "realtime_broker b { server amqps://h;\ntls_ca /etc; }", "a PEM file is wanted", 2},
    {In::Http, "realtime_broker b {\nserver sqlite:/etc;\n}", "is a directory", 2},
    {In::Http, "realtime_broker b {\nserver sqlite:/dev/null;\n}", "is no regular file", 2},
    {In::Http, "realtime_broker b {\nserver sqlite:/etc/hostname/a.db;\n}", "is no directory", 2},
    {In::Http, "realtime_broker b { server amqp://h;\nspool /nowhere/spool;\n}", "/nowhere: No such file", 2},
    {In::Http, "realtime_broker b { server amqp://h;\nspool /etc/passwd;\n}", "is no directory", 2},
    {In::Http, "realtime_app a { key k; secret_file /etc; }", "is no regular file"},
    {In::Http, "realtime_app a { key k; secret_file /dev/null; }", "is no regular file"},
    // Patterns.
    {In::Http, "realtime_app a { channels \"\" { } }", "it is empty"},
    {In::Http, "realtime_app a { channels ~ { } }", "one word"},
    {In::Http, "realtime_app a { channels ~ ^x { } }", "one word, as in channels ~^orders"},
    {In::Http, "realtime_app a { channels ~* ^x { } }", "one word"},
    {In::Http, "realtime_app a { channels ~*^x { } }", "\"~(?i)^x\""},
    {In::Http, "realtime_app a { channels x y { } }", "takes one pattern"},
    {In::Http, "realtime_app a { channels ~^x{2}$ { history off; } }",
     "in quotes, as in channels \"~^x{2}\""},
    {In::Http, "realtime_app a {\nchannels ~^(a|b){1,3}$ { }\n}", "in quotes", 2},
};

// What may be meant, but mostly is not.
const std::vector<Mistake> Warnings{
    {In::Http, "realtime_app a {\nchannels x { history 1; }\nchannels x { history 2; }\n}",
     "\"channels x\" is never used: it stands in", 3},
    {In::Http, "realtime_app a {\nchannels * { }\nchannels x { }\n}",
     "\"channels x\" is never used: \"channels *\" in", 3},
    {In::Http, "realtime_app a {\nchannels orders.* { }\nchannels news { }\nchannels orders.*.eu { }\n}",
     "\"channels orders.*.eu\" is never used", 4},
    {In::Http, "realtime_app a {\nchannels ~. { }\nchannels ~^x { }\n}", "\"channels ~^x\" is never used", 3},
    {In::Http, "realtime_app a {\nchannels ~^or { }\nchannels orders { }\n}",
     "\"channels orders\" is never used", 3},
    {In::Http, "realtime_app a {\nchannels ^orders { }\n}", "\"~^orders\"", 2},
    {In::Http, "realtime_broker b { server amqp://h; }", "realtime_broker \"b\" is not used"},
    {In::Http, "realtime_broker b {\nserver sqlite:/nowhere/a.db;\n}", "its directory does not exist", 2},
    {In::Http, "realtime_broker b { server sqlite:/tmp/a.db; exchange x; }", "mean nothing"},
    {In::Http, "realtime_app a {\nkey k; secret k;\n}", "the same as its \"key\"", 2},
    {In::Http, "realtime_app a/b { key k; secret s; }", "without /?#%"},
    {In::Server, "realtime_origins * https://a.example;", "have no effect"},
    {In::Server, "location /a { realtime_subscribe news event=e; }", "\"event=e\" has no effect"},
    {In::Server, "location /a { realtime_subscribe news size=3; }", "there is no parameter \"size=\""},
    {In::Server, "location /a { realtime_subscribe news news; }", "channel \"news\" stands twice"},
    {In::Server, "location /a { realtime_publish a; proxy_pass http://127.0.0.1:1; }",
     "\"realtime_publish\" is never reached"},
    {In::Server, "location /a { proxy_pass http://127.0.0.1:1; realtime_publish a; }",
     "\"realtime_publish\" takes the place"},
    {In::Server, "location /a { realtime_publish a ack=stored; }", "answered as \"ack=log\""},
    {In::Server, "location ~ ^/(a)$ { realtime_publish $2; }", "captures up to $1"},
    {In::Server, "location /a { realtime_publish x.$1; }", "no captures"},
    {In::Server, "location /a { client_max_body_size 1k; realtime_publish a; }",
     "\"client_max_body_size\", which is 1k"},
    {In::Server, "location /a { realtime_buffer 32k; realtime_pubsub a; }",
     "\"realtime_buffer\" 32k is below"},
    {In::Server, "location /app/ { realtime_pusher websocket; }", "reaches no app"},
};

// What looks like one of these and is right.
const std::vector<Mistake> Right{
    {In::Http, "realtime_app a { channels x { } channels y { } channels * { } }", ""},
    {In::Http,
     "realtime_app a { channels orders.*.eu { } channels orders.* { } channels ~^o { } channels o* { } }",
     ""},
    {In::Http, "realtime_app a { channels *.a { } channels a.* { } channels ~^x { } channels ~^xy { } }", ""},
    {In::Http, "realtime_app a { channels \"~^x{2}$\" { history off; } }", ""},
    {In::Http, "realtime_app a { channels x{ history 2; } channels y{history 2;} }", ""},
    {In::Http,
     "realtime_broker b { server sqlite:///tmp/realtime-config-test.db; }\nrealtime_app a { broker b; }", ""},
    {In::Http, "realtime_broker b { server amqp://h; cluster on; }", ""},
    {In::Http,
     "realtime_broker b { server amqp://h; queue off; }\nrealtime_app a { channels x { broker b; } }", ""},
    {In::Http, "realtime_app a { origins capacitor://localhost chrome-extension://abc null; }", ""},
    {In::Server, "location /a { realtime_subscribe user=$arg_id ${host}.x $http_x $cookie_y $sent_http_z; }",
     ""},
    {In::Server, "location ~ ^/(?<kind>[a-z]+)/(.+)$ { realtime_publish $kind.$2; }", ""},
    {In::Server, "location /a { if ($arg_x) { return 403; } realtime_publish a; }", ""},
    {In::Server, "location /a { realtime_publish a; if ($arg_x) { proxy_pass http://127.0.0.1:1; } }", ""},
    {In::Server, "location /a { client_max_body_size 0; realtime_publish a; }", ""},
    {In::Server, "location /a { realtime_buffer 4k; realtime_subscribe a; }", ""},
    {In::Server, "location /app { realtime_subscribe a; }", ""},
};

// Each with the words that were wanted and not said, or were said without being wanted.
template <class Check> std::string problemsOf(const std::vector<Mistake>& table, Check&& check)
{
    const NginxOptions base;
    const std::size_t http = firstLine(base, "http");
    const std::size_t server = firstLine(base, "server");
    std::string problems;
    for (const auto& one : table) {
        NginxOptions options;
        (one.where == In::Http ? options.http : options.server) = one.text;
        const auto result = testConfiguration(options);
        const auto line = (one.where == In::Http ? http : server) + static_cast<std::size_t>(one.line) - 1;
        const std::string place = "nginx.conf:" + std::to_string(line) + "\n";
        if (!check(result, one, place)) {
            problems += "\n" + one.text + "\n  status " + std::to_string(result.status) + ", wanted \"" +
                        one.words + "\" and line " + std::to_string(line) + ", got: " + result.output;
        }
    }
    return problems;
}

bool has(const std::string& text, const std::string& part)
{
    return text.find(part) != std::string::npos;
}

} // namespace

TEST(every_mistake_is_found_with_file_line_and_a_sentence)
{
    const auto found = [](const CommandResult& result, const Mistake& mistake, const std::string& place) {
        return result.status == 1 && has(result.output, "[emerg]") && has(result.output, place) &&
               has(result.output, mistake.words);
    };
    expectEqual(problemsOf(Mistakes, found), std::string());
}

TEST(what_may_be_meant_is_warned_of_with_file_and_line)
{
    const auto warned = [](const CommandResult& result, const Mistake& mistake, const std::string& place) {
        const auto line = result.output.find(mistake.words);
        return result.status == 0 && line != std::string::npos &&
               has(result.output.substr(0, line), "[warn]") && has(result.output.substr(line), place);
    };
    expectEqual(problemsOf(Warnings, warned), std::string());
}

TEST(what_is_right_is_not_warned_of)
{
    const auto silent = [](const CommandResult& result, const Mistake&, const std::string&) {
        return result.status == 0 && !has(result.output, "[warn]");
    };
    expectEqual(problemsOf(Right, silent), std::string());
}

TEST(a_location_of_the_pusher_protocol_that_no_client_can_reach_is_warned_of)
{
    const struct {
        const char* location;
        bool warned;
    } cases[] = {
        {"location /app/ { realtime_pusher websocket; }", false},
        {"location /app/k9 { realtime_pusher websocket; }", false},
        {"location = /app/k9f { realtime_pusher websocket; }", false},
        {"location /realtime/app/ { realtime_pusher websocket; }", false},
        {"location / { realtime_pusher websocket; }", false},
        {"location ~ ^/app/ { realtime_pusher websocket; }", false},
        {"location = /app/ { realtime_pusher websocket; }", true},
        {"location = /ws { realtime_pusher websocket; }", true},
        {"location /apps/ { realtime_pusher websocket; }", true},
        {"location /app/other { realtime_pusher websocket; }", true},
        {"location /apps/ { realtime_pusher api; }", false},
        {"location /apps/731/ { realtime_pusher api; }", false},
        {"location /apps/731/events { realtime_pusher api; }", false},
        {"location = /apps/731/events { realtime_pusher api; }", false},
        {"location /api/apps/ { realtime_pusher api; }", false},
        {"location = /apps/ { realtime_pusher api; }", true},
        {"location /app/ { realtime_pusher api; }", true},
        {"location /apps/732/ { realtime_pusher api; }", true},
    };
    for (const auto& one : cases) {
        NginxOptions options;
        options.http = "realtime_app 731 { key k9f; secret s; }";
        options.server = one.location;
        const auto result = testConfiguration(options);
        expectEqual(result.status, 0);
        if (has(result.output, "can be reached by no app") != one.warned) {
            throw std::runtime_error(std::string(one.location) + ": " + result.output);
        }
    }
}

TEST(a_drain_that_nginx_cuts_short_is_warned_of)
{
    NginxOptions options;
    options.main = "worker_shutdown_timeout 10s;";
    options.server = "location /a { realtime_subscribe a; }";
    expectContains(testConfiguration(options).output, "\"realtime_drain\" is 30s in ");
    options.http = "realtime_drain 10s;";
    expectLacks(testConfiguration(options).output, "[warn]");
    options.http = "realtime_drain 11s;";
    expectContains(testConfiguration(options).output, "\"worker_shutdown_timeout\" 10s ends workers");
    // What is seen only at the end reaches the terminal, whatever the error log's level.
    options.whole = "load_module %MODULE%; user root; pid %DIR%/nginx.pid; error_log %DIR%/error.log;\n"
                    "worker_shutdown_timeout 10s; events { }\n"
                    "http { access_log off; realtime_zone main 1m; server { listen 127.0.0.1:%PORT%; "
                    "location / { realtime_status; } } }\n";
    expectContains(testConfiguration(options).output,
                   "nginx: [warn] \"worker_shutdown_timeout\" 10s ends workers");
}

TEST(channels_of_several_zones_are_no_subscription)
{
    NginxOptions options;
    options.http = "realtime_zone other 1m; realtime_app default { channels b { zone other; } }";
    options.server = "location /a { realtime_subscribe a b; }";
    const auto result = testConfiguration(options);
    expectEqual(result.status, 1);
    expectContains(result.output, "\"a\" and \"b\" are in different zones");
}

TEST(include_works_in_our_blocks_and_mistakes_there_are_found)
{
    const TempDir directory;
    const std::string path = directory.path();
    writeFile(path + "/app.conf", "key k;\nsecret s;\ninclude " + path + "/channels-*.conf;\n");
    writeFile(path + "/broker.conf", "server amqp://h;\nqueue q quorum;\n");
    writeFile(path + "/channels-1.conf", "channels a {\ninclude " + path + "/rule.conf;\n}\n");
    writeFile(path + "/channels-2.conf", "channels b { }\n");
    writeFile(path + "/rule.conf", "history 5;\n");
    NginxOptions options;
    options.http = "realtime_broker b { include " + path + "/broker.conf; }\n" +
                   "realtime_app shop { include " + path + "/app.conf; broker b; }\n";
    options.server = "location /a { realtime_publish a app=shop; }";
    const auto right = testConfiguration(options);
    expectEqual(right.status, 0);
    expectLacks(right.output, "[warn]");

    writeFile(path + "/rule.conf", "history 5;\nhistory 6;\n");
    const auto wrong = testConfiguration(options);
    expectEqual(wrong.status, 1);
    expectContains(wrong.output, "\"history\" directive is duplicate in " + path + "/rule.conf:2");
    // It stays where it is: elsewhere nginx's own `include` is meant, and what is included must fit.
    writeFile(path + "/rule.conf", "listen 80;\n");
    expectContains(testConfiguration(options).output,
                   "\"listen\" directive is not allowed here in " + path + "/rule.conf:1");
}

TEST(a_mistake_that_shows_only_at_the_end_is_found_too)
{
    NginxOptions options;
    options.server = "location /a { realtime_ping 60s; realtime_timeout 60s; realtime_subscribe room; }";
    const auto result = testConfiguration(options);
    expectEqual(result.status, 1);
    expectContains(result.output, "\"realtime_timeout\" must be longer than \"realtime_ping\"");
    expectContains(result.output, "nginx.conf:");

    NginxOptions noZone;
    noZone.zone = "";
    noZone.server = "location /a { realtime_publish room; }";
    const auto without = testConfiguration(noZone);
    expectEqual(without.status, 1);
    expectContains(without.output, "realtime_zone");
    expectContains(without.output, "nginx.conf:");
}

TEST(a_message_size_that_the_zone_can_never_take_is_refused_with_what_to_write)
{
    const std::string publishing = "location ~ ^/(?<ch>.*)$ { realtime_publish $ch; }\n";
    const auto check = [](const std::string& http, const std::string& server, int workers = 1) {
        NginxOptions options;
        options.zone = "main 16m";
        options.workers = workers;
        options.http = http;
        options.server = server;
        return testConfiguration(options);
    };
    const NginxOptions base;
    const std::size_t http = firstLine(base, "http");
    const std::size_t server = firstLine(base, "server");
    const auto refused = [&](const CommandResult& result, const std::string& zone, std::size_t endpoint,
                             std::size_t line) {
        expectEqual(result.status, 1);
        expectContains(result.output, "[emerg]");
        expectContains(result.output,
                       "\"realtime_max_message_size\" is more than realtime_zone \"" + zone + "\" takes");
        expectContains(result.output, "nginx.conf:" + std::to_string(endpoint) + ": write at most ");
        expectContains(result.output, "nginx.conf:" + std::to_string(line) + "\n");
    };
    const auto passes = [](const CommandResult& result) { expect(result.status == 0, result.output); };
    const auto limit = [](const std::string& size) { return "realtime_max_message_size " + size + ";\n"; };

    // What is advised passes.
    const CommandResult first = check(limit("4m"), publishing);
    refused(first, "main", server + 1, http);
    const std::string most = "write at most ";
    const std::string size =
        std::to_string(toInt(first.output.substr(first.output.find(most) + most.size())));
    passes(check(limit(size + "k"), publishing));
    refused(check(limit(std::to_string(toInt(size) + 2) + "k"), publishing), "main", server + 1, http);
    const std::string larger = "make the zone ";
    NginxOptions advised;
    advised.zone =
        "main " + std::to_string(toInt(first.output.substr(first.output.find(larger) + larger.size()))) + "m";
    advised.http = limit("4m");
    advised.server = publishing;
    passes(testConfiguration(advised));

    // Wherever it stands, however the endpoint publishes; one that does not may have what it likes.
    refused(check("", limit("4m") + publishing), "main", server + 1, server);
    refused(check("", "location /a {\nrealtime_pubsub room;\n" + limit("4m") + "}"), "main", server + 1,
            server + 2);
    refused(check(limit("4m"), publishing + limit("4m")), "main", server + 1, server + 2);
    passes(check(limit("4m"), publishing + limit("1m")));
    passes(check(limit("4m"), "location /a { realtime_subscribe room; }"));
    passes(check(limit("4m"),
                 "location /a { realtime_pusher websocket; }\nlocation /b { realtime_pusher api; }"));
    passes(check(limit("4m"), "location /a { realtime_status; }"));
    passes(check("", publishing)); // also where the default is more than a small zone takes
    NginxOptions small;
    small.zone = "main 1m";
    small.workers = 16;
    small.server = publishing;
    passes(testConfiguration(small));

    // The zone of the app that the location names, and those of rules that its channel may match.
    const std::string zones =
        "realtime_zone big 64m; realtime_zone tiny 1m; realtime_app large { zone big; } "
        "realtime_app mixed { zone big; channels small.* { zone tiny; } channels * { } } "
        "realtime_app rules { zone tiny; channels large.* { zone big; } }\n";
    const auto with = [&](const std::string& channel) {
        return "location ~ ^/(?<ch>.*)$ { realtime_publish " + channel + "; }\n";
    };
    passes(check(zones + limit("4m"), with("$ch app=large")));
    refused(check(zones + limit("4m"), with("$ch app=mixed")), "tiny", server + 2, http + 1);
    passes(check(zones + limit("4m"), with("other app=mixed")));
    refused(check(zones + limit("4m"), with("small.one app=mixed")), "tiny", server + 2, http + 1);
    refused(check(zones + limit("4m"), with("$ch app=rules")), "tiny", server + 2, http + 1);
    refused(check(zones + limit("4m"), with("one app=rules")), "tiny", server + 2, http + 1);
    passes(check(zones + limit("4m"), with("large.one app=rules")));

    // More than any zone can take.
    const CommandResult huge = check(limit("8000000m"), publishing);
    refused(huge, "main", server + 1, http);
    expectLacks(huge.output, "make the zone");
    // Places of workers take room, too.
    refused(check(limit(size + "k"), publishing, 32), "main", server + 1, http);
}

// It would be the end of all of them: the workers that are there go on.
TEST(a_reload_with_a_message_size_that_the_zone_cannot_take_changes_nothing)
{
    NginxOptions options = endpoints();
    options.expectedErrors = {"is more than realtime_zone"};
    Nginx nginx(options);
    WebSocket socket(nginx.port(), "/sub/room");
    options.http = "realtime_max_message_size 4m;";
    nginx.rewrite(options);
    kill(nginx.master(), SIGHUP);
    eventually([&] { return nginx.countInErrorLog("is more than realtime_zone") == 1; }, "it says so");
    publish(nginx, "room", "still here");
    expectEqual(socket.receiveText(), "still here");
}

TEST(a_secret_never_shows_in_a_message)
{
    NginxOptions options;
    options.http = "realtime_broker b { server amqp://user:hush@host:port/; }\n";
    expectLacks(testConfiguration(options).output, "hush");
}

TEST(good_configurations_pass)
{
    const TempDir directory;
    const std::string ca = directory.path() / "ca.pem";
    expectEqual(run({"openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                     "/CN=ca", "-keyout", directory.path() / "key.pem", "-out", ca})
                    .status,
                0);
    const std::vector<NginxOptions> good = [&ca] {
        std::vector<NginxOptions> list(5);
        list[0].zone = "";        // loaded but unused
        list[1].zone = "main 1m"; // the least
        list[2].http =
            "realtime_zone other 20m;\n"
            "realtime_broker a { server amqp://h1; server amqps://h2:5671/vhost; tls_ca " +
            ca +
            ";\n"
            "  exchange e fanout; queue q quorum bind=#; queue r stream; heartbeat 30s; confirm 5s "
            "window=10; }\n"
            "realtime_app shop { key k; secret s; zone other; broker a;\n"
            "  channels orders.* { history 100 10m; broker a routing_key=orders.$1; client_publish off; }\n"
            "  channels ~^analytics\\.(?<tenant>\\w+)$ { broker a routing_key=analytics.$tenant;\n"
            "    client_publish on rate=50r/s; }\n"
            "  channels quiet.* { history off; broker off; } }\n"
            "realtime_drain 10s; realtime_max_message_size 1m; realtime_buffer 4m; realtime_ping 0;\n"
            "realtime_partial 4k; realtime_ping_rate 30r/m;\n"
            "realtime_origins https://a.example https://*.b.example null;\n"
            "realtime_subscribe_rate 30r/m burst=5; realtime_publish_rate off; realtime_history_rate 0;\n";
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
        list[3].http = "realtime_subscribe_rate 5r/s; realtime_history_rate 4k;";
        list[4].server = "location /a { if ($arg_x) { add_header X-Y z; } realtime_publish room; }";
        return list;
    }();
    for (const auto& options : good) {
        const auto result = testConfiguration(options);
        expect(result.status == 0, result.output + options.http + options.server);
        expectLacks(result.output, "[warn]");
    }
}

TEST(the_examples_are_not_warned_of)
{
    const TempDir directory;
    const std::string path = directory.path();
    expectEqual(run({"openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                     "/CN=localhost", "-keyout", path + "/key.pem", "-out", path + "/cert.pem"})
                    .status,
                0);
    writeFile(path + "/chat.secret", "s2d81e6f04c7b93a5512\n");
    std::filesystem::permissions(path + "/chat.secret", std::filesystem::perms(0600));
    int examples = 0;
    for (const auto& file : std::filesystem::directory_iterator(REALTIME_SOURCE_DIR "/nginx-conf-examples")) {
        if (file.path().extension() != ".conf") {
            continue;
        }
        NginxOptions options;
        options.whole = readFile(file.path());
        replaceAll(options.whole, "load_module modules/ngx_http_realtime_module.so;",
                   "load_module %MODULE%;");
        replaceAll(options.whole, "/var/lib/nginx-realtime/", path + "/");
        replaceAll(options.whole, "/etc/nginx/realtime/", path + "/");
        replaceAll(options.whole, "secret_file chat.secret", "secret_file " + path + "/chat.secret");
        replaceAll(options.whole, "listen 8080;", "listen 127.0.0.1:%PORT%;");
        replaceAll(options.whole, "listen 8443 ssl http2;", "listen 127.0.0.1:%TLS_PORT% ssl http2;");
        const auto result = testConfiguration(options);
        expect(result.status == 0 && !has(result.output, "[warn]"),
               file.path().string() + ": " + result.output);
        examples++;
    }
    expect(examples > 0, "there are examples");
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
