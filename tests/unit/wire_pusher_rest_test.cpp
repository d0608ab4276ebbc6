#include "wire/pusher_rest.hpp"

#include "base/hmac.hpp"

#include "json_reader.hpp"

#include "testing.hpp"

using namespace realtime;
using namespace realtime::pusher;
using realtime::testing::dump;
using realtime::testing::readJson;

namespace {

const std::vector<Credentials> Pairs{{"k9f3c2a17be40d5561aa", "s2d81e6f04c7b93a5512"}, {"second", "other"}};
constexpr std::int64_t Now = 1767225600;
const std::string Common = "auth_key=k9f3c2a17be40d5561aa&auth_timestamp=1767225600&auth_version=1.0";
const std::string EmptyMd5 = "d41d8cd98f00b204e9800998ecf8427e";

Target targetOf(std::string_view method, std::string_view text, std::size_t mounted = 0)
{
    const auto result = parseTarget(method, text, mounted);
    if (const auto* error = std::get_if<RestError>(&result)) {
        throw std::runtime_error(std::string(text) + ": " + error->message);
    }
    return std::get<Target>(result);
}

RestError targetError(std::string_view method, std::string_view text)
{
    const auto result = parseTarget(method, text);
    if (!std::holds_alternative<RestError>(result)) {
        throw std::runtime_error("accepted: " + std::string(text));
    }
    return std::get<RestError>(result);
}

// 200, or the error's status.
int verify(std::string_view method, std::string_view text, std::string_view body, std::int64_t now = Now,
           std::size_t mounted = 0)
{
    const auto result = verifySignature(targetOf(method, text, mounted), method, body, Pairs, now);
    if (const auto* error = std::get_if<RestError>(&result)) {
        assert_true(!error->message.empty());
        assert_true(error->message.find("s2d81e6f04c7b93a5512") == std::string::npos);
        return error->status;
    }
    assert_non_null(std::get<const Credentials*>(result));
    return 200;
}

// A target whose signature is of `signedText`, which an SDK would have built.
std::string signedTarget(std::string_view target, std::string_view signedText)
{
    return std::string(target) + "&auth_signature=" + hmacSha256Hex("s2d81e6f04c7b93a5512", signedText);
}

template <class Value> const Value& valueOf(const std::variant<Value, RestError>& result)
{
    if (const auto* error = std::get_if<RestError>(&result)) {
        throw std::runtime_error("refused: " + error->message);
    }
    return std::get<Value>(result);
}

template <class Result> RestError errorOf(const Result& result)
{
    const auto* error = std::get_if<RestError>(&result);
    return error == nullptr ? RestError{200, "none"} : *error;
}

std::string event(std::string_view members)
{
    return R"({"name":"order-shipped","data":"{}","channel":"news")" + std::string(members) + '}';
}

// A list of so many channels' names, all different.
std::string channelNames(int count)
{
    std::string out;
    for (int i = 0; i < count; ++i) {
        out += (i > 0 ? ",\"c" : "\"c") + std::to_string(i) + '"';
    }
    return out;
}

Target channelTarget(std::string_view rest)
{
    return targetOf("GET", "/apps/731/channels" + std::string(rest));
}

} // namespace

// --- target

TEST(each_endpoint_has_its_path_and_method)
{
    const struct {
        std::string_view method, path;
        Endpoint endpoint;
        std::string_view name;
    } cases[] = {
        {"POST", "/apps/731/events", Endpoint::Events, ""},
        {"POST", "/apps/731/batch_events", Endpoint::BatchEvents, ""},
        {"GET", "/apps/731/channels", Endpoint::Channels, ""},
        {"GET", "/apps/731/channels/presence-room-7", Endpoint::Channel, "presence-room-7"},
        {"GET", "/apps/731/channels/presence-room-7/users", Endpoint::ChannelUsers, "presence-room-7"},
        {"POST", "/apps/731/users/ann%20lee/terminate_connections", Endpoint::TerminateConnections,
         "ann lee"},
        {"POST", "/apps/731/users/a%2Fb%3f%25/terminate_connections", Endpoint::TerminateConnections,
         "a/b?%"},
        {"GET", "/apps/731/channels/channels", Endpoint::Channel, "channels"},
        {"GET", "/apps/731/channels/a%zzb%4", Endpoint::Channel, "a%zzb%4"}, // no escapes
    };
    for (const auto& each : cases) {
        const Target target = targetOf(each.method, std::string(each.path) + "?a=b");
        assert_int_equal(target.endpoint, each.endpoint);
        assert_text_equal(target.appId, "731");
        assert_text_equal(target.name, each.name);
        assert_text_equal(target.path, each.path);
        assert_int_equal(target.mounted, 0);
        const std::string_view other = each.method == "GET" ? "POST" : "GET";
        const RestError error = targetError(other, each.path);
        assert_int_equal(error.status, 405);
        assert_text_equal(error.allow, each.method);
    }
    assert_int_equal(targetError("HEAD", "/apps/731/channels").status, 405);
    assert_int_equal(targetError("get", "/apps/731/channels").status, 405);
}

