// What is given to nginx to be sent: whose it is until it is out, and what becomes of answers that cannot get out.
#include "support/http2.hpp"
#include "support/realtime.hpp"
#include "support/sqlite.hpp"

#include <algorithm>
#include <csignal>
#include <memory>
#include <sqlite3.h>
#include <sstream>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

// Little room in the kernel, so that a reader who does not read is soon noticed.
NginxOptions narrow(int workers = 1)
{
    auto options = endpoints(workers);
    options.http2 = true;
    options.listen = "sndbuf=16k";
    options.server += "location /hold/ { realtime_buffer 100m; realtime_subscribe others; }\n";
    return options;
}

constexpr Http2Options SlowReader{.receiveBuffer = 4096};

std::string markOf(const std::string& channel)
{
    std::string mark = '<' + channel + '>';
    mark.resize(64, '.');
    return mark;
}

// One event of a channel: its name, over and over.
std::string textOf(const std::string& channel, std::size_t bytes)
{
    const std::string mark = markOf(channel);
    std::string text;
    while (text.size() < bytes) {
        text += mark;
    }
    return text;
}

// A stream of a channel holds nothing but events of textOf(), whole ones, and comments.
void expectOnly(const std::string& channel, std::string_view body)
{
    const std::string mark = markOf(channel);
    std::istringstream lines{std::string(body)};
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("data: ")) {
            std::string_view rest = std::string_view(line).substr(6);
            while (rest.starts_with(mark)) {
                rest.remove_prefix(mark.size());
            }
            // The end may be missing: of what was cut off.
            expect(mark.starts_with(rest), "only <" + channel + "> in \"" + line.substr(0, 200) + '"');
        } else {
            const bool known = line.empty() || line.starts_with(':') || line.starts_with("id:") ||
                               std::string_view("data: ").starts_with(line);
            expect(known, "no line of an event: \"" + line.substr(0, 200) + '"');
        }
    }
}

// The same in any form.
void expectNoOther(const std::string& channel, const std::string& body)
{
    const std::string mark = markOf(channel);
    for (auto at = body.find('<'); at != std::string::npos; at = body.find('<', at + 1)) {
        const std::string_view found = std::string_view(body).substr(at, mark.size());
        if (!mark.starts_with(found)) {
            expect(false, "only <" + channel + "> in \"" + body.substr(at, 200) + '"');
        }
    }
}

std::int64_t open(const Nginx& nginx, const std::string& transport)
{
    return Json::parse(get(nginx.url("/status?format=json")).body).at("connections").at(transport).number();
}

void waitUntilOpen(const Nginx& nginx, const std::string& transport, std::int64_t count)
{
    eventually([&] { return open(nginx, transport) == count; },
               std::to_string(count) + " of " + transport + " are open");
}

