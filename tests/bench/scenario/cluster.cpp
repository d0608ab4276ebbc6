#include "scenario/scenarios.hpp"

#include "load/schedule.hpp"
#include "scenario/rabbitmq.hpp"
#include "serve/nginx_server.hpp"

#include <stdexcept>
#include <thread>

namespace realtime::bench {

namespace {

using namespace std::chrono_literals;

constexpr auto Interval = 2ms; // 500 publishes a second
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
Percentiles deliveries(const NginxServer& a, const NginxServer& to, const Options& options)
{
    Schedule schedule({a, to, Interval, 16, 10, 100us});
    schedule.run(250);
    Percentiles latencies;
    for (int round = 0; round < (options.quick ? 1 : 5); round++) {
        schedule.run(options.quick ? 250 : 5'000);
        latencies.add(schedule.deliveries);
    }
    return latencies;
}

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
    const Percentiles hop = deliveries(a, b, options);
    const Percentiles same = deliveries(a, a, options);
    const std::string scenario = "cluster, 500 a second";
    report.add({scenario, "the same node, p50", median(same.p50), "ms", {}, {}, {}, {}});
    report.add({scenario, "the same node, p99", median(same.p99), "ms", {}, {}, {}, {}});
    report.add({scenario, "another node, p50", median(hop.p50), "ms", {}, {}, {}, {}});
    report.add({scenario, "another node, p99", median(hop.p99), "ms", {}, {}, {}, MostMilliseconds});
}

} // namespace realtime::bench
