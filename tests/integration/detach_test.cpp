// From a request to a connection of our own: what may still be at work on the request, what may keep its head from getting
// out, and the ways in which a request comes to us.
#include "support/listener.hpp"
#include "support/proxy.hpp"
#include "support/pusher.hpp"
#include "support/realtime.hpp"
#include "support/shop.hpp"
#include "support/sse.hpp"
#include "support/websocket.hpp"

#include "base/own_fd.hpp"

#include <csignal>
#include <memory>
#include <optional>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

// The server that a mirror goes to. It answers when the test wants it to.
class Upstream {
public:
    std::uint16_t port() const { return socket_.port(); }
    // The next request to it has come.
    void accept()
    {
        peer_.emplace(socket_.accept());
        char bytes[4096];
        expect(recv(peer_->get(), bytes, sizeof(bytes), 0) > 0, "the mirror's request comes");
    }
    void answer()
    {
        const std::string_view text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        expect(::send(peer_->get(), text.data(), text.size(), MSG_NOSIGNAL) > 0, "the mirror is answered");
        peer_.reset();
    }
    void hangUp() { peer_.reset(); }
    // nginx has given it up.
    void waitForEnd()
    {
        pollfd waiting{peer_->get(), POLLIN, 0};
        expect(poll(&waiting, 1, static_cast<int>(Patience.count())) == 1,
               "nginx closes the mirror's connection");
        char byte = 0;
        expect(recv(peer_->get(), &byte, 1, 0) <= 0, "nginx has closed it");
    }

private:
    ListeningSocket socket_;
    std::optional<realtime::OwnFd> peer_;
};

// /mirrored/CHANNEL for all, and /app/ for Pusher's clients, with a mirror to `upstream`.
NginxOptions mirrored(const Upstream& upstream)
{
    auto options = shop();
    options.server =
        Endpoints + ShopLocations +
        "location = /mirror { internal; proxy_pass http://127.0.0.1:" + std::to_string(upstream.port()) +
        "; }\n"
        "location ~ ^/mirrored/(?<ch>.*)$ { mirror /mirror; realtime_pubsub $ch; }\n"
        "location /app/ { mirror /mirror; realtime_pusher websocket; }\n";
    return options;
}

// The request is given back to nginx, which then writes its line.
void waitForLog(const Nginx& nginx, const std::string& line)
{
    eventually([&] { return nginx.accessLog().find(line) != std::string::npos; },
               "a line of the access log: " + line);
}

void waitUntilEmpty(const Nginx& nginx)
{
    eventually([&] { return probe(nginx, "room") == 0; }, "no subscriber is left");
}

const std::string StreamRequest = " HTTP/1.1\r\nHost: here\r\nAccept: text/event-stream\r\n\r\n";
const std::string Upgrade =
    " HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

} // namespace

// --- what is still at work on the request -----------------------------------------------------------------------

TEST(a_websocket_works_while_its_mirror_is_not_answered_yet)
{
    Upstream upstream;
    Nginx nginx(mirrored(upstream));
    WebSocket socket(nginx.port(), "/mirrored/room");
    upstream.accept();
    publish(nginx, "room", "meanwhile");
    expectEqual(socket.receiveText(), "meanwhile");
    WebSocket other(nginx.port(), "/ws/room");
    socket.send("from the client");
    expectEqual(other.receiveText(), "from the client");
    expectEqual(socket.receiveText(), "from the client");
    expectLacks(nginx.accessLog(), "GET /mirrored/room");
    upstream.answer();
    waitForLog(nginx, "GET /mirrored/room");
    publish(nginx, "room", "afterwards");
    expectEqual(socket.receiveText(), "afterwards");
    reloadAndWait(nginx); // it moves as any other
    publish(nginx, "room", "elsewhere");
    expectEqual(socket.receiveText(), "elsewhere");
}

