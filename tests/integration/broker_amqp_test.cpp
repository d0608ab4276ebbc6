// The broker's AMQP store against a real RabbitMQ: what consumers get, and what is left when RabbitMQ is killed, stopped,
// cut off, refuses or is short of memory.
#include "broker_testing.hpp"
#include "support/files.hpp"
#include "support/listener.hpp"
#include "support/rabbitmq.hpp"
#include "support/tls_rabbitmq.hpp"

#include <algorithm>
#include <poll.h>
#include <set>
#include <sys/socket.h>
#include <unistd.h>

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

// Each test has an exchange and a queue of its own on the shared server.
BrokerConfig configFor(const RabbitMq& server, const std::string& name)
{
    BrokerConfig config;
    config.name = "events";
    config.node = "node1";
    config.servers = {parseBrokerServer(server.url())};
    config.exchange.name = name;
    config.queues = {{name + ".all", "classic", {"#"}}};
    config.drain = 5s;
    return config;
}

void awaitUp(Loop& loop)
{
    eventually([&] { return loop.broker.stats().state == BrokerState::Up; }, "the broker is up", 30s);
}

void awaitNote(Loop& loop, const std::string& part, std::chrono::milliseconds patience = 30s)
{
    eventually(
        [&] {
            loop.take();
            return loop.notesWith(part) > 0;
        },
        part, patience);
}

void offerRange(Loop& loop, std::uint64_t first, std::uint64_t last)
{
    for (std::uint64_t i = first; i <= last; ++i) {
        loop.offer(std::to_string(i), i);
    }
}

std::vector<std::string> ids(std::uint64_t first, std::uint64_t last)
{
    std::vector<std::string> out;
    for (std::uint64_t i = first; i <= last; ++i) {
        out.push_back(std::to_string(i));
    }
    return out;
}

// Reads the queue until each of the `wanted` ids has come; returns those in the order of their first appearance.
// Others may come between: what an earlier connection had sent.
std::vector<std::string> readAll(const RabbitMq& server, const std::string& queue,
                                 const std::vector<std::string>& wanted)
{
    AmqpConsumer consumer(server, AmqpQueue{queue});
    std::vector<std::string> out;
    std::set<std::string> missing(wanted.begin(), wanted.end());
    while (!missing.empty()) {
        try {
            auto id = consumer.receive(20s).messageId;
            if (missing.erase(id) > 0) {
                out.push_back(std::move(id));
            }
        } catch (const std::exception&) {
            throw std::runtime_error(std::to_string(missing.size()) + " events are not in queue " + queue +
                                     ", one of them " + *missing.begin());
        }
    }
    return out;
}

void expectAllStored(const Loop& loop, std::size_t count)
{
    expectEqual(loop.completions.size(), count);
    expectEqual(loop.storedTokens(), count);
}

// Forwards TCP connections to a port; each is cut after so many bytes of the client's as `cuts` says in turn, the
// later ones never.
class CuttingProxy {
public:
    CuttingProxy(std::uint16_t target, std::vector<std::size_t> cuts)
        : target_(target), cuts_(std::move(cuts))
    {
        thread_ = std::thread([this] { run(); });
    }
    ~CuttingProxy()
    {
        stop_ = true;
        thread_.join();
    }
    CuttingProxy(const CuttingProxy&) = delete;
    CuttingProxy& operator=(const CuttingProxy&) = delete;

    std::uint16_t port() const { return listener_.port(); }
    std::size_t connections() const { return connections_; }

private:
    void run()
    {
        while (!stop_) {
            pollfd ready{listener_.fd(), POLLIN, 0};
            if (poll(&ready, 1, 10) == 1) {
                const int client = listener_.accept();
                const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
                if (ListeningSocket::connectTo(server, target_)) {
                    forward(client, server, connections_ < cuts_.size() ? cuts_[connections_] : SIZE_MAX);
                }
                ++connections_;
                close(client);
                close(server);
            }
        }
    }

