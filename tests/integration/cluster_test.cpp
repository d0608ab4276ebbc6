// Several nginx nodes that share a RabbitMQ exchange: what one is told, the subscribers of all get.
#include "support/proxy.hpp"
#include "support/rabbitmq.hpp"
#include "support/realtime.hpp"
#include "support/sse.hpp"
#include "support/websocket.hpp"

#include <array>
#include <atomic>
#include <csignal>
#include <future>
#include <memory>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

// An exchange of the test's own; `cluster`: what stands behind the word.
NginxOptions nodeOptions(const std::string& server, const std::string& exchange, int workers = 2,
                         const std::string& cluster = "on")
{
    auto options = endpoints(workers);
    options.reuseport = true;
    options.expectedErrors = {"exited on signal 9"};
    options.http = "realtime_broker events { server " + server + "; exchange " + exchange + " topic; queue " +
                   exchange + ".all; cluster " + cluster +
                   "; }\nrealtime_app default { broker events; channels local.* { broker off; } }\n";
    return options;
}

// All of its workers are ready to take over from each other.
void waitUntilHearing(const Nginx& nginx, std::size_t workers = 2)
{
    eventually([&] { return nginx.countInErrorLog("hears the other nodes") >= workers; },
               "all workers hear the other nodes", 60s);
}

std::string number(int i)
{
    return std::to_string(i);
}

} // namespace

TEST(what_one_node_is_told_the_subscribers_of_all_get_once_and_in_order)
{
    auto& server = RabbitMq::share();
    constexpr int Nodes = 3, Events = 200;
    std::array<std::unique_ptr<Nginx>, Nodes> nodes;
    for (auto& node : nodes) {
        node = std::make_unique<Nginx>(nodeOptions(server.url(), "three"));
    }
    std::vector<WebSocket> subscribers;
    for (const auto& node : nodes) {
        waitUntilHearing(*node);
        subscribers.emplace_back(node->port(), "/sub/room");
    }
    std::array<WebSocket, Nodes> publishers{WebSocket(nodes[0]->port(), "/ws/room"),
                                            WebSocket(nodes[1]->port(), "/ws/room"),
                                            WebSocket(nodes[2]->port(), "/ws/room")};
    for (int i = 0; i < Events; ++i) {
        for (int n = 0; n < Nodes; ++n) {
            publishers[static_cast<std::size_t>(n)].send(number(n) + ":" + number(i));
        }
    }
    for (auto& subscriber : subscribers) {
        std::array<int, Nodes> next{};
        for (int i = 0; i < Nodes * Events; ++i) {
            const std::string text = subscriber.receiveText();
            int& expected = next.at(static_cast<std::size_t>(text[0] - '0'));
            expectEqual(text.substr(2), number(expected++));
        }
        subscriber.expectSilence();
    }
    publish(*nodes[0], "local.room", "stays here"); // whose rule says so
    publish(*nodes[1], "room", "last");
    expectEqual(subscribers[0].receiveText(), "last");
    WebSocket local(nodes[1]->port(), "/sub/local.room?since=earliest");
    local.expectSilence();
}

TEST(when_the_worker_that_hears_dies_another_takes_over)
{
    auto& server = RabbitMq::share();
    const Nginx a(nodeOptions(server.url(), "takeover", 1));
    Nginx b(nodeOptions(server.url(), "takeover", 2));
    waitUntilHearing(a, 1);
    waitUntilHearing(b);
    WebSocket publisher(a.port(), "/ws/room");
    int sent = 0;
    // Whichever of them it is: each is killed in its turn, while a subscriber of the other listens.
    for (std::size_t round = 0; round < 2; ++round) {
        const auto workers = b.workers();
        const pid_t victim = workers.at(0); // the older one
        std::unique_ptr<WebSocket> subscriber;
        eventually(
            [&] {
                subscriber = std::make_unique<WebSocket>(b.port(), "/sub/room");
                return b.workerOf(subscriber->clientPort()) != victim;
            },
            "a subscriber of the other worker");
        const int first = sent;
        for (; sent < first + 300; ++sent) {
            publisher.send(number(sent));
            if (sent == first + 100) {
                b.killWorker(victim);
            }
        }
        for (int i = first; i < sent; ++i) {
            expectEqual(subscriber->receiveText(), number(i));
        }
        subscriber->expectSilence();
        waitUntilHearing(b, 3 + round);
    }
}

