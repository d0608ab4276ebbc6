#include "scenario/scenarios.hpp"

#include "load/publisher.hpp"
#include "load/subscriber.hpp"
#include "serve/nginx_server.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <memory>
#include <stdexcept>

namespace realtime::bench {

namespace {

using namespace std::chrono_literals;
using Microseconds = std::chrono::duration<double, std::micro>;
using Milliseconds = std::chrono::duration<double, std::milli>;

constexpr std::size_t Idle = 15'000;
constexpr std::size_t Listeners = 10;
constexpr auto Interval = 10ms; // from one message to the next
constexpr auto Calm = 300ms;    // before a reload

// Who publishes, in turn: a WebSocket, which moves as well, and requests, each on a connection of its own.
enum : std::size_t { BySocket, ByRequest, Ways };

struct Reload {
    double ms = 0;     // from the signal to the old worker's end
    double usEach = 0; // CPU time of both workers, for each connection that has moved
    std::array<std::vector<double>, Ways> deliveries; // in milliseconds, of what was published meanwhile
};

enum class Channels { One, Own };

// A worker full of idle connections, and a few that are not.
class Scene {
public:
    Scene(const Options& options, Channels channels)
        : server_(realtimeSetup(options.module)), channels_(channels), idleTally_(1), tally_(Ways)
    {
        tally_.each = [this](const Message& message) {
            const auto planned = planned_[message.publisher][message.number - 1];
            if (counting_ && planned >= begun_) {
                result_.deliveries[message.publisher].push_back(Milliseconds(Clock::now() - planned).count());
            }
        };
        // They move in the order of their last sign of life: those that are measured come in the middle.
        const std::size_t half = options.scaled(Idle) / 2;
        const bool own = channels == Channels::Own;
        idle_ = subscribe(loop_, server_.port(), own ? "/sub/left%" : "/sub/idle", half, idleTally_);
        listeners_ = subscribe(loop_, server_.port(), "/sub/all", Listeners, tally_);
        talker_ = std::move(subscribe(loop_, server_.port(), "/ws/all", 1, tally_).front());
        for (auto& one :
             subscribe(loop_, server_.port(), own ? "/sub/right%" : "/sub/idle", half, idleTally_)) {
            idle_.push_back(std::move(one));
        }
    }

    Reload run()
    {
        result_ = {};
        next_ = Clock::now();
        const auto calm = next_ + Calm;
        loop_.until("some messages are published", [&] { return publishDue(), Clock::now() > calm; });

        const pid_t old = server_.workers().front();
        const auto before = cpuTime({old});
        auto after = before;
        begun_ = Clock::now();
        counting_ = true;
        kill(server_.master(), SIGHUP);
        loop_.until("the old worker has ended", [&] { return publishDue(), !lives(old, after); });
        result_.ms = Milliseconds(Clock::now() - begun_).count();
        server_.lookForWorkers();
        const auto spent = after - before + server_.cpu();
        result_.usEach = Microseconds(spent).count() / static_cast<double>(idle_.size() + Listeners + 1);

        loop_.until("all messages are delivered", [&] {
            finishRequest();
            return request_ == nullptr && tally_.all == published() * (Listeners + 1);
        });
        counting_ = false;
        expectAllThere();
        return result_;
    }

private:
    // Its CPU time, as long as there is one.
    static bool lives(pid_t pid, std::chrono::nanoseconds& cpu)
    {
        try {
            cpu = cpuTime({pid});
            return true;
        } catch (const std::runtime_error&) {
            return false;
        }
    }

    std::size_t published() const { return planned_[BySocket].size() + planned_[ByRequest].size(); }

    void publishDue()
    {
        finishRequest();
        if (Clock::now() < next_) {
            return;
        }
        const std::size_t way = published() % Ways;
        if (way == ByRequest && request_ != nullptr) {
            return; // what it is late is on its account
        }
        planned_[way].push_back(next_);
        next_ += Interval;
        const std::string text = encode({static_cast<std::uint32_t>(way), planned_[way].size()});
        if (way == BySocket) {
            talker_->publish(text);
        } else {
            request_ = std::make_unique<Publisher>(loop_, server_.port());
            request_->post("/pub/all", text);
        }
    }

    void finishRequest()
    {
        if (request_ != nullptr && request_->idle()) {
            request_.reset();
        }
    }

    // Nobody was disconnected, or it would have thrown; here they show that they are served.
    void expectAllThere()
    {
        const std::uint64_t all = idleTally_.all + (channels_ == Channels::Own ? 1 : idle_.size());
        Publisher publisher(loop_, server_.port());
        publisher.post(channels_ == Channels::Own ? "/pub/left0" : "/pub/idle", encode({0, ++rounds_}));
        loop_.until("those who are idle have a message",
                    [&] { return publisher.idle() && idleTally_.all == all; });
        if (tally_.faults + idleTally_.faults > 0) {
            throw std::runtime_error("messages were lost, doubled or reordered");
        }
    }

    NginxServer server_;
    Channels channels_;
    Loop loop_;
    Tally idleTally_, tally_;
    std::vector<std::unique_ptr<Subscriber>> idle_, listeners_;
    std::unique_ptr<Subscriber> talker_;
    std::unique_ptr<Publisher> request_; // that is on its way
    std::array<std::vector<Clock::time_point>, Ways> planned_;
    Clock::time_point next_, begun_;
    bool counting_ = false;
    std::uint64_t rounds_ = 0;
    Reload result_;
};

void addRow(Report& report, const std::string& scenario, const std::string& subject, const std::string& unit,
            const std::vector<double>& values, std::optional<double> atMost)
{
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    report.add({scenario, subject, median(values), unit, *low, *high, {}, atMost});
}

void reload(const Options& options, Report& report, const std::string& scenario, Channels channels,
            bool targets)
{
    Scene scene(options, channels);
    scene.run(); // not counted
    std::vector<double> ms, usEach;
    std::array<std::vector<double>, Ways> p99;
    for (int round = 0; round < options.rounds(); round++) {
        const Reload one = scene.run();
        ms.push_back(one.ms);
        usEach.push_back(one.usEach);
        for (std::size_t way = 0; way < Ways; way++) {
            p99[way].push_back(percentile(one.deliveries[way], 0.99));
        }
    }
    const auto target = [&](double atMost) { return targets ? std::optional(atMost) : std::nullopt; };
    addRow(report, scenario, "until the old worker's end", "ms", ms, target(1000));
    addRow(report, scenario, "CPU, both workers, each", "us", usEach, target(40));
    addRow(report, scenario, "delivery p99, POST", "ms", p99[ByRequest], target(100));
    addRow(report, scenario, "delivery p99, WebSocket", "ms", p99[BySocket], target(100));
}

} // namespace

void reload(const Options& options, Report& report)
{
    const std::string count = options.quick ? "1,500" : "15,000";
    reload(options, report, "reload, " + count + " WebSockets", Channels::One, true);
    reload(options, report, "the same, own channels", Channels::Own, false);
}

} // namespace realtime::bench
