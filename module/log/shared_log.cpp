// Making a log, publishing, subscribing, and listing. Slots and wake-ups are in worker_slots.cpp, reading is in
// reading.cpp.
#include "log/shared_log.hpp"

#include "log/directory.hpp"
#include "log/idempotency.hpp"
#include "log/layout.hpp"
#include "log/lock.hpp"
#include "log/ring.hpp"
#include "log/step.hpp"
#include "log/wake.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

namespace realtime {

using namespace sharedlog;

namespace {

constexpr std::uint64_t DirectoryShare = 4; // a quarter of the zone
constexpr std::uint64_t IdempotencyShare = 64;
constexpr std::uint64_t CellsPerEntry = 2; // most channels have their subscribers on one or two workers
constexpr std::uint64_t RingShare = 2;     // at least half

constexpr std::uint64_t roundUp(std::uint64_t bytes)
{
    return (bytes + CacheLine - 1) / CacheLine * CacheLine;
}

Plan makePlan(std::uint64_t totalBytes, std::uint32_t slotCount)
{
    Plan plan;
    plan.totalBytes = totalBytes;
    plan.slotCount = slotCount;
    plan.slotBytes = sizeof(Slot);

    constexpr std::uint64_t EntryBytes =
        sizeof(Entry) + CellsPerEntry * sizeof(Cell) + 2 * sizeof(std::uint32_t); // at most two buckets each
    const std::uint64_t most = 1U << 30U;
    plan.entryCount = static_cast<std::uint32_t>(std::min(totalBytes / DirectoryShare / EntryBytes, most));
    plan.cellCount = static_cast<std::uint32_t>(plan.entryCount * CellsPerEntry);
    plan.bucketCount = std::bit_ceil(plan.entryCount);
    plan.idempotencySets =
        static_cast<std::uint32_t>(std::min(totalBytes / IdempotencyShare / sizeof(IdempotencySet), most));

    plan.slots = roundUp(sizeof(Header));
    plan.buckets = plan.slots + (slotCount + 1ULL) * sizeof(Slot);
    plan.entries = roundUp(plan.buckets + std::uint64_t{plan.bucketCount} * sizeof(std::uint32_t));
    plan.cells = roundUp(plan.entries + std::uint64_t{plan.entryCount} * sizeof(Entry));
    plan.idempotency = roundUp(plan.cells + std::uint64_t{plan.cellCount} * sizeof(Cell));
    plan.ring = roundUp(plan.idempotency + std::uint64_t{plan.idempotencySets} * sizeof(IdempotencySet));
    plan.ringBytes = plan.ring < totalBytes ? (totalBytes - plan.ring) & ~std::uint64_t{7} : 0;
    return plan;
}

// Pages of a fresh mapping are zero already; not writing to them leaves them unallocated until they are needed.
void zero(std::byte* from, std::size_t bytes)
{
    constexpr std::size_t Piece = 4096;
    static constexpr std::byte Zeros[Piece] = {};
    for (std::size_t done = 0; done < bytes; done += Piece) {
        const std::size_t piece = std::min(Piece, bytes - done);
        if (std::memcmp(from + done, Zeros, piece) != 0) {
            std::memset(from + done, 0, piece);
        }
    }
}

} // namespace

SharedLog SharedLog::create(std::span<std::byte> memory, const Options& options)
{
    if (memory.size() < MinimumBytes) {
        throw std::runtime_error("shared log: " + std::to_string(memory.size()) +
                                 " bytes are too few, at least " + std::to_string(MinimumBytes) +
                                 " are needed");
    }
    if (options.slots == 0 || options.slots > MaxSlots) {
        throw std::runtime_error("shared log: " + std::to_string(options.slots) + " worker slots, not 1 to " +
                                 std::to_string(MaxSlots));
    }
    const Plan plan = makePlan(memory.size(), options.slots);
    if (plan.ringBytes < memory.size() / RingShare) {
        throw std::runtime_error("shared log: " + std::to_string(options.slots) +
                                 " worker slots leave too little of " + std::to_string(memory.size()) +
                                 " bytes");
    }

    zero(memory.data(), plan.ring);
    auto* header = new (memory.data()) Header();
    header->layoutVersion = LogLayoutVersion;
    header->headerBytes = sizeof(Header);
    header->seed = options.seed;
    header->plan = plan;
    initialiseMutex(header->mutex);
    header->head.store(FirstPosition, std::memory_order_relaxed);
    header->tail.store(FirstPosition, std::memory_order_relaxed);
    step("laid out");
    header->magic = Magic;
    return SharedLog(memory.data());
}

std::optional<SharedLog> SharedLog::attach(std::span<std::byte> memory)
{
    if (memory.size() < MinimumBytes) {
        return std::nullopt;
    }
    const Header& header = Memory(memory.data()).header();
    if (header.magic != Magic || header.layoutVersion != LogLayoutVersion ||
        header.headerBytes != sizeof(Header) || header.plan.slotCount > MaxSlots ||
        header.plan != makePlan(memory.size(), header.plan.slotCount)) {
        return std::nullopt;
    }
    return SharedLog(memory.data());
}

// --- publish ------------------------------------------------------------------------------------------------------

namespace {

// Worker slots as bits.
class SlotSet {
public:
    void add(std::uint32_t slot) { words_[slot / 64] |= std::uint64_t{1} << slot % 64; }

