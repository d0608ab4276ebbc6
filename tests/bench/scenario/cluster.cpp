#include "scenario/scenarios.hpp"

#include "load/bare_amqp.hpp"
#include "load/message.hpp"
#include "load/schedule.hpp"
#include "scenario/rabbitmq.hpp"
#include "serve/nginx_server.hpp"

#include <algorithm>
#include <stdexcept>
#include <thread>

namespace realtime::bench {

namespace {

using namespace std::chrono_literals;

constexpr auto Interval = 2ms; // 500 publishes a second
constexpr auto Nap = 100us;    // of the load generators
constexpr double MostMilliseconds = 10;

void waitUntilHearing(const NginxServer& server)
{
    const auto deadline = Clock::now() + 60s;
    while (server.errorLog().find("hears the other nodes") == std::string::npos) {
        if (Clock::now() > deadline) {
            throw std::runtime_error("a node does not hear: " + server.errorLog());
        }
        std::this_thread::sleep_for(20ms);
    }
}

// The deliveries' latencies, from A to the subscribers of `to`.
class Hop {
public:
    Hop(const NginxServer& a, const NginxServer& to) : schedule_({a, to, Interval, 16, 10, Nap})
    {
        schedule_.run(250);
    }
    const std::vector<double>& round(std::size_t count)
    {
        schedule_.run(count);
        return schedule_.deliveries;
    }

private:
    Schedule schedule_;
};

} // namespace

void cluster(const Options& options, Report& report)
{
    if (!hasRabbitMq(options, report, "cluster")) {
        return;
    }
    const Unpinned everywhere; // two nodes, RabbitMQ and the load generator
    NginxSetup setup = realtimeSetup(options.module);
    setup.pinned = false;
    setup.http += rabbitMqBlock("exchange bench.nodes topic;\ncluster on;\n");
    const NginxServer a(setup), b(setup);
    waitUntilHearing(a);
    waitUntilHearing(b);
    BrokerConfig bare = rabbitMqConfig("classic");
    bare.exchange.name = "bench.bare";
    const std::size_t count = options.quick ? 250 : 5'000;
    const int rounds = options.quick ? 1 : 5;
    Percentiles yardstick, hop, same;
    {
        Hop toB(a, b);
        for (int round = 0; round < rounds; round++) {
            yardstick.add(bareHop(bare, count, MessageBytes, Interval, Nap));
            hop.add(toB.round(count));
        }
    }
    Hop toA(a, a);
    for (int round = 0; round < rounds; round++) {
        same.add(toA.round(count));
    }
    const auto add = [&](const char* subject, const std::vector<double>& values,
                         std::optional<double> atMost = {}) {
        const auto [low, high] = std::minmax_element(values.begin(), values.end());
        report.add({"cluster, 500 a second", subject, median(values), "ms", *low, *high, {}, atMost});
    };
    add("the same node, p50", same.p50);
    add("the same node, p99", same.p99);
    add("bare rabbitmq-c, p50", yardstick.p50);
    add("bare rabbitmq-c, p99", yardstick.p99);
    add("another node, p50", hop.p50);
    add("another node, p99", hop.p99, MostMilliseconds);
}

} // namespace realtime::bench
