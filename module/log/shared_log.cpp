// Making a log, publishing, subscribing, and listing. Slots and wake-ups are in worker_slots.cpp, reading is in
// reading.cpp.
#include "log/shared_log.hpp"

#include "base/random.hpp"
#include "log/appender.hpp"
#include "log/directory.hpp"
#include "log/layout.hpp"
#include "log/lock.hpp"
#include "log/ring.hpp"
#include "log/step.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>

namespace realtime {

using namespace sharedlog;

namespace {

// Parts of the zone, in 256ths; what is left is the ring's.
constexpr std::uint64_t DirectoryPart = 60;
constexpr std::uint64_t AppsPart = 2;
constexpr std::uint64_t PresencePart = 16;
constexpr std::array<std::uint64_t, RepeatTables> IdempotencyParts{4, 2, 1};
constexpr std::uint64_t RingShare = 2; // at least half
constexpr std::uint64_t MaxAppRows = 1U << 15U;

constexpr std::uint64_t roundUp(std::uint64_t bytes)
{
    return (bytes + CacheLine - 1) / CacheLine * CacheLine;
}

// As many rows of `each` bytes as make so many 256ths.
std::uint32_t rowsOf(std::uint64_t totalBytes, std::uint64_t part, std::uint64_t each,
                     std::uint64_t most = 1U << 30U)
{
    return static_cast<std::uint32_t>(std::min(totalBytes / 256 * part / each, most));
}

std::uint32_t appRowsOf(std::uint64_t totalBytes)
{
    constexpr std::uint64_t AppBytes = sizeof(AppRow) + 2 * sizeof(std::uint32_t);
    return rowsOf(totalBytes, AppsPart, AppBytes, MaxAppRows);
}

Plan makePlan(std::uint64_t totalBytes, std::uint32_t slotCount)
{
    Plan plan;
    plan.totalBytes = totalBytes;
    plan.slotCount = slotCount;
    plan.slotBytes = sizeof(Slot);

    plan.appCount = appRowsOf(totalBytes);
    plan.appBucketCount = std::bit_ceil(plan.appCount);

    constexpr std::uint64_t EntryBytes =
        sizeof(Entry) + CellsPerOwner * sizeof(Cell) + 4 * sizeof(std::uint32_t); // at most two buckets each
    plan.entryCount = rowsOf(totalBytes, DirectoryPart, EntryBytes);
    plan.cellCount = static_cast<std::uint32_t>(plan.entryCount * CellsPerOwner);
    plan.bucketCount = std::bit_ceil(plan.entryCount);
    std::uint64_t sets = 0;
    for (std::size_t i = 0; i < RepeatTables; ++i) {
        plan.idempotencySets[i] = rowsOf(totalBytes, IdempotencyParts[i], sizeof(IdempotencySet));
        sets += plan.idempotencySets[i];
    }

    constexpr std::uint64_t MemberBytes =
        sizeof(MemberRow) + CellsPerOwner * sizeof(Cell) + BlocksPerMember * sizeof(Block);
    plan.memberCount = rowsOf(totalBytes, PresencePart, MemberBytes);
    plan.memberCellCount = static_cast<std::uint32_t>(plan.memberCount * CellsPerOwner);
    plan.blockCount = static_cast<std::uint32_t>(plan.memberCount * BlocksPerMember);

    plan.slots = roundUp(sizeof(Header));
    plan.apps = plan.slots + (slotCount + 1ULL) * sizeof(Slot);
    plan.appBuckets = roundUp(plan.apps + std::uint64_t{plan.appCount} * sizeof(AppRow));
    plan.buckets = roundUp(plan.appBuckets + std::uint64_t{plan.appBucketCount} * sizeof(std::uint32_t));
    plan.eras = roundUp(plan.buckets + std::uint64_t{plan.bucketCount} * sizeof(std::uint32_t));
    plan.entries = roundUp(plan.eras + std::uint64_t{plan.bucketCount} * sizeof(std::uint32_t));
    plan.cells = roundUp(plan.entries + std::uint64_t{plan.entryCount} * sizeof(Entry));
    plan.members = roundUp(plan.cells + std::uint64_t{plan.cellCount} * sizeof(Cell));
    plan.memberCells = roundUp(plan.members + std::uint64_t{plan.memberCount} * sizeof(MemberRow));
    plan.blocks = roundUp(plan.memberCells + std::uint64_t{plan.memberCellCount} * sizeof(Cell));
    plan.idempotency = roundUp(plan.blocks + std::uint64_t{plan.blockCount} * sizeof(Block));
    plan.ring = roundUp(plan.idempotency + sets * sizeof(IdempotencySet));
    plan.ringBytes = plan.ring < totalBytes ? (totalBytes - plan.ring) & ~std::uint64_t{7} : 0;
    return plan;
}

// See SharedLog::maxDataBytes().
std::size_t dataOf(const Plan& plan)
{
    constexpr std::size_t Others = sizeof(RecordHeader) + SharedLog::MaxOtherBytes;
    const std::uint64_t most = std::min<std::uint64_t>(plan.ringBytes / SharedLog::MaxRecordShare,
                                                       std::numeric_limits<std::uint32_t>::max()) /
                               8 * 8;
    return most > Others ? static_cast<std::size_t>(most - Others) : 0;
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
    header->identity = drawRandom<std::uint64_t>();
    header->cutEpoch = std::max<std::uint64_t>(drawRandom<std::uint64_t>(), 1);
    header->keys = drawRandom<Keys>();
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

std::uint32_t SharedLog::maxApps(std::size_t bytes)
{
    return appRowsOf(bytes) - 1;
}

// --- publish ------------------------------------------------------------------------------------------------------

AppendResult SharedLog::append(const NewRecord& record, std::uint32_t self, WakeUp& wakeUp)
{
    return Appender(Memory(base_)).append(record, self, wakeUp);
}

bool SharedLog::fits(const NewRecord& record) const
{
    return Ring(Memory(base_)).frameBytes(record).has_value();
}

std::optional<AppendResult> SharedLog::appendIfSubscribed(const NewRecord& record, std::uint32_t self,
                                                          WakeUp& wakeUp)
{
    const Memory memory(base_);
    const Directory directory(memory);
    const auto key = directory.key(record.app, record.channel);
    if (!key) {
        return std::nullopt;
    }
    SlotSet sleepers;
    AppendResult result;
    {
        const Lock lock(memory);
        const std::uint32_t entry = directory.find(*key);
        if (entry == 0 || memory.entry(entry).subscribers == 0) {
            return std::nullopt;
        }
        result = Appender(memory).appendLocked(record, entry, self, sleepers);
    }
    sleepers.wake(wakeUp);
    return result;
}

std::size_t SharedLog::maxRecordBytes() const
{
    return Memory(base_).plan().ringBytes / MaxRecordShare;
}

std::size_t SharedLog::maxDataBytes() const
{
    return dataOf(Memory(base_).plan());
}

std::size_t SharedLog::maxDataBytes(std::size_t memoryBytes, std::uint32_t slots)
{
    return memoryBytes < MinimumBytes ? 0 : dataOf(makePlan(memoryBytes, slots));
}

// --- subscribe ----------------------------------------------------------------------------------------------------

std::optional<SubscribeResult> SharedLog::subscribe(std::uint32_t slot, std::string_view app,
                                                    std::string_view channel, const StreamKey& stream,
                                                    std::int64_t nowMs)
{
    const Memory memory(base_);
    Directory directory(memory);
    const auto key = directory.key(app, channel, stream);
    if (!key || slot >= slots()) {
        return std::nullopt;
    }
    const Lock lock(memory);
    const std::uint32_t entry = directory.findOrAdd(*key, {nowMs, false});
    if (entry == 0) {
        return std::nullopt;
    }
    const auto before = directory.addSubscriber(entry, slot);
    if (!before) {
        directory.settle(entry);
        return std::nullopt;
    }
    return directory.subscribed(entry, *before);
}

std::uint32_t SharedLog::unsubscribe(std::uint32_t slot, ChannelRef channel)
{
    const Memory memory(base_);
    Directory directory(memory);
    const Lock lock(memory);
    const std::uint32_t entry = directory.resolve(channel);
    return entry == 0 ? 0 : directory.removeSubscriber(entry, slot);
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

std::optional<SharedLog::NamedChannel> SharedLog::named(ChannelRef channel) const
{
    const Memory memory(base_);
    const Directory directory(memory);
    const Lock lock(memory);
    const std::uint32_t index = directory.resolve(channel);
    if (index == 0) {
        return std::nullopt;
    }
    const Entry& entry = memory.entry(index);
    return NamedChannel{std::string(Directory::app(memory, entry)), std::string(Directory::channel(entry)),
                        directory.info(index)};
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
                    copies.push_back({directory.info(i), std::string(Directory::app(memory, entry)),
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
