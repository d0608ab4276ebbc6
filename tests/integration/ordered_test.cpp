// `deliver broker`: a stream of RabbitMQ gives channels their order, ids and history, the same on every node.
#include "support/proxy.hpp"
#include "support/pusher.hpp"
#include "support/rabbitmq.hpp"
#include "support/realtime.hpp"
#include "support/sse.hpp"
#include "support/websocket.hpp"

#include <algorithm>
#include <csignal>
#include <memory>
#include <set>
#include <vector>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

// A stream of the test's own.
NginxOptions ordered(const std::string& server, const std::string& name, const std::string& arguments = "")
{
    auto options = endpoints(2);
    options.expectedErrors = {"exited on signal 9"};
    options.http =
        "realtime_broker events { server " + server + "; exchange " + name + " topic; queue " + name +
        ".stream stream " + arguments +
        "; cluster on; }\n"
        "realtime_app default { key k; secret s; broker events; channels ordered.* { deliver broker; "
        "history 100000 1h; } }\n";
    options.server += "location /app/ { realtime_pusher websocket; }\n";
    return options;
}

void waitUntilReading(const Nginx& nginx, std::size_t workers = 2)
{
    eventually([&] { return nginx.countInErrorLog("is read") >= workers; }, "all workers read the stream",
               60s);
}

// All of whose workers read the stream.
class Node : public Nginx {
public:
    explicit Node(const NginxOptions& options) : Nginx(options) { waitUntilReading(*this); }
};

std::string publishOrdered(const Nginx& nginx, const std::string& channel, const std::string& data,
                           const std::vector<std::string>& headers = {})
{
    HttpRequest request;
    request.url = nginx.url("/pub/" + channel);
    request.method = "POST";
    request.body = data;
    request.headers = headers;
    const auto answer = send(request);
    expectEqual(answer.status, 200L);
    return Json::parse(answer.body).at("id").text();
}

// The `id` and data of the next event.
std::pair<std::string, std::string> next(SseClient& client)
{
    const SseEvent event = client.receive();
    expectEqual(event.event, "message");
    return {event.id, event.data};
}

} // namespace

TEST(every_node_has_the_same_order_and_the_same_ids)
{
    auto& server = RabbitMq::share();
    const Node a(ordered(server.url(), "order"));
    const Node b(ordered(server.url(), "order"));
    SseClient onA(a.url("/sub/ordered.room"));
    SseClient onB(b.url("/sub/ordered.room"));
    WebSocket fromA(a.port(), "/ws/ordered.room");
    WebSocket fromB(b.port(), "/ws/ordered.room");
    constexpr int Events = 300;
    for (int i = 0; i < Events; ++i) {
        fromA.send("a" + std::to_string(i));
        fromB.send("b" + std::to_string(i));
    }
    int nextA = 0, nextB = 0;
    for (int i = 0; i < 2 * Events; ++i) {
        const auto there = next(onA);
        expect(there == next(onB), "the same event under the same id: " + there.second);
        int& expected = there.second[0] == 'a' ? nextA : nextB;
        expectEqual(there.second.substr(1), std::to_string(expected++));
    }
    onA.expectSilence();
    onB.expectSilence();
}

TEST(a_publisher_is_told_the_id_that_subscribers_see_and_their_number_on_all_nodes)
{
    auto& server = RabbitMq::share();
    const Node a(ordered(server.url(), "told"));
    const Node b(ordered(server.url(), "told"));
    SseClient subscriber(b.url("/sub/ordered.room"));
    for (int i = 0; i < 20; ++i) { // by either worker
        const std::string id = publishOrdered(a, "ordered.room", std::to_string(i));
        expect(next(subscriber) == std::pair(id, std::to_string(i)), "it is the event");
    }
    const std::string id = publishOrdered(a, "ordered.room", "once", {"Idempotency-Key: 42"});
    expectEqual(publishOrdered(b, "ordered.room", "once", {"Idempotency-Key: 42"}), id);
    expect(next(subscriber) == std::pair(id, std::string("once")), "it comes once");
    subscriber.expectSilence();
}

