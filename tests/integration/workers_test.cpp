// Several workers: each event once to everyone, in one order; a killed worker costs only its own connections.
#include "support/realtime.hpp"
#include "support/sqlite.hpp"
#include "support/sse.hpp"
#include "support/websocket.hpp"

#include <set>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

struct Subscribers {
    std::map<pid_t, std::vector<WebSocket>> byWorker;
};

// At least `each` subscribers on every worker.
Subscribers subscribe(const Nginx& nginx, std::size_t each, const std::string& path)
{
    Subscribers subscribers;
    for (const pid_t worker : nginx.workers()) {
        subscribers.byWorker[worker];
    }
    const auto enough = [&] {
        for (const auto& [worker, sockets] : subscribers.byWorker) {
            if (sockets.size() < each) {
                return false;
            }
        }
        return true;
    };
    for (int i = 0; i < 500 && !enough(); ++i) {
        WebSocket socket(nginx.port(), path);
        const pid_t worker = nginx.workerOf(socket.clientPort());
        if (subscribers.byWorker.at(worker).size() < each) {
            subscribers.byWorker.at(worker).push_back(std::move(socket));
        }
    }
    expect(enough(), "subscribers on every worker");
    return subscribers;
}

NginxOptions stored(int workers)
{
    auto options = endpoints(workers);
    options.http = "realtime_broker events { server sqlite:%DIR%/events.db; }\n"
                   "realtime_app default { broker events; }\n";
    return options;
}

} // namespace

TEST_WITH_WORKERS(everyone_gets_each_event_once_and_in_order)
{
    const Nginx nginx(endpoints(workers));
    Subscribers subscribers = subscribe(nginx, 3, "/sub/room");
    auto publishers = clientOnEachWorker(nginx);
    HttpRequest request;
    request.url = nginx.url("/pub/room");
    request.method = "POST";
    constexpr int Rounds = 50;
    int number = 0;
    for (int round = 0; round < Rounds; ++round) {
        for (auto& [worker, client] : publishers) {
            request.body = std::to_string(number++);
            expectEqual(client->send(request).status, 202L);
        }
    }
    for (auto& [worker, sockets] : subscribers.byWorker) {
        for (auto& socket : sockets) {
            for (int expected = 0; expected < number; ++expected) {
                expectEqual(socket.receiveText(), std::to_string(expected));
            }
            socket.expectSilence(20ms);
        }
    }
}

TEST_WITH_WORKERS(all_see_one_order_when_publishers_race)
{
    const Nginx nginx(endpoints(workers));
    Subscribers subscribers = subscribe(nginx, 2, "/sub/room");
    std::vector<std::unique_ptr<HttpExchange>> racing;
    constexpr int Count = 200;
    for (int i = 0; i < Count; ++i) {
        HttpRequest request;
        request.url = nginx.url("/pub/room");
        request.method = "POST";
        request.body = std::to_string(i);
        racing.push_back(std::make_unique<HttpExchange>(request));
    }
    for (auto& exchange : racing) {
        expectEqual(exchange->finish().status, 202L);
    }
    std::vector<std::string> order;
    for (auto& [worker, sockets] : subscribers.byWorker) {
        for (auto& socket : sockets) {
            std::vector<std::string> seen;
            for (int i = 0; i < Count; ++i) {
                seen.push_back(socket.receiveText());
            }
            if (order.empty()) {
                order = seen;
                expectEqual(std::set<std::string>(seen.begin(), seen.end()).size(), std::size_t{Count});
            }
            expect(seen == order, "the same order everywhere");
        }
    }
}

TEST_WITH_WORKERS(the_answer_counts_subscribers_of_all_workers)
{
    const Nginx nginx(endpoints(workers));
    {
        const Subscribers subscribers = subscribe(nginx, 2, "/sub/room");
        // Those that were one too many for their worker have gone again; that takes a moment to be seen.
        eventually([&] { return probe(nginx, "room") == 2L * workers; }, "all are counted");
    }
    eventually([&] { return probe(nginx, "room") == 0; }, "all are counted off");
}

TEST(a_killed_worker_costs_only_its_own_connections)
{
    auto options = stored(2);
    options.expectedErrors = {"exited on signal 9"};
    Nginx nginx(options);
    Subscribers subscribers = subscribe(nginx, 3, "/sub/room");
    auto publishers = clientOnEachWorker(nginx);
    const pid_t victim = nginx.workers().at(0);
    const pid_t survivor = nginx.workers().at(1);
    auto& survivors = subscribers.byWorker.at(survivor);

    HttpRequest request;
    request.url = nginx.url("/pub/room");
    request.method = "POST";
    int number = 0;
    const auto publishOn = [&](pid_t worker, int count) {
        for (int i = 0; i < count; ++i) {
            request.body = std::to_string(number++);
            expectEqual(publishers.at(worker)->send(request).status, 202L);
        }
    };
    publishOn(victim, 20);
    publishOn(survivor, 20);
    nginx.killWorker(victim);
    publishOn(survivor, 20);

    for (auto& socket : survivors) {
        for (int expected = 0; expected < number; ++expected) {
            expectEqual(socket.receiveText(), std::to_string(expected));
        }
    }
    for (auto& socket : subscribers.byWorker.at(victim)) {
        expectEqual(socket.waitForClose().code, 1006);
    }
    // The successor has cleared the victim's column.
    eventually([&] { return probe(nginx, "room") == static_cast<std::int64_t>(survivors.size()); },
               "the dead worker's subscribers are counted off");
    // What was missed can be resumed from the successor, as from anyone.
    const Subscribers fresh = subscribe(nginx, 1, "/sub/room");
    expectEqual(fresh.byWorker.size(), std::size_t{2});
}

TEST(an_event_that_was_acknowledged_as_stored_survives_its_worker)
{
    auto options = stored(2);
    options.expectedErrors = {"exited on signal 9"};
    options.server += "location = /stored { realtime_publish room ack=stored; }\n";
    Nginx nginx(options);
    int acknowledged = 0;
    for (int round = 0; round < 5; ++round) {
        auto publishers = clientOnEachWorker(nginx);
        HttpRequest request;
        request.url = nginx.url("/stored");
        request.method = "POST";
        for (auto& [worker, client] : publishers) {
            for (int i = 0; i < 10; ++i) {
                request.body = std::to_string(acknowledged);
                expectEqual(client->send(request).status, 200L);
                ++acknowledged;
            }
        }
        nginx.killWorker(nginx.workers().at(0));
    }
    const auto rows = query(nginx.directory() / "events.db", "select distinct data from events");
    expectEqual(rows.size(), static_cast<std::size_t>(acknowledged));
}

TEST(workers_may_be_killed_again_and_again_under_load)
{
    auto options = endpoints(2);
    options.expectedErrors = {"exited on signal 9"};
    Nginx nginx(options);
    const Subscribers subscribers = subscribe(nginx, 2, "/sub/room");
    for (int round = 0; round < 8; ++round) {
        std::vector<std::unique_ptr<HttpExchange>> racing;
        for (int i = 0; i < 30; ++i) {
            HttpRequest request;
            request.url = nginx.url("/pub/room");
            request.method = "POST";
            request.body = std::string(2000, 'x');
            racing.push_back(std::make_unique<HttpExchange>(request));
        }
        nginx.killWorker(nginx.workers().at(0));
    }
    eventually([&] { return probe(nginx, "room") == 0; }, "nobody is left of those that were killed");
    SseClient after(nginx.url("/sub/room"));
    publish(nginx, "room", "it goes on");
    expectEqual(after.receive().data, "it goes on");
}

TEST_MAIN()
