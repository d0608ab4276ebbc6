// RabbitMQ behind nginx, as an independent consumer sees it; and a RabbitMQ that is away, refuses, or hangs.
#include "support/rabbitmq.hpp"
#include "support/realtime.hpp"
#include "support/websocket.hpp"

#include <set>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

// Each test has an exchange and a queue of its own on the shared server.
NginxOptions withBroker(const std::string& server, const std::string& exchange, int workers = 1)
{
    auto options = endpoints(workers);
    options.http =
        "realtime_broker events {\n"
        "  server " +
        server +
        ";\n"
        "  exchange " +
        exchange +
        " topic;\n"
        "  queue " +
        exchange +
        ".all bind=#;\n"
        "}\n"
        "realtime_app default {\n"
        "  channels orders.* { broker events routing_key=orders.$1.$event; }\n"
        "  channels ~^(?<tenant>[a-z]+)-(?<topic>[a-z]+)$ { broker events routing_key=t.$tenant.$topic; }\n"
        "  channels free.* { broker off; }\n"
        "  broker events;\n"
        "}\n";
    options.server +=
        "location = /confirmed { realtime_ping 2s; realtime_timeout 3s; realtime_publish room ack=broker; }\n"
        "location = /stored { realtime_publish room ack=stored; }\n";
    return options;
}

std::string brokerState(const Nginx& nginx)
{
    return Json::parse(get(nginx.url("/status?format=json")).body)
        .at("brokers")
        .at("events")
        .at("state")
        .text();
}

void waitUntilUp(const Nginx& nginx)
{
    eventually([&] { return brokerState(nginx) == "up"; }, "the broker is up", 30s);
}

std::chrono::milliseconds slowestPublish(const Nginx& nginx, int count)
{
    HttpClient client;
    HttpRequest request;
    request.url = nginx.url("/pub/room");
    request.method = "POST";
    request.body = std::string(100, 'x');
    auto slowest = 0ms;
    for (int i = 0; i < count; ++i) {
        const auto begin = Clock::now();
        expectEqual(client.send(request).status, 202L);
        slowest =
            std::max(slowest, std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin));
    }
    return slowest;
}

} // namespace

TEST(a_consumer_gets_every_event_with_its_properties)
{
    auto& server = RabbitMq::share();
    AmqpConsumer consumer(server, "properties");
    const Nginx nginx(withBroker(server.url(), "properties", 2));
    waitUntilUp(nginx);
    const auto before = static_cast<std::uint64_t>(time(nullptr));
    const auto answer = post(nginx.url("/pub/room?event=greeting"), std::string("by\0tes\xFF", 7),
                             {"Content-Type: application/x-thing"});
    expectEqual(answer.status, 202L);
    const AmqpMessage message = consumer.receive();
    expectEqual(message.body, std::string("by\0tes\xFF", 7));
    expectEqual(message.routingKey, "room");
    expectEqual(message.exchange, "properties");
    expectEqual(message.contentType, "application/x-thing");
    expectEqual(message.messageId, Json::parse(answer.body).at("id").text());
    expectEqual(message.appId, "default");
    expectEqual(message.type, "greeting");
    expectEqual(message.deliveryMode, 2);
    expect(message.timestamp >= before && message.timestamp <= before + 60,
           "the time of publishing in seconds");
    expectEqual(message.headers.at("channel"), "room");
    expect(!message.headers.at("node").empty(), "the node is named");
}

TEST(routing_keys_come_from_rules_and_captures)
{
    auto& server = RabbitMq::share();
    AmqpConsumer consumer(server, "routing");
    const Nginx nginx(withBroker(server.url(), "routing"));
    waitUntilUp(nginx);
    const std::vector<std::pair<std::string, std::string>> cases{
        {"orders.4711", "orders.4711.message"},
        {"orders.a.b", "orders.a.b.message"},
        {"acme-metrics", "t.acme.metrics"},
        {"other", "other"},
    };
    for (const auto& [channel, key] : cases) {
        publish(nginx, channel, "x");
        const AmqpMessage message = consumer.receive();
        expectEqual(message.routingKey, key);
        expectEqual(message.headers.at("channel"), channel);
    }
    publish(nginx, "orders.1", "x", "created");
    expectEqual(consumer.receive().routingKey, "orders.1.created");
    publish(nginx, "free.x", "not stored");
    consumer.expectSilence();
}

