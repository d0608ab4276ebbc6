// A token bucket: so many a second on average, bursts of one second's worth (at least one).
#pragma once

#include "nginx/ngx.hpp"

#include <algorithm>

namespace realtime {

class RateLimit {
public:
    // 0: unlimited.
    bool admit(double perSecond)
    {
        if (perSecond <= 0) {
            return true;
        }
        double burst = std::max(perSecond, 1.0);
        if (last_ == 0) {
            tokens_ = burst;
        } else {
            // Negative where last_ was rounded up.
            auto passed = std::max<ngx_msec_int_t>(static_cast<ngx_msec_int_t>(ngx_current_msec - last_), 0);
            double seconds = static_cast<double>(passed) / 1000.0;
            tokens_ = std::min(burst, tokens_ + seconds * perSecond);
        }
        last_ = ngx_current_msec | 1U; // never 0
        if (tokens_ < 1) {
            return false;
        }
        tokens_ -= 1;
        return true;
    }

private:
    double tokens_ = 0;
    ngx_msec_t last_ = 0;
};

} // namespace realtime
