#include "webhook/webhook_sender.hpp"

#include "base/thread/signals_blocked.hpp"
#include "webhook/webhook_loop.hpp"
#include "webhook/webhook_url.hpp"

#include <algorithm>
#include <pthread.h>
#include <stdexcept>
#include <system_error>
#include <thread>

namespace realtime {

namespace {

// Once a process. libcurl's share in OpenSSL is one more OPENSSL_init_ssl() with the system's configuration, which
// does nothing after nginx's own; there is no clean-up, since libcurl's would take nothing away from OpenSSL either.
void initialiseCurl()
{
    static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (code != CURLE_OK) {
        throw std::runtime_error(std::string("libcurl cannot start: ") + curl_easy_strerror(code));
    }
}

} // namespace

bool WebhookEndpoint::wants(pusher::WebhookName event, std::string_view channel) const
{
    return channel.starts_with(channelPrefix) && !channel.starts_with("#server-to-user-") &&
           std::find(events.begin(), events.end(), toString(event)) != events.end();
}

void validateWebhookUrl(std::string_view url)
{
    parseWebhookUrl(url);
}

struct WebhookSender::Shared {
    Shared(const std::vector<WebhookEndpoint>& endpoints, const WebhookOptions& options, LoopWakeUp& wakeUp)
        : common(endpoints.size()), loop(endpoints, options, common, wakeUp), lanes(endpoints.size())
    {
    }

    WebhookShared common;
    WebhookLoop loop; // the thread's, once that runs
    std::thread thread;

    // The event loop's own.
    struct Lane {
        std::uint64_t offeredEvents = 0, offeredBytes = 0;
    };
    std::vector<Lane> lanes;
    bool stopped = false;
};

WebhookSender::WebhookSender(std::vector<WebhookEndpoint> endpoints, LoopWakeUp& wakeUp,
                             const WebhookOptions& options)
    : endpoints_(std::move(endpoints)), options_(options)
{
    initialiseCurl();
    shared_ = std::make_unique<Shared>(endpoints_, options_, wakeUp);
    const SignalsBlocked blocked;
    try {
        shared_->thread = std::thread([this] {
            pthread_setname_np(pthread_self(), "rt-webhook");
            shared_->loop.run();
        });
    } catch (const std::system_error& e) {
        throw std::runtime_error(std::string("the webhook thread cannot start: ") + e.what());
    }
}

WebhookSender::~WebhookSender()
{
    stop();
}

void WebhookSender::stop()
{
    if (shared_->stopped) {
        return;
    }
    shared_->stopped = true;
    const auto until = WebhookClock::now() + options_.drain;
    shared_->common.stopAt.store(until.time_since_epoch().count(), std::memory_order_release);
    shared_->common.rouse();
    shared_->thread.join();
}

bool WebhookSender::offer(std::size_t endpoint, pusher::WebhookEvent event, std::int64_t timeMs)
{
    auto& lane = shared_->lanes[endpoint];
    auto& counters = shared_->common.counters[endpoint];
    auto pending = std::make_unique<PendingWebhook>();
    pending->endpoint = endpoint;
    pending->text = PendingWebhook::textBytes(event);
    pending->event = std::move(event);
    pending->timeMs = timeMs;
    const std::size_t cost = pending->cost();
    const auto held = lane.offeredBytes - counters.releasedBytes.load(std::memory_order_acquire);
    if (shared_->stopped || held + cost > options_.maxQueuedBytes ||
        !shared_->common.offers.push(std::move(pending))) {
        counters.refused.fetch_add(1, std::memory_order_relaxed);
        return false;
    }
    ++lane.offeredEvents;
    lane.offeredBytes += cost;
    shared_->common.rouse();
    return true;
}

void WebhookSender::takeNotes(std::vector<Note>& out)
{
    shared_->common.told.exchange(false, std::memory_order_acq_rel);
    Note note;
    while (shared_->common.notes.pop(note)) {
        out.push_back(std::move(note));
    }
}

WebhookStats WebhookSender::stats(std::size_t endpoint) const
{
    const auto& lane = shared_->lanes[endpoint];
    const auto& counters = shared_->common.counters[endpoint];
    WebhookStats stats;
    stats.sent = counters.sent.load(std::memory_order_acquire); // these three before the others, see there
    stats.dropped = counters.dropped.load(std::memory_order_acquire);
    stats.failedAttempts = counters.failedAttempts.load(std::memory_order_acquire);
    stats.queued = lane.offeredEvents - counters.releasedEvents.load(std::memory_order_acquire);
    stats.queuedBytes = lane.offeredBytes - counters.releasedBytes.load(std::memory_order_acquire);
    stats.refused = counters.refused.load(std::memory_order_relaxed);
    stats.lastStatus = counters.lastStatus.load(std::memory_order_relaxed);
    stats.failing = counters.failing.load(std::memory_order_relaxed);
    return stats;
}

} // namespace realtime