    void forward(int client, int server, std::size_t limit)
    {
        char bytes[4'096];
        while (!stop_) {
            pollfd fds[] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
            poll(fds, 2, 10);
            if (fds[0].revents != 0) {
                const auto count = recv(client, bytes, std::min(sizeof(bytes), limit), 0);
                if (count <= 0) {
                    return;
                }
                (void)send(server, bytes, static_cast<std::size_t>(count), MSG_NOSIGNAL);
                limit -= limit == SIZE_MAX ? 0 : static_cast<std::size_t>(count);
                if (limit == 0) {
                    return;
                }
            }
            if (fds[1].revents != 0) {
                const auto count = recv(server, bytes, sizeof(bytes), 0);
                if (count <= 0) {
                    return;
                }
                (void)send(client, bytes, static_cast<std::size_t>(count), MSG_NOSIGNAL);
            }
        }
    }

    std::uint16_t target_;
    std::vector<std::size_t> cuts_;
    ListeningSocket listener_;
    std::atomic<bool> stop_{false};
    std::atomic<std::size_t> connections_{0};
    std::thread thread_;
};

BrokerServer through(const CuttingProxy& proxy)
{
    return parseBrokerServer("amqp://guest:guest@127.0.0.1:" + std::to_string(proxy.port()));
}

} // namespace