TEST(a_web_page_takes_no_key_of_a_server)
{
    auto& server = RabbitMq::share();
    const Node a(ordered(server.url(), "keys"));
    const Node b(ordered(server.url(), "keys"));
    const std::vector<std::string> servers = {"Idempotency-Key: 42"};
    const std::vector<std::string> pages = {"Idempotency-Key: 42", "Origin: " + a.url("")};
    const std::string guess = publishOrdered(a, "ordered.room", "noise", pages);
    const std::string order = publishOrdered(a, "ordered.room", "order", servers);
    expect(order != guess, "the server's event is another");
    expectEqual(publishOrdered(b, "ordered.room", "order", servers), order);
    expectEqual(publishOrdered(a, "ordered.room", "noise", pages), guess);
}

TEST(a_client_resumes_on_any_node)
{
    auto& server = RabbitMq::share();
    const Node a(ordered(server.url(), "resume"));
    std::vector<std::string> ids;
    for (int i = 0; i < 50; ++i) {
        ids.push_back(publishOrdered(a, "ordered.room", std::to_string(i)));
        publishOrdered(a, "ordered.other", "other");
    }
    const Node b(ordered(server.url(), "resume")); // which has seen nothing of it
    for (const std::size_t from : {0U, 10U, 48U, 49U}) {
        SseClient client(b.url("/sub/ordered.room?since=" + ids[from]));
        for (std::size_t i = from + 1; i < ids.size(); ++i) {
            expect(next(client) == std::pair(ids[i], std::to_string(i)), "it goes on behind the id");
        }
        client.expectSilence();
    }
    WebSocket client(b.port(), "/sub/ordered.room?since=" + ids[45], "realtime.json");
    for (int i = 46; i < 50; ++i) {
        expectEqual(Json::parse(client.receiveText()).at("data").text(), std::to_string(i));
    }
    expectEqual(publishOrdered(a, "ordered.room", "live").empty(), false);
    expectEqual(Json::parse(client.receiveText()).at("data").text(), "live");
}

TEST(history_survives_a_restart_of_everything)
{
    auto& server = RabbitMq::share();
    constexpr int Events = 1000;
    std::string last;
    {
        const Node nginx(ordered(server.url(), "restart"));
        WebSocket publisher(nginx.port(), "/ws/ordered.room");
        SseClient live(nginx.url("/sub/ordered.room"));
        for (int i = 0; i <= Events; ++i) {
            publisher.send(std::to_string(i));
        }
        for (int i = 0; i <= Events; ++i) {
            last = next(live).first;
        }
    }
    server.stop();
    server.start();
    const Nginx nginx(ordered(server.url(), "restart"));
    for (int round = 0; round < 2; ++round) { // the first before it follows, perhaps
        SseClient client(nginx.url("/sub/ordered.room?since=earliest"));
        std::string id;
        for (int i = 0; i <= Events; ++i) {
            const auto event = next(client);
            expectEqual(event.second, std::to_string(i));
            id = event.first;
        }
        expectEqual(id, last);
        client.expectSilence();
        publishOrdered(nginx, "ordered.other", "not for it");
        client.expectSilence();
    }
}

TEST(what_the_log_no_longer_has_comes_from_the_stream)
{
    auto& server = RabbitMq::share();
    auto options = ordered(server.url(), "long");
    options.zone = "main 1m";
    const Node nginx(options);
    const std::string filling(4000, 'x');
    constexpr int Events = 600; // more than twice what the log takes
    WebSocket publisher(nginx.port(), "/ws/ordered.room");
    std::string tenth;
    for (int i = 0; i < Events; ++i) {
        publisher.send(std::to_string(i) + ":" + filling);
        if (i == 10) {
            SseClient first(nginx.url("/sub/ordered.room?since=earliest"));
            for (int n = 0; n <= 10; ++n) {
                tenth = next(first).first;
            }
        }
    }
    publisher.send(std::to_string(Events) + ":");
    SseClient live(nginx.url("/sub/ordered.room?since=" + tenth));
    while (next(live).second != std::to_string(Events) + ":") {
    }
    for (const bool earliest : {true, false}) {
        SseClient client(nginx.url("/sub/ordered.room?since=" + (earliest ? "earliest" : tenth)));
        for (int i = earliest ? 0 : 11; i <= Events; ++i) {
            const std::string data = next(client).second;
            expectEqual(data.substr(0, data.find(':')), std::to_string(i));
        }
        client.expectSilence();
    }
}

