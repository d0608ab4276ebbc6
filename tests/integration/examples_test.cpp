// Each configuration under nginx-conf-examples/ starts, with nothing changed but ports and paths, and does what it is
// there to show.
#include "support/pusher.hpp"
#include "support/rabbitmq.hpp"
#include "support/realtime.hpp"
#include "support/sqlite.hpp"
#include "support/sse.hpp"
#include "support/websocket.hpp"

#include "base/hmac.hpp"

#include <ctime>

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

// The examples' files stand where a prefix would have them.
NginxOptions example(const std::string& name)
{
    NginxOptions options;
    options.whole = readFile(std::string(REALTIME_SOURCE_DIR "/nginx-conf-examples/") + name);
    expect(!options.whole.empty(), name + " is there");
    replaceAll(options.whole, "load_module modules/ngx_http_realtime_module.so;",
               "load_module %MODULE%; user root;");
    replaceAll(options.whole, "/var/lib/nginx-realtime/", "%DIR%/data/");
    replaceAll(options.whole, "worker_processes auto;", "worker_processes 2;");
    replaceAll(options.whole, "root www;", "root " REALTIME_SOURCE_DIR "/nginx-conf-examples/www;");
    replaceAll(options.whole, "listen 8080;", "listen 127.0.0.1:%PORT%;");
    options.workers = 2;
    return options;
}

} // namespace

TEST(quickstart_serves_its_page_and_stores_every_event)
{
    const Nginx nginx(example("quickstart.conf"));
    const auto page = get(nginx.url("/"));
    expectEqual(page.status, 200L);
    expectEqual(page.header("content-type"), "text/html");
    expectContains(page.body, "EventSource");

    WebSocket socket(nginx.port(), "/ws/visitors");
    SseClient stream(nginx.url("/sub/visitors?since=earliest"));
    expectEqual(post(nginx.url("/pub/visitors?event=click"), "{\"what\":\"x\"}").status, 200L); // ack=stored
    expectEqual(socket.receiveText(), "{\"what\":\"x\"}");
    expectEqual(stream.receive().event, "click");
    const auto rows = query(nginx.directory() / "data/events.db", "select channel, event, data from events");
    expectEqual(rows.size(), std::size_t{1});
    expectEqual(rows[0][1], "click");
    expectContains(get(nginx.url("/status?format=prometheus")).body, "realtime_");
}

TEST(rabbitmq_routes_by_channel)
{
    auto& server = RabbitMq::share();
    auto options = example("rabbitmq.conf");
    replaceAll(options.whole, "127.0.0.1:5672", "127.0.0.1:" + std::to_string(server.port()));
    AmqpConsumer consumer(server, "realtime");
    const Nginx nginx(options);
    expectEqual(get(nginx.url("/")).status, 200L);
    expectEqual(post(nginx.url("/pub/orders.4711?event=created"), "{}").status, 200L); // ack=broker
    expectEqual(consumer.receive().routingKey, "orders.4711.created");
    expectEqual(post(nginx.url("/pub/acme-metrics"), "{}").status, 202L);
    expectEqual(consumer.receive().routingKey, "tenant.acme.metrics");
    expectEqual(post(nginx.url("/pub/visitors?event=view"), "{}").status, 202L);
    expectEqual(consumer.receive().routingKey, "visitors");
    expectEqual(post(nginx.url("/pub/elsewhere"), "{}").status, 202L);
    consumer.expectSilence();
}

