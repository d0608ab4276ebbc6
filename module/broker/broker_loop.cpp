#include "broker/broker_loop.hpp"

#include "base/thread/poll_timeout.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <poll.h>
#include <stdexcept>
#include <sys/eventfd.h>
#include <thread>

namespace realtime {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t RetryRound = 256; // refused events that are tried again at a time
constexpr auto LastingRetry = 15'000ms; // after faults that only the operator can mend
constexpr auto ProvenAfter = 5s;        // a link that has nothing to store is trusted after so long
constexpr auto Goodbye = 250ms;         // for closing a healthy link

// Stored events that the event loop may fill again: memory that one thread takes and another gives back is dear.
constexpr std::size_t MaxSpent = 512, MaxSpentBytes = 2048; // of data

// With so many in flight there is always something to read or to send, and to wake up for each few of them costs this
// thread, the event loop and the broker more than they are worth. So it takes a breath, and finds a batch: a share of the
// time that what is in flight spends in line anyway.
constexpr std::size_t Crowd = 64;
constexpr int BreathShare = 8;
constexpr LinkClock::duration ShortestBreath = 250us, LongestBreath = 10ms;

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

} // namespace

BrokerShared::BrokerShared(const BrokerConfig& config)
    : offers(config.maxQueuedEvents), completions(config.maxQueuedEvents), notes(MaxNotes), spent(MaxSpent),
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

BrokerLoop::BrokerLoop(const BrokerConfig& config, BrokerShared& shared, LoopWakeUp& wakeUp,
                       LinkFactory factory)
    : config_(config), shared_(shared), wakeUp_(wakeUp), factory_(std::move(factory)),
      notes_([this](Note note) {
          if (!shared_.notes.push(std::move(note))) {
              ++droppedNotes_;
          }
          somethingToTell_ = true;
      }),
      reconnect_(100ms, 10'000ms), retry_(1'000ms, 30'000ms)
{
    if (!config.spool.directory.empty()) {
        spool_.emplace(config.spool, config.name, shared.spool, [this](auto level, const std::string& text) {
            notes_.add(level, "broker \"" + config_.name + "\": " + text, LinkClock::now());
        });
    }
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
    takeOffers(now);
    const bool stop = noticeStop(now);
    turnSpool(now);
    if (stop && (finished() || now >= stopAt_)) {
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
    updateAvailable();
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
        dropBacklog();
        if (spool_) {
            spool_->useReserve();
        }
    }
    return stopping();
}

// What the spool has may be left to the next process. It is still worth a moment to see what is in flight confirmed.
bool BrokerLoop::finished() const
{
    return !hasWork() || (isSafe() && linkState_ != LinkState::Up);
}

void BrokerLoop::takeOffers(Time now)
{
    Event event;
    while (shared_.offers.pop(event)) {
        event->since = now;
        ++heldEvents_;
        heldBytes_ += event->bytes;
        storedWanted_ += spoolCompletes(*event) ? 1 : 0;
        waiting_.push_back(std::move(event));
    }
}

void BrokerLoop::submitAll(Time now)
{
    if (linkState_ != LinkState::Up) {
        return;
    }
    if (now >= retryAt_ && roundOpen_ == 0 && link_->room() > 0) {
        submitRefused();
    }
    if (inFlight_.empty()) {
        progressAt_ = now;
    }
    readBacklog();
    while (canSubmit()) {
        // They take turns, so that neither a long backlog nor many new events hold up the other.
        backlogsTurn_ = !backlogsTurn_;
        auto& from = waiting_.empty() || (backlogsTurn_ && !backlog_.empty()) ? backlog_ : waiting_;
        storedWanted_ -= &from == &waiting_ && spoolCompletes(*from.front()) ? 1 : 0;
        submit(std::move(from.front()));
        from.pop_front();
        readBacklog();
    }
}

void BrokerLoop::submitRefused()
{
    retryAt_ = Time::max();
    roundStored_ = false;
    if (parked_.empty() && refusedRows_ > 0 && !stopping()) {
        auto events = spool_->readRefused(std::min(RetryRound, link_->room()));
        std::move(events.begin(), events.end(), std::back_inserter(parked_));
    }
    for (std::size_t n = std::min({parked_.size(), RetryRound, link_->room()}); n > 0; --n) {
        ++roundOpen_;
        parked_.front()->retried = true;
        submit(std::move(parked_.front()));
        parked_.pop_front();
    }
}

// Confirms may come out of order; that an early one is missing must not let the list behind it grow for ever.
bool BrokerLoop::canSubmit() const
{
    return link_ && linkState_ == LinkState::Up && (!waiting_.empty() || !backlog_.empty()) &&
           link_->room() > 0 && inFlight_.size() < 4 * std::size_t{std::max(config_.window, 1024U)};
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
        notes_.add(Note::Level::Notice, named("connected"), now);
        if (everUp_) {
            shared_.reconnects.fetch_add(1, std::memory_order_relaxed);
        }
        everUp_ = true;
    }
    if (storedByLink_ || !hasWork()) {
        fileFailed_ = false;
    }
    if (!fileFailed_) {
        setState(linkState_ == LinkState::Blocked ? BrokerState::Blocked : BrokerState::Up);
    }
}