TEST(other_paths_are_not_found)
{
    for (const std::string_view path : {"",
                                        "/",
                                        "apps/731/events",
                                        "/apps",
                                        "/apps/",
                                        "/apps/731",
                                        "/apps/731/",
                                        "/apps/731/event",
                                        "/apps/731/events/",
                                        "/apps/731/events/x",
                                        "/apps//events",
                                        "/apps/731//events",
                                        "/apps/731/channels/",
                                        "/apps/731/channels//users",
                                        "/apps/731/channels/a/user",
                                        "/apps/731/channels/a/users/",
                                        "/apps/731/channels/a/events",
                                        "/apps/731/channels/a/stats",
                                        "/apps/731/users/u",
                                        "/apps/731/users//terminate_connections",
                                        "/apps/731/%65vents",
                                        "/app/731/events",
                                        "/Apps/731/events",
                                        "/users//terminate_connections",
                                        "?/apps/731/events",
                                        "/appsx/731/events"}) {
        assert_int_equal(targetError("POST", path).status, 404);
    }
    assert_int_equal(targetError("POST", std::string(100'000, '/')).status, 404);
}

TEST(a_prefix_in_front_is_left_aside)
{
    const Target target = targetOf("POST", "/my/prefix/apps/731/events?x=1", 10);
    assert_int_equal(target.endpoint, Endpoint::Events);
    assert_text_equal(target.appId, "731");
    assert_int_equal(target.mounted, 10);
    assert_text_equal(target.path, "/my/prefix/apps/731/events");
    const Target user = targetOf("POST", "/apps/731/users/apps/terminate_connections");
    assert_int_equal(user.mounted, 0);
    assert_text_equal(user.name, "apps");
}

TEST(the_path_is_exactly_what_follows_the_prefix)
{
    for (const std::string_view path : {"/apps/other/apps/731/events", "/x/apps/731/events",
                                        "//apps/731/events", "/apps/apps/731/events"}) {
        assert_int_equal(targetError("POST", path).status, 404);
    }
    const std::string path = "/x/apps/731/events";
    for (const std::size_t mounted : {1, 3, 7, 18, 100}) {
        assert_int_equal(errorOf(parseTarget("POST", path, mounted)).status, 404);
    }
}

TEST(python_leaves_the_app_out)
{
    const Target target = targetOf("POST", "/users/u-17/terminate_connections?" + Common);
    assert_int_equal(target.endpoint, Endpoint::TerminateConnections);
    assert_text_equal(target.appId, "");
    assert_text_equal(target.name, "u-17");
    assert_text_equal(*target.find("auth_key"), "k9f3c2a17be40d5561aa");
}

TEST(the_query_keeps_order_and_repetitions)
{
    const Target target = targetOf("GET", "/apps/1/channels?b=2&A=1&&b=%31%2B+&c&=d&e=f=g&h%5B%5D=%26");
    const std::pair<std::string_view, std::string_view> expected[] = {
        {"b", "2"}, {"a", "1"}, {"b", "1++"}, {"c", ""}, {"", "d"}, {"e", "f=g"}, {"h[]", "&"}};
    assert_int_equal(target.query.size(), std::size(expected));
    for (std::size_t i = 0; i < std::size(expected); ++i) {
        assert_text_equal(target.query[i].name, expected[i].first);
        assert_text_equal(target.query[i].value, expected[i].second);
    }
    assert_text_equal(*target.find("b"), "2");
    assert_null(target.find("B"));
    std::string many = "/apps/1/channels?";
    for (int i = 0; i < 100; ++i) {
        many += "a=1&";
    }
    assert_int_equal(targetOf("GET", many).query.size(), 100);
    assert_int_equal(targetError("GET", many + "a=1").status, 400);
}

// --- signature

TEST(the_signatures_of_the_specification_verify)
{
    const std::string events =
        R"({"name":"order-shipped","channels":["private-orders-42"],"data":"{\"id\":42}","socket_id":"310462.91724455"})";
    assert_int_equal(events.size(), 108);
    const struct {
        std::string_view method;
        std::string target, body;
    } cases[] = {
        {"POST",
         "/apps/731/events?" + Common +
             "&body_md5=4ce22544ba8eccdd4de4f63e6379f386"
             "&auth_signature=781dbeeeb4c698019fa439df007915f467550574164a20adb45c0dab2cee4a44",
         events},
        {"GET",
         "/apps/731/channels?" + Common +
             "&filter_by_prefix=presence-&info=user_count"
             "&auth_signature=7c405d9fbaff080875b2db1716a6e8bb6ac1d6f2ba8194a46f178918b570409f",
         ""},
        {"GET", // python: the digest of an empty body
         "/apps/731/channels?" + Common + "&body_md5=" + EmptyMd5 +
             "&filter_by_prefix=presence-&info=user_count"
             "&auth_signature=aba81b9d53e84978424188fb56b1102c3fb9fe49364c79f0a5737a83ab8ab845",
         ""},
        {"GET", // java, php, ruby escape the comma
         "/apps/731/channels/presence-room-7?" + Common +
             "&info=subscription_count%2Cuser_count"
             "&auth_signature=4ca32fc99be647e6e8ac005fd7680302737474db83adf19834a3912ce20ff830",
         ""},
        {"GET", // node, go, python, dotnet do not; dotnet puts the signature first
         "/apps/731/channels/presence-room-7?auth_signature="
         "4ca32fc99be647e6e8ac005fd7680302737474db83adf19834a3912ce20ff830&info=subscription_count,user_"
         "count&" +
             Common,
         ""},
        {"POST",
         "/apps/731/users/u-17/terminate_connections?" + Common +
             "&body_md5=99914b932bd37a50b983c5e7c90ae93b"
             "&auth_signature=aed1cd360352583504f3fecb104a618f4d73d007bd74783d293b0ed26e201afd",
         "{}"},
        {"POST",
         "/apps/731/users/ann%20lee/terminate_connections?" + Common +
             "&body_md5=99914b932bd37a50b983c5e7c90ae93b"
             "&auth_signature=5246aeaf14a22d00ac1d19d8c843cfc78b11420b5df3195d83f3a8425ee8594a",
         "{}"},
    };
    for (const auto& each : cases) {
        assert_int_equal(verify(each.method, each.target, each.body), 200);
        // Whatever is changed, it does not hold any more.
        assert_int_equal(verify(each.method, each.target, each.body + " "), 401);
        assert_int_equal(verify(each.method, each.target + "&x=1", each.body), 401);
        std::string other = each.target;
        other.replace(other.find("auth_signature=") + 15, 4, "0000");
        assert_int_equal(verify(each.method, other, each.body), 401);
        other = each.target;
        other.replace(other.find("/apps/731"), 9, "/apps/732");
        assert_int_equal(verify(each.method, other, each.body), 401);
        // Any prefix of a proxy in front.
        assert_int_equal(verify(each.method, "/mounted" + each.target, each.body, Now, 8), 200);
    }
}

TEST(the_method_is_signed_too)
{
    const Target target =
        targetOf("GET", signedTarget("/apps/731/channels?" + Common, "POST\n/apps/731/channels\n" + Common));
    assert_int_equal(errorOf(verifySignature(target, "GET", "", Pairs, Now)).status, 401);
    assert_int_equal(errorOf(verifySignature(target, "POST", "", Pairs, Now)).status, 200);
}

TEST(each_way_to_sign_that_sdks_have_verifies)
{
    const struct {
        std::string target, text;
    } cases[] = {
        // the path as it was sent
        {"/apps/731/channels/a%20b?" + Common, "GET\n/apps/731/channels/a%20b\n" + Common},
        // with the prefix, decoded and raw
        {"/p%20q/apps/731/channels/a%20b?" + Common, "GET\n/p q/apps/731/channels/a b\n" + Common},
        {"/p%20q/apps/731/channels/a%20b?" + Common, "GET\n/p%20q/apps/731/channels/a%20b\n" + Common},
        // ruby: arrays keep their order
        {"/apps/731/channels?" + Common + "&info[]=b&info%5B%5D=a",
         "GET\n/apps/731/channels\n" + Common + "&info[]=b&info[]=a"},
        // php: signed joined, sent indexed
        {"/apps/731/channels?" + Common + "&info%5B0%5D=b&info%5B1%5D=a&k[0]=c",
         "GET\n/apps/731/channels\n" + Common + "&info=b,a&k=c"},
        // java: a space is sent as a plus
        {"/apps/731/channels?" + Common + "&k=a+b%2Bc", "GET\n/apps/731/channels\n" + Common + "&k=a b+c"},
        {"/apps/731/channels?" + Common + "&k=a+b%2Bc", "GET\n/apps/731/channels\n" + Common + "&k=a+b+c"},
        // names are signed in lower case and in order of bytes
        {"/apps/731/channels?Zoo=1&aA=2&" + Common, "GET\n/apps/731/channels\naa=2&" + Common + "&zoo=1"},
        // unknown parameters and empty values
        {"/apps/731/channels?" + Common + "&x=&y", "GET\n/apps/731/channels\n" + Common + "&x=&y="},
    };
    for (const auto& each : cases) {
        const std::size_t mounted = each.target.find("/apps/");
        assert_int_equal(verify("GET", signedTarget(each.target, each.text), "", Now, mounted), 200);
    }
    assert_int_equal(verify("GET",
                            signedTarget("/apps/731/channels?" + Common + "&info[]=b&info[]=a",
                                         "GET\n/apps/731/channels\n" + Common + "&info[]=a&info[]=b"),
                            ""),
                     401);
}

TEST(many_values_of_one_name_keep_their_order)
{
    std::string list; // longer than what sorts of a few elements happen to keep in order
    for (int i = 60; i > 0; --i) {
        list += "&k[]=" + std::to_string(i * 7 % 61);
    }
    assert_int_equal(verify("GET",
                            signedTarget("/apps/731/channels?z=1" + list + '&' + Common,
                                         "GET\n/apps/731/channels\n" + Common + list + "&z=1"),
                            ""),
                     200);
}

TEST(each_key_has_its_own_secret)
{
    const std::string query = "auth_key=second&auth_timestamp=1767225600&auth_version=1.0";
    const std::string text = "GET\n/apps/731/channels\n" + query;
    const std::string target = "/apps/731/channels?" + query + "&auth_signature=";
    const Target parsed = targetOf("GET", target + hmacSha256Hex("other", text));
    const auto result = verifySignature(parsed, "GET", "", Pairs, Now);
    assert_ptr_equal(valueOf(result), &Pairs[1]);
    assert_int_equal(verify("GET", target + hmacSha256Hex("s2d81e6f04c7b93a5512", text), ""), 401);
    const RestError unknown = errorOf(verifySignature(parsed, "GET", "", std::span(Pairs).first(1), Now));
    assert_int_equal(unknown.status, 401);
    assert_text_equal(unknown.message, "Unknown auth_key");
}

TEST(required_parameters_are_there_once)
{
    const std::vector<std::string> all{"auth_key=k9f3c2a17be40d5561aa", "auth_timestamp=1767225600",
                                       "auth_version=1.0"};
    const auto request = [](const std::vector<std::string>& parameters) {
        std::string query;
        for (const std::string& parameter : parameters) {
            query += (query.empty() ? "" : "&") + parameter;
        }
        return signedTarget("/apps/731/channels?" + query, "GET\n/apps/731/channels\n" + query);
    };
    assert_int_equal(verify("GET", request(all), ""), 200);
    for (std::size_t i = 0; i < all.size(); ++i) {
        std::vector<std::string> less = all, more = all;
        less.erase(less.begin() + static_cast<std::ptrdiff_t>(i));
        assert_int_equal(verify("GET", request(less), ""), 401);
        more.insert(more.begin() + static_cast<std::ptrdiff_t>(i), all[i]);
        assert_int_equal(verify("GET", request(more), ""), 401);
    }
    assert_int_equal(verify("GET", "/apps/731/channels?" + Common, ""), 401);
    assert_int_equal(verify("GET", "/apps/731/channels", ""), 401);
    const std::string right = request(all);
    assert_int_equal(verify("GET", right + right.substr(right.find("&auth_signature=")), ""), 401);
    std::vector<std::string> digests = all;
    digests.insert(digests.end(), 2, "body_md5=" + EmptyMd5);
    assert_int_equal(verify("GET", request(digests), ""), 401);
}

TEST(version_and_time_count)
{
    const auto request = [](const std::string& version, const std::string& timestamp) {
        const std::string query =
            "auth_key=k9f3c2a17be40d5561aa&auth_timestamp=" + timestamp + "&auth_version=" + version;
        return signedTarget("/apps/731/channels?" + query, "GET\n/apps/731/channels\n" + query);
    };
    const std::string right = request("1.0", "1767225600");
    assert_int_equal(verify("GET", right, "", Now + 599), 200);
    assert_int_equal(verify("GET", right, "", Now - 599), 200);
    assert_int_equal(verify("GET", right, "", Now + 600), 401);
    assert_int_equal(verify("GET", right, "", Now - 600), 401);
    for (const std::string timestamp :
         {"", "x", "-1", "1767225600.0", "1767225600x", " 1767225600", "0", "9223372036854775807",
          "-9223372036854775808", "99999999999999999999999"}) {
        assert_int_equal(verify("GET", request("1.0", timestamp), ""), 401);
    }
    for (const std::string version : {"", "1", "1.1", "2.0", "1.00"}) {
        assert_int_equal(verify("GET", request(version, "1767225600"), ""), 401);
    }
}

TEST(the_body_must_have_its_digest)
{
    const auto request = [](const std::string& digest) {
        const std::string query = Common + digest;
        return signedTarget("/apps/731/events?" + query, "POST\n/apps/731/events\n" + query);
    };
    assert_int_equal(verify("POST", request(""), ""), 200);
    assert_int_equal(verify("POST", request(""), "x"), 401);
    assert_int_equal(verify("POST", request("&body_md5=" + md5Hex("x")), "x"), 200);
    assert_int_equal(verify("POST", request("&body_md5=" + md5Hex("x")), "y"), 401);
    assert_int_equal(verify("POST", request("&body_md5=" + md5Hex("x")), ""), 401);
    assert_int_equal(verify("POST", request("&body_md5=" + EmptyMd5), ""), 200);
    assert_int_equal(verify("POST", request("&body_md5="), ""), 401);
}

// --- events

TEST(a_trigger_is_read_as_documented)
{
    const auto result = parseTrigger(
        R"({"name":"order-shipped","data":"{\"id\":42}","channels":["private-orders-42","presence-room-7"],"socket_id":"310462.91724455","info":"user_count,subscription_count","more":[1]})");
    const Trigger& trigger = valueOf(result);
    assert_text_equal(trigger.name, "order-shipped");
    assert_text_equal(trigger.data, R"({"id":42})");
    assert_true(trigger.channels == std::vector<std::string>({"private-orders-42", "presence-room-7"}));
    assert_text_equal(trigger.socketId, "310462.91724455");
    assert_true(trigger.info.asked && trigger.info.userCount && trigger.info.subscriptionCount);
    assert_false(trigger.info.cache);

    const auto php = parseTrigger(R"({"name":"App\\Events\\X","data":"","channel":"news"})");
    assert_text_equal(valueOf(php).name, "App\\Events\\X");
    assert_text_equal(valueOf(php).data, "");
    assert_true(valueOf(php).channels == std::vector<std::string>({"news"}));
    assert_text_equal(valueOf(php).socketId, "");
    assert_false(valueOf(php).info.asked);
}

TEST(null_is_absent_and_channels_wins)
{
    const auto result = parseTrigger(
        R"({"name":"a","data":"d","channels":null,"channel":"x","socket_id":null,"info":null,"tags":null})");
    assert_true(valueOf(result).channels == std::vector<std::string>({"x"}));
    assert_false(valueOf(result).info.asked);
    const auto both = parseTrigger(R"({"name":"a","data":"d","channels":["y","z","y"],"channel":"x"})");
    assert_true(valueOf(both).channels == std::vector<std::string>({"y", "z"})); // each once
    const auto toUser = parseTrigger(R"({"name":"a","data":"d","channels":["#server-to-user-ann lee"]})");
    assert_true(valueOf(toUser).channels == std::vector<std::string>({"#server-to-user-ann lee"}));
}

TEST(data_stays_as_it_came)
{
    const auto data = [](std::string_view text) {
        return valueOf(parseTrigger(R"({"name":"a","channel":"x","data":)" + std::string(text) + '}')).data;
    };
    assert_text_equal(data(R"("{\"a\":1.0,\"\\u00e9\":\"\\/\"}")"), R"({"a":1.0,"\u00e9":"\/"})");
    assert_text_equal(data(R"("\u00e9\n")"), "\xc3\xa9\n");
    assert_text_equal(data(R"({ "b" : 1.0 })"), R"({ "b" : 1.0 })"); // not a string: its text
    assert_text_equal(data("false"), "false");
    assert_text_equal(data("12345678901234567890"), "12345678901234567890");
}

TEST(what_a_trigger_lacks_or_has_wrong_is_400)
{
    for (const std::string& body : std::vector<std::string>{
             "",
             "x",
             "[]",
             "null",
             "\"{}\"",
             "{}",
             R"({"name":"a","data":"d","channel":"x"}})",
             R"({"data":"d","channel":"x"})",
             R"({"name":null,"data":"d","channel":"x"})",
             R"({"name":7,"data":"d","channel":"x"})",
             R"({"name":"","data":"d","channel":"x"})",
             R"({"name":")" + std::string(201, 'n') + R"(","data":"d","channel":"x"})",
             R"({"name":"pusher:error","data":"d","channel":"x"})",
             R"({"name":"pusher_internal:member_added","data":"d","channel":"x"})",
             R"({"name":"realtime:gap","data":"d","channel":"x"})",
             R"({"name":"a","channel":"x"})",
             R"({"name":"a","channel":"x","data":null})",
             R"({"name":"a","data":"d"})",
             R"({"name":"a","data":"d","channels":[]})",
             R"({"name":"a","data":"d","channels":"x"})",
             R"({"name":"a","data":"d","channels":{}})",
             R"({"name":"a","data":"d","channels":[7]})",
             R"({"name":"a","data":"d","channels":["x",null]})",
             R"({"name":"a","data":"d","channels":["x","a b"]})",
             R"({"name":"a","data":"d","channels":["#x"]})",
             R"({"name":"a","data":"d","channel":7})",
             R"({"name":"a","data":"d","channel":""})",
             R"({"name":"a","data":"d","channel":")" + std::string(201, 'c') + "\"}",
             R"({"name":"a","data":"d","channels":[)" + channelNames(101) + "]}",
             event(R"(,"socket_id":"")"),
             event(R"(,"socket_id":"1")"),
             event(R"(,"socket_id":"1.2.3")"),
             event(R"(,"socket_id":1.2)"),
             event(R"(,"info":["user_count"])"),
             event(R"(,"info":true)"),
             R"({"name":"a","channel":"x","data":)" + std::string(100, '[') + std::string(100, ']') + "}",
         }) {
        const RestError error = errorOf(parseTrigger(body));
        if (error.status != 400 || error.message.empty()) {
            fail_msg("%d %s: %s", error.status, error.message.c_str(), body.c_str());
        }
    }
    assert_text_equal(errorOf(parseTrigger(R"({"name":7,"data":"d","channel":"x"})")).message,
                      "Expected name parameter to be a string");
}

TEST(limits_hold_at_their_border)
{
    const auto status = [](const std::string& body, const TriggerLimits& limits = {}) {
        return errorOf(parseTrigger(body, limits)).status;
    };
    assert_int_equal(status(R"({"name":"a","data":"d","channels":[)" + channelNames(100) + "]}"), 200);
    assert_int_equal(status(R"({"name":")" + std::string(200, 'n') + R"(","data":"d","channel":"x"})"), 200);
    assert_int_equal(status(R"({"name":"a","data":"d","channel":")" + std::string(200, 'c') + "\"}"), 200);
    const auto sized = [](std::size_t bytes) {
        return R"({"name":"a","channel":"x","data":")" + std::string(bytes, 'd') + "\"}";
    };
    assert_int_equal(status(sized(10240)), 200);
    assert_int_equal(status(sized(10241)), 413);
    assert_int_equal(status(sized(5), {.maxDataBytes = 4}), 413);
    std::string escaped; // what counts is the text that is meant
    for (int i = 0; i < 5120; ++i) {
        escaped += R"(\u00e9)";
    }
    assert_int_equal(status(R"({"name":"a","channel":"x","data":")" + escaped + "\"}"), 200);
    assert_int_equal(status(R"({"name":"a","channel":"x","data":")" + escaped + "x\"}"), 413);
    assert_int_equal(status(R"({"name":"a","channel":"abcd","data":""})", {.maxChannelBytes = 3}), 400);
    assert_int_equal(status(R"({"name":"a","channels":["a","b"],"data":""})", {.maxChannels = 1}), 400);
}