// Its events are the request's as long as that is in use, also where it lingers.
TEST(a_websocket_that_is_failed_ends_at_once_while_its_mirror_is_not_answered_yet)
{
    for (const bool answered : {false, true}) {
        for (const bool more : {false, true}) {
            Upstream upstream;
            const Nginx nginx(mirrored(upstream));
            RawWebSocket client(nginx.port(), "/mirrored/room");
            upstream.accept();
            client.send({Text, "hello"});
            expectEqual(client.receive().payload, "hello");
            client.sendBytes(encode({3, "x"}) + std::string(more ? 1 << 20 : 0, 'x'));
            expectEqual(client.receiveClose(), 1002);
            expectEqual(client.socket().receiveUntilClosed(4s), "");
            expect(!client.socket().wasReset(), "it was reset");
            if (answered) {
                upstream.answer(); // it lingers, and is detached meanwhile
                waitForLog(nginx, "GET /mirrored/room");
            }
            waitUntilEmpty(nginx);
            client.sendBytes("late");
            RawWebSocket other(nginx.port(), "/ws/room");
            other.send({Text, "the worker goes on"});
            expectEqual(other.receive().payload, "the worker goes on");
        }
    }
}

TEST(an_event_stream_works_while_its_mirror_is_not_answered_yet)
{
    Upstream upstream;
    const Nginx nginx(mirrored(upstream));
    SseClient stream(nginx.url("/mirrored/room"));
    upstream.accept();
    publish(nginx, "room", "meanwhile");
    expectEqual(stream.receive().data, "meanwhile");
    upstream.answer();
    waitForLog(nginx, "GET /mirrored/room");
    publish(nginx, "room", "afterwards");
    expectEqual(stream.receive().data, "afterwards");
}

TEST(a_pusher_client_works_while_its_mirror_is_not_answered_yet)
{
    Upstream upstream;
    const Nginx nginx(mirrored(upstream));
    PusherClient client(nginx.port(), ShopKey, ShopSecret);
    const auto receive = [&] {
        PusherEvent event = client.receive();
        while (event.event == "pusher_internal:subscription_count") {
            event = client.receive();
        }
        return event.data;
    };
    upstream.accept();
    client.subscribe("room");
    shopPublish(nginx, "room", "meanwhile");
    expectContains(receive(), "meanwhile");
    upstream.answer();
    waitForLog(nginx, "GET /app/");
    shopPublish(nginx, "room", "afterwards");
    expectContains(receive(), "afterwards");
}

TEST(tls_works_while_its_mirror_is_not_answered_yet)
{
    Upstream upstream;
    auto options = mirrored(upstream);
    options.tls = true;
    const Nginx nginx(options);
    WebSocketOptions client;
    client.port = nginx.tlsPort();
    client.path = "/mirrored/room";
    client.certificate = nginx.certificate();
    WebSocket socket(client);
    upstream.accept();
    publish(nginx, "room", "meanwhile");
    expectEqual(socket.receiveText(), "meanwhile");
    upstream.answer();
    waitForLog(nginx, "GET /mirrored/room");
    publish(nginx, "room", "afterwards");
    expectEqual(socket.receiveText(), "afterwards");
}

TEST(who_leaves_before_its_mirror_is_answered_is_counted_off)
{
    Upstream upstream;
    const Nginx nginx(mirrored(upstream));
    for (const bool orderly : {true, false}) {
        auto socket = std::make_unique<RawWebSocket>(nginx.port(), "/mirrored/room");
        upstream.accept();
        expectEqual(probe(nginx, "room"), 1);
        if (orderly) {
            socket->send({Close, "\x03\xe8"});
            socket->receiveClose();
        }
        socket.reset();
        waitUntilEmpty(nginx);
        upstream.waitForEnd(); // nobody is left who would want the answer
        auto stream = std::make_unique<SseClient>(nginx.url("/mirrored/room"));
        upstream.accept();
        stream.reset();
        waitUntilEmpty(nginx);
        upstream.waitForEnd();
    }
}

