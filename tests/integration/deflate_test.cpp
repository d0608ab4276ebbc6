// permessage-deflate: what is negotiated, what goes compressed, what must not get in, and a reload.
#include "support/raw_socket.hpp"
#include "support/realtime.hpp"
#include "support/shop.hpp"
#include "support/websocket.hpp"

#include "wire/deflate.hpp"

#include <optional>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

constexpr unsigned Rsv1 = 4;
const std::string Offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
const std::string Answer = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
                           "client_no_context_takeover\r\n";

const std::string Paths[] = {"/sub/room", "/ws/room", "/app/" + ShopKey};

NginxOptions deflating(int workers = 1)
{
    NginxOptions options = shop(workers);
    options.server = "realtime_deflate on;\n" + options.server;
    return options;
}

std::string words(std::size_t size)
{
    std::string text;
    while (text.size() < size) {
        text += "word " + std::to_string(text.size()) + ' ';
    }
    text.resize(size);
    return text;
}

std::string inflated(const Frame& frame)
{
    expectEqual(frame.reserved, Rsv1);
    realtime::ws::Inflater inflater;
    const auto result = inflater.decompress(frame.payload, 1 << 20);
    expect(!result.error, "the frame can be decompressed");
    return std::string(result.message);
}

std::string compressed(std::string_view message)
{
    realtime::ws::Deflater deflater;
    return std::string(deflater.compress(message));
}

std::optional<WebSocket> connect(const Nginx& nginx, const std::string& path,
                                 const std::string& subprotocol = "", bool tls = false)
{
    WebSocketOptions options;
    options.port = tls ? nginx.tlsPort() : nginx.port();
    options.path = path;
    options.subprotocol = subprotocol;
    options.certificate = tls ? nginx.certificate() : "";
    options.deflate = true;
    return std::optional<WebSocket>(options);
}

std::string answerTo(const Nginx& nginx, const std::string& path, const std::string& headers)
{
    RawSocket socket(nginx.port());
    socket.send("GET " + path +
                " HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
                headers + "\r\n");
    return socket.receiveUntil("\r\n\r\n");
}

} // namespace

TEST(nothing_is_negotiated_where_it_is_off)
{
    const Nginx nginx(shop());
    for (const std::string& path : Paths) {
        const std::string head = answerTo(nginx, path, Offer);
        expectContains(head, "HTTP/1.1 101 ");
        expectLacks(head, "Sec-WebSocket-Extensions");
    }
    // Not even looked at.
    expectContains(answerTo(nginx, "/sub/room", "Sec-WebSocket-Extensions: ;;\r\n"), "HTTP/1.1 101 ");
    RawWebSocket socket(nginx.port(), "/ws/room", Offer);
    const std::string message = words(1000);
    publish(nginx, "room", message);
    const Frame frame = next(socket);
    expectEqual(frame.reserved, 0U);
    expectEqual(frame.payload, message);
    socket.send({Text, compressed(message), true, true, Rsv1});
    expectEqual(socket.receiveClose(), 1002);
}

TEST(an_offer_is_answered_or_declined)
{
    const Nginx nginx(deflating());
    const std::string name = "Sec-WebSocket-Extensions: ";
    for (const std::string& path : Paths) {
        expectContains(answerTo(nginx, path, Offer), Answer);
        expectContains(answerTo(nginx, path, name + "permessage-deflate; server_max_window_bits=15\r\n"),
                       "client_no_context_takeover; server_max_window_bits=12\r\n");
        for (const std::string offer : {"permessage-deflate; server_max_window_bits=10",
                                        "permessage-deflate; what", "x-webkit-deflate-frame"}) {
            const std::string head = answerTo(nginx, path, name + offer + "\r\n");
            expectContains(head, "HTTP/1.1 101 ");
            expectLacks(head, "Sec-WebSocket-Extensions");
        }
        expectLacks(answerTo(nginx, path, ""), "Sec-WebSocket-Extensions");
        // The header may come several times, and is one list.
        expectContains(answerTo(nginx, path, name + "foo\r\n" + Offer), Answer);
        expectContains(answerTo(nginx, path, name + "permessage-deflate;\r\n"), "HTTP/1.1 400 ");
        expectContains(answerTo(nginx, path, Offer + name + "a b\r\n"), "HTTP/1.1 400 ");
    }
}

TEST(the_directive_is_inherited_and_can_be_turned_off)
{
    NginxOptions options = endpoints();
    options.http = "realtime_deflate on;";
    options.server += "location /plain { realtime_deflate off; realtime_subscribe room; }";
    const Nginx nginx(options);
    expectContains(answerTo(nginx, "/sub/room", Offer), Answer);
    expectLacks(answerTo(nginx, "/plain", Offer), "Sec-WebSocket-Extensions");
}

