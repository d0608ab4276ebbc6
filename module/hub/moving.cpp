// The part of the hub that lets a subscriber go to another worker, and takes one that comes.
#include "hub/hub.hpp"
#include "hub/replay.hpp"

#include <algorithm>

namespace realtime {

std::vector<Position> Hub::positions(const Subscriber& subscriber)
{
    std::vector<Position> positions;
    for (const Subscription* s = subscriber.subscriptions(); s != nullptr; s = s->next) {
        const LocalChannel& channel = *s->channel;
        Position position{channel.app, channel.name, channel.log, channel.ref.epoch, s->lastOffset, 0};
        if (subscriber.replay_ != nullptr) {
            const Replay& replay = *subscriber.replay_;
            for (std::size_t i = replay.items.size(); i-- > replay.next;) {
                const Replay::Item& item = replay.items[i];
                LogRecord record;
                if (item.history && item.subscription == s &&
                    logs_[channel.log].source.log.readAt(item.position, arena_, record)) {
                    position.historyUntil = record.id.offset;
                    break;
                }
            }
        }
        positions.push_back(position);
    }
    std::reverse(positions.begin(), positions.end());
    arena_.clear();
    return positions;
}

void Hub::release(Subscriber& subscriber)
{
    forgetHistory(subscriber);
    subscriber.replay_.reset();
    while (subscriber.subscriptions_ != nullptr) {
        detach(logs_[subscriber.subscriptions_->channel->log], subscriber, &subscriber.subscriptions_);
    }
    forgetFlush(subscriber);
}

JoinResult Hub::resume(Subscriber& subscriber, const Position& position, const SlotOwner& from,
                       std::int64_t nowMs)
{
    LogState& state = logs_[position.log];
    SharedLog& log = state.source.log;
    const std::uint32_t slot = state.source.slot;
    JoinResult result;
    if (slot == SharedLog::NoSlot) {
        result.status = Joined::NoSlot;
        return result;
    }
    auto counted = log.moveSubscriber(from, slot, position.app, position.channel);
    result.moved = counted.has_value();
    if (!counted) {
        counted = log.subscribe(slot, position.app, position.channel, position.stream, nowMs);
    }
    if (!counted) {
        result.status = Joined::ChannelsFull;
        return result;
    }
    result.subscribers = counted->subscribers;
    result.subscription = attach(
        state, subscriber, {position.app, position.channel, position.log, {}, position.stream}, *counted);
    continueFrom(state, *result.subscription, position, nowMs);
    return result;
}

// The subscription stands at the newest event; it has seen those up to the position.
void Hub::continueFrom(LogState& state, Subscription& subscription, const Position& position,
                       std::int64_t nowMs)
{
    const LocalChannel& channel = *subscription.channel;
    const bool streamed = channel.stream.identity != 0;
    if (position.epoch != channel.ref.epoch || (position.lastOffset > subscription.lastOffset && !streamed)) {
        announceGap(subscription); // of a life of the channel that is over
        return;
    }
    subscription.lastOffset = position.lastOffset;
    Subscriber& subscriber = *subscription.subscriber;
    const auto ask = [&](std::uint64_t until) {
        Replay::of(subscriber.replay_).past.push_back({&subscription, position.lastOffset, until, 0, true});
    };
    if (hasPast(subscription) && !state.source.log.streamNext(channel.stream.identity)) {
        ask(HistoryRequest::ToTheLog); // the log is new
        return;
    }
    if (position.lastOffset >= channel.lastOffset) {
        return; // what follows comes live
    }
    const History missed =
        state.source.log.history(channel.ref, position.lastOffset, UnlimitedHistory, nowMs);
    const bool known = missed.complete || !hasPast(subscription);
    if (missed.positions.empty() && known) {
        skipTo(subscription, channel.lastOffset);
        return;
    }
    std::vector<Replay::Item> items;
    items.reserve(missed.positions.size());
    for (LogPosition at : missed.positions) {
        items.push_back({at, &subscription, isHistory(state, at, position.historyUntil), true});
    }
    if (!known) {
        ask(missed.behind);
    }
    Replay::of(subscriber.replay_).add(items);
    arena_.clear();
}

bool Hub::isHistory(const LogState& state, LogPosition at, std::uint64_t until)
{
    LogRecord record;
    return until != 0 && state.source.log.readAt(at, arena_, record) && record.id.offset <= until;
}

} // namespace realtime
