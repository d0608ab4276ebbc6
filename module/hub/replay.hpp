// What a subscriber that is behind has still to read from the log. Private to the hub.
#pragma once

#include "hub/hub.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace realtime {

inline constexpr HistoryLimit UnlimitedHistory{~0U, 0};

struct Replay {
    struct Item {
        LogPosition position = 0;
        Subscription* subscription = nullptr;
        bool history = false; // from before it subscribed: only what is worth repeating
        bool unseen = false;  // it has not been through this worker's hub: control records are new, too
    };
    // Before those, what the log no longer has, from the history source.
    struct Past {
        Subscription* subscription = nullptr;
        std::uint64_t after = 0, until = 0; // offsets
        std::int64_t ageMs = 0;
        bool promised = false; // what is lost is a gap
    };
    std::vector<Past> past;
    std::uint64_t ticket = 0; // the first of them is asked for

    std::vector<Item> items; // each zone's in the order of its log
    std::size_t next = 0;
    // Whatever ordinary channels have up to there was delivered, or is in `items`.
    LogPosition cut = 0;

    static Replay& of(std::unique_ptr<Replay>& replay) // made if need be
    {
        if (replay == nullptr) {
            replay = std::make_unique<Replay>();
        }
        return *replay;
    }

    void add(const std::vector<Item>& more)
    {
        items.erase(items.begin(), items.begin() + static_cast<std::ptrdiff_t>(next));
        next = 0;
        items.insert(items.end(), more.begin(), more.end());
        std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
            return std::pair(a.subscription->channel->log, a.position) <
                   std::pair(b.subscription->channel->log, b.position);
        });
    }
    void forget(const Subscription& subscription) { split(subscription); }
    // Takes out what is for this subscription.
    Replay split(const Subscription& subscription)
    {
        const auto move = [&](auto& from, auto& to) {
            const auto kept = std::stable_partition(
                from.begin(), from.end(), [&](const auto& one) { return one.subscription != &subscription; });
            to.assign(kept, from.end());
            from.erase(kept, from.end());
        };
        add({});
        Replay out;
        move(past, out.past);
        move(items, out.items);
        return out;
    }
};

} // namespace realtime