TEST(cluster_delivers_on_one_node_what_was_published_on_another)
{
    auto& server = RabbitMq::share();
    auto options = example("cluster.conf");
    replaceAll(options.whole, "127.0.0.1:5672", "127.0.0.1:" + std::to_string(server.port()));
    const Nginx a(options);
    const Nginx b(options);
    for (const Nginx* node : {&a, &b}) {
        eventually(
            [&] {
                const Json status = Json::parse(get(node->url("/status?format=json")).body);
                return status.at("cluster_nodes").number() == 2;
            },
            "the nodes know each other", 60s);
    }
    SseClient stream(b.url("/sub/news"));
    SseClient local(b.url("/sub/local.news"));
    PusherClient client(b.port(), "278d425bdf160c739803", "7ad3773142a6692b25b8");
    client.subscribe("presence-room", R"({"user_id":"bob"})");
    PusherClient other(a.port(), "278d425bdf160c739803", "7ad3773142a6692b25b8");
    other.subscribe("presence-room", R"({"user_id":"alice"})");
    const auto added = client.receive();
    expectEqual(added.event, "pusher_internal:member_added");
    expectContains(added.data, "alice");
    expectEqual(post(a.url("/pub/local.news"), "stays").status, 202L);
    expectEqual(post(a.url("/pub/news"), "hello").status, 202L);
    expectEqual(stream.receive().data, "hello");
    local.expectSilence();
}

TEST(pusher_serves_clients_and_servers_of_the_protocol)
{
    const Nginx nginx(example("pusher.conf"));
    WebSocket client({nginx.port(), "/app/k9f3c2a17be40d5561aa?protocol=7", "", {}, ""});
    expectContains(client.receiveText(), "pusher:connection_established");
    client.send(R"({"event":"pusher:subscribe","data":{"channel":"news"}})");
    expectContains(client.receiveText(), "subscription_succeeded");

    const std::string body = R"({"name":"created","channel":"news","data":"{\"id\":42}"})";
    const std::string query =
        "auth_key=k9f3c2a17be40d5561aa&auth_timestamp=" + std::to_string(std::time(nullptr)) +
        "&auth_version=1.0&body_md5=" + md5Hex(body);
    const std::string path = "/apps/731/events";
    const std::string target = path + '?' + query + "&auth_signature=";
    const auto signature = hmacSha256Hex("s2d81e6f04c7b93a5512", "POST\n" + path + '\n' + query);
    expectEqual(post(nginx.url(target + std::string(64, '0')), body).status, 401L);
    expectEqual(post(nginx.url(target + signature), body).status, 200L);
    expectContains(client.receiveText(), R"("event":"created")");

    // What is for members only is not to be had without an SDK.
    expectEqual(get(nginx.url("/sub/private-orders.7?since=earliest")).status, 404L);
    expectContains(get(nginx.url("/sub/news?since=earliest")).body, "created");

    WebSocketOptions foreign{
        nginx.port(), "/app/k9f3c2a17be40d5561aa", "", {{"Origin", "https://evil.example"}}, ""};
    WebSocket refused(foreign);
    expectEqual(refused.waitForClose().code, 4009);
}

TEST(tls_auth_lets_in_those_who_are_logged_in)
{
    // The application that decides.
    NginxOptions application;
    application.zone = "";
    application.server = "location = /session { if ($http_cookie != \"session=good\") { return 401; }\n"
                         "add_header X-User-Id 42; return 204; }";
    const Nginx backend(application);

    auto options = example("tls-auth.conf");
    options.tls = true;
    replaceAll(options.whole, "listen 8443 ssl http2;", "listen 127.0.0.1:%TLS_PORT% ssl http2;");
    replaceAll(options.whole, "/etc/nginx/realtime/", "%DIR%/");
    replaceAll(options.whole, "127.0.0.1:3000", "127.0.0.1:" + std::to_string(backend.port()));
    const Nginx nginx(options);
    writeFile(nginx.directory() / "htpasswd", "backend:{PLAIN}secret\n");

    HttpRequest stream;
    stream.url = nginx.tlsUrl("/feed");
    stream.certificate = nginx.certificate();
    stream.version = HttpVersion::Http2;
    expectEqual(SseClient(stream).response().status, 401L);
    stream.headers = {"Cookie: session=good"};
    SseClient feed(stream);
    expectEqual(feed.response().status, 200L);

    WebSocketOptions foreign{nginx.tlsPort(), "/feed", "", {{"Cookie", "session=good"}}, nginx.certificate()};
    foreign.headers.emplace_back("Origin", "https://evil.example");
    bool refused = false;
    try {
        const WebSocket socket(foreign);
    } catch (const std::exception&) {
        refused = true;
    }
    expect(refused, "a foreign page is refused");
    foreign.headers.back().second = "https://www.example.com";
    WebSocket socket(foreign);

    HttpRequest publication;
    publication.url = nginx.tlsUrl("/pub/user.42");
    publication.certificate = nginx.certificate();
    publication.method = "POST";
    publication.body = "for you";
    expectEqual(send(publication).status, 401L);
    publication.credentials = "backend:secret";
    expectEqual(send(publication).status, 200L);
    expectEqual(feed.receive().data, "for you");
    expectEqual(socket.receiveText(), "for you");
    expectEqual(query(nginx.directory() / "data/events.db", "select channel from events").size(),
                std::size_t{1});
}

