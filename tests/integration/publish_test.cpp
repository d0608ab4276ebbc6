// POST and PUT on realtime_publish: answers, errors, limits, idempotency, CORS, durability.
#include "support/realtime.hpp"
#include "support/sqlite.hpp"
#include "support/websocket.hpp"

#include "testing.hpp"

using namespace realtime::testing;

namespace {

HttpRequest request(const std::string& method, const std::string& url, std::vector<std::string> headers = {})
{
    HttpRequest made;
    made.method = method;
    made.url = url;
    made.headers = std::move(headers);
    return made;
}

void expectError(const HttpResponse& answer, long status, const Location& at = Location::current())
{
    expectEqual(answer.status, status, at);
    expectContains(answer.header("content-type"), "application/json", at);
    expect(!Json::parse(answer.body).at("error").text().empty(), "an error without words", at);
}

} // namespace

TEST(the_answer_names_id_channel_and_subscribers)
{
    const Nginx nginx(endpoints());
    const WebSocket subscriber(nginx.port(), "/sub/room");
    const auto answer = post(nginx.url("/pub/room"), "hello");
    expectEqual(answer.status, 202L);
    expectContains(answer.header("content-type"), "application/json");
    const Json body = Json::parse(answer.body);
    expectEqual(body.at("channel").text(), "room");
    expectEqual(body.at("subscribers").number(), 1);
    expect(body.at("id").text().ends_with("-1"), "the first event of a channel has offset 1");
    expectEqual(body.size(), std::size_t{3});
}

TEST(offsets_grow_by_one_within_an_epoch)
{
    const Nginx nginx(endpoints());
    const std::string first = publish(nginx, "room", "1");
    const std::string second = publish(nginx, "room", "2");
    const std::string epoch = first.substr(0, first.find('-'));
    expectEqual(second, epoch + "-2");
    expect(!publish(nginx, "other", "1").starts_with(epoch + "-"), "another channel has another epoch");
}

TEST(put_publishes_as_well)
{
    const Nginx nginx(endpoints());
    auto put = request("PUT", nginx.url("/pub/room"));
    put.body = "x";
    expectEqual(send(put).status, 202L);
}

TEST(an_empty_body_is_a_message)
{
    const Nginx nginx(endpoints());
    WebSocket subscriber(nginx.port(), "/sub/room");
    publish(nginx, "room", "");
    expectEqual(subscriber.receiveText(), "");
}