TEST(a_consumer_gets_body_properties_and_headers)
{
    auto& server = RabbitMq::share();
    Loop loop(configFor(server, "properties"));
    awaitUp(loop);
    AmqpConsumer consumer(server, "properties");
    auto event = makeEvent("abc-7", 1);
    event.userId = "u1";
    event.socketId = "1.2";
    event.routingKey = "orders.eu";
    event.data = std::string("a\0b", 3);
    expect(loop.broker.offer(event) == Offer::Queued, "queued");
    loop.awaitCompletions(1);
    const auto message = consumer.receive();
    expectEqual(message.body, std::string("a\0b", 3));
    expectEqual(message.exchange, "properties");
    expectEqual(message.routingKey, "orders.eu");
    expectEqual(message.deliveryMode, 2);
    expectEqual(message.contentType, "text/plain");
    expectEqual(message.messageId, "abc-7");
    expectEqual(message.timestamp, 1'700'000'000U);
    expectEqual(message.appId, "shop");
    expectEqual(message.type, "message");
    expect(message.headers ==
               std::map<std::string, std::string>{
                   {"channel", "orders"}, {"node", "node1"}, {"user_id", "u1"}, {"socket_id", "1.2"}},
           "the headers are as documented");
}

TEST(amqp_tools_read_what_was_confirmed)
{
    auto& server = RabbitMq::share();
    Loop loop(configFor(server, "tools"));
    loop.offer("1", 1);
    loop.awaitCompletions(1);
    const auto got = run({"amqp-get", "--url=" + server.url(), "-q", "tools.all"});
    expectEqual(got.status, 0);
    expectEqual(got.output, "data of 1");
}

TEST(confirmed_messages_are_in_queues_of_every_type_in_order)
{
    auto& server = RabbitMq::share();
    auto config = configFor(server, "types");
    config.queues = {{"types.classic", "classic", {"#"}},
                     {"types.quorum", "quorum", {"orders", "nothing"}},
                     {"types.stream", "stream", {"#"}}};
    Loop loop(config);
    offerRange(loop, 1, 500);
    loop.awaitCompletions(500, 60s);
    expectAllStored(loop, 500);
    // The counts of quorum queues and streams are published every few seconds only.
    eventually(
        [&] {
            const auto queues = server.ctl({"-q", "list_queues", "name", "type", "durable", "messages"});
            const auto has = [&](const char* row) { return queues.find(row) != std::string::npos; };
            return has("types.classic\tclassic\ttrue\t500") && has("types.quorum\tquorum\ttrue\t500") &&
                   has("types.stream\tstream\ttrue\t500");
        },
        "500 messages are in each queue", 60s);
    expect(readAll(server, "types.classic", ids(1, 500)) == ids(1, 500), "classic in order");
    expect(readAll(server, "types.quorum", ids(1, 500)) == ids(1, 500), "quorum in order");
}

TEST(existing_objects_of_the_same_kind_are_used_as_they_are)
{
    auto& server = RabbitMq::share();
    {
        Loop first(configFor(server, "again"));
        awaitUp(first);
    }
    expectEqual(run({"amqp-declare-queue", "--url=" + server.url(), "-d", "-q", "made-by-hand"}).status, 0);
    auto config = configFor(server, "again");
    config.queues.push_back({"made-by-hand", "classic", {}});
    Loop second(config);
    awaitUp(second);
}

TEST(another_kind_of_queue_is_told_with_its_name_and_the_broker_s_words)
{
    auto& server = RabbitMq::share();
    auto config = configFor(server, "kinds");
    {
        Loop loop(config);
        awaitUp(loop);
    }
    config.queues[0].type = "quorum";
    Loop loop(config);
    loop.offer("1", 1);
    awaitNote(loop, "declaring queue \"kinds.all\" (quorum, durable) was refused: 406 PRECONDITION_FAILED - "
                    "inequivalent arg 'x-queue-type'");
    expect(loop.broker.stats().state == BrokerState::Down, "it is down");
    expect(loop.broker.admits(1) == Offer::Queued, "events wait");
    config.queues[0].type = "classic";
    config.exchange.type = "fanout";
    Loop other(config);
    awaitNote(other, "declaring exchange \"kinds\" (fanout, durable) was refused: 406 PRECONDITION_FAILED");
}

TEST(a_wrong_password_or_virtual_host_is_told_without_the_password)
{
    auto& server = RabbitMq::share();
    auto config = configFor(server, "login");
    config.servers = {parseBrokerServer(server.url("guest:hunter2"))};
    Loop loop(config);
    awaitNote(loop, "403 ACCESS_REFUSED");
    expectEqual(loop.notesWith("hunter2"), 0U);
    config.servers = {
        parseBrokerServer("amqp://guest:guest@127.0.0.1:" + std::to_string(server.port()) + "/nope")};
    Loop other(config);
    awaitNote(other, "530 NOT_ALLOWED - vhost nope not found");
}

TEST(unroutable_messages_are_counted_and_delivered_once_a_queue_is_bound)
{
    auto& server = RabbitMq::share();
    auto config = configFor(server, "unroutable");
    config.queues[0].bindings = {"elsewhere"};
    Loop loop(config);
    offerRange(loop, 1, 300);
    awaitNote(loop, "routing key \"orders\": 312 NO_ROUTE");
    eventually([&] { return loop.broker.stats().failed >= 300; }, "all came back");
    loop.take();
    expectEqual(loop.completions.size(), 0U);
    expectEqual(loop.broker.stats().queuedEvents, 300U);
    expect(loop.broker.stats().failed <= 300 + 256 + 256, "no spinning");
    expectEqual(loop.notesWith("312 NO_ROUTE"), 1U);

    AmqpConsumer consumer(server, "unroutable"); // binds a queue of its own by "#"
    loop.awaitCompletions(300, 60s);
    expectAllStored(loop, 300);
    std::set<std::string> got;
    while (got.size() < 300) {
        got.insert(consumer.receive().messageId);
    }
}

TEST(a_second_server_takes_over_from_one_that_is_away)
{
    auto& server = RabbitMq::share();
    auto config = configFor(server, "failover");
    config.servers.insert(config.servers.begin(),
                          parseBrokerServer("amqp://guest:guest@127.0.0.1:" + std::to_string(freePort())));
    Loop loop(config);
    offerRange(loop, 1, 10);
    loop.awaitCompletions(10);
    expectAllStored(loop, 10);
    expectEqual(loop.notesWith("Connection refused"), 1U);
}

TEST(a_connection_cut_in_the_middle_of_frames_loses_nothing)
{
    auto& server = RabbitMq::share();
    // In the log-in, among the declarations, and while publishing; a message takes some 200 bytes.
    const CuttingProxy proxy(server.port(), {5, 300, 700, 1'500, 20'000, 20'333, 77'777});
    auto config = configFor(server, "cut");
    config.servers = {through(proxy)};
    Loop loop(config);
    offerRange(loop, 1, 2'000);
    loop.awaitCompletions(2'000, 60s);
    expectAllStored(loop, 2'000);
    expectEqual(proxy.connections() >= 7, true);
    expect(readAll(server, "cut.all", ids(1, 2'000)) == ids(1, 2'000), "all there, in order but for repeats");
}

TEST(a_closed_connection_deleted_exchange_or_deleted_queue_is_made_anew)
{
    auto& server = RabbitMq::share();
    Loop loop(configFor(server, "anew"));
    offerRange(loop, 1, 1);
    loop.awaitCompletions(1);
    server.ctl({"close_all_connections", "for a test"});
    offerRange(loop, 2, 50);
    loop.awaitCompletions(50);
    awaitNote(loop, "320 CONNECTION_FORCED");

    server.ctl(
        {"eval",
         "rabbit_exchange:delete({resource, <<\"/\">>, exchange, <<\"anew\">>}, false, <<\"test\">>)."});
    offerRange(loop, 51, 100);
    loop.awaitCompletions(100);
    awaitNote(loop, "404 NOT_FOUND - no exchange 'anew'");
    expectAllStored(loop, 100);
    readAll(server, "anew.all", ids(1, 100));

    server.ctl({"delete_queue", "anew.all"});
    offerRange(loop, 101, 150);
    loop.awaitCompletions(150, 30s);
    expectAllStored(loop, 150);
    readAll(server, "anew.all", ids(101, 150));
}

TEST(a_memory_alarm_blocks_and_unblocks)
{
    auto& server = RabbitMq::share();
    Loop loop(configFor(server, "alarm"));
    offerRange(loop, 1, 1);
    loop.awaitCompletions(1);
    server.ctl({"set_vm_memory_high_watermark", "0.00000001"});
    loop.offer("2", 2); // RabbitMQ tells only those who publish
    awaitNote(loop, "blocks publishers (low on memory)");
    expect(loop.broker.stats().state == BrokerState::Blocked, "it is blocked");
    loop.offer("3", 3);
    server.ctl({"set_vm_memory_high_watermark", "0.9"});
    loop.awaitCompletions(3, 30s);
    awaitNote(loop, "no longer blocks");
    expectAllStored(loop, 3);
}

TEST(a_stopped_broker_holds_up_neither_offers_nor_stopping_and_loses_nothing)
{
    auto& server = RabbitMq::share();
    auto config = configFor(server, "stopped");
    config.confirmTimeout = 1s;
    config.drain = 500ms;
    Loop loop(config), leaver(config);
    offerRange(loop, 1, 100);
    loop.awaitCompletions(100);
    awaitUp(leaver);
    server.pause();
    std::chrono::nanoseconds slowest{0};
    for (std::uint64_t i = 101; i <= 600; ++i) { // with bodies that fill every socket buffer
        auto event = makeEvent(std::to_string(i), i);
        event.data.assign(50'000, 'x');
        const auto start = std::chrono::steady_clock::now();
        expect(loop.broker.offer(std::move(event)) == Offer::Queued, "queued");
        slowest = std::max<std::chrono::nanoseconds>(slowest, std::chrono::steady_clock::now() - start);
    }
    for (std::uint64_t i = 1'001; i <= 1'100; ++i) {
        leaver.offer(std::to_string(i), i);
    }
    awaitNote(loop, "no confirm for 1000 ms");
    const auto start = std::chrono::steady_clock::now();
    leaver.broker.stop();
    const auto took = std::chrono::steady_clock::now() - start;
    server.resume();
    expect(took < 500ms + 2s, "stopping is bounded");
    expect(slowest < 1s, "an offer does not wait");
    leaver.take();
    expectEqual(leaver.completions.size(), 100U);
    expectEqual(leaver.storedTokens(), 0U);
    expectEqual(leaver.notesWith("100 events could not be stored"), 1U);

    loop.awaitCompletions(600, 60s);
    expectAllStored(loop, 600);
    readAll(server, "stopped.all", ids(1, 600));
}

TEST(a_killed_broker_comes_back_with_everything_confirmed_and_gets_the_rest)
{
    auto& server = RabbitMq::share();
    auto config = configFor(server, "killed");
    config.queues.push_back({"killed.quorum", "quorum", {"#"}});
    Loop loop(config);
    std::uint64_t next = 1;
    const auto offerFor = [&](std::chrono::milliseconds duration) {
        const auto until = std::chrono::steady_clock::now() + duration;
        while (std::chrono::steady_clock::now() < until) {
            loop.offer(std::to_string(next), next);
            ++next;
            loop.take();
            std::this_thread::sleep_for(1ms);
        }
    };
    awaitUp(loop);
    // RabbitMQ 3.10 writes down a new quorum queue with a delay; killed before, the queue has no leader ever after.
    server.stop();
    server.start();
    awaitUp(loop);
    for (int round = 0; round < 2; ++round) {
        offerFor(700ms);
        server.kill();
        offerFor(300ms);
        server.start();
        offerFor(500ms);
    }
    loop.awaitCompletions(next - 1, 60s);
    expectAllStored(loop, next - 1);
    expect(loop.broker.stats().reconnects >= 2, "it reconnected");
    for (const char* queue : {"killed.all", "killed.quorum"}) {
        readAll(server, queue, ids(1, next - 1));
    }
}

TEST(stopping_drains_what_was_just_offered)
{
    auto& server = RabbitMq::share();
    {
        auto config = configFor(server, "drained");
        config.drain = 30s;
        Loop loop(config);
        offerRange(loop, 1, 1'000);
    }
    expect(readAll(server, "drained.all", ids(1, 1'000)) == ids(1, 1'000), "all there in order");
}

TEST(tls_is_verified_both_ways)
{
    const TlsRabbitMq server;
    BrokerConfig config;
    config.name = "events";
    config.queues.emplace_back();
    config.servers = {parseBrokerServer(server.url())};
    config.tlsCa = server.file("ca.pem");
    config.tlsCert = server.file("client.pem");
    config.tlsKey = server.file("client.key");
    {
        Loop loop(config);
        auto big = makeEvent("big", 1);
        big.data.assign(3'000'000, 'x');
        expect(loop.broker.offer(std::move(big)) == Offer::Queued, "queued");
        for (std::uint64_t i = 2; i <= 500; ++i) {
            loop.offer(std::to_string(i), i);
        }
        loop.awaitCompletions(500, 60s);
        expectAllStored(loop, 500);
    }
    const auto complaint = [&](const BrokerConfig& wrong, const char* part) {
        Loop loop(wrong);
        awaitNote(loop, part);
    };
    auto wrong = config;
    wrong.tlsCa = server.file("other.pem");
    complaint(wrong, "certificate is not accepted");
    wrong = config;
    wrong.tlsCa = server.file("missing.pem");
    complaint(wrong, "cannot load the certificates to trust from");
    wrong = config;
    wrong.servers = {parseBrokerServer(server.url("127.0.0.1"))};
    complaint(wrong, "certificate is not accepted: IP address mismatch");
    wrong = config;
    wrong.tlsKey = server.file("server.key");
    complaint(wrong, "cannot load the key");
    wrong = config;
    wrong.tlsCert.clear();
    complaint(wrong, "certificate required");
}

TEST(events_go_to_the_exchange_that_they_name_and_queues_hang_on_theirs)
{
    auto& server = RabbitMq::share();
    auto config = configFor(server, "first");
    config.moreExchanges = {{"second", "direct"}, {"third", "headers"}};
    config.queues = {{"first.all", "classic", {"#"}},
                     {"second.eu", "classic", {"eu"}, "second"},
                     {"third.rooms", "classic", {"channel:room,node:node1"}, "third"}};
    Loop loop(config);
    auto offer = [&loop, token = 0](const char* id, const char* exchange, const char* key,
                                    const char* channel) mutable {
        auto event = makeEvent(id, static_cast<std::uint64_t>(++token));
        event.exchange = exchange;
        event.routingKey = key;
        event.channel = channel;
        expect(loop.broker.offer(event) == Offer::Queued, "queued");
    };
    offer("1", "", "eu", "room");
    offer("2", "second", "eu", "hall");
    offer("3", "third", "eu", "room");
    loop.awaitCompletions(3);
    offer("4", "second", "us", "hall"); // nobody wants it
    offer("5", "third", "eu", "hall");
    eventually([&loop] { return loop.broker.stats().failed >= 2; }, "two are returned");
    expect(readAll(server, "first.all", {"1"}) == std::vector<std::string>{"1"}, "the first by default");
    expect(readAll(server, "second.eu", {"2"}) == std::vector<std::string>{"2"}, "direct");
    expect(readAll(server, "third.rooms", {"3"}) == std::vector<std::string>{"3"}, "by headers");
    awaitNote(loop, "came back from exchange \"second\", routing key \"us\"");
}

TEST(arguments_make_limits_and_dead_letters)
{
    auto& server = RabbitMq::share();
    auto config = configFor(server, "letters");
    config.moreExchanges = {{"letters.dead", "fanout"}};
    config.queues = {
        {"letters.all",
         "quorum",
         {"#"},
         {},
         {{"x-dead-letter-exchange", std::string("letters.dead")}, {"x-max-length", std::int64_t{2}}}},
        {"letters.dead", "classic", {"#"}, "letters.dead", {{"x-single-active-consumer", true}}}};
    Loop loop(config);
    offerRange(loop, 1, 5);
    loop.awaitCompletions(5);
    expect(readAll(server, "letters.dead", ids(1, 3)) == ids(1, 3),
           "the first three made room for the last two");
    expect(readAll(server, "letters.all", ids(4, 5)) == ids(4, 5), "which are there");
    auto other = config;
    other.queues[0].arguments[1].value = std::int64_t{3};
    Loop second(other);
    awaitNote(second,
              "declaring queue \"letters.all\" (quorum, durable) was refused: 406 PRECONDITION_FAILED - "
              "inequivalent arg 'x-max-length'");
}

TEST_MAIN()