TEST(an_unknown_attribute_does_not_refuse_an_event)
{
    const Info info = valueOf(parseTrigger(event(R"(,"info":"nonsense, user_count ,,cache")"))).info;
    assert_true(info.asked && info.userCount && info.cache);
    assert_false(info.subscriptionCount);
    const Info empty = valueOf(parseTrigger(event(R"(,"info":"")"))).info;
    assert_true(empty.asked);
    assert_false(empty.userCount || empty.subscriptionCount || empty.cache);
}

TEST(a_batch_is_all_or_nothing)
{
    const auto batch = parseBatch(
        R"({"batch":[{"name":"a","channel":"news","data":"{}","info":"subscription_count"},{"name":"b","channel":"presence-room-7","data":"{}","socket_id":"310462.91724455"}]})");
    const auto& events = valueOf(batch);
    assert_int_equal(events.size(), 2);
    assert_text_equal(events[0].name, "a");
    assert_true(events[0].info.subscriptionCount);
    assert_text_equal(events[1].socketId, "310462.91724455");
    assert_true(events[1].channels == std::vector<std::string>({"presence-room-7"}));
    assert_true(valueOf(parseBatch(R"({"batch":[]})")).empty());

    const auto repeated = [](int count) {
        std::string body = R"({"batch":[)";
        for (int i = 0; i < count; ++i) {
            body += (i > 0 ? "," : "") + event("");
        }
        return errorOf(parseBatch(body + "]}")).status;
    };
    assert_int_equal(repeated(10), 200);
    assert_int_equal(repeated(11), 400);
    for (const std::string& body : std::vector<std::string>{
             "", "[]", "{}", R"({"batch":null})", R"({"batch":{}})", R"({"batch":[7]})", R"({"batch":[[]]})",
             R"({"batch":[{"name":"a","channels":["x"],"data":""}]})",
             R"({"batch":[)" + event("") + R"(,{"name":"a","data":""}]})"}) {
        assert_int_equal(errorOf(parseBatch(body)).status, 400);
    }
    const std::string large = R"({"name":"a","channel":"x","data":")" + std::string(10241, 'd') + "\"}";
    assert_int_equal(errorOf(parseBatch(R"({"batch":[)" + event("") + ',' + large + "]}")).status, 413);
}