TEST(a_quit_does_not_wait_for_a_mirror)
{
    Upstream upstream, other;
    auto options = mirrored(upstream);
    replaceAll(options.http, "realtime_drain 60s", "realtime_drain 200ms");
    options.server +=
        "location = /other { internal; proxy_pass http://127.0.0.1:" + std::to_string(other.port()) +
        "; }\nlocation = /stream { mirror /other; realtime_subscribe room; }\n";
    Nginx nginx(options);
    RawWebSocket socket(nginx.port(), "/mirrored/room");
    upstream.accept();
    SseClient stream(nginx.url("/stream"));
    other.accept();
    nginx.quit();
    expectEqual(socket.receiveClose(), 1012);
    expect(stream.waitForEnd(), "the stream ends");
    expectEqual(nginx.waitForExit(Patience), 0);
}

TEST(a_stop_does_not_wait_for_a_mirror)
{
    Upstream upstream;
    Nginx nginx(mirrored(upstream));
    RawWebSocket socket(nginx.port(), "/mirrored/room");
    upstream.accept();
    kill(nginx.master(), SIGTERM);
    expectEqual(socket.receiveClose(), 1012);
    expectEqual(nginx.waitForExit(Patience), 0);
}

// With what a subrequest may come to: nobody listens, an answer at once, an error, an endpoint of ours.
TEST(whatever_a_subrequest_ends_with_is_nothing_to_a_subscriber)
{
    auto options = endpoints();
    options.server += "location = /refused { internal; proxy_pass http://127.0.0.1:1; }\n"
                      "location = /empty { internal; return 204; }\n"
                      "location = /wrong { internal; return 500; }\n"
                      "location = /moved { internal; return 302 /sub/room; }\n"
                      "location = /file { internal; root %DIR%; try_files /nothing /empty; }\n"
                      "location = /subscribe { internal; realtime_subscribe room; }\n"
                      "location = /pusher { internal; realtime_pusher websocket; }\n"
                      "location = /figures { internal; realtime_status; }\n";
    std::string all;
    for (const char* target :
         {"refused", "empty", "wrong", "moved", "file", "subscribe", "pusher", "figures"}) {
        const std::string mirror = std::string("mirror /") + target + ";";
        all += mirror;
        options.server +=
            std::string("location = /with-") + target + " { " + mirror + " realtime_subscribe room; }\n";
    }
    options.server += "location = /with-all { " + all + " realtime_subscribe room; }\n";
    const Nginx nginx(options);
    const auto workers = nginx.workers();
    for (const char* target :
         {"refused", "empty", "wrong", "moved", "file", "subscribe", "pusher", "figures", "all"}) {
        const std::string path = std::string("/with-") + target + "?format=events";
        WebSocket socket(nginx.port(), path);
        SseClient stream(nginx.url(path));
        expectEqual(probe(nginx, "room"), 2);
        expectEqual(socket.receiveText(), "probe");
        expectEqual(stream.receive().data, "probe");
    }
    waitUntilEmpty(nginx);
    expect(nginx.workers() == workers, "no worker has died");
}

// 444 ends the whole connection, in a subrequest as well.
TEST(a_subrequest_may_end_the_connection)
{
    Upstream upstream;
    auto options = mirrored(upstream);
    options.server += "location = /cut { internal; return 444; }\n"
                      "location = /later { internal; error_page 502 = /cut; proxy_pass http://127.0.0.1:" +
                      std::to_string(upstream.port()) +
                      "; }\n"
                      "location = /cut-at-once { mirror /cut; realtime_subscribe room; }\n"
                      "location = /cut-later { mirror /later; realtime_subscribe room; }\n";
    const Nginx nginx(options);
    const auto workers = nginx.workers();
    for (const std::string& head : {Upgrade, StreamRequest}) {
        RawSocket atOnce(nginx.port());
        atOnce.send("GET /cut-at-once" + head);
        atOnce.receiveUntilClosed();
        RawSocket later(nginx.port());
        later.send("GET /cut-later" + head);
        later.receiveUntil("\r\n\r\n");
        upstream.accept();
        expectEqual(probe(nginx, "room"), 1);
        upstream.hangUp();
        later.receiveUntilClosed();
        waitUntilEmpty(nginx);
    }
    expect(nginx.workers() == workers, "no worker has died");
}

