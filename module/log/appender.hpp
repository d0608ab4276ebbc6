// Appending: one record into the ring, its channel's entry, and the workers that are to be woken for it.
#pragma once

#include "base/latency.hpp"
#include "log/directory.hpp"
#include "log/idempotency.hpp"
#include "log/layout.hpp"
#include "log/ring.hpp"

#include <bit>
#include <cstdint>

namespace realtime::sharedlog {

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

    void wake(WakeUp& wakeUp) const
    {
        forEach([&wakeUp](std::uint32_t slot) { wakeUp.wake(slot); });
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

    // Takes the lock, and wakes whom it must after releasing it.
    AppendResult append(const NewRecord& record, std::uint32_t self, WakeUp& wakeUp);

    // The same to an entry that is there, for who holds the lock; the sleepers are to be woken after its release. A
    // record that is too large for the ring is not appended.
    AppendResult appendLocked(const NewRecord& record, std::uint32_t entry, std::uint32_t self,
                              SlotSet& sleepers);

    // Under the lock: what became of the event with this idempotency key; false: nothing that is known.
    bool wasSeen(const NewRecord& record, const IdempotencyTable::Digest& digest, const ChannelKey& key,
                 AppendResult& result) const;

private:
    bool wasConsumed(const NewRecord& record) const;
    AppendResult appendOnce(const NewRecord& record, std::uint32_t bytes, const ChannelKey& key,
                            const IdempotencyTable::Digest* digest, std::uint32_t self, SlotSet& sleepers);
    AppendResult publish(const NewRecord& record, std::uint32_t bytes, std::uint32_t index,
                         const IdempotencyTable::Digest* digest);
    std::uint64_t nextOffset(const NewRecord& record, const Entry& entry) const;
    void collect(std::uint32_t slot, LogPosition position, std::uint32_t self, SlotSet& sleepers);
    void collectSleepers(std::uint32_t entry, LogPosition position, std::uint32_t self, SlotSet& sleepers);

    Memory memory_;
    Directory directory_;
    Ring ring_;
    IdempotencyTable idempotency_;
    // One reading of the clock an append, before the lock is taken.
    const std::uint32_t appendedUs_ = monotonicMicros();
};

} // namespace realtime::sharedlog
