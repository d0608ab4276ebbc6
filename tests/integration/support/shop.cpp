#include "support/shop.hpp"

#include "support/json.hpp"
#include "support/realtime.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

namespace realtime::testing {

const std::string ShopKey = "278d425bdf160c739803";
const std::string ShopSecret = "7ad3773142a6692b25b8";

const std::string ShopApp = R"(
    realtime_app shop {
        key    278d425bdf160c739803;
        secret 7ad3773142a6692b25b8;
        client_events on;
        subscription_count on;
        watchlist on;
        webhook http://127.0.0.1:%PORT%/hooks events=channel_existence,presence,client_events,subscription_count;
        channels * { client_publish on; }
    }
)";
const std::string ShopPusherLocation = "location /app/ { realtime_pusher websocket; }\n";
const std::string ShopLocations = R"(
    location ~ ^/shop/pub/(?<ch>.*)$ { realtime_publish $ch app=shop event=$arg_event; }
    location ~ ^/shop/sub/(?<ch>.*)$ { realtime_subscribe $ch app=shop; }
    location = /hooks { return 200; }
)";

NginxOptions shop(int workers)
{
    NginxOptions options = endpoints(workers);
    options.reuseport = false; // else what waits in the queue of an old worker's listening socket is reset
    options.http = "realtime_drain 60s;\n" + ShopApp;
    options.server += ShopPusherLocation + ShopLocations;
    return options;
}

void shopPublish(const Nginx& nginx, const std::string& channel, const std::string& data)
{
    expectEqual(post(nginx.url("/shop/pub/" + channel), data).status, 202L);
}

std::int64_t status(const Nginx& nginx, const std::string& name)
{
    return Json::parse(get(nginx.url("/status?format=json")).body).at(name).number();
}

std::size_t hooks(const Nginx& nginx)
{
    std::size_t count = 0;
    const std::string log = nginx.accessLog();
    for (std::size_t at = 0; (at = log.find("POST /hooks", at)) != std::string::npos; ++at) {
        ++count;
    }
    return count;
}

Frame next(RawWebSocket& socket)
{
    for (;;) {
        Frame frame = socket.receive();
        if (frame.opcode != Ping) {
            return frame;
        }
    }
}

std::size_t openFiles(pid_t pid)
{
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& one :
         std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
        ++count;
    }
    return count;
}

std::pair<std::size_t, std::size_t> openFiles(const Nginx& nginx)
{
    std::size_t workers = 0;
    for (const pid_t pid : nginx.workers()) {
        workers += openFiles(pid);
    }
    return {openFiles(nginx.master()), workers};
}

int fromEnvironment(const char* name, int otherwise)
{
    const char* value = std::getenv(name);
    return value == nullptr ? otherwise : toInt(value);
}

} // namespace realtime::testing