// Follows the channel `others` and reads nothing, so that its frames stay in memory.
struct Holder {
    explicit Holder(const Nginx& nginx) : client(nginx.port(), 4096)
    {
        client.send("GET /hold/ HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
        client.receiveUntil("id: ");
    }
    // What is encoded now may lie where a frame was that had been freed too early.
    void fill(const Nginx& nginx)
    {
        waitUntilOpen(nginx, "sse", 1); // of the others is nothing left
        for (int i = 0; i < 40; i++) {
            publish(nginx, "others", textOf("others", 50'000));
        }
    }
    RawSocket client;
};

// A stream in the middle of a frame.
struct HalfSent {
    explicit HalfSent(const Nginx& nginx) : client(nginx.http2Port(), SlowReader)
    {
        stream = client.get("/sub/mine");
        client.receiveUntil(stream, "id: ");
        for (int i = 0; i < 8; i++) {
            publish(nginx, "mine", textOf("mine", 50'000));
        }
    }
    void readOn()
    {
        client.receiveToPong();
        expect(client.stream(stream).body.size() < 8 * 50'000, "it was in the middle");
        expectOnly("mine", client.stream(stream).body);
    }

    Http2Connection client;
    std::uint32_t stream = 0;
};

// Holds the store's lock, so that nothing is confirmed.
class LockedStore {
public:
    explicit LockedStore(const std::filesystem::path& path)
    {
        expectEqual(sqlite3_open(path.c_str(), &database_), SQLITE_OK);
        sqlite3_busy_timeout(database_, static_cast<int>(Patience.count()));
        execute("begin immediate");
    }
    ~LockedStore() { sqlite3_close(database_); }
    LockedStore(const LockedStore&) = delete;
    LockedStore& operator=(const LockedStore&) = delete;
    void release() { execute("commit"); }

private:
    void execute(const char* sql)
    {
        expectEqual(sqlite3_exec(database_, sql, nullptr, nullptr, nullptr), SQLITE_OK);
    }
    sqlite3* database_ = nullptr;
};

std::string pollRequest(const std::string& path, const std::string& headers = "")
{
    return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n";
}

} // namespace

// --- whose the bytes are ----------------------------------------------------------------------------------------

TEST(a_reset_stream_gets_no_byte_of_another_channel)
{
    const Nginx nginx(narrow());
    for (int round = 0; round < 3; round++) {
        Holder holder(nginx);
        HalfSent half(nginx);
        half.client.reset(half.stream);
        holder.fill(nginx);
        half.readOn();
    }
}

TEST(a_stream_that_is_closed_for_being_slow_gets_no_byte_of_another_channel)
{
    auto options = narrow();
    options.http = "realtime_buffer 200k;";
    const Nginx nginx(options);
    for (int round = 0; round < 3; round++) {
        Holder holder(nginx);
        HalfSent half(nginx);
        holder.fill(nginx);
        half.readOn();
        half.client.receiveToEnd(half.stream);
        expect(half.client.stream(half.stream).reset, "it is told that it is over");
    }
    expectEqual(nginx.countInErrorLog("subscriber does not read"), std::size_t{3});
}

TEST(a_watched_channel_and_a_status_stream_are_sent_whole_too)
{
    auto options = narrow();
    options.server += "location = /look { realtime_status watch; }\n";
    const Nginx nginx(options);
    Holder holder(nginx);
    Http2Connection client(nginx.http2Port(), SlowReader);
    const auto watch = client.get("/look?watch=mine");
    const auto figures = client.get("/look?format=events");
    client.receiveUntil(figures, "\n\ndata: {");
    for (int i = 0; i < 8; i++) {
        publish(nginx, "mine", textOf("mine", 50'000));
    }
    client.reset(watch);
    client.reset(figures);
    holder.fill(nginx);
    client.receiveToPong();
    expectOnly("mine", client.stream(watch).body);
    expectLacks(client.stream(figures).body, "<others>");
}

TEST(a_slow_stream_gets_every_event_once_it_reads)
{
    const Nginx nginx(narrow());
    Http2Connection client(nginx.http2Port(), {.window = 0, .receiveBuffer = 4096});
    const auto stream = client.get("/sub/room");
    waitUntilOpen(nginx, "sse", 1);
    std::string expected;
    for (int i = 0; i < 500; i++) { // more than nginx is given at a time
        publish(nginx, "room", std::to_string(i) + std::string(500, ' '));
        expected += std::to_string(i) + ',';
    }
    publish(nginx, "room", "last");
    client.openWindow(stream, 0x3fffffff);
    client.receiveUntil(stream, "data: last");
    std::string got;
    std::istringstream lines(client.stream(stream).body);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("data: ") && line != "data: last") {
            got += std::to_string(std::stoi(line.substr(6))) + ',';
        }
    }
    expectEqual(got, expected);
}

// --- what cannot get out ----------------------------------------------------------------------------------------

TEST(a_stream_whose_window_stays_closed_is_timed_out)
{
    auto options = narrow();
    options.http = "send_timeout 300ms; realtime_ping 1s;";
    const Nginx nginx(options);
    Http2Connection client(nginx.http2Port(), {.window = 0});
    const auto stream = client.get("/sub/room");
    client.receiveToEnd(stream);
    expectEqual(client.stream(stream).status, 200);
    expect(client.stream(stream).reset, "it was cut off");
    waitUntilOpen(nginx, "sse", 0);
}

TEST(a_stream_beside_filters_of_bodies_gets_its_events)
{
    auto options = narrow();
    options.server += "location = /throttled { limit_rate 1000; realtime_subscribe room; }\n"
                      "location = /ssi { ssi on; ssi_types *; realtime_subscribe room; }\n"
                      "location = /sub_filter { sub_filter one two; sub_filter_types *; "
                      "sub_filter_once off; realtime_subscribe room; }\n";
    const Nginx nginx(options);
    Http2Connection client(nginx.http2Port());
    std::vector<std::uint32_t> streams;
    for (const char* path : {"/throttled", "/ssi", "/sub_filter"}) {
        streams.push_back(client.get(path));
        client.receiveUntil(streams.back(), "id: ");
    }
    for (const std::string last : {"one", "two", "three"}) { // each by itself
        for (int i = 0; i < 300; i++) {
            publish(nginx, "room", "n" + std::to_string(i));
        }
        publish(nginx, "room", last);
        for (const auto stream : streams) {
            client.receiveUntil(stream, "data: " + last + '\n');
        }
    }
}

TEST(a_client_that_leaves_with_its_request_is_noticed)
{
    const Nginx nginx(narrow());
    for (int i = 0; i < 20; i++) {
        RawSocket client(nginx.port());
        client.send(pollRequest("/sub/room"));
        if (i % 2 == 0) {
            client.shutdownWriting();
            client.receiveUntilClosed();
        }
    }
    waitUntilOpen(nginx, "longpoll", 0);
}

// --- one answer -------------------------------------------------------------------------------------------------

TEST(a_poll_whose_answer_waits_is_answered_once_and_whole)
{
    auto options = narrow();
    options.zone = "main 16m"; // takes an event of 500 kB
    options.http = "realtime_timeout 300ms; realtime_ping 200ms; realtime_max_message_size 600k;";
    const Nginx nginx(options);
    const std::string event = textOf("room", 500'000);
    publish(nginx, "room", event);
    Http2Connection closed(nginx.http2Port(), {.window = 0});
    const auto stream = closed.get("/sub/room?since=earliest", "*/*");
    RawSocket slow(nginx.port(), 4096);
    slow.send(pollRequest("/sub/room?since=earliest", "Connection: close\r\n"));
    while (closed.stream(stream).status == 0) {
        closed.receive();
    }
    // Who has polled later, twice, and has waited for all its time: so long have the answers been buffered.
    for (int i = 0; i < 2; i++) {
        expectEqual(get(nginx.url("/sub/empty")).status, 204L);
    }
    expectEqual(open(nginx, "longpoll"), 0); // an answered one is none any more
    closed.openWindow(stream, 0x3fffffff);
    closed.receiveToEnd(stream);
    expect(closed.stream(stream).ended, "in good order");
    expectEqual(Json::parse(closed.stream(stream).body).at(0).at("data").text(), event);
    const std::string answer = slow.receiveUntilClosed();
    expectContains(answer, "HTTP/1.1 200 OK\r\n");
    expectEqual(Json::parse(answer.substr(answer.find("\r\n\r\n") + 4)).at(0).at("data").text(), event);
}

TEST(a_poll_that_nginx_lingers_over_is_answered_once)
{
    auto options = narrow();
    options.http = "realtime_timeout 300ms; realtime_ping 200ms; lingering_close always;";
    Nginx nginx(options);
    RawSocket empty(nginx.port());
    empty.send(pollRequest("/sub/empty", "Connection: close\r\n"));
    expectContains(empty.receiveUntil("\r\n\r\n"), "HTTP/1.1 204 ");
    RawSocket full(nginx.port());
    full.send(pollRequest("/sub/room", "Connection: close\r\n"));
    waitUntilOpen(nginx, "longpoll", 1);
    publish(nginx, "room", "news");
    expectContains(full.receiveUntil("]"), "news");
    for (int i = 0; i < 2; i++) {
        expectEqual(get(nginx.url("/sub/other")).status, 204L);
    }
    nginx.reload(); // nor at the end of the worker
    empty.receiveUntilClosed();
    full.receiveUntilClosed();
}

TEST(a_confirm_that_comes_after_its_504_changes_nothing)
{
    auto options = narrow();
    options.http = "realtime_timeout 300ms; realtime_ping 200ms; lingering_close always;\n"
                   "realtime_broker events { server sqlite:%DIR%/data/events.db; }\n"
                   "realtime_app kept { broker events; }\n";
    options.server += "location /kept/ { realtime_publish room app=kept ack=stored; }\n";
    const Nginx nginx(options);
    expectEqual(post(nginx.url("/kept/"), "first").status, 200L);
    LockedStore store(nginx.directory() / "data" / "events.db");
    RawSocket publisher(nginx.port());
    publisher.send(
        "POST /kept/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlate");
    Http2Connection closed(nginx.http2Port(), {.window = 0});
    const auto stream = closed.post("/kept/", "later");
    expectContains(publisher.receiveUntil("\r\n\r\n"), "HTTP/1.1 504 ");
    while (closed.stream(stream).status == 0) {
        closed.receive();
    }
    expectEqual(closed.stream(stream).status, 504);
    store.release();
    eventually([&] { return post(nginx.url("/kept/"), "last").status == 200; }, "those before are confirmed");
    closed.openWindow(stream, 10'000);
    closed.receiveToEnd(stream);
    expectContains(closed.stream(stream).body, "stays queued");
    expectEqual(query(nginx.directory() / "data" / "events.db",
                      "select 1 from events where data in ('late', 'later')")
                    .size(),
                std::size_t{2});
}

// --- the end of a worker ----------------------------------------------------------------------------------------

// Nginx checks that the log has no [alert]: "open socket left" among them.
TEST(streams_and_polls_drain_over_a_reload)
{
    auto options = narrow();
    options.http = "realtime_drain 2s; lingering_timeout 500ms; http2_max_concurrent_streams 200;";
    Nginx nginx(options);
    const auto old = nginx.workers();
    Http2Connection client(nginx.http2Port());
    std::vector<std::uint32_t> streams;
    for (int i = 0; i < 150; i++) {
        streams.push_back(client.get("/sub/room"));
    }
    const auto poll = client.get("/sub/room2", "*/*");
    HttpExchange over1({.url = nginx.url("/sub/room2")});
    eventually(
        [&] {
            over1.pump(5ms);
            return open(nginx, "longpoll") == 2 && open(nginx, "sse") == 150;
        },
        "all wait");
    nginx.reload();
    std::vector<Clock::time_point> ends;
    std::size_t over = 0;
    while (over < streams.size()) {
        client.receive();
        const auto now = static_cast<std::size_t>(
            std::count_if(streams.begin(), streams.end(), [&](auto id) { return client.stream(id).over(); }));
        ends.insert(ends.end(), now - over, Clock::now());
        over = now;
    }
    for (const auto stream : streams) {
        expect(client.stream(stream).ended, "in good order");
        expect(client.stream(stream).body.ends_with("\n\n"), "between two events");
    }
    expect(ends.back() - ends.front() > 1s, "spread over realtime_drain");
    client.receiveToEnd(poll);
    expectEqual(client.stream(poll).status, 204);
    expectEqual(over1.finish().status, 204L);
    expect(client.goingAway(), "nginx has said that it goes");
    eventually([&] { return gone(old.front()); }, "the old worker has ended");
    publish(nginx, "room", "the new one is there");
}

TEST(a_slow_stream_ends_between_two_events_when_nginx_quits)
{
    auto options = narrow();
    options.http = "realtime_drain 1s; lingering_timeout 500ms;";
    Nginx nginx(options);
    HalfSent half(nginx);
    Http2Connection closed(nginx.http2Port(), {.window = 0});
    const auto stream = closed.get("/sub/mine?since=earliest");
    waitUntilOpen(nginx, "sse", 2);
    nginx.quit();
    half.client.receiveToEnd(half.stream);
    expect(half.client.stream(half.stream).ended, "in good order");
    expectOnly("mine", half.client.stream(half.stream).body);
    expect(half.client.stream(half.stream).body.ends_with("\n\n"), "between two events");
    while (!closed.goingAway()) {
        closed.receive();
    }
    closed.openWindow(stream, 0x3fffffff);
    closed.receiveToEnd(stream);
    expect(closed.stream(stream).ended, "in good order");
    expectEqual(nginx.waitForExit(Patience), 0);
}

TEST(a_stop_at_once_leaves_nothing_behind)
{
    auto options = narrow();
    options.http = "realtime_drain 1h;";
    Nginx nginx(options);
    HalfSent half(nginx);
    Http2Connection client(nginx.http2Port(), {.window = 0});
    client.get("/sub/room");
    client.get("/sub/room", "*/*");
    waitUntilOpen(nginx, "longpoll", 1);
    kill(nginx.master(), SIGTERM);
    expectEqual(nginx.waitForExit(Patience), 0);
}

// --- all at once ------------------------------------------------------------------------------------------------

namespace {

enum class Habit { Reads, Slow, Closed, Resets, Leaves };

// A connection with streams of one channel each, which behaves as it is told.
class Guest {
public:
    static constexpr int Streams = 20;

    Guest(const Nginx& nginx, int index)
        : habit_(static_cast<Habit>(index % 5)), client_(nginx.http2Port(), optionsOf(habit_))
    {
        for (int i = 0; i < Streams; i++) {
            channels_.push_back("c" + std::to_string((index + i) % Streams));
            const bool polls = i % 5 == 4;
            streams_.push_back(client_.get("/sub/" + channels_.back() + (i % 2 == 0 ? "" : "?since=earliest"),
                                           polls ? "*/*" : "text/event-stream"));
        }
    }

    void act(int turn)
    {
        switch (habit_) {
        case Habit::Reads:
        case Habit::Slow:
            here_ = here_ && client_.receiveAll();
            break;
        case Habit::Closed:
            attempt([&] { client_.openWindow(streams_[static_cast<std::size_t>(turn % Streams)], 1000); });
            break;
        case Habit::Resets:
            attempt([&] {
                for (int i = turn % 3; i < Streams; i += 3) {
                    client_.reset(streams_[static_cast<std::size_t>(i)]);
                }
            });
            break;
        case Habit::Leaves:
            break;
        }
    }

    void finish()
    {
        if (habit_ == Habit::Leaves) {
            return;
        }
        attempt([&] { client_.receiveToPong(); });
        for (std::size_t i = 0; i < streams_.size(); i++) {
            expectNoOther(channels_[i], client_.stream(streams_[i]).body);
        }
    }

private:
    static Http2Options optionsOf(Habit habit)
    {
        return {.window = habit == Habit::Closed ? 0 : 0x3fffffffU,
                .receiveBuffer = habit == Habit::Reads ? 0 : 4096};
    }
    // nginx may have closed the connection: a worker has ended.
    template <class Body> void attempt(Body&& body)
    {
        try {
            if (here_) {
                body();
            }
        } catch (const PeerGone&) {
            here_ = false;
        }
    }

    Habit habit_;
    Http2Connection client_;
    std::vector<std::string> channels_;
    std::vector<std::uint32_t> streams_;
    bool here_ = true;
};

} // namespace

TEST(ten_thousand_streams_get_only_what_is_theirs)
{
    constexpr int Rounds = 20;
    constexpr int Guests = 25;
    auto options = narrow(2);
    options.zone = "main 32m";
    options.http = "realtime_buffer 40k; realtime_drain 500ms; send_timeout 2s; lingering_timeout 500ms;\n"
                   "realtime_app default { channels * { history 5 1h; } }";
    Nginx nginx(options);
    HttpClient publisher;
    HttpRequest request;
    request.method = "POST";
    for (int round = 0; round < Rounds; round++) {
        std::vector<std::unique_ptr<Guest>> guests;
        for (int i = 0; i < Guests; i++) {
            guests.push_back(std::make_unique<Guest>(nginx, i));
        }
        for (int turn = 0; turn < 3; turn++) {
            for (int channel = 0; channel < Guest::Streams; channel++) {
                const std::string name = "c" + std::to_string(channel);
                request.url = nginx.url("/pub/" + name);
                request.body = textOf(name, static_cast<std::size_t>(300) << channel % 8);
                expectEqual(publisher.send(request).status, 202L);
            }
            for (const auto& guest : guests) {
                guest->act(turn);
            }
            if (round % 5 == 4 && turn == 1) {
                nginx.reload();
            }
        }
        for (const auto& guest : guests) {
            guest->finish();
        }
    }
    for (const char* transport : {"sse", "longpoll"}) {
        waitUntilOpen(nginx, transport, 0);
    }
}

TEST_MAIN()
