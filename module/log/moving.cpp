// The part of SharedLog that lets one worker take over what another has: who takes, and the counts that move with it.
#include "log/directory.hpp"
#include "log/layout.hpp"
#include "log/lock.hpp"
#include "log/presence.hpp"
#include "log/shared_log.hpp"

namespace realtime {

using namespace sharedlog;

namespace {

bool heldBy(Memory memory, const SlotOwner& owner)
{
    if (owner.slot >= memory.plan().slotCount) {
        return false;
    }
    const Slot& slot = memory.slot(owner.slot);
    return slot.inUse.load(std::memory_order_relaxed) != 0 &&
           slot.pid.load(std::memory_order_relaxed) == owner.pid &&
           slot.startTime.load(std::memory_order_relaxed) == owner.startTime;
}

// Descriptors are kept as their number + 1, so that zeroed memory has none.
int descriptor(const std::atomic<std::int32_t>& word)
{
    return word.load(std::memory_order_relaxed) - 1; // set before the fork that made the reader
}

} // namespace

std::uint64_t SharedLog::nextGeneration()
{
    // Old workers look at it to tell a reload from a quit: they are told to go long after, through the kernel.
    return Memory(base_).header().generation.fetch_add(1, std::memory_order_release) + 1;
}

std::uint64_t SharedLog::generation() const
{
    return Memory(base_).header().generation.load(std::memory_order_acquire);
}

void SharedLog::setHandoverFds(int in, int out)
{
    Header& header = Memory(base_).header();
    header.handoverIn.store(in + 1, std::memory_order_relaxed);
    header.handoverOut.store(out + 1, std::memory_order_relaxed);
}

int SharedLog::handoverIn() const
{
    return descriptor(Memory(base_).header().handoverIn);
}

int SharedLog::handoverOut() const
{
    return descriptor(Memory(base_).header().handoverOut);
}

void SharedLog::offerTakeover(std::uint32_t slot, std::uint64_t generation, std::uint32_t version)
{
    Slot& own = Memory(base_).slot(slot);
    own.generation.store(generation, std::memory_order_relaxed);
    own.takeoverVersion.store(version, std::memory_order_release); // behind the generation it goes with
}

bool SharedLog::hasSuccessor(std::uint64_t generation, std::uint32_t version) const
{
    const Memory memory(base_);
    for (std::uint32_t i = 0; i < memory.plan().slotCount; ++i) {
        const Slot& slot = memory.slot(i);
        if (slot.inUse.load(std::memory_order_acquire) != 0 &&
            slot.takeoverVersion.load(std::memory_order_acquire) == version &&
            slot.generation.load(std::memory_order_relaxed) > generation) {
            return true;
        }
    }
    return false;
}

SlotOwner SharedLog::owner(std::uint32_t slot) const
{
    const Slot& held = Memory(base_).slot(slot);
    return {slot, held.pid.load(std::memory_order_relaxed), held.startTime.load(std::memory_order_relaxed)};
}

void SharedLog::countTaken(const SlotOwner& from)
{
    const Memory memory(base_);
    const Lock lock(memory); // the slot must not become another's in between
    if (heldBy(memory, from)) {
        memory.slot(from.slot).taken.fetch_add(1, std::memory_order_release);
    }
}

std::uint64_t SharedLog::taken(std::uint32_t slot) const
{
    return Memory(base_).slot(slot).taken.load(std::memory_order_acquire);
}

std::optional<SubscribeResult> SharedLog::moveSubscriber(const SlotOwner& from, std::uint32_t slot,
                                                         std::string_view app, std::string_view channel)
{
    const Memory memory(base_);
    Directory directory(memory);
    const auto key = directory.key(app, channel);
    if (!key || slot >= slots()) {
        return std::nullopt;
    }
    const Lock lock(memory);
    const std::uint32_t entry = heldBy(memory, from) ? directory.find(*key) : 0;
    if (entry == 0) {
        return std::nullopt;
    }
    const auto before = directory.moveSubscriber(entry, from.slot, slot);
    if (!before) {
        return std::nullopt;
    }
    return directory.subscribed(entry, *before);
}

bool SharedLog::moveMember(const SlotOwner& from, std::uint32_t slot, ChannelRef channel,
                           std::string_view userId)
{
    const Memory memory(base_);
    const Lock lock(memory);
    const std::uint32_t entry = Directory(memory).resolve(channel);
    if (entry == 0 || slot >= memory.plan().slotCount || !heldBy(memory, from)) {
        return false;
    }
    Presence presence(memory);
    const std::uint32_t member = presence.find(entry, userId);
    return member != 0 && presence.move(member, from.slot, slot);
}

} // namespace realtime
