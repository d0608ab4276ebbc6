// Forms of requests that proxies, monitors and libraries send: what is refused before the body, encoded bodies, HEAD,
// conditions and ranges, bodies that another location has read.
#include "support/listener.hpp"
#include "support/raw_socket.hpp"
#include "support/realtime.hpp"
#include "support/sse.hpp"

#include "testing.hpp"

#include <thread>

using namespace realtime::testing;

namespace {

int statusOf(const std::string& head)
{
    return toInt(std::string_view(head).substr(head.find(' ') + 1));
}

// The head of what comes first: 100, or the answer.
std::string headAnswering(const Nginx& nginx, const std::string& request)
{
    RawSocket socket(nginx.port());
    socket.send(request);
    return socket.receiveUntil("\r\n\r\n");
}

std::string expecting(const std::string& line, const std::string& headers)
{
    return line + " HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n" + headers + "\r\n";
}

NginxOptions small()
{
    auto options = endpoints();
    options.http = "realtime_max_message_size 1k; realtime_origins https://a.example;";
    return options;
}

HttpRequest with(const std::string& method, const std::string& url, std::vector<std::string> headers = {})
{
    HttpRequest request;
    request.method = method;
    request.url = url;
    request.headers = std::move(headers);
    return request;
}

// An application that says where nginx is to go on, each answer after the whole request.
class Application {
public:
    Application() : thread_([this] { serve(); }) {}
    ~Application()
    {
        ending_ = true;
        RawSocket(socket_.port()); // wakes it, and is gone
        thread_.join();
    }
    Application(const Application&) = delete;
    Application& operator=(const Application&) = delete;

    std::uint16_t port() const { return socket_.port(); }

private:
    void serve()
    {
        while (!ending_) {
            const int fd = socket_.accept();
            answer(fd);
            close(fd);
        }
    }
    static void answer(int fd)
    {
        std::string request;
        char buffer[4096];
        std::size_t head = std::string::npos;
        std::size_t length = 0;
        while (head == std::string::npos || request.size() < head + 4 + length) {
            const ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
            if (n <= 0) {
                return;
            }
            request.append(buffer, static_cast<std::size_t>(n));
            head = request.find("\r\n\r\n");
            const std::size_t at = request.find("Content-Length: ");
            length =
                at < head ? static_cast<std::size_t>(toInt(std::string_view(request).substr(at + 16))) : 0;
        }
        const std::size_t to = request.find("X-To: ") + 6;
        const std::string answer =
            "HTTP/1.1 200 OK\r\nX-Accel-Redirect: " + request.substr(to, request.find('\r', to) - to) +
            "\r\nContent-Type: text/html\r\nContent-Length: 2\r\nETag: \"x\"\r\n"
            "Accept-Ranges: bytes\r\nCache-Control: max-age=60\r\n"
            "Expires: Thu, 01 Jan 2037 00:00:00 GMT\r\nConnection: close\r\n\r\nhi";
        send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
    }

    ListeningSocket socket_;
    std::atomic<bool> ending_{false};
    std::thread thread_;
};

NginxOptions behind(const Application& application)
{
    auto options = endpoints();
    const std::string pass = "proxy_pass http://127.0.0.1:" + std::to_string(application.port()) +
                             "; proxy_set_header X-To $arg_to; ";
    options.server += "location = /app { " + pass + "}\n" +
                      "location = /unbuffered { proxy_http_version 1.1; proxy_request_buffering off; " +
                      pass + "}\n" +
                      "location @pub { realtime_publish room; }\n"
                      "location @sub { realtime_subscribe room; }\n";
    return options;
}

std::vector<std::string> eventsOf(const Nginx& nginx, const std::string& channel)
{
    std::vector<std::string> events;
    publish(nginx, channel, "end");
    for (std::string since = "earliest"; events.empty() || events.back() != "end";) {
        const auto answer = get(nginx.url("/sub/" + channel + "?since=" + since));
        since = answer.header("realtime-last-id");
        const Json list = Json::parse(answer.body);
        for (std::size_t i = 0; i < list.size(); ++i) {
            events.push_back(list.at(i).at("data").text());
        }
    }
    events.pop_back();
    return events;
}

} // namespace

