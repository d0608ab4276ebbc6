// The hub: which subscribers of THIS worker follow which channel, and the way of every event from the log to them.
//
// Thread     the worker's event loop; one Hub a worker.
// Order      all subscribers see a channel's events in the order of the log. A subscriber of several channels sees
//            all of one zone in the order of its log, so that the id of the last event it got is a position in them
//            all; but for channels whose history takes long to come (postpone()).
// Delivery   each event once to each subscriber, or a gap that is announced. What arrives together goes out
//            together: a turn enqueues everything first and flushes each subscriber once.
// Memory     a turn holds at most MaxTurnBytes of events; one LocalChannel a channel with local subscribers.
// Not here   sockets (nginx/), the decision who may subscribe (nginx/, app/), other workers (log/).
#pragma once

#include "hub/delivery_meter.hpp"
#include "hub/history_source.hpp"
#include "hub/since.hpp"
#include "hub/subscriber.hpp"
#include "log/shared_log.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace realtime {

// One log that this worker reads, the slot that it holds there, and how it wakes the other workers.
struct HubLog {
    SharedLog log;
    std::uint32_t slot = SharedLog::NoSlot;
    WakeUp* wakeUp = nullptr;
};

struct LocalChannel {
    std::string app;
    std::string name;
    ChannelRef ref;
    std::uint32_t log = 0;        // index of its log
    std::uint32_t batch = 0;      // 1 + index of this turn's batch; 0: none
    std::uint64_t lastOffset = 0; // events up to it have been through this worker's hub
    std::vector<Subscription*> subscriptions;
    std::uint32_t several = 0; // subscriptions of it whose subscriber follows other channels too
    StreamKey stream{};
};

struct ChannelRequest {
    std::string_view app;
    std::string_view channel;
    std::uint32_t log = 0;
    HistoryLimit history;
    StreamKey stream{};
};

enum class Joined {
    Ok,
    ChannelsFull, // no room in the zone for another channel of the app
    SeveralZones, // one subscription must stay in one zone
    NoSlot,       // too many workers live: this one has no slot in the zone (yet)
};

// How far a subscriber's zone was when it joined: what it has not been given of that is not for it.
struct Reached {
    LogPosition cut = 0; // of ordinary channels
    struct Stream {
        std::uint64_t identity = 0;
        std::uint64_t offset = 0; // 0: not known
    };
    std::vector<Stream> streams; // of the others, one of each
};

struct JoinResult {
    Joined status = Joined::Ok;
    bool recovered = true; // nothing is missing behind `since`
    bool moved = false;    // resume(): the count was taken over
    Reached reached = {};
    // Of the last channel that was added:
    Subscription* subscription = nullptr;
    std::uint32_t subscribers = 0; // in all workers
};

// Where a subscriber stands in one channel: all that another hub needs to go on.
struct Position {
    std::string_view app, channel;
    std::uint32_t log = 0;
    std::uint64_t epoch = 0;
    std::uint64_t lastOffset = 0;
    std::uint64_t historyUntil =
        0; // events up to it are history to it, from before it subscribed; 0: no more of that
    StreamKey stream{};
};

struct HubStats {
    std::uint64_t delivered = 0; // events, once a subscriber
    std::uint64_t gaps = 0;      // announced
    std::uint64_t overtaken = 0; // times that the ring ran over this worker's cursor
    std::uint64_t waited = 0;    // deliveries that their subscriber's socket did not take at once
    DeflateStats deflated;
    std::uint32_t channels = 0; // with local subscribers
};

// Who does not read as fast as it is sent.
struct WaitingSubscriber {
    Subscriber* subscriber = nullptr;
    std::int64_t sinceMs = 0; // of Hub::waiting(); 0: it has not been looked at
};

class Hub final : private Interest {
public:
    static constexpr std::size_t MaxTurnBytes = 1 << 20;
    static constexpr std::size_t ReplayBytes = 64 << 10;

    explicit Hub(const std::vector<HubLog>& logs);
    ~Hub();
    Hub(const Hub&) = delete;
    Hub& operator=(const Hub&) = delete;

