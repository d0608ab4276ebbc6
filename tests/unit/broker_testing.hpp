// Helpers for tests that run a Broker's thread.
#pragma once

#include "broker/broker.hpp"
#include "broker/link.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace realtime::testing {

using namespace std::chrono_literals;

inline void eventually(const char* what, const std::function<bool()>& holds,
                       std::chrono::milliseconds patience = 20s)
{
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!holds()) {
        if (std::chrono::steady_clock::now() >= deadline) {
            throw std::runtime_error(std::string("did not happen: ") + what);
        }
        std::this_thread::sleep_for(1ms);
    }
}

struct CountingWakeUp final : LoopWakeUp {
    std::atomic<int> count{0};
    void wake() override { ++count; }
};

inline BrokerEvent makeEvent(const std::string& id, std::uint64_t token = 0)
{
    BrokerEvent event;
    event.messageId = id;
    event.app = "shop";
    event.channel = "orders";
    event.event = "message";
    event.contentType = "text/plain";
    event.data = "data of " + id;
    event.routingKey = "orders";
    event.timeMs = 1'700'000'000'123;
    event.token = token;
    return event;
}

// A Broker with its event loop's side played by the test.
struct Loop {
    Loop(BrokerConfig config, LinkFactory links) : broker(std::move(config), wakeUp, std::move(links)) {}
    explicit Loop(BrokerConfig config) : broker(std::move(config), wakeUp) {}

    void offer(const std::string& id, std::uint64_t token = 0)
    {
        if (const Offer answer = broker.offer(makeEvent(id, token)); answer != Offer::Queued) {
            throw std::runtime_error("offer of " + id + " was answered " +
                                     std::to_string(static_cast<int>(answer)));
        }
    }

    void take()
    {
        broker.takeCompletions(completions);
        std::vector<Note> fresh;
        broker.takeNotes(fresh);
        for (auto& note : fresh) {
            notes.push_back(std::move(note.text));
        }
    }

    std::size_t notesWith(const std::string& part) const
    {
        std::size_t count = 0;
        for (const auto& note : notes) {
            count += note.find(part) != std::string::npos ? 1 : 0;
        }
        return count;
    }

    std::size_t storedTokens() const
    {
        std::size_t count = 0;
        for (const auto& completion : completions) {
            count += completion.stored ? 1 : 0;
        }
        return count;
    }

    void awaitCompletions(std::size_t count, std::chrono::milliseconds patience = 20s)
    {
        eventually(
            "completions",
            [&] {
                take();
                return completions.size() >= count;
            },
            patience);
    }

    CountingWakeUp wakeUp;
    std::vector<Completion> completions;
    std::vector<std::string> notes;
    Broker broker;
};

} // namespace realtime::testing
