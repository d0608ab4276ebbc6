#include "scenario/scenarios.hpp"

#include "load/publisher.hpp"
#include "load/subscriber.hpp"
#include "serve/bare_server.hpp"
#include "serve/nginx_server.hpp"

#include <stdexcept>

namespace realtime::bench {

namespace {

constexpr std::size_t Subscribers = 1000;
constexpr std::size_t InFlight = 16;

// Publishers and subscribers of one channel of one server.
class Fan {
public:
    Fan(const Server& server, std::size_t subscribers)
        : server_(server), tally_(InFlight), publishers_(connectPublishers(loop_, server.port(), InFlight)),
          subscribers_(subscribe(loop_, server.port(), "/sub/all", subscribers, tally_)), sent_(InFlight)
    {
    }

    // Publishes `count` messages, each of `inFlight` publishers its next one when the last was answered and has
    // reached every subscriber. Server's CPU time in us for each delivery.
    double run(std::size_t count, std::size_t inFlight)
    {
        const std::uint64_t before = tally_.all;
        const auto cpu = server_.cpu();
        std::size_t published = 0;
        loop_.until("all messages are delivered", [&] {
            bool all = true;
            for (std::size_t i = 0; i < inFlight; i++) {
                if (!done(i)) {
                    all = false;
                } else if (published < count) {
                    publishers_[i]->post("/pub/all", encode({static_cast<std::uint32_t>(i), ++sent_[i]}));
                    published++;
                    all = false;
                }
            }
            return all;
        });
        const std::chrono::duration<double, std::micro> spent = server_.cpu() - cpu;
        if (tally_.faults > 0) {
            throw std::runtime_error(server_.name() + " has lost, doubled or reordered messages");
        }
        return spent.count() / static_cast<double>(tally_.all - before);
    }

private:
    bool done(std::size_t publisher) const
    {
        return publishers_[publisher]->idle() &&
               tally_.received[publisher] == sent_[publisher] * subscribers_.size();
    }

    const Server& server_;
    Loop loop_;
    Tally tally_;
    std::vector<std::unique_ptr<Publisher>> publishers_;
    std::vector<std::unique_ptr<Subscriber>> subscribers_;
    std::vector<std::uint64_t> sent_; // by publisher
};

} // namespace

void fanOut(const Options& options, Report& report)
{
    const BareServer bare;
    const NginxServer ours(realtimeSetup(options.module));
    std::unique_ptr<NginxServer> nchan;
    if (!options.nchan.empty()) {
        nchan = std::make_unique<NginxServer>(nchanSetup(options.nchan));
    }
    const std::size_t subscribers = options.scaled(Subscribers);
    std::vector<std::unique_ptr<Fan>> fans;
    std::vector<Contender> one, many;
    for (const Server* server : {static_cast<const Server*>(&bare), static_cast<const Server*>(&ours),
                                 static_cast<const Server*>(nchan.get())}) {
        if (server != nullptr) {
            Fan& fan = *fans.emplace_back(std::make_unique<Fan>(*server, subscribers));
            one.push_back({server->name(), [&fan] { return fan.run(100, 1); }});
            many.push_back({server->name(), [&fan] { return fan.run(160, InFlight); }});
        }
    }
    alternate(one, options.rounds());
    report.add("fan-out, 1 publish in flight", "us", one, 1.15);

    // The yardstick of both is one send a message.
    many.front() = one.front();
    many.front().values.clear();
    alternate(many, options.rounds());
    report.add("fan-out, 16 publishes in flight", "us", many, 0.2);
}

} // namespace realtime::bench
