#include "scenario/scenarios.hpp"

#include "load/schedule.hpp"
#include "scenario/rabbitmq.hpp"
#include "serve/nginx_server.hpp"

#include "support/files.hpp"

#include <cstdlib>
#include <stdexcept>
#include <thread>

namespace realtime::bench {

namespace {

void addRows(Report& report, const std::string& what, const Percentiles& runs, const Percentiles& stopped)
{
    constexpr double AtMost = 1.5; // "as it was", on a machine that others use too
    std::vector<Contender> p50{{what + " p50, broker runs", {}, runs.p50},
                               {what + " p50, stopped", {}, stopped.p50}};
    std::vector<Contender> p99{{what + " p99, broker runs", {}, runs.p99},
                               {what + " p99, stopped", {}, stopped.p99}};
    report.add("latency, 1,000 publishes a second", "ms", p50, AtMost);
    report.add("latency, 1,000 publishes a second", "ms", p99, AtMost);
}

} // namespace

void latency(const Options& options, Report& report)
{
    if (!hasRabbitMq(options, report, "latency")) {
        return;
    }
    const char* directory = std::getenv("RABBITMQ_DIR");
    auto broker = [&](const char* command) {
        if (testing::run({options.rabbitmq, command, directory}).status != 0) {
            throw std::runtime_error(std::string("cannot ") + command + " RabbitMQ");
        }
    };
    NginxSetup setup = realtimeSetup(options.module);
    setup.http += rabbitMqBlock("exchange realtime topic;\nqueue realtime.bench bind=#;\n");
    const NginxServer server(setup);
    Schedule schedule({server, server});
    schedule.run(500);

    // Longer than the broker's confirm timeout (10 s), so that its thread tries to reconnect meanwhile.
    const std::size_t count = options.quick ? 1000 : 15'000;
    Percentiles runsPublish, runsDelivery, stoppedPublish, stoppedDelivery;
    for (int pair = 0; pair < (options.quick ? 1 : 3); pair++) {
        schedule.run(count);
        runsPublish.add(schedule.publishes);
        runsDelivery.add(schedule.deliveries);
        broker("pause");
        try {
            schedule.run(count);
        } catch (...) {
            broker("resume");
            throw;
        }
        broker("resume");
        stoppedPublish.add(schedule.publishes);
        stoppedDelivery.add(schedule.deliveries);
        std::this_thread::sleep_for(std::chrono::seconds(2)); // it works off what has waited
    }
    addRows(report, "publish", runsPublish, stoppedPublish);
    addRows(report, "delivery", runsDelivery, stoppedDelivery);
}

} // namespace realtime::bench
