// The buckets of latency histograms, and percentiles from them.
#include "base/latency.hpp"

#include "testing.hpp"

using namespace realtime;

namespace {

struct Words {
    std::array<std::atomic<std::uint64_t>, LatencyHistogram::Words> words{};
    LatencyHistogram histogram{words};

    std::array<std::uint64_t, LatencyBuckets::Count> counts() const
    {
        std::array<std::uint64_t, LatencyBuckets::Count> all{};
        for (std::size_t i = 0; i < all.size(); ++i) {
            all[i] = words[i].load();
        }
        return all;
    }
    std::uint64_t percentile(double share) const { return latencyPercentile(counts(), share); }
};

} // namespace

TEST(each_latency_is_below_the_bound_of_its_bucket_and_not_below_the_one_before)
{
    for (std::uint64_t us = 0; us < std::uint64_t{1} << 32U; us = us < 5000 ? us + 1 : us + us / 97) {
        const auto micros = static_cast<std::uint32_t>(us);
        const std::size_t bucket = LatencyBuckets::of(micros);
        assert_true(bucket < LatencyBuckets::Count);
        if (bucket + 1 < LatencyBuckets::Count) {
            assert_true(micros < LatencyBuckets::upperMicros(bucket));
        }
        if (bucket > 0) {
            assert_true(micros >= LatencyBuckets::upperMicros(bucket - 1));
        }
    }
    assert_int_equal(LatencyBuckets::of(~0U), LatencyBuckets::Count - 1);
}

TEST(no_bucket_is_wider_than_a_quarter_of_where_it_begins)
{
    for (std::size_t i = 1; i + 1 < LatencyBuckets::Count; ++i) {
        const std::uint32_t lower = LatencyBuckets::upperMicros(i - 1);
        const std::uint32_t upper = LatencyBuckets::upperMicros(i);
        assert_true(upper > lower && (upper - lower) * 4 <= lower);
    }
    assert_int_equal(LatencyBuckets::upperMicros(LatencyBuckets::Count - 2), 1U << 23U); // 8.4 s
}

TEST(the_sum_and_the_number_of_all_latencies_are_kept)
{
    Words words;
    words.histogram.add(100);
    words.histogram.add(3000, 5);
    assert_int_equal(words.words[LatencyBuckets::Count].load(), 15100);
    assert_int_equal(words.counts()[LatencyBuckets::of(100)], 1);
    assert_int_equal(words.counts()[LatencyBuckets::of(3000)], 5);
}

TEST(percentiles_are_right_within_some_per_cent)
{
    Words words;
    const std::uint32_t most = 114'687; // the last one of a bucket
    for (std::uint32_t us = 1; us <= most; ++us) {
        words.histogram.add(us);
    }
    for (const double share : {0.01, 0.1, 0.5, 0.9, 0.99, 0.999}) {
        const double exact = share * most;
        const auto told = static_cast<double>(words.percentile(share));
        assert_true(told > exact * 0.95 && told < exact * 1.05);
    }
}

TEST(percentiles_of_nothing_and_of_what_is_beyond_all_bounds_are_defined)
{
    Words words;
    assert_int_equal(words.percentile(0.5), 0);
    words.histogram.add(~0U);
    assert_int_equal(words.percentile(0.5), LatencyBuckets::upperMicros(LatencyBuckets::Count - 2));
}

TEST(the_clock_goes_on)
{
    const std::uint32_t before = monotonicMicros();
    while (monotonicMicros() == before) {
    }
    assert_true(monotonicMicros() - before < 10'000'000);
}

TEST_MAIN()
