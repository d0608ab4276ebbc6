// An nginx with one module loaded, in a directory of its own.
#pragma once

#include "serve/process.hpp"

#include "support/files.hpp"

#include <string>
#include <string_view>

namespace realtime::bench {

struct NginxSetup {
    std::string name;   // in the report
    std::string module; // path; empty: none
    int workers = 1;
    bool pinned = true; // one to a core
    std::string http;   // in http{}
    std::string server; // in server{}
};

class NginxServer final : public Server {
public:
    explicit NginxServer(NginxSetup setup); // throws with its error log if it does not start
    ~NginxServer() override;

    std::string name() const override { return setup_.name; }
    std::uint16_t port() const override { return port_; }
    std::vector<pid_t> workers() const override { return workers_; }
    std::string errorLog() const;
    pid_t master() const { return master_; }
    void lookForWorkers(); // after a reload: they are others now

private:
    NginxSetup setup_;
    testing::TempDir directory_;
    std::uint16_t port_;
    pid_t master_ = 0;
    std::vector<pid_t> workers_;
};

// Our module, and nchan: the same paths as BareServer's.
NginxSetup realtimeSetup(const std::string& module);
NginxSetup nchanSetup(const std::string& module);

} // namespace realtime::bench
