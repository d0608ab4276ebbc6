// What one stranger, or one app, can do to others: to their history, their room, their idempotency keys.
#include "support/pusher.hpp"
#include "support/realtime.hpp"
#include "support/shop.hpp"

#include "testing.hpp"

#include <stdexcept>

using namespace realtime::testing;

namespace {

constexpr int Events = 20;
constexpr int Visits = 400; // of one connection

NginxOptions twoApps(const std::string& quotas = "", int workers = 1)
{
    NginxOptions options = shop(workers);
    options.zone = "main 1m"; // some 710 channels
    const std::string mark = "subscription_count on;";
    options.http.insert(options.http.find(mark), quotas);
    options.server += "location /apps/ { realtime_pusher api; }\n";
    return options;
}

std::string subscribeTo(const std::string& channel)
{
    return R"({"event":"pusher:subscribe","data":{"channel":")" + channel + "\"}}";
}

std::string unsubscribeFrom(const std::string& channel)
{
    return R"({"event":"pusher:unsubscribe","data":{"channel":")" + channel + "\"}}";
}

// Waits until all that was sent before is done.
void settle(PusherClient& client)
{
    client.socket().send({Text, R"({"event":"pusher:ping","data":{}})"});
    while (client.receive().event != "pusher:pong") {
    }
}

std::size_t historyOf(const Nginx& nginx, const std::string& path)
{
    const auto answer = get(nginx.url(path + "?since=earliest"));
    expectEqual(answer.status, 200L);
    const Json all = Json::parse(answer.body);
    std::size_t events = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
        events += all.at(i).at("event").text() == "message" ? 1 : 0;
    }
    return events;
}

Json zoneOf(const Nginx& nginx)
{
    return Json::parse(get(nginx.url("/status?format=json")).body).at("zones").at("main");
}

Json appOf(const Nginx& nginx, const std::string& name)
{
    const Json apps = Json::parse(get(nginx.url("/status?format=json")).body).at("app_list");
    for (std::size_t i = 0; i < apps.size(); ++i) {
        if (apps.at(i).at("app").text() == name) {
            return apps.at(i);
        }
    }
    throw std::runtime_error("no app " + name + " in the status");
}

} // namespace

TEST_WITH_WORKERS(who_subscribes_and_unsubscribes_takes_no_history_away)
{
    const Nginx nginx(twoApps("", workers));
    for (int i = 0; i < Events; ++i) {
        shopPublish(nginx, "victim", std::to_string(i));
        publish(nginx, "victim", std::to_string(i));
    }
    shopPublish(nginx, "cache-victim", "kept");
    const std::int64_t before = zoneOf(nginx).at("appended_total").number();
    for (int connection = 0; connection < 8; ++connection) {
        PusherClient stranger(nginx.port(), ShopKey, ShopSecret);
        for (int i = 0; i < Visits; ++i) {
            const std::string channel = "q" + std::to_string(connection * Visits + i);
            stranger.socket().send({Text, subscribeTo(channel)});
            stranger.socket().send({Text, unsubscribeFrom(channel)});
        }
        settle(stranger);
    }
    expectEqual(historyOf(nginx, "/shop/sub/victim"), std::size_t{Events});
    expectEqual(historyOf(nginx, "/sub/victim"), std::size_t{Events});
    PusherClient reader(nginx.port(), ShopKey, ShopSecret);
    reader.subscribe("cache-victim");
    expectContains(reader.receive().data, "kept");
    // Nor does it fill the log: counts that nobody is there to hear are not told.
    expect(zoneOf(nginx).at("appended_total").number() < before + Visits, "few records");
}

TEST(who_leaves_by_closing_takes_no_history_away)
{
    const Nginx nginx(twoApps());
    for (int i = 0; i < Events; ++i) {
        publish(nginx, "victim", std::to_string(i));
    }
    for (int i = 0; i < 1000; ++i) {
        const RawWebSocket one(nginx.port(), "/sub/q" + std::to_string(i));
    }
    expectEqual(historyOf(nginx, "/sub/victim"), std::size_t{Events});
    publish(nginx, "last", "x");
    eventually([&] { return appOf(nginx, "default").at("channels").number() == 2; }, "all others are gone");
}

