// $realtime_channel and the others, wherever nginx evaluates variables: before our handler, after it, and elsewhere.
#include "support/raw_socket.hpp"
#include "support/realtime.hpp"
#include "support/sse.hpp"
#include "support/websocket.hpp"

#include "testing.hpp"

using namespace realtime::testing;

namespace {

const std::string Log = "log_format rt '$uri|$status|$realtime_app|$realtime_channel|$realtime_event|"
                        "$realtime_message_id|$realtime_subscribers|$realtime_transport';\n";

NginxOptions logging(const std::string& http, const std::string& server)
{
    auto options = endpoints();
    options.http = Log + http;
    options.server += server + "access_log %DIR%/rt.log rt;\n";
    return options;
}

void expectLogged(const Nginx& nginx, const std::string& line, const Location& at = Location::current())
{
    const auto log = [&] { return readFile(nginx.directory() / "rt.log"); };
    eventually([&] { return log().find(line + "\n") != std::string::npos; },
               "no line " + line + " in the log", Patience, at);
}

int webSocketStatus(const Nginx& nginx, const std::string& path,
                    std::vector<std::unique_ptr<RawSocket>>& open)
{
    open.push_back(std::make_unique<RawSocket>(nginx.port()));
    open.back()->send(
        "GET " + path +
        " HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: "
        "13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    return toInt(open.back()->receiveUntil("\r\n\r\n").substr(9));
}

} // namespace

TEST(limits_count_by_channel)
{
    const Nginx nginx(
        logging("limit_conn_zone $realtime_channel zone=conn:1m; limit_conn_status 429;\n"
                "limit_req_zone $realtime_channel zone=req:1m rate=1r/m; limit_req_status 429;\n",
                "location ~ ^/lsub/(?<ch>.+)$ { limit_conn conn 2; realtime_subscribe $ch; }\n"
                "location ~ ^/lpub/(?<ch>.+)$ { limit_req zone=req; realtime_publish $ch; }\n"));
    std::vector<std::unique_ptr<RawSocket>> open;
    for (const char* channel : {"a", "b"}) {
        for (const int status : {101, 101, 429}) {
            expectEqual(webSocketStatus(nginx, std::string("/lsub/") + channel, open), status);
        }
        for (const long status : {202L, 429L}) {
            expectEqual(post(nginx.url(std::string("/lpub/") + channel), "x").status, status);
        }
        expectLogged(nginx, std::string("/lpub/") + channel + "|429|default|" + channel + "|-|-|-|http");
    }
}

TEST(conditions_see_what_a_request_will_come_to)
{
    const Nginx nginx(logging(
        "map $realtime_channel $secret { default 0; secret 1; }\nmap $realtime_app/$realtime_transport "
        "$allowed { default "
        "0; default/websocket 1; }\nrealtime_app shop { }\n",
        "location ~ ^/if/(?<ch>.+)$ { if ($realtime_channel = secret) { return 403; } realtime_publish $ch; "
        "}\n"
        "location ~ ^/map/(?<ch>.+)$ { if ($secret) { return 403; } realtime_publish $ch; }\n"
        "location ~ ^/event/(?<ch>.+)$ { if ($realtime_event = no) { return 403; } realtime_publish $ch "
        "event=$arg_event; }\n"
        "location ~ ^/only/(?<ch>.+)$ { if ($allowed = 0) { return 403; } realtime_pubsub $ch; }\n"
        "location ~ ^/shop/(?<ch>.+)$ { if ($allowed = 0) { return 403; } realtime_pubsub $ch app=shop; }\n"
        "location ~ ^/set/(?<ch>.+)$ { set $seen \"$realtime_app:$realtime_channel:$realtime_transport\"; "
        "add_header X-Seen $seen always; add_header X-Now $realtime_channel/$realtime_message_id always; "
        "realtime_publish $ch; }\n"));
    for (const char* path : {"/if/", "/map/"}) {
        expectEqual(post(nginx.url(std::string(path) + "secret"), "x").status, 403L);
        expectEqual(post(nginx.url(std::string(path) + "open"), "x").status, 202L);
    }
    expectEqual(post(nginx.url("/event/a?event=no"), "x").status, 403L);
    expectEqual(post(nginx.url("/event/a?event=yes"), "x").status, 202L);
    std::vector<std::unique_ptr<RawSocket>> open;
    expectEqual(webSocketStatus(nginx, "/only/a", open), 101);
    expectEqual(webSocketStatus(nginx, "/shop/a", open), 403);
    expectEqual(get(nginx.url("/only/a")).status, 403L);
    expectEqual(post(nginx.url("/only/a"), "x").status, 403L);
    expectLogged(nginx, "/only/a|403|default|a|-|-|-|longpoll");
    expectLogged(nginx, "/only/a|403|default|a|-|-|-|http");
    expectLogged(nginx, "/shop/a|403|shop|a|-|-|-|websocket");

    const auto answer = post(nginx.url("/set/room"), "x");
    expectEqual(answer.header("x-seen"), "default:room:http");
    const std::string id = Json::parse(answer.body).at("id").text();
    expectEqual(answer.header("x-now"), "room/" + id);
    expectLogged(nginx, "/set/room|202|default|room|-|" + id + "|0|http");
}

TEST(an_authorization_is_told_the_channel)
{
    auto options =
        logging("", "location ~ ^/asub/(?<ch>.+)$ { auth_request /auth; realtime_subscribe $ch other; }\n"
                    "location ~ ^/apub/(?<ch>.+)$ { auth_request /auth; realtime_publish $ch; }\n"
                    "location = /auth { internal; proxy_pass http://127.0.0.1:%PORT%/decide; "
                    "proxy_pass_request_body off; proxy_set_header Content-Length ''; "
                    "proxy_set_header X-Channel $realtime_channel; proxy_set_header X-How "
                    "$realtime_transport; }\n"
                    "location = /decide { if ($http_x_channel = good) { return 204; } "
                    "if ($http_x_channel = good,other) { return 204; } return 403; }\n");
    const Nginx nginx(options);
    expectEqual(post(nginx.url("/apub/good"), "x").status, 202L);
    expectEqual(post(nginx.url("/apub/bad"), "x").status, 403L);
    expectEqual(SseClient(nginx.url("/asub/good")).response().status, 200L);
    expectEqual(SseClient(nginx.url("/asub/bad")).response().status, 403L);
    expectLogged(nginx, "/apub/bad|403|default|bad|-|-|-|http");
    expectLogged(nginx, "/asub/bad|403|default|bad,other|-|-|-|sse");
}

TEST(the_log_has_what_a_request_came_to_in_the_end)
{
    auto options = logging(
        "limit_conn_zone $realtime_message_id$realtime_subscribers$realtime_channel zone=all:1m;\n",
        "location ~ ^/lim/(?<ch>.+)$ { limit_conn all 100; realtime_publish $ch event=$arg_event; }\n"
        "location = /first { error_page 403 = /second?since=earliest; deny all; if ($realtime_channel = "
        "never) { "
        "return 500; } realtime_subscribe one app=shop; }\n"
        "location = /second { realtime_subscribe two; }\n"
        "location = /third { error_page 403 = @plain; deny all; if ($realtime_channel = never) { return 500; "
        "} "
        "realtime_subscribe one; }\n"
        "location @plain { return 200 '[$realtime_channel]'; }\n"
        "location = /plain { if ($realtime_channel) { return 500; } return 200 '[$realtime_channel]'; }\n"
        "location = /fourth { if ($realtime_channel) { return 500; } try_files /none @pub; }\n"
        "location @pub { realtime_publish four; }\n");
    options.http += "realtime_app shop { }\n";
    const Nginx nginx(options);
    const std::string id = Json::parse(post(nginx.url("/lim/room?event=e"), "x").body).at("id").text();
    expectLogged(nginx, "/lim/room|202|default|room|e|" + id + "|0|http");
    publish(nginx, "two", "x");
    expectEqual(Json::parse(get(nginx.url("/first")).body).at(std::size_t{0}).at("channel").text(), "two");
    expectLogged(nginx, "/second|200|default|two|-|-|-|longpoll");
    expectEqual(get(nginx.url("/third")).body, "[]");
    expectLogged(nginx, "/third|200|-|-|-|-|-|-");
    expectEqual(get(nginx.url("/plain")).body, "[]");
    expectLogged(nginx, "/plain|200|-|-|-|-|-|-");
    const auto four = post(nginx.url("/fourth"), "x");
    expectEqual(four.status, 202L);
    expectLogged(nginx, "/fourth|202|default|four|-|" + Json::parse(four.body).at("id").text() + "|0|http");
    expectEqual(post(nginx.url("/pub/a%01"), "x").status, 400L);
    {
        const WebSocket socket(nginx.port(), "/ws/room");
        const SseClient stream(nginx.url("/sub/room"));
        expectEqual(probe(nginx, "room"), 2);
    }
    expectLogged(nginx, "/sub/room|200|default|room|-|-|-|sse");
    expectLogged(nginx, "/ws/room|101|default|room||-|-|websocket");
}

TEST_MAIN()
