// How long to wait before the next attempt: doubling, with jitter so that the workers of many nodes do not come back in
// step.
#pragma once

#include <algorithm>
#include <chrono>
#include <random>

namespace realtime {

class Backoff {
public:
    Backoff(std::chrono::milliseconds first, std::chrono::milliseconds most)
        : first_(first), most_(most), delay_(first)
    {
    }

    // Between half and all of the current delay, which then doubles.
    std::chrono::milliseconds next()
    {
        const auto delay = delay_;
        delay_ = std::min(delay_ * 2, most_);
        return jitter(delay);
    }

    std::chrono::milliseconds jitter(std::chrono::milliseconds delay)
    {
        std::uniform_int_distribution<std::chrono::milliseconds::rep> spread(delay.count() / 2,
                                                                             delay.count());
        return std::chrono::milliseconds(spread(random_));
    }

    void reset() { delay_ = first_; }

private:
    const std::chrono::milliseconds first_, most_;
    std::chrono::milliseconds delay_;
    std::minstd_rand random_{std::random_device{}()};
};

} // namespace realtime
