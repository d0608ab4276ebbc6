// A reload moves WebSockets to the new workers: nobody is disconnected, and nothing is lost, repeated or reordered.
#include "support/crowd.hpp"
#include "support/realtime.hpp"
#include "support/websocket.hpp"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <thread>

#include "testing.hpp"

using namespace realtime::testing;

TEST_WITH_WORKERS(a_reload_disconnects_no_websocket)
{
    Nginx nginx(shop(workers));
    std::vector<std::unique_ptr<RawWebSocket>> sockets;
    for (int i = 0; i < 16; ++i) {
        sockets.push_back(
            std::make_unique<RawWebSocket>(nginx.port(), i % 2 == 0 ? "/sub/room" : "/ws/room",
                                           i % 4 == 0 ? "Sec-WebSocket-Protocol: realtime.json\r\n" : ""));
    }
    publish(nginx, "room", "before");
    for (int round = 1; round <= 3; ++round) {
        const auto old = nginx.workers();
        nginx.reload();
        publish(nginx, "room", "during");
        eventually([&] { return std::all_of(old.begin(), old.end(), gone); }, "the old workers end", 10s);
        publish(nginx, "room", "after");
    }
    for (std::size_t i = 0; i < sockets.size(); ++i) {
        for (const std::string_view wanted :
             {"before", "during", "after", "during", "after", "during", "after"}) {
            const std::string payload = next(*sockets[i]).payload;
            i % 4 == 0 ? expectContains(payload, std::string(wanted)) : expectEqual(payload, wanted);
        }
    }
    expectEqual(status(nginx, "handed_over_total"), 3 * 16);
    expectEqual(status(nginx, "handover_failed_total"), 0);
    sockets[1]->send({Text, "from a client that has moved"});
    for (std::size_t i = 0; i < sockets.size(); ++i) {
        expectContains(next(*sockets[i]).payload, "from a client that has moved");
    }
    expectEqual(probe(nginx, "room"), 16);
    sockets.clear();
    eventually([&] { return probe(nginx, "room") == 0; }, "all are seen to leave");
}

TEST(half_a_frame_and_half_a_message_survive)
{
    Nginx nginx(shop());
    RawWebSocket listener(nginx.port(), "/sub/side");
    RawWebSocket fragmented(nginx.port(), "/ws/own");
    RawWebSocket cut(nginx.port(), "/ws/side?event=named");
    fragmented.send({Text, "first, ", false});
    const std::string frame = encode({Text, std::string(300, 'x')});
    cut.sendBytes(frame.substr(0, 3)); // in the middle of its length
    reloadAndWait(nginx);
    fragmented.send({Continuation, "second, ", false});
    cut.sendBytes(frame.substr(3, 100));
    reloadAndWait(nginx);
    fragmented.send({Continuation, "third"});
    cut.sendBytes(frame.substr(103));
    expectEqual(next(fragmented).payload, "first, second, third");
    expectEqual(next(listener).payload, std::string(300, 'x'));
    expectEqual(status(nginx, "handed_over_total"), 6);
}