TEST(who_stays_takes_no_history_away_and_is_refused_one_by_one)
{
    const Nginx nginx(twoApps());
    const std::int64_t quota = appOf(nginx, "shop").at("channel_quota").number();
    expectEqual(quota, zoneOf(nginx).at("channel_capacity").number() / 2);
    for (std::int64_t i = 0; i < quota - 100; ++i) {
        shopPublish(nginx, "kept" + std::to_string(i), "x");
    }
    PusherClient stranger(nginx.port(), ShopKey, ShopSecret);
    for (int i = 0; i < Visits; ++i) {
        stranger.socket().send({Text, subscribeTo("q" + std::to_string(i))});
    }
    int refused = 0;
    for (int i = 0; i < Visits;) {
        const PusherEvent event = stranger.receive();
        refused += event.event == "pusher:subscription_error" ? 1 : 0;
        i += event.event == "pusher:subscription_error" ||
                     event.event == "pusher_internal:subscription_succeeded"
                 ? 1
                 : 0;
        if (event.event == "pusher:subscription_error") {
            expectContains(event.data, "LimitReached");
            expectContains(event.data, "4100");
        }
    }
    expectEqual(refused, Visits - 100);
    settle(stranger); // the connection stays
    for (std::int64_t i = 0; i < quota - 100; i += 50) {
        expectEqual(historyOf(nginx, "/shop/sub/kept" + std::to_string(i)), std::size_t{1});
    }
    // The other doors of the app say so, too; what is there works; other apps have room.
    expectEqual(get(nginx.url("/shop/sub/another")).status, 503L);
    expectEqual(get(nginx.url("/shop/sub/another"), {"Accept: text/event-stream"}).status, 503L);
    shopPublish(nginx, "q0", "x");
    publish(nginx, "room", "x");
    const Json use = appOf(nginx, "shop");
    expectEqual(use.at("channels").number(), quota);
    expect(use.at("refused_total").number() >= refused + 2, "refusals are counted");
    // Who publishes gets the place of a channel of the same app.
    shopPublish(nginx, "new", "x");
    expectEqual(appOf(nginx, "shop").at("channels").number(), quota);
    expectEqual(historyOf(nginx, "/shop/sub/new"), std::size_t{1});
}

TEST(a_quota_holds_for_all_doors)
{
    const Nginx nginx(twoApps("channels_quota 5;"));
    PusherClient client(nginx.port(), ShopKey, ShopSecret);
    for (int i = 0; i < 5; ++i) {
        client.subscribe("room" + std::to_string(i));
    }
    client.askToSubscribe("room5", "", "latest");
    PusherEvent event = client.receive();
    while (event.event == "pusher_internal:subscription_count") {
        event = client.receive();
    }
    expectEqual(event.event, "pusher:subscription_error");
    expectEqual(event.channel, "room5");
    const auto answer = post(nginx.url("/shop/pub/room5"), "x");
    expectEqual(answer.status, 503L);
    expect(!answer.header("retry-after").empty(), "when to come again");
    expectEqual(get(nginx.url("/shop/sub/room5")).status, 503L);
    shopPublish(nginx, "room3", "x");
    client.socket().send({Text, unsubscribeFrom("room0")});
    settle(client);
    client.subscribe("room6"); // in its place
    for (int i = 0; i < 20; ++i) {
        publish(nginx, "other" + std::to_string(i), "x");
    }
    expectEqual(appOf(nginx, "shop").at("channel_quota").number(), 5);
    expectEqual(appOf(nginx, "default").at("channels").number(), 20);
}

TEST(a_full_presence_share_refuses_the_one_subscription)
{
    NginxOptions options = twoApps("presence_quota 2;");
    // Else who has gone stays until the webhook is told of it.
    const std::size_t webhook = options.http.find("webhook ");
    options.http.erase(webhook, options.http.find(';', webhook) + 1 - webhook);
    const Nginx nginx(options);
    PusherClient client(nginx.port(), ShopKey, ShopSecret);
    client.subscribe("presence-a", R"({"user_id":"ada"})");
    client.subscribe("presence-b", R"({"user_id":"ada"})");
    client.askToSubscribe("presence-c", R"({"user_id":"ada"})", "latest");
    expectEqual(client.receive().event, "pusher:subscription_error");
    settle(client);
    PusherClient again(nginx.port(), ShopKey, ShopSecret);
    again.subscribe("presence-a", R"({"user_id":"ada"})"); // is there already
    const Json use = appOf(nginx, "shop");
    expectEqual(use.at("members").number(), 2);
    expectEqual(use.at("member_quota").number(), 2);
    expectEqual(use.at("refused_total").number(), 1);
    expectEqual(zoneOf(nginx).at("members").number(), 2);
    client.socket().send({Text, unsubscribeFrom("presence-b")});
    eventually([&] { return appOf(nginx, "shop").at("members").number() == 1; },
               "who has left has its place until that is announced");
    again.subscribe("presence-c", R"({"user_id":"ada"})");
}

TEST(an_app_that_is_alone_in_its_zone_has_all_of_it)
{
    NginxOptions options = endpoints();
    options.zone = "main 1m";
    const Nginx nginx(options);
    const std::int64_t capacity = zoneOf(nginx).at("channel_capacity").number();
    expectEqual(appOf(nginx, "default").at("channel_quota").number(), capacity);
    NginxOptions elsewhere = twoApps();
    elsewhere.http = "realtime_zone shops 1m;\n" + elsewhere.http;
    elsewhere.http.insert(elsewhere.http.find("subscription_count on;"), "zone shops;");
    const Nginx two(elsewhere);
    expectEqual(appOf(two, "shop").at("channel_quota").number(), capacity);
    expectEqual(appOf(two, "default").at("channel_quota").number(), capacity);
}

