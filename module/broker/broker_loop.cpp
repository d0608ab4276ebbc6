#include "broker/broker_loop.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <poll.h>
#include <stdexcept>
#include <sys/eventfd.h>

namespace realtime {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t MaxNotes = 64;
constexpr std::size_t RetryRound = 256; // refused events that are tried again at a time
constexpr auto LastingRetry = 15'000ms; // after faults that only the operator can mend
constexpr auto ProvenAfter = 5s;        // a link that has nothing to store is trusted after so long
constexpr auto Goodbye = 250ms;         // for closing a healthy link

bool isUp(LinkState state)
{
    return state == LinkState::Up || state == LinkState::Blocked;
}

OwnFd makeEventFd()
{
    const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) {
        throw std::runtime_error(std::string("eventfd() failed: ") + std::strerror(errno));
    }
    return OwnFd(fd);
}

int pollTimeout(LinkClock::time_point now, LinkClock::time_point until)
{
    if (until <= now) {
        return 0;
    }
    // Rounded up, or the last fraction of a millisecond would be spent spinning.
    const auto ms =
        std::chrono::ceil<std::chrono::milliseconds>(std::min<LinkClock::duration>(until - now, 1h));
    return static_cast<int>(ms.count());
}

} // namespace

BrokerShared::BrokerShared(const BrokerConfig& config)
    : offers(config.maxQueuedEvents), completions(config.maxQueuedEvents), notes(MaxNotes),
      wakeFd(makeEventFd())
{
}

void BrokerShared::rouse()
{
    if (asleep.exchange(false, std::memory_order_acq_rel)) {
        const std::uint64_t one = 1;
        [[maybe_unused]] const auto written =
            ::write(wakeFd.get(), &one, sizeof(one)); // full: it is awake anyway
    }
}

