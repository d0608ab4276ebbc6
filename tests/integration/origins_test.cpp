// realtime_origins: whose pages may connect, CORS answers, preflights.
#include "support/raw_socket.hpp"
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

TEST(the_scheme_and_the_port_are_part_of_the_origin)
{
    auto options = endpoints();
    options.tls = true;
    options.http2 = true;
    const Nginx nginx(options);
    const std::string plain = ":" + std::to_string(nginx.port());
    const std::string tls = ":" + std::to_string(nginx.tlsPort());
    const std::string h2 = ":" + std::to_string(nginx.http2Port());
    publish(nginx, "a", "x");
    const std::string path = "/sub/a?since=earliest";
    const struct {
        std::string url, origin;
        long status;
    } cases[]{
        {nginx.url(path), "http://127.0.0.1" + plain, 200},
        {nginx.url(path), "HTTP://127.0.0.1" + plain, 200},
        {nginx.url(path), "https://127.0.0.1" + plain, 403},
        {nginx.url(path), "http://127.0.0.1" + tls, 403},
        {nginx.url(path), "http://127.0.0.1", 403},
        {nginx.url(path), "http://localhost" + plain, 403},
        {nginx.tlsUrl(path), "https://localhost" + tls, 200},
        {nginx.tlsUrl(path), "https://LOCALHOST" + tls, 200},
        {nginx.tlsUrl(path), "http://localhost" + tls, 403},
        {nginx.tlsUrl(path), "http://localhost" + plain, 403},
        {nginx.tlsUrl(path), "https://localhost", 403},
        {nginx.http2Url(path), "http://127.0.0.1" + h2, 200},
        {nginx.http2Url(path), "https://127.0.0.1" + h2, 403},
    };
    for (const auto& one : cases) {
        HttpRequest request;
        request.url = one.url;
        request.headers = {"Origin: " + one.origin};
        request.version = one.url.starts_with("https:")             ? HttpVersion::Http2
                          : one.url.starts_with(nginx.http2Url("")) ? HttpVersion::Http2Cleartext
                                                                    : HttpVersion::Http11;
        request.certificate = nginx.certificate();
        const auto answer = send(request);
        if (answer.status != one.status) {
            expectEqual(one.origin + " to " + one.url + ": " + std::to_string(answer.status), "");
        }
    }
    expect(!connects(nginx, "https://127.0.0.1" + plain), "nor for a WebSocket");
}

TEST(the_host_is_the_one_that_the_request_names)
{
    const Nginx nginx(endpoints());
    const auto status = [&](const std::string& target, const std::string& host, const std::string& origin) {
        RawSocket socket(nginx.port());
        socket.send("POST " + target + " HTTP/1.1\r\n" + host + "Origin: " + origin +
                    "\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx");
        return socket.receiveUntilClosed().substr(9, 3);
    };
    expectEqual(status("/pub/a", "Host: site.example\r\n", "http://site.example"), "202");
    expectEqual(status("/pub/a", "Host: site.example:80\r\n", "http://site.example"), "202");
    expectEqual(status("/pub/a", "Host: Site.Example\r\n", "http://site.example:80"), "202");
    expectEqual(status("/pub/a", "Host: site.example:8080\r\n", "http://site.example:8080"), "202");
    expectEqual(status("/pub/a", "Host: [::1]:8080\r\n", "http://[::1]:8080"), "202");
    expectEqual(status("/pub/a", "Host: [::1]\r\n", "http://[::1]"), "202");
    expectEqual(status("/pub/a", "Host: site.example:443\r\n", "https://site.example"), "403");
    expectEqual(status("/pub/a", "Host: site.example\r\n", "http://site.example:8080"), "403");
    expectEqual(status("/pub/a", "Host: [::1]\r\n", "http://[::2]"), "403");
    // In absolute form the request line names the host, and the header does not count.
    expectEqual(status("http://site.example/pub/a", "Host: other.example\r\n", "http://site.example"), "202");
    expectEqual(
        status("http://site.example:8080/pub/a", "Host: site.example\r\n", "http://site.example:8080"),
        "202");
    expectEqual(status("http://site.example/pub/a", "Host: other.example\r\n", "http://other.example"),
                "403");
    // More than one origin is none.
    expectEqual(
        status("/pub/a", "Host: site.example\r\nOrigin: http://site.example\r\n", "http://evil.example"),
        "403");
    expectEqual(status("/pub/a", "Host: site.example\r\n", "http://site.example http://evil.example"), "403");
    expectEqual(status("/pub/a", "Host: site.example\r\n", ""), "202");
}

