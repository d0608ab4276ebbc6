// The commands of the tool; each has a file of its own.
#pragma once

#include "arguments.hpp"

#include <chrono>
#include <span>

namespace realtime::cli {

struct Command {
    const char* name;
    const char* operands;
    const char* summary;
    const char* text; // more than a line of it
    std::span<const Option> options;
    int (*run)(const Arguments& arguments); // an exit status
};

extern const Command SubCommand, TailCommand, PubCommand, StatsCommand, BenchCommand, ConsumeCommand;

// Has SIGINT or SIGTERM come? Work that lasts ends cleanly then.
bool interrupted();
void sleepUnlessInterrupted(std::chrono::milliseconds time);

} // namespace realtime::cli
