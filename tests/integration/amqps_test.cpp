// amqps with certificates of both sides for those who read from RabbitMQ: the streams of ordered channels and the cluster.
// Publishing is tested in broker_amqp_test.cpp.
#include "support/realtime.hpp"
#include "support/sse.hpp"
#include "support/tls_rabbitmq.hpp"
#include "support/websocket.hpp"

#include <algorithm>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

NginxOptions secured(const std::string& server, const std::string& tls)
{
    auto options = endpoints();
    options.http =
        "client_max_body_size 1m; realtime_max_message_size 512k;\nrealtime_broker events { server " +
        server + "; " + tls +
        " exchange secured; queue secured.stream stream; cluster on; }\n"
        "realtime_app default { broker events; channels ordered.* { deliver broker; "
        "history 1000 1h; } }\n";
    return options;
}

// In one line of the error log.
void awaitError(const Nginx& nginx, const std::string& who, const std::string& words)
{
    eventually(
        [&] {
            const auto log = split(nginx.errorLog(), '\n');
            return std::any_of(log.begin(), log.end(), [&](const std::string& line) {
                return line.find("[error]") != std::string::npos && line.find(who) != std::string::npos &&
                       line.find(words) != std::string::npos;
            });
        },
        who + ": " + words, 30s);
}

} // namespace

TEST(streams_and_the_cluster_are_read_over_tls_that_is_verified_both_ways)
{
    const TlsRabbitMq server;
    const std::string ca = "tls_ca " + server.file("ca.pem") + "; ";
    const std::string certificate =
        "tls_cert " + server.file("client.pem") + " " + server.file("client.key") + ";";
    {
        const Nginx a(secured(server.url(), ca + certificate));
        const Nginx b(secured(server.url(), ca + certificate));
        for (const Nginx* node : {&a, &b}) {
            eventually([&] { return node->countInErrorLog("is read") > 0; }, "the stream is read");
            eventually([&] { return node->countInErrorLog("hears the other nodes") > 0; },
                       "the cluster is heard");
        }
        SseClient ordered(b.url("/sub/ordered.room"));
        SseClient plain(b.url("/sub/room"));
        const std::string big(400'000, 'x'); // of many TLS records
        std::vector<std::string> ids;
        for (const std::string& data : {std::string("small"), big}) {
            const auto answer = post(a.url("/pub/ordered.room"), data);
            expectEqual(answer.status, 200L);
            ids.push_back(Json::parse(answer.body).at("id").text());
            const auto event = ordered.receive();
            expectEqual(event.id, ids.back());
            expect(event.data == data, "in an ordered channel it is what was published");
            publish(a, "room", data);
            expect(plain.receive().data == data, "in the cluster too");
        }
        SseClient back(b.url("/sub/ordered.room?since=" + ids[0]));
        expectEqual(back.receive().id, ids[1]);
        // Of each node: who publishes, who reads the stream, who hears the others.
        const auto connections =
            split(server.ctl({"-q", "list_connections", "ssl", "peer_cert_subject"}), '\n');
        expectEqual(std::count(connections.begin(), connections.end(), "true\tCN=client"), 6);
    }
    struct Case {
        std::string server, tls, complaint;
    } const cases[] = {
        {server.url(), "tls_ca " + server.file("other.pem") + "; " + certificate,
         "the server's certificate is not accepted"},
        {server.url("127.0.0.1"), ca + certificate,
         "the server's certificate is not accepted: IP address mismatch"},
        {server.url(), ca, "certificate required"},
    };
    for (const Case& one : cases) {
        const Nginx nginx(secured(one.server, one.tls));
        awaitError(nginx, "stream \"secured.stream\"", one.complaint);
        awaitError(nginx, "cluster", one.complaint);
        expectEqual(nginx.countInErrorLog("is read") + nginx.countInErrorLog("hears the other nodes"), 0U);
        expectEqual(get(nginx.url("/status")).status, 200L);
    }
}

TEST_MAIN()
