// A real nginx with our module, in a prefix of its own (with a directory data/ in it), for one test.
#pragma once

#include "support/files.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace realtime::testing {

// Text that goes into nginx.conf. In all of it %DIR% is the prefix, %PORT%, %TLS_PORT% and %H2_PORT% the ports.
struct NginxOptions {
    int workers = 1;
    bool master = true;
    bool daemon = false;    // a daemon is adopted by the test: only such a master heeds SIGUSR2
    bool reuseport = false; // a listening socket a worker: connections spread evenly over the workers
    bool tls = false;       // also listens on %TLS_PORT% with TLS and HTTP/2 (ALPN)
    bool http2 = false;     // also listens on %H2_PORT% for HTTP/2 without TLS
    int connections = 4096; // worker_connections
    std::string user = "root";
    std::string zone = "main 8m"; // empty: no realtime_zone
    std::string main;             // top level
    std::string http;             // in http{}
    std::string server;           // in server{}
    std::string listen;           // more parameters of `listen`
    std::string whole;            // if set, the whole nginx.conf; then %MODULE% is our module
    // Parts of [alert], [emerg] or [crit] lines that this test provokes.
    std::vector<std::string> expectedErrors;
};

class Nginx {
public:
    // Starts it and waits until it accepts and all workers are there. Throws with the error log if it does not.
    explicit Nginx(NginxOptions options);
    // Stops it. Unless another failure is on its way, throws if it did not end with status 0, if the error log
    // has an [alert], [emerg] or [crit] that was not expected, or if a sanitizer has reported something.
    ~Nginx() noexcept(false);
    Nginx(const Nginx&) = delete;
    Nginx& operator=(const Nginx&) = delete;

    std::uint16_t port() const { return port_; }
    std::uint16_t tlsPort() const { return tlsPort_; }
    std::uint16_t http2Port() const { return http2Port_; }
    std::string url(std::string_view path) const;
    std::string tlsUrl(std::string_view path) const;
    std::string http2Url(std::string_view path) const;
    const std::filesystem::path& directory() const { return directory_.path(); }
    std::string certificate() const { return directory_.path() / "cert.pem"; }

    pid_t master() const { return pid_; }
    std::vector<pid_t> workers() const; // those that are not shutting down come in order of start
    // The worker that holds the other end of a connection which has this port on our side; 0 if none does.
    pid_t workerOf(std::uint16_t clientPort) const;

    void reload();                 // returns when as many new workers as configured run
    void killWorker(pid_t worker); // SIGKILL; returns when a successor runs
    void quit();                   // SIGQUIT; returns at once
    // After SIGUSR2: the new master is meant from now on. The old one must be told to go, or goes with the test.
    void adoptSuccessor();
    int waitForPredecessor(std::chrono::milliseconds patience); // status
    bool running();
    int waitForExit(std::chrono::milliseconds patience); // status
    void rewrite(const NginxOptions& options);           // a new nginx.conf, for reload()

    std::string errorLog() const;
    std::string accessLog() const;
    std::size_t countInErrorLog(std::string_view text) const;

private:
    std::string configuration(const NginxOptions& options) const;
    void start();
    void waitUntilReady();
    pid_t pidInFile() const;
    std::string complaints() const;

    TempDir directory_;
    NginxOptions options_;
    std::uint16_t port_, tlsPort_, http2Port_;
    pid_t pid_ = 0;
    pid_t predecessor_ = 0;
};

// `nginx -t` with this configuration: status and what it printed.
CommandResult testConfiguration(const NginxOptions& options);

std::string modulePath(); // REALTIME_TEST_MODULE in the environment, or the one of this build
std::string nginxPath();  // REALTIME_TEST_NGINX in the environment, or Debian's
bool sanitized();         // is that one that was built with sanitizers (scripts/nginx-asan)?
// What sanitizers are told by the environment. They report to the standard error output.
Environment sanitizerOptions();
// From the first report on, as far as it is worth reading; empty if the text has none.
std::string sanitizerReport(const std::string& text);

} // namespace realtime::testing

// Defines the test three times: with 1, 2 and 4 workers. The body sees `const int workers`.
#define TEST_WITH_WORKERS(name)                                                                              \
    static void name##_with([[maybe_unused]] int workers);                                                   \
    TEST(name##_with_1_worker)                                                                               \
    {                                                                                                        \
        name##_with(1);                                                                                      \
    }                                                                                                        \
    TEST(name##_with_2_workers)                                                                              \
    {                                                                                                        \
        name##_with(2);                                                                                      \
    }                                                                                                        \
    TEST(name##_with_4_workers)                                                                              \
    {                                                                                                        \
        name##_with(4);                                                                                      \
    }                                                                                                        \
    static void name##_with(const int workers)
