#include "hub/hub.hpp"

#include "hub/replay.hpp"

#include <algorithm>

namespace realtime {

namespace {

// Turns of the read loop in which only events of no concern came in: after so many, let others run.
constexpr int MaxIdleReads = 8;

// Times that pump() looks for more within one call.
constexpr int MaxExtensions = 4;

bool followsSeveral(const Subscriber& subscriber)
{
    return subscriber.subscriptions() != nullptr && subscriber.subscriptions()->next != nullptr;
}

// Is there something between `lastOffset`, which was seen, and the record? Before a stream was first heard of there is
// nothing to miss for who follows it from now on.
bool misses(const LocalChannel& channel, std::uint64_t lastOffset, const LogRecord& record)
{
    return record.previousOffset > lastOffset && (lastOffset != 0 || channel.stream.identity == 0);
}

ConnectionId originOf(const LogRecord& record)
{
    return record.origin.empty() ? 0 : parseConnectionId(record.origin).value_or(0);
}

} // namespace

Subscriber::Subscriber(Encoding encoding) : encoding_(encoding) {}

Subscriber::~Subscriber() = default;

Subscription* Subscriber::follows(std::string_view app, std::string_view channel) const
{
    Subscription* s = subscriptions_;
    while (s != nullptr && (s->channel->name != channel || s->channel->app != app)) {
        s = s->next;
    }
    return s;
}

Hub::Hub(const std::vector<HubLog>& logs)
{
    logs_.reserve(logs.size());
    for (const HubLog& log : logs) {
        LogPosition head = log.log.head();
        logs_.push_back(LogState{log, head, {}});
    }
}

Hub::~Hub() = default;

// Live events are not for it: what lies before them is still to come.
bool Hub::isBehind(const Subscription& subscription)
{
    return subscription.postponed || subscription.subscriber->replaying();
}

// Can what the log no longer has of the channel be had elsewhere?
bool Hub::hasPast(const Subscription& subscription) const
{
    return historySource_ != nullptr && subscription.channel->stream.identity != 0;
}

bool Hub::wants(const ChannelRef& channel) const
{
    const auto& channels = reading_->channels;
    wanted_ = channel.index < channels.size() ? channels[channel.index].get() : nullptr;
    return wanted_ != nullptr && wanted_->ref.epoch == channel.epoch; // else of a life of it that is over
}

void Hub::openSlot(std::uint32_t index, std::uint32_t slot)
{
    logs_[index].source.slot = slot;
    logs_[index].cursor = logs_[index].source.log.head();
}

// --- joining and leaving ----------------------------------------------------------------------------------------

JoinResult Hub::join(Subscriber& subscriber, std::span<const ChannelRequest> channels, const Since& since,
                     std::int64_t nowMs)
{
    LogState& state = logs_[channels.front().log];
    if (state.source.slot == SharedLog::NoSlot) {
        return {.status = Joined::NoSlot, .recovered = false};
    }
    for (const ChannelRequest& request : channels) {
        if (request.log != channels.front().log) {
            return {.status = Joined::SeveralZones, .recovered = false};
        }
    }

    JoinResult result;
    result.reached = reachedBy(state, channels);
    std::vector<NewSubscription> added;
    for (const ChannelRequest& request : channels) {
        if (subscriber.follows(request.app, request.channel)) {
            continue;
        }
        Subscription* subscription = add(state, subscriber, request, nowMs, result);
        if (subscription == nullptr) {
            // The newest is the head of the list.
            for (; !added.empty() && subscriber.subscriptions_ != nullptr; added.pop_back()) {
                remove(subscriber, &subscriber.subscriptions_);
            }
            return {.status = Joined::ChannelsFull, .recovered = false};
        }
        added.push_back({subscription, request.history});
    }

    if (since.kind != Since::Kind::Latest) {
        const LogPosition head = state.source.log.head();
        result.reached.cut = head - 1;
        result.recovered = beginReplay(state, subscriber, added, since, nowMs, head);
    }
    return result;
}

Subscription* Hub::add(LogState& state, Subscriber& subscriber, const ChannelRequest& request,
                       std::int64_t nowMs, JoinResult& joined)
{
    auto result =
        state.source.log.subscribe(state.source.slot, request.app, request.channel, request.stream, nowMs);
    if (!result) {
        return nullptr;
    }
    joined.subscription = attach(state, subscriber, request, *result);
    joined.subscribers = result->subscribers;
    return joined.subscription;
}

// What the log counts already becomes known here.
Subscription* Hub::attach(LogState& state, Subscriber& subscriber, const ChannelRequest& request,
                          const SubscribeResult& counted)
{
    const std::uint32_t index = counted.channel.index;
    if (index >= state.channels.size()) {
        state.channels.resize(index + 1);
    }
    auto& local = state.channels[index];
    if (!local) {
        state.channelCount++;
        local = std::make_unique<LocalChannel>();
        local->app = request.app;
        local->name = request.channel;
        local->ref = counted.channel;
        local->log = request.log;
        local->lastOffset = counted.lastOffset;
        local->stream = request.stream;
    }
    auto* subscription = new Subscription;
    subscription->subscriber = &subscriber;
    subscription->channel = local.get();
    subscription->lastOffset = counted.lastOffset;
    subscription->index = static_cast<std::uint32_t>(local->subscriptions.size());
    local->subscriptions.push_back(subscription);

    Subscription* others = subscriber.subscriptions_;
    if (others != nullptr) {
        others->channel->several += others->next == nullptr ? 1 : 0; // it was the only one until now
        local->several++;
    }
    subscription->next = others;
    subscriber.subscriptions_ = subscription;
    return subscription;
}

void Hub::startBehind(Subscription& subscription, std::uint64_t offset)
{
    if (!isBehind(subscription)) {
        subscription.lastOffset = std::max(subscription.lastOffset, offset);
    }
}

std::uint32_t Hub::leave(Subscriber& subscriber, Subscription& subscription)
{
    forgetHistory(subscription);
    Subscription** link = &subscriber.subscriptions_;
    while (*link != &subscription) {
        link = &(*link)->next;
    }
    return remove(subscriber, link);
}

void Hub::leave(Subscriber& subscriber)
{
    forgetHistory(subscriber);
    subscriber.replay_.reset();
    while (subscriber.subscriptions_ != nullptr) {
        remove(subscriber, &subscriber.subscriptions_);
    }
    forgetFlush(subscriber);
}

void Hub::forgetFlush(Subscriber& subscriber)
{
    if (subscriber.flushPlace_ != 0) {
        toFlush_[subscriber.flushPlace_ - 1] = nullptr;
        subscriber.flushPlace_ = 0;
    }
    if (subscriber.listedAsWaiting_) {
        subscriber.listedAsWaiting_ = false;
        std::erase_if(waiting_, [&](const WaitingSubscriber& one) { return one.subscriber == &subscriber; });
    }
}

std::uint32_t Hub::remove(Subscriber& subscriber, Subscription** link)
{
    const LocalChannel& channel = *(*link)->channel;
    LogState& state = logs_[channel.log];
    std::uint32_t left = state.source.log.unsubscribe(state.source.slot, channel.ref);
    detach(state, subscriber, link);
    return left;
}

// Forgets it here; what the log counts stays.
void Hub::detach(LogState& state, Subscriber& subscriber, Subscription** link)
{
    Subscription* subscription = *link;
    LocalChannel& channel = *subscription->channel;

    channel.several -= followsSeveral(subscriber) ? 1 : 0;
    *link = subscription->next;
    if (subscriber.subscriptions_ != nullptr && subscriber.subscriptions_->next == nullptr) {
        subscriber.subscriptions_->channel->several--; // it is the only one from now on
    }

    channel.subscriptions.back()->index = subscription->index;
    channel.subscriptions[subscription->index] = channel.subscriptions.back();
    channel.subscriptions.pop_back();
    delete subscription;

    if (channel.subscriptions.empty()) {
        state.channelCount--;
        state.channels[channel.ref.index].reset();
    }
}

// --- live delivery ----------------------------------------------------------------------------------------------

bool Hub::drain()
{
    bool more = false;
    for (LogState& state : logs_) {
        if (state.source.slot != SharedLog::NoSlot) {
            more |= drainLog(state);
        }
    }
    return more;
}

bool Hub::drainLog(LogState& state)
{
    SharedLog& log = state.source.log;
    reading_ = &state;
    // Nothing before the event that woke us was for our channels.
    state.cursor = std::max(state.cursor, log.awake(state.source.slot));

    bool more = true;
    for (int idleReads = 0; idleReads < MaxIdleReads && arena_.used() < MaxTurnBytes;) {
        LogRecord record;
        ReadStatus status = log.next(state.cursor, *this, arena_, record);
        if (status == ReadStatus::Record) {
            if (record.id.offset > wanted_->lastOffset) {
                take(*wanted_, record);
            }
        } else if (status == ReadStatus::Overtaken) {
            stats_.overtaken++;
            catchUp(state);
        } else if (log.sleep(state.source.slot, state.cursor)) {
            more = false;
            break;
        } else {
            idleReads++;
        }
    }
    finishTurn();
    return more;
}

void Hub::take(LocalChannel& channel, const LogRecord& record)
{
    if (misses(channel, channel.lastOffset, record)) {
        deliverBatches();
        for (Subscription* subscription : channel.subscriptions) {
            if (misses(channel, subscription->lastOffset, record) && !isBehind(*subscription)) {
                missed(*subscription, record.previousOffset);
            }
        }
    }
    channel.lastOffset = record.id.offset;
    if ((record.flags & record_flag::Control) != 0) {
        for (Subscription* subscription : channel.subscriptions) {
            if (!isBehind(*subscription)) { // else what lies before is still to come
                subscription->lastOffset = std::max(subscription->lastOffset, record.id.offset);
            }
            subscription->subscriber->control(record);
        }
        return;
    }

    ConnectionId origin = originOf(record);
    if (channel.several > 0) {
        SharedFrames frames;
        for (Subscription* subscription : channel.subscriptions) {
            const Subscriber& subscriber = *subscription->subscriber;
            if (followsSeveral(subscriber) && !isBehind(*subscription) &&
                isDue(*subscription, record, origin)) {
                enqueueLive(*subscription, record,
                            frames.of(subscriber.encoding(), {&record, 1}, deflater_, stats_.deflated));
            }
        }
    }
    if (channel.several < channel.subscriptions.size()) {
        Batch& batch = batchOf(channel);
        batch.records.push_back(record);
        batch.origins.push_back(origin);
        batch.anyOrigin |= origin != 0;
        batch.anyPresence |= (record.flags & record_flag::Presence) != 0;
    }
}

Hub::Batch& Hub::batchOf(LocalChannel& channel)
{
    if (channel.batch == 0) {
        if (batchCount_ == batches_.size()) {
            batches_.emplace_back();
        }
        batches_[batchCount_].channel = &channel;
        channel.batch = static_cast<std::uint32_t>(++batchCount_);
    }
    return batches_[channel.batch - 1];
}

void Hub::deliverBatches()
{
    for (std::size_t i = 0; i < batchCount_; i++) {
        Batch& batch = batches_[i];
        for (Subscription* subscription : batch.channel->subscriptions) {
            const Subscriber& subscriber = *subscription->subscriber;
            if (!followsSeveral(subscriber) && !isBehind(*subscription)) {
                deliver(batch, *subscription);
            }
        }
        batch.channel->batch = 0;
        batch.records.clear();
        batch.origins.clear();
        batch.anyOrigin = false;
        batch.anyPresence = false;
        batch.measured.reset();
        batch.frames.clear();
    }
    batchCount_ = 0;
}

void Hub::deliver(Batch& batch, Subscription& subscription)
{
    Subscriber& subscriber = *subscription.subscriber;
    bool some = subscription.lastOffset >= batch.records.front().id.offset;
    if (batch.anyOrigin && subscriber.skips() != 0) {
        some |=
            std::find(batch.origins.begin(), batch.origins.end(), subscriber.skips()) != batch.origins.end();
    }
    if (batch.anyPresence) {
        some |= std::any_of(batch.records.begin(), batch.records.end(),
                            [&](const LogRecord& record) { return isOwnPresence(subscription, record); });
    }
    if (some) {
        deliverSome(batch, subscription);
        return;
    }

    const FramePtr& frame = batch.frames.of(subscriber.encoding(), batch.records, deflater_, stats_.deflated);
    subscription.lastOffset = batch.records.back().id.offset;
    if (frame->size() > 0) {
        auto events = static_cast<std::uint32_t>(batch.records.size());
        subscriber.enqueue(frame, events);
        stats_.delivered += events;
        flushLater(subscriber);
        if (!batch.measured) {
            batch.measured = meter_.event(batch.records.front().appendedUs);
            for (std::size_t i = 1; i < batch.records.size(); i++) {
                meter_.event(batch.records[i].appendedUs);
            }
        }
        meter_.delivered(subscriber.flushPlace_ - 1, *batch.measured, events);
    }
}

bool Hub::isDue(Subscription& subscription, const LogRecord& record, ConnectionId origin)
{
    if (record.id.offset <= subscription.lastOffset) {
        return false;
    }
    subscription.lastOffset = record.id.offset;
    return (origin == 0 || origin != subscription.subscriber->skips()) &&
           !isOwnPresence(subscription, record);
}

bool Hub::isOwnPresence(const Subscription& subscription, const LogRecord& record)
{
    return (record.flags & record_flag::Presence) != 0 &&
           subscription.subscriber->isMember(subscription.channel->name, record.userId);
}

// Those of them that are for this subscriber, which is the only one to get just these.
void Hub::deliverSome(const Batch& batch, Subscription& subscription)
{
    for (std::size_t i = 0; i < batch.records.size(); i++) {
        if (isDue(subscription, batch.records[i], batch.origins[i])) {
            enqueueLive(subscription, batch.records[i],
                        encode(subscription.subscriber->encoding(), {&batch.records[i], 1}));
        }
    }
}

// One record. True: there was something to send.
bool Hub::enqueueOne(Subscription& subscription, const FramePtr& frame)
{
    if (frame->size() == 0) {
        return false;
    }
    Subscriber& subscriber = *subscription.subscriber;
    subscriber.enqueue(frame, 1);
    stats_.delivered++;
    flushLater(subscriber);
    return true;
}

// An event of now, whose way is measured; one of the history waited to be asked for.
void Hub::enqueueLive(Subscription& subscription, const LogRecord& record, const FramePtr& frame)
{
    if (enqueueOne(subscription, frame)) {
        meter_.delivered(subscription.subscriber->flushPlace_ - 1, meter_.event(record.appendedUs), 1);
    }
}

void Hub::announceGap(Subscription& subscription)
{
    stats_.gaps++;
    Subscriber& subscriber = *subscription.subscriber;
    FramePtr frame = encodeGap(subscriber.encoding(), subscription.channel->name);
    if (!frame) {
        subscriber.cutOff(subscription.channel->name);
        return;
    }
    subscriber.enqueue(frame, 0);
    flushLater(subscriber);
}

void Hub::flushLater(Subscriber& subscriber)
{
    if (subscriber.flushPlace_ == 0) {
        toFlush_.push_back(&subscriber);
        subscriber.flushPlace_ = static_cast<std::uint32_t>(toFlush_.size());
    }
}

void Hub::finishTurn()
{
    deliverBatches();
    for (Subscriber* subscriber : toFlush_) {
        if (subscriber == nullptr) {
            meter_.flushed(false);
            continue;
        }
        subscriber->flushPlace_ = 0;
        subscriber->flush();
        lookAtSocket(*subscriber);
    }
    toFlush_.clear();
    stats_.waited += meter_.finish();
    arena_.clear();
}

void Hub::lookAtSocket(Subscriber& subscriber)
{
    const bool waits = subscriber.waitingBytes() > 0;
    meter_.flushed(!waits);
    if (waits && !subscriber.listedAsWaiting_ && waiting_.size() < MaxWaiting) {
        subscriber.listedAsWaiting_ = true;
        waiting_.push_back({&subscriber, 0});
    } else if (!waits && subscriber.listedAsWaiting_) {
        subscriber.listedAsWaiting_ = false;
        std::erase_if(waiting_, [&](const WaitingSubscriber& one) { return one.subscriber == &subscriber; });
    }
}

std::vector<WaitingSubscriber> Hub::waiting(std::int64_t nowMs)
{
    std::vector<WaitingSubscriber> since;
    std::erase_if(waiting_, [&](WaitingSubscriber& one) {
        if (one.subscriber->waitingBytes() == 0) {
            one.subscriber->listedAsWaiting_ = false;
            return true;
        }
        if (one.sinceMs == 0) {
            one.sinceMs = nowMs;
        } else {
            since.push_back(one);
        }
        return false;
    });
    return since;
}

// The ring ran over our cursor. Back-links still lead to whatever is left of each channel that we serve.
void Hub::catchUp(LogState& state)
{
    struct Missed {
        LogPosition position;
        LocalChannel* channel;
    };
    std::vector<Missed> missed;
    const LogPosition head = state.source.log.head();
    for (const auto& channel : state.channels) {
        if (channel == nullptr) {
            continue;
        }
        History history = state.source.log.history(channel->ref, channel->lastOffset, UnlimitedHistory, 0);
        for (LogPosition position : history.positions) {
            if (position < head) { // the others come in their turn
                missed.push_back({position, channel.get()});
            }
        }
        if (history.positions.empty() && !history.complete) {
            lose(state, *channel);
        }
    }
    std::sort(missed.begin(), missed.end(),
              [](const Missed& a, const Missed& b) { return a.position < b.position; });

    for (const Missed& one : missed) {
        LogRecord record;
        // What is overwritten by now shows as a hole before the next event of the channel: take() announces it.
        if (state.source.log.readAt(one.position, arena_, record) &&
            record.id.offset > one.channel->lastOffset) {
            take(*one.channel, record);
        }
        if (arena_.used() >= MaxTurnBytes) {
            state.cursor = one.position + 1; // for positionOf()
            finishTurn();
        }
    }
    state.cursor = head;
}

// All events that the channel has had since are gone, and there is none left to show the hole.
void Hub::lose(const LogState& state, LocalChannel& channel)
{
    auto info = state.source.log.info(channel.ref);
    if (!info || info->lastOffset <= channel.lastOffset) {
        return;
    }
    channel.lastOffset = info->lastOffset;
    for (Subscription* subscription : channel.subscriptions) {
        if (!isBehind(*subscription)) {
            missed(*subscription, channel.lastOffset);
        }
    }
}

// A live subscription has not got what there is up to `until`, and the log no longer has it.
void Hub::missed(Subscription& subscription, std::uint64_t until)
{
    if (!hasPast(subscription)) {
        skipTo(subscription, until);
        return;
    }
    if (subscription.lastOffset >= until) {
        return;
    }
    Subscriber& subscriber = *subscription.subscriber;
    replayOf(subscriber, *subscription.channel)
        .past.push_back({&subscription, subscription.lastOffset, until, 0, true});
    if (!askForHistory(subscriber)) {
        subscriber.replay_.reset();
    }
}

void Hub::skipTo(Subscription& subscription, std::uint64_t offset)
{
    if (subscription.lastOffset < offset) {
        subscription.lastOffset = offset;
        announceGap(subscription);
    }
}

// --- history ----------------------------------------------------------------------------------------------------

namespace {

// Ids of a stream's channels say where in the stream they are: one is enough for all of the stream.
template <class Subscriptions>
std::uint64_t streamCut(const Subscriptions& added, const Since& since, std::uint64_t identity)
{
    std::uint64_t cut = 0;
    for (const auto& one : added) {
        const LocalChannel& channel = *one.subscription->channel;
        const MessageId* id = channel.stream.identity == identity ? since.of(channel.ref.epoch) : nullptr;
        cut = id != nullptr ? std::max(cut, id->offset) : cut;
    }
    return cut;
}

// What was published behind `head`, while the histories of a subscriber's channels were looked up one after the other, comes
// live, in order.
void leaveOut(History& history, LogPosition head)
{
    while (!history.positions.empty() && history.positions.back() >= head) {
        history.positions.pop_back();
    }
}

// A node may be behind the one that gave an id by so many events.
constexpr std::uint64_t MaxAhead = 100'000 * streamOffset(0);

} // namespace

// True: nothing is missing behind `since`.
bool Hub::beginReplay(LogState& state, Subscriber& subscriber, std::span<const NewSubscription> added,
                      const Since& since, std::int64_t nowMs, LogPosition head)
{
    SharedLog& log = state.source.log;

    // The cut: what the subscriber was given as one, else the youngest of the events that it names. Channels that it names
    // none of start there.
    const MessageId* named = since.of(log.cutId(0).epoch);
    const auto given = named != nullptr ? log.cutPosition(*named) : std::nullopt;
    LogPosition cut = given.value_or(0);
    bool anyKnown = given.has_value();
    bool cutLost = false;
    for (const NewSubscription& one : given ? std::span<const NewSubscription>() : added) {
        const ChannelRef& ref = one.subscription->channel->ref;
        if (const MessageId* id = since.of(ref.epoch); id != nullptr && id->offset > 0) {
            LogPosition position = log.locate(ref, id->offset);
            anyKnown = true;
            cutLost |= position == 0;
            cut = std::max(cut, position);
        }
    }

    bool recovered = true;
    Replay replay;
    replay.cut = head - 1;
    for (const NewSubscription& one : added) {
        Subscription& subscription = *one.subscription;
        if (hasPast(subscription) && one.history.messages != 0) {
            const std::uint64_t of = streamCut(added, since, subscription.channel->stream.identity);
            recovered &= replayStream(state, one, since, of, nowMs, head, replay);
            continue;
        }
        const ChannelRef& ref = subscription.channel->ref;
        const MessageId* id = since.of(ref.epoch);
        History history;
        if (since.kind == Since::Kind::Earliest) {
            history = log.history(ref, 0, one.history, nowMs);
            history.complete = true; // nothing was promised
        } else if (id != nullptr && id->offset <= subscription.lastOffset) {
            history = log.history(ref, id->offset, one.history, nowMs);
        } else if ((id == nullptr && anyKnown && (cut != 0 || !cutLost)) || given) {
            history = log.historyBehind(ref, cut, one.history, nowMs);
        } else if (id == nullptr || id->offset != Since::BeyondAll) {
            // An id of a life of the channel that is over, of another server, or one that was never given out.
            history = log.history(ref, 0, one.history, nowMs);
            history.complete = history.complete && id == nullptr && anyKnown;
        } // else it claims to have seen whatever there is
        leaveOut(history, head);
        // Publishers go on meanwhile: what they have overwritten by now is a gap as well.
        auto position = history.positions.begin();
        LogRecord first;
        while (position != history.positions.end() && !log.readAt(*position, arena_, first)) {
            ++position;
            history.complete = false;
        }
        if (!history.complete) {
            recovered = false;
            if (plainOf(subscriber.encoding()) !=
                Encoding::Pusher) { // there the answer to the subscribe tells
                announceGap(subscription);
            }
        }
        if (position == history.positions.end()) {
            continue; // lastOffset stays what it was at the subscription
        }
        subscription.lastOffset = first.previousOffset;
        for (; position != history.positions.end(); ++position) {
            replay.items.push_back({*position, &subscription, true, false});
        }
    }
    arena_.clear();

    if (!replay.items.empty() || !replay.past.empty()) {
        Replay& all = Replay::of(subscriber.replay_);
        all.cut = replay.cut;
        all.add(replay.items);
        all.past.insert(all.past.end(), replay.past.begin(), replay.past.end());
    }
    return recovered;
}

// As beginReplay(), for a channel whose history is a stream: what the log does not have is asked for.
bool Hub::replayStream(LogState& state, const NewSubscription& one, const Since& since, std::uint64_t cut,
                       std::int64_t nowMs, LogPosition head, Replay& replay)
{
    const SharedLog& log = state.source.log;
    Subscription& subscription = *one.subscription;
    const LocalChannel& channel = *subscription.channel;
    const MessageId* id = since.of(channel.ref.epoch);
    const bool promised = since.kind != Since::Kind::Earliest;
    const std::uint64_t after = id != nullptr ? id->offset : cut;
    // Events of a life of the stream that is over are gone, and with them what came behind.
    const bool over =
        after >= streamOffset(0) && streamNumber(after) + 1 < log.streamLife(channel.stream.identity);
    const bool known = !promised || (after != 0 && !over);
    if (!known && plainOf(subscription.subscriber->encoding()) != Encoding::Pusher) {
        announceGap(subscription);
    }
    const auto next = log.streamNext(channel.stream.identity);
    if (!next) {
        subscription.lastOffset = after;
        replay.past.push_back(
            {&subscription, after, HistoryRequest::ToTheLog, one.history.ageMs, promised && known});
        return known;
    }
    const std::uint64_t reached = std::max(streamOffset(*next) - 1, subscription.lastOffset);
    if (after > reached) { // another node was faster; what it has told already is not to be told again
        const bool given = after - reached < MaxAhead;
        if (given) {
            subscription.lastOffset = after;
        } else if (plainOf(subscription.subscriber->encoding()) != Encoding::Pusher) {
            announceGap(subscription);
        }
        return given;
    }

    const HistoryLimit limit{~0U, one.history.ageMs};
    History history = log.history(channel.ref, after, limit, nowMs);
    leaveOut(history, head);
    LogRecord first;
    auto position = history.positions.begin();
    while (position != history.positions.end() && !log.readAt(*position, arena_, first)) {
        ++position;
        history.complete = false;
    }
    const bool any = position != history.positions.end();
    if (!history.complete) {
        const std::uint64_t until =
            any ? first.previousOffset : std::max(history.behind, subscription.lastOffset);
        subscription.lastOffset = after;
        replay.past.push_back({&subscription, after, until, limit.ageMs, promised && known});
    } else if (any) {
        subscription.lastOffset = first.previousOffset;
    }
    for (; position != history.positions.end(); ++position) {
        replay.items.push_back({*position, &subscription, true, false});
    }
    return known;
}

// True: an answer is to come. False: there is none to be had, go on without.
bool Hub::askForHistory(Subscriber& subscriber)
{
    Replay& replay = *subscriber.replay_;
    if (replay.ticket != 0) {
        return true;
    }
    const Replay::Past& past = replay.past.front();
    const LocalChannel& channel = *past.subscription->channel;
    replay.ticket = historySource_->ask({channel.app, channel.name, channel.log, channel.stream.identity,
                                         past.after, past.until, past.ageMs});
    if (replay.ticket != 0) {
        asked_.emplace(replay.ticket, Asked{&subscriber});
        return true;
    }
    if (past.promised) {
        announceGap(*past.subscription);
    }
    if (past.until != HistoryRequest::ToTheLog) {
        past.subscription->lastOffset = std::max(past.subscription->lastOffset, past.until);
    }
    replay.past.erase(replay.past.begin());
    return false;
}

void Hub::forgetTicket(std::uint64_t ticket)
{
    if (asked_.erase(ticket) != 0) {
        historySource_->forget(ticket);
    }
}

// Of all subscriptions.
void Hub::forgetHistory(Subscriber& subscriber)
{
    if (subscriber.replay_ != nullptr) {
        forgetTicket(std::exchange(subscriber.replay_->ticket, 0));
    }
    for (auto* s = subscriber.subscriptions_; s != nullptr; s = s->next) {
        forgetPostponed(*s);
    }
}

void Hub::forgetHistory(Subscription& subscription)
{
    forgetPostponed(subscription);
    Replay* replay = subscription.subscriber->replay_.get();
    if (replay == nullptr) {
        return;
    }
    if (!replay->past.empty() && replay->past.front().subscription == &subscription) {
        forgetTicket(std::exchange(replay->ticket, 0));
    }
    replay->forget(subscription);
}

void Hub::forgetPostponed(Subscription& subscription)
{
    if (std::exchange(subscription.postponed, false)) {
        const auto found = postponed_.find(&subscription);
        forgetTicket(found->second->ticket);
        postponed_.erase(found);
    }
}

void Hub::postpone(std::uint64_t ticket, std::int64_t nowMs)
{
    const auto found = asked_.find(ticket);
    if (found == asked_.end() || found->second.postponed != nullptr) {
        return;
    }
    Subscriber& subscriber = *found->second.subscriber;
    Replay& replay = *subscriber.replay_;
    Subscription& subscription = *replay.past.front().subscription;
    auto waiting = std::make_unique<Replay>(replay.split(subscription));
    waiting->ticket = std::exchange(replay.ticket, 0);
    postponed_[&subscription] = std::move(waiting);
    found->second.postponed = &subscription;
    subscription.postponed = true;
    pump(subscriber, nowMs);
}

// The subscriber's replay. If it begins, its ordinary channels were live until now.
Replay& Hub::replayOf(Subscriber& subscriber, const LocalChannel& channel)
{
    const bool begins = subscriber.replay_ == nullptr;
    Replay& replay = Replay::of(subscriber.replay_);
    if (begins) {
        replay.cut = logs_[channel.log].cursor - 1;
    }
    return replay;
}

// Its part of the replay is the subscriber's again, as the last. Returns the place of its first past, the one that is being
// answered.
std::size_t Hub::takeUp(Subscription& postponed)
{
    const auto found = postponed_.find(&postponed);
    const std::unique_ptr<Replay> waiting = std::move(found->second);
    postponed_.erase(found);
    postponed.postponed = false;
    Replay& replay = replayOf(*postponed.subscriber, *postponed.channel);
    const std::size_t first = replay.past.size();
    replay.past.insert(replay.past.end(), waiting->past.begin(), waiting->past.end());
    replay.add(waiting->items);
    return first;
}

void Hub::supply(std::uint64_t ticket, const HistoryPart& part, std::int64_t nowMs)
{
    const auto found = asked_.find(ticket);
    if (found == asked_.end()) {
        return;
    }
    const Asked asked = found->second;
    asked_.erase(found);
    Subscriber& subscriber = *asked.subscriber;
    std::size_t at = 0;
    if (asked.postponed != nullptr) {
        at = takeUp(*asked.postponed);
    } else {
        subscriber.replay_->ticket = 0;
    }
    Replay& replay = *subscriber.replay_;
    Replay::Past& past = replay.past[at];
    Subscription& subscription = *past.subscription;
    if (part.lost && past.promised) {
        announceGap(subscription);
    }
    bool some = false;
    for (LogRecord record : part.records) {
        if ((record.flags & record_flag::Transient) == 0) {
            record.id.epoch = subscription.channel->ref.epoch;
            if (isDue(subscription, record, originOf(record))) {
                const FramePtr frame = encode(subscriber.encoding(), {&record, 1});
                some |= enqueueOne(subscription, frame);
                subscriber.historySent(frame->size());
            }
        }
    }
    past.after = std::max(past.after, part.reached);
    subscription.lastOffset = std::max(subscription.lastOffset, std::min(past.after, past.until));
    if (part.end) {
        replay.past.erase(replay.past.begin() + static_cast<std::ptrdiff_t>(at));
    }
    if (some) {
        finishTurn(); // and its socket asks for more when it has taken that
    } else {
        pump(subscriber, nowMs);
    }
}

void Hub::pump(Subscriber& subscriber, std::int64_t nowMs)
{
    const std::size_t most =
        subscriber.replay_ == nullptr ? 0 : std::min(ReplayBytes, subscriber.historyAllowance());
    std::size_t sent = 0;
    int extensions = 0;
    while (subscriber.replay_ != nullptr && sent < most) {
        Replay& replay = *subscriber.replay_;
        if (!replay.past.empty()) {
            if (askForHistory(subscriber)) {
                break;
            }
            continue;
        }
        if (replay.next == replay.items.size()) {
            if (!extendReplay(subscriber, nowMs, ++extensions > MaxExtensions)) {
                subscriber.replay_.reset();
            }
            continue;
        }
        const Replay::Item& item = replay.items[replay.next++];
        LogRecord record;
        if (!logs_[item.subscription->channel->log].source.log.readAt(item.position, arena_, record)) {
            continue; // overwritten by now: the next event of the channel that is left shows the hole
        }
        if (misses(*item.subscription->channel, item.subscription->lastOffset, record)) {
            if (hasPast(*item.subscription)) {
                replay.past.push_back(
                    {item.subscription, item.subscription->lastOffset, record.previousOffset, 0, true});
                replay.next--; // the record comes after that
                continue;
            }
            announceGap(*item.subscription);
        }
        std::uint32_t left = item.history ? record_flag::Transient | record_flag::Internal : 0;
        if ((record.flags & (left | record_flag::Control)) != 0) {
            item.subscription->lastOffset = std::max(item.subscription->lastOffset, record.id.offset);
            if (item.unseen && (record.flags & record_flag::Control) != 0) {
                subscriber.control(record);
            }
            continue;
        }
        if (isDue(*item.subscription, record, originOf(record))) {
            const FramePtr frame = encode(subscriber.encoding(), {&record, 1});
            enqueueOne(*item.subscription, frame);
            sent += frame->size();
            if (item.history) { // what came since it subscribed is not its choice
                subscriber.historySent(frame->size());
            }
        }
    }
    finishTurn();
}

// The list is worked off; meanwhile more may have gone through the hub that this subscriber did not get. `giveUp`:
// publishers are faster than the reading; announce the gap and go on live.
bool Hub::extendReplay(Subscriber& subscriber, std::int64_t nowMs, bool giveUp)
{
    Replay& replay = *subscriber.replay_;
    std::vector<Replay::Item> items;
    for (auto* s = subscriber.subscriptions_; s != nullptr; s = s->next) {
        if (s->lastOffset >= s->channel->lastOffset || s->postponed) {
            continue;
        }
        History history;
        if (!giveUp || hasPast(*s)) {
            const SharedLog& log = logs_[s->channel->log].source.log;
            history = log.history(s->channel->ref, s->lastOffset, UnlimitedHistory, nowMs);
            leaveOut(history, logs_[s->channel->log].cursor);
        }
        if (!history.complete && hasPast(*s)) {
            replay.past.push_back({s, s->lastOffset, history.behind, 0, true});
        } else if (history.positions.empty()) {
            skipTo(*s, s->channel->lastOffset);
        }
        for (LogPosition position : history.positions) {
            items.push_back({position, s, false, false});
        }
    }
    replay.items.clear();
    replay.next = 0;
    replay.add(items);
    if (const Subscription* any = subscriber.subscriptions_; any != nullptr) {
        replay.cut = logs_[any->channel->log].cursor - 1;
    }
    return !items.empty() || !replay.past.empty();
}

HubStats Hub::stats() const
{
    HubStats stats = stats_;
    for (const LogState& state : logs_) {
        stats.channels += state.channelCount;
    }
    return stats;
}

} // namespace realtime