// --- channels

TEST(the_list_of_channels_is_asked_for_by_prefix)
{
    const auto query = [](std::string_view rest) { return parseChannelsQuery(channelTarget(rest)); };
    assert_text_equal(valueOf(query("")).prefix, "");
    assert_false(valueOf(query("")).info.asked);
    const ChannelsQuery presence =
        valueOf(query("?filter_by_prefix=presence-&info=user_count%2Csubscription_count"));
    assert_text_equal(presence.prefix, "presence-");
    assert_true(presence.info.userCount && presence.info.subscriptionCount);
    assert_true(valueOf(query("?info=subscription_count")).info.subscriptionCount);
    assert_true(valueOf(query("?filter_by_prefix=presence-r&info[]=user_count&info[]=subscription_count"))
                    .info.userCount);                                                             // ruby
    assert_true(valueOf(query("?filter_by_prefix=presence-&info[0]=user_count")).info.userCount); // php
    for (const std::string_view rest :
         {"?info=user_count", "?info=user_count&filter_by_prefix=private-",
          "?info=user_count&filter_by_prefix=presence", "?info=user_count&filter_by_prefix=x-presence-",
          "?info=nonsense", "?info=cache", "?info=subscription_count,nonsense"}) {
        assert_int_equal(errorOf(query(rest)).status, 400);
    }
}