TEST(iot_gives_each_device_a_channel_that_its_token_opens)
{
    const Nginx nginx(example("iot.conf"));
    const auto device = [&](const std::string& token) {
        return WebSocket({nginx.port(), "/device", "", {{"Authorization", "Bearer " + token}}, ""});
    };
    bool refused = false;
    try {
        device("guessed");
    } catch (const std::exception&) {
        refused = true;
    }
    expect(refused, "who has no token is refused");
    WebSocket pump = device("6f1c0c0b");
    WebSocket other = device("d0a9e7c4");
    SseClient plant(nginx.url("/devices/pump-1"));
    pump.send("{\"bar\":2.1}");
    expectEqual(plant.receive().data, "{\"bar\":2.1}");
    expectEqual(post(nginx.url("/devices/pump-1"), "{\"valve\":\"open\"}").status, 202L);
    expectEqual(pump.receiveText(), "{\"valve\":\"open\"}"); // and not its own report
    other.expectSilence();
    eventually(
        [&] {
            const auto rows = query(nginx.directory() / "data/events.db", "select channel from events");
            return rows.size() == 2 && rows[0][0] == "device.pump-1";
        },
        "both are stored");
    const WebSocket again = device("6f1c0c0b");
    bool third = true;
    try {
        device("6f1c0c0b");
    } catch (const std::exception&) {
        third = false;
    }
    expect(!third, "a device has two connections at most");
}

TEST(sse_dashboard_streams_over_http_2_and_tls)
{
    auto options = example("sse-dashboard.conf");
    options.tls = true;
    replaceAll(options.whole, "listen 8443 ssl http2;", "listen 127.0.0.1:%TLS_PORT% ssl http2;");
    replaceAll(options.whole, "/etc/nginx/realtime/", "%DIR%/");
    replaceAll(options.whole, "root      www;", "root " REALTIME_SOURCE_DIR "/nginx-conf-examples/www;");
    const Nginx nginx(options);
    writeFile(nginx.directory() / "htpasswd", "collector:{PLAIN}secret\n");

    HttpRequest request;
    request.certificate = nginx.certificate();
    request.version = HttpVersion::Http2;
    request.url = nginx.tlsUrl("/");
    const auto page = send(request);
    expect(page.http2 && page.status == 200, "the page comes over HTTP/2");
    expectContains(page.body, "EventSource");

    request.url = nginx.tlsUrl("/metrics/cpu");
    SseClient stream(request);
    HttpRequest value = request;
    value.method = "POST";
    value.body = "17";
    expectEqual(send(value).status, 401L);
    value.credentials = "collector:secret";
    expectEqual(send(value).status, 202L);
    const SseEvent seen = stream.receive();
    expectEqual(seen.event, "value");
    expectEqual(seen.data, "17");
    value.body = "18";
    expectEqual(send(value).status, 202L);
    request.headers = {"Last-Event-ID: " + seen.id};
    expectEqual(SseClient(request).receive().data, "18");
}

TEST_MAIN()