void BrokerLoop::breakLink(Time now, const LinkFault& fault)
{
    const bool lasting = fault.lasting; // it goes with the link
    notes_.add(Note::Level::Error, named(fault.text), now);
    setState(BrokerState::Down);
    // A file has no other end that might come back by itself: say no now rather than fill the queue.
    if (config_.servers[server_].scheme == BrokerServer::Scheme::Sqlite) {
        fileFailed_ = true;
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
            if (event->row != 0) {
                leaveMemory(*event);
            } else {
                auto& home = event->retried ? parked_ : waiting_;
                event->retried = false;
                storedWanted_ += &home == &waiting_ && spoolCompletes(*event) ? 1 : 0;
                home.push_front(std::move(event));
            }
        }
        inFlight_.pop_back();
    }
    firstHandle_ = 1;
    roundOpen_ = 0;
    dropBacklog();
    if (hasRefused()) {
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
    progressAt_ = LinkClock::now();
    shared_.confirmed.fetch_add(1, std::memory_order_relaxed);
    auto event = takeInFlight(handle);
    settleRow(*event);
    if (event->retried) {
        roundStored_ = true;
        --roundOpen_;
        endRetryRound();
    }
    complete(event->event.token, true);
    release(*event);
    reuse(std::move(event));
}

void BrokerLoop::onFailed(std::uint64_t handle)
{
    shared_.failed.fetch_add(1, std::memory_order_relaxed);
    progressAt_ = LinkClock::now();
    auto event = takeInFlight(handle);
    const bool first = retryAt_ == Time::max() && roundOpen_ == 0;
    const bool retried = std::exchange(event->retried, false);
    if (event->refusedRow) {
        leaveMemory(*event);
    } else {
        parked_.push_back(std::move(event));
    }
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
    if (hasRefused()) {
        retryAt_ = roundStored_ ? Time::min() : LinkClock::now() + retry_.next();
    }
}

void BrokerLoop::onNote(Note::Level level, std::string text, std::string_view kind)
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

void BrokerLoop::complete(std::uint64_t token, bool stored)
{
    if (token != 0) {
        [[maybe_unused]] const bool pushed = shared_.completions.push({token, stored}); // never full
        somethingToTell_ = true;
    }
}

void BrokerLoop::release(const PendingEvent& event)
{
    if (!event.counted) {
        return;
    }
    --heldEvents_;
    heldBytes_ -= event.bytes;
    shared_.releasedBytes.fetch_add(event.bytes, std::memory_order_release);
    shared_.releasedEvents.fetch_add(1, std::memory_order_release);
}

void BrokerLoop::reuse(Event event)
{
    if (event->counted && event->event.data.capacity() <= MaxSpentBytes) {
        event->retried = event->refusedRow = false;
        event->row = 0;
        [[maybe_unused]] const bool kept = shared_.spent.push(std::move(event));
    }
}

void BrokerLoop::updateAvailable()
{
    const bool nowhere = spool_ && !spool_->takes() && linkState_ != LinkState::Up &&
                         shared_.spool.failed.load(std::memory_order_relaxed);
    shared_.unavailable.store(fileFailed_ || nowhere, std::memory_order_relaxed);
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
            complete(event->event.token, false);
            release(*event);
            lost += event->row == 0 ? 1 : 0;
        }
        list->clear();
    }
    for (const auto& [row, token] : rowTokens_) {
        complete(token, false);
    }
    rowTokens_.clear();
    if (spool_) {
        spool_->flush();
    }
    notes_.flush();
    if (lost > 0) {
        notes_.add(Note::Level::Error,
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
        Note note{Note::Level::Warn, "broker \"" + config_.name + "\": " + std::to_string(droppedNotes_) +
                                         " notes were left out"};
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
    const int timeout = pollTimeout(now, std::min(sleepUntil(now), interest.wakeAt));
    if (timeout == 0 || (stopping() && finished()) || canSubmit()) {
        return;
    }
    if (linkState_ == LinkState::Up && inFlight_.size() >= Crowd && now - progressAt_ < StalledAfter &&
        !stopping()) {
        const LinkClock::duration due = std::chrono::milliseconds(timeout);
        std::this_thread::sleep_for(std::min(due, breath(now)));
        return;
    }
    shared_.asleep.exchange(true, std::memory_order_acq_rel);
    const bool stopUnseen = !stopping() && shared_.stopAt.load(std::memory_order_acquire) != 0;
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

// By Little's law what is in flight spends as long there as so many take at the pace of the last confirms.
LinkClock::duration BrokerLoop::breath(Time now)
{
    const std::uint64_t confirmed = shared_.confirmed.load(std::memory_order_relaxed);
    if (confirmed != paceConfirmed_) {
        if (now - paceAt_ < StalledAfter) { // else there was no crowd between
            const auto each = (now - paceAt_) / static_cast<LinkClock::rep>(confirmed - paceConfirmed_);
            pace_ = (3 * pace_ + each) / 4;
        }
        paceAt_ = now;
        paceConfirmed_ = confirmed;
    }
    const auto inLine = pace_ * static_cast<LinkClock::rep>(inFlight_.size());
    return std::clamp<LinkClock::duration>(inLine / BreathShare, ShortestBreath, LongestBreath);
}

BrokerLoop::Time BrokerLoop::sleepUntil(Time now) const
{
    auto until = std::min({stopAt_, summaryAt_, spoolWakeAt(now)});
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
