// Workers that are killed: while they hand their connections over, while they take them, and at any other time.
#include "support/crowd.hpp"
#include "support/realtime.hpp"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <iostream>
#include <random>
#include <thread>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

constexpr std::size_t Workers = 2;
constexpr int Members = 80;
constexpr int Listeners = 160; // more than the socket between the workers takes at one time
constexpr int Streams = 10;
constexpr int Polls = 2;
constexpr int Ahead = 60; // numbers that whoever comes back has to catch up with, at most
constexpr std::chrono::milliseconds Promised{2000}; // until counts and presence are right again

// Time as it passes for a process that is due every few milliseconds. Where others keep the machine busy it goes slower
// than the clock, as all does that is to be timed here.
class Pulse {
public:
    Pulse() : thread_([this] { run(); }) {}
    ~Pulse()
    {
        running_ = false;
        thread_.join();
    }
    Pulse(const Pulse&) = delete;
    Pulse& operator=(const Pulse&) = delete;

    std::chrono::milliseconds now() const { return beats_.load() * Beat; }

private:
    static constexpr std::chrono::milliseconds Beat{5};
    void run()
    {
        while (running_) {
            std::this_thread::sleep_for(Beat);
            ++beats_;
        }
    }

    std::atomic<int> beats_{0};
    std::atomic<bool> running_{true};
    std::thread thread_;
};

bool nameHas(pid_t pid, const std::string& part)
{
    return !gone(pid) &&
           readFile("/proc/" + std::to_string(pid) + "/cmdline").find(part) != std::string::npos;
}

int randomUpTo(int most)
{
    static std::mt19937 engine{static_cast<std::mt19937::result_type>(getpid())};
    return std::uniform_int_distribution<int>(0, most)(engine);
}

void waitAtRandom(std::chrono::microseconds most)
{
    std::this_thread::sleep_for(std::chrono::microseconds(randomUpTo(static_cast<int>(most.count()))));
}

NginxOptions options()
{
    NginxOptions options = crowded(Members + Listeners, Workers);
    replaceAll(options.http, "drain 1s", "drain 50ms");
    options.expectedErrors = {"exited on signal 9"};
    return options;
}

// Everybody, and a publisher.
class Scene {
public:
    Scene() : nginx_(options()), publisher_(nginx_, Fate::Violent)
    {
        for (int i = 0; i < Members; ++i) {
            users_.insert(std::to_string(i));
            auto member = std::make_unique<Member>(nginx_, i);
            members_.push_back(member.get());
            visitors_.push_back(std::move(member));
        }
        for (int i = 0; i < Listeners; ++i) {
            visitors_.push_back(std::make_unique<Follower>(nginx_, i));
        }
        for (int i = 0; i < Streams; ++i) {
            visitors_.push_back(std::make_unique<Stream>(nginx_, i));
        }
        for (int i = 0; i < Polls; ++i) {
            visitors_.push_back(std::make_unique<Poll>(nginx_, i, Fate::Violent));
        }
        eventually([&] { return read() && allHere(); }, "all are here");
        // Whoever has seen a number must get all that follow. A poll that is still on its way when one is published
        // asks for the next.
        eventually(
            [&] {
                publisher_.publishOne();
                return read() && std::all_of(visitors_.begin(), visitors_.end(),
                                             [](const auto& one) { return one->last() >= 0; });
            },
            "each has seen a number");
        killed_ = pulse_.now();
        expectRight();
    }

    void publish()
    {
        publisher_.runUpTo(publisher_.last() + Ahead);
        publisher_.start();
    }

    void kill(pid_t worker)
    {
        ::kill(worker, SIGKILL);
        killed_ = pulse_.now();
    }

    Nginx& nginx() { return nginx_; }
    const std::vector<pid_t>& old() const { return old_; }
    const std::vector<pid_t>& fresh() const { return fresh_; }
    std::chrono::milliseconds slowest() const { return slowest_; }

    int visits() const
    {
        int visits = 0;
        for (int i = 0; i < Members + Listeners; ++i) {
            visits += visitors_[static_cast<std::size_t>(i)]->visits();
        }
        return visits;
    }

    // Returns when there are new workers. Stopped: as soon as they are ready to take, so that the old ones, which know
    // by now that they are to go, fill the queue.
    enum class Fresh { Stopped, Running };
    void beginReload(Fresh how)
    {
        eventually( // also the successor of one that was killed
            [&] {
                old_ = nginx_.workers();
                return old_.size() == Workers && std::none_of(old_.begin(), old_.end(), gone);
            },
            "all workers are there");
        fresh_.clear();
        ::kill(nginx_.master(), SIGHUP);
        eventually(
            [&] {
                look(how);
                if (fresh_.size() < old_.size() && how == Fresh::Stopped) {
                    letGo(); // of the log's lock, which the others need
                }
                return fresh_.size() == old_.size();
            },
            "new workers");
        if (how == Fresh::Stopped) {
            eventually(
                [&] {
                    return std::all_of(old_.begin(), old_.end(),
                                       [](pid_t pid) { return gone(pid) || nameHas(pid, "shutting down"); });
                },
                "the old workers are told to go");
        }
    }

    void go()
    {
        for (const pid_t pid : fresh_) {
            ::kill(pid, SIGCONT);
        }
    }

    // Kills without a reload.
    void killOne()
    {
        old_ = {nginx_.workers().front()};
        fresh_.clear();
        kill(old_.front());
    }