TEST(what_is_refused_is_refused_before_its_body_is_asked_for)
{
    const Nginx nginx(small());
    const std::string length = "Content-Length: 500\r\n";
    const struct {
        std::string line;
        std::string headers;
        int status;
    } cases[]{
        {"POST /pub/room", "Content-Length: 2000\r\n", 413},
        {"PUT /pub/room", "Content-Length: 2000\r\n", 413},
        {"POST /ws/room", "Content-Length: 2000\r\n", 413},
        {"POST /pub/", length, 400},
        {"POST /pub/room?event=" + std::string(201, 'e'), length, 400},
        {"DELETE /pub/room", length, 405},
        {"POST /sub/room", length, 405},
        {"POST /pub/room", length + "Origin: https://evil.example\r\n", 403},
        {"POST /pub/room", length + "Content-Encoding: gzip\r\n", 415},
        {"POST /pub/room", length + "Idempotency-Key: " + std::string(256, 'k') + "\r\n", 400},
        {"POST /pub/room", length + "Content-Type: " + std::string(256, 't') + "\r\n", 400},
        {"POST /pub/room", "Transfer-Encoding: chunked\r\nContent-Encoding: br\r\n", 415},
    };
    for (const auto& one : cases) {
        RawSocket socket(nginx.port());
        socket.send(expecting(one.line, one.headers));
        const std::string answer = socket.receiveUntilClosed(); // the body, if it comes, is nobody's request
        expectEqual(statusOf(answer), one.status);
        expectContains(answer, "Connection: close");
    }
    expectEqual(eventsOf(nginx, "room").size(), std::size_t{0});
}

TEST(what_is_taken_is_asked_for)
{
    const Nginx nginx(small());
    RawSocket socket(nginx.port());
    for (int i = 0; i < 2; ++i) { // and the connection stays
        socket.send(expecting("POST /pub/room", "Content-Length: 5\r\n"));
        expectEqual(statusOf(socket.receiveUntil("\r\n\r\n")), 100);
        socket.send("hello");
        expectEqual(statusOf(socket.receiveUntil("\r\n\r\n")), 202);
        socket.receiveUntil("}\n");
    }
    // One that does not wait for it, and one that expects something else.
    expectEqual(statusOf(headAnswering(nginx, expecting("POST /pub/room", "Content-Length: 1\r\n") + "x")),
                100);
    expectEqual(
        statusOf(headAnswering(
            nginx, "POST /pub/room HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\nx")),
        202);
    expectEqual(statusOf(headAnswering(
                    nginx, "POST /pub/room HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx")),
                202);
}

TEST(an_encoded_body_is_refused)
{
    auto options = endpoints();
    options.http2 = true;
    const Nginx nginx(options);
    for (const char* encoding :
         {"gzip", "x-gzip", "br", "deflate", "zstd", "identity, gzip", "GZIP", "aes128gcm", "\"\""}) {
        for (const char* path : {"/pub/room", "/ws/room"}) {
            const auto answer =
                post(nginx.url(path), "\x1f\x8b", {std::string("Content-Encoding: ") + encoding});
            expectEqual(answer.status, 415L);
            expectEqual(answer.header("accept-encoding"), "identity");
            expect(!Json::parse(answer.body).at("error").text().empty(), "it says why");
        }
    }
    expectEqual(
        post(nginx.url("/pub/room"), "x", {"Content-Encoding: identity", "Content-Encoding: br"}).status,
        415L);
    auto over2 = with("POST", nginx.http2Url("/pub/room"), {"Content-Encoding: gzip"});
    over2.body = ""; // nginx resets a stream of which it has not read all
    over2.version = HttpVersion::Http2Cleartext;
    expectEqual(send(over2).status, 415L);
    for (const char* plain : {"identity", "Identity", "identity,identity", ","}) {
        expectEqual(post(nginx.url("/pub/room"), plain, {std::string("Content-Encoding: ") + plain}).status,
                    202L);
    }
    expectEqual(eventsOf(nginx, "room").size(), std::size_t{4});
}

