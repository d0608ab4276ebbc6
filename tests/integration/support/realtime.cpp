#include "support/realtime.hpp"

#include <algorithm>
#include <filesystem>

namespace realtime::testing {

const std::string Endpoints = R"(
    location ~ "^/pub/(?<ch>(?s).*)$" { realtime_publish $ch event=$arg_event; }
    location ~ "^/sub/(?<ch>(?s).*)$" { realtime_subscribe $ch; }
    location ~ "^/ws/(?<ch>(?s).*)$"  { realtime_pubsub $ch event=$arg_event; realtime_publish_rate off; }
    location = /status { realtime_status; }
    location = /pid { return 200 $pid; }
)";

NginxOptions endpoints(int workers)
{
    NginxOptions options;
    options.workers = workers;
    options.reuseport = workers > 1;
    options.server = Endpoints;
    return options;
}

std::string publish(const Nginx& nginx, const std::string& channel, const std::string& data,
                    const std::string& event)
{
    const auto answer = post(nginx.url("/pub/" + channel + (event.empty() ? "" : "?event=" + event)), data);
    expectEqual(answer.status, 202L);
    return Json::parse(answer.body).at("id").text();
}

std::int64_t probe(const Nginx& nginx, const std::string& channel)
{
    const auto answer = post(nginx.url("/pub/" + channel), "probe");
    expectEqual(answer.status, 202L);
    return Json::parse(answer.body).at("subscribers").number();
}

std::map<pid_t, std::unique_ptr<HttpClient>> clientOnEachWorker(const Nginx& nginx)
{
    std::map<pid_t, std::unique_ptr<HttpClient>> clients;
    const auto wanted = nginx.workers().size();
    HttpRequest request;
    request.url = nginx.url("/pid");
    for (int i = 0; i < 500 && clients.size() < wanted; ++i) {
        auto client = std::make_unique<HttpClient>();
        const pid_t worker = std::stoi(client->send(request).body);
        clients.try_emplace(worker, std::move(client));
    }
    expectEqual(clients.size(), wanted);
    return clients;
}

bool gone(pid_t process)
{
    return !std::filesystem::exists("/proc/" + std::to_string(process));
}

void reloadAndWait(Nginx& nginx)
{
    const auto old = nginx.workers();
    nginx.reload();
    eventually([&] { return std::all_of(old.begin(), old.end(), gone); }, "the old workers end at once", 10s);
}

} // namespace realtime::testing