TEST(when_the_worker_that_follows_dies_nothing_is_lost_or_told_twice)
{
    auto& server = RabbitMq::share();
    Node nginx(ordered(server.url(), "follower"));
    int sent = 0;
    for (std::size_t round = 0; round < 2; ++round) {
        const pid_t victim = nginx.workers().at(0);
        std::unique_ptr<WebSocket> subscriber, publisher;
        eventually(
            [&] {
                subscriber = std::make_unique<WebSocket>(nginx.port(), "/sub/ordered.room");
                return nginx.workerOf(subscriber->clientPort()) != victim;
            },
            "a subscriber of the other worker");
        eventually(
            [&] {
                publisher = std::make_unique<WebSocket>(nginx.port(), "/ws/ordered.room");
                return nginx.workerOf(publisher->clientPort()) != victim;
            },
            "a publisher on the other worker");
        const int first = sent;
        for (; sent < first + 300; ++sent) {
            publisher->send(std::to_string(sent));
            if (sent == first + 100) {
                nginx.killWorker(victim);
            }
        }
        for (int i = first; i < sent; ++i) {
            expectEqual(subscriber->receiveText(), std::to_string(i));
        }
        subscriber->expectSilence();
        waitUntilReading(nginx, 3 + round);
    }
}

TEST(while_the_stream_is_away_events_wait_and_nobody_misses_one)
{
    auto& server = RabbitMq::share();
    Proxy proxy(server.port());
    const Node a(ordered(server.url(), "away"));
    const Node b(ordered(proxy.url(), "away"));
    SseClient onA(a.url("/sub/ordered.room"));
    SseClient onB(b.url("/sub/ordered.room"));
    WebSocket fromA(a.port(), "/ws/ordered.room");
    WebSocket fromB(b.port(), "/ws/ordered.room");
    fromA.send("before");
    expectEqual(next(onB).second, "before");
    expectEqual(next(onA).second, "before");
    proxy.block(true);
    for (int i = 0; i < 50; ++i) {
        fromA.send("a" + std::to_string(i));
        fromB.send("b" + std::to_string(i));
    }
    for (int i = 0; i < 50; ++i) {
        expectEqual(next(onA).second, "a" + std::to_string(i));
    }
    onB.expectSilence(); // nobody of its own either: order comes first
    proxy.block(false);
    std::vector<std::pair<std::string, std::string>> there, here;
    for (int i = 0; i < 50; ++i) {
        there.push_back(next(onA));
    }
    for (int i = 0; i < 100; ++i) {
        here.push_back(next(onB));
    }
    expect(std::equal(there.begin(), there.end(), here.begin() + 50), "the same order and ids");
    onA.expectSilence();
    onB.expectSilence();
}

TEST(who_comes_back_while_the_stream_is_away_waits_and_is_told_of_a_gap_only_if_there_is_one)
{
    auto& server = RabbitMq::share();
    constexpr const char* Retention =
        "arg=x-max-length-bytes:300000 arg=x-stream-max-segment-size-bytes:100000";
    const Node a(ordered(server.url(), "comeback", Retention));
    std::vector<std::string> ids;
    constexpr std::size_t Events = 200;
    for (std::size_t i = 0; i < Events; ++i) {
        ids.push_back(publishOrdered(a, "ordered.room", std::to_string(i) + ":" + std::string(4000, 'x')));
    }
    Proxy proxy(server.port());
    proxy.block(true);
    const Nginx b(ordered(proxy.url(), "comeback", Retention)); // whose log has nothing
    SseClient complete(b.url("/sub/ordered.room?since=" + ids[Events - 5]));
    SseClient incomplete(b.url("/sub/ordered.room?since=" + ids[0]));
    PusherClient several(b.port(), "k", "s");
    several.subscribe("plain");
    several.askToSubscribe("ordered.room", "", ids[Events - 5]);
    expectEqual(several.receive().event, "pusher_internal:subscription_succeeded");
    const auto since = Clock::now();
    publish(b, "plain", "goes on");
    expectEqual(several.receive().data, "goes on");
    expect(Clock::now() - since < 10s, "what has nothing to do with it is not held up for long");
    complete.expectSilence(12s);
    expect(!incomplete.pending() && !several.socket().pending(),
           "nor does anybody else hear what is not known");
    proxy.block(false);
    for (std::size_t i = Events - 4; i < Events; ++i) {
        expectEqual(next(complete).first, ids[i]);
        const PusherEvent event = several.receive();
        expectEqual(event.channel + " " + event.id, "ordered.room " + ids[i]);
    }
    expectEqual(incomplete.receive().event, "realtime:gap");
    std::string last;
    while (last != ids.back()) {
        last = next(incomplete).first;
    }
    ids.push_back(publishOrdered(a, "ordered.room", "live"));
    for (SseClient* client : {&complete, &incomplete}) {
        expectEqual(next(*client).first, ids.back());
        client->expectSilence();
    }
    expectEqual(several.receive().id, ids.back());
}

