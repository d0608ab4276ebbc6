#include "webhook/webhook_loop.hpp"

#include "base/thread/poll_timeout.hpp"

#include <algorithm>
#include <exception>
#include <new>
#include <thread>
#include <utility>

namespace realtime {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t MaxOffers = 1 << 15; // not yet taken by the thread, which is never long away
} // namespace

WebhookShared::WebhookShared(std::size_t endpoints)
    : offers(MaxOffers), notes(MaxNotes), multi(curl_multi_init()), counters(endpoints)
{
    if (!multi) {
        throw std::bad_alloc();
    }
}

void WebhookShared::rouse()
{
    if (asleep.exchange(false, std::memory_order_acq_rel)) {
        curl_multi_wakeup(multi.get()); // never waits
    }
}

WebhookLoop::WebhookLoop(const std::vector<WebhookEndpoint>& endpoints, const WebhookOptions& options,
                         WebhookShared& shared, LoopWakeUp& wakeUp)
    : shared_(shared), wakeUp_(wakeUp)
{
    const auto sink = [this](Note note) {
        if (!shared_.notes.push(std::move(note))) {
            ++droppedNotes_;
        }
        somethingToTell_ = true;
    };
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
        lanes_.emplace_back(endpoints[i], options, shared.multi.get(), shared.counters[i], sink);
    }
}

void WebhookLoop::run()
{
    while (step(WebhookClock::now())) {
        report();
        sleep(WebhookClock::now());
    }
    for (auto& lane : lanes_) {
        lane.abandon(WebhookClock::now());
    }
    report();
}

bool WebhookLoop::step(Time now)
{
    noticeStop(now); // before the offers: none comes after it
    takeOffers(now);
    turnCurl(now);
    for (auto& lane : lanes_) {
        try {
            lane.turn(now);
        } catch (const std::exception& e) { // out of memory, in all likelihood: later again
            lane.fault(e.what(), now);
        }
    }
    return stopAt_ == Time::max() ||
           (now < stopAt_ && std::any_of(lanes_.begin(), lanes_.end(), [this](const WebhookLane& lane) {
                return lane.canSendBefore(stopAt_);
            }));
}

void WebhookLoop::takeOffers(Time now)
{
    std::unique_ptr<PendingWebhook> event;
    while (shared_.offers.pop(event)) {
        auto& lane = lanes_[event->endpoint];
        lane.add(std::move(event), now);
    }
}

void WebhookLoop::noticeStop(Time now)
{
    const auto stopAt = shared_.stopAt.load(std::memory_order_acquire);
    if (stopAt == 0 || stopAt_ != Time::max()) {
        return;
    }
    stopAt_ = Time(WebhookClock::duration(stopAt));
    for (auto& lane : lanes_) {
        lane.hurry(now);
    }
}

void WebhookLoop::turnCurl(Time now)
{
    int running = 0;
    if (const CURLMcode code = curl_multi_perform(shared_.multi.get(), &running); code != CURLM_OK) {
        for (auto& lane : lanes_) {
            if (lane.hasWork()) {
                lane.fault(curl_multi_strerror(code), now);
            }
        }
        return;
    }
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(shared_.multi.get(), &left)) {
        if (message->msg == CURLMSG_DONE) {
            WebhookRequest::done(message->easy_handle, message->data.result);
        }
    }
}

void WebhookLoop::report()
{
    if (droppedNotes_ > 0) {
        Note note{Note::Level::Warn, "webhooks: " + std::to_string(droppedNotes_) + " notes were left out"};
        if (shared_.notes.push(std::move(note))) {
            droppedNotes_ = 0;
        }
    }
    if (std::exchange(somethingToTell_, false) && !shared_.told.exchange(true, std::memory_order_acq_rel)) {
        wakeUp_.wake();
    }
}

void WebhookLoop::sleep(Time now)
{
    Time until = stopAt_;
    for (const auto& lane : lanes_) {
        until = std::min(until, lane.wakeAt());
    }
    shared_.asleep.exchange(true, std::memory_order_acq_rel);
    const bool stopUnseen = stopAt_ == Time::max() && shared_.stopAt.load(std::memory_order_acquire) != 0;
    if (shared_.offers.empty() && !stopUnseen &&
        curl_multi_poll(shared_.multi.get(), nullptr, 0, pollTimeout(now, until), nullptr) != CURLM_OK) {
        std::this_thread::sleep_for(10ms); // too little memory: do not spin
    }
    shared_.asleep.exchange(false, std::memory_order_acq_rel); // not a store, see BrokerShared
}

} // namespace realtime