    // What must hold within the time promised, once those who were disconnected are back.
    void expectComingRight()
    {
        eventually(
            [&] {
                publisher_.runUpTo(leastRead() + Ahead);
                return read() && allHere();
            },
            "all are back");
        publisher_.stop();
        slowest_ = std::max(slowest_, expectRight() - killed_);
        eventually(
            [&] {
                read();
                return std::all_of(old_.begin(), old_.end(), gone) && nginx_.workers().size() == Workers;
            },
            "the old workers end");
        expectRight();
    }

private:
    void look(Fresh how)
    {
        for (const pid_t pid : nginx_.workers()) {
            const auto among = [&](const std::vector<pid_t>& pids) {
                return std::find(pids.begin(), pids.end(), pid) != pids.end();
            };
            if (!among(old_) && !among(fresh_) && nameHas(pid, "nginx: worker process")) {
                if (how == Fresh::Stopped) {
                    ::kill(pid, SIGSTOP);
                }
                fresh_.push_back(pid);
            }
        }
    }

    void letGo()
    {
        go();
        std::this_thread::sleep_for(2ms);
        for (const pid_t pid : fresh_) {
            ::kill(pid, SIGSTOP);
        }
    }

    bool read()
    {
        for (auto& one : visitors_) {
            one->read();
        }
        return true;
    }
    bool allHere() const
    {
        return std::all_of(visitors_.begin(), visitors_.end(), [](const auto& one) { return one->here(); });
    }

    int leastRead() const
    {
        const auto least =
            std::min_element(visitors_.begin(), visitors_.end(),
                             [](const auto& a, const auto& b) { return a->last() < b->last(); });
        return (*least)->last();
    }

    // How often those have come who stay.
    int arrivals() const
    {
        int arrivals = 0;
        for (std::size_t i = 0; i + Polls < visitors_.size(); ++i) {
            arrivals += visitors_[i]->visits();
        }
        return arrivals;
    }

    // Publishers and members are told the truth; whoever looks when the time is over must find it so. Returns when that
    // was. And everybody has all that was published.
    std::chrono::milliseconds expectRight()
    {
        const auto deadline = Clock::now() + Patience;
        std::chrono::milliseconds begun{0};
        for (bool right = false; !right;) {
            begun = pulse_.now();
            const int before = arrivals();
            read();
            const Member* wrong = nullptr;
            for (const Member* one : members_) {
                wrong = one->present() == users_ ? wrong : one;
            }
            const std::int64_t counted = publisher_.publishOne();
            read(); // who was asked to go before that has come again now
            // A poll may be between two requests.
            const auto all = static_cast<std::int64_t>(visitors_.size());
            right = wrong == nullptr && counted >= all - Polls && counted <= all;
            const bool mayBe = begun - killed_ < Promised || arrivals() != before; // it drains, too
            expect(right || (mayBe && Clock::now() < deadline),
                   "counts and presence are right after " + std::to_string((begun - killed_).count()) +
                       " ms: " + std::to_string(counted) + " of " + std::to_string(all) + " counted" +
                       (wrong == nullptr ? "" : ", " + std::to_string(wrong->present().size()) + " present"));
        }
        const int last = publisher_.last();
        eventually(
            [&] {
                return read() && std::all_of(visitors_.begin(), visitors_.end(),
                                             [&](const auto& one) { return one->last() == last; });
            },
            "everybody has everything");
        return begun;
    }

    Pulse pulse_;
    std::chrono::milliseconds killed_{0};
    Nginx nginx_;
    NumberPublisher publisher_;
    std::vector<std::unique_ptr<Visitor>> visitors_;
    std::vector<Member*> members_;
    std::set<std::string> users_;
    std::vector<pid_t> old_, fresh_;
    std::chrono::milliseconds slowest_{0};
};

} // namespace

// REALTIME_CRASH_ROUNDS makes it longer. That a worker may die at each single step of a change to the log, and at
// a thousand random ones, is log_crash_test's.
TEST(a_worker_that_is_killed_costs_only_its_own_connections)
{
    const int rounds = fromEnvironment("REALTIME_CRASH_ROUNDS", 10);
    std::cout << "seed " << getpid() << '\n';
    Scene scene;
    int halves = 0;
    for (int round = 0; round < rounds; ++round) {
        const int before = scene.visits();
        scene.publish();
        switch (round % 5) {
        case 0: // an old worker, half-way through sending
            scene.beginReload(Scene::Fresh::Stopped);
            waitAtRandom(10ms);
            scene.kill(scene.old().front());
            break;
        case 1: // a new one, half-way through taking
            scene.beginReload(Scene::Fresh::Stopped);
            waitAtRandom(10ms);
            kill(scene.fresh().front(), SIGCONT);
            waitAtRandom(4ms);
            scene.kill(scene.fresh().front());
            break;
        case 2: // an old one that sends while the others take
            scene.beginReload(Scene::Fresh::Stopped);
            scene.go();
            waitAtRandom(4ms);
            scene.kill(scene.old().front());
            break;
        case 3: // a new one, some time after it was started
            scene.beginReload(Scene::Fresh::Running);
            waitAtRandom(150ms);
            scene.kill(scene.fresh().front());
            break;
        default: // one that works
            waitAtRandom(20ms);
            scene.killOne();
            break;
        }
        scene.go();
        scene.expectComingRight();
        const int returned = scene.visits() - before;
        std::cout << "round " << round << ": " << returned << " of " << Members + Listeners << " came back\n";
        halves += returned > 0 && returned < Members + Listeners ? 1 : 0;
    }
    std::cout << "at most " << scene.slowest().count() << " ms until counts and presence were right\n";
    expect(halves > 0, "some connections had moved, and others not");
    expectEqual(status(scene.nginx(), "gaps_total"), 0);
}

TEST_MAIN()
