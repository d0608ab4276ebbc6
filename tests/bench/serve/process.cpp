#include "serve/process.hpp"

#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <sched.h>
#include <stdexcept>

namespace realtime::bench {

namespace {

std::vector<int> ownCores()
{
    static const std::vector<int> cores = [] { // before anything is pinned
        cpu_set_t set;
        std::vector<int> found;
        if (sched_getaffinity(0, sizeof(set), &set) == 0) {
            for (int core = 0; core < CPU_SETSIZE; core++) {
                if (CPU_ISSET(core, &set)) {
                    found.push_back(core);
                }
            }
        }
        return found.empty() ? std::vector<int>{0} : found;
    }();
    return cores;
}

} // namespace

int serverCore()
{
    return ownCores().front();
}

int clientCore()
{
    return ownCores().back();
}

namespace {

void runOn(const std::vector<int>& cores)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const int core : cores) {
        CPU_SET(core, &set);
    }
    if (sched_setaffinity(0, sizeof(set), &set) == -1) {
        throw std::runtime_error(std::string("sched_setaffinity: ") + std::strerror(errno));
    }
}

} // namespace

void pinTo(int core)
{
    runOn({core});
}

Unpinned::Unpinned()
{
    runOn(ownCores());
}

Unpinned::~Unpinned()
{
    try {
        pinTo(clientCore());
    } catch (const std::exception&) { // what is measured next will be noisier
    }
}

std::chrono::nanoseconds cpuTime(const std::vector<pid_t>& pids)
{
    std::chrono::nanoseconds sum{0};
    for (const pid_t pid : pids) {
        clockid_t clock;
        timespec now;
        if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &now) == -1) {
            throw std::runtime_error("process " + std::to_string(pid) + " has no CPU clock: did it end?");
        }
        sum += std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
    }
    return sum;
}

std::size_t residentBytes(pid_t pid)
{
    std::ifstream file("/proc/" + std::to_string(pid) + "/smaps_rollup");
    std::string word;
    std::size_t kib = 0;
    while (file >> word && word != "Rss:") {
    }
    file >> kib;
    if (kib == 0) {
        throw std::runtime_error("cannot read the memory of process " + std::to_string(pid));
    }
    return kib * 1024;
}

std::vector<pid_t> childrenOf(pid_t pid)
{
    std::ifstream file("/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children");
    return {std::istream_iterator<pid_t>(file), {}};
}

} // namespace realtime::bench