TEST(subscribers_get_one_and_the_same_compressed_frame)
{
    const Nginx nginx(deflating());
    RawWebSocket alice(nginx.port(), "/sub/room", Offer);
    RawWebSocket bob(nginx.port(), "/sub/room", Offer);
    RawWebSocket plain(nginx.port(), "/sub/room");
    RawWebSocket json(nginx.port(), "/sub/room", Offer + "Sec-WebSocket-Protocol: realtime.json\r\n");
    for (const std::size_t size : {500, 65535}) {
        const std::string message = words(size);
        publish(nginx, "room", message);
        const Frame first = next(alice);
        expect(first.payload.size() < size / 2, "it is smaller");
        expectEqual(inflated(first), message);
        expectEqual(next(bob).payload, first.payload);
        const Frame uncompressed = next(plain);
        expectEqual(uncompressed.reserved, 0U);
        expectEqual(uncompressed.payload, message);
        expectEqual(Json::parse(inflated(next(json))).at("data").text(), message);
    }
    publish(nginx, "room", "short");
    const Frame small = next(alice);
    expectEqual(small.reserved, 0U);
    expectEqual(small.payload, "short");

    // Each of the two was compressed once as it is and once as an envelope.
    eventually([&] { return status(nginx, "deflate_in_bytes_total") > 2L * (500 + 65535); }, "it is counted");
    expect(status(nginx, "deflate_in_bytes_total") < 2 * (500 + 65535) + 1000, "once for all");
    expect(status(nginx, "deflate_out_bytes_total") < 65535, "and has become smaller");
}

