// The tool `realtime`: which command, its help, and what its end means.
#include "commands.hpp"
#include "errors.hpp"
#include "output.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <curl/curl.h>
#include <string>
#include <system_error>
#include <thread>

namespace realtime::cli {

namespace {

volatile std::sig_atomic_t stopped = 0;

const std::array Commands{&SubCommand,   &TailCommand,  &PubCommand,
                          &StatsCommand, &BenchCommand, &ConsumeCommand};

void printHelp()
{
    std::puts("usage: realtime COMMAND [OPTION...] ...\n");
    for (const Command* command : Commands) {
        std::printf("  %-8s  %s\n", command->name, command->summary);
    }
    std::puts("\nrealtime COMMAND --help tells of a command, realtime(1) of all. Exit status: 0 good, 1 "
              "refused or\n"
              "failed, 2 wrong usage, 3 no connection, 4 timed out (--timeout), 5 messages lost (bench).");
}

void printHelp(const Command& command)
{
    std::printf("usage: realtime %s [OPTION...] %s\n\n%s.\n\n%s\n", command.name, command.operands,
                command.summary, command.text);
    std::size_t width = 0;
    const auto left = [](const Option& option) {
        return "--" + std::string(option.name) +
               (option.value != nullptr ? " " + std::string(option.value) : "");
    };
    for (const Option& option : command.options) {
        width = std::max(width, left(option).size());
    }
    for (const Option& option : command.options) {
        std::printf("  %-*s  %s\n", static_cast<int>(width), left(option).c_str(), option.help);
    }
}

int run(const Command& command, std::span<char*> words)
{
    if (std::any_of(words.begin(), words.end(),
                    [](const char* word) { return std::strcmp(word, "--help") == 0; })) {
        printHelp(command);
        return exit_status::Good;
    }
    try {
        return command.run(Arguments(words, command.options));
    } catch (const UsageError& error) {
        complain(std::string(command.name) + ": " + error.what() + " (try realtime " + command.name +
                 " --help)");
        return exit_status::Usage;
    } catch (const UnreachableError& error) {
        complain(error.what());
        return exit_status::Unreachable;
    } catch (const std::system_error& error) {
        if (error.code() != std::errc::broken_pipe) { // `realtime tail … | head` is no failure
            complain(error.what());
            return exit_status::Refused;
        }
        return exit_status::Good;
    } catch (const std::exception& error) {
        complain(error.what());
        return exit_status::Refused;
    }
}

int start(std::span<char*> words)
{
    if (words.empty() || std::strcmp(words[0], "--help") == 0) {
        printHelp();
        return words.empty() ? exit_status::Usage : exit_status::Good;
    }
    if (std::strcmp(words[0], "--version") == 0) {
        std::puts("realtime " REALTIME_VERSION);
        return exit_status::Good;
    }
    for (const Command* command : Commands) {
        if (std::strcmp(words[0], command->name) == 0) {
            return run(*command, words.subspan(1));
        }
    }
    complain("there is no command \"" + std::string(words[0]) + "\" (try realtime --help)");
    return exit_status::Usage;
}

} // namespace

bool interrupted()
{
    return stopped != 0;
}

void sleepUnlessInterrupted(std::chrono::milliseconds time)
{
    using namespace std::chrono_literals;
    using Clock = std::chrono::steady_clock;
    for (const auto end = Clock::now() + time; !interrupted() && Clock::now() < end;) {
        std::this_thread::sleep_for(50ms);
    }
}

} // namespace realtime::cli

int main(int count, char** words)
{
    std::signal(SIGPIPE, SIG_IGN);
    struct sigaction action {};
    action.sa_handler = [](int) {
        if (realtime::cli::stopped != 0) {
            std::_Exit(130); // asked twice
        }
        realtime::cli::stopped = 1;
    };
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    return realtime::cli::start({words + 1, words + count});
}
