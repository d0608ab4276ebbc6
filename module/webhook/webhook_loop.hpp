// What the webhook thread does: takes events from the queue into each endpoint's lane, turns the lanes and libcurl,
// sleeps, reports back.
#pragma once

#include "base/thread/spsc_queue.hpp"
#include "webhook/webhook_lane.hpp"

#include <atomic>
#include <deque>
#include <memory>
#include <vector>

namespace realtime {

// All that the two threads share. `asleep` and `told` work as in BrokerShared, where it is said why only exchanges may
// write them.
struct WebhookShared {
    explicit WebhookShared(std::size_t endpoints); // throws std::bad_alloc

    // Any thread: makes the webhook thread look at its queue (and at stopAt) if it sleeps.
    void rouse();

    struct FreeMulti {
        void operator()(CURLM* handle) const { curl_multi_cleanup(handle); }
    };
    SpscQueue<std::unique_ptr<PendingWebhook>> offers;
    SpscQueue<Note> notes;                   // full: notes are dropped and counted
    std::unique_ptr<CURLM, FreeMulti> multi; // the thread's, but for curl_multi_wakeup()
    std::vector<WebhookCounters> counters;

    std::atomic<WebhookClock::rep> stopAt{0}; // written once by the event loop: cut at this time; 0: run
    std::atomic<bool> asleep{false};
    std::atomic<bool> told{false};
};

class WebhookLoop {
public:
    WebhookLoop(const std::vector<WebhookEndpoint>& endpoints, const WebhookOptions& options,
                WebhookShared& shared, LoopWakeUp& wakeUp);

    // The thread's body: returns once stopAt is set and everything is sent or its time has come.
    void run();

private:
    using Time = WebhookClock::time_point;

    bool step(Time now); // false: done
    void takeOffers(Time now);
    void noticeStop(Time now);
    void turnCurl(Time now);
    void report();
    void sleep(Time now);

    WebhookShared& shared_;
    LoopWakeUp& wakeUp_;
    std::deque<WebhookLane> lanes_; // which stay where they are
    Time stopAt_ = Time::max();
    std::uint64_t droppedNotes_ = 0;
    bool somethingToTell_ = false;
};

} // namespace realtime
