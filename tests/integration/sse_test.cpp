// Server-Sent Events: format, resume, heartbeat, HTTP/1.1 and HTTP/2.
#include "support/realtime.hpp"
#include "support/sse.hpp"

#include "testing.hpp"

using namespace realtime::testing;

namespace {

NginxOptions withHttp2()
{
    auto options = endpoints();
    options.http2 = true;
    return options;
}

HttpRequest stream(const std::string& url, HttpVersion version = HttpVersion::Http11)
{
    HttpRequest request;
    request.url = url;
    request.version = version;
    return request;
}

void deliversEvents(const Nginx& nginx, SseClient& client)
{
    expectEqual(client.response().status, 200L);
    expectContains(client.response().header("content-type"), "text/event-stream");
    expectContains(client.response().header("cache-control"), "no-");
    const std::string id = publish(nginx, "room", "one\ntwo\r\nthree\n", "note");
    const SseEvent event = client.receive();
    expectEqual(event.id, id);
    expectEqual(event.event, "note");
    expectEqual(event.data, "one\ntwo\nthree\n");
    publish(nginx, "room", "");
    const SseEvent empty = client.receive();
    expectEqual(empty.data, "");
    expectEqual(empty.event, "message");
}

} // namespace

TEST(events_come_over_http11)
{
    const Nginx nginx(endpoints());
    SseClient client(nginx.url("/sub/room"));
    expect(!client.response().http2, "HTTP/1.1 was spoken");
    expectEqual(client.response().header("content-encoding"), "");
    deliversEvents(nginx, client);
}

TEST(events_come_over_http2)
{
    const Nginx nginx(withHttp2());
    SseClient client(stream(nginx.http2Url("/sub/room"), HttpVersion::Http2Cleartext));
    expect(client.response().http2, "HTTP/2 was spoken");
    deliversEvents(nginx, client);
}

TEST(an_event_name_comes_only_when_it_is_not_message)
{
    const Nginx nginx(endpoints());
    SseClient client(nginx.url("/sub/room"));
    publish(nginx, "room", "a");
    publish(nginx, "room", "b", "click");
    expectEqual(client.receive().event, "message");
    expectEqual(client.receive().event, "click");
}

TEST(a_publisher_cannot_forge_fields)
{
    const Nginx nginx(endpoints());
    SseClient client(nginx.url("/sub/room"));
    publish(nginx, "room", "x\n\nid: 1\nevent: forged\ndata: y");
    publish(nginx, "room", "x\rdata: z");
    expectEqual(client.receive().data, "x\n\nid: 1\nevent: forged\ndata: y");
    expectEqual(client.receive().data, "x\ndata: z");
}

TEST(last_event_id_resumes)
{
    const Nginx nginx(withHttp2());
    for (const auto version : {HttpVersion::Http11, HttpVersion::Http2Cleartext}) {
        const std::string last = publish(nginx, "room", "seen");
        publish(nginx, "room", "missed");
        auto request = stream(
            version == HttpVersion::Http11 ? nginx.url("/sub/room") : nginx.http2Url("/sub/room"), version);
        request.headers = {"Last-Event-ID: " + last};
        SseClient client(request);
        expectEqual(client.receive().data, "missed");
        publish(nginx, "room", "live");
        expectEqual(client.receive().data, "live");
        client.expectSilence(50ms);
    }
}

TEST(last_event_id_wins_over_since)
{
    // EventSource repeats its URL, with the `since` that it first had, when it reconnects.
    const Nginx nginx(endpoints());
    publish(nginx, "room", "1");
    const std::string second = publish(nginx, "room", "2");
    publish(nginx, "room", "3");
    SseClient client(nginx.url("/sub/room?since=earliest"), {"Last-Event-ID: " + second});
    expectEqual(client.receive().data, "3");
    client.expectSilence(50ms);
}

TEST(a_gap_is_an_event_of_its_own)
{
    auto options = endpoints();
    options.http = "realtime_app default { channels * { history 1 1h; } }";
    const Nginx nginx(options);
    const std::string first = publish(nginx, "room", "1");
    publish(nginx, "room", "2");
    publish(nginx, "room", "3");
    SseClient client(nginx.url("/sub/room"), {"Last-Event-ID: " + first});
    const SseEvent gap = client.receive();
    expectEqual(gap.event, "realtime:gap");
    expectEqual(gap.id, "");
    expectEqual(client.receive().data, "3");
}

TEST(a_long_history_comes_whole)
{
    auto options = endpoints();
    options.http = "realtime_app default { channels * { history 5000 1h; } }";
    const Nginx nginx(options);
    HttpClient publisher;
    HttpRequest request;
    request.url = nginx.url("/pub/room");
    request.method = "POST";
    for (int i = 0; i < 2000; ++i) {
        request.body = std::to_string(i) + std::string(300, ' ');
        publisher.send(request);
    }
    SseClient client(nginx.url("/sub/room?since=earliest"));
    for (int i = 0; i < 2000; ++i) {
        expectEqual(std::stoi(client.receive().data), i);
    }
    publish(nginx, "room", "live");
    expectEqual(client.receive().data, "live");
}

TEST(comments_keep_the_stream_alive)
{
    auto options = withHttp2();
    options.http = "realtime_ping 200ms;";
    const Nginx nginx(options);
    SseClient over1(nginx.url("/sub/room"));
    SseClient over2(stream(nginx.http2Url("/sub/room"), HttpVersion::Http2Cleartext));
    for (SseClient* client : {&over1, &over2}) {
        client->waitForComment();
        client->waitForComment();
    }
}

TEST(a_stream_outlives_send_and_keepalive_timeouts)
{
    auto options = withHttp2();
    options.http = "send_timeout 1s; keepalive_timeout 1s; client_body_timeout 1s; client_header_timeout 1s;";
    const Nginx nginx(options);
    SseClient over1(nginx.url("/sub/room"));
    SseClient over2(stream(nginx.http2Url("/sub/room"), HttpVersion::Http2Cleartext));
    over1.expectSilence(1500ms);
    publish(nginx, "room", "still here");
    expectEqual(over1.receive().data, "still here");
    expectEqual(over2.receive().data, "still here");
}

TEST(a_stream_that_ends_is_counted_off)
{
    const Nginx nginx(withHttp2());
    {
        const SseClient over1(nginx.url("/sub/room"));
        const SseClient over2(stream(nginx.http2Url("/sub/room"), HttpVersion::Http2Cleartext));
        expectEqual(probe(nginx, "room"), 2);
    }
    eventually([&] { return probe(nginx, "room") == 0; }, "no subscriber is left");
}

TEST(pubsub_streams_and_publishes)
{
    const Nginx nginx(endpoints());
    SseClient client(nginx.url("/ws/room"));
    expectEqual(post(nginx.url("/ws/room"), "hi").status, 202L);
    expectEqual(client.receive().data, "hi");
}

TEST(head_answers_without_a_stream)
{
    const Nginx nginx(endpoints());
    auto request = stream(nginx.url("/sub/room"));
    request.method = "HEAD";
    request.headers = {"Accept: text/event-stream"};
    const auto answer = send(request);
    expect(answer.status == 200 || answer.status == 405, "HEAD is answered at once");
}

TEST_MAIN()