TEST(a_post_action_runs_when_the_subscriber_has_gone)
{
    auto options = endpoints();
    options.server += "location = /counted { post_action /gone; realtime_subscribe room; }\n"
                      "location = /gone { internal; proxy_method POST; proxy_set_body gone;"
                      " proxy_pass http://127.0.0.1:%PORT%/pub/ends; }\n"
                      "location = /poll { post_action /sub/room; return 204; }\n";
    const Nginx nginx(options);
    WebSocket observer(nginx.port(), "/sub/ends");
    auto socket = std::make_unique<WebSocket>(nginx.port(), "/counted");
    publish(nginx, "room", "hello");
    expectEqual(socket->receiveText(), "hello");
    socket.reset();
    expectEqual(observer.receiveText(), "gone");
    auto stream = std::make_unique<SseClient>(nginx.url("/counted"));
    stream.reset();
    expectEqual(observer.receiveText(), "gone");
    waitUntilEmpty(nginx);
    expectEqual(get(nginx.url("/poll")).status, 204L); // which has nobody to subscribe for
    waitUntilEmpty(nginx);
}

// --- what keeps its head from getting out -----------------------------------------------------------------------

namespace {

// More than a socket takes from nginx (sndbuf) while nobody reads (the client's receive buffer).
NginxOptions longHeads(const std::string& http)
{
    auto options = endpoints();
    options.listen = "sndbuf=4k";
    options.http = http;
    std::string headers;
    for (int i = 0; i < 100; ++i) {
        headers += "add_header X-Long " + std::string(2000, 'h') + " always;\n";
    }
    options.server += "location = /long { " + headers + " realtime_subscribe room; }\n";
    return options;
}

constexpr int SmallBuffer = 4096;

} // namespace

TEST(events_wait_for_the_head)
{
    const Nginx nginx(longHeads("limit_rate 100;"));
    for (const std::string& request : {Upgrade, StreamRequest}) {
        RawSocket client(nginx.port(), SmallBuffer);
        client.send("GET /long" + request);
        eventually([&] { return probe(nginx, "room") == 1; }, "it is subscribed");
        publish(nginx, "room", "the last");
        client.receiveUntil("\r\n\r\n");
        expectContains(client.receiveUntil("the last"), "probe");
    }
    waitUntilEmpty(nginx);
}

TEST(who_does_not_read_the_head_is_closed_after_send_timeout)
{
    const Nginx nginx(longHeads("send_timeout 1s;"));
    RawSocket stream(nginx.port(), SmallBuffer), socket(nginx.port(), SmallBuffer);
    stream.send("GET /long" + StreamRequest);
    socket.send("GET /long" + Upgrade);
    eventually([&] { return probe(nginx, "room") == 2; }, "both are subscribed");
    waitUntilEmpty(nginx);
}

TEST(who_leaves_before_the_head_is_out_is_counted_off)
{
    const Nginx nginx(longHeads("send_timeout 1h;"));
    for (const std::string& request : {Upgrade, StreamRequest}) {
        auto client = std::make_unique<RawSocket>(nginx.port(), SmallBuffer);
        client->send("GET /long" + request);
        eventually([&] { return probe(nginx, "room") == 1; }, "it is subscribed");
        client.reset();
        waitUntilEmpty(nginx);
    }
}

TEST(what_waits_behind_a_head_is_bounded)
{
    const Nginx nginx(longHeads("send_timeout 1h; realtime_buffer 64k;"));
    RawSocket stream(nginx.port(), SmallBuffer), socket(nginx.port(), SmallBuffer);
    stream.send("GET /long" + StreamRequest);
    socket.send("GET /long" + Upgrade);
    eventually([&] { return probe(nginx, "room") == 2; }, "both are subscribed");
    const std::string large(16 << 10, 'x');
    for (int i = 0; i < 5; ++i) {
        publish(nginx, "room", large);
    }
    waitUntilEmpty(nginx);
}