TEST(where_tls_ends_in_front_the_browsers_word_or_the_directive_counts)
{
    const Nginx nginx(endpoints());
    const std::string host = "Host: site.example";
    const std::string origin = "Origin: https://site.example";
    expectEqual(post(nginx.url("/pub/a"), "x", {host, origin}).status, 403L);
    expectContains(nginx.errorLog(),
                   "a page of \"https://site.example\" asks \"http://site.example\": its origin is not the "
                   "same; if TLS ends in front of nginx, name it in \"realtime_origins\"");
    expectEqual(post(nginx.url("/pub/a"), "x", {host, origin, "X-Forwarded-Proto: https"}).status, 403L);
    for (const char* site : {"cross-site", "same-site", "none", ""}) {
        expectEqual(
            post(nginx.url("/pub/a"), "x", {host, origin, std::string("Sec-Fetch-Site: ") + site}).status,
            403L);
    }
    expectEqual(post(nginx.url("/pub/a"), "x", {host, origin, "Sec-Fetch-Site: same-origin"}).status, 202L);
    expectEqual(
        post(nginx.url("/pub/a"), "x", {host, "Origin: https://evil.example", "Sec-Fetch-Site: same-origin"})
            .status,
        403L);

    const Nginx told(withOrigins("https://site.example"));
    expectEqual(post(told.url("/pub/a"), "x", {host, origin}).status, 202L);
    expectEqual(post(told.url("/pub/a"), "x", {host, "Origin: https://site.example:8443"}).status, 403L);
    expectContains(told.errorLog(), "its origin is not among \"realtime_origins\"");
}

namespace {

std::vector<std::string> valuesOf(const HttpResponse& answer, const std::string& name)
{
    std::vector<std::string> values;
    const auto [first, last] = answer.headers.equal_range(name);
    for (auto header = first; header != last; ++header) {
        values.push_back(header->second);
    }
    return values;
}

void expectOnce(const HttpResponse& answer, const std::string& name, const std::string& value,
                const Location& at = Location::current())
{
    const auto values = valuesOf(answer, name);
    expectEqual(values.size(), std::size_t{1}, at);
    expectEqual(values.front(), value, at);
}

constexpr const char* Page = "Origin: https://a.example";

} // namespace