TEST(publishing_works_over_http2)
{
    auto options = endpoints();
    options.http2 = true;
    const Nginx nginx(options);
    auto over2 = request("POST", nginx.http2Url("/pub/room"));
    over2.body = std::string(50'000, 'x');
    over2.version = HttpVersion::Http2Cleartext;
    const auto answer = send(over2);
    expectEqual(answer.status, 202L);
    expect(answer.http2, "HTTP/2 was spoken");
}

TEST(other_methods_are_refused_with_allow)
{
    const Nginx nginx(endpoints());
    for (const char* method : {"GET", "HEAD", "DELETE", "PATCH"}) {
        const auto answer = send(request(method, nginx.url("/pub/room")));
        expectEqual(answer.status, 405L);
        expectContains(answer.header("allow"), "POST");
        expectContains(answer.header("allow"), "PUT");
    }
    expectError(get(nginx.url("/pub/room")), 405);
    expectContains(send(request("DELETE", nginx.url("/sub/room"))).header("allow"), "GET");
}

TEST(bad_channel_names_are_refused)
{
    const Nginx nginx(endpoints());
    expectError(post(nginx.url("/pub/"), "x"), 400);
    expectError(post(nginx.url("/pub/" + std::string(201, 'a')), "x"), 400);
    for (const char* name : {"a%01b", "a%0Ab", "a%7F", "%C2%80", "a%FF", "%C3%28", "%ED%A0%80"}) {
        expectError(post(nginx.url(std::string("/pub/") + name), "x"), 400);
        expectError(get(nginx.url(std::string("/sub/") + name)), 400);
    }
    expectEqual(post(nginx.url("/pub/" + std::string(200, 'a')), "x").status, 202L);
    expectEqual(post(nginx.url("/pub/r%C3%B8m%20%2F%E2%82%AC"), "x").status, 202L);
}

TEST(a_message_over_the_limit_is_refused_and_one_at_the_limit_is_not)
{
    auto options = endpoints();
    options.http = "realtime_max_message_size 1k;";
    const Nginx nginx(options);
    expectEqual(post(nginx.url("/pub/room"), std::string(1024, 'x')).status, 202L);
    expectError(post(nginx.url("/pub/room"), std::string(1025, 'x')), 413);
    expectError(post(nginx.url("/pub/room"), std::string(300'000, 'x')), 413);
    // Without Content-Length, the size shows only as the body comes.
    auto chunked = request("POST", nginx.url("/pub/room"), {"Transfer-Encoding: chunked"});
    chunked.body = std::string(5000, 'x');
    expectError(send(chunked), 413);
    expectEqual(probe(nginx, "room"), 0);
}

TEST(a_large_message_within_its_limit_arrives_whole)
{
    auto options = endpoints();
    options.http = "realtime_max_message_size 512k; client_max_body_size 1m; client_body_buffer_size 8k;";
    const Nginx nginx(options);
    WebSocket subscriber(nginx.port(), "/sub/room");
    std::string large(400'000, '?');
    for (std::size_t i = 0; i < large.size(); ++i) {
        large[i] = static_cast<char>('a' + i % 23);
    }
    publish(nginx, "room", large);
    expect(subscriber.receiveText() == large, "the same bytes");
}

TEST(an_idempotency_key_publishes_once_whichever_worker_is_asked)
{
    const Nginx nginx(endpoints(2));
    WebSocket subscriber(nginx.port(), "/sub/room");
    auto clients = clientOnEachWorker(nginx);
    std::string id;
    for (auto& [worker, client] : clients) {
        auto again = request("POST", nginx.url("/pub/room"), {"Idempotency-Key: order-4711"});
        again.body = "once";
        const Json answer = Json::parse(client->send(again).body);
        if (id.empty()) {
            id = answer.at("id").text();
        }
        expectEqual(answer.at("id").text(), id);
    }
    expectEqual(subscriber.receiveText(), "once");
    subscriber.expectSilence();
    // Another channel, another key: another event.
    auto other = request("POST", nginx.url("/pub/other"), {"Idempotency-Key: order-4711"});
    other.body = "once";
    expect(Json::parse(send(other).body).at("id").text() != id, "keys belong to a channel");
    other.url = nginx.url("/pub/room");
    other.headers = {"Idempotency-Key: order-4712"};
    send(other);
    expectEqual(subscriber.receiveText(), "once");
}

TEST(options_is_answered)
{
    const Nginx nginx(endpoints());
    const auto answer = send(request("OPTIONS", nginx.url("/pub/room")));
    expectEqual(answer.status, 204L);
    expectContains(answer.header("allow"), "POST");
}

TEST(a_beacon_publishes)
{
    // navigator.sendBeacon: a POST with text/plain and an Origin, without a preflight.
    const Nginx nginx(endpoints());
    WebSocket subscriber(nginx.port(), "/sub/room");
    const std::string origin = "http://127.0.0.1:" + std::to_string(nginx.port());
    const auto answer =
        post(nginx.url("/pub/room"), "bye", {"Origin: " + origin, "Content-Type: text/plain;charset=UTF-8"});
    expectEqual(answer.status, 202L);
    expectEqual(subscriber.receiveText(), "bye");
}

TEST(stored_means_that_sqlite_has_the_row)
{
    auto options = endpoints();
    options.http = "realtime_broker events { server sqlite:%DIR%/events.db; }\n"
                   "realtime_app shop { broker events; }\n";
    options.server += "location = /stored { realtime_publish orders.7 app=shop event=created ack=stored; }\n"
                      "location = /logged { realtime_publish orders.8 app=shop; }\n";
    const Nginx nginx(options);
    const auto answer = post(nginx.url("/stored"), "{\"n\":1}", {"Content-Type: application/json"});
    expectEqual(answer.status, 200L);
    const std::string id = Json::parse(answer.body).at("id").text();
    const auto rows = query(nginx.directory() / "events.db",
                            "select id, app, channel, event, content_type, data, published_at from events");
    expectEqual(rows.size(), std::size_t{1});
    const Row expected{id, "shop", "orders.7", "created", "application/json", "{\"n\":1}"};
    expect(Row(rows[0].begin(), rows[0].begin() + 6) == expected, "the row holds the event");
    expect(!rows[0][6].empty(), "and when it was published");

    expectEqual(post(nginx.url("/logged"), "later").status, 202L);
    eventually(
        [&] {
            return query(nginx.directory() / "events.db", "select 1 from events where channel='orders.8'")
                       .size() == 1;
        },
        "ack=log is stored too");
}

TEST(ack_broker_of_an_embedded_store_answers_when_stored)
{
    auto options = endpoints();
    options.http = "realtime_broker events { server sqlite:%DIR%/events.db; }\n"
                   "realtime_app shop { broker events; }\n";
    options.server += "location = /stored { realtime_publish orders.7 app=shop ack=broker; }\n";
    const Nginx nginx(options);
    for (int i = 0; i < 20; ++i) {
        expectEqual(post(nginx.url("/stored"), std::to_string(i)).status, 200L);
    }
    const auto rows = query(nginx.directory() / "events.db", "select data from events order by rowid");
    expectEqual(rows.size(), std::size_t{20});
    for (std::size_t i = 0; i < rows.size(); ++i) {
        expectEqual(rows[i][0], std::to_string(i));
    }
}

TEST(variables_reach_the_access_log)
{
    auto options = endpoints();
    options.http =
        "log_format rt '$status|$realtime_app|$realtime_channel|$realtime_event|$realtime_message_id|"
        "$realtime_subscribers|$realtime_transport';\n";
    options.server += "access_log %DIR%/rt.log rt;\n";
    const Nginx nginx(options);
    const std::string id = publish(nginx, "room", "x", "greeting");
    eventually(
        [&] {
            return readFile(nginx.directory() / "rt.log")
                       .find("202|default|room|greeting|" + id + "|0|http") != std::string::npos;
        },
        "the line with all variables; it is: " + readFile(nginx.directory() / "rt.log"));
}

TEST_MAIN()
