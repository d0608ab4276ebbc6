#include "webhook/webhook_lane.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace realtime {

std::size_t PendingWebhook::textBytes(const pusher::WebhookEvent& event)
{
    return event.channel.size() + event.userId.size() + event.event.size() + event.data.size() +
           event.socketId.size();
}

WebhookLane::WebhookLane(const WebhookEndpoint& endpoint, const WebhookOptions& options, CURLM* multi,
                         WebhookCounters& counters, NoteBook::Sink notes)
    : endpoint_(endpoint), options_(options), counters_(counters), notes_(std::move(notes)),
      request_(endpoint, options, multi), backoff_(options.firstRetry, options.slowestRetry)
{
}

void WebhookLane::add(std::unique_ptr<PendingWebhook> event, Time now)
{
    event->since = now;
    const std::size_t text = event->text, cost = event->cost();
    try {
        waiting_.push_back(std::move(event));
        waitingText_ += text;
    } catch (const std::bad_alloc&) {
        release(1, cost);
        counters_.dropped.fetch_add(1, std::memory_order_release);
    }
}

void WebhookLane::turn(Time now)
{
    if (const auto result = request_.turn(now)) {
        settle(*result, now);
    }
    if (!request_.busy() && now >= notBefore_) {
        if (!batch_ && failing_) {
            dropExpired(now);
        }
        if (!batch_ && now >= dueAt()) {
            takeBatch();
        }
        if (batch_) {
            write(*batch_);
            request_.start(batch_->body, batch_->headers, now);
        }
    }
    noticeRefused(now);
    summaryAt_ = notes_.summarise(now);
}

WebhookLane::Time WebhookLane::wakeAt() const
{
    if (request_.busy()) {
        return std::min(summaryAt_, request_.wakeAt());
    }
    return std::min(summaryAt_, hasWork() ? std::max(notBefore_, dueAt()) : Time::max());
}

void WebhookLane::hurry(Time now)
{
    hurried_ = true;
    notBefore_ = std::min(notBefore_, now);
}

void WebhookLane::abandon(Time now)
{
    request_.cut();
    const auto before = counters_.dropped.load(std::memory_order_relaxed);
    if (batch_) {
        drop(batch_->count, batch_->bytes, now);
        batch_.reset();
    }
    while (!waiting_.empty()) {
        drop(1, waiting_.front()->cost(), now);
        waiting_.pop_front();
    }
    waitingText_ = 0;
    notes_.flush();
    if (const auto lost = counters_.dropped.load(std::memory_order_relaxed) - before; lost > 0) {
        note(Note::Level::Error,
             std::to_string(lost) + " events could not be sent in the time for stopping and are lost", now);
    }
}

void WebhookLane::fault(const std::string& error, Time now)
{
    request_.cut();
    settle({0, "internal error: " + error, "internal error"}, now);
}

void WebhookLane::settle(const WebhookResult& result, Time now)
{
    counters_.lastStatus.store(result.status, std::memory_order_relaxed);
    counters_.failing.store(!result.accepted(), std::memory_order_relaxed);
    if (result.accepted()) {
        accepted(now);
    } else {
        failed(result, now);
    }
}

void WebhookLane::accepted(Time now)
{
    release(batch_->count, batch_->bytes);
    counters_.sent.fetch_add(batch_->count, std::memory_order_release);
    batch_.reset();
    backoff_.reset();
    notBefore_ = Time::min();
    if (std::exchange(failing_, false)) {
        note(Note::Level::Notice, "accepts events again", now);
    }
}

void WebhookLane::failed(const WebhookResult& result, Time now)
{
    failing_ = true;
    counters_.failedAttempts.fetch_add(1, std::memory_order_release);
    note(Note::Level::Warn, result.error, now, result.kind);
    notBefore_ = now + backoff_.next();
    if (!batch_) {
        return; // there was no memory to make one
    }
    if (now < batch_->expiresAt) {
        notBefore_ = std::min(notBefore_, batch_->expiresAt);
        return;
    }
    drop(batch_->count, batch_->bytes, now);
    batch_.reset();
}

std::size_t WebhookLane::nextBatchEvents() const
{
    std::size_t events = 0, text = 0;
    for (const auto& pending : waiting_) {
        text += pending->text;
        if (events > 0 && (events >= endpoint_.maxBatchEvents || text > endpoint_.maxBatchBytes)) {
            break;
        }
        ++events;
    }
    return events;
}

void WebhookLane::takeBatch()
{
    Batch batch;
    batch.count = nextBatchEvents();
    batch.events.reserve(batch.count); // from here on nothing can fail half-way
    while (batch.events.size() < batch.count) {
        auto& pending = *waiting_.front();
        batch.bytes += pending.cost();
        batch.timeMs = pending.timeMs;
        batch.expiresAt = pending.since + options_.retryFor;
        waitingText_ -= pending.text;
        batch.events.push_back(std::move(pending.event));
        waiting_.pop_front();
    }
    batch_ = std::move(batch);
}

// The first time; the next attempts send the same bytes.
void WebhookLane::write(Batch& batch) const
{
    if (!batch.body.empty()) {
        return;
    }
    std::string body = pusher::webhookBody(batch.timeMs, batch.events);
    batch.headers = pusher::webhookHeaders({endpoint_.key, endpoint_.secret}, body);
    batch.body = std::move(body);
    batch.events = {};
}

bool WebhookLane::isFull() const
{
    return waiting_.size() >= endpoint_.maxBatchEvents || waitingText_ >= endpoint_.maxBatchBytes;
}

// When the next request may be made, but for notBefore_.
WebhookLane::Time WebhookLane::dueAt() const
{
    if (batch_ || (!waiting_.empty() && (hurried_ || isFull()))) {
        return Time::min();
    }
    return waiting_.empty() ? Time::max() : waiting_.front()->since + endpoint_.batchWindow;
}

void WebhookLane::dropExpired(Time now)
{
    while (!waiting_.empty() && waiting_.front()->since + options_.retryFor <= now) {
        waitingText_ -= waiting_.front()->text;
        drop(1, waiting_.front()->cost(), now);
        waiting_.pop_front();
    }
}

void WebhookLane::drop(std::size_t events, std::size_t bytes, Time now)
{
    release(events, bytes);
    counters_.dropped.fetch_add(events, std::memory_order_release);
    if (!hurried_) {
        note(Note::Level::Error,
             "events are dropped, since none was accepted for " +
                 std::to_string(std::chrono::ceil<std::chrono::seconds>(options_.retryFor).count()) + " s",
             now);
    }
}

void WebhookLane::release(std::size_t events, std::size_t bytes)
{
    counters_.releasedBytes.fetch_add(bytes, std::memory_order_release);
    counters_.releasedEvents.fetch_add(events, std::memory_order_release);
}

void WebhookLane::noticeRefused(Time now)
{
    const auto refused = counters_.refused.load(std::memory_order_relaxed);
    if (refused != refusedNoted_) {
        refusedNoted_ = refused;
        note(Note::Level::Error, "its queue is full, new events are dropped", now);
    }
}

void WebhookLane::note(Note::Level level, const std::string& text, Time now, std::string_view kind)
{
    notes_.add(level, "webhook of app \"" + endpoint_.app + "\" to " + request_.url().display + ": " + text,
               now, kind.empty() ? std::string_view(text) : kind);
}

} // namespace realtime