TEST(attributes_of_a_channel_must_apply_to_it)
{
    const auto status = [](std::string_view rest) {
        return errorOf(parseChannelQuery(channelTarget(rest))).status;
    };
    for (const std::string_view rest :
         {"/news", "/news?info=subscription_count", "/presence-a?info=user_count,subscription_count",
          "/cache-a?info=cache", "/presence-cache-a?info=user_count,subscription_count,cache", "/private-a",
          "/private-encrypted-cache-a?info=cache", "/news?info=", "/news?other=1"}) {
        assert_int_equal(status(rest), 200);
    }
    for (const std::string_view rest :
         {"/news?info=user_count", "/private-a?info=user_count", "/news?info=cache", "/presence-a?info=cache",
          "/news?info=nonsense", "/a%20b", "/%23server-to-user-1", "/%23x", "/%00", "/%ff"}) {
        assert_int_equal(status(rest), 400);
    }
    assert_int_equal(status("/" + std::string(200, 'a')), 200);
    assert_int_equal(status("/" + std::string(201, 'a')), 400);
    const Info info = valueOf(parseChannelQuery(channelTarget("/presence-a?info=user_count")));
    assert_true(info.userCount);
    assert_false(info.subscriptionCount);
}

TEST(only_presence_channels_have_users)
{
    const auto status = [](std::string_view name) {
        const auto error = checkUsersQuery(channelTarget("/" + std::string(name) + "/users?x=1"));
        return error ? error->status : 200;
    };
    assert_int_equal(status("presence-a"), 200);
    assert_int_equal(status("presence-cache-a"), 200);
    for (const std::string_view name :
         {"news", "private-a", "cache-a", "presence@a", "%23server-to-user-1", "presence-%20"}) {
        assert_int_equal(status(name), 400);
    }
}

