// Who looks at the dashboard: event streams that get the status once a second. The figures are of all workers, so that
// it does not matter to which of them a page is connected; and since they come from here and from no channel, nobody
// else can publish to it.
//
// Thread     the event loop. While nobody looks, nothing runs.
#pragma once

#include "nginx/event_source.hpp"

#include "base/frame.hpp"

#include <string_view>
#include <vector>

namespace realtime {

class Outlet;
class Worker;

class StatusFeed {
public:
    static constexpr ngx_msec_t Interval = 1000;

    explicit StatusFeed(Worker& worker);
    // Enqueues `greeting`, an event `settings`, and the figures of now; more follow until forget().
    void add(Outlet& outlet, std::string_view greeting);
    void forget(Outlet& outlet);

private:
    void onTime();

    Worker& worker_;
    std::vector<Outlet*> outlets_;
    Callback timer_;
};

} // namespace realtime
