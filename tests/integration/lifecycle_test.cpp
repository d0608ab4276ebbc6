// Reload, quit and stop with live subscribers.
#include "support/raw_socket.hpp"
#include "support/realtime.hpp"
#include "support/sse.hpp"
#include "support/websocket.hpp"

#include <csignal>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

NginxOptions draining(int workers = 1)
{
    auto options = endpoints(workers);
    options.http = "realtime_drain 500ms;\n"
                   "realtime_broker events { server sqlite:%DIR%/events.db; }\n"
                   "realtime_app default { broker events; }\n";
    return options;
}

} // namespace

// WebSockets move, see reload_test; event streams cannot.
TEST_WITH_WORKERS(a_reload_ends_event_streams_and_they_resume)
{
    Nginx nginx(draining(workers));
    const auto old = nginx.workers();
    std::vector<std::unique_ptr<SseClient>> streams;
    for (int i = 0; i < 8; ++i) {
        streams.push_back(std::make_unique<SseClient>(nginx.url("/sub/room")));
    }
    const std::string before = publish(nginx, "room", "before");
    for (auto& stream : streams) {
        expectEqual(stream->receive().data, "before");
    }
    nginx.reload();
    publish(nginx, "room", "meanwhile");
    for (auto& stream : streams) {
        expect(stream->waitForEnd(), "the event stream ends");
    }
    streams.clear();
    eventually([&] { return std::all_of(old.begin(), old.end(), gone); }, "the old workers end");

    SseClient resumed(nginx.url("/sub/room"), {"Last-Event-ID: " + before});
    expectEqual(resumed.receive().data, "meanwhile");
    eventually([&] { return probe(nginx, "room") == 1; }, "only the new subscriber is counted");
}

TEST(both_generations_hear_what_is_published_during_a_drain)
{
    auto options = draining(2);
    replaceAll(options.http, "500ms", "5s");
    Nginx nginx(options);
    std::vector<std::unique_ptr<SseClient>> streams;
    for (int i = 0; i < 6; ++i) {
        streams.push_back(std::make_unique<SseClient>(nginx.url("/sub/room")));
    }
    nginx.reload();
    WebSocket fresh(nginx.port(), "/sub/room");
    publish(nginx, "room", "to all");
    expectEqual(fresh.receiveText(), "to all");
    int heard = 0;
    for (auto& stream : streams) {
        const auto deadline = Clock::now() + Patience;
        while (!stream->pending() && !stream->waitForEnd(10ms)) {
            expect(Clock::now() < deadline, "the message, or the end if that came first");
        }
        heard += stream->pending() ? 1 : 0;
    }
    expect(heard > 0, "over five seconds, not all are asked to go at once");
}

TEST(a_bad_configuration_leaves_the_running_one_alone)
{
    auto options = draining();
    options.expectedErrors = {"unknown realtime_app"};
    Nginx nginx(options);
    WebSocket socket(nginx.port(), "/sub/room");
    auto broken = options;
    broken.server += "location = /x { realtime_publish room app=nowhere; }\n";
    nginx.rewrite(broken);
    kill(nginx.master(), SIGHUP);
    eventually([&] { return nginx.countInErrorLog("unknown realtime_app") > 0; }, "the mistake is logged");
    publish(nginx, "room", "still here");
    expectEqual(socket.receiveText(), "still here");
}

TEST(a_reload_may_change_rules)
{
    auto options = draining();
    Nginx nginx(options);
    publish(nginx, "room", "1");
    auto changed = options;
    changed.server += "location = /new { realtime_publish room; }\n";
    replaceAll(changed.http, "{ broker events; }", "{ channels * { history off; } }");
    nginx.rewrite(changed);
    nginx.reload();
    eventually([&] { return post(nginx.url("/new"), "2").status == 202; }, "the new location");
}

TEST(many_reloads_in_a_row_leave_nothing_behind)
{
    auto options = draining(2);
    Nginx nginx(options);
    publish(nginx, "room", "kept");
    for (int i = 0; i < 10; ++i) {
        const WebSocket socket(nginx.port(), "/sub/room");
        nginx.reload();
    }
    eventually([&] { return nginx.workers().size() == 2; }, "only the last generation is left");
    eventually([&] { return probe(nginx, "room") == 0; }, "no subscriber is left");
    SseClient history(nginx.url("/sub/room?since=earliest"));
    expectEqual(history.receive().data, "kept");
}

