// A token bucket: so many a second on average, and bursts, see Rate.
#pragma once

#include "nginx/ngx.hpp"

#include "app/channel_rule.hpp"
#include "hub/handover_record.hpp"

#include <algorithm>

namespace realtime {

class RateLimit {
public:
    // One that counts for `cost`, which may be more than is left: then the next ones wait for longer.
    bool admit(const Rate& rate, double cost = 1)
    {
        if (left(rate) < 1) {
            return false;
        }
        charge(rate, cost);
        return true;
    }
    // One that is not to be refused.
    void charge(const Rate& rate, double cost)
    {
        tokens_ = static_cast<float>(left(rate) - cost);
        usedAt_ = before(0);
    }
    // How many more it admits now; less than 1: none, until it has grown again.
    double left(const Rate& rate) const
    {
        if (usedAt_ == 0 || rate.perSecond <= 0) {
            return burstOf(rate);
        }
        const double seconds = static_cast<double>(age()) / 1000;
        return std::min(burstOf(rate), double{tokens_} + seconds * rate.perSecond);
    }
    bool full(const Rate& rate) const { return left(rate) >= burstOf(rate); }

    // Unused for so long it is as if it had never been used.
    static ngx_msec_t fullAfter(double perSecond)
    {
        return perSecond <= 0 ? 0 : static_cast<ngx_msec_t>(1000 * std::max(perSecond, 1.0) / perSecond) + 1;
    }

    // For another worker to go on with.
    HandoverRecord::Rate save() const
    {
        HandoverRecord::Rate rate;
        if (usedAt_ != 0) {
            rate.milliTokens = static_cast<std::int64_t>(double{tokens_} * 1000);
            rate.ageMs = std::clamp<std::uint32_t>(age(), 1, MaxAge);
        }
        return rate;
    }
    void restore(const HandoverRecord::Rate& rate)
    {
        if (rate.ageMs != 0) {
            tokens_ = static_cast<float>(rate.milliTokens) / 1000;
            usedAt_ = before(rate.ageMs);
        }
    }

private:
    static constexpr std::uint32_t MaxAge = 3'600'000; // any bucket is full by then
    static constexpr double Unlimited = 1e12;

    static double burstOf(const Rate& rate)
    {
        const double second = rate.perSecond <= 0 ? Unlimited : std::max(rate.perSecond, 1.0);
        return rate.burst > 0 ? rate.burst : second;
    }
    // The milliseconds of 49 days, never 0.
    static std::uint32_t before(std::uint32_t ms)
    {
        return std::max<std::uint32_t>(static_cast<std::uint32_t>(ngx_current_msec) - ms, 1);
    }
    std::uint32_t age() const { return before(0) - usedAt_; }

    // Small: each client has some.
    float tokens_ = 0;
    std::uint32_t usedAt_ = 0; // 0: never
};

} // namespace realtime
