// Three nginx nodes and RabbitMQ on four machines (network namespaces), of which one is cut off as by a cable that is
// pulled: no connection ends, nothing arrives any more. tests/integration/cluster_test.cpp has connections that end.
#include "support/network.hpp"
#include "support/pusher.hpp"
#include "support/rabbitmq.hpp"
#include "support/realtime.hpp"
#include "support/sse.hpp"

#include <array>
#include <atomic>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <set>
#include <thread>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

constexpr std::size_t Nodes = 3, CutOff = 1; // the one that is cut off
constexpr std::chrono::seconds Heartbeat{2};

struct Wires {
    Network network{Nodes};
    RabbitMq& rabbit = share();

    static Wires& get()
    {
        static Wires wires;
        return wires;
    }

private:
    // Beside its loopback port, which is for what controls it.
    static RabbitMq& share()
    {
        unsetenv("RABBITMQ_DIR");
        return RabbitMq::share("listeners.tcp.2 = " + std::string(Network::HomeAddress) + ":5672\n");
    }
};

NginxOptions nodeOptions(std::size_t node, const std::string& exchange)
{
    auto options = endpoints(2);
    options.zone = "main 64m"; // remembers so many events that what is sent again is known
    options.http = "realtime_broker events { server amqp://guest:guest@" + std::string(Network::HomeAddress) +
                   ":5672/%2F; exchange " + exchange + "; queue " + exchange + ".all; heartbeat " +
                   std::to_string(Heartbeat.count()) + "s; cluster on node=" + std::to_string(node) +
                   "; }\nrealtime_app default { key k; secret s; broker events; client_events on; }\n";
    options.server += "location /app/ { realtime_pusher websocket; }\n";
    return options;
}

class Cluster {
public:
    // What it opens is opened on that node's machine.
    template <class Body> auto on(std::size_t node, Body body) const
    {
        return Wires::get().network.on(node, body);
    }
    explicit Cluster(const std::string& exchange)
    {
        for (std::size_t i = 0; i < Nodes; ++i) {
            on(i, [&] { nodes_.at(i) = std::make_unique<Nginx>(nodeOptions(i, exchange)); });
        }
        waitForEachOther();
    }
    const Nginx& node(std::size_t i) const { return *nodes_.at(i); }
    std::unique_ptr<SseClient> follow(std::size_t i, const std::string& channel) const
    {
        return on(i, [&] { return std::make_unique<SseClient>(node(i).url("/sub/" + channel)); });
    }
    std::unique_ptr<PusherClient> join(std::size_t i, const std::string& user) const
    {
        return on(i, [&] {
            auto client = std::make_unique<PusherClient>(node(i).port(), "k", "s");
            client->subscribe("presence-room", R"({"user_id":")" + user + R"("})");
            return client;
        });
    }
    void waitForEachOther() const
    {
        for (std::size_t i = 0; i < Nodes; ++i) {
            eventually(
                [&] {
                    const auto status = on(i, [&] { return get(node(i).url("/status?format=json")).body; });
                    return Json::parse(status).at("cluster_nodes").number() ==
                           static_cast<std::int64_t>(Nodes);
                },
                "the nodes know each other");
        }
    }

private:
    std::array<std::unique_ptr<Nginx>, Nodes> nodes_;
};

// Publishes "NODE:NUMBER" on one connection, from 0 on.
class Publisher {
public:
    Publisher(const Cluster& cluster, std::size_t node)
    {
        thread_ = std::thread([this, &cluster, node] {
            cluster.on(node, [&] {
                HttpClient client;
                HttpRequest request;
                request.url = cluster.node(node).url("/pub/room");
                request.method = "POST";
                while (!stop_) {
                    request.body = std::to_string(node) + ":" + std::to_string(sent_);
                    refused_ += client.send(request).status == 202 ? 0 : 1;
                    ++sent_;
                    std::this_thread::sleep_for(50ms);
                }
            });
        });
    }
    ~Publisher() { stop(); }
    Publisher(const Publisher&) = delete;
    Publisher& operator=(const Publisher&) = delete;

    void stop()
    {
        stop_ = true;
        if (thread_.joinable()) {
            thread_.join();
        }
        expectEqual(refused_, 0);
    }
    int sent() const { return sent_; }

private:
    std::atomic<bool> stop_{false};
    std::atomic<int> sent_{0}, refused_{0};
    std::thread thread_;
};

// What a subscriber has got of each node's publisher; fails at anything missing, repeated or out of order.
class Account {
public:
    explicit Account(SseClient& client) : client_(client) {}

    // One more event.
    void take(std::chrono::milliseconds patience = Patience)
    {
        const SseEvent event = client_.receive(patience);
        expectEqual(event.event, "message");
        int& next = next_.at(static_cast<std::size_t>(event.data.at(0) - '0'));
        expectEqual(event.data.substr(2), std::to_string(next));
        ++next;
    }
    void takeAllThatIsThere()
    {
        while (client_.pending()) {
            take();
        }
    }
    int of(std::size_t node) const { return next_.at(node); }

private:
    SseClient& client_;
    std::array<int, Nodes> next_{};
};

void expectMember(PusherClient& client, const std::string& event, const std::string& user)
{
    const PusherEvent got = client.receive();
    expectEqual(got.event, "pusher_internal:" + event);
    expectContains(got.data, user);
}