BrokerLoop::BrokerLoop(const BrokerConfig& config, BrokerShared& shared, BrokerWakeUp& wakeUp,
                       LinkFactory factory)
    : config_(config), shared_(shared), wakeUp_(wakeUp), factory_(std::move(factory)),
      notes_([this](BrokerNote note) {
          if (!shared_.notes.push(std::move(note))) {
              ++droppedNotes_;
          }
          somethingToTell_ = true;
      }),
      reconnect_(100ms, 10'000ms), retry_(1'000ms, 30'000ms)
{
}

void BrokerLoop::run()
{
    for (;;) {
        const auto now = LinkClock::now();
        try {
            if (!step(now)) {
                finish();
                return;
            }
        } catch (const std::exception& e) { // out of memory, in all likelihood: begin anew
            linkState_ = LinkState::Broken;
            breakLink(now, {std::string("internal error: ") + e.what(), false});
        }
        report();
        sleep(LinkClock::now());
    }
}

bool BrokerLoop::step(Time now)
{
    takeOffers();
    if (noticeStop(now) && (!hasWork() || now >= stopAt_)) {
        return false;
    }
    if (!link_ && now >= connectAt_) {
        link_ = factory_(config_, config_.servers[server_], *this);
        linkState_ = LinkState::Connecting;
        proven_ = false;
    }
    if (link_) {
        submitAll(now);
        turnLink(now);
    }
    if (now >= summaryAt_ || somethingToTell_) {
        summaryAt_ = notes_.summarise(now);
    }
    return true;
}

// True once the event loop has asked to stop. The first time, nothing is left to wait for its back-off.
bool BrokerLoop::noticeStop(Time now)
{
    const auto stopAt = shared_.stopAt.load(std::memory_order_acquire);
    if (stopAt != 0 && stopAt_ == Time::max()) {
        stopAt_ = Time(LinkClock::duration(stopAt));
        connectAt_ = now;
        retryAt_ = std::min(retryAt_, parked_.empty() ? Time::max() : now);
    }
    return stopAt_ != Time::max();
}

void BrokerLoop::takeOffers()
{
    Event event;
    while (shared_.offers.pop(event)) {
        waiting_.push_back(std::move(event));
    }
}

void BrokerLoop::submitAll(Time now)
{
    if (linkState_ != LinkState::Up) {
        return;
    }
    if (now >= retryAt_ && roundOpen_ == 0 && link_->room() > 0) {
        retryAt_ = Time::max();
        roundStored_ = false;
        for (std::size_t n = std::min({parked_.size(), RetryRound, link_->room()}); n > 0; --n) {
            ++roundOpen_;
            parked_.front()->retried = true;
            submit(std::move(parked_.front()));
            parked_.pop_front();
        }
    }
    while (canSubmit()) {
        submit(std::move(waiting_.front()));
        waiting_.pop_front();
    }
}

// Confirms may come out of order; that an early one is missing must not let the list behind it grow for ever.
bool BrokerLoop::canSubmit() const
{
    return link_ && linkState_ == LinkState::Up && !waiting_.empty() && link_->room() > 0 &&
           inFlight_.size() < 4 * std::size_t{std::max(config_.window, 1024U)};
}

void BrokerLoop::submit(Event event)
{
    inFlight_.push_back(std::move(event));
    link_->submit(firstHandle_ + inFlight_.size() - 1, inFlight_.back()->event);
}

void BrokerLoop::turnLink(Time now)
{
    const auto before = linkState_;
    linkState_ = link_->turn(now);
    if (!proven_ && (storedByLink_ || (isUp(before) && now - upSince_ >= ProvenAfter))) {
        proven_ = true;
        reconnect_.reset();
        notes_.flush();
    }
    if (linkState_ == LinkState::Broken) {
        breakLink(now, link_->fault());
        return;
    }
    if (!isUp(linkState_)) {
        return;
    }
    if (!isUp(before)) {
        upSince_ = now;
        notes_.add(BrokerNote::Level::Notice, named("connected"), now);
        if (everUp_) {
            shared_.reconnects.fetch_add(1, std::memory_order_relaxed);
        }
        everUp_ = true;
    }
    if (storedByLink_ || !hasWork()) {
        shared_.unavailable.store(false, std::memory_order_relaxed);
    }
    if (!shared_.unavailable.load(std::memory_order_relaxed)) {
        setState(linkState_ == LinkState::Blocked ? BrokerState::Blocked : BrokerState::Up);
    }
}

void BrokerLoop::breakLink(Time now, const LinkFault& fault)
{
    const bool lasting = fault.lasting; // it goes with the link
    notes_.add(BrokerNote::Level::Error, named(fault.text), now);
    setState(BrokerState::Down);
    // A file has no other end that might come back by itself: say no now rather than fill the queue.
    if (config_.servers[server_].scheme == BrokerServer::Scheme::Sqlite) {
        shared_.unavailable.store(true, std::memory_order_relaxed);
    }
    link_.reset();
    storedByLink_ = false;
    requeue();
    chooseNext(now, lasting);
}

// Everything unconfirmed goes back to where it came from, in the old order.
void BrokerLoop::requeue()
{
    while (!inFlight_.empty()) {
        if (auto& event = inFlight_.back()) {
            auto& home = event->retried ? parked_ : waiting_;
            event->retried = false;
            home.push_front(std::move(event));
        }
        inFlight_.pop_back();
    }
    firstHandle_ = 1;
    roundOpen_ = 0;
    if (!parked_.empty()) {
        retryAt_ = Time::min(); // a new connection is a new chance
    }
}

// Servers are tried in order without a pause; after the last one, or after one that worked, the back-off counts.
void BrokerLoop::chooseNext(Time now, bool lasting)
{
    onlyLasting_ = lasting && (server_ == 0 || onlyLasting_);
    if (!proven_ && server_ + 1 < config_.servers.size()) {
        ++server_;
        connectAt_ = now;
        return;
    }
    server_ = 0;
    connectAt_ = now + (onlyLasting_ ? reconnect_.jitter(LastingRetry) : reconnect_.next());
}

void BrokerLoop::onStored(std::uint64_t handle)
{
    storedByLink_ = true;
    shared_.confirmed.fetch_add(1, std::memory_order_relaxed);
    const auto event = takeInFlight(handle);
    if (event->retried) {
        roundStored_ = true;
        --roundOpen_;
        endRetryRound();
    }
    release(*event, true);
}

void BrokerLoop::onFailed(std::uint64_t handle)
{
    shared_.failed.fetch_add(1, std::memory_order_relaxed);
    auto event = takeInFlight(handle);
    const bool first = parked_.empty() && roundOpen_ == 0;
    const bool retried = std::exchange(event->retried, false);
    parked_.push_back(std::move(event));
    if (retried) {
        --roundOpen_;
        endRetryRound();
    } else if (first) {
        retryAt_ = LinkClock::now() + retry_.next();
    }
}

// The refused events are tried again a few at a time. Once one gets through, the others' turn comes at once.
void BrokerLoop::endRetryRound()
{
    if (roundOpen_ > 0) {
        return;
    }
    if (roundStored_) {
        retry_.reset();
    }
    if (!parked_.empty()) {
        retryAt_ = roundStored_ ? Time::min() : LinkClock::now() + retry_.next();
    }
}

void BrokerLoop::onNote(BrokerNote::Level level, std::string text, std::string_view kind)
{
    notes_.add(level, named(text), LinkClock::now(), kind);
}

BrokerLoop::Event BrokerLoop::takeInFlight(std::uint64_t handle)
{
    auto event = std::move(inFlight_.at(handle - firstHandle_));
    while (!inFlight_.empty() && !inFlight_.front()) {
        inFlight_.pop_front();
        ++firstHandle_;
    }
    return event;
}

void BrokerLoop::release(const PendingEvent& event, bool stored)
{
    if (event.event.token != 0) {
        [[maybe_unused]] const bool pushed =
            shared_.completions.push({event.event.token, stored}); // never full
        somethingToTell_ = true;
    }
    shared_.releasedBytes.fetch_add(event.bytes, std::memory_order_release);
    shared_.releasedEvents.fetch_add(1, std::memory_order_release);
}

void BrokerLoop::setState(BrokerState state)
{
    shared_.state.store(state, std::memory_order_relaxed);
}

void BrokerLoop::finish()
{
    const auto now = LinkClock::now();
    if (link_ && linkState_ != LinkState::Broken) {
        link_->close(now + Goodbye);
    }
    link_.reset();
    requeue();
    std::size_t lost = 0;
    for (auto* list : {&parked_, &waiting_}) {
        for (const auto& event : *list) {
            release(*event, false);
            ++lost;
        }
        list->clear();
    }
    notes_.flush();
    if (lost > 0) {
        notes_.add(BrokerNote::Level::Error,
                   "broker \"" + config_.name + "\": " + std::to_string(lost) +
                       " events could not be stored in the time for stopping and are lost",
                   now);
    }
    setState(BrokerState::Down);
    report();
}

void BrokerLoop::report()
{
    if (droppedNotes_ > 0) {
        BrokerNote note{BrokerNote::Level::Warn, "broker \"" + config_.name + "\": " +
                                                     std::to_string(droppedNotes_) + " notes were left out"};
        if (shared_.notes.push(std::move(note))) {
            droppedNotes_ = 0;
        }
    }
    if (std::exchange(somethingToTell_, false) && !shared_.told.exchange(true, std::memory_order_acq_rel)) {
        wakeUp_.wake();
    }
}

void BrokerLoop::sleep(Time now)
{
    const LinkInterest interest = link_ ? link_->interest() : LinkInterest{};
    const int timeout = pollTimeout(now, std::min(sleepUntil(), interest.wakeAt));
    const bool finished = stopAt_ != Time::max() && !hasWork();
    if (timeout == 0 || finished || canSubmit()) {
        return;
    }
    shared_.asleep.exchange(true, std::memory_order_acq_rel);
    const bool stopUnseen = stopAt_ == Time::max() && shared_.stopAt.load(std::memory_order_acquire) != 0;
    pollfd fds[] = {{shared_.wakeFd.get(), POLLIN, 0}, {interest.fd, interest.events, 0}};
    if (shared_.offers.empty() && !stopUnseen) {
        poll(fds, interest.fd >= 0 ? 2 : 1, timeout);
    }
    shared_.asleep.exchange(false, std::memory_order_acq_rel); // not a store, see BrokerShared
    if (fds[0].revents != 0) {
        std::uint64_t count = 0;
        [[maybe_unused]] const auto got = ::read(shared_.wakeFd.get(), &count, sizeof(count));
    }
}

BrokerLoop::Time BrokerLoop::sleepUntil() const
{
    auto until = std::min(stopAt_, summaryAt_);
    if (!link_) {
        return std::min(until, connectAt_);
    }
    if (linkState_ == LinkState::Up && roundOpen_ == 0 && link_->room() > 0) {
        until = std::min(until, retryAt_);
    }
    if (isUp(linkState_) && !proven_) {
        until = std::min(until, upSince_ + ProvenAfter);
    }
    return until;
}

std::string BrokerLoop::named(const std::string& text) const
{
    return "broker \"" + config_.name + "\", " + config_.servers[server_].display() + ": " + text;
}

} // namespace realtime
