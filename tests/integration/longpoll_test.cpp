// Long-poll: for clients that have neither WebSocket nor EventSource.
#include "support/realtime.hpp"

#include "testing.hpp"

using namespace realtime::testing;

namespace {

HttpRequest poll(const Nginx& nginx, const std::string& query = "")
{
    HttpRequest request;
    request.url = nginx.url("/sub/room" + query);
    return request;
}

} // namespace

TEST(a_poll_waits_for_the_next_message)
{
    const Nginx nginx(endpoints());
    HttpExchange exchange(poll(nginx));
    eventually(
        [&] {
            exchange.pump(5ms);
            return probe(nginx, "other") == 0 &&
                   Json::parse(get(nginx.url("/status?format=json")).body).size() > 0;
        },
        "the poll has arrived");
    expect(!exchange.done(), "no answer before there is a message");
    std::string id;
    // The poll may not have been read yet: publish until it is answered.
    eventually(
        [&] {
            id = publish(nginx, "room", "hello", "greeting");
            exchange.pump(50ms);
            return exchange.done();
        },
        "the poll's answer");
    const HttpResponse& answer = exchange.finish();
    expectEqual(answer.status, 200L);
    expectContains(answer.header("content-type"), "application/json");
    const Json list = Json::parse(answer.body);
    expectEqual(list.at(0).at("channel").text(), "room");
    expectEqual(list.at(0).at("event").text(), "greeting");
    expectEqual(list.at(0).at("data").text(), "hello");
    expectEqual(answer.header("realtime-last-id"), list.at(list.size() - 1).at("id").text());
}

TEST(since_answers_at_once_with_all_that_was_missed)
{
    const Nginx nginx(endpoints());
    const std::string first = publish(nginx, "room", "1");
    publish(nginx, "room", "2");
    const std::string third = publish(nginx, "room", "3");
    const auto answer = HttpExchange(poll(nginx, "?since=" + first)).finish();
    const Json list = Json::parse(answer.body);
    expectEqual(list.size(), std::size_t{2});
    expectEqual(list.at(0).at("data").text(), "2");
    expectEqual(list.at(1).at("id").text(), third);
    expectEqual(answer.header("realtime-last-id"), third);
    expectContains(answer.header("cache-control"), "no-");
}

TEST(polling_on_from_the_last_id_misses_nothing)
{
    const Nginx nginx(endpoints());
    std::string last = publish(nginx, "room", "0");
    int next = 1;
    for (int round = 0; round < 10; ++round) {
        for (int i = 0; i < 3; ++i) {
            publish(nginx, "room", std::to_string(next + i));
        }
        const auto answer = HttpExchange(poll(nginx, "?since=" + last)).finish();
        const Json list = Json::parse(answer.body);
        expectEqual(list.size(), std::size_t{3});
        for (std::size_t i = 0; i < 3; ++i) {
            expectEqual(list.at(i).at("data").text(), std::to_string(next++));
        }
        last = answer.header("realtime-last-id");
    }
}

TEST(a_poll_without_news_ends_with_204_and_a_place_to_go_on_from)
{
    auto options = endpoints();
    options.http = "realtime_timeout 300ms; realtime_ping 200ms;";
    const Nginx nginx(options);
    const std::string id = publish(nginx, "room", "old");
    const auto begin = Clock::now();
    const auto answer = HttpExchange(poll(nginx)).finish();
    expectEqual(answer.status, 204L);
    expect(Clock::now() - begin > 200ms, "it waited");
    expectEqual(answer.header("realtime-last-id"), id);
}

TEST(a_gap_is_in_the_list)
{
    auto options = endpoints();
    options.http = "realtime_app default { channels * { history 1 1h; } }";
    const Nginx nginx(options);
    const std::string first = publish(nginx, "room", "1");
    publish(nginx, "room", "2");
    publish(nginx, "room", "3");
    const Json list = Json::parse(HttpExchange(poll(nginx, "?since=" + first)).finish().body);
    expectEqual(list.size(), std::size_t{2});
    expectEqual(list.at(0).at("event").text(), "realtime:gap");
    expectEqual(list.at(1).at("data").text(), "3");
}

TEST(a_poll_that_goes_away_is_counted_off)
{
    const Nginx nginx(endpoints());
    {
        HttpExchange exchange(poll(nginx));
        // probe() publishes and so would answer the poll: ask the status page for subscribers instead.
        exchange.pump(100ms);
    }
    eventually([&] { return probe(nginx, "room") == 0; }, "no subscriber is left");
}

TEST_MAIN()
