// The Pusher protocol on several nginx nodes: members, counts, users and cached events are those of all of them.
#include "support/rabbitmq.hpp"
#include "support/realtime.hpp"
#include "support/websocket.hpp"

#include "base/hmac.hpp"

#include <csignal>
#include <ctime>

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

NginxOptions nodeOptions(const RabbitMq& server, const std::string& exchange, const std::string& node)
{
    NginxOptions options;
    options.workers = 2;
    options.expectedErrors = {"exited on signal 9"};
    options.http =
        "realtime_broker events { server " + server.url() + "; exchange " + exchange + "; queue " + exchange +
        ".all; cluster on node=" + node +
        "; }\nrealtime_app shop { key k; secret s; broker events; client_events on; watchlist on; }\n";
    options.server = "location /app/ { realtime_pusher websocket; }\n"
                     "location /apps/ { realtime_pusher api; }\n"
                     "location = /status { realtime_status; }\n";
    return options;
}

class Client {
public:
    explicit Client(const Nginx& nginx) : socket_(nginx.port(), "/app/k?protocol=7")
    {
        const Json hello = Json::parse(socket_.receiveText());
        id_ = Json::parse(hello.at("data").text()).at("socket_id").text();
    }

    void subscribe(const std::string& channel)
    {
        socket_.send(R"({"event":"pusher:subscribe","data":{"channel":")" + channel + "\"}}");
    }
    Json join(const std::string& channel, const std::string& user)
    {
        const std::string data = R"({\"user_id\":\")" + user + R"(\"})";
        const std::string plain = R"({"user_id":")" + user + R"("})";
        socket_.send(R"({"event":"pusher:subscribe","data":{"channel":")" + channel + R"(","auth":"k:)" +
                     hmacSha256Hex("s", id_ + ":" + channel + ":" + plain) + R"(","channel_data":")" + data +
                     "\"}}");
        return Json::parse(expect("pusher_internal:subscription_succeeded").at("data").text()).at("presence");
    }
    void signIn(const std::string& user)
    {
        const std::string data = R"({\"id\":\")" + user + R"(\"})";
        const std::string plain = R"({"id":")" + user + R"("})";
        socket_.send(R"({"event":"pusher:signin","data":{"auth":"k:)" +
                     hmacSha256Hex("s", id_ + "::user::" + plain) + R"(","user_data":")" + data + "\"}}");
        expect("pusher:signin_success");
    }
    Json expect(const std::string& event, std::chrono::milliseconds patience = Patience)
    {
        Json message = Json::parse(socket_.receiveText(patience));
        expectEqual(message.at("event").text(), event);
        return message;
    }
    WebSocket& socket() { return socket_; }

private:
    WebSocket socket_;
    std::string id_;
};

HttpResponse call(const Nginx& nginx, const std::string& method, const std::string& path,
                  const std::string& body = "", const std::string& info = "")
{
    std::string query = "auth_key=k&auth_timestamp=" + std::to_string(time(nullptr)) + "&auth_version=1.0";
    if (!body.empty()) {
        query += "&body_md5=" + md5Hex(body);
    }
    query += info;
    const std::string signature = hmacSha256Hex("s", method + "\n" + path + "\n" + query);
    HttpRequest request;
    request.url = nginx.url(path + "?" + query + "&auth_signature=" + signature);
    request.method = method;
    if (method == "POST") {
        request.body = body;
    }
    return send(request);
}

void trigger(const Nginx& nginx, const std::string& channel, const std::string& data)
{
    const auto answer = call(nginx, "POST", "/apps/shop/events",
                             R"({"name":"news","channel":")" + channel + R"(","data":")" + data + "\"}");
    expectEqual(answer.status, 200L);
}

std::int64_t nodesKnownTo(const Nginx& nginx)
{
    return Json::parse(get(nginx.url("/status?format=json")).body).at("cluster_nodes").number();
}

void waitForEachOther(std::initializer_list<const Nginx*> nodes)
{
    for (const Nginx* node : nodes) {
        eventually([&] { return nodesKnownTo(*node) == static_cast<std::int64_t>(nodes.size()); },
                   "the nodes know each other", 60s);
    }
}

} // namespace

