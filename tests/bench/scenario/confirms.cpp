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
constexpr std::size_t Confirmed = 20'000; // a round
constexpr std::size_t Drained = 1'000'000;
constexpr double Ratio = 1 / 0.9, DrainRatio = 1 / 0.8; // of times, where the rates' ratios are meant

double microseconds(double rate)
{
    return 1e6 / rate;
}

// Keep-alive connections with one POST at a time: twice as many as the broker's window has places, so that it is full while
// answers and requests are on their way, as that of the bare publisher is, which has its next event at hand.
class HttpLoad {
public:
    HttpLoad(const Server& server, std::size_t connections) : loop_(1ms)
    {
        for (std::size_t i = 0; i < Channels; i++) {
            requests_.push_back(
                Publisher::postRequest("/confirmed/orders" + std::to_string(i), std::string(Bytes, 'x')));
        }
        for (std::size_t i = 0; i < connections; i++) {
            clients_.push_back(std::make_unique<Client>(*this, server.port()));
        }
    }

    // Events a second, from the first request to the last answer.
    double publish(std::size_t events)
    {
        left_ = unanswered_ = events;
        const auto start = Clock::now();
        for (auto& client : clients_) {
            client->next();
        }
        loop_.until("all events are confirmed", [this] { return unanswered_ == 0; });
        return static_cast<double>(events) / secondsSince(start);
    }

private:
    static constexpr std::size_t Channels = 50;

    class Client final : public Publisher {
    public:
        Client(HttpLoad& load, std::uint16_t port) : Publisher(load.loop_, port), load_(load) {}
        void next()
        {
            if (load_.left_ > 0) {
                request(load_.requests_[--load_.left_ % Channels]);
            }
        }

    private:
        void answered() override
        {
            --load_.unanswered_;
            next();
        }
        HttpLoad& load_;
    };

    Loop loop_;
    std::vector<std::string> requests_; // by channel
    std::vector<std::unique_ptr<Client>> clients_;
    std::size_t left_ = 0, unanswered_ = 0;
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

void confirmsOf(const std::string& queueType, int workers, const Options& options, Report& report)
{
    const BrokerConfig config = rabbitMqConfig(queueType);
    const std::string& queue = config.queues[0].name;
    NginxSetup setup = realtimeSetup(options.module);
    setup.workers = workers;
    setup.pinned = false;
    BrokerConfig share = config; // of a worker
    share.window /= static_cast<std::uint32_t>(workers);
    setup.http += rabbitMqBlock(rabbitMqLines(share));
    setup.server += "location ~ ^/confirmed/(?<channel>\\w+)$ { realtime_publish $channel ack=broker; }\n";
    const NginxServer server(setup);
    HttpLoad http(server, std::size_t{2} * config.window);
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
    const std::string scenario =
        "confirmed, " + queueType + ", " + std::to_string(workers) + (workers == 1 ? " worker" : " workers");
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
    for (const auto* type : {"classic", "quorum"}) {
        for (const int workers : {1, 2}) { // `worker_processes auto` makes two on two cores
            confirmsOf(type, workers, options, report);
        }
    }
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
    // The yardstick before and after, half as many each: a million takes minutes, and machines have moods.
    const auto bare = [&] {
        BareAmqp publisher(config);
        publisher.purge(queue);
        return microseconds(publisher.publish(events / 2, Bytes));
    };
    std::vector<Contender> contenders{{"bare rabbitmq-c", {}}, {"drained", {}}};
    const double before = bare();
    const double filled = microseconds(storeAll(away, events, Bytes, false));
    BareAmqp(config).purge(queue);
    contenders[1].values.push_back(microseconds(drain(config, events)));
    contenders[0].values.push_back((before + bare()) / 2);
    const std::string scenario = "spool, " + std::to_string(events) + " events";
    report.add({scenario, "filled, RabbitMQ away", filled, "us", {}, {}, {}, {}});
    report.add(scenario, "us", contenders, DrainRatio);
}

} // namespace realtime::bench
