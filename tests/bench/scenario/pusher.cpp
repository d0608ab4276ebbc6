// What the Pusher protocol costs beside our plain WebSockets and plain subscriptions.
#include "scenario/scenarios.hpp"

#include "base/hmac.hpp"
#include "load/message.hpp"
#include "load/publisher.hpp"
#include "load/subscriber.hpp"
#include "serve/nginx_server.hpp"

#include <algorithm>
#include <thread>

namespace realtime::bench {

namespace {

constexpr std::string_view Key = "benchkey";
constexpr std::string_view Secret = "benchsecret";
constexpr std::size_t FanOutSubscribers = 1000;
constexpr std::size_t FanOutMessages = 150;
constexpr std::size_t Connections = 10; // that subscribe to many channels each
constexpr std::size_t Channels = 1000;
constexpr std::size_t IdleBefore = 5000;
constexpr std::size_t IdleAfter = 15'000;

NginxSetup pusherSetup(const std::string& module)
{
    NginxSetup setup = realtimeSetup(module);
    setup.http += "realtime_app bench { key benchkey; secret benchsecret; }\n";
    setup.server += "location ~ ^/app-pub/(?<channel>[\\w-]+)$ { realtime_publish $channel app=bench; }\n"
                    "location ~ ^/app-sub/(?<channel>[\\w-]+)$ { realtime_subscribe $channel app=bench; }\n"
                    "location /app/ { realtime_pusher websocket; }\n";
    return setup;
}

std::string escaped(std::string_view json)
{
    std::string text;
    for (char c : json) {
        text += c == '"' ? "\\\"" : std::string(1, c);
    }
    return text;
}

// A client that counts what it is sent, by the name of the event.
class PusherClient final : public Subscriber {
public:
    PusherClient(Loop& loop, std::uint16_t port, Tally& tally)
        : Subscriber(loop, port, "/app/" + std::string(Key) + "?protocol=7&client=bench", tally)
    {
    }

    bool connected() const { return !socketId_.empty(); }
    std::size_t subscriptions() const { return subscriptions_; }
    std::size_t pongs() const { return pongs_; }
    std::size_t events() const { return events_; }

    void subscribe(const std::string& channel)
    {
        publish(R"({"event":"pusher:subscribe","data":{"channel":")" + channel + R"("}})");
    }
    void subscribePrivate(const std::string& channel)
    {
        subscribeSigned(channel, socketId_ + ":" + channel, "");
    }
    void subscribePresence(const std::string& channel, const std::string& user)
    {
        const std::string data = R"({"user_id":")" + user + R"(","user_info":{"name":")" + user + R"("}})";
        subscribeSigned(channel, socketId_ + ":" + channel + ":" + data,
                        R"(,"channel_data":")" + escaped(data) + "\"");
    }
    void unsubscribe(const std::string& channel)
    {
        publish(R"({"event":"pusher:unsubscribe","data":{"channel":")" + channel + R"("}})");
    }
    void ping() { publish(R"({"event":"pusher:ping","data":{}})"); }

protected:
    void takeMessage(std::string_view text) override
    {
        if (text.find("subscription_succeeded") != std::string_view::npos) {
            subscriptions_++;
        } else if (text.find("pusher:pong") != std::string_view::npos) {
            pongs_++;
        } else if (text.find("connection_established") != std::string_view::npos) {
            constexpr std::string_view Before = "socket_id\\\":\\\"";
            const std::size_t at = text.find(Before) + Before.size();
            socketId_ = text.substr(at, text.find('\\', at) - at);
        } else if (text.starts_with(R"({"event":"message")")) {
            events_++;
        }
    }

private:
    void subscribeSigned(const std::string& channel, const std::string& toSign, const std::string& more)
    {
        publish(R"({"event":"pusher:subscribe","data":{"channel":")" + channel + R"(","auth":")" +
                std::string(Key) + ":" + hmacSha256Hex(Secret, toSign) + "\"" + more + "}}");
    }

    std::string socketId_;
    std::size_t subscriptions_ = 0;
    std::size_t pongs_ = 0;
    std::size_t events_ = 0;
};

using Clients = std::vector<std::unique_ptr<PusherClient>>;

template <class Done> bool allOf(const Clients& clients, const Done& done)
{
    return std::all_of(clients.begin(), clients.end(), [&](const auto& client) { return done(*client); });
}

Clients connect(Loop& loop, std::uint16_t port, std::size_t count, Tally& tally)
{
    constexpr std::size_t Batch = 64;
    Clients clients;
    while (clients.size() < count) {
        for (std::size_t i = 0; i < Batch && clients.size() < count; i++) {
            clients.push_back(std::make_unique<PusherClient>(loop, port, tally));
        }
        loop.until("Pusher clients are connected",
                   [&] { return allOf(clients, [](const auto& client) { return client.connected(); }); });
    }
    return clients;
}

// --- fan-out ----------------------------------------------------------------------------------------------------

// The server's CPU time in us for each delivery, one publish in flight.
double fanOutCost(const Server& server, Loop& loop, Publisher& publisher, std::string_view path,
                  std::size_t subscribers, const std::function<std::size_t()>& received)
{
    static std::uint64_t number = 0;
    const std::size_t before = received();
    const auto cpu = server.cpu();
    for (std::size_t i = 1; i <= FanOutMessages; i++) {
        publisher.post(path, encode({0, ++number}));
        loop.until("a message is delivered",
                   [&] { return publisher.idle() && received() == before + i * subscribers; });
    }
    const std::chrono::duration<double, std::micro> spent = server.cpu() - cpu;
    return spent.count() / static_cast<double>(FanOutMessages * subscribers);
}