TEST(what_a_websocket_publishes_goes_to_the_broker_too_in_order)
{
    auto& server = RabbitMq::share();
    AmqpConsumer consumer(server, "order");
    const Nginx nginx(withBroker(server.url(), "order"));
    WebSocket socket(nginx.port(), "/ws/room");
    for (int i = 0; i < 500; ++i) {
        socket.send(std::to_string(i));
    }
    for (int i = 0; i < 500; ++i) {
        expectEqual(consumer.receive().body, std::to_string(i));
    }
    consumer.expectSilence();
}

TEST(a_broker_acknowledgement_comes_after_the_confirm)
{
    auto& server = RabbitMq::share();
    AmqpConsumer consumer(server, "confirmed");
    const Nginx nginx(withBroker(server.url(), "confirmed"));
    waitUntilUp(nginx);
    for (int i = 0; i < 10; ++i) {
        expectEqual(post(nginx.url("/confirmed"), std::to_string(i)).status, 200L);
        expectEqual(consumer.receive().body, std::to_string(i));
    }
}

TEST(a_wrong_password_is_said_once_and_harms_nothing_else)
{
    auto& server = RabbitMq::share();
    const Nginx nginx(withBroker(server.url("guest:wrong-secret"), "refused"));
    eventually([&] { return brokerState(nginx) == "down"; }, "the broker is down", 20s);
    WebSocket socket(nginx.port(), "/sub/room");
    publish(nginx, "room", "broadcast all the same");
    expectEqual(socket.receiveText(), "broadcast all the same");
    const std::string log = nginx.errorLog();
    expectLacks(log, "wrong-secret");
    eventually([&] { return nginx.countInErrorLog("events") > 0; }, "a line in the error log");
    expect(nginx.countInErrorLog("[error]") + nginx.countInErrorLog("[warn]") <= 3, "and not many: " + log);
}

TEST(a_broker_that_comes_late_gets_everything)
{
    auto& server = RabbitMq::share();
    server.stop();
    const Nginx nginx(withBroker(server.url(), "late", 2));
    WebSocket socket(nginx.port(), "/sub/room");
    for (int i = 0; i < 100; ++i) {
        publish(nginx, "room", std::to_string(i));
    }
    for (int i = 0; i < 100; ++i) {
        expectEqual(socket.receiveText(), std::to_string(i));
    }
    eventually([&] { return nginx.countInErrorLog("127.0.0.1") > 0; }, "a line in the error log");
    server.start();
    waitUntilUp(nginx);
    AmqpConsumer consumer(server, AmqpQueue{"late.all"});
    std::set<std::string> seen;
    while (seen.size() < 100) {
        seen.insert(consumer.receive(30s).body);
    }
}

TEST(a_broker_that_hangs_delays_no_publisher_and_no_subscriber)
{
    auto& server = RabbitMq::share();
    AmqpConsumer consumer(server, "hanging");
    const Nginx nginx(withBroker(server.url(), "hanging"));
    waitUntilUp(nginx);
    WebSocket socket(nginx.port(), "/sub/room");
    slowestPublish(nginx, 50); // warm
    server.pause();
    auto whileHanging = 0ms;
    try {
        whileHanging = slowestPublish(nginx, 1000);
        for (int i = 0; i < 1050; ++i) {
            socket.receive();
        }
        const auto answer = post(nginx.url("/confirmed"), "nobody confirms"); // 504 after its time
        expectEqual(answer.status, 504L);
    } catch (...) {
        server.resume();
        throw;
    }
    server.resume();
    expect(whileHanging < 250ms, "the slowest publish took " + std::to_string(whileHanging.count()) + " ms");
    // At least once: discard repeats by their id, as consumers are told to.
    std::map<std::string, int> seen;
    while (seen.size() < 1051) {
        ++seen[consumer.receive(30s).messageId];
    }
    expectEqual(seen.size(), std::size_t{1051});
}

TEST_MAIN()