    template <class Visit> void forEach(Visit visit) const
    {
        for (std::uint32_t i = 0; i < Words; ++i) {
            for (std::uint64_t rest = words_[i]; rest != 0; rest &= rest - 1) {
                visit(i * 64 + static_cast<std::uint32_t>(std::countr_zero(rest)));
            }
        }
    }

private:
    static constexpr std::uint32_t Words = SharedLog::MaxSlots / 64;
    std::uint64_t words_[Words] = {};
};

class Appender {
public:
    explicit Appender(Memory memory)
        : memory_(memory), directory_(memory), ring_(memory), idempotency_(memory)
    {
    }

    AppendResult append(const NewRecord& record, std::uint32_t self, WakeUp& wakeUp)
    {
        AppendResult result;
        const auto bytes = ring_.frameBytes(record);
        const auto key = directory_.key(record.app, record.channel);
        if (!bytes || !key) {
            result.status = AppendStatus::TooLarge;
            return result;
        }
        const bool once = !record.idempotencyKey.empty();
        const auto digest = once ? idempotency_.digest(record) : IdempotencyTable::Digest{};

        SlotSet sleepers;
        {
            const Lock lock(memory_);
            if (once && wasSeen(record, digest, *key, result)) {
                return result;
            }
            const std::uint32_t entry = directory_.findOrAdd(*key);
            if (entry == 0) {
                result.status = AppendStatus::ChannelsFull;
                return result;
            }
            result = publish(record, *bytes, entry, once ? &digest : nullptr);
            collectSleepers(entry, result.position, self, sleepers);
            memory_.header().pending = 0;
        }
        sleepers.forEach([&wakeUp](std::uint32_t slot) { wakeUp.wake(slot); });
        return result;
    }

private:
    bool wasSeen(const NewRecord& record, const IdempotencyTable::Digest& digest, const ChannelKey& key,
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

    AppendResult publish(const NewRecord& record, std::uint32_t bytes, std::uint32_t index,
                         const IdempotencyTable::Digest* digest)
    {
        Header& header = memory_.header();
        Entry& entry = memory_.entry(index);
        RecordHeader fixed;
        fixed.bytes = bytes;
        fixed.position = ring_.reserve(bytes);
        fixed.epoch = entry.epoch;
        fixed.offset = entry.lastOffset + 1;
        fixed.previous = entry.lastPosition;
        fixed.entry = index;
        ring_.write(fixed, record);
        if (digest != nullptr) {
            idempotency_.put(*digest, record.timeMs, {fixed.epoch, fixed.offset}, fixed.position);
        }
        // From here on a successor can finish the job: see finishPending() in lock.cpp.
        header.pendingRecords = header.appendedRecords + 1;
        header.pending = fixed.position;
        step("pending");
        ring_.publish(fixed.position + bytes);
        step("published");
        entry.lastOffset = fixed.offset;
        step("offset counted");
        entry.lastPosition = fixed.position;
        header.appendedRecords = header.pendingRecords;
        step("entered");

        AppendResult result;
        result.channel = {index, fixed.epoch};
        result.id = {fixed.epoch, fixed.offset};
        result.position = fixed.position;
        result.subscribers = entry.subscribers;
        return result;
    }

    void collectSleepers(std::uint32_t entry, LogPosition position, std::uint32_t self, SlotSet& sleepers)
    {
        const auto concern = [&](std::uint32_t slot) {
            markForWakeUp(memory_.slot(slot), position);
            step("marked");
            if (slot != self && takeSleeper(memory_.slot(slot))) {
                sleepers.add(slot);
            }
            step("collected");
        };
        for (std::uint32_t cell = memory_.entry(entry).firstCell; cell != 0; cell = memory_.cell(cell).next) {
            concern(memory_.cell(cell).slot);
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

    Memory memory_;
    Directory directory_;
    Ring ring_;
    IdempotencyTable idempotency_;
};

} // namespace

AppendResult SharedLog::append(const NewRecord& record, std::uint32_t self, WakeUp& wakeUp)
{
    return Appender(Memory(base_)).append(record, self, wakeUp);
}

std::size_t SharedLog::maxRecordBytes() const
{
    return Memory(base_).plan().ringBytes / MaxRecordShare;
}

// --- subscribe ----------------------------------------------------------------------------------------------------

std::optional<SubscribeResult> SharedLog::subscribe(std::uint32_t slot, std::string_view app,
                                                    std::string_view channel)
{
    const Memory memory(base_);
    Directory directory(memory);
    const auto key = directory.key(app, channel);
    if (!key || slot >= slots()) {
        return std::nullopt;
    }
    const Lock lock(memory);
    const std::uint32_t entry = directory.findOrAdd(*key);
    if (entry == 0) {
        return std::nullopt;
    }
    const auto before = directory.addSubscriber(entry, slot);
    if (!before) {
        return std::nullopt;
    }
    const ChannelInfo info = directory.info(entry);
    return SubscribeResult{info.channel, info.lastOffset, info.lastPosition, info.subscribers, *before == 0};
}

std::uint32_t SharedLog::unsubscribe(std::uint32_t slot, ChannelRef channel)
{
    const Memory memory(base_);
    Directory directory(memory);
    const Lock lock(memory);
    const std::uint32_t entry = directory.resolve(channel);
    if (entry == 0) {
        return 0;
    }
    directory.removeSubscriber(entry, slot);
    return memory.entry(entry).subscribers;
}

std::optional<ChannelInfo> SharedLog::find(std::string_view app, std::string_view channel) const
{
    const Memory memory(base_);
    const Directory directory(memory);
    const auto key = directory.key(app, channel);
    if (!key) {
        return std::nullopt;
    }
    const Lock lock(memory);
    const std::uint32_t entry = directory.find(*key);
    return entry == 0 ? std::nullopt : std::optional(directory.info(entry));
}

std::optional<ChannelInfo> SharedLog::info(ChannelRef channel) const
{
    const Memory memory(base_);
    const Directory directory(memory);
    const Lock lock(memory);
    const std::uint32_t entry = directory.resolve(channel);
    return entry == 0 ? std::nullopt : std::optional(directory.info(entry));
}

// --- listings -----------------------------------------------------------------------------------------------------

void SharedLog::forEachChannel(ChannelVisitor& visitor) const
{
    constexpr std::uint32_t Stretch = 64; // entries looked at under one lock
    struct Copy {
        ChannelInfo info;
        std::string app, channel;
    };
    const Memory memory(base_);
    const Directory directory(memory);
    std::vector<Copy> copies;
    copies.reserve(Stretch);
    for (std::uint32_t from = 1; from < memory.plan().entryCount; from += Stretch) {
        copies.clear();
        {
            const Lock lock(memory);
            if (from > memory.header().entriesTouched) {
                return;
            }
            const std::uint32_t end = std::min(from + Stretch, memory.header().entriesTouched + 1);
            for (std::uint32_t i = from; i < end; ++i) {
                const Entry& entry = memory.entry(i);
                if (entry.epoch != 0) {
                    copies.push_back({directory.info(i), std::string(Directory::app(entry)),
                                      std::string(Directory::channel(entry))});
                }
            }
        }
        for (const Copy& copy : copies) {
            if (!visitor.visit({copy.app, copy.channel, copy.info})) {
                return;
            }
        }
    }
}

} // namespace realtime
