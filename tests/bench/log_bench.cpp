// What the shared log costs: nanoseconds for one operation, the best of some runs.
#include "log/shared_log.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace realtime;

namespace {

constexpr std::size_t LogBytes = 64 << 20;
constexpr int Runs = 5;
constexpr int Operations = 200'000;

using Clock = std::chrono::steady_clock;

struct NoWakes final : WakeUp {
    void wake(std::uint32_t) override {}
};

struct All final : Interest {
    bool wants(const ChannelRef&) const override { return true; }
};

struct None final : Interest {
    bool wants(const ChannelRef&) const override { return false; }
};

std::span<std::byte> map()
{
    void* base = mmap(nullptr, LogBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        std::abort();
    }
    return {static_cast<std::byte*>(base), LogBytes};
}

template <class Body> double nanoseconds(int operations, Body body)
{
    double best = 1e18;
    for (int run = 0; run < Runs; ++run) {
        const auto start = Clock::now();
        body();
        best = std::min(best, std::chrono::duration<double, std::nano>(Clock::now() - start).count());
    }
    return best / operations;
}

void report(const char* what, double ns)
{
    std::printf("%-58s %8.0f ns\n", what, ns);
}

void append(SharedLog& log, const std::string& data, const std::string& channel, int times)
{
    NoWakes wakes;
    NewRecord record;
    record.app = "shop";
    record.channel = channel;
    record.event = "created";
    record.contentType = "application/json";
    record.data = data;
    record.timeMs = 1;
    for (int i = 0; i < times; ++i) {
        if (log.append(record, SharedLog::NoSlot, wakes).status != AppendStatus::Appended) {
            std::abort();
        }
    }
}

void benchAppend(SharedLog& log)
{
    for (const int bytes : {16, 128, 1024, 16384}) {
        const std::string data(static_cast<std::size_t>(bytes), 'x');
        const int times = bytes > 1024 ? Operations / 10 : Operations;
        append(log, data, "orders", times); // touches the pages
        const double ns = nanoseconds(times, [&] { append(log, data, "orders", times); });
        report(("append " + std::to_string(bytes) + " bytes").c_str(), ns);
    }
    const std::string data(128, 'x');
    NoWakes wakes;
    int number = 0;
    const double ns = nanoseconds(Operations, [&] {
        for (int i = 0; i < Operations; ++i) {
            const std::string channel = "room." + std::to_string(++number);
            NewRecord record;
            record.app = "shop";
            record.channel = channel;
            record.data = data;
            record.timeMs = 1;
            log.append(record, SharedLog::NoSlot, wakes);
        }
    });
    report("append 128 bytes, each to a new channel, directory full", ns);
}

int readAll(SharedLog& log, const Interest& interest, LogPosition from)
{
    RecordArena arena;
    LogRecord record;
    int read = 0;
    for (LogPosition cursor = from; log.next(cursor, interest, arena, record) == ReadStatus::Record; ++read) {
        arena.clear();
    }
    return read;
}

void benchRead(SharedLog& log)
{
    const LogPosition from = log.head();
    append(log, std::string(128, 'x'), "orders", Operations / 2);
    report("next 128 bytes", nanoseconds(Operations / 2, [&] { readAll(log, All{}, from); }));
    report("next, skipped", nanoseconds(Operations / 2, [&] { readAll(log, None{}, from); }));
    const auto channel = log.find("shop", "orders")->channel;
    report("history of 1000, for each", nanoseconds(1000, [&] { log.history(channel, 0, {}, 1); }));
}

void benchSubscribe(SharedLog& log)
{
    const std::uint32_t slot = log.claimSlot();
    report("subscribe and unsubscribe", nanoseconds(Operations, [&] {
               for (int i = 0; i < Operations; ++i) {
                   log.unsubscribe(slot, log.subscribe(slot, "shop", "orders")->channel);
               }
           }));
    report("the same, a channel that is never published to", nanoseconds(Operations, [&] {
               for (int i = 0; i < Operations; ++i) {
                   log.unsubscribe(slot, log.subscribe(slot, "shop", "silent")->channel);
               }
           }));
    LogPosition cursor = log.head();
    report("append, awake, next, sleep", nanoseconds(Operations, [&] {
               log.subscribe(slot, "shop", "orders");
               const std::string data(128, 'x');
               RecordArena arena;
               LogRecord record;
               for (int i = 0; i < Operations; ++i) {
                   append(log, data, "orders", 1);
                   cursor = std::max(cursor, log.awake(slot));
                   while (log.next(cursor, All{}, arena, record) == ReadStatus::Record) {
                   }
                   arena.clear();
                   log.sleep(slot, cursor);
               }
           }));
    log.releaseSlot(slot);
}

// Wall time for one append while `processes` append at once.
void benchProcesses(std::span<std::byte> memory, int processes)
{
    void* shared = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    auto& ready = *static_cast<std::atomic<int>*>(shared);
    for (int i = 0; i < processes; ++i) {
        if (fork() == 0) {
            SharedLog log = *SharedLog::attach(memory);
            const std::string data(128, 'x');
            ++ready;
            while (ready < processes) {
            }
            append(log, data, "room" + std::to_string(i), Operations);
            _exit(0);
        }
    }
    while (ready < processes) {
    }
    const auto start = Clock::now();
    while (wait(nullptr) > 0) {
    }
    const double ns = std::chrono::duration<double, std::nano>(Clock::now() - start).count();
    report((std::to_string(processes) + " processes append 128 bytes, wall time for one").c_str(),
           ns / Operations / processes);
    munmap(shared, 4096);
}

} // namespace

int main()
{
    const auto memory = map();
    SharedLog log = SharedLog::create(memory, {64});
    benchAppend(log);
    benchRead(log);
    benchSubscribe(log);
    for (const int processes : {1, 2, 4}) {
        benchProcesses(memory, processes);
    }
}
