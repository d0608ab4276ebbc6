// Coming back: with ids of ours, of other servers, by the names that libraries use, in many channels at one time.
#include "support/realtime.hpp"
#include "support/sse.hpp"
#include "support/websocket.hpp"

#include "testing.hpp"

using namespace realtime::testing;

namespace {

const std::string Nchan = "1450755280:0";

std::string channels(int count)
{
    std::string names;
    for (int i = 0; i < count; ++i) {
        names += " c" + std::to_string(i);
    }
    return names;
}

std::string repeated(const std::string& text, int times)
{
    std::string all = text;
    for (int i = 1; i < times; ++i) {
        all += "," + text;
    }
    return all;
}

// What a stream begins with before its first event: `id: …`.
std::string startingPoint(const std::string& url)
{
    HttpRequest request;
    request.url = url;
    request.headers = {"Accept: text/event-stream"};
    HttpExchange exchange(request);
    eventually(
        [&] {
            exchange.pump(20ms);
            return exchange.response().body.find("\n\n") != std::string::npos;
        },
        "the stream begins");
    const std::string& body = exchange.response().body;
    const std::size_t at = body.find("id: ") + 4;
    return body.substr(at, body.find('\n', at) - at);
}

} // namespace

TEST(an_id_of_another_server_is_a_gap_and_the_stream_goes_on)
{
    auto options = endpoints();
    options.http2 = true;
    const Nginx nginx(options);
    const std::string ours = publish(nginx, "room", "before");
    const std::string epoch = ours.substr(0, ours.find('-'));
    int number = 0;
    for (const std::string& other :
         {Nchan, Nchan + ",[1],-", std::string("urn:uuid:36d883aa-4015-4241-aaae-bde887c2662e"),
          std::string("42"), std::string("abc"), std::string("\xc3\xa9"), std::string("1526919030474-55"),
          std::string(3000, 'x'), std::string("zzzzz-3"), epoch + "-18446744073709551616", epoch + "--1",
          epoch, std::string("-"), std::string(","), std::string("{\"id\":1}"), repeated("zzzzz-1", 500),
          std::string("Earliest")}) {
        const std::string name = std::to_string(number++);
        SseClient over1(nginx.url("/sub/room"), {"Last-Event-ID: " + other});
        HttpRequest request;
        request.url = nginx.http2Url("/sub/room");
        request.headers = {"Last-Event-ID: " + other};
        request.version = HttpVersion::Http2Cleartext;
        SseClient over2(request);
        for (SseClient* client : {&over1, &over2}) {
            expectEqual(client->response().status, 200L);
            expectEqual(client->receive().event, "realtime:gap");
        }
        publish(nginx, "room", name);
        for (SseClient* client : {&over1, &over2}) {
            while (client->receive().data != name) {
            }
        }
        const auto poll = get(nginx.url("/sub/room"), {"Last-Event-ID: " + other});
        expectEqual(poll.status, 200L);
        expectEqual(Json::parse(poll.body).at(std::size_t{0}).at("event").text(), "realtime:gap");
        const std::string position = poll.header("realtime-last-id");
        publish(nginx, "room", "next");
        expectEqual(Json::parse(get(nginx.url("/sub/room?since=" + position)).body).size(), std::size_t{1});
    }
}

TEST(nothing_is_an_id_only_if_it_is_blank)
{
    const Nginx nginx(endpoints());
    publish(nginx, "room", "before");
    for (const char* query : {"", "?since=", "?since=%20", "?since=latest", "?lastEventId=&since="}) {
        SseClient client(nginx.url(std::string("/sub/room") + query), {"Last-Event-ID;"});
        publish(nginx, "room", query);
        expectEqual(client.receive().data, query); // neither a gap nor what was before
    }
}

TEST(the_names_that_libraries_give_the_last_id_are_understood)
{
    const Nginx nginx(endpoints());
    publish(nginx, "room", "1");
    const std::string second = publish(nginx, "room", "2");
    publish(nginx, "room", "3");
    for (const std::string& query :
         {"since=" + second, "lastEventId=" + second, "Last-Event-ID=" + second, "last-event-id=" + second,
          "lastEventID=" + second, "last_event_id=" + second, "LASTEVENTID=" + second,
          "Last%2DEvent%2dID=" + second.substr(0, second.find('-')) + "%2D" +
              second.substr(second.find('-') + 1),
          // What was said last holds; who repeats his URL has `since` in it for ever.
          "since=earliest&lastEventId=" + second, "lastEventId=" + second + "&since=earliest",
          "since=earliest&since=" + second, "lastEventId=zzz-1&lastEventId=" + second,
          "lastEventId=" + second + "&lastEventId=", "x=1&lastEventId=" + second + "&y",
          "&&since=" + second + "&=&"}) {
        const Json list = Json::parse(get(nginx.url("/sub/room?" + query)).body);
        expectEqual(list.size(), std::size_t{1});
        expectEqual(list.at(std::size_t{0}).at("data").text(), "3");
    }
    // The header holds against all.
    const auto answer =
        get(nginx.url("/sub/room?since=earliest&lastEventId=zzz-1"), {"Last-Event-ID:  " + second + " "});
    expectEqual(Json::parse(answer.body).size(), std::size_t{1});
    // What only looks alike is not meant.
    SseClient client(nginx.url("/sub/room?last=" + second + "&lastEventIds=" + second + "&xsince=" + second));
    publish(nginx, "room", "live");
    expectEqual(client.receive().data, "live");
}

