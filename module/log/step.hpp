// Between two stores whose order matters to whoever cleans up after a process that was killed between them.
//
// A kill comes between two instructions, and what was stored before it stays stored; so it is the compiler alone
// that must be kept from moving stores across. (Order as seen by other running processes is the business of the
// lock and of the memory orders of the atomics.)
//
// Tests are compiled with REALTIME_LOG_STEP(name), a call that kills the process, or lets another go first, at one
// of these places.
#pragma once

#include <atomic>

namespace realtime::sharedlog {

inline void step([[maybe_unused]] const char* name)
{
    std::atomic_signal_fence(std::memory_order_seq_cst);
#ifdef REALTIME_LOG_STEP
    REALTIME_LOG_STEP(name);
    std::atomic_signal_fence(std::memory_order_seq_cst);
#endif
}

} // namespace realtime::sharedlog
