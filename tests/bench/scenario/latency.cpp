#include "scenario/scenarios.hpp"

#include "load/publisher.hpp"
#include "load/subscriber.hpp"
#include "serve/nginx_server.hpp"

#include "support/files.hpp"

#include <cstdlib>
#include <stdexcept>
#include <thread>

namespace realtime::bench {

namespace {

constexpr std::size_t Publishers = 16;
constexpr std::size_t Subscribers = 10;
constexpr auto Interval = std::chrono::milliseconds(1); // from one publish to the next, come what may

// Publishes on schedule. Latencies count from the moment that was planned, so that a server that stalls is charged for
// the requests that had to wait for it ("coordinated omission").
class Schedule {
public:
    explicit Schedule(const Server& server)
        : tally_(Publishers), publishers_(connectPublishers(loop_, server.port(), Publishers)),
          subscribers_(subscribe(loop_, server.port(), "/sub/all", Subscribers, tally_)),
          planned_(Publishers), waiting_(Publishers)
    {
        tally_.each = [this](const Message& message) {
            deliveries.push_back(since(planned_[message.publisher][message.number - 1]));
        };
    }

    // Fills `publishes` and `deliveries` anew, in milliseconds.
    void run(std::size_t count)
    {
        publishes.clear();
        deliveries.clear();
        const auto start = Clock::now();
        std::size_t sent = 0;
        loop_.until("all messages are delivered", [&] {
            collect();
            while (sent < count && Clock::now() >= start + sent * Interval && send(start + sent * Interval)) {
                sent++;
            }
            return publishes.size() == count && deliveries.size() == count * subscribers_.size();
        });
        if (tally_.faults > 0) {
            throw std::runtime_error("messages were lost, doubled or reordered");
        }
    }

    std::vector<double> publishes;
    std::vector<double> deliveries;

private:
    static double since(Clock::time_point planned)
    {
        return std::chrono::duration<double, std::milli>(Clock::now() - planned).count();
    }

    void collect()
    {
        for (std::size_t i = 0; i < Publishers; i++) {
            if (waiting_[i] && publishers_[i]->idle()) {
                publishes.push_back(since(planned_[i].back()));
                waiting_[i] = false;
            }
        }
    }

    // False: all publishers wait for answers.
    bool send(Clock::time_point planned)
    {
        for (std::size_t i = 0; i < Publishers; i++) {
            if (!waiting_[i]) {
                waiting_[i] = true;
                planned_[i].push_back(planned);
                publishers_[i]->post("/pub/all", encode({static_cast<std::uint32_t>(i), planned_[i].size()}));
                return true;
            }
        }
        return false;
    }

    Loop loop_;
    Tally tally_;
    std::vector<std::unique_ptr<Publisher>> publishers_;
    std::vector<std::unique_ptr<Subscriber>> subscribers_;
    std::vector<std::vector<Clock::time_point>> planned_; // of each publisher's messages
    std::vector<bool> waiting_;                           // for an answer, by publisher
};

struct Percentiles {
    std::vector<double> p50, p99; // of each phase
    void add(const std::vector<double>& latencies)
    {
        p50.push_back(percentile(latencies, 0.5));
        p99.push_back(percentile(latencies, 0.99));
    }
};

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

NginxSetup withRabbitMq(NginxSetup setup)
{
    const char* port = std::getenv("RABBITMQ_AMQP_PORT");
    if (port == nullptr) {
        throw std::runtime_error("RABBITMQ_AMQP_PORT is not set: run it by `rabbitmq.sh run`");
    }
    setup.http += "realtime_broker events {\n"
                  "server amqp://guest:guest@127.0.0.1:" +
                  std::string(port) +
                  "/%2F;\nexchange realtime topic;\nqueue realtime.bench bind=#;\n}\n"
                  "realtime_app default { broker events; }\n";
    return setup;
}

} // namespace

void latency(const Options& options, Report& report)
{
    const char* directory = std::getenv("RABBITMQ_DIR");
    if (options.rabbitmq.empty() || directory == nullptr) {
        report.add({"latency", "skipped: no RabbitMQ given", 0, "", {}, {}, {}, {}});
        return;
    }
    auto broker = [&](const char* command) {
        if (testing::run({options.rabbitmq, command, directory}).status != 0) {
            throw std::runtime_error(std::string("cannot ") + command + " RabbitMQ");
        }
    };
    const NginxServer server(withRabbitMq(realtimeSetup(options.module)));
    Schedule schedule(server);
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
