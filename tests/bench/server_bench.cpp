// Measures the module inside nginx: `scripts/bench` builds and runs it; docs/performance.md says how it measures.
#include "load/loop.hpp"
#include "report.hpp"
#include "scenario/scenarios.hpp"
#include "serve/process.hpp"

#include "support/files.hpp"

#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <getopt.h>

using namespace realtime::bench;

namespace {

struct Scenario {
    const char* name;
    void (*run)(const Options& options, Report& report);
};

constexpr Scenario Scenarios[] = {
    {"fan-out", fanOut},      {"channels", channels}, {"workers", workers},   {"memory", memory},
    {"handshake", handshake}, {"publish", publish},   {"latency", latency},   {"pusher", pusher},
    {"reload", reload},       {"sqlite", sqlite},     {"confirms", confirms}, {"cluster", cluster},
    {"spool", spool},         {"deflate", deflate},
};

void usage()
{
    std::printf(
        "usage: server_bench --module FILE [--nchan FILE] [--rabbitmq SCRIPT] [--quick] [--json FILE]\n"
        "                    [SCENARIO...]\nscenarios:");
    for (const Scenario& scenario : Scenarios) {
        std::printf(" %s", scenario.name);
    }
    std::printf("\n");
}

bool wanted(const Scenario& scenario, int argc, char** argv)
{
    for (int i = optind; i < argc; i++) {
        if (std::strcmp(argv[i], scenario.name) == 0) {
            return true;
        }
    }
    return optind == argc;
}

bool known(const char* name)
{
    for (const Scenario& scenario : Scenarios) {
        if (std::strcmp(name, scenario.name) == 0) {
            return true;
        }
    }
    return false;
}

// False: usage.
bool parse(int argc, char** argv, Options& options, std::string& json)
{
    constexpr option Long[] = {
        {"module", required_argument, nullptr, 'm'},   {"nchan", required_argument, nullptr, 'n'},
        {"rabbitmq", required_argument, nullptr, 'r'}, {"json", required_argument, nullptr, 'j'},
        {"quick", no_argument, nullptr, 'q'},          {nullptr, 0, nullptr, 0}};
    int letter = 0;
    while ((letter = getopt_long(argc, argv, "", Long, nullptr)) != -1) {
        switch (letter) {
        case 'm':
            options.module = optarg;
            break;
        case 'n':
            options.nchan = optarg;
            break;
        case 'r':
            options.rabbitmq = optarg;
            break;
        case 'j':
            json = optarg;
            break;
        case 'q':
            options.quick = true;
            break;
        default:
            return false;
        }
    }
    for (int i = optind; i < argc; i++) {
        if (!known(argv[i])) {
            return false;
        }
    }
    return !options.module.empty();
}

} // namespace

int main(int argc, char** argv)
{
    Options options;
    std::string json;
    if (!parse(argc, argv, options, json)) {
        usage();
        return 2;
    }
    std::signal(SIGINT, [](int) { Loop::interrupt(); });
    std::signal(SIGTERM, [](int) { Loop::interrupt(); });
    Report report;
    bool failed = false;
    serverCore(); // notes the cores before this process is pinned to one
    pinTo(clientCore());
    for (const Scenario& scenario : Scenarios) {
        if (!wanted(scenario, argc, argv)) {
            continue;
        }
        try {
            scenario.run(options, report);
        } catch (const std::exception& e) {
            std::fprintf(stderr, "server_bench: %s: %s\n", scenario.name, e.what());
            failed = true;
        }
    }
    if (!json.empty()) {
        realtime::testing::writeFile(json, report.json());
    }
    return failed || report.broken() ? 1 : 0;
}
