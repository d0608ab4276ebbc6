#include "load/broker_load.hpp"

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <ctime>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace realtime::bench {

namespace {

using namespace std::chrono_literals;

// The event loop's side: sleeps until the broker has something to tell.
class Waiter final : public LoopWakeUp {
public:
    void wake() override
    {
        const std::lock_guard lock(mutex_);
        told_ = true;
        changed_.notify_one();
    }
    void wait()
    {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, 1ms, [this] { return told_; });
        told_ = false;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool told_ = false;
};

void printNotes(Broker& broker)
{
    std::vector<Note> notes;
    broker.takeNotes(notes);
    for (const auto& note : notes) {
        if (note.level >= Note::Level::Error) {
            std::fprintf(stderr, "%s\n", note.text.c_str());
        }
    }
}

void awaitUp(Broker& broker)
{
    for (int i = 0; i < 10'000 && broker.stats().state != BrokerState::Up; ++i) {
        std::this_thread::sleep_for(1ms);
    }
    printNotes(broker);
    if (broker.stats().state != BrokerState::Up) {
        throw std::runtime_error("the broker is not up after 10 s");
    }
}

} // namespace

double secondsSince(Clock::time_point start)
{
    return std::chrono::duration<double>(Clock::now() - start).count();
}

BrokerEvent makeEvent(std::size_t number, std::size_t bytes)
{
    static const std::string run = std::to_string(getpid()) + "r" + std::to_string(time(nullptr));
    static std::size_t serial = 0;
    BrokerEvent event;
    event.messageId = run + "-" + std::to_string(++serial);
    event.app = "shop";
    event.channel = "orders." + std::to_string(number % 50);
    event.event = "message";
    event.contentType = "application/json";
    event.data.assign(bytes, 'x');
    event.routingKey = event.channel;
    event.timeMs = 1'700'000'000'000 + static_cast<std::int64_t>(number);
    event.token = number + 1;
    return event;
}

double storeAll(const BrokerConfig& config, std::size_t events, std::size_t bytes, bool up)
{
    Waiter waiter;
    Broker broker(config, waiter);
    if (up) {
        awaitUp(broker);
    }
    std::vector<Completion> done;
    done.reserve(events);
    const auto start = Clock::now();
    for (std::size_t offered = 0; done.size() < events;) {
        if (offered < events && broker.admits(bytes) == Offer::Queued) {
            if (broker.offer(makeEvent(offered, bytes)) == Offer::Queued) {
                ++offered;
            }
            if (offered % 64 != 0) {
                continue;
            }
        } else {
            waiter.wait();
        }
        broker.takeCompletions(done);
    }
    const double rate = static_cast<double>(events) / secondsSince(start);
    if (up) {
        printNotes(broker);
    }
    if (!std::all_of(done.begin(), done.end(), [](const Completion& c) { return c.stored; })) {
        throw std::runtime_error("not everything was stored");
    }
    return rate;
}

double drain(const BrokerConfig& config, std::size_t events)
{
    Waiter waiter;
    Broker broker(config, waiter);
    awaitUp(broker);
    const auto start = Clock::now();
    std::uint64_t confirmed = 0;
    for (auto progress = start; confirmed < events;) {
        std::this_thread::sleep_for(1ms);
        Loop::checkInterrupted();
        const std::uint64_t now = broker.stats().confirmed;
        if (now != std::exchange(confirmed, now)) {
            progress = Clock::now();
        } else if (secondsSince(progress) > 60) {
            throw std::runtime_error("the spool stands still at " + std::to_string(now) + " events");
        }
    }
    const double rate = static_cast<double>(events) / secondsSince(start);
    printNotes(broker);
    return rate;
}

} // namespace realtime::bench
