#include "serve/nginx_server.hpp"

#include <arpa/inet.h>
#include <csignal>
#include <netinet/in.h>
#include <stdexcept>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace realtime::bench {

namespace {

using namespace std::chrono_literals;

constexpr const char* Binary = "/usr/sbin/nginx";
constexpr int WorkerConnections = 18'000;

std::string configuration(const NginxSetup& setup, std::uint16_t port)
{
    // One core a worker, from the server's core on; the mask's last digit is core 0.
    std::string affinity;
    for (int i = 0; i < setup.workers; i++) {
        const int core = i == 0 ? serverCore() : clientCore();
        affinity += " 1" + std::string(static_cast<std::size_t>(core), '0');
    }
    return (setup.module.empty() ? "" : "load_module " + setup.module + ";\n") +
           "daemon off;\n"
           "user root;\n"
           "pid nginx.pid;\n"
           "error_log error.log notice;\n"
           "worker_processes " +
           std::to_string(setup.workers) + ";\n" +
           (setup.pinned ? "worker_cpu_affinity" + affinity + ";\n" : "") + "events { worker_connections " +
           std::to_string(WorkerConnections) +
           "; }\n"
           "http {\n"
           "access_log off;\n"
           "keepalive_requests 1000000000;\n"
           "keepalive_timeout 1h;\n"
           "client_header_timeout 1h;\n"
           "client_body_in_single_buffer on;\n" +
           setup.http + "server {\nlisten 127.0.0.1:" + std::to_string(port) + " backlog=4096" +
           (setup.workers > 1 ? " reuseport" : "") + ";\n" + setup.server + "}\n}\n";
}

bool accepts(std::uint16_t port)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    const bool connected = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    close(fd);
    return connected;
}

} // namespace

NginxServer::NginxServer(NginxSetup setup) : setup_(std::move(setup)), port_(testing::freePort())
{
    const auto prefix = directory_.path();
    testing::writeFile(prefix / "nginx.conf", configuration(setup_, port_));
    master_ = testing::spawn({Binary, "-p", prefix.string() + "/", "-c", "nginx.conf", "-e", "error.log"},
                             prefix / "output.log");
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (workers_.size() != static_cast<std::size_t>(setup_.workers) || !accepts(port_)) {
        if (std::chrono::steady_clock::now() > deadline) {
            kill(master_, SIGKILL);
            throw std::runtime_error(
                setup_.name + " did not start: " + testing::readFile(prefix / "output.log") + errorLog());
        }
        std::this_thread::sleep_for(20ms);
        lookForWorkers();
    }
}

void NginxServer::lookForWorkers()
{
    workers_ = childrenOf(master_);
}

NginxServer::~NginxServer()
{
    kill(master_, SIGTERM);
    try {
        testing::waitFor(master_, 20s);
    } catch (const std::exception&) { // it was killed then
    }
}

std::string NginxServer::errorLog() const
{
    return testing::readFile(directory_.path() / "error.log");
}

NginxSetup realtimeSetup(const std::string& module)
{
    NginxSetup setup;
    setup.name = "nginx-realtime";
    setup.module = module;
    setup.http = "realtime_zone main 64m;\n"
                 "realtime_ping 1h;\n"
                 "realtime_timeout 2h;\n";
    setup.server = "location ~ ^/pub/(?<channel>\\w+)$ { realtime_publish $channel; }\n"
                   "location ~ ^/sub/(?<channel>\\w+)$ { realtime_subscribe $channel; }\n"
                   "location ~ ^/ws/(?<channel>\\w+)$ { realtime_pubsub $channel; }\n"
                   "location ~ ^/empty/(?<channel>\\w+)$ { return 204; }\n"
                   "location = /get { return 200 hello; }\n";
    return setup;
}

NginxSetup nchanSetup(const std::string& module)
{
    NginxSetup setup;
    setup.name = "nchan";
    setup.module = module;
    setup.http = "nchan_shared_memory_size 256m;\n";
    const std::string live = " nchan_channel_id $1; nchan_subscriber_first_message newest; }\n";
    setup.server = "location ~ ^/pub/(\\w+)$ { nchan_publisher; nchan_channel_id $1; }\n"
                   "location ~ ^/sub/(\\w+)$ { nchan_subscriber websocket;" +
                   live + "location ~ ^/ws/(\\w+)$ { nchan_pubsub websocket;" + live +
                   "location ~ ^/empty/(?<channel>\\w+)$ { return 204; }\n"
                   "location = /get { return 200 hello; }\n";
    return setup;
}

} // namespace realtime::bench
