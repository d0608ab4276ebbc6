// Workers that are killed while they hand their connections over, or take them.
#include "support/crowd.hpp"
#include "support/realtime.hpp"

#include <algorithm>
#include <csignal>
#include <iostream>
#include <random>
#include <thread>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

constexpr int Members = 80;
constexpr int Listeners = 160; // more than the socket between the workers takes at one time
constexpr int Streams = 10;
constexpr int Polls = 2;
constexpr std::chrono::milliseconds Promised{2000}; // until counts and presence are right again

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
    NginxOptions options = crowded(Members + Listeners);
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
            visitors_.push_back(std::make_unique<Listener>(nginx_, i));
        }
        for (int i = 0; i < Streams; ++i) {
            visitors_.push_back(std::make_unique<Stream>(nginx_, i));
        }
        for (int i = 0; i < Polls; ++i) {
            visitors_.push_back(std::make_unique<Poll>(nginx_, i, Fate::Violent));
        }
        expectRight(); // so each has seen a number, and must get all that follow
    }

    Nginx& nginx() { return nginx_; }
    NumberPublisher& publisher() { return publisher_; }
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
        old_ = nginx_.workers();
        fresh_.clear();
        kill(nginx_.master(), SIGHUP);
        eventually(
            [&] {
                look(how);
                return fresh_.size() == old_.size();
            },
            "new workers");
        if (how == Fresh::Stopped) {
            eventually(
                [&] {
                    return std::all_of(old_.begin(), old_.end(),
                                       [](pid_t pid) { return nameHas(pid, "shutting down"); });
                },
                "the old workers are told to go");
        }
    }

    void go()
    {
        for (const pid_t pid : fresh_) {
            kill(pid, SIGCONT);
        }
    }

    // What must hold within the time promised, once those who were disconnected are back.
    void expectComingRight()
    {
        eventually([&] { return read() && allHere(); }, "all are back");
        publisher_.stop();
        const auto begin = Clock::now();
        expectRight();
        const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin);
        slowest_ = std::max(slowest_, took);
        expect(took <= Promised, "it took " + std::to_string(took.count()) + " ms");
        eventually(
            [&] {
                read();
                return std::all_of(old_.begin(), old_.end(), gone) && nginx_.workers().size() == old_.size();
            },
            "the old workers end", 10s);
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
                    kill(pid, SIGSTOP);
                }
                fresh_.push_back(pid);
            }
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

    // Publishers and members are told the truth, and everybody has all that was published.
    void expectRight()
    {
        std::int64_t counted = 0;
        const Member* wrong = nullptr;
        const auto right = [&] {
            read();
            wrong = nullptr;
            for (const Member* one : members_) {
                wrong = one->present() == users_ ? wrong : one;
            }
            counted = publisher_.publishOne();
            // A poll may be between two requests.
            const auto all = static_cast<std::int64_t>(visitors_.size());
            return wrong == nullptr && counted >= all - Polls && counted <= all;
        };
        const auto deadline = Clock::now() + Patience;
        while (!right()) {
            expect(Clock::now() < deadline,
                   "counts and presence are right: " + std::to_string(counted) + " of " +
                       std::to_string(visitors_.size()) + " counted" +
                       (wrong == nullptr ? "" : ", " + std::to_string(wrong->present().size()) + " present"));
        }
        const int last = publisher_.last();
        eventually(
            [&] {
                return read() && std::all_of(visitors_.begin(), visitors_.end(),
                                             [&](const auto& one) { return one->last() == last; });
            },
            "everybody has everything");
    }

    Nginx nginx_;
    NumberPublisher publisher_;
    std::vector<std::unique_ptr<Visitor>> visitors_;
    std::vector<Member*> members_;
    std::set<std::string> users_;
    std::vector<pid_t> old_, fresh_;
    std::chrono::milliseconds slowest_{0};
};

} // namespace

// For a machine that does nothing else, since it is about time: REALTIME_CRASH_ROUNDS=16 runs it.
TEST(a_worker_that_is_killed_during_the_hand_over_costs_only_its_own_connections)
{
    const int rounds = fromEnvironment("REALTIME_CRASH_ROUNDS", 0);
    if (rounds == 0) {
        skip();
    }
    std::cout << "seed " << getpid() << '\n';
    Scene scene;
    int halves = 0;
    for (int round = 0; round < rounds; ++round) {
        const int before = scene.visits();
        scene.publisher().start();
        switch (round % 4) {
        case 0: // an old worker, half-way through sending
            scene.beginReload(Scene::Fresh::Stopped);
            waitAtRandom(10ms);
            kill(scene.old().front(), SIGKILL);
            break;
        case 1: // a new one, half-way through taking
            scene.beginReload(Scene::Fresh::Stopped);
            waitAtRandom(10ms);
            kill(scene.fresh().front(), SIGCONT);
            waitAtRandom(4ms);
            kill(scene.fresh().front(), SIGKILL);
            break;
        case 2: // an old one that sends while the others take
            scene.beginReload(Scene::Fresh::Stopped);
            scene.go();
            waitAtRandom(4ms);
            kill(scene.old().front(), SIGKILL);
            break;
        default: // a new one, some time after it was started
            scene.beginReload(Scene::Fresh::Running);
            waitAtRandom(150ms);
            kill(scene.fresh().front(), SIGKILL);
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
