// The spool's part of the loop: what goes there and when, and what comes back.
#include "broker/broker_loop.hpp"

#include <algorithm>
#include <iterator>

namespace realtime {

namespace {

using namespace std::chrono_literals;

constexpr auto LookEvery = 20ms;         // for late confirms
constexpr std::size_t ReadAtOnce = 1024; // events of the backlog; their bytes: Spool::MaxBatchBytes

bool isLate(const PendingEvent& event, LinkClock::time_point now)
{
    return now - event.since >=
           (spoolCompletes(event) ? BrokerLoop::StoredPatience : BrokerLoop::LogPatience);
}

} // namespace

void BrokerLoop::turnSpool(Time now)
{
    moreToSpool_ = false;
    if (!spool_) {
        return;
    }
    spool_->turn(now, !stopping() && backlog_.empty());
    if (spool_->epoch() != spoolEpoch_) {
        spoolEpoch_ = spool_->epoch();
        forgetRows();
    }
    if (!spool_->takes()) {
        return;
    }
    const bool stalled = !inFlight_.empty() && now - progressAt_ >= StalledAfter;
    const bool all = stopping() || linkState_ != LinkState::Up || stalled;
    spoolParked();
    if (all || now >= lookAt_) {
        lookAt_ = now + LookEvery;
        spoolInFlight(now, all);
    }
    spoolWaiting(now, all || memoryHalfFull());
}

// The refused ones wait in the spool alone, so that any number of them leaves memory to the others.
void BrokerLoop::spoolParked()
{
    if (parked_.empty()) {
        return;
    }
    std::vector<PendingEvent*> fresh;
    std::vector<std::int64_t> known;
    for (const Event& event : parked_) {
        if (event->row == 0) {
            fresh.push_back(event.get());
        } else if (!event->refusedRow) {
            known.push_back(event->row);
        }
    }
    if ((!fresh.empty() && !store(fresh, false, true)) || (!known.empty() && !spool_->refuse(known))) {
        return;
    }
    refusedRows_ += fresh.size() + known.size();
    for (const Event& event : parked_) {
        leaveMemory(*event);
    }
    parked_.clear();
}

void BrokerLoop::spoolInFlight(Time now, bool all)
{
    std::vector<PendingEvent*> events;
    for (const Event& event : inFlight_) {
        if (event && event->row == 0 && (all || isLate(*event, now))) {
            events.push_back(event.get());
        }
    }
    if (!events.empty()) {
        store(events, true, false);
    }
}

// In order from the oldest on: out of memory, but for the end, when there is a last chance to send it.
void BrokerLoop::spoolWaiting(Time now, bool all)
{
    if (!all && !waitsTooLong(now)) {
        return;
    }
    const bool stay = stopping();
    const auto patience = storedWanted_ > 0 ? StoredPatience : LogPatience;
    std::vector<PendingEvent*> events;
    std::uint64_t bytes = 0;
    for (const Event& event : waiting_) {
        if (!all && now - event->since < patience) {
            break;
        }
        if (event->row != 0) {
            continue; // from an earlier batch that stays
        }
        if (events.size() == Spool::MaxBatch || bytes > Spool::MaxBatchBytes) {
            moreToSpool_ = true;
            break;
        }
        events.push_back(event.get());
        bytes += event->bytes;
    }
    const auto wanted = static_cast<std::size_t>(std::count_if(
        events.begin(), events.end(), [](const PendingEvent* event) { return spoolCompletes(*event); }));
    if (events.empty() || !store(events, stay, false)) {
        moreToSpool_ = false;
        return;
    }
    storedWanted_ -= wanted;
    for (std::size_t n = events.size(); !stay && n > 0; --n) {
        leaveMemory(*waiting_.front());
        waiting_.pop_front();
    }
}

bool BrokerLoop::waitsTooLong(Time now) const
{
    return !waiting_.empty() &&
           now - waiting_.front()->since >= (storedWanted_ > 0 ? StoredPatience : LogPatience);
}

bool BrokerLoop::memoryHalfFull() const
{
    return heldEvents_ > config_.maxQueuedEvents / 2 || heldBytes_ > config_.maxQueuedBytes / 2;
}

// Those that the spool is enough for are complete by that.
bool BrokerLoop::store(const std::vector<PendingEvent*>& events, bool stay, bool refused)
{
    if (!spool_->store(events, stay, refused)) {
        return false;
    }
    for (PendingEvent* event : events) {
        if (spoolCompletes(*event)) {
            complete(std::exchange(event->event.token, 0), true);
        }
    }
    return true;
}

// The event goes, its row stays. Whoever waits for its confirm goes on waiting.
void BrokerLoop::leaveMemory(const PendingEvent& event)
{
    if (event.event.token != 0) {
        rowTokens_.emplace(event.row, event.event.token);
    }
    release(event);
}

void BrokerLoop::readBacklog()
{
    if (!spool_ || stopping() || !backlog_.empty() || linkState_ != LinkState::Up) {
        return;
    }
    while (backlog_.empty() && spool_->mayHaveMore()) {
        auto events = spool_->readNext(ReadAtOnce);
        std::move(events.begin(), events.end(), std::back_inserter(backlog_));
    }
}

// When nothing is in flight, or nothing more will be read.
void BrokerLoop::dropBacklog()
{
    if (!spool_) {
        return;
    }
    backlog_.clear();
    if (inFlight_.empty()) {
        spool_->rewind();
    }
}

// The store has it now.
void BrokerLoop::settleRow(const PendingEvent& event)
{
    if (event.row == 0) {
        return;
    }
    spool_->erase(event);
    refusedRows_ -= event.refusedRow ? 1 : 0;
    if (const auto found = rowTokens_.find(event.row); found != rowTokens_.end()) {
        complete(found->second, true);
        rowTokens_.erase(found);
    }
}

// The rows are gone with their file: what memory still has of them begins anew.
void BrokerLoop::forgetRows()
{
    std::move(backlog_.rbegin(), backlog_.rend(), std::front_inserter(waiting_));
    backlog_.clear();
    for (auto* list : {&waiting_, &inFlight_, &parked_}) {
        for (const Event& event : *list) {
            if (event) {
                event->row = 0;
                event->refusedRow = false;
            }
        }
    }
    for (const auto& [row, token] : rowTokens_) {
        complete(token, false);
    }
    rowTokens_.clear();
    refusedRows_ = 0;
}

// Has the spool everything that memory has?
bool BrokerLoop::isSafe() const
{
    const auto hasRow = [](const Event& event) { return !event || event->row != 0; };
    return spool_ && spool_->usable() && std::all_of(waiting_.begin(), waiting_.end(), hasRow) &&
           std::all_of(inFlight_.begin(), inFlight_.end(), hasRow) &&
           std::all_of(parked_.begin(), parked_.end(), hasRow);
}

BrokerLoop::Time BrokerLoop::spoolWakeAt(Time now) const
{
    if (!spool_) {
        return Time::max();
    }
    if (moreToSpool_) {
        return Time::min();
    }
    const bool unconfirmed = spool_->takes() && (!inFlight_.empty() || !waiting_.empty());
    return std::min(spool_->wakeAt(), unconfirmed ? now + LookEvery : Time::max());
}

} // namespace realtime
