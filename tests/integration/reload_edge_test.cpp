// Reloads at a bad time, in bad company, or into a configuration that does not fit.
#include "support/crowd.hpp"
#include "support/realtime.hpp"
#include "support/sse.hpp"

#include <algorithm>
#include <csignal>
#include <sys/resource.h>
#include <thread>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

using Sockets = std::vector<std::unique_ptr<RawWebSocket>>;

Sockets subscribers(const Nginx& nginx, int count, const std::string& path = "/sub/room")
{
    Sockets sockets;
    for (int i = 0; i < count; ++i) {
        sockets.push_back(std::make_unique<RawWebSocket>(nginx.port(), path));
    }
    return sockets;
}

bool nameHas(pid_t pid, const std::string& part)
{
    return !gone(pid) &&
           readFile("/proc/" + std::to_string(pid) + "/cmdline").find(part) != std::string::npos;
}

bool asleep(pid_t pid)
{
    const std::string stat = readFile("/proc/" + std::to_string(pid) + "/stat");
    const std::size_t end = stat.rfind(") "); // of its name
    return end != std::string::npos && stat.substr(end + 2, 1) == "S";
}

// Begins a reload, and stops the new worker as soon as it could take connections. Returns when the old one, which is
// the only one, has been told to go.
pid_t reloadIntoOneThatIsStopped(Nginx& nginx)
{
    const pid_t old = nginx.workers().at(0);
    pid_t fresh = 0;
    kill(nginx.master(), SIGHUP);
    eventually(
        [&] {
            for (const pid_t pid : nginx.workers()) {
                fresh = pid != old && nameHas(pid, "nginx: worker process") ? pid : fresh;
            }
            return fresh != 0;
        },
        "a new worker");
    // Stopped at work, it might have the log's lock, which the old one needs.
    eventually([&] { return asleep(fresh); }, "the new worker has nothing to do");
    kill(fresh, SIGSTOP);
    eventually([&] { return nameHas(old, "shutting down"); }, "the old worker is told to go");
    return fresh;
}

} // namespace

TEST(a_storm_of_reloads_loses_nobody_and_nothing)
{
    constexpr int Reloads = 50;
    constexpr int Movers = 48;
    constexpr int Others = 4;
    auto options = crowded(Movers);
    replaceAll(options.http, "drain 1s", "drain 50ms");
    Nginx nginx(options);
    std::vector<std::unique_ptr<Mover>> movers;
    for (int i = 0; i < Movers; ++i) {
        movers.push_back(std::make_unique<Mover>(nginx, i));
    }
    std::vector<std::unique_ptr<Visitor>> visitors;
    for (int i = 0; i < Others; ++i) {
        visitors.push_back(std::make_unique<Stream>(nginx, i));
        visitors.push_back(std::make_unique<Poll>(nginx, i));
    }
    int number = 0;
    const auto allHave = [&](int last) {
        for (auto& one : visitors) {
            one->read();
        }
        return std::all_of(visitors.begin(), visitors.end(),
                           [&](const auto& one) { return one->last() == last; });
    };
    allHave(-1);
    const auto publishNext = [&] { shopPublish(nginx, "private-load", std::to_string(number++)); };
    publishNext();
    eventually([&] { return allHave(0); }, "everybody is there");
    for (auto& one : movers) {
        one->readTo(0);
    }

    // The master heeds those that come while it is at work as one.
    for (int i = 0; i < Reloads; ++i) {
        kill(nginx.master(), SIGHUP);
        publishNext();
        allHave(number - 1);
        std::this_thread::sleep_for(std::chrono::milliseconds(i % 5 * 40));
    }
    eventually(
        [&] {
            publishNext();
            allHave(number - 1);
            const auto workers = nginx.workers();
            return workers.size() == 2 && std::none_of(workers.begin(), workers.end(), [](pid_t pid) {
                       return nameHas(pid, "shutting down");
                   });
        },
        "one generation is left");
    publishNext();
    eventually([&] { return allHave(number - 1); }, "streams and polls have everything");
    for (auto& one : movers) {
        one->readTo(number - 1);
    }
    expectEqual(status(nginx, "handover_failed_total"), 0);
    expectEqual(status(nginx, "gaps_total"), 0);
    const Json zone = Json::parse(get(nginx.url("/status?format=json")).body).at("zones").at("main");
    expectEqual(zone.at("slots_in_use").number(), 2);
}

// It looks alive, has offered to take connections, and takes none. The old worker is full: what it reads back needs
// every place that it has.
TEST(connections_that_nobody_takes_are_read_back_and_asked_to_reconnect)
{
    auto options = shop();
    options.connections = 64;
    replaceAll(options.http, "60s", "100ms");
    Nginx nginx(options);
    constexpr int Most = 57;
    Sockets sockets = subscribers(nginx, Most);
    const pid_t old = nginx.workers().at(0);
    const pid_t fresh = reloadIntoOneThatIsStopped(nginx);
    for (auto& socket : sockets) {
        expectEqual(socket->receiveClose(), 1012);
    }
    sockets.clear();
    eventually([&] { return gone(old); }, "the old worker ends", 10s);
    kill(fresh, SIGCONT);
    expect(nginx.countInErrorLog("no worker takes connections over") == 1, "it is said once");
    eventually([&] { return probe(nginx, "room") == 0; }, "nobody is left");
}