TEST(only_possible_users_are_terminated)
{
    const auto status = [](const std::string& id) {
        const auto error = checkTerminate(targetOf("POST", "/apps/1/users/" + id + "/terminate_connections"));
        return error ? error->status : 200;
    };
    assert_int_equal(status("u-17"), 200);
    assert_int_equal(status("ann%20lee"), 200);
    assert_int_equal(status(std::string(200, 'u')), 200);
    assert_int_equal(status(std::string(201, 'u')), 400);
    assert_int_equal(status("%00"), 400);
    assert_int_equal(status("%c3"), 400);
}

// --- answers

TEST(counts_are_selected_by_what_is_asked_and_applies)
{
    const Info both{.asked = true, .userCount = true, .subscriptionCount = true};
    const Attributes presence = select(both, classify("presence-a"), 2, 3);
    assert_int_equal(presence.userCount.value(), 2);
    assert_int_equal(presence.subscriptionCount.value(), 3);
    const Attributes plain = select(both, classify("news"), 2, 3);
    assert_false(plain.userCount.has_value());
    assert_int_equal(plain.subscriptionCount.value(), 3);
    const Attributes none = select({.asked = true}, classify("presence-a"), 2, 3);
    assert_false(none.userCount.has_value() || none.subscriptionCount.has_value());
}

