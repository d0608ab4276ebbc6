#include "support/nginx.hpp"

#include "support/check.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <thread>
#include <utility>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace realtime::testing {
namespace {

std::string environmentOr(const char* name, const char* otherwise)
{
    const char* value = std::getenv(name);
    return value == nullptr || *value == '\0' ? otherwise : value;
}

std::vector<pid_t> childrenOf(pid_t pid)
{
    std::ifstream file("/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children");
    return {std::istream_iterator<pid_t>(file), {}};
}

bool isShuttingDown(pid_t pid)
{
    return readFile("/proc/" + std::to_string(pid) + "/cmdline").find("shutting down") != std::string::npos;
}

// Column 10 of /proc/net/tcp: the inode of the socket that has `local` here and `remote` there.
std::string socketInode(std::uint16_t local, std::uint16_t remote)
{
    char localHex[16], remoteHex[16];
    std::snprintf(localHex, sizeof(localHex), ":%04X", local);
    std::snprintf(remoteHex, sizeof(remoteHex), ":%04X", remote);
    std::ifstream file("/proc/net/tcp");
    std::string line;
    while (std::getline(file, line)) {
        std::istringstream words(line);
        const std::vector<std::string> word{std::istream_iterator<std::string>(words), {}};
        if (word.size() > 9 && word[1].ends_with(localHex) && word[2].ends_with(remoteHex)) {
            return word[9];
        }
    }
    return {};
}

bool holdsSocket(pid_t pid, const std::string& inode)
{
    std::error_code error;
    const std::string wanted = "socket:[" + inode + "]";
    for (const auto& entry :
         std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd", error)) {
        if (std::filesystem::read_symlink(entry.path(), error).string() == wanted) {
            return true;
        }
    }
    return false;
}

void makeCertificate(const std::filesystem::path& directory)
{
    const auto made =
        run({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", directory / "key.pem", "-out", directory / "cert.pem"});
    expectEqual(made.status, 0);
    std::filesystem::permissions(directory / "key.pem", std::filesystem::perms(0644));
}

void fillIn(std::string& text, const std::filesystem::path& directory, std::uint16_t port,
            std::uint16_t tlsPort, std::uint16_t http2Port)
{
    replaceAll(text, "%DIR%", directory.string());
    replaceAll(text, "%MODULE%", modulePath());
    replaceAll(text, "%PORT%", std::to_string(port));
    replaceAll(text, "%TLS_PORT%", std::to_string(tlsPort));
    replaceAll(text, "%H2_PORT%", std::to_string(http2Port));
}

std::string listenLines(const NginxOptions& options)
{
    const std::string parameters = (options.reuseport ? " reuseport" : "") +
                                   (options.listen.empty() ? std::string() : " " + options.listen) + ";\n";
    std::string lines = "listen 127.0.0.1:%PORT%" + parameters;
    if (options.http2) {
        lines += "listen 127.0.0.1:%H2_PORT% http2" + parameters;
    }
    if (options.tls) {
        lines += "listen 127.0.0.1:%TLS_PORT% ssl http2" + parameters +
                 "ssl_certificate %DIR%/cert.pem;\nssl_certificate_key %DIR%/key.pem;\n";
    }
    return lines;
}

// The lines before the caller's text are few and fixed, so that tests can tell the line of a mistake.
std::string template_(const NginxOptions& options)
{
    if (!options.whole.empty()) {
        return options.whole;
    }
    // `env` hands the sanitizers' options on to a new binary (SIGUSR2).
    std::string text =
        "load_module %MODULE%; env ASAN_OPTIONS; env UBSAN_OPTIONS;\n"
        "user " +
        options.user +
        ";\n"
        "master_process " +
        (options.master ? "on" : "off") +
        ";\n"
        "worker_processes " +
        std::to_string(options.workers) +
        ";\n"
        "pid %DIR%/nginx.pid;\n"
        "error_log %DIR%/error.log info;\n" +
        options.main +
        "\n"
        "events { worker_connections " +
        std::to_string(options.connections) +
        "; }\n"
        "http {\n"
        "access_log %DIR%/access.log;\n"
        "client_body_temp_path %DIR%/body;\nproxy_temp_path %DIR%/proxy;\n"
        "fastcgi_temp_path %DIR%/fastcgi;\nscgi_temp_path %DIR%/scgi;\nuwsgi_temp_path %DIR%/uwsgi;\n";
    if (!options.zone.empty()) {
        text += "realtime_zone " + options.zone + ";\n";
    }
    return text + options.http + "\nserver {\n" + listenLines(options) + options.server + "\n}\n}\n";
}

std::vector<std::string> nginxCommand(const std::filesystem::path& directory)
{
    return {nginxPath(), "-p", directory, "-e", directory / "error.log", "-c", directory / "nginx.conf"};
}

} // namespace

std::string modulePath()
{
    return environmentOr("REALTIME_TEST_MODULE", REALTIME_MODULE_PATH);
}

std::string nginxPath()
{
    return environmentOr("REALTIME_TEST_NGINX", "/usr/sbin/nginx");
}

bool sanitized()
{
    return run({nginxPath(), "-V"}, sanitizerOptions()).output.find("-fsanitize") != std::string::npos;
}

Environment sanitizerOptions()
{
    return {{"ASAN_OPTIONS", "detect_leaks=0:exitcode=99:verify_asan_link_order=0"},
            {"UBSAN_OPTIONS", "print_stacktrace=1"}};
}

std::string sanitizerReport(const std::string& text)
{
    for (const char* beginning : {"ERROR: AddressSanitizer", "runtime error:", "Sanitizer CHECK failed"}) {
        if (const auto at = text.find(beginning); at != std::string::npos) {
            const auto line = text.rfind('\n', at);
            return text.substr(line == std::string::npos ? 0 : line + 1, 8000);
        }
    }
    return {};
}

CommandResult testConfiguration(const NginxOptions& options)
{
    const TempDir directory;
    std::string text = template_(options);
    fillIn(text, directory.path(), freePort(), freePort(), freePort());
    writeFile(directory.path() / "nginx.conf", text);
    auto command = nginxCommand(directory.path());
    command.emplace_back("-t");
    CommandResult result = run(command, sanitizerOptions());
    // Once the configuration has been read, messages go to its own error log.
    result.output += readFile(directory.path() / "error.log");
    expectEqual(sanitizerReport(result.output), "");
    return result;
}

Nginx::Nginx(NginxOptions options)
    : options_(std::move(options)), port_(freePort()), tlsPort_(freePort()), http2Port_(freePort())
{
    if (options_.tls) {
        makeCertificate(directory());
    }
    std::filesystem::create_directory(directory() / "data");
    std::filesystem::permissions(directory() / "data", std::filesystem::perms::all);
    rewrite(options_);
    start();
}

Nginx::~Nginx() noexcept(false)
{
    const bool quiet = std::uncaught_exceptions() > 0;
    std::string complaint;
    try {
        if (predecessor_ != 0) {
            kill(predecessor_, SIGTERM);
            waitForPredecessor(Patience);
        }
        if (running()) {
            kill(pid_, SIGTERM);
            if (const int status = waitForExit(Patience); status != 0) {
                complaint = "nginx ended with status " + std::to_string(status);
            }
        }
    } catch (const std::exception& error) {
        complaint = error.what();
    }
    complaint += complaints();
    if (complaint.empty()) {
        return;
    }
    if (!quiet) {
        throw std::runtime_error(complaint);
    }
    std::cerr << complaint << '\n';
}

void Nginx::rewrite(const NginxOptions& options)
{
    std::string text = template_(options);
    fillIn(text, directory(), port_, tlsPort_, http2Port_);
    writeFile(directory() / "nginx.conf", text);
}

void Nginx::start()
{
    auto command = nginxCommand(directory());
    command.insert(command.end(), {"-g", options_.daemon ? "daemon on;" : "daemon off;"});
    if (options_.daemon) {
        prctl(PR_SET_CHILD_SUBREAPER, 1); // so that masters whose parents have gone are children of ours
    }
    pid_ = spawn(command, directory() / "output.log", sanitizerOptions());
    try {
        if (options_.daemon) {
            expectEqual(waitForExit(Patience), 0);
            pid_ = pidInFile();
        }
        waitUntilReady();
    } catch (...) {
        if (running()) {
            kill(pid_, SIGKILL);
            waitForExit(Patience);
        }
        throw;
    }
}

pid_t Nginx::pidInFile() const
{
    return toInt(readFile(directory() / "nginx.pid"));
}

void Nginx::adoptSuccessor()
{
    predecessor_ = pid_;
    eventually([&] { return pidInFile() > 0 && pidInFile() != predecessor_; }, "a second master");
    pid_ = pidInFile();
    waitUntilReady();
}

void Nginx::waitUntilReady()
{
    const auto wanted = options_.master ? static_cast<std::size_t>(options_.workers) : 0;
    eventually(
        [&] {
            if (!running()) {
                throw std::runtime_error("nginx did not start: " + readFile(directory() / "output.log") +
                                         errorLog());
            }
            // A worker that has not renamed itself yet has not run init_process.
            const auto all = workers();
            const bool named = std::all_of(all.begin(), all.end(), [](pid_t pid) {
                return readFile("/proc/" + std::to_string(pid) + "/cmdline").starts_with("nginx: worker");
            });
            if (all.size() < wanted || !named) {
                return false;
            }
            const bool listens = options_.whole.empty() || options_.whole.find("%PORT%") != std::string::npos;
            return !listens || !socketInode(port_, 0).empty();
        },
        "nginx accepts");
}

std::vector<pid_t> Nginx::workers() const
{
    return childrenOf(pid_);
}

pid_t Nginx::workerOf(std::uint16_t clientPort) const
{
    for (const std::uint16_t local : {port_, tlsPort_, http2Port_}) {
        const std::string inode = socketInode(local, clientPort);
        if (inode.empty()) {
            continue;
        }
        for (const pid_t pid : workers()) {
            if (holdsSocket(pid, inode)) {
                return pid;
            }
        }
    }
    return 0;
}

int Nginx::waitForPredecessor(std::chrono::milliseconds patience)
{
    return waitFor(std::exchange(predecessor_, 0), patience);
}

void Nginx::reload()
{
    const auto before = workers();
    kill(pid_, SIGHUP);
    eventually(
        [&] {
            const auto now = workers();
            const auto fresh = std::count_if(now.begin(), now.end(), [&](pid_t pid) {
                return std::find(before.begin(), before.end(), pid) == before.end() && !isShuttingDown(pid);
            });
            return fresh >= options_.workers;
        },
        "new workers after a reload");
}

void Nginx::killWorker(pid_t worker)
{
    kill(worker, SIGKILL);
    eventually(
        [&] {
            const auto now = workers();
            return std::find(now.begin(), now.end(), worker) == now.end() &&
                   now.size() >= static_cast<std::size_t>(options_.workers);
        },
        "a successor for the killed worker");
}

void Nginx::quit()
{
    kill(pid_, SIGQUIT);
}

bool Nginx::running()
{
    if (pid_ == 0) {
        return false;
    }
    siginfo_t info{};
    if (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0) {
        return info.si_pid == 0;
    }
    return errno == ECHILD && kill(pid_, 0) == 0; // the child of a master that is about to go
}

int Nginx::waitForExit(std::chrono::milliseconds patience)
{
    const pid_t pid = std::exchange(pid_, 0);
    return waitFor(pid, patience);
}

std::string Nginx::url(std::string_view path) const
{
    return "http://127.0.0.1:" + std::to_string(port_) + std::string(path);
}

std::string Nginx::tlsUrl(std::string_view path) const
{
    return "https://localhost:" + std::to_string(tlsPort_) + std::string(path);
}

std::string Nginx::http2Url(std::string_view path) const
{
    return "http://127.0.0.1:" + std::to_string(http2Port_) + std::string(path);
}

std::string Nginx::errorLog() const
{
    return readFile(directory() / "error.log");
}

std::string Nginx::accessLog() const
{
    return readFile(directory() / "access.log");
}

std::size_t Nginx::countInErrorLog(std::string_view text) const
{
    std::size_t count = 0;
    for (const auto& line : split(errorLog(), '\n')) {
        count += line.find(text) != std::string::npos ? 1 : 0;
    }
    return count;
}

std::string Nginx::complaints() const
{
    std::string all;
    for (const auto& line : split(errorLog(), '\n')) {
        const bool severe = line.find("[alert]") != std::string::npos ||
                            line.find("[emerg]") != std::string::npos ||
                            line.find("[crit]") != std::string::npos;
        const bool expected =
            std::any_of(options_.expectedErrors.begin(), options_.expectedErrors.end(),
                        [&](const std::string& part) { return line.find(part) != std::string::npos; });
        if (severe && !expected) {
            all += "\n" + line;
        }
    }
    // nginx makes its error log the standard error output of its processes, once it has read its configuration.
    for (const char* file : {"output.log", "error.log"}) {
        if (const std::string report = sanitizerReport(readFile(directory() / file)); !report.empty()) {
            all += "\n" + report;
        }
    }
    return all;
}

} // namespace realtime::testing
