// The endpoints behind TLS.
#include "support/realtime.hpp"
#include "support/sse.hpp"
#include "support/websocket.hpp"

#include "testing.hpp"

using namespace realtime::testing;

namespace {

NginxOptions withTls(int workers = 1)
{
    auto options = endpoints(workers);
    options.tls = true;
    options.http = "realtime_max_message_size 512k; client_max_body_size 1m; realtime_buffer 16m;";
    return options;
}

WebSocket secureWebSocket(const Nginx& nginx, const std::string& path)
{
    WebSocketOptions options;
    options.port = nginx.tlsPort();
    options.path = path;
    options.certificate = nginx.certificate();
    return WebSocket(options);
}

HttpRequest secure(const Nginx& nginx, const std::string& path, HttpVersion version)
{
    HttpRequest request;
    request.url = nginx.tlsUrl(path);
    request.certificate = nginx.certificate();
    request.version = version;
    return request;
}

} // namespace

TEST(a_websocket_works_over_tls)
{
    const Nginx nginx(withTls());
    WebSocket alice = secureWebSocket(nginx, "/ws/room");
    WebSocket bob(nginx.port(), "/ws/room");
    alice.send("over TLS");
    expectEqual(bob.receiveText(), "over TLS");
    expectEqual(alice.receiveText(), "over TLS");
    bob.send("in the clear");
    expectEqual(alice.receiveText(), "in the clear");
    alice.close(1000, "bye");
    eventually([&] { return probe(nginx, "room") == 1; }, "one subscriber is left");
}

// OpenSSL's client stays until the server ends the session, and says if that was not in order.
TEST(over_tls_too_the_server_ends_a_connection_at_once)
{
    const Nginx nginx(withTls());
    const std::string request =
        "GET /ws/room HTTP/1.1\\r\\nHost: localhost\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
        "Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n";
    struct Case {
        std::string frame, answer;
    };
    const std::vector<Case> cases{
        {R"(\x83\x80\x01\x01\x01\x01)", "\x03\xea"},         // an opcode that there is not
        {R"(\x81\x81\x01\x01\x01\x01\xfe)", "\x03\xef"},     // no UTF-8
        {R"(\x88\x82\x01\x01\x01\x01\x02\xe9)", "\x03\xe8"}, // good-bye
    };
    for (const Case& one : cases) {
        for (const std::string& more : {std::string(), std::string(30'000, 'x')}) {
            const auto result = run({"bash", "-c",
                                     "printf '" + request + one.frame + more +
                                         "' | openssl s_client -quiet -ign_eof -connect 127.0.0.1:" +
                                         std::to_string(nginx.tlsPort())},
                                    {}, 4s);
            expectContains(result.output, "HTTP/1.1 101 ");
            expectContains(result.output, one.answer);
            expectLacks(result.output, "unexpected eof");
            expectLacks(result.output, "errno");
            expectEqual(result.status, 0);
        }
    }
    eventually([&] { return probe(nginx, "room") == 0; }, "none of them is left");
}

TEST(large_messages_work_over_tls)
{
    const Nginx nginx(withTls());
    WebSocket client = secureWebSocket(nginx, "/ws/room");
    const std::string large(300'000, 'x');
    client.send(large);
    expect(client.receiveText() == large, "the same bytes");
    for (int i = 0; i < 20; ++i) {
        publish(nginx, "room", std::to_string(i) + large);
    }
    for (int i = 0; i < 20; ++i) {
        expectEqual(std::stoi(client.receiveText()), i);
    }
}

TEST(a_slow_reader_over_tls_is_closed)
{
    auto options = withTls();
    replaceAll(options.http, "16m", "64k");
    options.listen = "sndbuf=16k";
    const Nginx nginx(options);
    WebSocket slow = secureWebSocket(nginx, "/sub/room");
    const std::string large(100'000, 'x');
    eventually(
        [&] {
            publish(nginx, "room", large);
            return probe(nginx, "room") == 0;
        },
        "the slow reader is closed");
    slow.waitForClose();
}

TEST(many_messages_in_one_record_are_all_seen)
{
    const Nginx nginx(withTls());
    WebSocket client = secureWebSocket(nginx, "/ws/room");
    for (int i = 0; i < 100; ++i) {
        client.send(std::to_string(i));
    }
    for (int i = 0; i < 100; ++i) {
        expectEqual(client.receiveText(), std::to_string(i));
    }
}

TEST(events_and_posts_work_over_tls_and_both_http_versions)
{
    const Nginx nginx(withTls());
    for (const auto version : {HttpVersion::Http11, HttpVersion::Http2}) {
        SseClient stream(secure(nginx, "/sub/room", version));
        expectEqual(stream.response().http2, version == HttpVersion::Http2);
        auto request = secure(nginx, "/pub/room", version);
        request.method = "POST";
        request.body = "secret";
        expectEqual(send(request).status, 202L);
        expectEqual(stream.receive().data, "secret");
    }
}

TEST_MAIN()
