// The benchmarks run, on as little as will do; what they measure then means nothing.
#include "support/files.hpp"

#include "testing.hpp"

namespace {

void run(const char* scenario)
{
    const auto result = realtime::testing::run(
        {REALTIME_SERVER_BENCH, "--module", REALTIME_MODULE_PATH, "--quick", scenario});
    if (result.status != 0) {
        throw std::runtime_error(result.output);
    }
}

} // namespace

TEST(fan_out_runs)
{
    run("fan-out");
}

TEST(channels_run)
{
    run("channels");
}

TEST(two_workers_lose_double_and_reorder_nothing)
{
    run("workers");
}

TEST(memory_runs)
{
    run("memory");
}

TEST(handshake_runs)
{
    run("handshake");
}

TEST(publish_runs)
{
    run("publish");
}

TEST_MAIN()
