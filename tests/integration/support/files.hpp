// Files, directories and child processes for tests.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace realtime::testing {

// A directory under /tmp that any user may enter and write; removed with the object.
class TempDir {
public:
    TempDir();
    ~TempDir();
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;

    const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

std::string readFile(const std::filesystem::path& path); // empty if there is none
void writeFile(const std::filesystem::path& path, std::string_view text);
void replaceAll(std::string& text, std::string_view from, std::string_view to);
std::vector<std::string> split(std::string_view text, char separator);
// The number that the text begins with; 0: none.
int toInt(std::string_view text);

// A TCP port of 127.0.0.1 that nobody listens on now.
std::uint16_t freePort();

struct CommandResult {
    int status = -1;    // exit status; 128 + signal if killed
    std::string output; // stdout and stderr together
};

using Environment = std::map<std::string, std::string>;

// Starts a program with its output appended to `log`. Throws if the fork fails; an exec that fails exits with 127.
pid_t spawn(const std::vector<std::string>& command, const std::filesystem::path& log,
            const Environment& environment = {});
// Waits up to `patience`; then kills it and throws.
int waitFor(pid_t pid, std::chrono::milliseconds patience);
// Runs a program to its end, which must come within `patience`.
CommandResult run(const std::vector<std::string>& command, const Environment& environment = {},
                  std::chrono::milliseconds patience = std::chrono::seconds(60));

} // namespace realtime::testing