TEST(head_is_answered_as_get_would_be_and_at_once)
{
    auto options = endpoints();
    options.http2 = true;
    options.server += "location = /watch { realtime_status watch; }\n";
    const Nginx nginx(options);
    const struct {
        const char *path, *accept, *type;
    } cases[]{
        {"/sub/room", "text/event-stream", "text/event-stream"},
        {"/ws/room", "text/html, text/event-stream", "text/event-stream"},
        {"/sub/room", "*/*", "application/json"},
        {"/sub/room?since=earliest", "*/*", "application/json"},
        {"/status?format=events", "*/*", "text/event-stream"},
        {"/status?format=json", "*/*", "application/json"},
        {"/watch?watch=room", "*/*", "text/event-stream"},
    };
    publish(nginx, "room", "x");
    HttpClient client; // over one connection: nothing follows the header
    for (const auto& one : cases) {
        const std::string accept = std::string("Accept: ") + one.accept;
        auto over2 = with("HEAD", nginx.http2Url(one.path), {accept});
        over2.version = HttpVersion::Http2Cleartext;
        for (const auto& answer : {client.send(with("HEAD", nginx.url(one.path), {accept})), send(over2)}) {
            expectEqual(answer.status, 200L);
            expectContains(answer.header("content-type"), one.type);
            expectEqual(answer.header("cache-control"), "no-store");
            expectEqual(answer.body, "");
        }
    }
    // With the header of an upgrade it is still no WebSocket.
    expectEqual(
        client.send(with("HEAD", nginx.url("/sub/room"), {"Upgrade: websocket", "Connection: Upgrade"}))
            .status,
        200L);
    for (const char* path : {"/sub/", "/ws/"}) {
        expectEqual(client.send(with("HEAD", nginx.url(path))).status, 400L);
    }
    expectContains(client.send(with("DELETE", nginx.url("/sub/room"))).header("allow"), "HEAD");
    expectEqual(probe(nginx, "room"), 0);
}

TEST(conditions_and_ranges_are_not_for_events)
{
    const Nginx nginx(endpoints());
    publish(nginx, "room", "first");
    for (const char* header : {"If-None-Match: *", "If-None-Match: \"x\"", "If-Match: \"x\"", "If-Match: *",
                               "If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT",
                               "If-Modified-Since: Sat, 01 Jan 2050 00:00:00 GMT",
                               "If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT", "Range: bytes=0-0",
                               "Range: bytes=99999-", "If-Range: \"x\""}) {
        const auto answer = get(nginx.url("/sub/room?since=earliest"), {header, "Range: bytes=0-1"});
        expectEqual(answer.status, 200L);
        expectEqual(Json::parse(answer.body).at(std::size_t{0}).at("data").text(), "first");
        SseClient stream(nginx.url("/sub/room?since=earliest"), {header, "Range: bytes=0-1"});
        expectEqual(stream.response().status, 200L);
        expectEqual(stream.receive().data, "first");
        expectEqual(post(nginx.url("/pub/other"), "x", {header}).status, 202L);
        expectEqual(get(nginx.url("/status?format=json"), {header}).status, 200L);
    }
    // The dashboard's files are files.
    const std::string tag = get(nginx.url("/status?file=dashboard.js")).header("etag");
    expectEqual(get(nginx.url("/status?file=dashboard.js"), {"If-None-Match: " + tag}).status, 304L);
}

TEST(what_an_application_says_of_its_answer_is_not_true_of_ours)
{
    const Application application;
    const Nginx nginx(behind(application));
    publish(nginx, "room", "first");
    for (const char* to : {"@sub", "/sub/room?since=earliest"}) {
        SseClient stream(
            nginx.url(std::string("/app?to=") + to),
            {"If-None-Match: *", "Range: bytes=0-1", "If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT"});
        const HttpResponse& head = stream.response();
        expectEqual(head.status, 200L);
        expectEqual(head.headers.count("cache-control"), std::size_t{1});
        expectEqual(head.header("cache-control"), "no-store");
        expectEqual(head.header("content-type"), "text/event-stream");
        for (const char* name : {"expires", "etag", "accept-ranges", "content-length", "last-modified"}) {
            expectEqual(head.headers.count(name), std::size_t{0});
        }
    }
    const auto answer = get(nginx.url("/app?to=/sub/room?since=earliest"), {"Range: bytes=0-1"});
    expectEqual(answer.status, 200L);
    expectEqual(answer.headers.count("cache-control"), std::size_t{1});
    expectEqual(Json::parse(answer.body).size(), std::size_t{1});
}

