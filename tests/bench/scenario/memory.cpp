#include "scenario/scenarios.hpp"

#include "load/publisher.hpp"
#include "load/subscriber.hpp"
#include "serve/nginx_server.hpp"

#include <functional>
#include <thread>

namespace realtime::bench {

namespace {

constexpr std::size_t Before = 5000; // connections that are there already
constexpr std::size_t After = 15'000;

using Connect = std::function<std::unique_ptr<Socket>(Loop& loop, std::uint16_t port, std::size_t number)>;

class EventStream final : public Socket {
public:
    EventStream(Loop& loop, std::uint16_t port) : Socket(loop, port)
    {
        send("GET /sub/one HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n");
        loop.until("an event stream is open", [this] { return open_; });
    }

private:
    void received(std::span<char>) override { open_ = true; }
    bool open_ = false;
};

std::unique_ptr<Socket> keepAlive(Loop& loop, std::uint16_t port, std::size_t)
{
    auto client = std::make_unique<Publisher>(loop, port);
    client->get("/empty/nobody");
    loop.until("a request is answered", [&] { return client->idle(); });
    return client;
}

Connect webSocket(Tally& tally, const std::string& path)
{
    return [&tally, path](Loop& loop, std::uint16_t port, std::size_t number) {
        auto client = std::make_unique<Subscriber>(loop, port, numbered(path, number), tally);
        loop.until("a WebSocket is open", [&] { return client->open(); });
        return client;
    };
}

// Memory of the worker for each connection, from a fresh start. nginx allocates and touches the slots of all its
// worker_connections at start, so that they are not in it.
double bytesEach(const NginxSetup& setup, const Options& options, const Connect& connect)
{
    const NginxServer server(setup);
    Loop loop;
    std::vector<std::unique_ptr<Socket>> clients;
    auto grow = [&](std::size_t count) {
        while (clients.size() < count) {
            clients.push_back(connect(loop, server.port(), clients.size()));
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        return static_cast<double>(residentBytes(server.workers().front()));
    };
    const std::size_t before = options.scaled(Before);
    const std::size_t after = options.scaled(After);
    const double first = grow(before);
    return (grow(after) - first) / static_cast<double>(after - before);
}

} // namespace

void memory(const Options& options, Report& report)
{
    Tally tally(1);
    auto add = [&](const NginxSetup& setup, const std::string& what, const Connect& connect,
                   std::optional<double> atMost) {
        report.add({"memory, idle connection",
                    what,
                    bytesEach(setup, options, connect),
                    "bytes",
                    {},
                    {},
                    {},
                    atMost});
    };
    const NginxSetup ours = realtimeSetup(options.module);
    add(ours, "nginx keep-alive", keepAlive, {});
    add(ours, "WebSocket, one channel", webSocket(tally, "/sub/one"), 650);
    add(ours, "WebSocket, own channel", webSocket(tally, "/sub/%"), {});
    add(ours, "event stream, one channel",
        [](Loop& loop, std::uint16_t port, std::size_t) { return std::make_unique<EventStream>(loop, port); },
        {});
    if (!options.nchan.empty()) {
        add(nchanSetup(options.nchan), "nchan WebSocket, one channel", webSocket(tally, "/sub/one"), {});
    }
}

} // namespace realtime::bench
