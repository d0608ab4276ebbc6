// A token bucket: so many a second on average, bursts of one second's worth (at least one).
#pragma once

#include "nginx/ngx.hpp"

#include "hub/handover_record.hpp"

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

    // Unused for so long it is as if it had never been used.
    static ngx_msec_t fullAfter(double perSecond)
    {
        return perSecond <= 0 ? 0 : static_cast<ngx_msec_t>(1000 * std::max(perSecond, 1.0) / perSecond) + 1;
    }

    // For another worker to go on with.
    HandoverRecord::Rate save() const
    {
        HandoverRecord::Rate rate;
        if (last_ != 0) {
            rate.milliTokens = static_cast<std::uint64_t>(tokens_ * 1000);
            ngx_msec_t age = std::min<ngx_msec_t>(ngx_current_msec - last_, MaxAge);
            rate.ageMs = static_cast<std::uint32_t>(std::max<ngx_msec_t>(age, 1));
        }
        return rate;
    }
    void restore(const HandoverRecord::Rate& rate)
    {
        if (rate.ageMs != 0) {
            tokens_ = static_cast<double>(rate.milliTokens) / 1000;
            last_ = (ngx_current_msec - rate.ageMs) | 1U;
        }
    }

private:
    static constexpr ngx_msec_t MaxAge = 3'600'000; // any bucket is full by then

    double tokens_ = 0;
    ngx_msec_t last_ = 0;
};

} // namespace realtime
