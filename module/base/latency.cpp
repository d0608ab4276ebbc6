#include "base/latency.hpp"

#include <algorithm>
#include <numeric>

namespace realtime {

std::uint64_t latencyPercentile(std::span<const std::uint64_t, LatencyBuckets::Count> counts, double share)
{
    const std::uint64_t all = std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
    if (all == 0) {
        return 0;
    }
    double left = std::clamp(share, 0.0, 1.0) * static_cast<double>(all);
    std::uint64_t lower = 0;
    for (std::size_t i = 0; i + 1 < counts.size(); i++) {
        const std::uint64_t upper = LatencyBuckets::upperMicros(i);
        const auto here = static_cast<double>(counts[i]);
        if (here > 0 && left <= here) {
            return lower + static_cast<std::uint64_t>(static_cast<double>(upper - lower) * (left / here));
        }
        left -= here;
        lower = upper;
    }
    return lower;
}

} // namespace realtime
