// The embedded store when it cannot store: nothing is broadcast that would be lost, and everything else goes on.
#include "support/realtime.hpp"
#include "support/small_disk.hpp"
#include "support/sqlite.hpp"
#include "support/websocket.hpp"

#include "testing.hpp"

using namespace realtime::testing;

namespace {

NginxOptions storedIn(const std::string& directory)
{
    auto options = endpoints();
    options.http = "realtime_broker events { server sqlite:" + directory +
                   "/events.db; }\n"
                   "realtime_app kept { broker events; }\n";
    options.server += "location = /kept { realtime_pubsub kept app=kept; }\n"
                      "location = /stored { realtime_publish kept app=kept ack=stored; }\n";
    return options;
}

void expectRefusedAndNotBroadcast(const Nginx& nginx, WebSocket& subscriber)
{
    HttpResponse answer;
    eventually(
        [&] {
            answer = post(nginx.url("/kept"), "cannot be kept");
            return answer.status == 503;
        },
        "the store says no");
    while (subscriber.pending()) { // those that were taken before the store knew
        subscriber.receive();
    }
    answer = post(nginx.url("/kept"), "cannot be kept either");
    expectEqual(answer.status, 503L);
    expect(std::stoi(answer.header("retry-after")) > 0, "when to try again");
    expect(!Json::parse(answer.body).at("error").text().empty(), "and why");
    subscriber.expectSilence();
    // Channels that need no store are not concerned.
    WebSocket other(nginx.port(), "/sub/room");
    publish(nginx, "room", "hello");
    expectEqual(other.receiveText(), "hello");
}

} // namespace

TEST(a_full_disk_refuses_what_it_cannot_keep_and_recovers)
{
    SmallDisk disk("256k");
    if (!disk.mounted()) {
        skip();
    }
    const Nginx nginx(storedIn(disk.path()));
    WebSocket subscriber(nginx.port(), "/kept");
    expectEqual(post(nginx.url("/stored"), "there is room").status, 200L);
    expectEqual(subscriber.receiveText(), "there is room");
    disk.fill();
    for (int i = 0; i < 200 && post(nginx.url("/kept"), std::string(4000, 'y')).status != 503; ++i) {
    }
    expectRefusedAndNotBroadcast(nginx, subscriber);
    const auto lines = nginx.countInErrorLog("[error]");
    expect(lines >= 1 && lines <= 3, "one line says so, not one an event: " + nginx.errorLog());

    disk.makeRoom();
    eventually([&] { return post(nginx.url("/stored"), "room again").status == 200; }, "it stores again",
               30s);
    expect(!query(disk.path() + "/events.db", "select 1 from events where data = 'room again'").empty(),
           "really");
}

TEST(a_directory_that_may_not_be_written_refuses_from_the_start)
{
    const TempDir directory;
    std::filesystem::permissions(directory.path(), std::filesystem::perms(0555));
    auto options = storedIn(directory.path());
    options.user = "www-data"; // root may write anywhere
    const Nginx nginx(options);
    WebSocket subscriber(nginx.port(), "/kept");
    expectRefusedAndNotBroadcast(nginx, subscriber);
    expect(nginx.countInErrorLog("[error]") >= 1 && nginx.countInErrorLog("[error]") <= 3,
           "one line says so: " + nginx.errorLog());
    // Somebody mends it.
    std::filesystem::permissions(directory.path(), std::filesystem::perms(0777));
    eventually([&] { return post(nginx.url("/stored"), "mended").status == 200; }, "it stores now", 30s);
}

TEST(an_event_published_over_a_websocket_that_cannot_be_kept_is_not_broadcast)
{
    const TempDir directory;
    std::filesystem::permissions(directory.path(), std::filesystem::perms(0555));
    auto options = storedIn(directory.path());
    options.user = "www-data";
    const Nginx nginx(options);
    WebSocket subscriber(nginx.port(), "/kept");
    expectRefusedAndNotBroadcast(nginx, subscriber);
    WebSocket publisher(nginx.port(), "/kept");
    publisher.send("cannot be kept");
    subscriber.expectSilence();
}

TEST(everything_is_stored_before_a_worker_ends)
{
    const TempDir directory;
    {
        Nginx nginx(storedIn(directory.path()));
        WebSocket socket(nginx.port(), "/kept");
        for (int i = 0; i < 500; ++i) {
            socket.send(std::to_string(i));
        }
        for (int i = 0; i < 500; ++i) {
            socket.receive();
        }
        nginx.quit();
        expectEqual(nginx.waitForExit(Patience), 0);
    }
    const auto rows = query(directory.path() / "events.db", "select data from events order by rowid");
    expectEqual(rows.size(), std::size_t{500});
    expectEqual(rows.back()[0], "499");
}

TEST_MAIN()
