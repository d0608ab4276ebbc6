// What the broker's thread does: takes events from the queue, keeps one link up, hands events over, sends again what
// was not confirmed, moves to the spool what has to wait, reports back.
//
// In memory, every accepted event is in exactly one place: the ring `offers`, then waiting_ -> inFlight_ -> gone
// (stored), or inFlight_ -> parked_ (the store refused it) -> inFlight_ ..., or back to the front of waiting_ when the
// link breaks. With a spool there are two ways out of memory, and one back:
//
//     waiting_ -> spool -> backlog_ -> inFlight_      it waited too long
//     parked_ -> spool (refused) -> inFlight_         the store refused it
//
// What is in flight may have a row in the spool besides. Whatever has a row is dropped from memory when the link breaks
// or the process ends, and read again.
#pragma once

#include "base/own_fd.hpp"
#include "base/thread/backoff.hpp"
#include "base/thread/note_book.hpp"
#include "base/thread/spsc_queue.hpp"
#include "broker/broker.hpp"
#include "broker/link.hpp"
#include "broker/spool/pending_event.hpp"
#include "broker/spool/spool.hpp"

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

namespace realtime {

// All that the two threads share.
//
// Sleeping   the thread says `asleep` before it looks at `offers` for the last time and sleeps; the event loop pushes
//            before it looks at `asleep`. Both do so by an atomic exchange, so one of them comes first in that word's
//            order: either the thread sees the event, or the event loop sees the sleeper and writes the eventfd. Only
//            exchanges (acquire and release) may write the word: a plain store between them would cut the chain by
//            which the second learns of what the first wrote before. `told` is the same the other way round.
struct BrokerShared {
    explicit BrokerShared(const BrokerConfig& config); // throws std::runtime_error without an eventfd

    // Any thread: makes the broker's thread look at its queue (and at stopAt) if it sleeps.
    void rouse();

    SpscQueue<std::unique_ptr<PendingEvent>> offers;
    SpscQueue<Completion> completions;              // at least as long as there can be tokens: never full
    SpscQueue<Note> notes;                          // full: notes are dropped and counted
    SpscQueue<std::unique_ptr<PendingEvent>> spent; // back, to be filled again; full: they are freed
    OwnFd wakeFd;

    std::atomic<bool> asleep{false};
    std::atomic<bool> told{false};
    std::atomic<LinkClock::rep> stopAt{0}; // written once by the event loop: cut at this time; 0: run