    // Adds `subscriber` to all of `channels` (at least one; doubles and those it follows already count once) or to none
    // of them. `since` applies to those that are new. Nothing but gaps is enqueued: what history `since` asks for comes
    // with pump(), which the caller calls next.
    JoinResult join(Subscriber& subscriber, std::span<const ChannelRequest> channels, const Since& since,
                    std::int64_t nowMs);
    // Brings a replaying subscriber further: enqueues and flushes about ReplayBytes from the log, or what its
    // historyAllowance() is. So a long history waits in the log, not in memory, however slow the subscriber is. It gets live
    // events once it has caught up.
    void pump(Subscriber& subscriber, std::int64_t nowMs);
    // Whom to ask for what the log of a stream's channel no longer has; else that is a gap as everywhere.
    void useHistory(HistorySource& source) { historySource_ = &source; }
    // What it has found. The subscriber gets more with the next pump().
    void supply(std::uint64_t ticket, const HistoryPart& part, std::int64_t nowMs);
    // That takes long. Only the subscription that it is for goes on waiting for it; all others of its subscriber go on.
    void postpone(std::uint64_t ticket, std::int64_t nowMs);
    // A live subscription has seen what there is up to `offset` in another way.
    static void startBehind(Subscription& subscription, std::uint64_t offset);
    // Ends one subscription; it hears nothing more of that channel. Returns how many subscribers that has left in all
    // workers.
    std::uint32_t leave(Subscriber& subscriber, Subscription& subscription);
    // Ends all subscriptions of `subscriber`; it hears nothing more.
    void leave(Subscriber& subscriber);

    // Where a subscriber that has joined all its channels at one time stands: a text for `since` that brings it what is not
    // enqueued yet, and nothing else. It is short, however many channels there are.
    std::string positionOf(const Subscriber& subscriber, const Reached& reached) const;

    // Subscribers whose sockets have not been able to take everything since an earlier call, or what is left of the
    // MaxWaiting that are kept in view.
    static constexpr std::size_t MaxWaiting = 1024;
    std::vector<WaitingSubscriber> waiting(std::int64_t nowMs);
    // Counts there how long deliveries take, from the append to the socket.
    void measureInto(LatencyHistogram histogram) { meter_.measureInto(histogram); }

    // --- moving a subscriber to another worker (hub/moving.cpp) ---
    // Oldest subscription first. Views of the names are valid as long as the subscriptions are.
    std::vector<Position> positions(const Subscriber& subscriber);
    // As leave(), but the log goes on counting them for this worker's slot: whoever takes the subscriber over takes the
    // counts as well.
    void release(Subscriber& subscriber);
    // Goes on where `from` has stopped, and takes its count over if it is there (JoinResult::moved). What has come
    // meanwhile follows with pump(), which the caller calls when all are back; what is lost is announced.
    JoinResult resume(Subscriber& subscriber, const Position& position, const SlotOwner& from,
                      std::int64_t nowMs);

    // Delivers what has come to the logs, at most a turn of it from each. True: there is more, call again soon.
    bool drain();

    // The worker has got its slot in a log: from now on it reads there.
    void openSlot(std::uint32_t index, std::uint32_t slot);
    HubLog& log(std::uint32_t index) { return logs_[index].source; }
    std::size_t logCount() const { return logs_.size(); }
    HubStats stats() const;

private:
    struct LogState {
        HubLog source;
        LogPosition cursor = 0;
        std::vector<std::unique_ptr<LocalChannel>> channels; // by ChannelRef::index; null: none here
        std::uint32_t channelCount = 0;
    };
    struct Batch {
        LocalChannel* channel = nullptr;
        std::vector<LogRecord> records;
        std::vector<ConnectionId> origins; // beside `records`; 0: from outside
        bool anyOrigin = false;
        bool anyPresence = false;
        std::optional<std::uint32_t> measured; // the place of its first event in the meter
        SharedFrames frames;                   // of all records
    };

