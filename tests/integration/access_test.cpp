// nginx's own access directives come before the module.
#include "support/realtime.hpp"
#include "support/sse.hpp"
#include "support/websocket.hpp"

#include "testing.hpp"

using namespace realtime::testing;

namespace {

bool connects(const Nginx& nginx, const std::string& path)
{
    try {
        return WebSocket(nginx.port(), path).open();
    } catch (const std::exception&) {
        return false;
    }
}

} // namespace

TEST(allow_and_deny_hold)
{
    auto options = endpoints();
    options.server += "location = /closed { deny all; realtime_pubsub room; }\n"
                      "location = /local { allow 127.0.0.1; deny all; realtime_pubsub room; }\n";
    const Nginx nginx(options);
    expectEqual(post(nginx.url("/closed"), "x").status, 403L);
    expectEqual(SseClient(nginx.url("/closed")).response().status, 403L);
    expect(!connects(nginx, "/closed"), "no WebSocket either");
    expectEqual(post(nginx.url("/local"), "x").status, 202L);
    expect(connects(nginx, "/local"), "from here it works");
}

TEST(auth_basic_asks_for_a_password)
{
    auto options = endpoints();
    options.server += "location = /secret { auth_basic secret; auth_basic_user_file %DIR%/users;\n"
                      "    realtime_pubsub room; }\n";
    const Nginx nginx(options);
    writeFile(nginx.directory() / "users", "ann:{PLAIN}pass\n");
    expectEqual(post(nginx.url("/secret"), "x").status, 401L);
    HttpRequest request;
    request.url = nginx.url("/secret");
    request.method = "POST";
    request.body = "x";
    request.credentials = "ann:pass";
    expectEqual(send(request).status, 202L);
    expect(!connects(nginx, "/secret"), "no WebSocket without the password");
}

TEST(auth_request_decides_and_names_the_channel)
{
    auto options = endpoints();
    options.server += R"(
        location = /auth {
            internal;
            if ($request_uri !~ token=good) { return 401; }
            add_header X-User 42;
            return 204;
        }
        location = /feed {
            auth_request /auth;
            auth_request_set $user $sent_http_x_user;
            realtime_subscribe user.42 news;
        }
        location = /post {
            auth_request /auth;
            realtime_publish news;
        }
)";
    const Nginx nginx(options);
    expect(!connects(nginx, "/feed"), "refused without a token");
    expectEqual(SseClient(nginx.url("/feed?token=bad")).response().status, 401L);
    WebSocket socket(nginx.port(), "/feed?token=good", "realtime.json");
    SseClient stream(nginx.url("/feed?token=good"));
    expectEqual(post(nginx.url("/post"), "x").status, 401L);
    expectEqual(post(nginx.url("/post?token=good"), "for all").status, 202L);
    publish(nginx, "user.42", "for one");
    expectEqual(Json::parse(socket.receiveText()).at("data").text(), "for all");
    expectEqual(Json::parse(socket.receiveText()).at("data").text(), "for one");
    expectEqual(stream.receive().data, "for all");
}

TEST(limit_conn_counts_a_websocket_for_as_long_as_it_lives)
{
    auto options = endpoints();
    options.http = "limit_conn_zone $server_port zone=all:1m;\n";
    options.server +=
        "location = /few { limit_conn all 2; limit_conn_status 429; realtime_subscribe room; }\n";
    const Nginx nginx(options);
    auto first = std::make_unique<WebSocket>(nginx.port(), "/few");
    auto second = std::make_unique<WebSocket>(nginx.port(), "/few");
    expect(!connects(nginx, "/few"), "a third is refused");
    publish(nginx, "room", "hello");
    expectEqual(first->receiveText(), "hello");
    expectEqual(second->receiveText(), "hello");
    expect(!connects(nginx, "/few"), "also later");
    second->close();
    eventually([&] { return connects(nginx, "/few"); }, "a place is free again");
    first.reset();
    second.reset();
    eventually([&] { return probe(nginx, "room") == 0; }, "all are gone");
}

TEST(limit_req_holds_for_publishers)
{
    auto options = endpoints();
    options.http = "limit_req_zone $server_port zone=rate:1m rate=1r/m;\n";
    options.server +=
        "location = /slow { limit_req zone=rate; limit_req_status 429; realtime_publish room; }\n";
    const Nginx nginx(options);
    expectEqual(post(nginx.url("/slow"), "x").status, 202L);
    expectEqual(post(nginx.url("/slow"), "x").status, 429L);
}

TEST(satisfy_any_lets_either_in)
{
    auto options = endpoints();
    options.server += "location = /either { satisfy any; allow 127.0.0.1; deny all;\n"
                      "    auth_basic secret; auth_basic_user_file /nonexistent; realtime_publish room; }\n";
    const Nginx nginx(options);
    expectEqual(post(nginx.url("/either"), "x").status, 202L);
}

TEST_MAIN()
