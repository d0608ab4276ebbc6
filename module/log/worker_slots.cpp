// The part of SharedLog that knows workers: who holds a slot, its counters, and the handshake of sleeping and waking.
#include "base/process.hpp"
#include "log/announcing.hpp"
#include "log/directory.hpp"
#include "log/layout.hpp"
#include "log/lock.hpp"
#include "log/presence.hpp"
#include "log/shared_log.hpp"
#include "log/step.hpp"
#include "log/wake.hpp"

#include <algorithm>
#include <string>
#include <vector>

namespace realtime {

using namespace sharedlog;

namespace {

bool heldBy(const Slot& slot, const ProcessIdentity& process)
{
    return slot.inUse.load(std::memory_order_relaxed) != 0 &&
           slot.pid.load(std::memory_order_relaxed) == process.pid &&
           slot.startTime.load(std::memory_order_relaxed) == process.startTime;
}

// Taken before it is added: a crash in between loses what one counter had, instead of counting it twice.
void retireCounters(Memory memory, Slot& slot)
{
    for (std::size_t i = 0; i < SharedLog::SlotCounters; ++i) {
        const std::uint64_t count = slot.counters[i].exchange(0, std::memory_order_relaxed);
        if (i < SharedLog::FirstGauge && count != 0) {
            memory.retired().counters[i].fetch_add(count, std::memory_order_relaxed);
        }
    }
}

// What a worker leaves behind, to be told once its slot is free.
struct Remains {
    struct Name {
        std::string app, channel, userId; // no user: the channel itself
    };
    std::vector<Name> names;

    void add(Memory memory, const Entry& entry, std::string userId)
    {
        names.push_back({std::string(Directory::app(memory, entry)), std::string(Directory::channel(entry)),
                         std::move(userId)});
    }
    void tell(Reaper& reaper) const
    {
        for (const Name& name : names) {
            if (name.userId.empty()) {
                reaper.channelVacated(name.app, name.channel);
            } else {
                reaper.memberGone(name.app, name.channel, name.userId);
            }
        }
    }
};

// Ends the connections that `slot` has of the member. A departure is announced before it is carried out: if this process
// dies in between, it is announced twice rather than never. Without a reaper it waits for announceMembers().
void clearMember(Memory memory, std::uint32_t slot, std::uint32_t member, Reaper* reaper, SlotSet& sleepers,
                 Remains& remains)
{
    Presence presence(memory);
    const Entry& entry = memory.entry(memory.member(member).entry);
    const std::uint32_t count = presence.connections(member, slot);
    if (reaper != nullptr && presence.connections(member) == count) {
        std::string userId = presence.userId(member);
        NewRecord announcement;
        if (presence.announced(member) != Announced::No &&
            reaper->onMemberGone(Directory::app(memory, entry), Directory::channel(entry), userId,
                                 announcement)) {
            Announcing(memory, SharedLog::NoSlot, sleepers).gone(member, announcement);
        }
        remains.add(memory, entry, std::move(userId));
    }
    for (std::uint32_t i = 0; i < count; ++i) {
        presence.disconnect(member, slot);
    }
}

// Gives up what `process` holds in `slot`. False if it does not hold it (any more): another has been here.
class SlotRelease {
public:
    SlotRelease(Memory memory, std::uint32_t index, const ProcessIdentity& process)
        : memory_(memory), slot_(memory.slot(index)), index_(index), process_(process)
    {
    }

    bool run(Reaper* reaper, WakeUp* wakeUp)
    {
        return members(reaper, wakeUp) && subscribers(reaper) && finish(reaper);
    }

private:
    static constexpr std::uint32_t Stretch = 4096; // cells looked at under one lock: some ten microseconds

    bool members(Reaper* reaper, WakeUp* wakeUp)
    {
        for (std::uint32_t from = 1;; from += Stretch) {
            SlotSet sleepers;
            bool more = false;
            {
                const Lock lock(memory_);
                if (!heldBy(slot_, process_)) {
                    return false;
                }
                const std::uint32_t end = std::min(from + Stretch, memory_.header().memberCellsTouched + 1);
                for (std::uint32_t i = from; i < end; ++i) {
                    const Cell& cell = memory_.memberCell(i);
                    if (cell.count != 0 && cell.slot == index_) {
                        clearMember(memory_, index_, cell.entry, reaper, sleepers, remains_);
                    }
                }
                more = end <= memory_.header().memberCellsTouched;
            }
            if (wakeUp != nullptr) {
                sleepers.wake(*wakeUp);
            }
            if (!more) {
                return true;
            }
        }
    }

