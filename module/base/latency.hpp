// Latencies, measured and counted: a clock that all processes of the machine share, and a histogram with buckets on a
// logarithmic scale in words that somebody else owns (a worker's slot of a shared log, or an array).
//
// Thread     one writer a histogram; readers in other processes see any recent value.
// Precision  one microsecond of clock; a bucket is at most 25 % wide, so that a percentile that is interpolated within
//            one is off by a few per cent.
// Cost       add() is some ten instructions and one word.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <span>

namespace realtime {

// Microseconds of CLOCK_MONOTONIC, modulo 2^32 (71 minutes): the difference of two of them is right as long as they are
// less than that apart, in whatever processes of this machine they were taken.
inline std::uint32_t monotonicMicros()
{
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint32_t>(static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 +
                                      static_cast<std::uint64_t>(now.tv_nsec) / 1000);
}

// Bucket 0 is what takes less than 16 µs; then four equal steps for each power of two, up to 8.4 s; the last is all
// beyond.
struct LatencyBuckets {
    static constexpr std::size_t Steps = 4;
    static constexpr unsigned FirstShift = 4; // 2^4 = 16 µs
    static constexpr std::size_t Octaves = 19;
    static constexpr std::size_t Count = 1 + Octaves * Steps + 1;

    static constexpr std::size_t of(std::uint32_t micros)
    {
        if (micros >> FirstShift == 0) {
            return 0;
        }
        auto shift = static_cast<unsigned>(std::bit_width(micros)) - 1;
        if (shift >= FirstShift + Octaves) {
            return Count - 1;
        }
        std::size_t step = (micros >> (shift - 2)) & (Steps - 1);
        return 1 + (shift - FirstShift) * Steps + step;
    }
    // What is in the bucket took less than this; 0 for the last, which has no bound.
    static constexpr std::uint32_t upperMicros(std::size_t bucket)
    {
        if (bucket + 1 >= Count) {
            return 0;
        }
        if (bucket == 0) {
            return 1U << FirstShift;
        }
        std::size_t octave = (bucket - 1) / Steps;
        std::size_t step = (bucket - 1) % Steps;
        return static_cast<std::uint32_t>((Steps + step + 1) << (FirstShift - 2 + octave));
    }
};

// The buckets, and behind them the sum of all latencies in microseconds.
class LatencyHistogram {
public:
    static constexpr std::size_t Words = LatencyBuckets::Count + 1;
    using Span = std::span<std::atomic<std::uint64_t>, Words>;

    explicit LatencyHistogram(Span words) : words_(words) {}

    void add(std::uint32_t micros, std::uint64_t times = 1)
    {
        increase(LatencyBuckets::of(micros), times);
        increase(LatencyBuckets::Count, std::uint64_t{micros} * times);
    }

private:
    // Relaxed: each word is right by itself, and there is one writer.
    void increase(std::size_t word, std::uint64_t by)
    {
        words_[word].store(words_[word].load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
    }
    Span words_;
};

// The latency that `share` (0 to 1) of what is counted does not exceed, in microseconds: interpolated within a bucket;
// the lower bound of the last. 0 if nothing is counted.
std::uint64_t latencyPercentile(std::span<const std::uint64_t, LatencyBuckets::Count> counts, double share);

} // namespace realtime