TEST(members_counts_and_users_are_those_of_all_nodes_and_go_with_a_node_that_dies)
{
    auto& server = RabbitMq::share();
    const Nginx a(nodeOptions(server, "presence", "a"));
    const Nginx b(nodeOptions(server, "presence", "b"));
    auto c = std::make_unique<Nginx>(nodeOptions(server, "presence", "c"));
    waitForEachOther({&a, &b, c.get()});
    const std::string channel = "presence-room", path = "/apps/shop/channels/" + channel;

    Client ann(a);
    expectEqual(ann.join(channel, "ann").at("count").number(), 1);
    Client bob(b);
    eventually([&] { return call(b, "GET", path + "/users").body.find("ann") != std::string::npos; },
               "the other node knows her");
    expectEqual(bob.join(channel, "bob").at("count").number(), 2);
    expectContains(ann.expect("pusher_internal:member_added").at("data").text(), "bob");

    Client annAgain(b); // the same user on another node: not news
    annAgain.join(channel, "ann");
    Client cid(*c);
    eventually(
        [&] {
            return Json::parse(call(*c, "GET", path, "", "&info=subscription_count,user_count").body)
                       .at("user_count")
                       .number() == 2;
        },
        "the third node counts both");
    expectEqual(cid.join(channel, "cid").at("count").number(), 3);
    expectContains(ann.expect("pusher_internal:member_added").at("data").text(), "cid");
    expectContains(bob.expect("pusher_internal:member_added").at("data").text(), "cid");
    expectContains(call(a, "GET", "/apps/shop/channels").body, channel);

    annAgain.socket().close(); // she is still there by her other connection
    bob.socket().expectSilence(500ms);
    ann.socket().close();
    expectContains(bob.expect("pusher_internal:member_removed").at("data").text(), "ann");
    expectContains(cid.expect("pusher_internal:member_removed").at("data").text(), "ann");

    const auto workers = c->workers();
    for (const pid_t process : {c->master(), workers.at(0), workers.at(1)}) {
        kill(process, SIGKILL);
    }
    const auto begin = Clock::now();
    expectContains(bob.expect("pusher_internal:member_removed", 40s).at("data").text(), "cid");
    expect(Clock::now() - begin < 25s, "within fifteen seconds and the time of a beat");
    bob.socket().expectSilence(500ms);
    eventually([&] { return nodesKnownTo(a) == 2 && nodesKnownTo(b) == 2; }, "the status says so");
    try {
        c.reset();
    } catch (const std::exception&) { // it did not end as it should
    }
}

TEST(members_on_other_nodes_do_not_notice_a_reload)
{
    auto& server = RabbitMq::share();
    Nginx a(nodeOptions(server, "reloaded", "a"));
    Nginx b(nodeOptions(server, "reloaded", "b"));
    waitForEachOther({&a, &b});
    const std::string channel = "presence-room", path = "/apps/shop/channels/" + channel;
    Client ann(a);
    ann.join(channel, "ann");
    eventually([&] { return call(b, "GET", path + "/users").body.find("ann") != std::string::npos; },
               "the other node knows her");
    Client bob(b);
    bob.join(channel, "bob");
    bob.signIn("bob");
    expectContains(ann.expect("pusher_internal:member_added").at("data").text(), "bob");
    const auto expectBoth = [&](const Nginx& node) {
        const Json info =
            Json::parse(call(node, "GET", path, "", "&info=subscription_count,user_count").body);
        expectEqual(info.at("user_count").number(), 2);
        expectEqual(info.at("subscription_count").number(), 2);
    };
    for (int round = 0; round < 3; ++round) {
        for (Nginx* node : {&b, &a}) {
            reloadAndWait(*node);
            expectBoth(a);
            expectBoth(b);
        }
    }
    ann.socket().expectSilence(4s); // longer than a departure may be told late
    bob.socket().expectSilence(100ms);
    expectBoth(a);
    expectBoth(b);
    trigger(a, "#server-to-user-bob", "for him");
    expectEqual(bob.expect("news").at("data").text(), "for him");
    trigger(b, channel, "for both");
    expectEqual(ann.expect("news").at("data").text(), "for both");
    expectEqual(bob.expect("news").at("data").text(), "for both");
    expectEqual(nodesKnownTo(a), 2);
    bob.socket().close(); // whose worker is not the one that he came to
    expectContains(ann.expect("pusher_internal:member_removed").at("data").text(), "bob");
}

TEST(users_are_reached_and_disconnected_on_whatever_node_they_are)
{
    auto& server = RabbitMq::share();
    const Nginx a(nodeOptions(server, "users", "a"));
    const Nginx b(nodeOptions(server, "users", "b"));
    waitForEachOther({&a, &b});
    Client ann(b);
    ann.signIn("ann");
    trigger(a, "#server-to-user-ann", "for her");
    expectEqual(ann.expect("news").at("data").text(), "for her");
    expectEqual(call(a, "POST", "/apps/shop/users/ann/terminate_connections").status, 200L);
    ann.expect("pusher:error");
    expectEqual(ann.socket().waitForClose().code, 4009);
}

TEST(a_node_that_comes_later_has_what_cache_channels_keep)
{
    auto& server = RabbitMq::share();
    const Nginx a(nodeOptions(server, "cache", "a"));
    const Nginx b(nodeOptions(server, "cache", "b"));
    waitForEachOther({&a, &b});
    trigger(a, "cache-score", "1:0");
    const Nginx late(nodeOptions(server, "cache", "late"));
    for (const Nginx* node : {&b, &late}) {
        eventually(
            [&] {
                Client client(*node);
                client.subscribe("cache-score");
                client.expect("pusher_internal:subscription_succeeded");
                const Json message = Json::parse(client.socket().receiveText());
                return message.at("event").text() == "news" && message.at("data").text() == "1:0";
            },
            "the last event is there");
    }
}

TEST_MAIN()
