// How long poll() and its like are to wait for a point in time.
#pragma once

#include <algorithm>
#include <chrono>

namespace realtime {

// In milliseconds, at most an hour. Rounded up, or the last fraction of a millisecond would be spent spinning.
inline int pollTimeout(std::chrono::steady_clock::time_point now, std::chrono::steady_clock::time_point until)
{
    using namespace std::chrono_literals;
    if (until <= now) { // compared, since time_point::min() - now would overflow
        return 0;
    }
    const auto left = std::min<std::chrono::steady_clock::duration>(until - now, 1h);
    return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(left).count());
}

} // namespace realtime