TEST(bodies_are_those_of_the_specification)
{
    Attributes three, two;
    three.subscriptionCount = 3;
    two.userCount = 2;
    const std::vector<ChannelAttributes> channels{{"private-orders-42", three}, {"presence-room-7", two}};
    assert_text_equal(
        channelsBody(channels),
        R"({"channels":{"private-orders-42":{"subscription_count":3},"presence-room-7":{"user_count":2}}})");
    const std::vector<ChannelAttributes> plain{{"news", {}}, {"private-orders-42", {}}};
    assert_text_equal(channelsBody(plain), R"({"channels":{"news":{},"private-orders-42":{}}})");
    assert_text_equal(channelsBody({}), R"({"channels":{}})");

    const std::vector<Attributes> batch{three, {}};
    assert_text_equal(batchBody(batch), R"({"batch":[{"subscription_count":3},{}]})");
    assert_text_equal(batchBody({}), R"({"batch":[]})");

    ChannelState state;
    state.occupied = true;
    assert_text_equal(channelBody(state), R"({"occupied":true})");
    state.attributes = {2, 3};
    assert_text_equal(channelBody(state), R"({"occupied":true,"user_count":2,"subscription_count":3})");
    state = {.occupied = false, .attributes = {0, {}}, .cacheAsked = false, .cache = {}};
    assert_text_equal(channelBody(state), R"({"occupied":false,"user_count":0})");
    state = {.occupied = true,
             .attributes = three,
             .cacheAsked = true,
             .cache = CachedEvent{R"({"usd":91234})", 1740}};
    assert_text_equal(
        channelBody(state),
        R"({"occupied":true,"subscription_count":3,"cache":{"data":"{\"usd\":91234}","ttl":1740}})");
    state = {.occupied = false, .attributes = {}, .cacheAsked = true, .cache = {}};
    assert_text_equal(channelBody(state), R"({"occupied":false,"cache":null})");

    const std::vector<std::string_view> ids{"u-17", "u-18"};
    assert_text_equal(usersBody(ids), R"({"users":[{"id":"u-17"},{"id":"u-18"}]})");
    assert_text_equal(usersBody({}), R"({"users":[]})");
    assert_text_equal(errorBody({413, "Too much"}), R"({"error":"Too much","code":413})");
    assert_text_equal(EmptyBody, "{}");
}

TEST(every_body_is_an_object_whatever_is_in_it)
{
    const std::string hostile = "\"}],\n\\\xff";
    const std::vector<std::string_view> ids{hostile, "a"};
    const std::vector<ChannelAttributes> channels{{hostile, {1, 2}}, {"b", {}}};
    const std::vector<Attributes> batch{{1, 2}, {1, {}}, {{}, 2}};
    for (const std::string& body :
         {usersBody(ids), channelsBody(channels), batchBody(batch), errorBody({400, hostile}),
          channelBody({.occupied = true,
          .attributes = {1, 2},
          .cacheAsked = true,
          .cache = CachedEvent{hostile, 1}})}) {
        assert_true(json_is_object(readJson(body).get()));
        assert_text_equal(dump(readJson(body).get()), body);
    }
    // A part of what a client wrote comes back in errors.
    const std::string name = R"(\"}\u0000\ud800)" + std::string(5000, '!');
    const RestError error = errorOf(parseTrigger(R"({"name":"a","data":"d","channel":")" + name + "\"}"));
    assert_true(error.message.find("\"}") != std::string::npos);
    assert_true(error.message.size() < 200);
    readJson(errorBody(error));
}

TEST_MAIN()