TEST(what_a_slow_reader_has_not_read_yet_arrives_in_order_and_once)
{
    auto options = shop();
    options.server =
        "realtime_buffer 32m;\nrealtime_max_message_size 512k;\nclient_max_body_size 1m;\n" + options.server;
    Nginx nginx(options);
    RawWebSocket slow(nginx.port(), "/sub/big", "", 4096);
    constexpr int Messages = 60;
    for (int i = 0; i < Messages; ++i) {
        publish(nginx, "big", std::to_string(i) + std::string(200'000, static_cast<char>('a' + i % 26)));
        if (i % 20 == 10) {
            reloadAndWait(nginx);
        }
    }
    for (int i = 0; i < Messages; ++i) {
        const Frame frame = next(slow);
        expect(frame.payload == std::to_string(i) + std::string(200'000, static_cast<char>('a' + i % 26)),
               "message " + std::to_string(i));
    }
    expectEqual(status(nginx, "handed_over_total"), 3);
}

TEST(a_history_that_is_being_replayed_goes_on_behind_the_reload)
{
    auto options = shop();
    options.zone = "main 64m";
    options.server = "realtime_max_message_size 1m;\nclient_max_body_size 1m;\n" + options.server;
    Nginx nginx(options);
    constexpr int Old = 60;
    constexpr int All = 80;
    const auto text = [](int i) { return std::to_string(i) + std::string(100'000, 'x'); };
    for (int i = 0; i < Old; ++i) {
        publish(nginx, "past", text(i));
    }
    RawWebSocket slow(nginx.port(), "/sub/past?since=earliest", "", 4096);
    reloadAndWait(nginx);
    for (int i = Old; i < All; ++i) {
        publish(nginx, "past", text(i));
    }
    reloadAndWait(nginx);
    for (int i = 0; i < All; ++i) {
        expect(next(slow).payload == text(i), "message " + std::to_string(i));
    }
}

TEST_WITH_WORKERS(presence_counts_and_webhooks_do_not_notice_a_reload)
{
    Nginx nginx(shop(workers));
    PusherClient alice(nginx.port(), ShopKey, ShopSecret);
    PusherClient bob(nginx.port(), ShopKey, ShopSecret);
    alice.subscribe("presence-room", R"({"user_id":"alice","user_info":{"name":"Alice"}})");
    bob.subscribe("presence-room", R"({"user_id":"bob"})");
    expectEqual(alice.receive().event, "pusher_internal:member_added");
    alice.subscribe("private-desk");
    bob.subscribe("private-desk");
    alice.subscribe("counted");
    PusherEvent last;
    do { // counts of "private-desk" and "counted"
        last = alice.receive();
    } while (last.channel != "counted");
    bob.subscribe("counted");
    expectContains(alice.receive().data, "2");
    alice.signIn(R"({"id":"alice"})");
    eventually([&] { return hooks(nginx) > 0; }, "webhooks are sent at all");
    // What is told late is told after three seconds.
    std::this_thread::sleep_for(1s);
    const std::size_t told = hooks(nginx);

    for (int i = 0; i < 3; ++i) {
        reloadAndWait(nginx);
    }
    bob.trigger("client-hello", "private-desk", "{\"n\":1}");
    PusherEvent heard = alice.receive();
    while (heard.event == "pusher_internal:subscription_count") {
        heard = alice.receive(); // told a moment after the last who came
    }
    expectEqual(heard.event, "client-hello");
    shopPublish(nginx, "counted", "tick");
    for (PusherClient* one : {&alice, &bob}) {
        PusherEvent event = one->receive();
        while (event.event == "pusher_internal:subscription_count" &&
               event.data.find("2") != std::string::npos) {
            event = one->receive(); // bob has not read his own count yet
        }
        expectEqual(event.data, "tick");
    }
    eventually([&] { return hooks(nginx) > told; }, "the webhook of the client event");
    expectEqual(hooks(nginx), told + 1);

    PusherClient carol(nginx.port(), ShopKey, ShopSecret);
    const PusherEvent snapshot = carol.subscribe("presence-room", R"({"user_id":"carol"})");
    const Json presence = Json::parse(snapshot.data).at("presence");
    expectEqual(presence.at("count").number(), 3);
    expectEqual(presence.at("hash").at("alice").at("name").text(), "Alice");
    expectEqual(alice.receive().event, "pusher_internal:member_added");
    expectEqual(bob.receive().event, "pusher_internal:member_added");
}

TEST(a_member_that_moved_is_seen_to_leave_when_it_does)
{
    Nginx nginx(shop(2));
    PusherClient alice(nginx.port(), ShopKey, ShopSecret);
    alice.subscribe("presence-room", R"({"user_id":"alice"})");
    {
        PusherClient bob(nginx.port(), ShopKey, ShopSecret);
        bob.subscribe("presence-room", R"({"user_id":"bob"})");
        expectEqual(alice.receive().event, "pusher_internal:member_added");
        reloadAndWait(nginx);
    }
    const PusherEvent event = alice.receive();
    expectEqual(event.event, "pusher_internal:member_removed");
    expectContains(event.data, "bob");
}

TEST(reloads_in_quick_succession_move_connections_all_the_way)
{
    Nginx nginx(shop(2));
    std::vector<std::unique_ptr<RawWebSocket>> sockets;
    for (int i = 0; i < 40; ++i) {
        sockets.push_back(std::make_unique<RawWebSocket>(nginx.port(), "/sub/room"));
    }
    for (int i = 0; i < 6; ++i) {
        kill(nginx.master(), SIGHUP);
        publish(nginx, "room", std::to_string(i));
    }
    reloadAndWait(nginx);
    eventually([&] { return nginx.workers().size() == 2; }, "one generation is left");
    publish(nginx, "room", "last");
    for (auto& socket : sockets) {
        for (int i = 0; i < 6; ++i) {
            expectEqual(next(*socket).payload, std::to_string(i));
        }
        expectEqual(next(*socket).payload, "last");
    }
}

TEST(fewer_workers_take_all_connections)
{
    auto options = shop(4);
    Nginx nginx(options);
    std::vector<std::unique_ptr<RawWebSocket>> sockets;
    for (int i = 0; i < 40; ++i) {
        sockets.push_back(std::make_unique<RawWebSocket>(nginx.port(), "/sub/room"));
    }
    options.workers = 1;
    nginx.rewrite(options);
    const auto old = nginx.workers();
    kill(nginx.master(), SIGHUP);
    eventually([&] { return std::all_of(old.begin(), old.end(), gone); }, "the old workers end", 10s);
    publish(nginx, "room", "hello");
    for (auto& socket : sockets) {
        expectEqual(next(*socket).payload, "hello");
    }
}

TEST(what_the_new_configuration_does_not_have_is_told)
{
    auto options = shop();
    Nginx nginx(options);
    RawWebSocket kept(nginx.port(), "/sub/room");
    RawWebSocket location(nginx.port(), "/shop/sub/room");
    PusherClient endpoint(nginx.port(), ShopKey, ShopSecret);
    endpoint.subscribe("room");
    replaceAll(options.server, ShopPusherLocation, "");
    replaceAll(options.server, "realtime_subscribe $ch app=shop;", "realtime_subscribe other.$ch app=shop;");
    nginx.rewrite(options);
    reloadAndWait(nginx);
    expectEqual(location.receiveClose(), 1012);
    expectEqual(endpoint.receiveClose(), 4200);
    publish(nginx, "room", "still here");
    expectEqual(next(kept).payload, "still here");
    expectEqual(status(nginx, "handover_failed_total"), 2);
}

TEST(clients_of_an_app_that_is_gone_are_told_so)
{
    auto options = shop();
    Nginx nginx(options);
    RawWebSocket raw(nginx.port(), "/shop/sub/room");
    PusherClient client(nginx.port(), ShopKey, ShopSecret);
    client.subscribe("room");
    replaceAll(options.http, ShopApp, "");
    replaceAll(options.server, ShopLocations, "");
    nginx.rewrite(options);
    reloadAndWait(nginx);
    expectEqual(raw.receiveClose(), 1012);
    expectEqual(client.receiveClose(), 4001);
}

TEST(a_zone_of_another_size_makes_subscribers_come_back)
{
    auto options = shop();
    replaceAll(options.http, "60s", "200ms");
    Nginx nginx(options);
    RawWebSocket socket(nginx.port(), "/sub/room");
    options.zone = "main 9m";
    nginx.rewrite(options);
    nginx.reload();
    expectEqual(socket.receiveClose(), 1012);
}

TEST(a_quit_has_no_successor_and_drains_at_once)
{
    auto options = shop(2);
    replaceAll(options.http, "60s", "200ms");
    Nginx nginx(options);
    RawWebSocket socket(nginx.port(), "/sub/room");
    reloadAndWait(nginx);
    const auto begin = Clock::now();
    nginx.quit();
    expectEqual(socket.receiveClose(), 1012);
    socket.send({Close, std::string("\x03\xF4", 2)});
    expectEqual(nginx.waitForExit(5s), 0);
    expect(Clock::now() - begin < 4s, "nobody is waited for");
}

TEST(what_cannot_move_drains_and_resumes)
{
    auto options = shop();
    options.tls = true;
    options.http += "limit_conn_zone $binary_remote_addr zone=addresses:1m;\n";
    options.server += "location = /limited { limit_conn addresses 10; realtime_subscribe room; }\n";
    replaceAll(options.http, "60s", "200ms");
    Nginx nginx(options);
    WebSocketOptions tls;
    tls.port = nginx.tlsPort();
    tls.path = "/sub/room";
    tls.certificate = nginx.certificate();
    WebSocket encrypted(tls);
    RawWebSocket limited(nginx.port(), "/limited");
    RawWebSocket plain(nginx.port(), "/sub/room");
    SseClient stream(nginx.url("/sub/room"));
    const std::string before = publish(nginx, "room", "before");
    expectEqual(next(plain).payload, "before");
    expectEqual(encrypted.receiveText(), "before");
    nginx.reload();
    publish(nginx, "room", "meanwhile");
    expectEqual(next(plain).payload, "meanwhile");
    encrypted.waitForClose(); // libwebsockets does not know 1012
    expectEqual(limited.receiveClose(), 1012);
    expect(stream.waitForEnd(), "the event stream ends");
    tls.path += "?since=" + before;
    WebSocket resumed(tls);
    expectEqual(resumed.receiveText(), "meanwhile");
    expectEqual(status(nginx, "handed_over_total"), 1);
}

TEST(a_worker_without_room_leaves_connections_to_others_or_to_the_drain)
{
    auto options = shop();
    options.connections = 64;
    replaceAll(options.http, "60s", "200ms");
    Nginx nginx(options);
    std::vector<std::unique_ptr<RawWebSocket>> sockets;
    for (int i = 0; i < 40; ++i) {
        sockets.push_back(std::make_unique<RawWebSocket>(nginx.port(), "/sub/room"));
    }
    options.connections = 32;
    nginx.rewrite(options);
    const auto old = nginx.workers();
    nginx.reload();
    eventually([&] { return std::all_of(old.begin(), old.end(), gone); }, "the old worker ends", 20s);
    publish(nginx, "room", "hello");
    int moved = 0;
    for (auto& socket : sockets) {
        const Frame frame = next(*socket);
        expect(frame.opcode == Text || frame.opcode == Close, "it is served or asked to reconnect");
        moved += frame.opcode == Text ? 1 : 0;
    }
    expect(moved > 10 && moved < 32, std::to_string(moved) + " have moved");
}

TEST(a_new_worker_that_dies_takes_only_its_own_connections_along)
{
    auto options = shop();
    options.expectedErrors = {"exited on signal 9"};
    Nginx nginx(options);
    RawWebSocket socket(nginx.port(), "/sub/room");
    reloadAndWait(nginx);
    nginx.killWorker(nginx.workers().front());
    RawWebSocket fresh(nginx.port(), "/sub/room");
    eventually([&] { return probe(nginx, "room") == 1; }, "the dead worker's are not counted");
    reloadAndWait(nginx);
    publish(nginx, "room", "hello");
    while (next(fresh).payload != "hello") {
    }
}

// --- everything at once -------------------------------------------------------------------------------------------

// REALTIME_RELOAD_CLIENTS and REALTIME_RELOADS make it larger.
TEST(nothing_is_lost_repeated_or_reordered_while_everybody_moves)
{
    const int clients = fromEnvironment("REALTIME_RELOAD_CLIENTS", 300);
    const int reloads = fromEnvironment("REALTIME_RELOADS", 5);
    Nginx nginx(crowded(clients));

    std::vector<std::unique_ptr<Mover>> movers;
    for (int i = 0; i < clients; ++i) {
        movers.push_back(std::make_unique<Mover>(nginx, i));
    }
    std::vector<std::unique_ptr<Visitor>> visitors;
    for (int i = 0; i < clients / 10; ++i) {
        visitors.push_back(std::make_unique<Stream>(nginx, i));
    }
    for (int i = 0; i < clients / 50; ++i) {
        visitors.push_back(std::make_unique<Poll>(nginx, i));
    }
    const auto read = [&] {
        for (auto& one : visitors) {
            one->read();
        }
    };
    read();
    NumberPublisher publisher(nginx);
    publisher.start();
    for (auto& one : movers) {
        one->readTo(0);
    }
    publisher.stop();
    // Webhooks of those that came: the member_added of each, and two channels.
    std::size_t seen = 0;
    eventually(
        [&] {
            std::this_thread::sleep_for(1s);
            return std::exchange(seen, hooks(nginx)) == hooks(nginx);
        },
        "webhooks come to an end");
    const auto files = openFiles(nginx);
    const std::size_t told = hooks(nginx);

    publisher.start(); // all the time, also in the few milliseconds in which connections are on their way
    for (int i = 0; i < reloads; ++i) {
        const auto old = nginx.workers();
        kill(nginx.master(), SIGHUP);
        const auto deadline = Clock::now() + 60s;
        while (!std::all_of(old.begin(), old.end(), gone)) {
            expect(Clock::now() < deadline, "the old workers end");
            read();
        }
    }
    const int last = publisher.stop();
    eventually(
        [&] {
            read();
            return std::all_of(visitors.begin(), visitors.end(),
                               [&](const auto& one) { return one->last() == last; });
        },
        "streams and polls have everything", 60s);
    for (auto& one : movers) {
        one->readTo(last);
    }
    expectEqual(hooks(nginx), told);
    expectEqual(status(nginx, "handover_failed_total"), 0);
    expectEqual(status(nginx, "handed_over_total"), std::int64_t{clients} * reloads);
    expectEqual(status(nginx, "gaps_total"), 0);
    eventually(
        [&] {
            const auto now = openFiles(nginx);
            return now.first == files.first && now.second <= files.second;
        },
        "no more descriptors than before");
    movers[3]->finishMessage();
    movers[0]->expectText("half a message");
}

TEST_MAIN()
