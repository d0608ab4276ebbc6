#include "scenario/scenarios.hpp"

#include "load/publisher.hpp"
#include "load/subscriber.hpp"
#include "serve/bare_server.hpp"
#include "serve/nginx_server.hpp"

#include <stdexcept>
#include <thread>

namespace realtime::bench {

namespace {

constexpr std::size_t Channels = 10'000;
constexpr std::size_t InFlight = 16;
constexpr std::size_t Passes = 2; // over all channels, in one round

// One subscriber a channel; publishes to all channels in turn, InFlight of them at a time.
class Row10k {
public:
    Row10k(const Server& server, std::size_t channels, bool websocket)
        : server_(server), tally_(1), websocket_(websocket),
          publishers_(connectPublishers(loop_, server.port(), websocket ? 0 : InFlight)),
          subscribers_(subscribe(loop_, server.port(), websocket ? "/ws/%" : "/sub/%", channels, tally_))
    {
    }

    double run()
    {
        pass(1); // the server's first touch of everything
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        const auto cpu = server_.cpu();
        for (std::size_t i = 0; i < Passes; i++) {
            pass(i + 2);
        }
        const std::chrono::duration<double, std::micro> spent = server_.cpu() - cpu;
        if (tally_.faults > 0) {
            throw std::runtime_error(server_.name() + " has lost, doubled or reordered messages");
        }
        return spent.count() / static_cast<double>(Passes * subscribers_.size());
    }

private:
    void pass(std::uint64_t number)
    {
        const std::uint64_t before = tally_.all;
        const std::string message = encode({0, number});
        std::size_t next = 0;
        loop_.until("all messages are delivered", [&] {
            while (next < subscribers_.size() && before + next < tally_.all + InFlight &&
                   send(next, message)) {
                next++;
            }
            return tally_.all == before + subscribers_.size();
        });
    }

    bool send(std::size_t channel, const std::string& message)
    {
        if (websocket_) {
            subscribers_[channel]->publish(message);
            return true;
        }
        Publisher& publisher = *publishers_[channel % InFlight];
        if (!publisher.idle()) {
            return false;
        }
        publisher.post(numbered("/pub/%", channel), message);
        return true;
    }

    const Server& server_;
    Loop loop_;
    Tally tally_;
    bool websocket_;
    std::vector<std::unique_ptr<Publisher>> publishers_;
    std::vector<std::unique_ptr<Subscriber>> subscribers_;
};

void measure(const Options& options, Report& report, bool websocket)
{
    const NginxServer ours(realtimeSetup(options.module));
    std::unique_ptr<NginxServer> nchan;
    const std::size_t count = options.scaled(Channels);
    // The connections are made anew each round: three servers' are more than a process may have.
    std::vector<Contender> contenders;
    contenders.push_back({"bare loop", [&] {
                              const BareServer bare; // counts its subscribers from 0
                              return Row10k(bare, count, websocket).run();
                          }});
    contenders.push_back({ours.name(), [&] { return Row10k(ours, count, websocket).run(); }});
    if (!options.nchan.empty()) {
        nchan = std::make_unique<NginxServer>(nchanSetup(options.nchan));
        contenders.push_back({nchan->name(), [&] { return Row10k(*nchan, count, websocket).run(); }});
    }
    alternate(contenders, options.rounds());
    report.add(websocket ? "10,000 channels, over WebSocket" : "10,000 channels, over HTTP", "us", contenders,
               websocket ? std::optional(1.3) : std::nullopt);
}

} // namespace

void channels(const Options& options, Report& report)
{
    measure(options, report, true);
    measure(options, report, false);
}

} // namespace realtime::bench
