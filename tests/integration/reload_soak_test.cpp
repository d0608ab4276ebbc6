// Reload after reload: what the master and the workers hold does not grow.
#include "support/crowd.hpp"
#include "support/realtime.hpp"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

// The memory that a process has for itself, in KiB. The pages of the zone are not in it: they fill with events.
std::int64_t ownMemory(pid_t pid)
{
    const std::string text = readFile("/proc/" + std::to_string(pid) + "/status");
    const std::string name = "RssAnon:";
    const std::size_t at = text.find(name);
    expect(at != std::string::npos, "a process that lives");
    return std::stoll(text.substr(at + name.size()));
}

struct Usage {
    std::int64_t master = 0, workers = 0; // KiB; of all workers together
    std::size_t masterFiles = 0, workerFiles = 0;
};

Usage usageOf(const Nginx& nginx)
{
    Usage usage;
    std::tie(usage.masterFiles, usage.workerFiles) = openFiles(nginx);
    usage.master = ownMemory(nginx.master());
    for (const pid_t pid : nginx.workers()) {
        usage.workers += ownMemory(pid);
    }
    return usage;
}

// The least of a few reloads: which worker takes how many connections differs from one to the next.
Usage least(const std::vector<Usage>& all, std::size_t from, std::size_t count)
{
    Usage least = all.at(from);
    for (std::size_t i = from; i < from + count; ++i) {
        least.master = std::min(least.master, all.at(i).master);
        least.workers = std::min(least.workers, all.at(i).workers);
        least.masterFiles = std::min(least.masterFiles, all.at(i).masterFiles);
        least.workerFiles = std::min(least.workerFiles, all.at(i).workerFiles);
    }
    return least;
}

void print(const char* when, const Usage& usage)
{
    std::cout << when << ": master " << usage.master << " KiB, " << usage.masterFiles
              << " descriptors; workers " << usage.workers << " KiB, " << usage.workerFiles
              << " descriptors\n";
}

} // namespace

// REALTIME_SOAK_RELOADS makes it longer.
TEST(many_reloads_leave_memory_and_descriptors_as_they_were)
{
    constexpr int Movers = 60;
    constexpr int Others = 6;         // of each other kind
    constexpr std::size_t WarmUp = 5; // until allocators and tables have the size that they need
    constexpr std::size_t Sample = 5;
    const auto reloads = static_cast<std::size_t>(fromEnvironment("REALTIME_SOAK_RELOADS", 25));
    expect(reloads >= WarmUp + 2 * Sample, "enough reloads to compare");
    auto options = crowded(Movers);
    replaceAll(options.http, "drain 1s", "drain 50ms");
    Nginx nginx(options);
    std::vector<std::unique_ptr<Mover>> movers;
    for (int i = 0; i < Movers; ++i) {
        movers.push_back(std::make_unique<Mover>(nginx, i));
    }
    std::vector<std::unique_ptr<Visitor>> visitors;
    for (int i = 0; i < Others; ++i) {
        visitors.push_back(std::make_unique<Stream>(nginx, i));
        visitors.push_back(std::make_unique<Poll>(nginx, i));
    }
    int number = 0;
    const auto publishNext = [&] { shopPublish(nginx, "private-load", std::to_string(number++)); };
    const auto allHave = [&](int last) {
        for (auto& one : visitors) {
            one->read();
        }
        return std::all_of(visitors.begin(), visitors.end(),
                           [&](const auto& one) { return one->last() == last; });
    };
    allHave(-1);
    publishNext();

    std::vector<Usage> usage;
    for (std::size_t i = 0; i < reloads; ++i) {
        const auto old = nginx.workers();
        kill(nginx.master(), SIGHUP);
        const auto deadline = Clock::now() + 20s;
        while (!std::all_of(old.begin(), old.end(), gone)) {
            expect(Clock::now() < deadline, "the old workers end");
            publishNext();
            allHave(number - 1);
        }
        publishNext();
        eventually([&] { return allHave(number - 1); }, "streams and polls have everything");
        for (auto& one : movers) {
            if (one->reads()) {
                one->readTo(number - 1);
            }
        }
        usage.push_back(usageOf(nginx));
    }
    for (auto& one : movers) {
        one->readTo(number - 1);
    }
    expectEqual(status(nginx, "handover_failed_total"), 0);
    expectEqual(status(nginx, "handed_over_total"),
                static_cast<std::int64_t>(Movers) * static_cast<std::int64_t>(reloads));

    const Usage before = least(usage, WarmUp, Sample);
    const Usage after = least(usage, reloads - Sample, Sample);
    print("before", before);
    print("after", after);
    expectEqual(after.masterFiles, before.masterFiles);
    // A poll that is between two requests has none now and then. One left behind by each reload would be more.
    expect(after.workerFiles <= before.workerFiles + Others, "no descriptor is left behind in workers");
    if (!sanitized()) { // AddressSanitizer keeps what was freed
        expect(after.master <= before.master + 128, "the master's memory does not grow");
        expect(after.workers <= before.workers + 512, "the workers' memory does not grow");
    }
}

TEST(zones_of_another_size_or_name_leave_no_descriptors_behind)
{
    auto options = shop(2);
    replaceAll(options.http, "60s", "50ms");
    Nginx nginx(options);
    const auto change = [&](const std::string& zone) {
        options.zone = zone;
        nginx.rewrite(options);
        reloadAndWait(nginx);
    };
    change("main 9m");
    const auto files = openFiles(nginx);
    // The master closes its end of a worker's channel when it has noticed that the worker is gone.
    const auto masterIsAsBefore = [&] { return openFiles(nginx).first <= files.first; };
    for (const char* zone : {"main 8m", "main 9m", "other 9m", "main 9m", "main 10m"}) {
        change(zone);
        // A connection or two may be on their way, then or now; a zone has 66.
        eventually(masterIsAsBefore, "no descriptor is left behind in the master");
        expect(openFiles(nginx).second <= files.second + 10, "no descriptor is left behind in workers");
    }
    // Those of a zone that stays as it is are there as long as it is.
    RawWebSocket socket(nginx.port(), "/sub/room");
    for (int i = 1; i <= 3; ++i) {
        reloadAndWait(nginx);
        publish(nginx, "room", std::to_string(i));
        expectEqual(next(socket).payload, std::to_string(i));
        expectEqual(status(nginx, "handed_over_total"), i);
        eventually(masterIsAsBefore, "no descriptor is left behind in the master");
    }
}

TEST_MAIN()