TEST(a_reload_of_a_node_loses_repeats_and_reorders_nothing)
{
    auto& server = RabbitMq::share();
    const Nginx a(nodeOptions(server.url(), "reload", 1));
    Nginx b(nodeOptions(server.url(), "reload", 2));
    waitUntilHearing(a, 1);
    waitUntilHearing(b);
    std::vector<WebSocket> subscribers;
    for (int i = 0; i < 6; ++i) {
        subscribers.emplace_back(b.port(), "/sub/room");
    }
    std::atomic<bool> stop{false};
    auto publisher = std::async(std::launch::async, [&] {
        HttpClient client;
        HttpRequest request;
        request.url = a.url("/pub/room");
        request.method = "POST";
        int sent = 0;
        for (; !stop; ++sent) {
            request.body = number(sent);
            expectEqual(client.send(request).status, 202L);
        }
        return sent;
    });
    for (int round = 0; round < 3; ++round) {
        reloadAndWait(b);
        // In quick succession: the next generation may not have heard anything when its successor comes.
        kill(b.master(), SIGHUP);
        reloadAndWait(b);
    }
    stop = true;
    const int sent = publisher.get();
    for (auto& subscriber : subscribers) {
        for (int i = 0; i < sent; ++i) {
            expectEqual(subscriber.receiveText(), number(i));
        }
        subscriber.expectSilence();
    }
    publish(b, "room", "to all, by those who have moved");
    expectEqual(subscribers[0].receiveText(), "to all, by those who have moved");
}

TEST(a_publisher_that_moves_with_a_reload_keeps_its_order)
{
    auto& server = RabbitMq::share();
    Nginx a(nodeOptions(server.url(), "moving", 2));
    const Nginx b(nodeOptions(server.url(), "moving", 1));
    waitUntilHearing(a);
    waitUntilHearing(b, 1);
    WebSocket subscriber(b.port(), "/sub/room");
    std::atomic<bool> stop{false};
    auto publisher = std::async(std::launch::async, [&] {
        WebSocket socket(a.port(), "/ws/room");
        int sent = 0;
        for (; !stop; ++sent) {
            socket.send(number(sent));
            expectEqual(socket.receiveText(), number(sent)); // its echo
        }
        return sent;
    });
    for (int round = 0; round < 5; ++round) {
        reloadAndWait(a);
    }
    stop = true;
    const int sent = publisher.get();
    for (int i = 0; i < sent; ++i) {
        expectEqual(subscriber.receiveText(), number(i));
    }
    subscriber.expectSilence();
}

TEST(a_node_that_was_cut_off_catches_up)
{
    auto& server = RabbitMq::share();
    Proxy proxy(server.port());
    const Nginx a(nodeOptions(server.url(), "cutoff"));
    const Nginx b(nodeOptions(proxy.url(), "cutoff"));
    waitUntilHearing(a);
    waitUntilHearing(b);
    SseClient there(b.url("/sub/room"));
    WebSocket here(a.port(), "/sub/room");
    WebSocket publisher(a.port(), "/ws/room"); // one: each publisher's order is kept
    publisher.send("before");
    expectEqual(there.receive().data, "before");
    proxy.block(true);
    eventually([&] { return b.countInErrorLog("[error]") > 0; }, "the node notices");
    for (int i = 0; i < 50; ++i) {
        publisher.send(number(i));
    }
    publish(b, "room", "from the cut-off node");
    expectEqual(there.receive().data, "from the cut-off node");
    there.expectSilence();
    proxy.block(false);
    for (int i = 0; i < 50; ++i) {
        const auto event = there.receive();
        expectEqual(event.event, "message");
        expectEqual(event.data, number(i));
    }
    expectEqual(here.receiveText(), "before");
    for (int i = 0; i < 50; ++i) {
        expectEqual(here.receiveText(), number(i));
    }
    expectEqual(here.receiveText(), "from the cut-off node");
}

TEST(subscribers_are_told_of_a_gap_if_the_queue_did_not_wait_for_their_node)
{
    auto& server = RabbitMq::share();
    Proxy proxy(server.port());
    const Nginx a(nodeOptions(server.url(), "gap", 1));
    const Nginx b(nodeOptions(proxy.url(), "gap", 2, "on node=bee"));
    waitUntilHearing(a, 1);
    waitUntilHearing(b);
    SseClient there(b.url("/sub/room"));
    publish(a, "room", "before");
    const auto before = there.receive();
    expectEqual(before.data, "before");
    const auto since = Clock::now();
    eventually([&] { return Clock::now() - since > 5s; }, "the workers' start is over");
    proxy.block(true);
    eventually(
        [&] {
            return server.ctl({"list_queues", "name", "consumers"}).find("gap.node.bee\t0") !=
                   std::string::npos;
        },
        "nobody consumes the node's queue", 60s);
    server.ctl({"delete_queue", "gap.node.bee"}); // as if its time had come
    publish(a, "room", "lost");
    proxy.block(false);
    expectEqual(there.receive(60s).event, "realtime:gap");
    waitUntilHearing(b, 4);
    publish(a, "room", "after");
    const auto after = there.receive();
    expectEqual(after.data, "after");
    // And so is who comes back later.
    SseClient late(b.url("/sub/room"), {"Last-Event-ID: " + before.id});
    expectEqual(late.receive().event, "realtime:gap");
    expectEqual(late.receive().data, "after");
}

TEST_MAIN()
