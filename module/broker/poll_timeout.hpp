// How long poll() and its like are to wait for a point in time.
#pragma once

#include <algorithm>
#include <chrono>

namespace realtime {

// In milliseconds, at most an hour. Rounded up, or the last fraction of a millisecond would be spent spinning.
inline int pollTimeout(std::chrono::steady_clock::duration left)
{
    using namespace std::chrono_literals;
    using std::chrono::steady_clock;
    const auto bounded = std::clamp<steady_clock::duration>(left, 0ms, 1h);
    return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(bounded).count());
}

} // namespace realtime
