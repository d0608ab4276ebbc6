// The benchmarks run, on as little as will do; what they measure then means nothing.
#include "support/files.hpp"

#include "testing.hpp"

namespace {

void run(const std::vector<std::string>& command, std::chrono::seconds patience = std::chrono::seconds(60))
{
    const auto result = realtime::testing::run(command, {}, patience);
    if (result.status != 0) {
        throw std::runtime_error(result.output);
    }
}

void run(const char* scenario)
{
    run(std::vector<std::string>{REALTIME_SERVER_BENCH, "--module", REALTIME_MODULE_PATH, "--quick",
                                 scenario});
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

TEST(reload_runs)
{
    run("reload");
}

TEST(deflate_runs)
{
    run("deflate");
}

TEST(sqlite_runs)
{
    run("sqlite");
}

TEST(what_needs_rabbitmq_runs)
{
    const std::string script = REALTIME_RABBITMQ_SCRIPT;
    run({script, "run", REALTIME_SERVER_BENCH, "--module", REALTIME_MODULE_PATH, "--rabbitmq", script,
         "--quick", "confirms", "spool", "cluster"},
        std::chrono::seconds(150));
}

TEST_MAIN()