    bool wants(const ChannelRef& channel) const override;
    Subscription* add(LogState& state, Subscriber& subscriber, const ChannelRequest& request,
                      std::int64_t nowMs, JoinResult& joined);
    Subscription* attach(LogState& state, Subscriber& subscriber, const ChannelRequest& request,
                         const SubscribeResult& counted);
    std::uint32_t remove(Subscriber& subscriber, Subscription** link);
    void detach(LogState& state, Subscriber& subscriber, Subscription** link);
    void forgetFlush(Subscriber& subscriber);
    void continueFrom(LogState& state, Subscription& subscription, const Position& position,
                      std::int64_t nowMs);
    bool isHistory(const LogState& state, LogPosition at, std::uint64_t until);

    bool drainLog(LogState& state);
    void take(LocalChannel& channel, const LogRecord& record);
    void catchUp(LogState& state);
    void lose(const LogState& state, LocalChannel& channel);
    void missed(Subscription& subscription, std::uint64_t until);
    void skipTo(Subscription& subscription, std::uint64_t offset); // with a gap announced, if it is behind
    Batch& batchOf(LocalChannel& channel);
    void deliverBatches();
    void deliver(Batch& batch, Subscription& subscription);
    void deliverSome(const Batch& batch, Subscription& subscription);
    // It tells of the subscriber itself, who knows.
    static bool isOwnPresence(const Subscription& subscription, const LogRecord& record);
    // Marks the record as seen. Is it to be sent?
    static bool isDue(Subscription& subscription, const LogRecord& record, ConnectionId origin);
    bool enqueueOne(Subscription& subscription, const FramePtr& frame);
    void enqueueLive(Subscription& subscription, const LogRecord& record, const FramePtr& frame);
    void announceGap(Subscription& subscription);
    void flushLater(Subscriber& subscriber);
    void finishTurn();
    void lookAtSocket(Subscriber& subscriber);

    struct NewSubscription {
        Subscription* subscription;
        HistoryLimit history;
    };
    static Reached reachedBy(const LogState& state, std::span<const ChannelRequest> channels);
    LogPosition cutOf(const Subscriber& subscriber, const Reached& reached) const;
    bool beginReplay(LogState& state, Subscriber& subscriber, std::span<const NewSubscription> added,
                     const Since& since, std::int64_t nowMs, LogPosition head);
    Replay& replayOf(Subscriber& subscriber, const LocalChannel& channel);
    bool extendReplay(Subscriber& subscriber, std::int64_t nowMs, bool giveUp);
    bool replayStream(LogState& state, const NewSubscription& one, const Since& since, std::uint64_t cut,
                      std::int64_t nowMs, LogPosition head, Replay& replay);
    bool hasPast(const Subscription& subscription) const;
    bool askForHistory(Subscriber& subscriber);
    void forgetHistory(Subscriber& subscriber);
    void forgetHistory(Subscription& subscription);
    void forgetPostponed(Subscription& subscription);
    void forgetTicket(std::uint64_t ticket);
    std::size_t takeUp(Subscription& postponed);
    static bool isBehind(const Subscription& subscription);

    std::vector<LogState> logs_;
    HistorySource* historySource_ = nullptr;
    struct Asked {
        Subscriber* subscriber = nullptr;
        Subscription* postponed = nullptr; // null: it is the first of the replay's pasts
    };
    std::unordered_map<std::uint64_t, Asked> asked_; // by ticket
    std::unordered_map<const Subscription*, std::unique_ptr<Replay>>
        postponed_;                     // all of them for the one subscription
    const LogState* reading_ = nullptr; // whose records wants() is asked about
    // What wants() has found last: the channel of the record that next() returns, not looked up again.
    mutable LocalChannel* wanted_ = nullptr;
    std::vector<Batch> batches_; // the first batchCount_ are this turn's
    std::size_t batchCount_ = 0;
    std::vector<Subscriber*> toFlush_; // null: it has left
    std::vector<WaitingSubscriber> waiting_;
    DeliveryMeter meter_;
    ws::Deflater deflater_;
    RecordArena arena_;
    HubStats stats_;
};

} // namespace realtime
