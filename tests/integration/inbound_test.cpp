// What a client may begin and not finish, ask for and not read: half messages, pings, and what waits for it.
#include "support/pusher.hpp"
#include "support/raw_socket.hpp"
#include "support/realtime.hpp"
#include "support/shop.hpp"

#include "wire/deflate.hpp"

#include <memory>
#include <vector>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

constexpr unsigned Rsv1 = 4;
const std::string Deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

NginxOptions impatient(const std::string& timeout)
{
    NginxOptions options = shop();
    options.http =
        "realtime_ping 200ms; realtime_timeout " + timeout + "; realtime_deflate on;\n" + options.http;
    return options;
}

// Begins a message of so many bytes, and lets the last one out.
void beginMessage(RawWebSocket& client, std::size_t size)
{
    const std::string frame = encode({Text, std::string(size, 'x')});
    client.sendBytes(frame.substr(0, frame.size() - 1));
}

// The last byte of that.
void endMessage(RawWebSocket& client, std::size_t size)
{
    const std::string frame = encode({Text, std::string(size, 'x')});
    client.sendBytes(frame.substr(frame.size() - 1));
}

// Sends a byte now and then until it is closed, and returns the code.
int codeAfterTrickle(RawWebSocket& client, const std::string& bytes)
{
    std::size_t at = 0;
    int code = 0;
    eventually(
        [&] {
            if (at < bytes.size()) {
                client.sendBytes(bytes.substr(at++, 1));
            }
            while (code == 0 && client.pending()) {
                const Frame frame = client.receive();
                if (frame.opcode == Close) {
                    code = static_cast<unsigned char>(frame.payload.at(0)) << 8 |
                           static_cast<unsigned char>(frame.payload.at(1));
                }
            }
            return code != 0;
        },
        "it is closed", 30s);
    return code;
}

void awaitStatus(const Nginx& nginx, const std::string& name, std::int64_t value)
{
    eventually([&] { return status(nginx, name) == value; }, name + " is " + std::to_string(value));
}

} // namespace

// --- half messages --------------------------------------------------------------------------------------------------

