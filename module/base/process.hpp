// Which process is meant by a pid, and whether it still lives.
#pragma once

#include <cstdint>

namespace realtime {

// A pid alone comes back for another process; with the start time it is unique until reboot.
struct ProcessIdentity {
    std::int32_t pid = 0;
    std::uint64_t startTime = 0; // field 22 of /proc/PID/stat, clock ticks since boot; 0: not known
};

ProcessIdentity currentProcess();
// A zombie counts as dead. Where /proc cannot be read, any process of that pid counts as the one meant.
bool isAlive(const ProcessIdentity& process);

} // namespace realtime
