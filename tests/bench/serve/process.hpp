// Processes under test: where they run, and what they cost.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <sys/types.h>
#include <vector>

namespace realtime::bench {

// The cores of this process; the servers get the first, the load generator the last.
int serverCore();
int clientCore();
void pinTo(int core); // the calling process
// While it lives, the calling thread, and threads and processes that it starts, run on all cores; then on clientCore().
class Unpinned {
public:
    Unpinned();
    ~Unpinned();
    Unpinned(const Unpinned&) = delete;
    Unpinned& operator=(const Unpinned&) = delete;
};

// CPU time of all threads of `pids`, user and kernel, to the nanosecond.
std::chrono::nanoseconds cpuTime(const std::vector<pid_t>& pids);

std::size_t residentBytes(pid_t pid);
std::vector<pid_t> childrenOf(pid_t pid);

// A server to measure.
class Server {
public:
    Server() = default;
    virtual ~Server() = default;
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    virtual std::string name() const = 0;
    virtual std::uint16_t port() const = 0;
    virtual std::vector<pid_t> workers() const = 0;

    std::chrono::nanoseconds cpu() const { return cpuTime(workers()); }
};

} // namespace realtime::bench