TEST(a_rabbitmq_that_hangs_is_waited_for)
{
    auto& server = RabbitMq::share();
    const Node a(ordered(server.url(), "hangs"));
    std::vector<std::string> ids;
    for (int i = 0; i < 20; ++i) {
        ids.push_back(publishOrdered(a, "ordered.room", std::to_string(i)));
    }
    const auto since = Clock::now(); // what is younger than two seconds comes into a new log
    eventually([&] { return Clock::now() - since > 3s; }, "time passes");
    const Node b(ordered(server.url(), "hangs")); // whose log has none of them, and which is connected
    publishOrdered(a, "ordered.other", "x");
    SseClient other(b.url("/sub/ordered.other?since=earliest"));
    expectEqual(next(other).second, "x");
    server.pause();
    std::unique_ptr<SseClient> client;
    try {
        client = std::make_unique<SseClient>(b.url("/sub/ordered.room?since=" + ids[10]));
        client->expectSilence(13s);
    } catch (...) {
        server.resume();
        throw;
    }
    server.resume();
    for (std::size_t i = 11; i < ids.size(); ++i) {
        expect(next(*client) == std::pair(ids[i], std::to_string(i)), "nothing is missing");
    }
    client->expectSilence();
}

TEST(a_reload_loses_repeats_and_reorders_nothing)
{
    auto& server = RabbitMq::share();
    auto options = ordered(server.url(), "reload");
    options.reuseport = false;
    const Node nginx(options);
    WebSocket publisher(nginx.port(), "/ws/ordered.room");
    WebSocket subscriber(nginx.port(), "/sub/ordered.room", "realtime.json");
    int number = 0;
    for (int reload = 0; reload < 3; ++reload) {
        const auto old = nginx.workers();
        kill(nginx.master(), SIGHUP);
        eventually(
            [&] {
                publisher.send(std::to_string(number++));
                return std::all_of(old.begin(), old.end(), gone);
            },
            "the old workers end");
    }
    std::string last;
    for (int i = 0; i < number; ++i) {
        const Json event = Json::parse(subscriber.receiveText());
        expectEqual(event.at("data").text(), std::to_string(i));
        last = event.at("id").text();
    }
    subscriber.expectSilence();
    SseClient later(nginx.url("/sub/ordered.room?since=earliest"));
    for (int i = 0; i < number; ++i) {
        const auto event = next(later);
        expectEqual(event.second, std::to_string(i));
        expect(i + 1 < number || event.first == last, "under the same id");
    }
}

