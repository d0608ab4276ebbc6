#include "scenario/scenarios.hpp"

#include "load/bare_amqp.hpp"
#include "load/broker_load.hpp"
#include "load/publisher.hpp"
#include "scenario/rabbitmq.hpp"
#include "serve/nginx_server.hpp"

#include "support/files.hpp"

#include <unistd.h>

namespace realtime::bench {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t Bytes = 200;
constexpr std::size_t Confirmed = 20'000;               // a round
constexpr std::size_t Drained = 200'000;                // a round
constexpr double Ratio = 1 / 0.9, DrainRatio = 1 / 0.8; // of times, where the rates' ratios are meant

double microseconds(double rate)
{
    return 1e6 / rate;
}

// A keep-alive connection for each place in the broker's window, with one POST at a time.
class HttpLoad {
public:
    HttpLoad(const Server& server, std::size_t connections)
        : loop_(1ms), publishers_(connectPublishers(loop_, server.port(), connections)), busy_(connections)
    {
    }

    // Events a second, from the first request to the last answer.
    double publish(std::size_t events)
    {
        const std::string body(Bytes, 'x');
        std::size_t sent = 0, answered = 0;
        const auto start = Clock::now();
        loop_.until("all events are confirmed", [&] {
            for (std::size_t i = 0; i < publishers_.size(); i++) {
                if (busy_[i] && publishers_[i]->idle()) {
                    busy_[i] = false;
                    answered++;
                }
                if (!busy_[i] && sent < events) {
                    busy_[i] = true;
                    publishers_[i]->post("/confirmed/orders" + std::to_string(sent++ % 50), body);
                }
            }
            return answered == events;
        });
        return static_cast<double>(events) / secondsSince(start);
    }

private:
    Loop loop_;
    std::vector<std::unique_ptr<Publisher>> publishers_;
    std::vector<bool> busy_; // by publisher: waits for an answer
};

// The yardstick. The configuration must outlive it.
Contender bareRabbitMq(const BrokerConfig& config, std::size_t events)
{
    return {"bare rabbitmq-c", [&config, events] {
                BareAmqp bare(config);
                bare.purge(config.queues[0].name);
                return microseconds(bare.publish(events, Bytes));
            }};
}

void confirmsOf(const std::string& queueType, const Options& options, Report& report)
{
    const BrokerConfig config = rabbitMqConfig(queueType);
    const std::string& queue = config.queues[0].name;
    NginxSetup setup = realtimeSetup(options.module);
    setup.pinned = false;
    setup.http += rabbitMqBlock(rabbitMqLines(config));
    setup.server += "location ~ ^/confirmed/(?<channel>\\w+)$ { realtime_publish $channel ack=broker; }\n";
    const NginxServer server(setup);
    HttpLoad http(server, config.window);
    http.publish(1); // exchange and queue are there
    const std::size_t events = options.scaled(Confirmed);
    std::vector<double> servers, clients; // CPU time an event
    const auto cpuOf = [&](auto work) {
        const auto server0 = server.cpu(), client0 = cpuTime({getpid()});
        const double time = work();
        const double each = 1e-3 / static_cast<double>(events); // from nanoseconds
        servers.push_back(each * static_cast<double>((server.cpu() - server0).count()));
        clients.push_back(each * static_cast<double>((cpuTime({getpid()}) - client0).count()));
        return time;
    };
    std::vector<Contender> contenders{
        bareRabbitMq(config, events),
        {"POST, ack=broker",
         [&] {
             BareAmqp(config).purge(queue);
             return cpuOf([&] { return microseconds(http.publish(events)); });
         }},
    };
    alternate(contenders, options.quick ? 1 : 7);
    const std::string scenario = "confirmed, " + queueType + " queue";
    report.add(scenario, "us", contenders, Ratio);
    report.add({scenario, "CPU of nginx", median(servers), "us", {}, {}, {}, {}});
    report.add({scenario, "CPU of the HTTP clients", median(clients), "us", {}, {}, {}, {}});
}

} // namespace

// Everything runs on all cores: RabbitMQ needs most of them.
void confirms(const Options& options, Report& report)
{
    if (!hasRabbitMq(options, report, "confirms")) {
        return;
    }
    const Unpinned everywhere;
    confirmsOf("classic", options, report);
    confirmsOf("quorum", options, report);
}

void spool(const Options& options, Report& report)
{
    if (!hasRabbitMq(options, report, "spool")) {
        return;
    }
    const Unpinned everywhere;
    const testing::TempDir directory;
    BrokerConfig config = rabbitMqConfig("classic");
    const std::string& queue = config.queues[0].name;
    storeAll(config, 1, Bytes); // exchange and queue are there
    config.spool = {directory.path(), 8ULL << 30};
    BrokerConfig away = config;
    away.servers = {parseBrokerServer("amqp://127.0.0.1:1")}; // nobody listens there
    const std::size_t events = options.quick ? 5'000 : Drained;
    std::vector<double> filled;
    std::vector<Contender> contenders{
        bareRabbitMq(config, events),
        {"drained",
         [&] {
             filled.push_back(microseconds(storeAll(away, events, Bytes, false)));
             BareAmqp(config).purge(queue);
             return microseconds(drain(config, events));
         }},
    };
    for (int round = 0; round < (options.quick ? 1 : 3); round++) {
        for (Contender& contender : contenders) {
            contender.values.push_back(contender.round());
        }
    }
    const std::string scenario = "spool, " + std::to_string(events) + " events";
    report.add({scenario, "filled, RabbitMQ away", median(filled), "us", {}, {}, {}, {}});
    report.add(scenario, "us", contenders, DrainRatio);
}

} // namespace realtime::bench