// Who joins before its node knows of the others sees them come, too.
void expectSeen(PusherClient& client, const std::set<std::string>& users)
{
    std::string seen;
    while (client.socket().pending()) {
        const PusherEvent got = client.receive();
        expectEqual(got.event, "pusher_internal:member_added");
        seen += got.data;
    }
    for (const std::string& user : users) {
        expectContains(seen, user);
    }
}

std::string skipIfImpossible()
{
    static const std::string reason = Network::whyNot();
    if (!reason.empty()) {
        std::cout << "    SKIPPED: " << reason << std::endl;
    }
    return reason;
}

double secondsSince(Clock::time_point begin)
{
    return std::chrono::duration<double>(Clock::now() - begin).count();
}

} // namespace

TEST(a_node_whose_packets_vanish_goes_on_alone_and_catches_up_both_ways)
{
    if (!skipIfImpossible().empty()) {
        skip();
    }
    const Cluster cluster("vanish");
    const auto ann = cluster.join(0, "ann");
    const auto bob = cluster.join(CutOff, "bob");
    const auto cid = cluster.join(2, "cid");
    std::vector<std::unique_ptr<SseClient>> subscribers;
    std::vector<Account> accounts;
    for (std::size_t i = 0; i < Nodes; ++i) {
        subscribers.push_back(cluster.follow(i, "room"));
        accounts.emplace_back(*subscribers.back());
    }
    std::vector<std::unique_ptr<Publisher>> publishers;
    for (std::size_t i = 0; i < Nodes; ++i) {
        publishers.push_back(std::make_unique<Publisher>(cluster, i));
    }
    for (Account& account : accounts) {
        while (account.of(0) < 10 || account.of(1) < 10 || account.of(2) < 10) {
            account.take();
        }
    }

    expectSeen(*ann, {"bob", "cid"});
    expectSeen(*bob, {"cid"});
    expectSeen(*cid, {});

    Network::unplug(CutOff);
    const auto cut = Clock::now();
    expectMember(*ann, "member_removed", "bob");
    const double left = secondsSince(cut);
    expectMember(*cid, "member_removed", "bob");
    expect(left > 10 && left < 20,
           "15 to 18 seconds after the node's last sign of life, not after " + std::to_string(left));
    for (Account& account : accounts) {
        account.takeAllThatIsThere();
    }
    // On either side they have what was told there, to the end, and of the other side what came before the cut.
    expect(accounts[0].of(0) + 20 > publishers[0]->sent() && accounts[0].of(2) + 20 > publishers[2]->sent(),
           "those that are together go on");
    expect(accounts[CutOff].of(CutOff) + 20 > publishers[CutOff]->sent(), "the node goes on alone");
    expect(accounts[0].of(CutOff) + 100 < publishers[CutOff]->sent() &&
               accounts[CutOff].of(0) + 100 < publishers[0]->sent(),
           "the node is cut off");
    expect(!bob->socket().pending(), "who is cut off takes nobody for dead");

    Network::plug(CutOff);
    const auto plugged = Clock::now();
    expectMember(*ann, "member_added", "bob");
    const double back = secondsSince(plugged);
    expectMember(*cid, "member_added", "bob");
    expect(back < 25, "within the pause between two attempts, and the time of an attempt that hangs");
    for (auto& publisher : publishers) {
        publisher->stop();
    }
    for (Account& account : accounts) {
        for (std::size_t i = 0; i < Nodes; ++i) {
            while (account.of(i) < publishers[i]->sent()) {
                account.take();
            }
        }
    }
    for (const auto& subscriber : subscribers) {
        subscriber->expectSilence();
    }
    cluster.waitForEachOther();
    expect(!bob->socket().pending() && !ann->socket().pending() && !cid->socket().pending(),
           "nobody else was seen to come or go");
    std::cout << "    cut off for " << secondsSince(cut) - secondsSince(plugged) << " s; members left after "
              << left << " s and were back " << back
              << " s after the cable; events: " << publishers[0]->sent() << ", " << publishers[1]->sent()
              << ", " << publishers[2]->sent() << std::endl;
}

TEST(subscribers_of_a_node_whose_packets_vanish_are_told_of_a_gap_if_there_is_one)
{
    if (!skipIfImpossible().empty()) {
        skip();
    }
    const Cluster cluster("vanishgap");
    const auto here = cluster.follow(0, "room"), there = cluster.follow(CutOff, "room");
    const auto tell = [&](std::size_t node, const std::string& data) {
        cluster.on(node, [&] { publish(cluster.node(node), "room", data); });
    };
    tell(0, "before");
    expectEqual(here->receive().data, "before");
    expectEqual(there->receive().data, "before");
    Network::unplug(CutOff);
    const RabbitMq& rabbit = Wires::get().rabbit;
    const std::string queue = "vanishgap.node." + std::to_string(CutOff);
    eventually(
        [&] {
            return rabbit.ctl({"list_queues", "name", "consumers"}).find(queue + "\t0") != std::string::npos;
        },
        "RabbitMQ has missed the node's heartbeats");
    rabbit.ctl({"delete_queue", queue}); // as if its time had come
    tell(0, "lost");
    expectEqual(here->receive().data, "lost");
    Network::plug(CutOff);
    expectEqual(there->receive().event, "realtime:gap");
    cluster.waitForEachOther();
    tell(2, "after");
    expectEqual(there->receive().data, "after");
    expectEqual(here->receive().data, "after");
    here->expectSilence();
}

TEST_MAIN()