TEST(half_of_anything_has_realtime_timeout_from_its_first_byte)
{
    const Nginx nginx(impatient("1s"));
    const std::string large = encode({Text, std::string(60'000, 'q')});
    const std::string ping = encode({Ping, "ping"});
    realtime::ws::Deflater deflater;
    const std::string compressed(deflater.compress(std::string(10'000, 'a')));
    const std::vector<std::string> halves{
        large.substr(0, 1),
        large.substr(0, 3),
        large.substr(0, 7),
        large.substr(0, 8),
        large.substr(0, large.size() - 1),
        encode({Text, "a", false}),
        encode({Text, "", false}),
        encode({Text, "a", false}) + ping.substr(0, 3),
        encode({Text, "a", false}) + encode({Continuation, "b", false}),
        ping.substr(0, 1),
        ping.substr(0, ping.size() - 1),
        encode({Close, "\x03\xe8"}).substr(0, 3),
        encode({Text, "whole"}) + large.substr(0, 2),
        encode({Text, compressed.substr(0, 5), false, true, Rsv1}),
        encode({Text, compressed, true, true, Rsv1}).substr(0, 10),
    };
    std::vector<std::unique_ptr<RawWebSocket>> clients;
    for (const std::string& path : {std::string("/ws/room"), std::string("/sub/room"), "/app/" + ShopKey}) {
        for (const std::string& half : halves) {
            if (path == "/sub/room" && half.starts_with(encode({Text, "whole"}))) {
                continue; // a whole message is not welcome there
            }
            clients.push_back(std::make_unique<RawWebSocket>(nginx.port(), path, Deflate));
            clients.back()->sendBytes(half);
        }
    }
    // Pongs are signs of life, and no excuse.
    RawWebSocket alive(nginx.port(), "/ws/alive");
    beginMessage(alive, 100);
    for (auto& client : clients) {
        expectEqual(client->receiveClose(), 1008);
        client->socket().receiveUntilClosed(4s);
    }
    expectEqual(alive.receiveClose(), 1008);
    awaitStatus(nginx, "partial_timed_out_total", static_cast<std::int64_t>(clients.size()) + 1);
    awaitStatus(nginx, "partial_messages", 0);
    expectEqual(status(nginx, "partial_bytes"), 0);
}

TEST(a_byte_now_and_then_does_not_keep_a_message_alive)
{
    const Nginx nginx(impatient("1s"));
    const std::string frame = encode({Text, std::string(60'000, 'q')});
    const std::string fragment = encode({Continuation, "", false});
    std::string fragments = encode({Text, "", false});
    for (int i = 0; i < 10'000; ++i) {
        fragments += fragment;
    }
    std::string between = encode({Text, "a", false}); // control frames are whole, the message is not
    for (int i = 0; i < 10'000; ++i) {
        between += encode({Pong, ""});
    }
    for (const std::string& bytes : {frame, fragments, between}) {
        RawWebSocket client(nginx.port(), "/ws/room");
        expectEqual(codeAfterTrickle(client, bytes), 1008);
    }
}

// Who always has half of the next message in the pipe sends messages, and none of them takes long.
TEST(a_stream_of_messages_that_are_cut_anywhere_goes_on)
{
    const Nginx nginx(impatient("1s"));
    RawWebSocket busy(nginx.port(), "/ws/busy");
    RawWebSocket slow(nginx.port(), "/ws/slow");
    beginMessage(slow, 10);
    const std::string message = encode({Text, std::string(1000, 'b')});
    busy.sendBytes(message.substr(0, 500));
    bool over = false;
    eventually(
        [&] {
            busy.sendBytes(message.substr(500) + message.substr(0, 500));
            Frame echo = next(busy);
            expect(echo.opcode == Text && echo.payload == std::string(1000, 'b'), "it comes back");
            while (!over && slow.pending()) {
                over = slow.receive().opcode == Close;
            }
            return over;
        },
        "the slow one is closed", 30s);
    for (int i = 0; i < 10; ++i) {
        busy.sendBytes(message.substr(500) + message.substr(0, 500));
        expectEqual(next(busy).payload, std::string(1000, 'b'));
    }
    expectEqual(status(nginx, "partial_timed_out_total"), 1);
}

TEST(the_deadline_of_half_a_message_goes_with_it_over_reloads)
{
    Nginx nginx(impatient("3s"));
    RawWebSocket client(nginx.port(), "/ws/room");
    RawWebSocket header(nginx.port(), "/ws/room");
    RawWebSocket whole(nginx.port(), "/ws/other");
    const std::string frame = encode({Text, std::string(60'000, 'q')});
    client.sendBytes(frame.substr(0, 10));
    header.sendBytes(frame.substr(0, 1));
    const auto begin = Clock::now();
    std::size_t at = 10;
    int closed = 0;
    const auto look = [&](RawWebSocket& one) {
        while (one.pending()) {
            const Frame got = one.receive();
            if (got.opcode == Close) {
                expectEqual(got.payload.substr(0, 2), std::string("\x03\xf0", 2)); // 1008
                return 1;
            }
        }
        return 0;
    };
    bool clientOver = false;
    bool headerOver = false;
    while (!clientOver || !headerOver) {
        expect(Clock::now() - begin < 30s, "a reload does not give it more time");
        whole.sendBytes(frame.substr(0, frame.size() / 2));
        reloadAndWait(nginx);
        whole.sendBytes(frame.substr(frame.size() / 2));
        expectEqual(next(whole).payload.size(), 60'000U);
        if (!clientOver) {
            client.sendBytes(frame.substr(at++, 1));
            clientOver = look(client) != 0;
            closed += clientOver ? 1 : 0;
        }
        if (!headerOver) {
            headerOver = look(header) != 0;
            closed += headerOver ? 1 : 0;
        }
    }
    expectEqual(closed, 2);
    expect(Clock::now() - begin > 2s, "and not less");
    expectEqual(status(nginx, "handover_failed_total"), 0);
}

TEST(past_realtime_partial_the_largest_goes_and_the_others_end_as_they_like)
{
    auto options = shop();
    options.http =
        "realtime_partial 1m; realtime_max_message_size 512k; realtime_buffer 16m;\n" + options.http;
    const Nginx nginx(options);
    RawWebSocket small(nginx.port(), "/ws/a");
    RawWebSocket largest(nginx.port(), "/ws/b");
    RawWebSocket second(nginx.port(), "/ws/c");
    RawWebSocket third(nginx.port(), "/ws/d");
    beginMessage(small, 100'000);
    awaitStatus(nginx, "partial_messages", 1);
    beginMessage(largest, 500'000);
    beginMessage(second, 300'000);
    awaitStatus(nginx, "partial_messages", 3);
    beginMessage(third, 290'000);
    expectEqual(largest.receiveClose(), 1013);
    awaitStatus(nginx, "partial_messages", 3);
    expectEqual(status(nginx, "partial_closed_total"), 1);
    const std::int64_t bytes = status(nginx, "partial_bytes");
    expect(bytes > 690'000 && bytes <= 1 << 20, "what is left: " + std::to_string(bytes));
    for (const auto& [client, size] : {std::pair(&small, 100'000), {&second, 300'000}, {&third, 290'000}}) {
        endMessage(*client, static_cast<std::size_t>(size));
        expectEqual(next(*client).payload.size(), static_cast<std::size_t>(size));
    }
    awaitStatus(nginx, "partial_bytes", 0);

    // Alone it may be as large as a message.
    beginMessage(small, 512 * 1024);
    awaitStatus(nginx, "partial_messages", 1);
    endMessage(small, 512 * 1024);
    expectEqual(next(small).payload.size(), 512U * 1024);

    // On the Pusher protocol it is over capacity.
    RawWebSocket pusher(nginx.port(), "/app/" + ShopKey);
    expectContains(next(pusher).payload, "connection_established");
    beginMessage(pusher, 510'000);
    beginMessage(small, 400'000);
    beginMessage(second, 400'000);
    expectEqual(pusher.receiveClose(), 4100);
}

// Headers only, or single fragments: each costs more than its bytes.
TEST(many_small_halves_are_bounded_as_well)
{
    constexpr int Many = 3000;
    auto options = shop();
    options.connections = 4 * Many;
    options.http = "realtime_partial 256k;\n" + options.http;
    Nginx nginx(options);
    RawWebSocket witness(nginx.port(), "/ws/witness");
    std::vector<std::unique_ptr<RawWebSocket>> clients;
    for (int i = 0; i < Many; ++i) {
        clients.push_back(std::make_unique<RawWebSocket>(nginx.port(), "/ws/room"));
        clients.back()->sendBytes(i % 2 == 0 ? std::string("\x81", 1) : encode({Text, "a", false}));
    }
    eventually([&] { return status(nginx, "partial_closed_total") > Many / 2; }, "some are closed");
    const auto bounded = [&](std::int64_t most) {
        eventually([&] { return status(nginx, "partial_messages") > 20; }, "those that fit may stay");
        const std::int64_t bytes = status(nginx, "partial_bytes");
        expect(bytes <= most, std::to_string(bytes) + " bytes");
        expect(bytes / status(nginx, "partial_messages") > 200, "each counts with all that it takes");
    };
    bounded(256 * 1024);
    witness.send({Text, "still here"});
    expectEqual(next(witness).payload, "still here");

    // The new worker has a bound, too.
    options.http = "realtime_partial 32k;\n" + options.http.substr(options.http.find('\n') + 1);
    nginx.rewrite(options);
    reloadAndWait(nginx);
    bounded(32 * 1024);
    witness.send({Text, "here again"});
    expectEqual(next(witness).payload, "here again");
}

// --- pings ----------------------------------------------------------------------------------------------------------

TEST(pings_within_the_rate_are_all_answered)
{
    auto options = endpoints();
    options.server += "location /fast { realtime_pubsub fast; realtime_ping_rate 5000r/s; }\n"
                      "location /slow { realtime_pubsub slow; realtime_ping_rate 30r/m; }\n";
    const Nginx nginx(options);
    const auto pings = [](int count) {
        std::string bytes;
        for (int i = 0; i < count; ++i) {
            bytes += encode({Ping, std::to_string(i)});
        }
        return bytes;
    };
    RawWebSocket fast(nginx.port(), "/fast");
    fast.sendBytes(pings(5000));
    for (int i = 0; i < 5000; ++i) {
        expectEqual(next(fast).payload, std::to_string(i));
    }
    expectEqual(status(nginx, "pings_skipped_total"), 0);

    // The first, and then the latest, when it is time: what the client sends meanwhile is not held up by that.
    RawWebSocket slow(nginx.port(), "/slow");
    slow.sendBytes(pings(3) + encode({Text, "hello"}));
    expectEqual(slow.receive().payload, "0");
    expectEqual(slow.receive().payload, "hello");
    expectEqual(slow.receive().payload, "2");
    expectEqual(status(nginx, "pings_skipped_total"), 1);
}

TEST(past_the_rate_only_the_latest_ping_is_answered)
{
    const Nginx nginx(endpoints());
    RawWebSocket client(nginx.port(), "/ws/room");
    constexpr int Many = 100'000;
    std::string bytes;
    for (int i = 0; i < Many; ++i) {
        bytes += encode({Ping, std::to_string(i)});
    }
    client.sendBytes(bytes);
    int pongs = 0;
    std::string last;
    while (last != std::to_string(Many - 1)) {
        const Frame pong = client.receive();
        expectEqual(pong.opcode, static_cast<unsigned>(Pong));
        expect(toInt(pong.payload) >= toInt(last), "in order");
        last = pong.payload;
        ++pongs;
    }
    expect(pongs >= 11 && pongs < 1000, std::to_string(pongs) + " pongs");
    expectEqual(status(nginx, "pings_skipped_total"), Many - pongs);
    client.send({Text, "still here"});
    expectEqual(next(client).payload, "still here");
}

TEST(who_sends_pings_and_reads_nothing_makes_nothing_queue_up)
{
    auto options = endpoints();
    options.listen = "sndbuf=4k";
    options.server +=
        "location /fast { realtime_pubsub fast; realtime_ping_rate 1000000r/s; realtime_buffer 16k; }\n";
    const Nginx nginx(options);
    RawWebSocket client(nginx.port(), "/fast", "", 2048);
    RawWebSocket witness(nginx.port(), "/ws/other");
    const std::string payload(100, 'p');
    constexpr int Rounds = 100;
    for (int i = 0; i < Rounds; ++i) {
        std::string bytes;
        for (int k = 0; k < 1000; ++k) {
            bytes += encode({Ping, payload + std::to_string(i * 1000 + k)});
        }
        client.sendBytes(bytes);
    }
    witness.send({Text, "all is read"});
    expectEqual(next(witness).payload, "all is read");
    // Had they queued up, it would be closed.
    std::string last;
    int pongs = 0;
    while (last != payload + std::to_string(Rounds * 1000 - 1)) {
        last = client.receive().payload;
        ++pongs;
    }
    expect(pongs < Rounds * 1000 / 2, std::to_string(pongs) + " pongs");
    client.send({Text, "still here"});
    expectEqual(client.receive().payload, "still here");
}

TEST(a_pong_that_is_owed_is_not_lost_on_a_reload)
{
    auto options = shop();
    options.server += "location /slow { realtime_pubsub slow; realtime_ping_rate 1r/m; }\n";
    Nginx nginx(options);
    RawWebSocket client(nginx.port(), "/slow");
    client.sendBytes(encode({Ping, "first"}) + encode({Ping, "second"}) + encode({Ping, "third"}));
    expectEqual(client.receive().payload, "first");
    reloadAndWait(nginx);
    expectEqual(client.receive().payload, "third");
    client.send({Text, "hello"});
    expectEqual(next(client).payload, "hello");
}

// --- what waits -----------------------------------------------------------------------------------------------------

TEST(what_waits_is_counted_with_what_it_takes_to_keep_it)
{
    auto options = endpoints();
    options.http = "realtime_buffer 64k;";
    options.listen = "sndbuf=4k";
    const Nginx nginx(options);
    RawWebSocket slow(nginx.port(), "/sub/room", "", 2048);
    RawWebSocket publisher(nginx.port(), "/ws/room");
    for (int sent = 0; status(nginx, "slow_closed_total") == 0; sent += 200) {
        expect(sent < 200'000, "it is closed");
        for (int i = 0; i < 200; ++i) { // one at a time: what comes together is one frame
            publisher.send({Text, "x"});
            next(publisher);
        }
    }
    const std::string log = nginx.errorLog();
    const std::size_t at = log.find(" bytes wait and take ");
    expect(at != std::string::npos, "it is said");
    const int waits = toInt(log.substr(log.rfind(' ', at - 1) + 1));
    expect(waits > 1000 && waits < 16 * 1024, "messages of three bytes cost more: " + std::to_string(waits));
    expectEqual(slow.receiveClose(), 1013);
}

TEST_MAIN()