TEST(every_answer_says_once_who_may_read_it)
{
    auto options = endpoints();
    options.http = "realtime_timeout 300ms; realtime_ping 200ms; limit_req_zone $uri zone=one:1m rate=1r/m; "
                   "client_max_body_size 1m;";
    options.server =
        "location ~ ^/star/(?<ch>.*)$ { realtime_origins *; realtime_pubsub $ch; }\n"
        "location ~ ^/list/(?<ch>.*)$ { realtime_origins https://b.example https://a.example; "
        "realtime_pubsub $ch; }\n"
        "location ~ ^/plus/(?<ch>.*)$ { realtime_origins *; add_header Access-Control-Allow-Origin * "
        "always; add_header Access-Control-Expose-Headers 'X-Own, retry-after' always; "
        "add_header Access-Control-Max-Age 5 always; add_header Access-Control-Allow-Headers X-Own always; "
        "realtime_pubsub $ch; }\n"
        "location ~ ^/more/(?<ch>.*)$ { realtime_origins *; add_header Access-Control-Allow-Origin "
        "$http_origin always; add_header Access-Control-Allow-Credentials true always; "
        "realtime_pubsub $ch; }\n"
        "location ~ ^/less/(?<ch>.*)$ { realtime_origins https://a.example; add_header "
        "Access-Control-Allow-Origin * always; add_header Access-Control-Allow-Credentials true always; "
        "add_header Vary Accept always; realtime_pubsub $ch; }\n"
        "location ~ ^/deny/(?<ch>.*)$ { realtime_origins https://a.example; deny all; realtime_pubsub "
        "$ch; }\n"
        "location ~ ^/slow/(?<ch>.*)$ { realtime_origins https://a.example; limit_req zone=one; "
        "limit_req_status 429; realtime_pubsub $ch; }\n";
    const Nginx nginx(options);
    const auto everyAnswer = [&](const std::string& path) {
        std::vector<HttpResponse> answers;
        const std::string url = nginx.url(path + "room");
        answers.push_back(post(url, "x", {Page}));
        answers.push_back(post(url, std::string(70'000, 'x'), {Page}));    // our 413
        answers.push_back(post(url, std::string(1'100'000, 'x'), {Page})); // nginx's
        answers.push_back(post(url, "x", {Page, "Content-Encoding: gzip"}));
        answers.push_back(post(nginx.url(path), "x", {Page}));
        answers.push_back(get(url + "?since=earliest", {Page}));
        answers.push_back(get(url, {Page})); // 204
        answers.push_back(get(url, {Page, "Upgrade: websocket"}));
        answers.push_back(SseClient(url, {Page}).response());
        for (const char* method : {"HEAD", "DELETE", "OPTIONS", "PATCH"}) {
            HttpRequest request;
            request.method = method;
            request.url = url;
            request.headers = {Page};
            answers.push_back(send(request));
        }
        return answers;
    };
    for (const auto& answer : everyAnswer("/star/")) {
        expectOnce(answer, "access-control-allow-origin", "*");
        expectEqual(answer.headers.count("access-control-allow-credentials"), std::size_t{0});
    }
    for (const auto& answer : everyAnswer("/list/")) {
        expectOnce(answer, "access-control-allow-origin", "https://a.example");
        expectOnce(answer, "access-control-allow-credentials", "true");
        expectOnce(answer, "vary", "Origin");
        expectOnce(answer, "access-control-expose-headers", "Realtime-Last-Id, Retry-After");
    }
    for (const auto& answer : everyAnswer("/plus/")) {
        expectOnce(answer, "access-control-allow-origin", "*");
        expectOnce(answer, "access-control-expose-headers", "X-Own, retry-after, Realtime-Last-Id");
        expectEqual(answer.headers.count("access-control-max-age"), std::size_t{1});
        expectEqual(answer.headers.count("access-control-allow-headers"), std::size_t{1});
    }
    for (const auto& answer :
         everyAnswer("/more/")) { // it lets pages in with their credentials: so it was written
        expectOnce(answer, "access-control-allow-origin", "https://a.example");
        expectOnce(answer, "access-control-allow-credentials", "true");
    }
    for (const auto& answer : everyAnswer("/less/")) {
        expectOnce(answer, "access-control-allow-origin", "https://a.example");
        expectOnce(answer, "access-control-allow-credentials", "true");
        expectOnce(answer, "vary", "Accept, Origin");
    }
    for (const long status : {202L, 429L}) {
        const auto answer = post(nginx.url("/slow/room"), "x", {Page});
        expectEqual(answer.status, status);
        expectOnce(answer, "access-control-allow-origin", "https://a.example");
    }
    const auto denied = post(nginx.url("/deny/room"), "x", {Page});
    expectEqual(denied.status, 403L);
    expectOnce(denied, "access-control-allow-origin", "https://a.example"); // the page sees that it is 403
    // To another page, or to none, nothing is said.
    expectEqual(post(nginx.url("/list/room"), "x", {"Origin: https://evil.example"})
                    .headers.count("access-control-allow-origin"),
                std::size_t{0});
    expectEqual(post(nginx.url("/list/room"), "x").headers.count("access-control-allow-origin"),
                std::size_t{0});
}

TEST(what_an_allowed_page_asks_for_in_a_preflight_is_allowed)
{
    const Nginx nginx(withOrigins("https://a.example"));
    const auto ask = [&](const std::string& path, const std::vector<std::string>& headers) {
        HttpRequest request;
        request.method = "OPTIONS";
        request.url = nginx.url(path);
        request.headers = headers;
        request.headers.push_back("Access-Control-Request-Method: POST");
        return send(request);
    };
    const auto answer =
        ask("/ws/a", {Page, "Access-Control-Request-Headers: x-csrf-token,CACHE-CONTROL",
                      "Access-Control-Request-Headers: last-event-id, bad name, x-eventsource-event"});
    expectEqual(answer.status, 204L);
    expectOnce(answer, "access-control-allow-methods", "GET, HEAD, POST, PUT, OPTIONS");
    expectOnce(answer, "access-control-allow-headers",
               "authorization, content-type, idempotency-key, last-event-id, x-requested-with, x-csrf-token, "
               "cache-control, x-eventsource-event");
    expectOnce(answer, "access-control-max-age", "86400");
    expectOnce(ask("/sub/a", {Page}), "access-control-allow-methods", "GET, HEAD, OPTIONS");
    expectOnce(ask("/pub/a", {Page}), "access-control-allow-methods", "POST, PUT, OPTIONS");
    const auto refused =
        ask("/pub/a", {"Origin: https://evil.example", "Access-Control-Request-Headers: x-csrf-token"});
    expectEqual(refused.status, 403L);
    expectEqual(refused.headers.count("access-control-allow-headers"), std::size_t{0});
}

TEST(a_preflight_has_no_credentials_and_needs_none)
{
    auto options = endpoints();
    options.http = "limit_req_zone $uri zone=one:1m rate=1r/m; limit_req_status 429;";
    options.server =
        "location ~ ^/auth/(?<ch>.*)$ { realtime_origins https://a.example; auth_basic realm; "
        "auth_basic_user_file %DIR%/none; realtime_pubsub $ch; }\n"
        "location ~ ^/any/(?<ch>.*)$ { satisfy any; deny all; realtime_origins https://a.example; "
        "auth_basic realm; auth_basic_user_file %DIR%/none; realtime_pubsub $ch; }\n"
        "location ~ ^/req/(?<ch>.*)$ { realtime_origins https://a.example; auth_request /no; "
        "realtime_pubsub $ch; }\n"
        "location = /no { internal; return 401; }\n"
        "location ~ ^/inner/(?<ch>.*)$ { internal; realtime_origins https://a.example; "
        "realtime_pubsub $ch; }\n"
        "location ~ ^/slow/(?<ch>.*)$ { realtime_origins https://a.example; limit_req zone=one; "
        "realtime_pubsub $ch; }\n";
    const Nginx nginx(options);
    const auto status = [&](const std::string& path, const std::vector<std::string>& headers) {
        HttpRequest request;
        request.method = "OPTIONS";
        request.url = nginx.url(path + "room");
        request.headers = headers;
        return send(request).status;
    };
    const std::string method = "Access-Control-Request-Method: POST";
    for (const char* path : {"/auth/", "/any/", "/req/"}) {
        expectEqual(status(path, {Page, method}), 204L);
        // Everything else does.
        expectEqual(status(path, {Page}), 401L);
        expectEqual(status(path, {method}), 401L);
        expectEqual(status(path, {"Origin: https://evil.example", method}), 401L);
        const auto answer = post(nginx.url(path + std::string("room")), "x", {Page, method});
        expectEqual(answer.status, 401L);
        expectOnce(answer, "access-control-allow-origin", "https://a.example");
    }
    expectEqual(status("/inner/", {Page, method}), 404L);
    expectEqual(status("/slow/", {Page, method}), 204L);
    expectEqual(status("/slow/", {Page, method}), 429L);
}

TEST(added_headers_are_on_all_successes)
{
    auto options = endpoints();
    options.http2 = true;
    options.http = "realtime_timeout 300ms; realtime_ping 200ms; expires 1h; add_header X-Own yes; "
                   "add_header X-Always yes always; add_header X-Channel $realtime_channel;";
    options.server += "location = /plain { return 202; }\n";
    const Nginx nginx(options);
    const RawWebSocket socket(nginx.port(), "/ws/room");
    expectContains(socket.responseHead(), "101 Switching Protocols\r\n");
    expectContains(socket.responseHead(), "X-Own: yes\r\n");
    expectContains(socket.responseHead(), "X-Always: yes\r\n");
    const auto published = post(nginx.url("/pub/room"), "x");
    HttpRequest request;
    request.url = nginx.http2Url("/pub/room");
    request.method = "POST";
    request.body = "x";
    request.version = HttpVersion::Http2Cleartext;
    const auto over2 = send(request);
    for (const auto& answer : {published, over2}) {
        expectEqual(answer.status, 202L);
        expectOnce(answer, "x-own", "yes");
        expectOnce(answer, "x-always", "yes");
        expectOnce(answer, "x-channel", "room");
    }
    for (const auto& answer : {get(nginx.url("/sub/room?since=earliest")), get(nginx.url("/sub/room")),
                               SseClient(nginx.url("/sub/room")).response()}) {
        expectOnce(answer, "x-own", "yes");
        expectOnce(answer, "x-always", "yes");
        expectOnce(answer, "cache-control", "no-store"); // whatever `expires` says
        expectEqual(answer.headers.count("expires"), std::size_t{0});
    }
    const auto refused = post(nginx.url("/pub/"), "x");
    expectEqual(refused.headers.count("x-own"), std::size_t{0});
    expectOnce(refused, "x-always", "yes");
    // What is not ours is as nginx has it.
    expectEqual(get(nginx.url("/plain")).status, 202L);
    expectEqual(get(nginx.url("/plain")).headers.count("x-own"), std::size_t{0});
    eventually([&] { return nginx.accessLog().find("\" 202 ") != std::string::npos; },
               "and the log has the status");
}

TEST_MAIN()