// There are more idle connections than the queue holds, and more than the new worker has room for.
TEST(who_says_something_moves_first)
{
    constexpr int Idle = 400;
    auto options = shop();
    Nginx nginx(options);
    const Sockets idle = subscribers(nginx, Idle);
    RawWebSocket talker(nginx.port(), "/ws/room"); // the last one to be heard of, so the last to go
    options.connections = 340;
    nginx.rewrite(options);
    const pid_t fresh = reloadIntoOneThatIsStopped(nginx);
    talker.send({Text, "let me through"});
    std::this_thread::sleep_for(100ms);
    kill(fresh, SIGCONT);
    const auto begin = Clock::now();
    expectEqual(next(talker).payload, "let me through");
    expect(Clock::now() - begin < 4s, "it need not wait until the old worker gives up");
}

TEST(a_quit_in_the_middle_of_a_reload_drains)
{
    auto options = shop(2);
    replaceAll(options.http, "60s", "200ms");
    Nginx nginx(options);
    Sockets sockets = subscribers(nginx, 40);
    PusherClient pusher(nginx.port(), ShopKey, ShopSecret);
    nginx.reload();
    nginx.quit();
    expectEqual(pusher.receiveClose(), 4200);
    pusher.socket().send({Close, std::string("\x10\x68", 2)});
    for (auto& socket : sockets) {
        expectEqual(socket->receiveClose(), 1012);
    }
    sockets.clear();
    expectEqual(nginx.waitForExit(10s), 0);
}

TEST(worker_shutdown_timeout_cuts_off_what_drains_and_not_what_moves)
{
    auto options = shop(2);
    options.main = "worker_shutdown_timeout 1s;\n";
    Nginx nginx(options);
    Sockets sockets = subscribers(nginx, 20);
    std::vector<std::unique_ptr<SseClient>> streams;
    for (int i = 0; i < 30; ++i) {
        streams.push_back(std::make_unique<SseClient>(nginx.url("/sub/room")));
    }
    reloadAndWait(nginx); // it drains for a minute
    for (auto& stream : streams) {
        expect(stream->waitForEnd(), "the event stream ends");
    }
    publish(nginx, "room", "hello");
    for (auto& socket : sockets) {
        expectEqual(next(*socket).payload, "hello");
    }
    expectEqual(status(nginx, "handover_failed_total"), 0);
}

TEST(a_second_zone_of_another_size_ends_in_a_gap_and_not_in_silence)
{
    auto options = shop();
    options.http = "realtime_zone other 8m;\n" + options.http +
                   "realtime_app elsewhere { zone other; channels * { history 100 1h; } }\n";
    options.server += "location ~ ^/other/pub/(?<ch>.*)$ { realtime_publish $ch app=elsewhere; }\n"
                      "location ~ ^/other/sub/(?<ch>.*)$ { realtime_subscribe $ch app=elsewhere; }\n";
    Nginx nginx(options);
    RawWebSocket json(nginx.port(), "/other/sub/room", "Sec-WebSocket-Protocol: realtime.json\r\n");
    RawWebSocket kept(nginx.port(), "/sub/room");
    expectEqual(post(nginx.url("/other/pub/room"), "before").status, 202L);
    expectContains(next(json).payload, "before");
    replaceAll(options.http, "other 8m", "other 9m");
    nginx.rewrite(options);
    reloadAndWait(nginx);
    expectEqual(post(nginx.url("/other/pub/room"), "after").status, 202L);
    publish(nginx, "room", "hello");
    expectEqual(next(kept).payload, "hello");
    const Frame frame = next(json);
    if (frame.opcode != Close) {
        expectContains(frame.payload, "realtime:gap");
        expectContains(next(json).payload, "after");
    }
}

TEST(a_reload_that_the_master_has_no_descriptors_for_is_refused)
{
    auto options = shop();
    options.expectedErrors = {"eventfd() failed"};
    Nginx nginx(options);
    RawWebSocket socket(nginx.port(), "/sub/room");
    const auto old = nginx.workers();
    rlimit few{}, usual{};
    expect(prlimit(nginx.master(), RLIMIT_NOFILE, nullptr, &usual) == 0, "a limit");
    few = {openFiles(nginx.master()) + 20, usual.rlim_max}; // another zone needs more than sixty
    expect(prlimit(nginx.master(), RLIMIT_NOFILE, &few, nullptr) == 0, "another limit");
    auto changed = options;
    changed.http = "realtime_zone second 8m;\n" + options.http;
    nginx.rewrite(changed);
    kill(nginx.master(), SIGHUP);
    eventually([&] { return nginx.countInErrorLog("eventfd() failed") > 0; }, "it says so");
    publish(nginx, "room", "still here");
    expectEqual(next(socket).payload, "still here");
    expect(prlimit(nginx.master(), RLIMIT_NOFILE, &usual, nullptr) == 0, "the first limit");
    reloadAndWait(nginx);
    publish(nginx, "room", "and again");
    expectEqual(next(socket).payload, "and again");
    expect(nginx.workers() != old, "that one was a reload");
}

// Without a master nginx does not know what to do with SIGHUP; that must not be our end.
TEST(a_reload_without_a_master_leaves_subscribers_alone)
{
    auto options = shop();
    options.master = false;
    Nginx nginx(options);
    RawWebSocket socket(nginx.port(), "/ws/room");
    kill(nginx.master(), SIGHUP);
    eventually([&] { return nginx.countInErrorLog("reconfiguring") > 0; }, "it has been told");
    std::this_thread::sleep_for(200ms);
    socket.send({Text, "still here"});
    expectEqual(next(socket).payload, "still here");
}

TEST_MAIN()