TEST(a_reload_brings_new_quotas)
{
    NginxOptions options = twoApps();
    Nginx nginx(options);
    PusherClient client(nginx.port(), ShopKey, ShopSecret);
    client.subscribe("room");
    options.http.insert(options.http.find("subscription_count on;"), "channels_quota 1;");
    nginx.rewrite(options);
    reloadAndWait(nginx);
    expectEqual(appOf(nginx, "shop").at("channel_quota").number(), 1);
    expectEqual(get(nginx.url("/shop/sub/another")).status, 503L);
    shopPublish(nginx, "room", "x"); // and who is there, stays
    for (;;) {
        const PusherEvent event = client.receive();
        if (event.event == "message") {
            expectEqual(event.data, "x");
            break;
        }
    }
}

// --- idempotency keys -----------------------------------------------------------------------------------------------

namespace {

// The id that a client's publish is acknowledged with.
std::string publishAsClient(PusherClient& client, const std::string& channel, const std::string& key)
{
    client.socket().send({Text, R"({"event":"realtime:publish","data":{"ref":1,"channel":")" + channel +
                                    R"(","event":"noise","data":"attacker","key":")" + key + "\"}}"});
    PusherEvent event = client.receive();
    while (event.event != "realtime:ack" && event.event != "realtime:error") {
        event = client.receive();
    }
    expectEqual(event.event, "realtime:ack");
    return Json::parse(event.data).at("id").text();
}

std::string publishAsServer(const Nginx& nginx, const std::string& path, const std::string& key)
{
    const auto answer = post(nginx.url(path), "the real order", {"Idempotency-Key: " + key});
    expectEqual(answer.status, 202L);
    return Json::parse(answer.body).at("id").text();
}

} // namespace

TEST(a_client_cannot_take_the_key_of_a_servers_next_publish)
{
    const Nginx nginx(twoApps());
    PusherClient client(nginx.port(), ShopKey, ShopSecret);
    client.subscribe("orders");
    const std::string first = publishAsClient(client, "orders", "order-42");
    const std::string order = publishAsServer(nginx, "/shop/pub/orders?event=created", "order-42");
    expect(order != first, "the server's event is another");
    expectEqual(publishAsServer(nginx, "/shop/pub/orders?event=created", "order-42"), order);
    // Nor does it learn that a server has used a key.
    publishAsServer(nginx, "/shop/pub/orders?event=created", "order-43");
    const std::string guess = publishAsClient(client, "orders", "order-43");
    expect(guess > order, "a new event");
    expectEqual(publishAsClient(client, "orders", "order-43"), guess);
    const std::string history = get(nginx.url("/shop/sub/orders?since=earliest")).body;
    expectContains(history, "the real order");
}

TEST(who_posts_to_pubsub_is_a_client)
{
    const Nginx nginx(twoApps());
    const std::string first = publishAsServer(nginx, "/ws/orders", "order-42");
    const std::string order = publishAsServer(nginx, "/pub/orders", "order-42");
    expect(order != first, "the server's event is another");
    expectEqual(publishAsServer(nginx, "/pub/orders", "order-42"), order);
    expectEqual(publishAsServer(nginx, "/ws/orders", "order-42"), first);
}

TEST(who_posts_from_a_web_page_is_a_client_as_over_its_websocket)
{
    const Nginx nginx(twoApps());
    PusherClient client(nginx.port(), ShopKey, ShopSecret);
    const std::string first = publishAsClient(client, "orders", "order-42");
    const std::vector<std::string> page = {"Idempotency-Key: order-42",
                                           "Origin: http://127.0.0.1:" + std::to_string(nginx.port())};
    const auto again = post(nginx.url("/shop/pub/orders"), "the same", page); // a beacon, say
    expectEqual(again.status, 202L);
    expectEqual(Json::parse(again.body).at("id").text(), first);
    expect(publishAsServer(nginx, "/shop/pub/orders", "order-42") != first, "the server's event is another");
}

TEST(no_number_of_keys_of_clients_or_of_other_apps_pushes_a_servers_out)
{
    const Nginx nginx(twoApps());
    const std::string order = publishAsServer(nginx, "/shop/pub/orders", "order-42");
    const std::string other = publishAsServer(nginx, "/pub/orders", "order-42");
    PusherClient client(nginx.port(), ShopKey, ShopSecret);
    HttpClient publisher;
    HttpRequest request;
    request.method = "POST";
    request.body = "x";
    for (int i = 0; i < 2000; ++i) {
        client.socket().send(
            {Text,
             R"({"event":"realtime:publish","data":{"ref":1,"channel":"noise","event":"a","data":"x","key":"k)" +
                 std::to_string(i) + "\"}}"});
        request.url = nginx.url("/pub/noise");
        request.headers = {"Idempotency-Key: k" + std::to_string(i)};
        expectEqual(publisher.send(request).status, 202L);
    }
    settle(client);
    expectEqual(publishAsServer(nginx, "/shop/pub/orders", "order-42"), order);
    expect(publishAsServer(nginx, "/pub/orders", "order-42") != other, "its own app's are forgotten");
}

TEST_MAIN()
