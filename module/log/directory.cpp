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

std::uint16_t tagOf(std::uint64_t hash)
{
    return static_cast<std::uint16_t>(hash >> 48U);
}

} // namespace

std::uint64_t Directory::hash(std::string_view app, std::string_view channel) const
{
    const SipKey secret{mix(header_.seed + 1), mix(header_.seed + 2)};
    return SipHash(secret).add(app.size()).add(app).add(channel).finish();
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
    return entry.tag == tagOf(key.hash) && channel(entry) == key.channel && app(entry) == key.app;
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

std::uint32_t Directory::findOrAdd(const ChannelKey& key)
{
    if (const std::uint32_t found = find(key); found != 0) {
        return found;
    }
    const std::uint32_t index = takeEntry();
    if (index == 0) {
        return 0;
    }
    Entry& entry = memory_.entry(index);
    entry.stream = streamPlace(key.stream.identity);
    entry.lastOffset = entry.stream != 0 ? header_.streams[entry.stream - 1].floor : 0;
    entry.lastPosition = 0;
    entry.keptPosition = 0;
    entry.told = 0;
    entry.subscribers = 0;
    entry.firstCell = 0;
    entry.members = 0;
    entry.firstMember = 0;
    entry.tag = tagOf(key.hash);
    entry.appBytes = static_cast<std::uint8_t>(key.app.size());
    entry.channelBytes = static_cast<std::uint8_t>(key.channel.size());
    std::copy(key.app.begin(), key.app.end(), entry.name);
    std::copy(key.channel.begin(), key.channel.end(), entry.name + key.app.size());
    const std::uint64_t epoch = entry.stream != 0 ? key.stream.epoch : drawEpoch();
    step("entry filled");
    entry.epoch = epoch;
    step("entry alive");
    linkBucket(index, key.hash);
    linkIdle(index);
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

std::uint64_t Directory::drawEpoch()
{
    // The count is moved on before its epoch is used: after a crash in between the epoch is lost, never given twice.
    std::uint64_t epoch = 0;
    while (epoch == 0) {
        epoch = mix(header_.seed + ++header_.epochsDrawn);
    }
    return epoch;
}

std::uint32_t Directory::takeEntry()
{
    if (const std::uint32_t index = header_.freeEntry; index != 0) {
        header_.freeEntry = memory_.entry(index).nextInBucket;
        return index;
    }
    if (header_.entriesTouched + 1 < memory_.plan().entryCount) {
        return ++header_.entriesTouched;
    }
    return evict();
}

std::uint32_t Directory::evict()
{
    const LogPosition tail = header_.tail.load(std::memory_order_relaxed);
    std::uint32_t oldest = 0;
    for (int i = 0; i < EvictionLook && header_.idleFirst != 0; ++i) {
        const std::uint32_t index = header_.idleFirst;
        const LogPosition last = memory_.entry(index).lastPosition;
        if (oldest == 0 || last < memory_.entry(oldest).lastPosition) {
            oldest = index;
        }
        if (last < tail) {
            break;
        }
        unlinkIdle(index);
        linkIdle(index);
    }
    if (oldest == 0) {
        return 0;
    }
    Entry& entry = memory_.entry(oldest);
    header_.forgottenPosition = std::max(header_.forgottenPosition, entry.lastPosition);
    if (entry.stream != 0) {
        Stream& stream = header_.streams[entry.stream - 1];
        stream.floor = std::max(stream.floor, entry.lastOffset);
    }
    step("entry forgotten");
    Presence(memory_).forgetAll(oldest); // users that webhooks have not been told the departure of
    unlinkIdle(oldest);
    unlinkBucket(oldest);
    --header_.channels;
    step("entry unlinked");
    entry.epoch = 0;
    step("entry dead");
    return oldest;
}

void Directory::linkBucket(std::uint32_t index, std::uint64_t hash)
{
    std::uint32_t& bucket = memory_.bucket(hash);
    memory_.entry(index).nextInBucket = bucket;
    step("bucket half linked");
    bucket = index;
}

void Directory::unlinkBucket(std::uint32_t index)
{
    const Entry& entry = memory_.entry(index);
    std::uint32_t* link = &memory_.bucket(hash(app(entry), channel(entry)));
    while (*link != index) {
        link = &memory_.entry(*link).nextInBucket;
    }
    *link = entry.nextInBucket;
}

void Directory::linkIdle(std::uint32_t index)
{
    Entry& entry = memory_.entry(index);
    entry.idlePrevious = header_.idleLast;
    entry.idleNext = 0;
    (header_.idleLast == 0 ? header_.idleFirst : memory_.entry(header_.idleLast).idleNext) = index;
    step("idle half linked");
    header_.idleLast = index;
}

void Directory::unlinkIdle(std::uint32_t index)
{
    const Entry& entry = memory_.entry(index);
    (entry.idlePrevious == 0 ? header_.idleFirst : memory_.entry(entry.idlePrevious).idleNext) =
        entry.idleNext;
    step("idle half unlinked");
    (entry.idleNext == 0 ? header_.idleLast : memory_.entry(entry.idleNext).idlePrevious) =
        entry.idlePrevious;
}

std::optional<std::uint32_t> Directory::addSubscriber(std::uint32_t entry, std::uint32_t slot,
                                                      std::uint32_t count)
{
    Entry& channel = memory_.entry(entry);
    const std::uint32_t index = cells().findOrAdd(channel.firstCell, entry, slot);
    if (index == 0) {
        return std::nullopt;
    }
    const std::uint32_t before = cells().at(index).count;
    cells().at(index).count += count;
    step("subscriber counted");
    if (channel.subscribers == 0) {
        unlinkIdle(entry);
        ++header_.subscribedChannels;
    }
    channel.subscribers += count;
    header_.subscribers += count;
    return before;
}

std::optional<std::uint32_t> Directory::moveSubscriber(std::uint32_t entry, std::uint32_t from,
                                                       std::uint32_t slot)
{
    return cells().move(memory_.entry(entry).firstCell, entry, from, slot);
}

void Directory::removeSubscriber(std::uint32_t entry, std::uint32_t slot, std::uint32_t count)
{
    const std::uint32_t cell = cells().find(memory_.entry(entry).firstCell, slot);
    if (cell != 0) {
        dropSubscribers(entry, cell, count);
    }
}

void Directory::dropSubscribers(std::uint32_t index, std::uint32_t cell, std::uint32_t count)
{
    Entry& entry = memory_.entry(index);
    cells().at(cell).count -= count;
    step("subscriber gone");
    entry.subscribers -= count;
    header_.subscribers -= count;
    if (cells().at(cell).count == 0) {
        cells().remove(entry.firstCell, cell);
    }
    if (entry.subscribers == 0) {
        --header_.subscribedChannels;
        linkIdle(index);
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
    header_.idleFirst = 0;
    header_.idleLast = 0;
    header_.channels = 0;
    header_.subscribedChannels = 0;
    header_.subscribers = 0;
    std::memset(&memory_.bucket(0), 0, memory_.plan().bucketCount * sizeof(std::uint32_t));
    step("tables emptied");
    rebuildEntries();
    step("entries rebuilt");
    rebuildCells();
    step("cells rebuilt");
    Presence(memory_).rebuild();
    step("members rebuilt");
    for (std::uint32_t i = 1; i <= header_.entriesTouched; ++i) {
        const Entry& entry = memory_.entry(i);
        if (entry.epoch != 0 && entry.subscribers == 0) {
            linkIdle(i);
        }
    }
}

void Directory::rebuildEntries()
{
    for (std::uint32_t i = 1; i <= header_.entriesTouched; ++i) {
        Entry& entry = memory_.entry(i);
        entry.firstCell = 0;
        entry.subscribers = 0;
        if (entry.epoch == 0) {
            entry.nextInBucket = header_.freeEntry;
            header_.freeEntry = i;
            continue;
        }
        linkBucket(i, hash(app(entry), channel(entry)));
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
        entry.subscribers += cell.count;
        header_.subscribers += cell.count;
    }
}

} // namespace realtime::sharedlog
