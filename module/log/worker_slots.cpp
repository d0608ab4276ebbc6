// The part of SharedLog that knows workers: who holds a slot, its counters, and the handshake of sleeping and waking.
#include "log/directory.hpp"
#include "log/layout.hpp"
#include "log/lock.hpp"
#include "log/process.hpp"
#include "log/shared_log.hpp"
#include "log/step.hpp"
#include "log/wake.hpp"

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

// Gives up what `process` holds in `slot`. False if it does not hold it (any more): another has been here.
bool giveUp(Memory memory, std::uint32_t index, const ProcessIdentity& process)
{
    constexpr std::uint32_t Stretch = 4096; // cells looked at under one lock: some ten microseconds
    Slot& slot = memory.slot(index);
    Directory directory(memory);
    for (std::uint32_t from = 1;; from += Stretch) {
        const Lock lock(memory);
        if (!heldBy(slot, process)) {
            return false;
        }
        directory.clearCells(index, from, Stretch);
        if (std::uint64_t{from} + Stretch <= memory.header().cellsTouched) {
            continue;
        }
        retireCounters(memory, slot);
        step("counters retired");
        slot.asleep.store(0, std::memory_order_relaxed);
        slot.inUse.store(0, std::memory_order_release);
        return true;
    }
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
        giveUp(Memory(base_), slot,
               {held.pid.load(std::memory_order_relaxed), held.startTime.load(std::memory_order_relaxed)});
    }
}

std::uint32_t SharedLog::reclaimDeadSlots()
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
        if (!isAlive(process) && giveUp(memory, i, process)) {
            ++reclaimed;
        }
    }
    if (reclaimed != 0) {
        const Lock lock(memory);
        memory.header().wakeAll = 1; // wake.hpp, 5
    }
    return reclaimed;
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
    return slot < slots() && Memory(base_).slot(slot).inUse.load(std::memory_order_acquire) != 0;
}

std::int32_t SharedLog::slotPid(std::uint32_t slot) const
{
    return slotInUse(slot) ? Memory(base_).slot(slot).pid.load(std::memory_order_relaxed) : 0;
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
