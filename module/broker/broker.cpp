#include "broker/broker.hpp"

#include "base/thread/signals_blocked.hpp"
#include "broker/broker_loop.hpp"

#include <pthread.h>
#include <stdexcept>
#include <system_error>
#include <thread>

namespace realtime {

namespace {

std::uint64_t costOf(const BrokerEvent& event)
{
    return sizeof(PendingEvent) + event.messageId.size() + event.app.size() + event.channel.size() +
           event.event.size() + event.contentType.size() + event.data.size() + event.routingKey.size() +
           event.userId.size() + event.socketId.size() + event.exchange.size();
}

} // namespace

const char* toString(BrokerState state)
{
    switch (state) {
    case BrokerState::Connecting:
        return "connecting";
    case BrokerState::Up:
        return "up";
    case BrokerState::Blocked:
        return "blocked";
    case BrokerState::Down:
        return "down";
    }
    return "unknown";
}

struct Broker::Shared {
    Shared(const BrokerConfig& config, LoopWakeUp& wakeUp, LinkFactory links)
        : common(config), loop(config, common, wakeUp, std::move(links))
    {
    }

    BrokerShared common;
    BrokerLoop loop; // the thread's, once that runs
    std::thread thread;

    // The event loop's own.
    bool stopped = false;
    std::unique_ptr<PendingEvent> next; // being filled
    bool unheard = false;               // was something offered that the thread has not been roused for?
    std::uint64_t offeredEvents = 0, offeredBytes = 0, refused = 0;
    std::uint64_t tokensOut = 0;    // completions not taken yet, those to come included
    std::uint64_t refusedInRow = 0; // since an event was taken
    std::vector<Note> notes;        // of the event loop's side
    std::string lastError;
};

Broker::Broker(BrokerConfig config, LoopWakeUp& wakeUp) : Broker(std::move(config), wakeUp, makeLink) {}

Broker::Broker(BrokerConfig config, LoopWakeUp& wakeUp, LinkFactory links)
    : config_(std::move(config)), shared_(std::make_unique<Shared>(config_, wakeUp, std::move(links)))
{
    if (config_.servers.empty()) {
        throw std::runtime_error("broker \"" + config_.name + "\" has no server");
    }
    const SignalsBlocked blocked;
    try {
        shared_->thread = std::thread([this] {
            pthread_setname_np(pthread_self(), "rt-broker");
            shared_->loop.run();
        });
    } catch (const std::system_error& e) {
        throw std::runtime_error("the thread of broker \"" + config_.name + "\" cannot start: " + e.what());
    }
}

Broker::~Broker()
{
    stop();
}

void Broker::beginStop()
{
    if (shared_->stopped) {
        return;
    }
    shared_->stopped = true;
    const auto until = LinkClock::now() + config_.drain;
    shared_->common.stopAt.store(until.time_since_epoch().count(), std::memory_order_release);
    shared_->common.rouse();
}

void Broker::stop()
{
    beginStop();
    if (shared_->thread.joinable()) {
        shared_->thread.join();
    }
}

Offer Broker::admits(std::size_t bytes) const
{
    const auto& common = shared_->common;
    if (shared_->stopped || common.unavailable.load(std::memory_order_relaxed)) {
        return Offer::Unavailable;
    }
    const auto events = shared_->offeredEvents - common.releasedEvents.load(std::memory_order_acquire);
    const auto held = shared_->offeredBytes - common.releasedBytes.load(std::memory_order_acquire);
    if (events >= config_.maxQueuedEvents || held + bytes > config_.maxQueuedBytes ||
        shared_->tokensOut >= config_.maxQueuedEvents) {
        return Offer::Full;
    }
    // Read after releasedBytes: what has left memory for the spool is counted there by now.
    if (!config_.spool.directory.empty() &&
        common.spool.bytes.load(std::memory_order_relaxed) + held + bytes > config_.spool.maxBytes) {
        return Offer::Full;
    }
    return Offer::Queued;
}

bool Broker::everAdmits(std::size_t bytes) const
{
    return bytes <= config_.maxQueuedBytes &&
           (config_.spool.directory.empty() || bytes <= config_.spool.maxBytes);
}

void Broker::refused(Offer answer)
{
    ++shared_->refused;
    if (shared_->refusedInRow++ > 0) {
        return;
    }
    const bool spooled = !config_.spool.directory.empty();
    std::string text = "broker \"" + config_.name + "\": ";
    if (answer == Offer::Full) {
        text += spooled ? "its spool or queue is full" : "its queue is full";
    } else {
        text += spooled ? "neither broker nor spool takes events" : "the store takes no events";
    }
    shared_->notes.push_back({Note::Level::Error, text + ": events for it are refused"});
}

// Not before there is room for more than a few, or a full spool would be told of with each event that leaves it.
void Broker::noteAdmitted()
{
    if (shared_->refusedInRow == 0) {
        return;
    }
    const auto now = stats();
    const bool room = now.queuedBytes <= config_.maxQueuedBytes / 10 * 9 &&
                      now.queuedEvents <= config_.maxQueuedEvents / 10 * 9 &&
                      (config_.spool.directory.empty() || now.spoolBytes <= config_.spool.maxBytes / 10 * 9);
    if (room) {
        shared_->notes.push_back(
            {Note::Level::Notice, "broker \"" + config_.name + "\": takes events again; " +
                                      std::to_string(shared_->refusedInRow) + " were refused"});
        shared_->refusedInRow = 0;
    }
}

Offer Broker::offer(BrokerEvent event)
{
    const Offer answer = admits(event.data.size());
    if (answer != Offer::Queued) {
        refused(answer);
        return answer;
    }
    next() = std::move(event);
    const bool queued = offerNext();
    rouse();
    return queued ? Offer::Queued : Offer::Full;
}

BrokerEvent& Broker::next()
{
    auto& next = shared_->next;
    if (!next && !shared_->common.spent.pop(next)) {
        next = std::make_unique<PendingEvent>();
    }
    return next->event;
}

bool Broker::offerNext()
{
    const auto bytes = costOf(shared_->next->event);
    shared_->next->bytes = bytes;
    const bool wanted = shared_->next->event.token != 0;
    if (!shared_->common.offers.push(std::move(shared_->next))) {
        ++shared_->refused; // cannot be: the ring is as long as the bound
        return false;
    }
    noteAdmitted();
    ++shared_->offeredEvents;
    shared_->offeredBytes += bytes;
    shared_->tokensOut += wanted ? 1 : 0;
    shared_->unheard = true;
    return true;
}

void Broker::rouse()
{
    if (std::exchange(shared_->unheard, false)) {
        shared_->common.rouse();
    }
}

void Broker::takeCompletions(std::vector<Completion>& out)
{
    shared_->common.told.exchange(false, std::memory_order_acq_rel);
    Completion completion;
    while (shared_->common.completions.pop(completion)) {
        out.push_back(completion);
        --shared_->tokensOut;
    }
}

void Broker::takeNotes(std::vector<Note>& out)
{
    shared_->common.told.exchange(false, std::memory_order_acq_rel);
    const auto now = stats();
    if (now.state == BrokerState::Up && !now.spoolFailed && shared_->refusedInRow == 0) {
        shared_->lastError.clear();
    }
    Note note;
    while (shared_->common.notes.pop(note)) {
        shared_->notes.push_back(std::move(note));
    }
    for (auto& fresh : shared_->notes) {
        if (fresh.level == Note::Level::Error) {
            shared_->lastError = fresh.text;
        }
        out.push_back(std::move(fresh));
    }
    shared_->notes.clear();
}

const std::string& Broker::lastError() const
{
    return shared_->lastError;
}

BrokerStats Broker::stats() const
{
    const auto& common = shared_->common;
    BrokerStats stats;
    stats.state = common.state.load(std::memory_order_relaxed);
    stats.queuedEvents = shared_->offeredEvents - common.releasedEvents.load(std::memory_order_acquire);
    stats.queuedBytes = shared_->offeredBytes - common.releasedBytes.load(std::memory_order_acquire);
    stats.offered = shared_->offeredEvents;
    stats.confirmed = common.confirmed.load(std::memory_order_relaxed);
    stats.refused = shared_->refused;
    stats.failed = common.failed.load(std::memory_order_relaxed);
    stats.reconnects = common.reconnects.load(std::memory_order_relaxed);
    stats.spoolEvents = common.spool.events.load(std::memory_order_relaxed);
    stats.spoolBytes = common.spool.bytes.load(std::memory_order_relaxed);
    stats.spoolFailed = common.spool.failed.load(std::memory_order_relaxed);
    return stats;
}

} // namespace realtime