    bool subscribers(Reaper* reaper)
    {
        Directory directory(memory_);
        for (std::uint32_t from = 1;; from += Stretch) {
            const Lock lock(memory_);
            if (!heldBy(slot_, process_)) {
                return false;
            }
            directory.clearCells(index_, from, Stretch, [&](std::uint32_t entry) {
                if (reaper != nullptr) {
                    remains_.add(memory_, memory_.entry(entry), {});
                }
            });
            if (std::uint64_t{from} + Stretch > memory_.header().cellsTouched) {
                return true;
            }
        }
    }

    bool finish(Reaper* reaper)
    {
        {
            const Lock lock(memory_);
            if (!heldBy(slot_, process_)) {
                return false;
            }
            retireCounters(memory_, slot_);
            step("counters retired");
            slot_.takeoverVersion.store(0, std::memory_order_relaxed);
            slot_.asleep.store(0, std::memory_order_relaxed);
            slot_.inUse.store(0, std::memory_order_release);
        }
        if (reaper != nullptr) {
            remains_.tell(*reaper);
        }
        return true;
    }

    Memory memory_;
    Slot& slot_;
    std::uint32_t index_;
    ProcessIdentity process_;
    Remains remains_;
};

// What was told to be there and is not any more: whoever was to tell of the departure may be dead.
Remains forgottenDepartures(Memory memory)
{
    Remains remains;
    const Lock lock(memory);
    const Presence presence(memory);
    for (std::uint32_t i = 1; i <= memory.header().membersTouched; ++i) {
        const MemberRow& row = memory.member(i);
        if (row.channelEpoch != 0 && row.told != 0 && row.connections == 0) {
            remains.add(memory, memory.entry(row.entry), presence.userId(i));
        }
    }
    for (std::uint32_t i = 1; i <= memory.header().entriesTouched; ++i) {
        const Entry& entry = memory.entry(i);
        if (entry.epoch != 0 && entry.told != 0 && entry.subscribers == 0) {
            remains.add(memory, entry, {});
        }
    }
    return remains;
}

} // namespace

std::uint32_t SharedLog::claimSlot()
{
    reclaimDeadSlots();
    const Memory memory(base_);
    const ProcessIdentity process = currentProcess();
    const Lock lock(memory);
    for (std::uint32_t i = 0; i < memory.plan().slotCount; ++i) {
        Slot& slot = memory.slot(i);
        if (slot.inUse.load(std::memory_order_relaxed) != 0) {
            continue;
        }
        slot.pid.store(process.pid, std::memory_order_relaxed);
        slot.startTime.store(process.startTime, std::memory_order_relaxed);
        slot.takeoverVersion.store(0, std::memory_order_relaxed);
        slot.taken.store(0, std::memory_order_relaxed);
        slot.wakePosition.store(0, std::memory_order_seq_cst);
        slot.asleep.store(
            1, std::memory_order_seq_cst); // a newcomer need not call sleep() before its first wake-up
        step("slot filled");
        slot.inUse.store(1, std::memory_order_release);
        return i;
    }
    return NoSlot;
}

void SharedLog::releaseSlot(std::uint32_t slot)
{
    if (slot < slots()) {
        const Slot& held = Memory(base_).slot(slot);
        SlotRelease(
            Memory(base_), slot,
            {held.pid.load(std::memory_order_relaxed), held.startTime.load(std::memory_order_relaxed)})
            .run(nullptr, nullptr);
    }
}

std::uint32_t SharedLog::reclaimDeadSlots(Reaper* reaper, WakeUp* wakeUp)
{
    const Memory memory(base_);
    std::uint32_t reclaimed = 0;
    for (std::uint32_t i = 0; i < memory.plan().slotCount; ++i) {
        const Slot& slot = memory.slot(i);
        if (slot.inUse.load(std::memory_order_acquire) == 0) {
            continue;
        }
        const ProcessIdentity process{slot.pid.load(std::memory_order_relaxed),
                                      slot.startTime.load(std::memory_order_relaxed)};
        if (process.pid != PeerPid && !isAlive(process) &&
            SlotRelease(memory, i, process).run(reaper, wakeUp)) {
            ++reclaimed;
        }
    }
    if (reclaimed != 0) {
        {
            const Lock lock(memory);
            memory.header().wakeAll = 1; // wake.hpp, 5
        }
        if (reaper != nullptr) {
            forgottenDepartures(memory).tell(*reaper);
        }
    }
    return reclaimed;
}

void SharedLog::releasePeer(std::string_view node, Reaper* reaper, WakeUp& wakeUp)
{
    const std::uint32_t slot = findPeer(node);
    if (slot != NoSlot) {
        const Memory memory(base_);
        SlotRelease(memory, slot, {PeerPid, memory.slot(slot).startTime.load(std::memory_order_relaxed)})
            .run(reaper, &wakeUp);
    }
}

std::span<std::atomic<std::uint64_t>, SharedLog::SlotCounters>
SharedLog::slotCounters(std::uint32_t slot) const
{
    return std::span<std::atomic<std::uint64_t>, SlotCounters>(Memory(base_).slot(slot).counters);
}

std::span<std::atomic<std::uint64_t>, SharedLog::SlotCounters> SharedLog::retiredCounters() const
{
    return std::span<std::atomic<std::uint64_t>, SlotCounters>(Memory(base_).retired().counters);
}

bool SharedLog::slotInUse(std::uint32_t slot) const
{
    return slot < slots() && Memory(base_).slot(slot).inUse.load(std::memory_order_acquire) != 0 &&
           Memory(base_).slot(slot).pid.load(std::memory_order_relaxed) != PeerPid;
}

std::int32_t SharedLog::slotPid(std::uint32_t slot) const
{
    return slotInUse(slot) ? Memory(base_).slot(slot).pid.load(std::memory_order_relaxed) : 0;
}

std::uint32_t SharedLog::firstSlotInUse() const
{
    std::uint32_t slot = 0;
    while (slot < slots() && !slotInUse(slot)) {
        ++slot;
    }
    return slot < slots() ? slot : NoSlot;
}

std::uint32_t SharedLog::slots() const
{
    return Memory(base_).plan().slotCount;
}

void SharedLog::setWakeFd(std::uint32_t slot, int fd)
{
    Memory(base_).slot(slot).wakeFd.store(fd < 0 ? 0 : fd + 1, std::memory_order_release);
}

int SharedLog::wakeFd(std::uint32_t slot) const
{
    return Memory(base_).slot(slot).wakeFd.load(std::memory_order_acquire) - 1;
}

// --- the handshake: the letters are those of wake.hpp ---------------------------------------------------------------

LogPosition SharedLog::awake(std::uint32_t slot)
{
    const Memory memory(base_);
    Slot& self = memory.slot(slot);
    self.asleep.store(0, std::memory_order_seq_cst); // B1
    step("awake");
    if (const LogPosition mark = self.wakePosition.load(std::memory_order_seq_cst); mark != 0) { // B2
        return mark;
    }
    step("awake without a mark");
    const Lock lock(memory);
    const LogPosition mark = self.wakePosition.load(std::memory_order_seq_cst);
    return mark != 0 ? mark : memory.header().head.load(std::memory_order_relaxed);
}

bool SharedLog::sleep(std::uint32_t slot, LogPosition cursor)
{
    const Memory memory(base_);
    Slot& self = memory.slot(slot);
    const LogPosition mark = self.wakePosition.load(std::memory_order_seq_cst);
    step("going to sleep");
    if (mark == 0) {
        self.asleep.store(1, std::memory_order_seq_cst); // N1
        step("asleep");
        if (self.wakePosition.load(std::memory_order_seq_cst) == 0) { // N2
            return true;
        }
        self.asleep.store(0, std::memory_order_seq_cst);
        return false;
    }
    if (mark >= cursor) {
        return false;
    }
    self.wakePosition.store(0, std::memory_order_seq_cst); // M1
    step("mark cleared");
    self.asleep.store(1, std::memory_order_seq_cst); // M2
    step("asleep");
    if (memory.header().head.load(std::memory_order_seq_cst) <= cursor) { // M3
        return true;
    }
    step("not asleep");
    self.wakePosition.store(cursor, std::memory_order_seq_cst);
    self.asleep.store(0, std::memory_order_seq_cst);
    return false;
}

} // namespace realtime
