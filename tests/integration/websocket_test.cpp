// WebSocket: handshake, subprotocols, publishing, protocol violations, keep-alive, slow readers, resume.
#include "support/raw_socket.hpp"
#include "support/realtime.hpp"
#include "support/shop.hpp"
#include "support/websocket.hpp"

#include <thread>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

std::string handshake(const std::string& path, const std::string& headers)
{
    return "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + headers + "\r\n";
}

const std::string Upgrade = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n";
const std::string Key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const std::string Version = "Sec-WebSocket-Version: 13\r\n";

std::int64_t connections(const Nginx& nginx)
{
    return Json::parse(get(nginx.url("/status?format=json")).body).at("connections").at("websocket").number();
}

std::string answerTo(const Nginx& nginx, const std::string& request)
{
    RawSocket socket(nginx.port());
    socket.send(request);
    return socket.receiveUntil("\r\n\r\n");
}

} // namespace

TEST(the_handshake_of_the_specification_is_answered)
{
    const Nginx nginx(endpoints());
    const std::string head = answerTo(nginx, handshake("/sub/room", Upgrade + Key + Version));
    expectContains(head, "HTTP/1.1 101 ");
    expectContains(head, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"); // RFC 6455, section 1.3
    expectLacks(head, "Sec-WebSocket-Protocol");
    expectLacks(head, "Content-Length");
}

TEST(a_bad_handshake_is_refused)
{
    const Nginx nginx(endpoints());
    const std::string version8 =
        answerTo(nginx, handshake("/sub/room", Upgrade + Key + "Sec-WebSocket-Version: 8\r\n"));
    expectContains(version8, " 426 ");
    expectContains(version8, "Sec-WebSocket-Version: 13");
    expectContains(answerTo(nginx, handshake("/sub/room", Upgrade + Key)), " 426 ");
    expectContains(answerTo(nginx, handshake("/sub/room", Upgrade + Version)), " 400 ");
    expectContains(
        answerTo(nginx, handshake("/sub/room", Upgrade + Version + "Sec-WebSocket-Key: short\r\n")), " 400 ");
    expectContains(answerTo(nginx, handshake("/ws/", Upgrade + Key + Version)), " 400 ");
    expectEqual(probe(nginx, "room"), 0);
}

TEST(frames_sent_together_with_the_handshake_are_not_lost)
{
    const Nginx nginx(endpoints());
    RawSocket socket(nginx.port());
    socket.send(handshake("/ws/room", Upgrade + Key + Version) + encode({Text, "early"}));
    socket.receiveUntil("\r\n\r\n");
    expectEqual(socket.receiveBytes(7), "\x81\x05"
                                        "early");
}

TEST(raw_messages_are_text_if_utf8_and_binary_if_not)
{
    const Nginx nginx(endpoints());
    WebSocket subscriber(nginx.port(), "/sub/room");
    publish(nginx, "room", "h\xC3\xA9llo \xE2\x82\xAC");
    publish(nginx, "room", std::string("\xFF\x00\x01", 3));
    const auto text = subscriber.receive();
    expect(!text.binary, "UTF-8 comes as text");
    expectEqual(text.data, "h\xC3\xA9llo \xE2\x82\xAC");
    const auto binary = subscriber.receive();
    expect(binary.binary, "other bytes come as binary");
    expectEqual(binary.data, std::string("\xFF\x00\x01", 3));
}

TEST(the_json_subprotocol_wraps_each_event)
{
    const Nginx nginx(endpoints());
    WebSocket subscriber(nginx.port(), "/sub/room", "realtime.json");
    expectEqual(subscriber.acceptedSubprotocol(), "realtime.json");
    const std::string id = publish(nginx, "room", "say \"hi\"\n\x01", "greeting");
    const Json event = Json::parse(subscriber.receiveText());
    expectEqual(event.at("id").text(), id);
    expectEqual(event.at("channel").text(), "room");
    expectEqual(event.at("event").text(), "greeting");
    expectEqual(event.at("data").text(), "say \"hi\"\n\x01");
    expect(!event.has("encoding"), "text has no encoding");

    publish(nginx, "room", std::string("\x00\xFF", 2));
    const Json binary = Json::parse(subscriber.receiveText());
    expectEqual(binary.at("data").text(), "AP8=");
    expectEqual(binary.at("encoding").text(), "base64");
    expectEqual(binary.at("event").text(), "message");
}

TEST(an_unknown_subprotocol_is_not_accepted)
{
    const Nginx nginx(endpoints());
    const std::string head = answerTo(
        nginx, handshake("/sub/room", Upgrade + Key + Version + "Sec-WebSocket-Protocol: chat, soap\r\n"));
    expectContains(head, " 101 ");
    expectLacks(head, "Sec-WebSocket-Protocol");
    const std::string ours =
        answerTo(nginx, handshake("/sub/room", Upgrade + Key + Version +
                                                   "Sec-WebSocket-Protocol: chat, realtime.json\r\n"));
    expectContains(ours, "Sec-WebSocket-Protocol: realtime.json\r\n");
}

TEST(what_a_client_sends_on_pubsub_comes_back_to_all)
{
    const Nginx nginx(endpoints());
    WebSocket alice(nginx.port(), "/ws/room");
    WebSocket bob(nginx.port(), "/ws/room");
    alice.send("from alice");
    expectEqual(bob.receiveText(), "from alice");
    expectEqual(alice.receiveText(), "from alice");
    bob.sendBinary(std::string("\x80\x00", 2));
    expect(alice.receive().binary, "binary stays binary");
}

TEST(echo_off_spares_the_sender)
{
    auto options = endpoints();
    options.server += "location = /quiet { realtime_pubsub room echo=off; }\n";
    const Nginx nginx(options);
    WebSocket alice(nginx.port(), "/quiet");
    WebSocket bob(nginx.port(), "/quiet");
    alice.send("from alice");
    expectEqual(bob.receiveText(), "from alice");
    alice.expectSilence();
    bob.send("from bob");
    expectEqual(alice.receiveText(), "from bob");
    publish(nginx, "room", "from outside");
    expectEqual(alice.receiveText(), "from outside");
}

TEST(who_sends_faster_than_the_rate_is_closed_and_others_are_not)
{
    auto options = endpoints();
    options.server += "location = /slow { realtime_pubsub room rate=3r/s; }\n";
    const Nginx nginx(options);
    WebSocket watcher(nginx.port(), "/sub/room");
    RawWebSocket fast(nginx.port(), "/slow");
    RawWebSocket modest(nginx.port(), "/slow");
    for (int i = 0; i < 10; ++i) {
        fast.send({Text, std::to_string(i)});
    }
    for (int i = 0; i < 3; ++i) {
        expectEqual(watcher.receiveText(), std::to_string(i));
    }
    expectEqual(fast.receiveClose(), 1008);
    modest.send({Text, "still here"});
    expectEqual(watcher.receiveText(), "still here");
}

TEST(a_fragmented_message_is_published_whole_with_a_ping_in_between)
{
    const Nginx nginx(endpoints());
    RawWebSocket client(nginx.port(), "/ws/room");
    client.send({Text, "one ", false});
    client.send({Ping, "p"});
    client.send({Continuation, "two ", false});
    client.send({Continuation, "three"});
    const Frame pong = client.receive();
    expectEqual(pong.opcode, static_cast<unsigned>(Pong));
    expectEqual(pong.payload, "p");
    expectEqual(client.receive().payload, "one two three");
}

TEST(a_subscriber_that_sends_does_not_publish)
{
    const Nginx nginx(endpoints());
    WebSocket watcher(nginx.port(), "/sub/room");
    RawWebSocket subscriber(nginx.port(), "/sub/room");
    subscriber.send({Text, "not allowed"});
    watcher.expectSilence();
}

TEST(one_connection_carries_several_channels)
{
    auto options = endpoints();
    options.server += "location = /both { realtime_subscribe news user.$arg_user; }\n";
    const Nginx nginx(options);
    WebSocket subscriber(nginx.port(), "/both?user=7", "realtime.json");
    publish(nginx, "news", "a");
    publish(nginx, "user.7", "b");
    publish(nginx, "user.8", "not mine");
    publish(nginx, "news", "c");
    for (const std::string expected : {"news a", "user.7 b", "news c"}) {
        const Json event = Json::parse(subscriber.receiveText());
        expectEqual(event.at("channel").text() + " " + event.at("data").text(), expected);
    }
    expectEqual(probe(nginx, "user.7"), 1);
}

TEST(each_protocol_violation_has_its_close_code)
{
    auto options = endpoints();
    options.http = "realtime_max_message_size 1k;";
    const Nginx nginx(options);
    WebSocket witness(nginx.port(), "/ws/other");
    struct Case {
        const char* what;
        std::string bytes;
        int code;
    };
    const auto framed = [](Frame frame) { return encode(frame); };
    const std::vector<Case> cases{
        {"an unmasked frame", framed({Text, "x", true, false}), 1002},
        {"a reserved bit", framed({Text, "x", true, true, 4}), 1002},
        {"a reserved opcode", framed({3, "x"}), 1002},
        {"a reserved control opcode", framed({11, ""}), 1002},
        {"a fragmented ping", framed({Ping, "x", false}), 1002},
        {"a long ping", framed({Ping, std::string(126, 'x')}), 1002},
        {"a continuation of nothing", framed({Continuation, "x"}), 1002},
        {"a new message within one", framed({Text, "x", false}) + framed({Text, "y"}), 1002},
        {"text that is not UTF-8", framed({Text, "\xFF"}), 1007},
        {"a code point cut off", framed({Text, "\xE2\x82"}), 1007},
        {"a close reason that is not UTF-8", framed({Close, std::string("\x03\xE8\xFF", 3)}), 1007},
        {"a close code that may not be sent", framed({Close, std::string("\x03\xED", 2)}), 1002},
        {"a close payload of one byte", framed({Close, "x"}), 1002},
        {"a message over the limit", framed({Text, std::string(1025, 'x')}), 1009},
        {"fragments over the limit",
         framed({Text, std::string(1000, 'x'), false}) + framed({Continuation, std::string(25, 'x')}), 1009},
        {"a length of 2^63", std::string("\x81\xFF\x80\x00\x00\x00\x00\x00\x00\x00", 10) + "mask", 1002},
        {"a length of 2^40", std::string("\x81\xFF\x00\x00\x01\x00\x00\x00\x00\x00", 10) + "mask", 1009},
    };
    for (const auto& violation : cases) {
        RawWebSocket client(nginx.port(), "/ws/room");
        client.sendBytes(violation.bytes);
        const int code = client.receiveClose();
        const bool fits = code == violation.code || (std::string_view(violation.what) == "a length of 2^63" &&
                                                     code == 1009); // either is true
        expect(fits, std::string(violation.what) + " was closed with " + std::to_string(code));
    }
    witness.send("still here");
    expectEqual(witness.receiveText(), "still here");
    eventually([&] { return probe(nginx, "room") == 0; }, "none of them is left");
}

// Of every kind, and without waiting for a client that does nothing. rfc6455_test has the violations of the protocol.
TEST(a_connection_that_is_failed_is_ended_by_the_server_at_once)
{
    auto options = shop();
    options.http += "realtime_max_message_size 1k;\n";
    options.server += "location = /slow { realtime_pubsub slow rate=1r/s; }\n";
    const Nginx nginx(options);
    struct Case {
        std::string path;
        std::string bytes;
        int code;
    };
    const std::vector<Case> cases{
        {"/ws/room", encode({3, "x"}), 1002},
        {"/ws/room", encode({Text, "\xff"}), 1007},
        {"/ws/room", encode({Text, std::string(1025, 'x')}), 1009},
        {"/sub/room", encode({Text, "not allowed"}), 1008},
        {"/slow", encode({Text, "1"}) + encode({Text, "2"}), 1008},
        {"/ws/room", encode({Close, std::string("\x03\xe9", 2)}), 1001},
        {"/app/" + ShopKey, encode({Binary, "x"}), 1003},
        {"/app/" + ShopKey, encode({3, "x"}), 1002},
        {"/app/" + ShopKey, encode({Close, ""}), 1005},
        {"/app/nobody", "", 4001},
        {"/app/", "", 4005},
        {"/app/" + ShopKey + "?protocol=3", "", 4007},
    };
    for (const Case& one : cases) {
        RawWebSocket client(nginx.port(), one.path);
        // What comes behind it is taken in, so that nothing resets the connection.
        client.sendBytes(one.bytes + std::string(100'000, 'x'));
        expectEqual(client.receiveClose(), one.code);
        expectEqual(client.socket().receiveUntilClosed(4s), "");
        expect(!client.socket().wasReset(), one.path + " was reset");
        client.sendBytes("more"); // and it still is
    }
    eventually([&] { return connections(nginx) == 0; }, "those that do not end it themselves are gone soon");
}

TEST(who_is_failed_has_heard_itself_before)
{
    auto options = endpoints();
    options.server += "location = /slow { realtime_pubsub slow rate=3r/s; }\n";
    const Nginx nginx(options);
    RawWebSocket fast(nginx.port(), "/slow");
    std::string bytes;
    for (int i = 0; i < 5; ++i) {
        bytes += encode({Text, std::to_string(i)});
    }
    fast.sendBytes(bytes);
    for (int i = 0; i < 3; ++i) {
        expectEqual(fast.receive().payload, std::to_string(i));
    }
    const Frame close = fast.receive();
    expectEqual(close.opcode, static_cast<unsigned>(Close));
    expectContains(close.payload, "too many messages");
}

// Not 'try again'. Where a message could never be stored, `nginx -t` cannot know it: the workers share the spool.
TEST(a_message_that_can_never_fit_is_too_big_at_every_door)
{
    auto options = shop(2);
    options.zone = "main 64m";
    options.http += "realtime_max_message_size 1m; client_max_body_size 1m;\n"
                    "realtime_broker away { server amqp://127.0.0.1:1; spool %DIR%/data/spool max=1m; }\n"
                    "realtime_app kept { key k; secret s; broker away; channels * { client_publish on; } }\n";
    options.server += "location ~ ^/kept/pub/(?<ch>.*)$ { realtime_publish $ch app=kept; }\n"
                      "location ~ ^/kept/ws/(?<ch>.*)$ { realtime_pubsub $ch app=kept; }\n";
    const Nginx nginx(options);
    const std::string large(600'000, 'x'); // each has half a megabyte of the spool
    expectEqual(post(nginx.url("/kept/pub/room"), large).status, 413L);
    RawWebSocket client(nginx.port(), "/kept/ws/room");
    client.send({Text, large});
    expectEqual(client.receiveClose(), 1009);
    RawWebSocket pusher(nginx.port(), "/app/k");
    expectContains(next(pusher).payload, "connection_established");
    pusher.send(
        {Text, R"({"event":"realtime:publish","data":{"ref":7,"channel":"room","event":"e","data":")" +
                   large + "\"}}"});
    expectContains(next(pusher).payload, R"(\"code\":413)");
    expectEqual(status(nginx, "publish_refused_total"), 0);
    expectEqual(status(nginx, "publish_invalid_total"), 3);
}

TEST(a_message_larger_than_the_zone_is_too_big_for_the_pusher_door)
{
    auto options = shop();
    options.zone = "main 1m";
    options.server =
        "realtime_max_message_size 1m;\n" + ShopPusherLocation + "location = /status { realtime_status; }\n";
    const Nginx nginx(options);
    RawWebSocket pusher(nginx.port(), "/app/" + ShopKey);
    expectContains(next(pusher).payload, "connection_established");
    pusher.send(
        {Text, R"({"event":"realtime:publish","data":{"ref":7,"channel":"room","event":"e","data":")" +
                   std::string(500'000, 'x') + "\"}}"});
    expectContains(next(pusher).payload, R"(\"code\":413)");
    pusher.send(
        {Text, R"({"event":"realtime:publish","data":{"ref":8,"channel":"room","event":"e","data":"x"}})"});
    expectContains(next(pusher).payload, "realtime:ack");
}

TEST(a_violation_in_single_bytes_is_seen_too)
{
    const Nginx nginx(endpoints());
    WebSocket witness(nginx.port(), "/sub/room");
    RawWebSocket client(nginx.port(), "/ws/room");
    for (const char byte : encode({Text, "ok"}) + encode({Text, "\xC3\x28"})) {
        client.sendBytes({&byte, 1});
        std::this_thread::sleep_for(1ms); // each byte in a packet of its own, mostly
    }
    expectEqual(witness.receiveText(), "ok");
    expectEqual(client.receiveClose(), 1007);
}

TEST(a_close_is_answered_and_the_subscriber_counted_off)
{
    const Nginx nginx(endpoints());
    RawWebSocket client(nginx.port(), "/sub/room");
    expectEqual(probe(nginx, "room"), 1);
    client.send({Close, std::string("\x03\xE8", 2) + "bye"});
    expectEqual(client.receiveClose(), 1000);
    client.socket().receiveUntilClosed();
    eventually([&] { return probe(nginx, "room") == 0; }, "no subscriber is left");
}

TEST(a_client_that_just_goes_is_counted_off)
{
    const Nginx nginx(endpoints());
    {
        const RawWebSocket client(nginx.port(), "/sub/room");
        expectEqual(probe(nginx, "room"), 1);
    }
    eventually([&] { return probe(nginx, "room") == 0; }, "no subscriber is left");
}

TEST(a_silent_client_is_pinged_and_then_dropped)
{
    auto options = endpoints();
    options.http = "realtime_ping 200ms; realtime_timeout 1s;";
    const Nginx nginx(options);
    WebSocket answering(nginx.port(), "/sub/room"); // libwebsockets answers pings by itself
    RawWebSocket mute(nginx.port(), "/sub/room");
    const auto begin = Clock::now();
    expectEqual(mute.receive().opcode, static_cast<unsigned>(Ping));
    answering.expectSilence(1500ms);
    mute.socket().receiveUntilClosed();
    const auto lived = Clock::now() - begin;
    expect(lived > 800ms, "not before its time");
    publish(nginx, "room", "hello");
    expectEqual(answering.receiveText(), "hello");
    expectEqual(probe(nginx, "room"), 1);
}

TEST(a_subscriber_that_does_not_read_is_closed_and_nobody_else_notices)
{
    auto options = endpoints();
    options.http = "realtime_buffer 64k;";
    options.listen = "sndbuf=16k";
    const Nginx nginx(options);
    RawWebSocket slow(nginx.port(), "/sub/room", "", 4096);
    WebSocket quick(nginx.port(), "/sub/room");
    const std::string message(8192, 'x');
    std::size_t received = 0;
    HttpClient publisher;
    HttpRequest request;
    request.url = nginx.url("/pub/room");
    request.method = "POST";
    request.body = message;
    std::int64_t subscribers = 2;
    for (int i = 0; i < 500 && subscribers == 2; ++i) {
        subscribers = Json::parse(publisher.send(request).body).at("subscribers").number();
        expect(quick.receiveText() == message, "the other gets all");
        ++received;
    }
    expectEqual(subscribers, 1);
    expectEqual(slow.receiveClose(), 1013);
}

TEST(since_replays_what_was_missed)
{
    const Nginx nginx(endpoints());
    const std::string first = publish(nginx, "room", "1");
    publish(nginx, "room", "2");
    publish(nginx, "room", "3");
    WebSocket resumed(nginx.port(), "/sub/room?since=" + first);
    expectEqual(resumed.receiveText(), "2");
    expectEqual(resumed.receiveText(), "3");
    publish(nginx, "room", "4");
    expectEqual(resumed.receiveText(), "4");

    WebSocket earliest(nginx.port(), "/sub/room?since=earliest");
    for (const char* expected : {"1", "2", "3", "4"}) {
        expectEqual(earliest.receiveText(), expected);
    }
    for (const char* path : {"/sub/room?since=latest", "/sub/room"}) {
        WebSocket latest(nginx.port(), path);
        latest.expectSilence(50ms);
    }
}

TEST(a_gap_is_announced_on_the_json_subprotocol)
{
    auto options = endpoints();
    options.http = "realtime_app default { channels * { history 2 1h; } }";
    const Nginx nginx(options);
    const std::string first = publish(nginx, "room", "1");
    for (const char* data : {"2", "3", "4"}) {
        publish(nginx, "room", data);
    }
    WebSocket resumed(nginx.port(), "/sub/room?since=" + first, "realtime.json");
    const Json gap = Json::parse(resumed.receiveText());
    expectEqual(gap.at("event").text(), "realtime:gap");
    expectEqual(gap.at("channel").text(), "room");
    expectEqual(Json::parse(resumed.receiveText()).at("data").text(), "3");
    expectEqual(Json::parse(resumed.receiveText()).at("data").text(), "4");

    // An id of another life of the channel: nothing can be said about what is between.
    WebSocket stranger(nginx.port(), "/sub/room?since=zzz-1", "realtime.json");
    expectEqual(Json::parse(stranger.receiveText()).at("event").text(), "realtime:gap");
}

TEST(a_since_that_is_not_ours_is_a_gap_and_the_socket_goes_on)
{
    const Nginx nginx(endpoints());
    publish(nginx, "room", "before");
    for (const char* since :
         {"nonsense", "1", "a-", "-1", "a-1-2", "a-99999999999999999999999", "A-1", "a-01"}) {
        WebSocket socket(nginx.port(), std::string("/sub/room?since=") + since, "realtime.json");
        expectEqual(Json::parse(socket.receiveText()).at("event").text(), "realtime:gap");
        publish(nginx, "room", since);
        for (std::string data; data != since;) { // what history there is comes before it
            data = Json::parse(socket.receiveText()).at("data").text();
        }
    }
}

TEST(history_off_forbids_resuming)
{
    auto options = endpoints();
    options.http = "realtime_app default { channels * { history off; } }";
    const Nginx nginx(options);
    publish(nginx, "room", "1");
    WebSocket earliest(nginx.port(), "/sub/room?since=earliest", "realtime.json");
    publish(nginx, "room", "2");
    Json event = Json::parse(earliest.receiveText());
    if (event.at("event").text() == "realtime:gap") {
        event = Json::parse(earliest.receiveText());
    }
    expectEqual(event.at("data").text(), "2");
}

TEST(the_access_log_has_a_line_for_the_handshake)
{
    const Nginx nginx(endpoints());
    const WebSocket subscriber(nginx.port(), "/sub/room");
    eventually([&] { return nginx.accessLog().find("\"GET /sub/room HTTP/1.1\" 101 ") != std::string::npos; },
               "the access log line of a live WebSocket");
}

TEST_MAIN()
