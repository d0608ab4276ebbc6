// The spool behind nginx: what publishers are told while RabbitMQ is away, and what comes when it is back. No RabbitMQ is
// needed but for the last of these tests; the others' stands for one that is away.
#include "support/rabbitmq.hpp"
#include "support/realtime.hpp"
#include "support/websocket.hpp"

#include <filesystem>
#include <set>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

NginxOptions withSpool(const std::string& server, const std::string& spool, int workers = 1)
{
    auto options = endpoints(workers);
    options.http = "realtime_broker events { server " + server +
                   "; exchange spooled; queue spooled.all; spool " + spool +
                   "; }\nrealtime_app default { broker events; }\n";
    options.server += "location = /stored { realtime_publish room ack=stored; }\n"
                      "location = /confirmed { realtime_ping 500ms; realtime_timeout 1s; "
                      "realtime_publish room ack=broker; }\n";
    return options;
}

std::string nowhere()
{
    return "amqp://127.0.0.1:" + std::to_string(freePort());
}

Json broker(const Nginx& nginx)
{
    return Json::parse(get(nginx.url("/status?format=json")).body).at("brokers").at("events");
}

} // namespace

TEST(stored_is_answered_by_the_spool_and_broker_only_by_the_broker)
{
    const Nginx nginx(withSpool(nowhere(), "%DIR%/data/spool"));
    WebSocket socket(nginx.port(), "/sub/room");
    const auto begin = Clock::now();
    expectEqual(post(nginx.url("/stored"), "a").status, 200L);
    expect(Clock::now() - begin < 1s, "soon");
    const auto late = post(nginx.url("/confirmed"), "b");
    expectEqual(late.status, 504L);
    expectContains(late.body, "stays queued");
    expectEqual(socket.receiveText(), "a");
    expectEqual(socket.receiveText(), "b");
    eventually([&] { return broker(nginx).at("spool_events").number() == 2; },
               "the status tells of two events");
    expect(broker(nginx).has("last_error"), "and of the reason");
    const auto metrics = get(nginx.url("/status?format=prometheus")).body;
    expectContains(metrics, "realtime_broker_spool_events{broker=\"events\"} 2");
}

TEST(a_repeat_waits_for_the_store_too_and_is_no_second_event)
{
    const Nginx nginx(withSpool(nowhere(), "%DIR%/data/spool"));
    const auto first = post(nginx.url("/stored"), "a", {"Idempotency-Key: k"});
    const auto second = post(nginx.url("/stored"), "a", {"Idempotency-Key: k"});
    expectEqual(first.status, 200L);
    expectEqual(second.status, 200L);
    expectEqual(Json::parse(first.body).at("id").text(), Json::parse(second.body).at("id").text());
}

TEST(a_full_spool_refuses_with_a_time_to_come_again_broadcasts_nothing_and_logs_once)
{
    const Nginx nginx(withSpool(nowhere(), "%DIR%/data/spool max=1m"));
    WebSocket socket(nginx.port(), "/sub/room");
    const std::string body(50'000, 'x');
    int taken = 0;
    HttpResponse answer;
    while ((answer = post(nginx.url("/stored"), body)).status == 200 && taken < 100) {
        ++taken;
        expectEqual(socket.receiveText().size(), body.size());
    }
    expect(taken >= 18 && taken <= 20, std::to_string(taken) + " events fit into 1m");
    for (int i = 0; i < 30; ++i) {
        answer = post(nginx.url("/stored"), body);
        expectEqual(answer.status, 503L);
        expectEqual(answer.header("retry-after"), "1");
    }
    socket.expectSilence();
    eventually([&] { return broker(nginx).at("refused_total").number() == 31; }, "they are counted");
    eventually([&] { return nginx.countInErrorLog("is full: events for it are refused") == 1; },
               "a line says so");
}

TEST(a_spool_that_cannot_be_used_refuses_while_the_broker_is_away)
{
    const Nginx nginx(withSpool(nowhere(), "%DIR%/data/spool"));
    expectEqual(post(nginx.url("/stored"), "a").status, 200L);
    // In the file's place, a directory: no disk, in the eyes of SQLite.
    const auto spool = nginx.directory() / "data" / "spool";
    std::filesystem::remove_all(spool);
    writeFile(spool, "not a directory");
    eventually([&] { return post(nginx.url("/pub/room"), "b").status == 503; }, "publishing is refused");
    eventually([&] { return broker(nginx).at("spool_failed_workers").number() == 1; }, "the status says so");
    std::filesystem::remove(spool);
    std::filesystem::create_directory(spool);
    std::filesystem::permissions(spool, std::filesystem::perms::all);
    eventually([&] { return post(nginx.url("/stored"), "c").status == 200; }, "publishing goes on");
}

TEST(what_waited_through_a_reload_and_a_killed_worker_comes_when_the_broker_is_back)
{
    auto& server = RabbitMq::share();
    server.stop();
    auto options = withSpool(server.url(), "%DIR%/data/spool", 2);
    options.expectedErrors = {"exited on signal 9"};
    Nginx nginx(options);
    std::set<std::string> expected;
    auto publishSome = [&] {
        for (int i = 0; i < 50; ++i) {
            const auto answer = post(nginx.url("/stored"), "x");
            expectEqual(answer.status, 200L);
            expected.insert(Json::parse(answer.body).at("id").text());
        }
    };
    publishSome();
    nginx.reload();
    publishSome();
    nginx.killWorker(nginx.workers().front());
    publishSome();
    server.start();
    eventually([&] { return broker(nginx).at("state").text() == "up"; }, "the broker is up", 30s);
    AmqpConsumer consumer(server, AmqpQueue{"spooled.all"});
    while (!expected.empty()) {
        expected.erase(consumer.receive(30s).messageId);
    }
    eventually([&] { return broker(nginx).at("spool_events").number() == 0; }, "the spool is empty");
}

TEST_MAIN()
