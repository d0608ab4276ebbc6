// A bounded ring between exactly two threads: one pushes, one pops. Lock-free and wait-free, so neither side can hold
// up the other; memory is taken once, in the constructor.
//
// Thread     push(), full() for the producer only; pop() for the consumer only; empty() for the consumer (a false
//            "empty" is possible while the producer is in the middle of a push: see BrokerShared for how sleeping is
//            made safe).
// Memory     a slot's content happens before the index that publishes it: the producer stores tail_ with release
//            after writing the slot, the consumer loads it with acquire before reading; the same the other way round
//            with head_ for the right to overwrite a slot. Each side keeps a private copy of the other's index and
//            looks at the shared one only when that copy says full or empty, so that the cache lines rarely move.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <utility>
#include <vector>

namespace realtime {

template <class T> class SpscQueue {
public:
    // Holds at least `capacity` items (rounded up to a power of two).
    explicit SpscQueue(std::size_t capacity)
        : slots_(std::bit_ceil(capacity < 2 ? std::size_t{2} : capacity)), mask_(slots_.size() - 1)
    {
    }
    SpscQueue(const SpscQueue&) = delete;
    SpscQueue& operator=(const SpscQueue&) = delete;

    std::size_t capacity() const { return slots_.size(); }

    // False, and `item` untouched, if the ring is full.
    [[nodiscard]] bool push(T&& item)
    {
        const std::size_t tail = producer_.index.load(std::memory_order_relaxed); // our own
        if (tail - producer_.other == slots_.size()) {
            producer_.other = consumer_.index.load(std::memory_order_acquire);
            if (tail - producer_.other == slots_.size()) {
                return false;
            }
        }
        slots_[tail & mask_] = std::move(item);
        producer_.index.store(tail + 1, std::memory_order_release);
        return true;
    }

    // False if the ring is empty.
    [[nodiscard]] bool pop(T& item)
    {
        const std::size_t head = consumer_.index.load(std::memory_order_relaxed); // our own
        if (head == consumer_.other) {
            consumer_.other = producer_.index.load(std::memory_order_acquire);
            if (head == consumer_.other) {
                return false;
            }
        }
        item = std::move(slots_[head & mask_]);
        consumer_.index.store(head + 1, std::memory_order_release);
        return true;
    }

    bool empty() const
    {
        return consumer_.index.load(std::memory_order_relaxed) ==
               producer_.index.load(std::memory_order_acquire);
    }

private:
    // One side's index (counting up for ever; unsigned wrap-around is harmless since the size divides 2^64) and its
    // last sight of the other's. A cache line each, so that the sides do not disturb one another.
    struct alignas(64) Side {
        std::atomic<std::size_t> index{0};
        std::size_t other = 0;
    };

    std::vector<T> slots_;
    const std::size_t mask_;
    Side producer_;
    Side consumer_;
};

} // namespace realtime
