// One endpoint's events on the webhook thread: waiting, then in the one batch that is being sent or tried again.
//
// Pace       a batch is made when its first event has waited WebhookEndpoint::batchWindow, or when it is full. After a
//            failure nothing is sent until the back-off is over, then the same batch again, for the last time when its
//            newest event is WebhookOptions::retryFor old. Events that became so old behind it are dropped with it,
//            unsent: a receiver that was away for long gets what happened lately.
// Thread     the webhook thread, but for the constructor and destructor.
#pragma once

#include "base/thread/backoff.hpp"
#include "base/thread/note_book.hpp"
#include "webhook/webhook_request.hpp"

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace realtime {

struct PendingWebhook {
    // Of its strings, and as counted against the bound.
    static std::size_t textBytes(const pusher::WebhookEvent& event);
    std::size_t cost() const { return sizeof(PendingWebhook) + text; }

    pusher::WebhookEvent event;
    std::int64_t timeMs = 0;
    std::size_t endpoint = 0;
    std::size_t text = 0;
    WebhookClock::time_point since; // when the thread took it
};

// One endpoint's, shared by the threads. Written by the webhook thread, but `refused` by the event loop. `released*`
// count up what has left the bound (release/acquire, so that memory freed is memory counted). The rest is for display;
// `sent`, `dropped` and `failedAttempts` are written last and read first (release/acquire), so that whoever sees an
// event counted sees what came of it in the others. Those are relaxed.
struct WebhookCounters {
    std::atomic<std::uint64_t> releasedEvents{0}, releasedBytes{0};
    std::atomic<std::uint64_t> sent{0}, dropped{0}, failedAttempts{0}, refused{0};
    std::atomic<int> lastStatus{0};
    std::atomic<bool> failing{false};
};

class WebhookLane {
public:
    using Time = WebhookClock::time_point;

    // All of these must outlive the lane. Throws std::runtime_error.
    WebhookLane(const WebhookEndpoint& endpoint, const WebhookOptions& options, CURLM* multi,
                WebhookCounters& counters, NoteBook::Sink notes);

    void add(std::unique_ptr<PendingWebhook> event, Time now);
    void turn(Time now);
    Time wakeAt() const; // when turn() is wanted, if nothing happens before

    // Stopping: nothing waits any longer, neither for more events nor for its back-off.
    void hurry(Time now);
    bool hasWork() const { return batch_ || !waiting_.empty(); }
    bool canSendBefore(Time time) const { return hasWork() && (request_.busy() || notBefore_ < time); }
    void abandon(Time now); // cuts the request and drops all

    // The attempt has failed for a reason of our own, such as too little memory.
    void fault(const std::string& error, Time now);

private:
    using Events = std::deque<std::unique_ptr<PendingWebhook>>;
    struct Batch {
        std::size_t count = 0, bytes = 0; // as counted against the bound
        Time expiresAt;
        std::int64_t timeMs = 0;
        std::vector<pusher::WebhookEvent> events; // until the body is written
        std::string body;
        std::array<std::string, 3> headers;
    };

    void settle(const WebhookResult& result, Time now);
    void accepted(Time now);
    void failed(const WebhookResult& result, Time now);
    std::size_t nextBatchEvents() const;
    void takeBatch();
    void write(Batch& batch) const;
    bool isFull() const;
    Time dueAt() const;
    void dropExpired(Time now);
    void drop(std::size_t events, std::size_t bytes, Time now);
    void release(std::size_t events, std::size_t bytes);
    void noticeRefused(Time now);
    void note(Note::Level level, const std::string& text, Time now, std::string_view kind = {});

    const WebhookEndpoint& endpoint_;
    const WebhookOptions& options_;
    WebhookCounters& counters_;
    NoteBook notes_;

    Events waiting_;
    std::size_t waitingText_ = 0;
    std::optional<Batch> batch_; // before the request, which reads its body
    WebhookRequest request_;

    Backoff backoff_;
    Time notBefore_ = Time::min();
    Time summaryAt_ = Time::max();
    bool failing_ = false, hurried_ = false;
    std::uint64_t refusedNoted_ = 0;
};

} // namespace realtime