// Compressed messages only: libwebsockets never gets done with one that is not, once the extension is negotiated (its
// issue 2794). tests/clients/deflate.test.js has both.
TEST(libwebsockets_understands_and_is_understood)
{
    NginxOptions options = deflating();
    options.tls = true;
    options.server = "realtime_max_message_size 256k; client_max_body_size 256k;\n" + options.server;
    const Nginx nginx(options);
    for (const bool tls : {false, true}) {
        auto alice = connect(nginx, "/ws/room", "", tls);
        auto json = connect(nginx, "/sub/room", "realtime.json", tls);
        expectContains(alice->acceptedExtensions(), "permessage-deflate");
        expectContains(json->acceptedExtensions(), "permessage-deflate");
        expectEqual(json->acceptedSubprotocol(), "realtime.json");
        for (const std::size_t size : {128, 1000, 65535, 65536, 200'000}) {
            const std::string message = words(size);
            alice->send(message); // there compressed, and back
            expect(alice->receiveText() == message, std::to_string(size) + " bytes come back");
            expect(Json::parse(json->receiveText()).at("data").text() == message, "also in an envelope");
        }
        const std::string binary = std::string(3000, '\xfe') + '\0';
        alice->sendBinary(binary);
        const WebSocketMessage back = alice->receive();
        expect(back.binary && back.data == binary, "bytes come back");
        json->receiveText();
        publish(nginx, "room", words(2000));
        expectEqual(alice->receiveText(), words(2000));
        alice->close();
    }
}

TEST(history_comes_plain_and_goes_on_compressed)
{
    const Nginx nginx(deflating());
    publish(nginx, "room", words(1000));
    RawWebSocket socket(nginx.port(), "/sub/room?since=earliest", Offer);
    const Frame old = next(socket);
    expectEqual(old.reserved, 0U);
    expectEqual(old.payload, words(1000));
    publish(nginx, "room", words(1001));
    expectEqual(inflated(next(socket)), words(1001));
}

TEST(pusher_events_are_compressed_and_answers_are_not)
{
    const Nginx nginx(deflating());
    RawWebSocket socket(nginx.port(), "/app/" + ShopKey, Offer);
    expectContains(next(socket).payload, "connection_established");
    const std::string subscribe = R"({"event":"pusher:subscribe","data":{"channel":"news"}})";
    socket.send({Text, subscribe + std::string(200, ' ')});
    expectContains(next(socket).payload, "subscription_succeeded");
    next(socket); // subscription_count
    shopPublish(nginx, "news", words(1000));
    expectContains(inflated(next(socket)), "\"channel\":\"news\"");
    const std::string other =
        R"({"event":"pusher:subscribe","data":{"channel":"other"}})" + std::string(200, ' ');
    socket.send({Text, compressed(other), true, true, Rsv1});
    expectContains(next(socket).payload, "subscription_succeeded");
    next(socket);
    shopPublish(nginx, "other", words(1000)); // now it follows two
    expectContains(inflated(next(socket)), "\"channel\":\"other\"");
}

TEST(what_a_client_may_not_send_compressed)
{
    NginxOptions options = deflating();
    options.server = "realtime_max_message_size 4k;\n" + options.server;
    const Nginx nginx(options);
    const std::string good = compressed(words(1000));
    const auto closeOf = [&](std::initializer_list<Frame> frames) {
        RawWebSocket socket(nginx.port(), "/ws/room", Offer);
        for (const Frame& frame : frames) {
            socket.send(frame);
        }
        return socket.receiveClose();
    };
    expectEqual(closeOf({{Text, compressed(std::string(4097, 'a')), true, true, Rsv1}}), 1009);
    expectEqual(closeOf({{Text, compressed(std::string(8'000'000, 'a')).substr(0, 4000), true, true, Rsv1}}),
                1009);
    expectEqual(closeOf({{Binary, std::string(1000, 'x'), false, true, Rsv1},
                         {Continuation, std::string(3900, 'x')}}),
                1009);
    expectEqual(closeOf({{Text, "this was not compressed", true, true, Rsv1}}), 1007);
    expectEqual(closeOf({{Text, good.substr(0, good.size() - 5), true, true, Rsv1}}), 1007);
    expectEqual(closeOf({{Text, compressed(std::string(300, '\xff')), true, true, Rsv1}}), 1007);
    expectEqual(closeOf({{Ping, "x", true, true, Rsv1}}), 1002);
    expectEqual(
        closeOf({{Text, good.substr(0, 10), false, true, Rsv1}, {Continuation, good, true, true, Rsv1}}),
        1002);
    expectEqual(closeOf({{Text, good, true, true, 2}}), 1002);
    expectEqual(closeOf({{Text, good, true, true, Rsv1 | 1}}), 1002);
    expectEqual(status(nginx, "protocol_errors_total"), 10);
    expectEqual(status(nginx, "published_websocket_total"), 0);

    // Just as many as allowed.
    RawWebSocket socket(nginx.port(), "/ws/room", Offer);
    socket.send({Text, compressed(std::string(4096, 'a')), true, true, Rsv1});
    expectEqual(inflated(next(socket)), std::string(4096, 'a'));
}

TEST_WITH_WORKERS(a_reload_keeps_what_was_negotiated)
{
    NginxOptions options = deflating(workers);
    Nginx nginx(options);
    RawWebSocket raw(nginx.port(), "/ws/room", Offer);
    RawWebSocket json(nginx.port(), "/sub/room", Offer + "Sec-WebSocket-Protocol: realtime.json\r\n");
    RawWebSocket pusher(nginx.port(), "/app/" + ShopKey, Offer);
    RawWebSocket plain(nginx.port(), "/sub/room");
    auto client = connect(nginx, "/ws/room");
    next(pusher);
    pusher.send({Text, R"({"event":"pusher:subscribe","data":{"channel":"news"}})"});
    next(pusher);
    next(pusher);
    // Half of a compressed message goes along.
    const std::string message = words(3000);
    const std::string payload = compressed(message);
    raw.send({Text, payload.substr(0, 100), false, true, Rsv1});
    reloadAndWait(nginx);
    raw.send({Continuation, payload.substr(100, 200), false});
    reloadAndWait(nginx);
    raw.send({Continuation, payload.substr(300)});
    expectEqual(inflated(next(raw)), message);
    expectEqual(Json::parse(inflated(next(json))).at("data").text(), message);
    expectEqual(next(plain).payload, message);
    expectEqual(client->receiveText(), message);
    client->send(words(5000));
    expectEqual(inflated(next(raw)), words(5000));
    expectEqual(client->receiveText(), words(5000));
    shopPublish(nginx, "news", words(1000));
    expectContains(inflated(next(pusher)), "\"channel\":\"news\"");

    client->close();

    // A configuration that does not want it any more sends plain frames, and understands those that come.
    NginxOptions off = shop(workers);
    nginx.rewrite(off);
    reloadAndWait(nginx);
    raw.send({Text, payload, true, true, Rsv1});
    const Frame frame = next(raw);
    expectEqual(frame.reserved, 0U);
    expectEqual(frame.payload, message);
    expectLacks(answerTo(nginx, "/sub/room", Offer), "Sec-WebSocket-Extensions");
    nginx.rewrite(options);
    reloadAndWait(nginx);
    raw.send({Text, words(6000)});
    expectEqual(inflated(next(raw)), words(6000));
    expectEqual(status(nginx, "handed_over_total"), 2 * 5 + 2 * 4);
    expectEqual(status(nginx, "handover_failed_total"), 0);
}

TEST_MAIN()