void pusherFanOut(const Options& options, Report& report)
{
    const NginxServer server(pusherSetup(options.module));
    const std::size_t count = options.scaled(FanOutSubscribers);
    Loop loop;
    Tally tally(1);
    auto raw = subscribe(loop, server.port(), "/app-sub/raw", count, tally);
    Clients clients = connect(loop, server.port(), count, tally);
    for (auto& client : clients) {
        client->subscribe("pusher");
    }
    loop.until("all are subscribed",
               [&] { return allOf(clients, [](const auto& one) { return one.subscriptions() == 1; }); });
    Publisher publisher(loop, server.port());

    std::vector<Contender> contenders{
        {"raw WebSocket",
         [&] {
             return fanOutCost(server, loop, publisher, "/app-pub/raw", count,
                               [&] { return static_cast<std::size_t>(tally.all); });
         }},
        {"Pusher protocol", [&] {
             return fanOutCost(server, loop, publisher, "/app-pub/pusher", count, [&] {
                 std::size_t events = 0;
                 for (const auto& client : clients) {
                     events += client->events();
                 }
                 return events;
             });
         }}};
    alternate(contenders, options.rounds());
    report.add("fan-out over the Pusher protocol", "us", contenders, 1.15);
}

// --- subscribing --------------------------------------------------------------------------------------------------

using SubscribeOne =
    std::function<void(PusherClient& client, std::size_t number, const std::string& channel)>;

// The server's CPU time in us for each of `Connections` x `channels` subscriptions, made and left again.
double subscribeCost(const Server& server, std::size_t channels, const std::string& prefix, bool leave,
                     const SubscribeOne& subscribeOne)
{
    Loop loop;
    Tally tally(1);
    Clients clients = connect(loop, server.port(), Connections, tally);
    auto pong = [&] {
        for (auto& client : clients) {
            client->ping();
        }
        const std::size_t before = clients.front()->pongs();
        loop.until("all is done",
                   [&] { return allOf(clients, [&](const auto& c) { return c.pongs() > before; }); });
    };
    pong();
    const auto cpu = server.cpu();
    for (std::size_t channel = 0; channel < channels; channel++) {
        for (std::size_t i = 0; i < clients.size(); i++) {
            subscribeOne(*clients[i], i, prefix + std::to_string(channel));
        }
        loop.poll();
    }
    loop.until("all are subscribed", [&] {
        return allOf(clients, [&](const auto& one) { return one.subscriptions() == channels; });
    });
    if (leave) {
        for (std::size_t channel = 0; channel < channels; channel++) {
            for (auto& client : clients) {
                client->unsubscribe(prefix + std::to_string(channel));
            }
            loop.poll();
        }
        pong();
    }
    const std::chrono::duration<double, std::micro> spent = server.cpu() - cpu;
    return spent.count() / static_cast<double>(Connections * channels);
}

void pusherSubscribe(const Options& options, Report& report)
{
    const NginxServer server(pusherSetup(options.module));
    const std::size_t channels = options.scaled(Channels);
    auto plain = [](PusherClient& client, std::size_t, const std::string& channel) {
        client.subscribe(channel);
    };

    std::vector<Contender> joined{
        {"public channel, subscribe and unsubscribe",
         [&] { return subscribeCost(server, channels, "room", true, plain); }},
        {"presence channel, ten members", [&] {
             return subscribeCost(server, channels, "presence-room", true,
                                  [](PusherClient& client, std::size_t number, const std::string& channel) {
                                      client.subscribePresence(channel, "u" + std::to_string(number));
                                  });
         }}};
    alternate(joined, options.rounds());
    report.add("presence over the Pusher protocol", "us", joined, 3.0);

    std::vector<Contender> kinds{
        {"public subscribe", [&] { return subscribeCost(server, channels / 4, "room", false, plain); }},
        {"private subscribe (HMAC)", [&] {
             return subscribeCost(server, channels / 4, "private-room", false,
                                  [](PusherClient& client, std::size_t, const std::string& channel) {
                                      client.subscribePrivate(channel);
                                  });
         }}};
    alternate(kinds, options.rounds());
    for (const Contender& one : kinds) {
        report.add(
            {"subscribe over the Pusher protocol", one.name, median(one.values), "us", {}, {}, {}, 30.0});
    }
}

// --- memory -------------------------------------------------------------------------------------------------------

void pusherMemory(const Options& options, Report& report)
{
    const NginxServer server(pusherSetup(options.module));
    Loop loop;
    Tally tally(1);
    Clients clients;
    auto grow = [&](std::size_t count) {
        Clients more = connect(loop, server.port(), count - clients.size(), tally);
        for (auto& client : more) {
            client->subscribe("room");
        }
        std::move(more.begin(), more.end(), std::back_inserter(clients));
        loop.until("all are subscribed",
                   [&] { return allOf(clients, [](const auto& one) { return one.subscriptions() == 1; }); });
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        return static_cast<double>(residentBytes(server.workers().front()));
    };
    const std::size_t before = options.scaled(IdleBefore);
    const std::size_t after = options.scaled(IdleAfter);
    const double first = grow(before);
    const double each = (grow(after) - first) / static_cast<double>(after - before);
    report.add({"memory, idle connection", "Pusher, one public channel", each, "bytes", {}, {}, {}, 1024.0});
}

} // namespace

void pusher(const Options& options, Report& report)
{
    pusherFanOut(options, report);
    pusherSubscribe(options, report);
    pusherMemory(options, report);
}

} // namespace realtime::bench
