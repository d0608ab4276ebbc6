// Requests to the Pusher protocol's REST API: method, target and body as anybody may write them.
#include "base/hmac.hpp"
#include "base/json_scan.hpp"
#include "wire/pusher_rest.hpp"

#include <algorithm>

#include "fuzz.hpp"

using namespace realtime;
using namespace realtime::pusher;

namespace {

constexpr std::int64_t Now = 1767225600;

void checkObject(std::string_view body)
{
    const auto value = json::parse(body);
    CHECK(value && value->isObject());
}

void checkError(const RestError& error)
{
    CHECK(error.status >= 400 && error.status < 500 && !error.message.empty());
    checkObject(errorBody(error));
}

void checkTrigger(const Trigger& trigger)
{
    CHECK(validEventName(trigger.name) && !reservedEvent(trigger.name));
    CHECK(trigger.data.size() <= 10240);
    CHECK(!trigger.channels.empty() && trigger.channels.size() <= 100);
    std::vector<std::string> names = trigger.channels;
    std::sort(names.begin(), names.end());
    CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
    std::vector<ChannelAttributes> answer;
    for (const std::string& name : trigger.channels) {
        CHECK(checkChannelName(name) == NameCheck::Ok);
        answer.push_back({name, select(trigger.info, classify(name), 1, 2)});
    }
    checkObject(channelsBody(answer));
    CHECK(trigger.socketId.empty() || validSocketId(trigger.socketId));
}

void checkBody(std::string_view body)
{
    const auto trigger = parseTrigger(body);
    if (const auto* error = std::get_if<RestError>(&trigger)) {
        checkError(*error);
    } else {
        checkTrigger(std::get<Trigger>(trigger));
    }
    const auto batch = parseBatch(body);
    if (const auto* error = std::get_if<RestError>(&batch)) {
        checkError(*error);
        return;
    }
    const auto& events = std::get<std::vector<Trigger>>(batch);
    CHECK(events.size() <= 10);
    std::vector<Attributes> answer;
    for (const Trigger& event : events) {
        checkTrigger(event);
        CHECK(event.channels.size() == 1);
        answer.push_back(select(event.info, classify(event.channels[0]), 1, 2));
    }
    checkObject(batchBody(answer));
}

void checkQueries(const Target& target)
{
    const auto list = parseChannelsQuery(target);
    if (const auto* query = std::get_if<ChannelsQuery>(&list)) {
        CHECK(!query->info.userCount || query->prefix.starts_with("presence-"));
    }
    const auto info = parseChannelQuery(target);
    if (const auto* error = std::get_if<RestError>(&info)) {
        checkError(*error);
    } else {
        CHECK(checkChannelName(target.name) == NameCheck::Ok);
        CHECK(!std::get<Info>(info).userCount || classify(target.name).presence);
    }
    CHECK(checkUsersQuery(target).has_value() || classify(target.name).presence);
    CHECK(checkTerminate(target).has_value() == !validUserId(target.name));
}

void checkSignature(const Target& target, std::string_view method, std::string_view body)
{
    const std::vector<Credentials> right{{"k", "secret"}}, wrong{{"k", "Secret"}};
    const auto result = verifySignature(target, method, body, right, Now);
    if (const auto* error = std::get_if<RestError>(&result)) {
        CHECK(error->status == 401);
        checkError(*error);
        return;
    }
    CHECK(std::get<const Credentials*>(result) == right.data());
    CHECK(*target.find("auth_key") == "k" && *target.find("auth_version") == "1.0");
    CHECK(body.empty() || *target.find("body_md5") == md5Hex(body));
    CHECK(std::holds_alternative<RestError>(verifySignature(target, method, body, wrong, Now)));
    CHECK(std::holds_alternative<RestError>(verifySignature(target, method, body, right, Now + 2000)));
    CHECK(std::holds_alternative<RestError>(verifySignature(target, "PUT", body, right, Now)));
}

std::string request(const std::string& method, const std::string& path, std::string query,
                    const std::string& body)
{
    query = "auth_key=k&auth_timestamp=1767225600&auth_version=1.0" +
            (body.empty() ? "" : "&body_md5=" + md5Hex(body)) + query;
    return method + '\n' + path + '?' + query +
           "&auth_signature=" + hmacSha256Hex("secret", method + '\n' + path + '\n' + query) + '\n' + body;
}

} // namespace

std::vector<std::string> seeds()
{
    return {
        request(
            "POST", "/apps/731/events", "",
            R"({"name":"a","data":"{\"id\":42}","channels":["private-a","presence-b"],"socket_id":"1.2","info":"user_count"})"),
        request("POST", "/apps/731/events", "",
                R"({"name":"App\\X","data":{"a":1},"channel":"#server-to-user-u 1"})"),
        request(
            "POST", "/apps/731/batch_events", "",
            R"({"batch":[{"name":"a","channel":"news","data":"{}","info":"subscription_count"},{"name":"b","channel":"presence-c","data":""}]})"),
        request("GET", "/apps/731/channels", "&filter_by_prefix=presence-&info=user_count", ""),
        request("GET", "/apps/731/channels/cache-a", "&info=subscription_count,cache", ""),
        request("GET", "/apps/731/channels/presence-a/users", "&k[]=b&k[]=a", ""),
        request("POST", "/apps/731/users/ann lee/terminate_connections", "", "{}"),
        "POST\n/p%20q/apps/731/users/a%2Fb/terminate_connections?auth_key=k&k%5B0%5D=a+b&k[1]=%zz\n",
    };
}

FUZZ_TARGET(pusher_rest)(const std::uint8_t* data, std::size_t size)
{
    Input in(data, size);
    const std::string_view method = in.line(), text = in.line(), body = in.rest();
    checkBody(body);
    const auto result = parseTarget(method, text);
    if (const auto* error = std::get_if<RestError>(&result)) {
        checkError(*error);
        CHECK((error->status == 405) == !error->allow.empty());
        return 0;
    }
    const auto& target = std::get<Target>(result);
    CHECK(target.mounted < target.path.size() && target.query.size() <= 100);
    checkQueries(target);
    checkSignature(target, method, body);
    return 0;
}