TEST(a_stream_that_is_deleted_and_made_anew_is_another_life_of_its_channels)
{
    auto& server = RabbitMq::share();
    auto options = ordered(server.url(), "anew");
    options.http += "realtime_ping 1s; realtime_timeout 3s;\n";
    const Node a(options);
    const Node b(options);
    SseClient onA(a.url("/sub/ordered.room"));
    SseClient onB(b.url("/sub/ordered.room"));
    std::string early, old;
    for (int i = 0; i < 30; ++i) {
        old = publishOrdered(a, "ordered.room", std::to_string(i));
        early = i == 3 ? old : early;
        expect(next(onA) == std::pair(old, std::to_string(i)), "it comes here");
        expect(next(onB) == std::pair(old, std::to_string(i)), "and there");
    }
    const auto since = Clock::now(); // streams that begin within the same second are not told apart
    eventually([&] { return Clock::now() - since > 1500ms; }, "time passes");
    server.ctl({"delete_queue", "anew.stream"});
    // Nobody has to do anything. What is published before it is there again is not acknowledged.
    std::vector<std::string> ids;
    eventually(
        [&] {
            const auto answer = post(b.url("/pub/ordered.room"), "new");
            if (answer.status == 200) {
                ids.push_back(Json::parse(answer.body).at("id").text());
            }
            return !ids.empty();
        },
        "publishing goes on", 30s);
    for (int i = 0; i < 5; ++i) { // fewer than the old one had
        ids.push_back(publishOrdered(a, "ordered.room", "new"));
    }
    for (SseClient* client : {&onA, &onB}) {
        expectEqual(client->receive().event, "realtime:gap");
        std::string id;
        while (id != ids.front()) { // one that was not acknowledged may be before it
            id = next(*client).first;
        }
        for (std::size_t i = 1; i < ids.size(); ++i) {
            expectEqual(next(*client).first, ids[i]);
        }
        client->expectSilence();
    }
    for (const Node* node : {&a, &b}) {
        expectEqual(node->countInErrorLog("the stream \"anew.stream\" was deleted and made anew"), 1U);
    }
    const Node late(ordered(server.url(), "anew")); // has seen nothing of all this
    for (const Node* node : {&a, &b, &late}) {
        for (const std::string& id : {early, old}) {
            SseClient back(node->url("/sub/ordered.room?since=" + id));
            expectEqual(back.receive().event, "realtime:gap");
            std::string last;
            while (last != ids.back()) {
                last = next(back).first;
            }
            back.expectSilence();
        }
        SseClient back(node->url("/sub/ordered.room?since=" + ids[2]));
        expectEqual(next(back).first, ids[3]);
        SseClient all(node->url("/sub/ordered.room?since=earliest"));
        std::string id;
        while (id != ids.back()) {
            id = next(all).first;
        }
    }
}

TEST(what_the_stream_has_dropped_is_told_as_a_gap)
{
    auto& server = RabbitMq::share();
    auto options = ordered(server.url(), "retention",
                           "arg=x-max-length-bytes:300000 arg=x-stream-max-segment-size-bytes:100000");
    options.zone = "main 1m";
    const Node nginx(options);
    const std::string early = publishOrdered(nginx, "ordered.room", "first");
    constexpr int Events = 600; // more than twice what the log takes
    for (int i = 0; i < Events; ++i) {
        publishOrdered(nginx, "ordered.room", std::to_string(i) + ":" + std::string(4000, 'x'));
    }
    SseClient back(nginx.url("/sub/ordered.room?since=" + early));
    expectEqual(back.receive().event, "realtime:gap");
    auto event = next(back);
    expect(toInt(event.second.substr(0, event.second.find(':'))) > 1, "events are missing");
    for (int expected = toInt(event.second.substr(0, event.second.find(':'))) + 1; expected < Events;
         ++expected) {
        event = next(back);
        expectEqual(event.second.substr(0, event.second.find(':')), std::to_string(expected));
    }
    back.expectSilence();
    SseClient all(nginx.url("/sub/ordered.room?since=earliest")); // to which nothing was promised
    expect(next(all).second.find(':') != std::string::npos, "what there is");
}

TEST(what_no_subscriber_could_ever_get_is_refused_and_does_not_enter_the_stream)
{
    auto& server = RabbitMq::share();
    auto options = ordered(server.url(), "large");
    // Where events are published as they are, `nginx -t` refuses such a limit.
    replaceAll(options.server, "realtime_pusher websocket;",
               "realtime_pusher websocket; realtime_max_message_size 2m;");
    replaceAll(options.http, "deliver broker;", "deliver broker; client_publish on;");
    const Node nginx(options);
    SseClient subscriber(nginx.url("/sub/ordered.room"));
    PusherClient client(nginx.port(), "k", "s");
    client.socket().send(
        {Text,
         R"({"event":"realtime:publish","data":{"ref":1,"channel":"ordered.room","event":"e","data":")" +
             std::string(1'500'000, 'x') + "\"}}"});
    expectContains(client.receive().data, "\"code\":413");
    const std::string id = publishOrdered(nginx, "ordered.room", "small");
    expect(next(subscriber) == std::pair(id, std::string("small")), "only that comes");
    SseClient all(nginx.url("/sub/ordered.room?since=earliest"));
    expectEqual(next(all).first, id);
}

TEST_MAIN()
