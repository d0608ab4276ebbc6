#include "log/directory.hpp"

#include "base/siphash.hpp"
#include "log/presence.hpp"
#include "log/step.hpp"

#include <algorithm>
#include <cstring>

namespace realtime::sharedlog {

namespace {

// How many idle entries evict() looks at: enough to pass by a few channels that are in use, and short enough for
// the lock.
constexpr int EvictionLook = 8;

// How many apps leastMissedOfOthers() looks at, and in how many of them that have idle entries.
constexpr std::uint32_t AppLook = 64;
constexpr int AppTries = 8;

std::uint16_t tagOf(std::uint64_t hash)
{
    return static_cast<std::uint16_t>(hash >> 48U);
}

} // namespace

std::uint64_t Directory::hash(std::string_view app, std::string_view channel) const
{
    return SipHash(header_.keys.channels).add(app.size()).add(app).add(channel).finish();
}

std::optional<ChannelKey> Directory::key(std::string_view app, std::string_view channel,
                                         const StreamKey& stream) const
{
    if (app.size() > MaxAppBytes || channel.size() > MaxChannelBytes) {
        return std::nullopt;
    }
    return ChannelKey{app, channel, hash(app, channel), stream};
}

bool Directory::matches(const Entry& entry, const ChannelKey& key) const
{
    return entry.tag == tagOf(key.hash) && channel(entry) == key.channel && app(memory_, entry) == key.app;
}

std::uint32_t Directory::find(const ChannelKey& key) const
{
    std::uint32_t index = memory_.bucket(key.hash);
    while (index != 0 && !matches(memory_.entry(index), key)) {
        index = memory_.entry(index).nextInBucket;
    }
    return index;
}

std::uint32_t Directory::resolve(ChannelRef channel) const
{
    const bool known = channel.index != 0 && channel.index < memory_.plan().entryCount && channel.epoch != 0;
    return known && memory_.entry(channel.index).epoch == channel.epoch ? channel.index : 0;
}

std::uint32_t Directory::findOrAdd(const ChannelKey& key, const Newcomer& newcomer)
{
    if (const std::uint32_t found = find(key); found != 0) {
        return found;
    }
    const std::uint32_t owner = Apps(memory_).findOrAdd(key.app);
    const std::uint32_t index = owner == 0 ? 0 : takeEntry(memory_.app(owner), newcomer);
    if (index == 0) {
        return 0;
    }
    Entry& entry = memory_.entry(index);
    entry.stream = static_cast<std::uint8_t>(streamPlace(key.stream.identity));
    entry.lastOffset = entry.stream != 0 ? header_.streams[entry.stream - 1].floor : 0;
    entry.lastPosition = 0;
    entry.keptPosition = 0;
    entry.usefulUntil = 0;
    entry.told = 0;
    entry.list = Idle::None;
    entry.subscribers = 0;
    entry.firstCell = 0;
    entry.members = 0;
    entry.firstMember = 0;
    entry.tag = tagOf(key.hash);
    entry.app = static_cast<std::uint16_t>(owner);
    entry.channelBytes = static_cast<std::uint8_t>(key.channel.size());
    std::copy(key.channel.begin(), key.channel.end(), entry.name);
    const std::uint64_t epoch = entry.stream != 0 ? key.stream.epoch : epochOf(key);
    step("entry filled");
    entry.epoch = epoch;
    step("entry alive");
    linkBucket(index, key.hash);
    memory_.app(owner).channels.used++;
    ++header_.channels;
    return index;
}

std::uint16_t Directory::streamPlace(std::uint64_t identity) const
{
    for (std::uint16_t i = 0; identity != 0 && i < MaxStreams; ++i) {
        Stream& stream = header_.streams[i];
        if (stream.identity == 0) {
            stream.identity = identity;
        }
        if (stream.identity == identity) {
            return static_cast<std::uint16_t>(i + 1);
        }
    }
    return 0;
}

// Of a life of the channel: all its lives in one era are one, since all but the last were without events.
std::uint64_t Directory::epochOf(const ChannelKey& key) const
{
    const std::uint64_t era = memory_.era(key.hash);
    return std::max<std::uint64_t>(SipHash(header_.keys.epochs).add(key.hash).add(era).finish(), 1);
}

// --- room -----------------------------------------------------------------------------------------------------------

std::uint32_t Directory::takeEntry(AppRow& app, const Newcomer& newcomer)
{
    if (!app.channels.full()) {
        if (const std::uint32_t index = header_.freeEntry; index != 0) {
            header_.freeEntry = memory_.entry(index).nextInBucket;
            return index;
        }
        if (header_.entriesTouched + 1 < memory_.plan().entryCount) {
            return ++header_.entriesTouched;
        }
    }
    const std::uint32_t index = findIdle(app, newcomer);
    if (index == 0) {
        app.refused++;
    } else {
        evict(index);
    }
    return index;
}

// The entry that is given to a new channel of the app. 0: there is none that may be.
std::uint32_t Directory::findIdle(AppRow& app, const Newcomer& newcomer)
{
    IdleEntry best = leastMissed(app, newcomer.nowMs);
    if (!app.channels.full() && (best.index == 0 || best.useful)) {
        best = leastMissedOfOthers(app, newcomer.nowMs, best);
    }
    return best.useful && !newcomer.published ? 0 : best.index;
}

Directory::IdleEntry Directory::leastMissed(AppRow& app, std::int64_t nowMs)
{
    if (app.spare.first != 0) {
        return {app.spare.first, false};
    }
    const LogPosition tail = header_.tail.load(std::memory_order_relaxed);
    std::uint32_t oldest = 0;
    for (int i = 0; i < EvictionLook && app.idle.first != 0; ++i) {
        const std::uint32_t index = app.idle.first;
        const Entry& entry = memory_.entry(index);
        if (entry.lastPosition < tail || std::int64_t{entry.usefulUntil} <= nowMs / 1000) {
            return {index, false};
        }
        if (oldest == 0 || entry.lastPosition < memory_.entry(oldest).lastPosition) {
            oldest = index;
        }
        unlinkIdle(index);
        linkIdle(index, Idle::Useful);
    }
    return {oldest, oldest != 0};
}

// One that nobody misses; else of the app that has most, if that is more than `needy` has; else `own`. Looks at some apps,
// at others the next time.
Directory::IdleEntry Directory::leastMissedOfOthers(const AppRow& needy, std::int64_t nowMs, IdleEntry own)
{
    IdleEntry best = own;
    std::uint32_t most = needy.channels.used;
    int tried = 0;
    for (std::uint32_t i = std::min(header_.appsTouched, AppLook); i > 0 && tried < AppTries; --i) {
        header_.appHand = header_.appHand % header_.appsTouched + 1;
        AppRow& row = memory_.app(header_.appHand);
        if (&row == &needy || (row.spare.first == 0 && row.idle.first == 0)) {
            continue;
        }
        ++tried;
        const IdleEntry found = leastMissed(row, nowMs);
        if (!found.useful) {
            return found;
        }
        if (row.channels.used > most) {
            most = row.channels.used;
            best = found;
        }
    }
    return best;
}

// Ends the life of a channel without subscribers.
void Directory::evict(std::uint32_t index)
{
    const Entry& entry = memory_.entry(index);
    const std::uint64_t hash = hashOf(entry);
    header_.forgottenPosition = std::max(header_.forgottenPosition, entry.lastPosition);
    if (entry.stream == 0) {
        memory_.era(hash) += entry.lastOffset != 0 ? 1 : 0; // should it come back it has another epoch
    } else {
        Stream& stream = header_.streams[entry.stream - 1];
        stream.floor = std::max(stream.floor, entry.lastOffset);
    }
    step("entry forgotten");
    Presence(memory_).forgetAll(index); // users that webhooks have not been told the departure of
    bury(index, hash);
}

void Directory::bury(std::uint32_t index, std::uint64_t hash)
{
    Entry& entry = memory_.entry(index);
    if (entry.list != Idle::None) {
        unlinkIdle(index);
    }
    unlinkBucket(index, hash);
    memory_.appOf(entry).channels.used--;
    --header_.channels;
    step("entry unlinked");
    entry.epoch = 0;
    step("entry dead");
}

void Directory::linkBucket(std::uint32_t index, std::uint64_t hash)
{
    std::uint32_t& bucket = memory_.bucket(hash);
    memory_.entry(index).nextInBucket = bucket;
    step("bucket half linked");
    bucket = index;
}

void Directory::unlinkBucket(std::uint32_t index, std::uint64_t hash)
{
    std::uint32_t* link = &memory_.bucket(hash);
    while (*link != index) {
        link = &memory_.entry(*link).nextInBucket;
    }
    *link = memory_.entry(index).nextInBucket;
}

void Directory::moveToList(std::uint32_t index)
{
    Entry& entry = memory_.entry(index);
    const Idle list = idleListOf(entry);
    if (list == Idle::Gone) {
        bury(index, hashOf(entry));
        entry.nextInBucket = header_.freeEntry;
        header_.freeEntry = index;
        return;
    }
    if (entry.list != Idle::None) {
        unlinkIdle(index);
    }
    linkIdle(index, list);
}

void Directory::linkIdle(std::uint32_t index, Idle list)
{
    Entry& entry = memory_.entry(index);
    IdleList& idle = listOf(memory_.appOf(entry), list);
    entry.list = list;
    entry.idlePrevious = idle.last;
    entry.idleNext = 0;
    (idle.last == 0 ? idle.first : memory_.entry(idle.last).idleNext) = index;
    step("idle half linked");
    idle.last = index;
}

void Directory::unlinkIdle(std::uint32_t index)
{
    Entry& entry = memory_.entry(index);
    IdleList& idle = listOf(memory_.appOf(entry), entry.list);
    (entry.idlePrevious == 0 ? idle.first : memory_.entry(entry.idlePrevious).idleNext) = entry.idleNext;
    step("idle half unlinked");
    (entry.idleNext == 0 ? idle.last : memory_.entry(entry.idleNext).idlePrevious) = entry.idlePrevious;
    entry.list = Idle::None;
}

std::optional<std::uint32_t> Directory::addSubscriber(std::uint32_t entry, std::uint32_t slot,
                                                      std::uint32_t count)
{
    Entry& channel = memory_.entry(entry);
    AppRow& app = memory_.appOf(channel);
    const std::uint32_t index = cells().findOrAdd(channel.firstCell, entry, slot, app.cells);
    if (index == 0) {
        app.refused++;
        return std::nullopt;
    }
    const std::uint32_t before = cells().at(index).count;
    cells().at(index).count += count;
    step("subscriber counted");
    if (channel.subscribers == 0) {
        if (channel.list != Idle::None) {
            unlinkIdle(entry);
        }
        ++header_.subscribedChannels;
    }
    channel.subscribers += count;
    header_.subscribers += count;
    return before;
}

std::optional<std::uint32_t> Directory::moveSubscriber(std::uint32_t entry, std::uint32_t from,
                                                       std::uint32_t slot)
{
    Entry& channel = memory_.entry(entry);
    return cells().move(channel.firstCell, entry, from, slot, memory_.appOf(channel).cells);
}

std::uint32_t Directory::removeSubscriber(std::uint32_t entry, std::uint32_t slot, std::uint32_t count)
{
    const std::uint32_t cell = cells().find(memory_.entry(entry).firstCell, slot);
    if (cell != 0) {
        dropSubscribers(entry, cell, count);
    }
    const std::uint32_t left = memory_.entry(entry).subscribers;
    settle(entry);
    return left;
}

void Directory::dropSubscribers(std::uint32_t index, std::uint32_t cell, std::uint32_t count)
{
    Entry& entry = memory_.entry(index);
    cells().at(cell).count -= count;
    step("subscriber gone");
    entry.subscribers -= count;
    header_.subscribers -= count;
    if (cells().at(cell).count == 0) {
        cells().remove(entry.firstCell, cell, memory_.appOf(entry).cells);
    }
    if (entry.subscribers == 0) {
        --header_.subscribedChannels;
    }
}

void Directory::clearCells(std::uint32_t slot, std::uint32_t from, std::uint32_t count,
                           const std::function<void(std::uint32_t entry)>& vacated)
{
    const std::uint64_t end =
        std::min<std::uint64_t>(std::uint64_t{from} + count, header_.cellsTouched + 1ULL);
    for (std::uint32_t i = from; i < end; ++i) {
        const Cell& cell = cells().at(i);
        if (cell.count != 0 && cell.slot == slot) {
            const std::uint32_t entry = cell.entry;
            dropSubscribers(entry, i, cell.count);
            if (memory_.entry(entry).subscribers == 0) {
                vacated(entry);
            }
            settle(entry);
        }
    }
}

ChannelInfo Directory::info(std::uint32_t entry) const
{
    const Entry& channel = memory_.entry(entry);
    return {{entry, channel.epoch}, channel.lastOffset,  channel.lastPosition,
            channel.keptPosition,   channel.subscribers, channel.members};
}

SubscribeResult Directory::subscribed(std::uint32_t entry, std::uint32_t before) const
{
    const Entry& channel = memory_.entry(entry);
    return {
        {entry, channel.epoch}, channel.lastOffset, channel.lastPosition, channel.subscribers, before == 0};
}

void Directory::rebuild()
{
    header_.freeEntry = 0;
    header_.freeCell = 0;
    header_.channels = 0;
    header_.subscribedChannels = 0;
    header_.subscribers = 0;
    std::memset(&memory_.bucket(0), 0, memory_.plan().bucketCount * sizeof(std::uint32_t));
    Apps(memory_).rebuild();
    step("tables emptied");
    rebuildEntries();
    step("entries rebuilt");
    rebuildCells();
    step("cells rebuilt");
    Presence(memory_).rebuild();
    step("members rebuilt");
    for (std::uint32_t i = 1; i <= header_.entriesTouched; ++i) {
        const Entry& entry = memory_.entry(i);
        if (entry.epoch != 0) {
            settle(i);
        }
    }
}

void Directory::rebuildEntries()
{
    for (std::uint32_t i = 1; i <= header_.entriesTouched; ++i) {
        Entry& entry = memory_.entry(i);
        entry.firstCell = 0;
        entry.subscribers = 0;
        entry.list = Idle::None;
        entry.usefulUntil =
            entry.lastPosition == 0 ? 0 : entry.usefulUntil; // its first record was never published
        if (entry.epoch == 0) {
            entry.nextInBucket = header_.freeEntry;
            header_.freeEntry = i;
            continue;
        }
        linkBucket(i, hashOf(entry));
        memory_.appOf(entry).channels.used++;
        ++header_.channels;
    }
}

void Directory::rebuildCells()
{
    for (std::uint32_t i = 1; i <= header_.cellsTouched; ++i) {
        const Cell& cell = cells().at(i);
        const bool valid = cell.count != 0 && cell.entry != 0 && cell.entry <= header_.entriesTouched &&
                           memory_.entry(cell.entry).epoch != 0 && cell.slot < memory_.plan().slotCount;
        if (!valid) {
            cells().discard(i);
            continue;
        }
        Entry& entry = memory_.entry(cell.entry);
        header_.subscribedChannels += entry.subscribers == 0 ? 1 : 0;
        cells().put(entry.firstCell, i);
        memory_.appOf(entry).cells.used++;
        entry.subscribers += cell.count;
        header_.subscribers += cell.count;
    }
}

} // namespace realtime::sharedlog
