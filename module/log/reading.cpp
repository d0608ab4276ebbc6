// The part of SharedLog that reads: records take no lock, the directory's last word on a channel does.
#include "log/directory.hpp"
#include "log/layout.hpp"
#include "log/lock.hpp"
#include "log/ring.hpp"
#include "log/shared_log.hpp"

#include <algorithm>

namespace realtime {

using namespace sharedlog;

namespace {

// Walks a channel's records from the newest to older ones.
class BackWalk {
public:
    BackWalk(Memory memory, const ChannelInfo& channel)
        : ring_(memory), epoch_(channel.channel.epoch), position_(channel.lastPosition),
          offset_(channel.lastOffset)
    {
    }

    // Of the record that read() reads next; 0: there is none older in this life of the channel.
    LogPosition position() const { return position_; }
    std::uint64_t offset() const { return offset_; }

    // Reads the header at position() and steps on to the one before; false if it has fallen off the ring.
    bool read(RecordHeader& out)
    {
        if (position_ < ring_.tail() || position_ >= ring_.head() ||
            ring_.peek(position_, out) != Peek::Record || out.epoch != epoch_ || out.offset != offset_) {
            return false;
        }
        position_ = out.previous;
        offset_ = out.previousOffset;
        return true;
    }

private:
    Ring ring_;
    std::uint64_t epoch_;
    LogPosition position_;
    std::uint64_t offset_;
};

bool tooOld(const RecordHeader& record, const HistoryLimit& limit, std::int64_t nowMs)
{
    return limit.ageMs != 0 && nowMs - record.timeMs > limit.ageMs;
}

// Collects while `wanted(walk)`; true if it ended because nothing more was.
template <class Wanted>
bool collect(BackWalk walk, const HistoryLimit& limit, std::int64_t nowMs,
             std::vector<LogPosition>& positions, Wanted wanted)
{
    RecordHeader record;
    while (wanted(walk)) {
        if (positions.size() >= limit.messages || !walk.read(record) || tooOld(record, limit, nowMs)) {
            std::reverse(positions.begin(), positions.end());
            return false;
        }
        positions.push_back(record.position);
    }
    std::reverse(positions.begin(), positions.end());
    return true;
}

} // namespace

LogPosition SharedLog::head() const
{
    return Ring(Memory(base_)).head();
}

LogPosition SharedLog::tail() const
{
    return Ring(Memory(base_)).tail();
}

ReadStatus SharedLog::next(LogPosition& cursor, const Interest& interest, RecordArena& arena,
                           LogRecord& out) const
{
    const Ring ring{Memory(base_)};
    cursor = std::max(cursor, FirstPosition);
    RecordHeader record;
    // Each round moves the cursor on and head is read once: this ends.
    for (const LogPosition head = ring.head(); cursor < head; cursor += record.bytes) {
        const Peek peeked = ring.peek(cursor, record);
        if (peeked == Peek::Padding ||
            (peeked == Peek::Record && !interest.wants({record.entry, record.epoch}))) {
            continue;
        }
        if (peeked == Peek::Record && ring.copy(record, arena, out)) {
            cursor += record.bytes;
            return ReadStatus::Record;
        }
        // Broken although still there: the cursor was no record's. What is left cannot be told apart from noise.
        cursor = peeked == Peek::Broken ? head : ring.tail();
        return ReadStatus::Overtaken;
    }
    return ReadStatus::End;
}

void SharedLog::tally(LogPosition& cursor, std::size_t most, Tally& tally) const
{
    const Ring ring{Memory(base_)};
    cursor = std::max({cursor, FirstPosition, ring.tail()});
    RecordHeader record;
    const LogPosition head = ring.head();
    for (std::size_t seen = 0; cursor < head && seen < most; cursor += record.bytes) {
        const Peek peeked = ring.peek(cursor, record);
        if (peeked == Peek::Gone || peeked == Peek::Broken) {
            cursor = head; // writers are faster than this looks
            return;
        }
        if (peeked == Peek::Record) {
            tally.count({record.entry, record.epoch}, record.flags);
            ++seen;
        }
    }
}

bool SharedLog::readAt(LogPosition position, RecordArena& arena, LogRecord& out) const
{
    const Ring ring{Memory(base_)};
    RecordHeader record;
    return position >= FirstPosition && position < ring.head() &&
           ring.peek(position, record) == Peek::Record && ring.copy(record, arena, out);
}

History SharedLog::history(ChannelRef channel, std::uint64_t after, const HistoryLimit& limit,
                           std::int64_t nowMs) const
{
    History history;
    const auto known = info(channel);
    if (!known) {
        return history;
    }
    history.complete = collect(BackWalk(Memory(base_), *known), limit, nowMs, history.positions,
                               [after, &history](const BackWalk& walk) {
                                   history.behind = walk.offset();
                                   return walk.offset() > after;
                               });
    return history;
}

History SharedLog::historyBehind(ChannelRef channel, LogPosition after, const HistoryLimit& limit,
                                 std::int64_t nowMs) const
{
    History history;
    const auto known = info(channel);
    if (!known) {
        return history;
    }
    LogPosition forgotten = 0;
    {
        const Lock lock{Memory(base_)};
        forgotten = Memory(base_).header().forgottenPosition;
    }
    LogPosition first = known->lastPosition;
    const bool whole = collect(BackWalk(Memory(base_), *known), limit, nowMs, history.positions,
                               [after, &first](const BackWalk& walk) {
                                   first = walk.position();
                                   return first > after;
                               });
    // Back at the channel's birth: if the directory has forgotten channels that had events behind `after`, this may
    // be a second life of one of them.
    history.complete = whole && (first != 0 || forgotten <= after);
    return history;
}

LogPosition SharedLog::locate(ChannelRef channel, std::uint64_t offset) const
{
    const auto known = info(channel);
    if (!known || offset == 0) {
        return 0;
    }
    BackWalk walk(Memory(base_), *known);
    RecordHeader record;
    for (std::uint64_t steps = 0; steps < MaxLocateSteps && walk.offset() >= offset && walk.read(record);
         ++steps) {
        if (record.offset == offset) {
            return record.position;
        }
    }
    return 0;
}

LogStats SharedLog::stats() const
{
    const Memory memory(base_);
    const Header& header = memory.header();
    LogStats stats;
    {
        const Lock lock(memory);
        stats.appendedRecords = header.appendedRecords;
        stats.channels = header.channels;
        stats.members = header.members;
        stats.subscribedChannels = header.subscribedChannels;
        stats.subscribers = header.subscribers;
        stats.recoveries = header.recoveries;
    }
    stats.ringBytes = memory.plan().ringBytes;
    stats.channelCapacity = memory.plan().entryCount - 1;
    stats.memberCapacity = memory.plan().memberCount - 1;
    stats.slots = memory.plan().slotCount;
    for (std::uint32_t i = 0; i < stats.slots; ++i) {
        stats.slotsInUse += slotInUse(i) ? 1 : 0;
    }
    const Ring ring(memory);
    const LogPosition tail = ring.tail();
    stats.usedBytes = ring.head() - tail;
    stats.appendedBytes = ring.head() - FirstPosition;
    RecordHeader oldest;
    for (LogPosition at = tail; at < ring.head(); at += oldest.bytes) {
        const Peek peeked = ring.peek(at, oldest);
        if (peeked == Peek::Record) {
            stats.oldestTimeMs = oldest.timeMs;
        }
        if (peeked != Peek::Padding) {
            break;
        }
    }
    return stats;
}

} // namespace realtime
