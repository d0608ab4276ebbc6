#include "scenario/scenarios.hpp"

#include "load/publisher.hpp"
#include "load/subscriber.hpp"
#include "serve/nginx_server.hpp"

#include <algorithm>
#include <set>
#include <stdexcept>

namespace realtime::bench {

namespace {

constexpr std::size_t Subscribers = 200;
constexpr std::size_t Publishers = 8;
constexpr std::size_t Messages = 40'000;

std::size_t unlike(const std::vector<std::unique_ptr<Subscriber>>& subscribers)
{
    return static_cast<std::size_t>(
        std::count_if(subscribers.begin(), subscribers.end(), [&](const auto& subscriber) {
            return subscriber->digest() != subscribers.front()->digest();
        }));
}

std::set<int> workersOf(const std::vector<std::unique_ptr<Subscriber>>& subscribers)
{
    std::set<int> workers;
    for (const auto& subscriber : subscribers) {
        workers.insert(subscriber->worker());
    }
    return workers;
}

} // namespace

// Each publisher sends as fast as it is answered; where a connection lands is the kernel's choice (reuseport).
void workers(const Options& options, Report& report)
{
    NginxSetup setup = realtimeSetup(options.module);
    setup.workers = 2;
    setup.server += "add_header Worker $pid always;\n";
    const NginxServer server(setup);

    Loop loop;
    Tally tally(Publishers);
    auto publishers = connectPublishers(loop, server.port(), Publishers);
    const auto subscribers = subscribe(loop, server.port(), "/sub/all", Subscribers, tally);
    if (workersOf(subscribers).size() != 2) {
        throw std::runtime_error("the subscribers are not spread over both workers");
    }

    const std::size_t messages = options.scaled(Messages);
    const auto cpu = server.cpu();
    const auto start = Clock::now();
    std::vector<std::uint64_t> sent(Publishers);
    std::size_t published = 0;
    loop.until("every subscriber has every message", [&] {
        for (std::size_t i = 0; i < Publishers && published < messages; i++) {
            if (publishers[i]->idle()) {
                publishers[i]->post("/pub/all", encode({static_cast<std::uint32_t>(i), ++sent[i]}));
                published++;
            }
        }
        return tally.all + tally.faults >= messages * Subscribers && published == messages;
    });
    const std::chrono::duration<double> seconds = Clock::now() - start;
    const std::chrono::duration<double, std::micro> spent = server.cpu() - cpu;
    const auto deliveries = static_cast<double>(tally.all);

    const std::string scenario = "2 workers, both publish";
    report.add({scenario, "lost, doubled, reordered", static_cast<double>(tally.faults), "", {}, {}, {}, 0});
    report.add({scenario,
                "subscribers in another order",
                static_cast<double>(unlike(subscribers)),
                "",
                {},
                {},
                {},
                0});
    report.add({scenario, "CPU of both, a delivery", spent.count() / deliveries, "us", {}, {}, {}, {}});
    report.add({scenario,
                "deliveries a second",
                deliveries / seconds.count() / 1000,
                "k",
                {},
                {},
                {},
                {},
                "all processes share two cores"});
}

} // namespace realtime::bench
