// The part of the hub that knows where a subscriber stands, and says it in an id or a few.
#include "hub/hub.hpp"
#include "hub/replay.hpp"

#include <algorithm>

namespace realtime {

// Called before the channels are subscribed to: what comes meanwhile is not lost to who is cut off before it gets that.
Reached Hub::reachedBy(const LogState& state, std::span<const ChannelRequest> channels)
{
    const SharedLog& log = state.source.log;
    Reached reached;
    reached.cut = log.head() - 1;
    for (const ChannelRequest& request : channels) {
        const std::uint64_t identity = request.stream.identity;
        const auto known = [&](const Reached::Stream& one) { return one.identity == identity; };
        if (identity != 0 && std::none_of(reached.streams.begin(), reached.streams.end(), known)) {
            const auto next = log.streamNext(identity);
            reached.streams.push_back({identity, next ? streamOffset(*next) - 1 : 0});
        }
    }
    return reached;
}

// All ordinary channels' events up to it were enqueued, and none behind it.
LogPosition Hub::cutOf(const Subscriber& subscriber, const Reached& reached) const
{
    const Replay* replay = subscriber.replay_.get();
    if (replay == nullptr) {
        return std::max(reached.cut, logs_[subscriber.subscriptions_->channel->log].cursor - 1);
    }
    const auto next = std::find_if(
        replay->items.begin() + static_cast<std::ptrdiff_t>(replay->next), replay->items.end(),
        [](const Replay::Item& item) { return item.subscription->channel->stream.identity == 0; });
    return next != replay->items.end() ? next->position - 1 : std::max(reached.cut, replay->cut);
}

namespace {

// Where a subscriber stands in the channels of one stream.
struct StreamPosition {
    std::uint64_t identity = 0;
    MessageId newest{}, oldest{};
    std::vector<MessageId> apart; // of those that may be behind the others
};

constexpr std::size_t MaxApart = 32; // so that the whole fits into a header

StreamPosition& positionIn(std::vector<StreamPosition>& positions, const Subscription& s)
{
    const std::uint64_t identity = s.channel->stream.identity;
    const auto found = std::find_if(positions.begin(), positions.end(),
                                    [&](const StreamPosition& one) { return one.identity == identity; });
    if (found != positions.end()) {
        return *found;
    }
    const MessageId id{s.channel->ref.epoch, s.lastOffset};
    return positions.emplace_back(StreamPosition{identity, {id.epoch, 0}, id, {}});
}

void append(std::string& text, const MessageId& id)
{
    text += "," + toString(id);
}

void append(std::string& text, const StreamPosition& position, const Reached& reached)
{
    if (position.apart.size() > MaxApart) {
        append(text, position.oldest); // some events come again; none is lost
        return;
    }
    for (const MessageId& id : position.apart) {
        append(text, id);
    }
    MessageId newest = position.newest;
    if (newest.offset == 0 && position.apart.empty()) {
        for (const Reached::Stream& one : reached.streams) {
            newest.offset = one.identity == position.identity ? one.offset : newest.offset;
        }
    }
    if (newest.offset != 0) {
        append(text, newest);
    }
}

} // namespace

std::string Hub::positionOf(const Subscriber& subscriber, const Reached& reached) const
{
    const Subscription& first = *subscriber.subscriptions_;
    if (first.next == nullptr && first.lastOffset != 0) {
        return toString(MessageId{first.channel->ref.epoch, first.lastOffset});
    }
    std::vector<StreamPosition> streams;
    for (const Subscription* s = &first; s != nullptr; s = s->next) {
        if (s->channel->stream.identity == 0) {
            continue;
        }
        StreamPosition& position = positionIn(streams, *s);
        const MessageId id{s->channel->ref.epoch, s->lastOffset};
        position.oldest = id.offset < position.oldest.offset ? id : position.oldest;
        if (isBehind(*s)) {
            position.apart.push_back(id);
        } else if (id.offset > position.newest.offset) {
            position.newest = id;
        }
    }
    std::string text = toString(logs_[first.channel->log].source.log.cutId(cutOf(subscriber, reached)));
    for (const StreamPosition& position : streams) {
        append(text, position, reached); // which counts on other nodes, too
    }
    return text;
}

} // namespace realtime