TEST_WITH_WORKERS(quit_closes_subscribers_and_ends_in_time)
{
    Nginx nginx(draining(workers));
    RawWebSocket socket(nginx.port(), "/sub/room");
    SseClient stream(nginx.url("/sub/room"));
    HttpRequest waiting;
    waiting.url = nginx.url("/sub/room");
    HttpExchange poll(waiting);
    eventually(
        [&] {
            poll.pump(5ms);
            return Json::parse(get(nginx.url("/status?format=json")).body)
                       .at("connections")
                       .at("longpoll")
                       .number() == 1;
        },
        "the poll waits");
    nginx.quit();
    expectEqual(socket.receiveClose(), 1012);
    socket.send({Close, std::string("\x03\xF4", 2)});
    socket.socket().receiveUntilClosed();
    expect(stream.waitForEnd(), "the event stream ends");
    expect(poll.finish().status == 204 || poll.response().status == 200, "the poll is answered");
    expectEqual(nginx.waitForExit(Patience), 0);
}

TEST(a_fast_stop_ends_at_once_with_subscribers_connected)
{
    auto options = draining(2);
    replaceAll(options.http, "500ms", "120s"); // a drain would not be over in time
    Nginx nginx(options);
    WebSocket socket(nginx.port(), "/sub/room");
    RawWebSocket raw(nginx.port(), "/sub/room");
    SseClient stream(nginx.url("/sub/room"));
    kill(nginx.master(), SIGTERM);
    expectEqual(raw.receiveClose(), 1012);
    expect(stream.waitForEnd(), "the event stream ends");
    expectEqual(nginx.waitForExit(Patience), 0);
    socket.waitForClose();
}

// nginx's master would kill a worker that gives one broker after the other its time.
TEST(a_fast_stop_with_stores_out_of_reach_says_what_is_lost)
{
    constexpr int Brokers = 4;
    NginxOptions options;
    for (int i = 0; i < Brokers; ++i) {
        const std::string n = std::to_string(i);
        options.http += "realtime_broker b" + n + " { server amqp://127.0.0.1:1; }\n";
        options.http += "realtime_app a" + n + " { broker b" + n + "; }\n";
        options.server += "location /pub/" + n + " { realtime_publish room app=a" + n + "; }\n";
    }
    Nginx nginx(options);
    for (int i = 0; i < Brokers; ++i) {
        for (int n = 0; n <= i; ++n) {
            expectEqual(post(nginx.url("/pub/" + std::to_string(i)), "lost").status, 202L);
        }
    }
    kill(nginx.master(), SIGTERM);
    expectEqual(nginx.waitForExit(Patience), 0);
    for (int i = 1; i <= Brokers; ++i) {
        expectEqual(
            nginx.countInErrorLog(std::to_string(i) + " events could not be stored in the time for stopping"),
            1U);
    }
    expectEqual(nginx.countInErrorLog("signal 9"), 0U);
}

TEST(a_subscriber_that_ignores_the_close_does_not_hold_up_a_quit)
{
    Nginx nginx(draining());
    RawWebSocket rude(nginx.port(), "/sub/room");
    nginx.quit();
    expectEqual(rude.receiveClose(), 1012); // and says nothing
    expectEqual(nginx.waitForExit(Patience), 0);
}

TEST(the_binary_can_be_replaced_while_running)
{
    auto options = draining();
    options.daemon = true; // nginx refuses otherwise
    Nginx nginx(options);
    RawWebSocket old(nginx.port(), "/sub/room");
    const std::string id = publish(nginx, "room", "old master");
    expectEqual(old.receive().payload, "old master");

    const pid_t oldMaster = nginx.master();
    kill(oldMaster, SIGUSR2);
    nginx.adoptSuccessor();
    // Both masters serve; zones are not shared between them. The old one is asked to go.
    kill(oldMaster, SIGQUIT);
    expectEqual(old.receiveClose(), 1012);
    expectEqual(nginx.waitForPredecessor(Patience), 0);
    WebSocket fresh(nginx.port(), "/sub/room");
    publish(nginx, "room", "new master");
    expectEqual(fresh.receiveText(), "new master");
    SseClient resumed(nginx.url("/sub/room?since=" + id)); // which this one knows nothing of
    expectEqual(resumed.receive().event, "realtime:gap");
}

TEST_MAIN()
