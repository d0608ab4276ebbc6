#include "wire/pusher_webhook.hpp"

#include "json_reader.hpp"

#include "testing.hpp"

using namespace realtime::pusher;
using realtime::testing::dump;
using realtime::testing::readJson;

namespace {

const Credentials Pair{"k9f3c2a17be40d5561aa", "s2d81e6f04c7b93a5512"};

WebhookEvent event(WebhookName name, std::string channel, std::string userId = {})
{
    WebhookEvent out;
    out.name = name;
    out.channel = std::move(channel);
    out.userId = std::move(userId);
    return out;
}

WebhookEvent clientEvent()
{
    WebhookEvent out = event(WebhookName::ClientEvent, "presence-room-7", "u-17");
    out.event = "client-typing";
    out.data = R"({"on":true})";
    out.socketId = "310462.91724455";
    return out;
}

std::string body(const std::vector<WebhookEvent>& events)
{
    std::string text = webhookBody(1767225600123, events);
    assert_text_equal(dump(readJson(text).get()), text);
    return text;
}

} // namespace

TEST(bodies_and_signatures_are_those_of_the_specification)
{
    const std::string occupied = body({event(WebhookName::ChannelOccupied, "private-orders-42")});
    assert_text_equal(
        occupied,
        R"({"time_ms":1767225600123,"events":[{"name":"channel_occupied","channel":"private-orders-42"}]})");
    const auto headers = webhookHeaders(Pair, occupied);
    assert_text_equal(headers[0], "Content-Type: application/json");
    assert_text_equal(headers[1], "X-Pusher-Key: k9f3c2a17be40d5561aa");
    assert_text_equal(headers[2],
                      "X-Pusher-Signature: 4feab9596508ebc3349676e767a991f5d8d1b91a9ccadb9add2ba1cca5ecf59c");

    const std::string client = body({clientEvent()});
    assert_text_equal(
        client,
        R"({"time_ms":1767225600123,"events":[{"name":"client_event","channel":"presence-room-7","event":"client-typing","data":"{\"on\":true}","socket_id":"310462.91724455","user_id":"u-17"}]})");
    assert_text_equal(webhookHeaders(Pair, client)[2],
                      "X-Pusher-Signature: 536d5741091695a1844608990b28620658421263f9c372e663188cab3b7eda84");
}

TEST(each_event_has_its_own_members)
{
    WebhookEvent count = event(WebhookName::SubscriptionCount, "news");
    count.subscriptionCount = 3;
    WebhookEvent anonymous = clientEvent();
    anonymous.userId.clear();
    anonymous.channel = "private-a";
    const std::pair<WebhookEvent, std::string_view> cases[] = {
        {event(WebhookName::ChannelVacated, "news"), R"({"name":"channel_vacated","channel":"news"})"},
        {event(WebhookName::MemberAdded, "presence-room-7", "u-17"),
         R"({"name":"member_added","channel":"presence-room-7","user_id":"u-17"})"},
        {event(WebhookName::MemberRemoved, "presence-room-7", "u-17"),
         R"({"name":"member_removed","channel":"presence-room-7","user_id":"u-17"})"},
        {event(WebhookName::CacheMiss, "cache-btc"), R"({"name":"cache_miss","channel":"cache-btc"})"},
        {count, R"({"name":"subscription_count","channel":"news","subscription_count":3})"},
        {anonymous,
         R"({"name":"client_event","channel":"private-a","event":"client-typing","data":"{\"on\":true}","socket_id":"310462.91724455"})"},
    };
    std::vector<WebhookEvent> all;
    std::string joined;
    for (const auto& [what, expected] : cases) {
        assert_text_equal(body({what}),
                          R"({"time_ms":1767225600123,"events":[)" + std::string(expected) + "]}");
        all.push_back(what);
        joined += (joined.empty() ? "" : ",") + std::string(expected);
    }
    assert_text_equal(body(all), R"({"time_ms":1767225600123,"events":[)" + joined + "]}");
    assert_text_equal(body({}), R"({"time_ms":1767225600123,"events":[]})");
}

TEST(text_of_clients_is_escaped)
{
    WebhookEvent hostile = clientEvent();
    hostile.event = hostile.data = hostile.userId = "\"}],\n\\";
    const auto read = readJson(webhookBody(1, {{hostile}}));
    const json_t* first = json_array_get(json_object_get(read.get(), "events"), 0);
    for (const char* name : {"event", "data", "user_id"}) {
        assert_text_equal(realtime::testing::textOf(json_object_get(first, name)), hostile.data);
    }
}

TEST(each_name_is_in_a_group)
{
    assert_text_equal(groupOf(WebhookName::ChannelOccupied), "channel_existence");
    assert_text_equal(groupOf(WebhookName::ChannelVacated), "channel_existence");
    assert_text_equal(groupOf(WebhookName::MemberAdded), "presence");
    assert_text_equal(groupOf(WebhookName::MemberRemoved), "presence");
    assert_text_equal(groupOf(WebhookName::ClientEvent), "client_events");
    assert_text_equal(groupOf(WebhookName::CacheMiss), "cache_channels");
    assert_text_equal(groupOf(WebhookName::SubscriptionCount), "subscription_count");
}

TEST_MAIN()
