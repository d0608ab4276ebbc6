// Who is woken, and why no wake-up is lost.
//
// Each slot has two words. `wakePosition` (the mark): the first record of concern since the worker last fell asleep;
// 0: none. `asleep`: the worker will not look at the log until it is woken. In the order of their stores (all
// sequentially consistent; S is their one total order):
//
//   append (under the mutex)                         sleep(cursor), by the worker
//   A1  head = end of the record                     no mark:     N1  asleep = 1
//   A2  if mark == 0: mark = position (CAS)                       N2  mark != 0?     -> asleep = 0, read on
//   A3  if asleep: asleep = 0, write its eventfd     mark < cursor (all of it was read):
//                                                                 M1  mark = 0
//   awake(), by the worker                                        M2  asleep = 1
//   B1  asleep = 0                                                M3  head > cursor? -> mark = cursor, asleep = 0,
//   B2  mark != 0: it; else: head, under the mutex                                      read on
//                                                    mark >= cursor: read on
//
// 1. No lost wake-up. Let sleep() return true, and a record of concern be unread.
//    By N: A2 comes after N2 in S (else N2 sees a mark: the CAS leaves one behind, whoever made it). So A3 comes
//    after N1 and finds asleep == 1, or another append has found it since, and wakes.
//    By M: A1 comes after M3 (else M3 sees head > cursor, since the unread record ends behind the cursor), so A3
//    comes after M2, as above.
// 2. The mark is no later than the first unread record of concern, so a reader may jump to it (never back). The mark
//    is cleared in M1 only. A record whose A2 found the old mark has its A1 before M1, so it was read already, or M3
//    sees it and puts the mark at the cursor; A2's CAS cannot undo that. After M1 the first A2 sets the mark, and
//    appends come one at a time, so nothing of concern lies between. (A late A2, of a record that was read, sets a
//    mark behind the cursor: one vain wake-up.) While the worker is awake the mark stays: reading on after a pause
//    and calling awake() again is safe.
// 3. Without a mark nothing of concern lies before head, if head is read under the mutex, where no append is between
//    A1 and A2 (a dead one was finished by Lock). So awake() always has a position to jump to, and a worker that
//    slept through a whole turn of the ring does not take what it need not read for a gap.
// 4. The appender's own slot gets its mark (A2) and no write (A3): the worker reads on by itself.
// 5. A process killed between A3 and the write to the eventfd leaves a worker asleep that counts as awake. The next
//    append after its slot is reclaimed, or after its lock is taken over, wakes all; and each worker calls awake()
//    now and then by its clock.
#pragma once

#include "log/layout.hpp"
#include "log/step.hpp"

namespace realtime::sharedlog {

// A2.
inline void markForWakeUp(Slot& slot, LogPosition position)
{
    if (slot.wakePosition.load(std::memory_order_seq_cst) == 0) {
        step("no mark");
        LogPosition none = 0;
        slot.wakePosition.compare_exchange_strong(none, position, std::memory_order_seq_cst);
    }
}

// A3. True: the caller must write to the worker's eventfd.
inline bool takeSleeper(Slot& slot)
{
    if (slot.asleep.load(std::memory_order_seq_cst) == 0) {
        return false;
    }
    step("sleeper");
    return slot.asleep.exchange(0, std::memory_order_seq_cst) != 0;
}

} // namespace realtime::sharedlog