TEST(whatever_position_is_given_out_is_taken_back_for_many_channels_as_for_one)
{
    for (const int count : {1, 2, 32, 33, 300, 400}) {
        auto options = endpoints(2);
        options.zone = "main 32m";
        options.http = "realtime_zone second 32m; realtime_app other { zone second; } realtime_timeout 1s; "
                       "realtime_ping 500ms;";
        options.server += "location = /all { realtime_subscribe" + channels(count) + "; }\n" +
                          "location = /others { realtime_subscribe" + channels(count) + " app=other; }\n" +
                          "location ~ ^/opub/(?<ch>.+)$ { realtime_publish $ch app=other; }\n";
        const Nginx nginx(options);
        const std::string last = "c" + std::to_string(count - 1);
        for (const auto& [all, pub] : {std::pair("/all", "/pub/"), std::pair("/others", "/opub/")}) {
            const std::string begin = startingPoint(nginx.url(all));
            expect(begin.size() < 100, "it is short: " + begin);
            expectEqual(post(nginx.url(pub + last), "1").status, 202L);
            expectEqual(post(nginx.url(pub + std::string("c0")), "2").status, 202L);
            SseClient stream(nginx.url(all), {"Last-Event-ID: " + begin});
            expectEqual(stream.receive().data, "1");
            const SseEvent second = stream.receive();
            expectEqual(second.data, "2");
            post(nginx.url(pub + last), "3");
            expectEqual(stream.receive().data, "3");
            // Any id on the way is a position in all of them.
            SseClient after(nginx.url(all), {"Last-Event-ID: " + second.id});
            expectEqual(after.receive().data, "3");

            const auto poll = get(nginx.url(all + ("?since=" + begin)));
            expectEqual(Json::parse(poll.body).size(), std::size_t{3});
            const std::string position = poll.header("realtime-last-id");
            const auto empty = get(nginx.url(all + ("?since=" + position)));
            expectEqual(empty.status, 204L);
            post(nginx.url(pub + std::string("c0")), "4");
            for (const std::string& from : {position, empty.header("realtime-last-id")}) {
                const Json rest = Json::parse(get(nginx.url(all + ("?since=" + from))).body);
                expectEqual(rest.size(), std::size_t{1});
                expectEqual(rest.at(std::size_t{0}).at("data").text(), "4");
            }
        }
        // Of the other zone it is none of ours.
        const std::string foreign = startingPoint(nginx.url("/others"));
        SseClient stream(nginx.url("/all"), {"Last-Event-ID: " + foreign});
        expectEqual(stream.receive().event, "realtime:gap");
    }
}

TEST(a_position_is_good_after_a_reload_and_in_every_worker)
{
    auto options = endpoints(2);
    options.server += "location = /all { realtime_subscribe" + channels(300) + "; }\n";
    Nginx nginx(options);
    const std::string begin = startingPoint(nginx.url("/all"));
    publish(nginx, "c5", "missed");
    reloadAndWait(nginx);
    for (auto& [worker, client] : clientOnEachWorker(nginx)) {
        HttpRequest request;
        request.url = nginx.url("/all?since=" + begin);
        const Json list = Json::parse(client->send(request).body);
        expectEqual(list.size(), std::size_t{1});
        expectEqual(list.at(std::size_t{0}).at("data").text(), "missed");
    }
}

TEST(an_id_of_a_websocket_is_a_position_in_all_channels)
{
    auto options = endpoints();
    options.server += "location = /all { realtime_subscribe" + channels(300) + "; }\n";
    const Nginx nginx(options);
    WebSocket socket(nginx.port(), "/all", "realtime.json");
    publish(nginx, "c1", "1");
    const Json event = Json::parse(socket.receiveText());
    publish(nginx, "c299", "2");
    WebSocket later(nginx.port(), "/all?since=" + event.at("id").text(), "realtime.json");
    expectEqual(Json::parse(later.receiveText()).at("data").text(), "2");
}

TEST_MAIN()
