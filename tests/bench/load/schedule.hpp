// Publishes on schedule and measures how long it takes until each is answered and delivered. Latencies count from the
// moment that was planned, so that a server that stalls is charged for the requests that had to wait for it ("coordinated
// omission").
#pragma once

#include "load/publisher.hpp"
#include "load/subscriber.hpp"
#include "report.hpp"
#include "serve/process.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace realtime::bench {

struct SchedulePlan {
    const Server& publishAt;
    const Server& subscribeAt; // the same, or another of its cluster
    std::chrono::nanoseconds interval =
        std::chrono::milliseconds(1); // from one publish to the next, come what may
    std::size_t publishers = 16, subscribers = 10;
    std::chrono::nanoseconds nap{}; // of the load generator, see Loop
};

class Schedule {
public:
    explicit Schedule(const SchedulePlan& plan);

    // Fills `publishes` and `deliveries` anew, in milliseconds. Throws if a message was lost, doubled or reordered.
    void run(std::size_t count);

    std::vector<double> publishes;
    std::vector<double> deliveries;

private:
    void collect();
    bool send(Clock::time_point planned);

    std::chrono::nanoseconds interval_;
    Loop loop_;
    Tally tally_;
    std::vector<std::unique_ptr<Publisher>> publishers_;
    std::vector<std::unique_ptr<Subscriber>> subscribers_;
    std::vector<std::vector<Clock::time_point>> planned_; // of each publisher's messages
    std::vector<bool> waiting_;                           // for an answer, by publisher
};

// Of several runs.
struct Percentiles {
    std::vector<double> p50, p99;
    void add(const std::vector<double>& latencies)
    {
        p50.push_back(percentile(latencies, 0.5));
        p99.push_back(percentile(latencies, 0.99));
    }
};

} // namespace realtime::bench