TEST(a_quit_does_not_wait_for_a_head)
{
    Nginx nginx(longHeads("send_timeout 2s;"));
    RawSocket client(nginx.port(), SmallBuffer);
    client.send("GET /long" + StreamRequest);
    eventually([&] { return probe(nginx, "room") == 1; }, "it is subscribed");
    nginx.quit();
    expectEqual(nginx.waitForExit(Patience), 0);
}

// --- the ways in which a request comes --------------------------------------------------------------------------

TEST(every_way_through_nginx_leads_to_a_subscription)
{
    auto options = endpoints();
    options.http = "limit_conn_zone $server_port zone=all:1m;\n"
                   "limit_req_zone $server_port zone=rate:1m rate=100r/s;\n";
    options.server += R"(
        location @sub { realtime_subscribe room; }
        location = /missing { error_page 404 @sub; return 404; }
        location = /missing-path { error_page 404 /sub/room; return 404; }
        location = /replaced { error_page 404 = @sub; return 404; }
        location = /file { root %DIR%; try_files /nothing @sub; }
        location = /rewritten { rewrite ^ /sub/room last; }
        location = /if { if ($host) { add_header X-If yes; } realtime_subscribe room; }
        location = /set-rate { set $limit_rate 10; realtime_subscribe room; }
        location = /auth { internal; return 204; }
        location = /protected { auth_request /auth; mirror /auth; limit_conn all 100; limit_req zone=rate burst=9;
            satisfy any; deny all; realtime_subscribe room; }
        location = /redirecting { add_header X-Accel-Redirect /sub/room; add_header Cache-Control public;
            add_header X-Accel-Limit-Rate 10; default_type "text/html; charset=windows-1251"; return 200 gone; }
        location = /accelerated { proxy_pass http://127.0.0.1:%PORT%/redirecting; }
        location = /accelerated-late { proxy_pass http://127.0.0.1:%PORT%/redirecting; mirror /auth; }
        location = /lingering { lingering_close always; realtime_subscribe room; }
        location = /unchunked { chunked_transfer_encoding off; realtime_subscribe room; }
        location = /reset { reset_timedout_connection on; tcp_nodelay off; realtime_subscribe room; }
    )";
    const Nginx nginx(options);
    for (const char* path :
         {"/missing", "/missing-path", "/replaced", "/file", "/rewritten", "/if", "/set-rate", "/protected",
          "/accelerated", "/accelerated-late", "/lingering", "/unchunked", "/reset"}) {
        WebSocket socket(nginx.port(), path);
        SseClient stream(nginx.url(path));
        expectEqual(stream.response().status, 200L);
        const std::string type = stream.response().header("content-type");
        expect(type == "text/event-stream" || type == "text/event-stream; charset=utf-8",
               path + (": " + type));
        publish(nginx, "room", path);
        expectEqual(socket.receiveText(), path);
        expectEqual(stream.receive().data, path);
    }
    waitUntilEmpty(nginx);
}

TEST(a_connection_that_was_kept_alive_becomes_a_subscriber)
{
    const Nginx nginx(endpoints());
    const std::string post = "POST /pub/room HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n\r\n";
    for (const std::string& request : {Upgrade, StreamRequest}) {
        RawSocket client(nginx.port());
        client.send(post + "one");
        client.receiveUntil("}\n");
        client.send(post + "two" + "GET /sub/room" + request); // in one piece
        client.receiveUntil("}\n");
        client.receiveUntil("\r\n\r\n");
        publish(nginx, "room", "three");
        client.receiveUntil("three");
    }
}

TEST(frames_may_follow_the_handshake_at_once)
{
    const Nginx nginx(endpoints());
    RawSocket client(nginx.port());
    client.send("GET /ws/room" + Upgrade + encode({Text, "first"}) + encode({Text, "second"}));
    client.receiveUntil("first");
    client.receiveUntil("second");
}

TEST(the_proxy_protocol_is_no_obstacle)
{
    auto options = endpoints();
    options.http = "log_format from '$request $remote_addr $proxy_protocol_addr';\n";
    options.server += "listen 127.0.0.1:%H2_PORT% proxy_protocol;\n"
                      "location = /plain { access_log %DIR%/from.log from; realtime_subscribe room; }\n"
                      "location = /real { access_log %DIR%/from.log from; set_real_ip_from 127.0.0.1;"
                      " real_ip_header proxy_protocol; realtime_subscribe room; }\n";
    const Nginx nginx(options);
    for (const std::string& request : {Upgrade, StreamRequest}) {
        for (const std::string path : {"/plain", "/real"}) {
            RawSocket client(nginx.http2Port());
            client.send("PROXY TCP4 192.0.2.7 192.0.2.8 1000 80\r\nGET " + path + request);
            client.receiveUntil("\r\n\r\n");
            expectEqual(probe(nginx, "room"), 1);
            client.receiveUntil("probe");
        }
        waitUntilEmpty(nginx);
    }
    const auto from = [&] { return readFile(nginx.directory() / "from.log"); };
    eventually([&] { return split(from(), '\n').size() >= 4; }, "four lines");
    expectContains(from(), "GET /plain HTTP/1.1 127.0.0.1 192.0.2.7");
    expectContains(from(), "GET /real HTTP/1.1 192.0.2.7 192.0.2.7");
}

TEST(a_body_that_comes_late_is_no_part_of_the_stream)
{
    auto options = endpoints();
    options.http = "lingering_timeout 1s; client_body_timeout 1s;";
    const Nginx nginx(options);
    RawSocket stream(nginx.port());
    stream.send("GET /sub/room HTTP/1.1\r\nHost: here\r\nAccept: text/event-stream\r\nContent-Length: "
                "10\r\n\r\n12345");
    stream.receiveUntil("\r\n\r\n");
    publish(nginx, "room", "hello");
    stream.receiveUntil("data: hello");
    stream.send("67890");
    publish(nginx, "room", "again");
    stream.receiveUntil("data: again");
    for (const char* length : {"Content-Length: 10", "Transfer-Encoding: chunked"}) {
        RawSocket socket(nginx.port());
        std::string request = "GET /sub/room" + Upgrade;
        request.insert(request.size() - 2, std::string(length) + "\r\n");
        socket.send(request);
        expectContains(socket.receiveUntil("}\n"), "has no body");
    }
    RawSocket socket(nginx.port());
    std::string request = "GET /sub/room" + Upgrade;
    request.insert(request.size() - 2, "Content-Length: 0\r\n");
    socket.send(request);
    expectContains(socket.receiveUntil("\r\n\r\n"), "101 Switching Protocols");
}

TEST(head_is_answered_as_get_would_be)
{
    auto options = endpoints();
    options.http2 = true;
    const Nginx nginx(options);
    for (const char* type : {"application/json", "text/event-stream"}) {
        for (const bool http2 : {false, true}) {
            HttpRequest request;
            request.method = "HEAD";
            request.version = http2 ? HttpVersion::Http2Cleartext : HttpVersion::Http11;
            request.url = http2 ? nginx.http2Url("/sub/room") : nginx.url("/sub/room");
            request.headers = {std::string("Accept: ") + type};
            const auto answer = send(request);
            expectEqual(answer.status, 200L);
            expectEqual(answer.body, "");
            expectEqual(answer.header("content-type"), type);
            expectEqual(answer.header("cache-control"), "no-store");
        }
    }
    expectEqual(get(nginx.url("/sub/no%20name%0a")).status, 400L);
    expectEqual(probe(nginx, "room"), 0);
}

// A page that includes an endpoint gets what a subrequest can get.
TEST(a_subrequest_subscribes_to_nothing)
{
    auto options = endpoints();
    options.server += "location = /page { ssi on; default_type text/html;"
                      " return 200 '[<!--# include virtual=\"/sub/room\" -->]'; }\n";
    const Nginx nginx(options);
    const auto page = get(nginx.url("/page"), {"Accept: text/event-stream"});
    expectEqual(page.status, 200L);
    expectContains(page.body, "method not allowed");
    expectEqual(probe(nginx, "room"), 0);
}

TEST_MAIN()
