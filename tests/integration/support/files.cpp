#include "support/files.hpp"

#include "support/check.hpp"

#include <arpa/inet.h>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace realtime::testing {

TempDir::TempDir()
{
    std::string name = "/tmp/realtime-test.XXXXXX";
    if (mkdtemp(name.data()) == nullptr) {
        throw std::runtime_error(std::string("mkdtemp: ") + std::strerror(errno));
    }
    path_ = name;
    std::filesystem::permissions(path_, std::filesystem::perms::all);
}

TempDir::~TempDir()
{
    std::error_code ignored;
    if (std::getenv("REALTIME_TEST_KEEP") == nullptr) {
        std::filesystem::remove_all(path_, ignored);
    }
}

std::string readFile(const std::filesystem::path& path)
{
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void writeFile(const std::filesystem::path& path, std::string_view text)
{
    std::ofstream file(path, std::ios::binary);
    file << text;
    if (!file.flush()) {
        throw std::runtime_error("cannot write " + path.string());
    }
}

void replaceAll(std::string& text, std::string_view from, std::string_view to)
{
    for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
        text.replace(at, from.size(), to);
    }
}

std::vector<std::string> split(std::string_view text, char separator)
{
    std::vector<std::string> parts;
    std::size_t begin = 0;
    for (std::size_t end = 0; (end = text.find(separator, begin)) != std::string_view::npos;
         begin = end + 1) {
        parts.emplace_back(text.substr(begin, end - begin));
    }
    parts.emplace_back(text.substr(begin));
    return parts;
}

std::uint16_t freePort()
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    const bool bound = fd != -1 && bind(fd, generic, size) == 0 && getsockname(fd, generic, &size) == 0;
    close(fd);
    if (!bound) {
        throw std::runtime_error(std::string("no free port: ") + std::strerror(errno));
    }
    return ntohs(address.sin_port);
}

pid_t spawn(const std::vector<std::string>& command, const std::filesystem::path& log,
            const Environment& environment)
{
    std::vector<char*> arguments;
    arguments.reserve(command.size() + 1);
    for (const auto& argument : command) {
        arguments.push_back(const_cast<char*>(argument.c_str()));
    }
    arguments.push_back(nullptr);

    const pid_t pid = fork();
    if (pid == -1) {
        throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
    }
    if (pid == 0) {
        const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
        const int in = open("/dev/null", O_RDONLY);
        dup2(in, 0);
        dup2(out, 1);
        dup2(out, 2);
        close_range(3, ~0U, 0);
        for (const auto& [name, value] : environment) {
            setenv(name.c_str(), value.c_str(), 1);
        }
        execvp(arguments[0], arguments.data());
        _exit(127);
    }
    return pid;
}

int waitFor(pid_t pid, std::chrono::milliseconds patience)
{
    const auto deadline = Clock::now() + patience;
    int status = 0;
    for (;;) {
        const pid_t got = waitpid(pid, &status, WNOHANG);
        if (got == pid) {
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        if (got == -1 && errno != EINTR) {
            throw std::runtime_error(std::string("waitpid: ") + std::strerror(errno));
        }
        if (Clock::now() > deadline) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            throw std::runtime_error("process " + std::to_string(pid) + " did not end in time");
        }
        std::this_thread::sleep_for(2ms);
    }
}

CommandResult run(const std::vector<std::string>& command, const Environment& environment,
                  std::chrono::milliseconds patience)
{
    const TempDir directory;
    const auto log = directory.path() / "output";
    CommandResult result;
    result.status = waitFor(spawn(command, log, environment), patience);
    result.output = readFile(log);
    return result;
}

int toInt(std::string_view text)
{
    int number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
}

} // namespace realtime::testing
