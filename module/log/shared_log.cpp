// Making a log, publishing, subscribing, and listing. Slots and wake-ups are in worker_slots.cpp, reading is in
// reading.cpp.
#include "log/shared_log.hpp"

#include "log/appender.hpp"
#include "log/directory.hpp"
#include "log/layout.hpp"
#include "log/lock.hpp"
#include "log/ring.hpp"
#include "log/step.hpp"

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
constexpr std::uint64_t PeerShare = 256;
constexpr std::uint64_t CellsPerEntry = 2; // most channels have their subscribers on one or two workers
constexpr std::uint64_t RingShare = 2;     // at least half
constexpr std::uint64_t PresenceShare = 16;
constexpr std::uint64_t BlocksPerMember = 3; // 180 bytes of id and info on average

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
    plan.peerSets =
        static_cast<std::uint32_t>(std::min(totalBytes / PeerShare / sizeof(IdempotencySet), most));

    constexpr std::uint64_t MemberBytes =
        sizeof(MemberRow) + CellsPerEntry * sizeof(Cell) + BlocksPerMember * sizeof(Block);
    plan.memberCount = static_cast<std::uint32_t>(std::min(totalBytes / PresenceShare / MemberBytes, most));
    plan.memberCellCount = static_cast<std::uint32_t>(plan.memberCount * CellsPerEntry);
    plan.blockCount = static_cast<std::uint32_t>(plan.memberCount * BlocksPerMember);

    plan.slots = roundUp(sizeof(Header));
    plan.buckets = plan.slots + (slotCount + 1ULL) * sizeof(Slot);
    plan.entries = roundUp(plan.buckets + std::uint64_t{plan.bucketCount} * sizeof(std::uint32_t));
    plan.cells = roundUp(plan.entries + std::uint64_t{plan.entryCount} * sizeof(Entry));
    plan.members = roundUp(plan.cells + std::uint64_t{plan.cellCount} * sizeof(Cell));
    plan.memberCells = roundUp(plan.members + std::uint64_t{plan.memberCount} * sizeof(MemberRow));
    plan.blocks = roundUp(plan.memberCells + std::uint64_t{plan.memberCellCount} * sizeof(Cell));
    plan.idempotency = roundUp(plan.blocks + std::uint64_t{plan.blockCount} * sizeof(Block));
    plan.ring = roundUp(plan.idempotency +
                        (std::uint64_t{plan.idempotencySets} + plan.peerSets) * sizeof(IdempotencySet));
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

AppendResult SharedLog::append(const NewRecord& record, std::uint32_t self, WakeUp& wakeUp)
{
    return Appender(Memory(base_)).append(record, self, wakeUp);
}

bool SharedLog::fits(const NewRecord& record) const
{
    return Ring(Memory(base_)).frameBytes(record).has_value();
}

std::size_t SharedLog::maxRecordBytes() const
{
    return Memory(base_).plan().ringBytes / MaxRecordShare;
}

// --- subscribe ----------------------------------------------------------------------------------------------------

std::optional<SubscribeResult> SharedLog::subscribe(std::uint32_t slot, std::string_view app,
                                                    std::string_view channel, const StreamKey& stream)
{
    const Memory memory(base_);
    Directory directory(memory);
    const auto key = directory.key(app, channel, stream);
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
    return directory.subscribed(entry, *before);
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
    return NamedChannel{std::string(Directory::app(entry)), std::string(Directory::channel(entry)),
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
