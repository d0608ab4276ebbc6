// An event on its way through the broker's thread.
#pragma once

#include "broker/broker.hpp"
#include "broker/link.hpp"

#include <cstdint>

namespace realtime {

struct PendingEvent {
    BrokerEvent event;
    std::uint64_t bytes = 0;     // its cost, as counted against the bounds of memory and spool
    bool counted = true;         // against the bound of memory: false if it was read from the spool
    bool retried = false;        // refused before, now being sent again
    std::int64_t row = 0;        // in the spool, which has it too; 0: only memory has it
    bool refusedRow = false;     // and is marked as refused there
    LinkClock::time_point since; // when the thread got it
};

// Is a completion wanted that the spool is enough for?
inline bool spoolCompletes(const PendingEvent& event)
{
    return event.event.token != 0 && !event.event.needsConfirm;
}

} // namespace realtime
