// What single requests cost, beside the plainest request that the same nginx can answer.
#include "scenario/scenarios.hpp"

#include "load/message.hpp"
#include "load/publisher.hpp"
#include "load/subscriber.hpp"
#include "serve/nginx_server.hpp"

#include <algorithm>
#include <thread>

namespace realtime::bench {

namespace {

constexpr std::size_t AtOnce = 16;
constexpr std::size_t Requests = 20'000; // a round
constexpr std::size_t Handshakes = 2000;

// The server's CPU time in us of one of `count`, all that follows from them included.
template <class Body> double costEach(const Server& server, std::size_t count, const Body& body)
{
    const auto settle = std::chrono::milliseconds(30);
    std::this_thread::sleep_for(settle);
    const auto cpu = server.cpu();
    body();
    std::this_thread::sleep_for(settle);
    const std::chrono::duration<double, std::micro> spent = server.cpu() - cpu;
    return spent.count() / static_cast<double>(count);
}

// New connections, each with one request, which the client closes after the answer.
template <class Client, class Open, class Done>
double connections(const Server& server, std::size_t count, const Open& open, const Done& done)
{
    static unsigned source = 0; // ports of closed connections rest for a minute
    source = (source + 1) % 200;
    Loop loop;
    return costEach(server, count, [&] {
        for (std::size_t made = 0; made < count; made += AtOnce) {
            std::vector<std::unique_ptr<Client>> clients;
            for (std::size_t i = 0; i < AtOnce; i++) {
                clients.push_back(open(loop, source));
            }
            loop.until("all are answered", [&] { return std::all_of(clients.begin(), clients.end(), done); });
        }
    });
}

double gets(const Server& server, std::size_t count)
{
    return connections<Publisher>(
        server, count,
        [&](Loop& loop, unsigned source) {
            auto client = std::make_unique<Publisher>(loop, server.port(), source);
            client->get("/get");
            return client;
        },
        [](const auto& client) { return client->idle(); });
}

double handshakes(const Server& server, std::size_t count)
{
    Tally tally(1);
    return connections<Subscriber>(
        server, count,
        [&](Loop& loop, unsigned source) {
            return std::make_unique<Subscriber>(loop, server.port(), "/sub/one", tally, source);
        },
        [](const auto& client) { return client->open(); });
}

double posts(const Server& server, std::string_view path, std::size_t count)
{
    Loop loop;
    auto publishers = connectPublishers(loop, server.port(), AtOnce);
    const std::string body = encode({0, 1});
    auto post = [&](std::size_t requests) {
        std::size_t sent = 0;
        loop.until("all are answered", [&] {
            bool idle = true;
            for (auto& publisher : publishers) {
                if (publisher->idle() && sent < requests) {
                    publisher->post(path, body);
                    sent++;
                }
                idle &= publisher->idle();
            }
            return idle && sent == requests;
        });
    };
    post(AtOnce);
    return costEach(server, count, [&] { post(count); });
}

} // namespace

void handshake(const Options& options, Report& report)
{
    const NginxServer server(realtimeSetup(options.module));
    const std::size_t count = options.scaled(Handshakes);
    std::vector<Contender> contenders{{"GET, new connection", [&] { return gets(server, count); }},
                                      {"WebSocket handshake", [&] { return handshakes(server, count); }}};
    alternate(contenders, options.rounds());
    report.add("handshake", "us", contenders, 1.3);
}

void publish(const Options& options, Report& report)
{
    const NginxServer server(realtimeSetup(options.module));
    const std::size_t count = options.scaled(Requests);
    std::vector<Contender> contenders{
        {"POST, return 204", [&] { return posts(server, "/empty/nobody", count); }},
        {"publish", [&] { return posts(server, "/pub/nobody", count); }}};
    std::unique_ptr<NginxServer> nchan;
    if (!options.nchan.empty()) {
        nchan = std::make_unique<NginxServer>(nchanSetup(options.nchan));
        contenders.push_back({"nchan publish", [&] { return posts(*nchan, "/pub/nobody", count); }});
    }
    alternate(contenders, options.rounds());
    report.add("publish without subscribers", "us", contenders, 1.35);
}

} // namespace realtime::bench