    // Written by the thread alone, read by the event loop. All but `released*` are for display: relaxed.
    // `released*` count up what has left the bound (release/acquire, so that memory freed is memory counted).
    std::atomic<BrokerState> state{BrokerState::Connecting};
    std::atomic<bool> unavailable{false};
    std::atomic<std::uint64_t> releasedEvents{0}, releasedBytes{0};
    std::atomic<std::uint64_t> confirmed{0}, failed{0}, reconnects{0};
    SpoolGauges spool;
};

class BrokerLoop final : private LinkOwner {
public:
    // When an event that is not confirmed goes to the spool, too: at once if the broker is away or has confirmed
    // nothing for StalledAfter, else so long after it came.
    static constexpr std::chrono::milliseconds StalledAfter{100};
    static constexpr std::chrono::milliseconds StoredPatience{100}; // if a completion waits for it
    static constexpr std::chrono::milliseconds LogPatience{1'000};

    BrokerLoop(const BrokerConfig& config, BrokerShared& shared, LoopWakeUp& wakeUp, LinkFactory factory);

    // The thread's body: returns once stopAt is set and everything is stored or its time has come.
    void run();

private:
    using Time = LinkClock::time_point;
    using Event = std::unique_ptr<PendingEvent>;

    void onStored(std::uint64_t handle) override;
    void onFailed(std::uint64_t handle) override;
    void onNote(Note::Level level, std::string text, std::string_view kind) override;

    bool step(Time now); // false: done
    bool noticeStop(Time now);
    bool finished() const;
    void takeOffers(Time now);
    void submitAll(Time now);
    void submitRefused();
    bool canSubmit() const;
    void submit(Event event);
    void turnLink(Time now);
    void breakLink(Time now, const LinkFault& fault);
    void requeue();
    void chooseNext(Time now, bool lasting);
    Event takeInFlight(std::uint64_t handle);
    void endRetryRound();
    void complete(std::uint64_t token, bool stored);
    void release(const PendingEvent& event); // from memory
    void reuse(Event event);
    void updateAvailable();

    // broker_loop_spool.cpp
    void turnSpool(Time now);
    void spoolParked();
    void spoolInFlight(Time now, bool all);
    void spoolWaiting(Time now, bool all);
    bool waitsTooLong(Time now) const;
    bool memoryHalfFull() const;
    bool store(const std::vector<PendingEvent*>& events, bool stay, bool refused);
    void leaveMemory(const PendingEvent& event);
    void readBacklog();
    void dropBacklog();
    void settleRow(const PendingEvent& event);
    void forgetRows();
    bool isSafe() const;
    Time spoolWakeAt(Time now) const;

    void setState(BrokerState state);
    void finish();
    void report();
    void sleep(Time now);
    LinkClock::duration breath(Time now);
    Time sleepUntil(Time now) const;
    bool hasWork() const
    {
        return !waiting_.empty() || !inFlight_.empty() || !parked_.empty() || !backlog_.empty();
    }
    bool stopping() const { return stopAt_ != Time::max(); }
    bool hasRefused() const { return !parked_.empty() || refusedRows_ > 0; }
    std::string named(const std::string& text) const;

    const BrokerConfig& config_;
    BrokerShared& shared_;
    LoopWakeUp& wakeUp_;
    LinkFactory factory_;
    NoteBook notes_;

    std::unique_ptr<Link> link_;
    LinkState linkState_ = LinkState::Broken;
    std::size_t server_ = 0; // of the present link or the next
    Time connectAt_ = Time::min();
    Time upSince_ = Time::max();
    Backoff reconnect_;
    bool everUp_ = false;
    bool storedByLink_ = false; // has the present link stored anything?
    bool proven_ = false; // did it store something or stay up for a while? Only that ends a row of failures
    bool fileFailed_ = false;  // SQLite: the last attempt to use the file failed
    bool onlyLasting_ = false; // was every fault of this round through the servers a lasting one?

    std::deque<Event> waiting_;
    std::deque<Event> inFlight_;    // null: reported already, but an earlier one is not
    std::uint64_t firstHandle_ = 1; // of inFlight_.front()
    std::deque<Event> parked_;      // refused by the store
    Time retryAt_ = Time::max();    // when some of those are tried again
    std::size_t roundOpen_ = 0;     // how many are being tried again now
    bool roundStored_ = false;      // has one of them been stored?
    Backoff retry_;

    std::optional<Spool> spool_;
    unsigned spoolEpoch_ = 0;
    std::deque<Event> backlog_;   // read from the spool, to be submitted
    bool backlogsTurn_ = false;   // or that of waiting_
    std::size_t refusedRows_ = 0; // in the spool, those being tried again included
    std::unordered_map<std::int64_t, std::uint64_t> rowTokens_; // completions that wait for a row's confirm
    std::uint64_t heldEvents_ = 0, heldBytes_ = 0; // of memory's bound, those in the ring left out
    std::size_t storedWanted_ = 0;  // events in waiting_ whose completion the spool would be enough for
    Time progressAt_ = Time::max(); // last confirm, or when the first of those in flight was submitted
    Time lookAt_ = Time::min();     // at those in flight
    bool moreToSpool_ = false;
    // From confirm to confirm, smoothed; what RabbitMQ takes until it is known.
    LinkClock::duration pace_ = std::chrono::microseconds(50);
    Time paceAt_{}; // when it was last looked at, and how many were confirmed then
    std::uint64_t paceConfirmed_ = 0;

    Time stopAt_ = Time::max();
    Time summaryAt_ = Time::max();
    std::uint64_t droppedNotes_ = 0;
    bool somethingToTell_ = false;
};

} // namespace realtime
