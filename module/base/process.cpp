#include "base/process.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <optional>
#include <string_view>
#include <unistd.h>

namespace realtime {

namespace {

struct ProcessStat {
    char state = '?';
    std::uint64_t startTime = 0;
};

// proc(5): "pid (name) state ppid ...". The name may hold anything, blanks and parentheses too, so that the fields
// are counted from the last parenthesis.
std::optional<ProcessStat> parseStat(std::string_view text)
{
    const std::size_t name = text.rfind(')');
    if (name == std::string_view::npos || name + 2 >= text.size()) {
        return std::nullopt;
    }
    text.remove_prefix(name + 2);
    ProcessStat stat{text.front()};
    for (int field = 3; field < 22; ++field) {
        const std::size_t blank = text.find(' ');
        if (blank == std::string_view::npos) {
            return std::nullopt;
        }
        text.remove_prefix(blank + 1);
    }
    const auto result = std::from_chars(text.data(), text.data() + text.size(), stat.startTime);
    return result.ec == std::errc{} ? std::optional(stat) : std::nullopt;
}

std::optional<ProcessStat> readStat(std::int32_t pid)
{
    std::array<char, 32> path{};
    std::snprintf(path.data(), path.size(), "/proc/%d/stat", pid);
    const int fd = open(path.data(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return std::nullopt;
    }
    std::array<char, 1024> text{};
    const ssize_t length = read(fd, text.data(), text.size());
    close(fd);
    return length <= 0 ? std::nullopt : parseStat({text.data(), static_cast<std::size_t>(length)});
}

} // namespace

ProcessIdentity currentProcess()
{
    const std::int32_t pid = getpid();
    const auto stat = readStat(pid);
    return {pid, stat ? stat->startTime : 0};
}

bool isAlive(const ProcessIdentity& process)
{
    if (const auto stat = readStat(process.pid)) {
        const bool same = process.startTime == 0 || process.startTime == stat->startTime;
        return same && stat->state != 'Z' && stat->state != 'X';
    }
    return kill(process.pid, 0) == 0 || errno != ESRCH;
}

} // namespace realtime