TEST(a_body_that_was_sent_on_is_published_whole_or_refused)
{
    const Application application;
    auto options = behind(application);
    options.http2 = true;
    const Nginx nginx(options);
    const std::string large(40'000, 'b');
    expectEqual(post(nginx.url("/app?to=@pub"), "small").status, 202L);
    expectEqual(post(nginx.url("/app?to=@pub"), large).status, 202L);
    std::vector<std::string> expected{"small", large};
    for (const std::string& body : {std::string("tiny"), large, std::string(300'000, 'c')}) {
        for (const auto version : {HttpVersion::Http11, HttpVersion::Http2Cleartext}) {
            auto request =
                with("POST", version == HttpVersion::Http11 ? nginx.url("/unbuffered?to=@pub")
                                                            : nginx.http2Url("/unbuffered?to=@pub"));
            request.body = body;
            request.version = version;
            const auto answer = send(request);
            expect(answer.status == 202 || answer.status == 500 || answer.status == 413, "whole or refused");
            if (answer.status == 202) {
                expected.push_back(body);
            }
        }
    }
    expect(eventsOf(nginx, "room") == expected, "nothing is published that is not whole");
    expectContains(nginx.errorLog(), "proxy_request_buffering on");
}

TEST(bodies_arrive_as_they_were_sent_however_nginx_holds_them)
{
    auto options = endpoints();
    options.http = "realtime_max_message_size 512k;";
    options.server +=
        "location ~ ^/tiny/(?<ch>.+)$ { client_body_buffer_size 16; realtime_publish $ch; }\n"
        "location ~ ^/file/(?<ch>.+)$ { client_body_in_file_only clean; realtime_publish $ch; }\n"
        "location ~ ^/one/(?<ch>.+)$ { client_body_in_single_buffer on; client_body_buffer_size 64; "
        "realtime_publish $ch; }\n"
        "location = /ok { internal; return 204; }\n"
        "location ~ ^/auth/(?<ch>.+)$ { auth_request /ok; realtime_publish $ch; }\n";
    const Nginx nginx(options);
    int channel = 0;
    for (const char* path : {"/pub/", "/tiny/", "/file/", "/one/", "/auth/", "/ws/"}) {
        for (const std::string& body :
             {std::string(), std::string("x"), std::string(17, 'y'), std::string(300'000, 'z')}) {
            for (const char* method : {"POST", "PUT"}) {
                for (const bool chunked : {false, true}) {
                    const std::string name = "c" + std::to_string(channel++);
                    auto request = with(method, nginx.url(path + name));
                    request.body = body;
                    if (chunked) {
                        request.headers = {"Transfer-Encoding: chunked"};
                    }
                    expectEqual(send(request).status, 202L);
                    expect(eventsOf(nginx, name) == std::vector<std::string>{body}, "the same bytes");
                }
            }
        }
    }
}

TEST(requests_that_follow_one_another_are_told_apart_whatever_becomes_of_them)
{
    const Nginx nginx(small());
    RawSocket socket(nginx.port());
    const std::string good = "POST /pub/room HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
    const std::string large =
        "POST /pub/room HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n" + std::string(3000, 'q');
    const std::string encoded = "POST /pub/room HTTP/1.1\r\nHost: a\r\nContent-Encoding: "
                                "br\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    const std::string other = "DELETE /pub/room HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd";
    const std::string head = "HEAD /sub/room HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd";
    socket.send(good + "aaa" + large + good + "bbb" + encoded + head + other + good + "ccc");
    for (const int status : {202, 413, 202, 415, 200, 405, 202}) {
        expectEqual(statusOf(socket.receiveUntil("\r\n\r\n")), status);
        if (status != 200) {
            socket.receiveUntil("}\n");
        }
    }
    expect(eventsOf(nginx, "room") == std::vector<std::string>{"aaa", "bbb", "ccc"}, "three events");
}

TEST_MAIN()
