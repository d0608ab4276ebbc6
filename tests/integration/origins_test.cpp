// realtime_origins: whose pages may connect, CORS answers, preflights.
#include "support/realtime.hpp"
#include "support/sse.hpp"
#include "support/websocket.hpp"

#include "testing.hpp"

using namespace realtime::testing;

namespace {

NginxOptions withOrigins(const std::string& origins)
{
    auto options = endpoints();
    options.http = "realtime_origins " + origins + ";";
    return options;
}

long webSocketStatus(const Nginx& nginx, const std::string& origin)
{
    return get(nginx.url("/sub/room"),
               {"Origin: " + origin, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: c2hvcnQ="}) // a bad key: an origin that may connect gets 400, another 403
        .status;
}

bool connects(const Nginx& nginx, const std::string& origin)
{
    WebSocketOptions options;
    options.port = nginx.port();
    options.path = "/sub/room";
    options.headers = {{"Origin", origin}};
    try {
        return WebSocket(options).open();
    } catch (const std::exception&) {
        return false;
    }
}

HttpResponse preflight(const Nginx& nginx, const std::string& origin)
{
    HttpRequest request;
    request.method = "OPTIONS";
    request.url = nginx.url("/pub/room");
    request.headers = {"Origin: " + origin, "Access-Control-Request-Method: POST",
                       "Access-Control-Request-Headers: content-type,idempotency-key"};
    return send(request);
}

} // namespace

TEST(by_default_only_pages_of_the_same_origin_connect)
{
    const Nginx nginx(endpoints());
    const std::string own = "http://127.0.0.1:" + std::to_string(nginx.port());
    expect(connects(nginx, own), "the same origin connects");
    expect(!connects(nginx, "http://127.0.0.1:1"), "another port is another origin");
    expect(!connects(nginx, "https://evil.example"), "a foreign page does not connect");
    expect(!connects(nginx, "null"), "nor one without an origin");
    expectEqual(post(nginx.url("/pub/room"), "x", {"Origin: " + own}).status, 202L);
    expectEqual(post(nginx.url("/pub/room"), "x", {"Origin: https://evil.example"}).status, 403L);
    expectEqual(post(nginx.url("/pub/room"), "x").status, 202L); // programs send no Origin
    expectEqual(SseClient(nginx.url("/sub/room"), {"Origin: https://evil.example"}).response().status, 403L);
    expectEqual(preflight(nginx, "https://evil.example").status, 403L);
    eventually([&] { return probe(nginx, "room") == 0; }, "no subscriber is left");
}

TEST(listed_origins_connect_and_get_cors_headers)
{
    const Nginx nginx(withOrigins("https://a.example https://*.b.example:8443"));
    for (const char* origin : {"https://a.example", "https://A.example:443", "https://x.b.example:8443"}) {
        const auto answer = post(nginx.url("/pub/room"), "x", {std::string("Origin: ") + origin});
        expectEqual(answer.status, 202L);
        expectEqual(answer.header("access-control-allow-origin"), origin);
        expectContains(answer.header("vary"), "Origin");
        expect(connects(nginx, origin), origin);
        const auto allowed = preflight(nginx, origin);
        expectEqual(allowed.status, 204L);
        expectEqual(allowed.header("access-control-allow-origin"), origin);
        expectContains(allowed.header("access-control-allow-methods"), "POST");
        expect(!allowed.header("access-control-allow-headers").empty(), "headers are allowed");
        SseClient stream(nginx.url("/sub/room"), {std::string("Origin: ") + origin});
        expectEqual(stream.response().header("access-control-allow-origin"), origin);
    }
    for (const char* origin :
         {"http://a.example", "https://a.example.evil", "https://xa.example", "https://b.example:8443",
          "https://x.b.example", "null", "https://evil.example/https://a.example"}) {
        expectEqual(post(nginx.url("/pub/room"), "x", {std::string("Origin: ") + origin}).status, 403L);
        expect(!connects(nginx, origin), origin);
    }
}

TEST(a_star_lets_every_page_in)
{
    const Nginx nginx(withOrigins("*"));
    expect(connects(nginx, "https://anyone.example"), "any origin");
    const auto answer = post(nginx.url("/pub/room"), "x", {"Origin: null"});
    expectEqual(answer.status, 202L);
    expect(answer.header("access-control-allow-origin") == "*" ||
               answer.header("access-control-allow-origin") == "null",
           "and may read the answer");
}

TEST(errors_can_be_read_by_the_page_too)
{
    const Nginx nginx(withOrigins("https://a.example"));
    const auto answer = post(nginx.url("/pub/"), "x", {"Origin: https://a.example"});
    expectEqual(answer.status, 400L);
    expectEqual(answer.header("access-control-allow-origin"), "https://a.example");
}

TEST(the_origin_is_checked_before_the_handshake)
{
    const Nginx nginx(withOrigins("https://a.example"));
    expectEqual(webSocketStatus(nginx, "https://evil.example"), 403L);
    expectEqual(webSocketStatus(nginx, "https://a.example"), 400L);
}

TEST_MAIN()
