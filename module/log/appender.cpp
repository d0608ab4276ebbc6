#include "log/appender.hpp"

#include "log/lock.hpp"
#include "log/step.hpp"
#include "log/wake.hpp"

#include <algorithm>
#include <limits>

namespace realtime::sharedlog {

namespace {

// Until when, in Unix seconds, who comes may be given the record; 0: nobody may.
std::uint32_t usefulUntil(const NewRecord& record)
{
    constexpr std::int64_t Ever = std::numeric_limits<std::uint32_t>::max();
    constexpr std::uint32_t Passing = record_flag::Transient | record_flag::Control;
    if ((record.flags & Passing) != 0 || record.historyMs < 0) {
        return 0;
    }
    const std::int64_t end = (record.timeMs + record.historyMs) / 1000 + 1;
    return static_cast<std::uint32_t>(record.historyMs == 0 ? Ever : std::clamp<std::int64_t>(end, 1, Ever));
}

} // namespace

AppendResult Appender::append(const NewRecord& record, std::uint32_t self, WakeUp& wakeUp)
{
    AppendResult result;
    const auto bytes = ring_.frameBytes(record);
    const auto key = directory_.key(record.app, record.channel, record.stream);
    if (!bytes || !key) {
        result.status = AppendStatus::TooLarge;
        return result;
    }
    ring_.warm(*bytes);
    const bool once = !record.idempotencyKey.empty();
    const auto digest = once ? idempotency_.digest(record) : IdempotencyTable::Digest{};

    SlotSet sleepers;
    {
        const Lock lock(memory_);
        result = appendOnce(record, *bytes, *key, once ? &digest : nullptr, self, sleepers);
        if (record.publisher < memory_.plan().slotCount) { // it hears of a repeat, too
            collect(record.publisher, ring_.head(), self, sleepers);
        }
    }
    sleepers.wake(wakeUp);
    return result;
}

AppendResult Appender::appendOnce(const NewRecord& record, std::uint32_t bytes, const ChannelKey& key,
                                  const IdempotencyTable::Digest* digest, std::uint32_t self,
                                  SlotSet& sleepers)
{
    AppendResult result;
    result.status = AppendStatus::Repeated;
    if ((record.number && wasConsumed(record)) ||
        (digest != nullptr && wasSeen(record, *digest, key, result))) {
        return result;
    }
    const std::uint32_t entry = directory_.findOrAdd(key, {record.timeMs, true});
    if (entry == 0) {
        result.status = AppendStatus::ChannelsFull;
        return result;
    }
    if (record.number && memory_.entry(entry).lastOffset >= streamOffset(*record.number)) {
        directory_.settle(entry);
        return result; // by one who died before it could count it
    }
    result = publish(record, bytes, entry, digest);
    collectSleepers(entry, result.position, self, sleepers);
    memory_.header().pending = 0;
    directory_.settle(entry);
    return result;
}

bool Appender::wasConsumed(const NewRecord& record) const
{
    const std::uint16_t place = directory_.streamPlace(record.stream.identity);
    return place == 0 || *record.number < memory_.header().streams[place - 1].next;
}

AppendResult Appender::appendLocked(const NewRecord& record, std::uint32_t entry, std::uint32_t self,
                                    SlotSet& sleepers)
{
    const auto bytes = ring_.frameBytes(record);
    if (!bytes) {
        AppendResult result;
        result.status = AppendStatus::TooLarge;
        return result;
    }
    AppendResult result = publish(record, *bytes, entry, nullptr);
    collectSleepers(entry, result.position, self, sleepers);
    memory_.header().pending = 0;
    directory_.settle(entry);
    return result;
}

bool Appender::wasSeen(const NewRecord& record, const IdempotencyTable::Digest& digest, const ChannelKey& key,
                       AppendResult& result) const
{
    const IdempotencyCell* seen = idempotency_.find(digest, record.timeMs);
    if (seen == nullptr) {
        return false;
    }
    result.status = AppendStatus::Repeated;
    result.id = {seen->epoch, seen->offset};
    result.position = seen->position;
    if (const std::uint32_t entry = directory_.find(key); entry != 0) {
        result.channel = {entry, memory_.entry(entry).epoch};
        result.subscribers = memory_.entry(entry).subscribers;
    }
    return true;
}

// What is this node's own in a stream's channel stays below the stream's next event, however much of it there is.
std::uint64_t Appender::nextOffset(const NewRecord& record, const Entry& entry) const
{
    if (record.number) {
        return streamOffset(*record.number);
    }
    const std::uint64_t next = entry.lastOffset + 1;
    return entry.stream != 0 && next % streamOffset(0) == 0 ? entry.lastOffset : next;
}

AppendResult Appender::publish(const NewRecord& record, std::uint32_t bytes, std::uint32_t index,
                               const IdempotencyTable::Digest* digest)
{
    Header& header = memory_.header();
    Entry& entry = memory_.entry(index);
    RecordHeader fixed;
    fixed.bytes = bytes;
    fixed.position = ring_.reserve(bytes);
    fixed.epoch = entry.epoch;
    fixed.offset = nextOffset(record, entry);
    fixed.previous = entry.lastPosition;
    fixed.previousOffset = entry.lastOffset;
    fixed.entry = index;
    fixed.subscribers = entry.subscribers;
    fixed.appendedUs = appendedUs_;
    ring_.write(fixed, record);
    if (digest != nullptr) {
        idempotency_.put(*digest, record.timeMs, {fixed.epoch, fixed.offset}, fixed.position, entry.app);
    }
    entry.usefulUntil = std::max(entry.usefulUntil, usefulUntil(record));
    // From here on a successor can finish the job: see finishPending() in lock.cpp.
    header.pendingRecords = header.appendedRecords + 1;
    header.pending = fixed.position;
    step("pending");
    ring_.publish(fixed.position + bytes);
    step("published");
    entry.lastOffset = fixed.offset;
    step("offset counted");
    entry.lastPosition = fixed.position;
    if ((record.flags & record_flag::Kept) != 0) {
        entry.keptPosition = fixed.position;
    }
    header.appendedRecords = header.pendingRecords;
    step("entered");

    AppendResult result;
    result.channel = {index, fixed.epoch};
    result.id = {fixed.epoch, fixed.offset};
    result.position = fixed.position;
    result.subscribers = entry.subscribers;
    return result;
}

void Appender::collect(std::uint32_t slot, LogPosition position, std::uint32_t self, SlotSet& sleepers)
{
    markForWakeUp(memory_.slot(slot), position);
    step("marked");
    if (slot != self && takeSleeper(memory_.slot(slot))) {
        sleepers.add(slot);
    }
    step("collected");
}

void Appender::collectSleepers(std::uint32_t entry, LogPosition position, std::uint32_t self,
                               SlotSet& sleepers)
{
    for (std::uint32_t cell = memory_.entry(entry).firstCell; cell != 0; cell = memory_.cell(cell).next) {
        collect(memory_.cell(cell).slot, position, self, sleepers);
    }
    Header& header = memory_.header();
    if (header.wakeAll == 0) {
        return;
    }
    header.wakeAll = 0;
    for (std::uint32_t i = 0; i < memory_.plan().slotCount; ++i) {
        Slot& slot = memory_.slot(i);
        if (i != self && slot.inUse.load(std::memory_order_relaxed) != 0) {
            slot.asleep.store(0, std::memory_order_seq_cst);
            sleepers.add(i);
        }
    }
}

} // namespace realtime::sharedlog
