#include "wire/pusher_message.hpp"

#include "wire/pusher_auth.hpp"

#include "json_reader.hpp"

#include "testing.hpp"

using namespace realtime;
using namespace realtime::pusher;
using Kind = ClientMessage::Kind;

namespace {

ClientMessage accepted(std::string_view text, Kind kind)
{
    ClientMessage message = parseClientMessage(text);
    if (message.kind != kind || !message.error.empty()) {
        throw std::runtime_error(std::string(text) + ": " + std::string(message.error));
    }
    return message;
}

void refused(std::string_view text, Kind kind)
{
    const ClientMessage message = parseClientMessage(text);
    if (message.kind != kind || message.error.empty()) {
        throw std::runtime_error(std::string(text) + ": kind " +
                                 std::to_string(static_cast<int>(message.kind)));
    }
}

} // namespace

// --- frames

TEST(what_pusher_js_sends_is_understood)
{
    const ClientMessage open =
        accepted(R"({"event":"pusher:subscribe","data":{"auth":"","channel":"news"}})", Kind::Subscribe);
    assert_text_equal(open.channel, "news");
    assert_text_equal(open.auth.value(), "");
    assert_false(open.channelData.has_value());
    assert_false(open.since.has_value());

    const ClientMessage leave =
        accepted(R"({"event":"pusher:unsubscribe","data":{"channel":"news"}})", Kind::Unsubscribe);
    assert_text_equal(leave.channel, "news");

    accepted(R"({"event":"pusher:ping","data":{}})", Kind::Ping);
    accepted(R"({"event":"pusher:pong","data":{}})", Kind::Pong);

    const ClientMessage event = accepted(
        R"({"event":"client-typing","data":{"on":true},"channel":"presence-room-7"})", Kind::ClientEvent);
    assert_text_equal(event.event, "client-typing");
    assert_text_equal(event.channel, "presence-room-7");
    assert_text_equal(event.data, R"({"on":true})");

    const ClientMessage signin = accepted(
        R"({"event":"pusher:signin","data":{"auth":"k:s","user_data":"{\"id\":\"u-17\"}"}})", Kind::SignIn);
    assert_text_equal(signin.auth.value(), "k:s");
    assert_text_equal(signin.userData.value(), R"({"id":"u-17"})");
}

TEST(channel_data_keeps_its_inner_escapes)
{
    // The wire form of section 8: one unescape gives the text that was signed.
    const ClientMessage message = accepted(
        R"({"event":"pusher:subscribe","data":{"auth":"k9f3c2a17be40d5561aa:0966dca0623c2798c66cc17472af07e60f3a177c2e6d305a6917011fafa12a52","channel_data":"{\"user_id\":\"u-17\",\"user_info\":{\"name\":\"Zo\\u00eb \\/ \\\"Z\\\"\"}}","channel":"presence-room-7"}})",
        Kind::Subscribe);
    const std::vector<Credentials> pairs{{"k9f3c2a17be40d5561aa", "s2d81e6f04c7b93a5512"}};
    assert_true(verifyChannelAuth(pairs, "310462.91724455", message.channel, message.channelData,
                                  message.auth.value()) == AuthResult::Ok);
    const PresenceData presence = parsePresenceData(message.channelData.value());
    assert_true(presence.fault == PresenceFault::None);
    assert_text_equal(presence.member.userInfo, R"({"name":"Zo\u00eb \/ \"Z\""})");
}

TEST(data_may_be_encoded_twice)
{
    const ClientMessage message = accepted(
        R"({"event":"pusher:subscribe","data":"{\"channel\":\"news\",\"since\":\"e1-7\",\"channel_data\":null}"})",
        Kind::Subscribe);
    assert_text_equal(message.channel, "news");
    assert_text_equal(message.since.value(), "e1-7");
    assert_false(message.channelDataUnusable);
    // but not three times
    refused(R"({"event":"pusher:subscribe","data":"\"{\\\"channel\\\":\\\"news\\\"}\""})", Kind::Subscribe);
}

TEST(pings_need_no_sensible_data)
{
    for (const std::string_view data : {"", R"(,"data":null)", R"(,"data":"")", R"(,"data":"x")",
                                        R"(,"data":[1])", R"(,"data":"{}")", R"(,"data":7,"channel":3)"}) {
        accepted(R"({"event":"pusher:ping")" + std::string(data) + '}', Kind::Ping);
        accepted(R"({"event":"pusher:pong")" + std::string(data) + '}', Kind::Pong);
    }
}

TEST(no_shape_of_data_is_more_than_a_soft_error)
{
    for (const std::string_view data :
         {"", R"(,"data":null)", R"(,"data":"")", R"(,"data":"{")", R"(,"data":"x")", R"(,"data":[])",
          R"(,"data":true)", R"(,"data":12)", R"(,"data":{})", R"(,"data":{"channel":null})",
          R"(,"data":{"channel":7})", R"(,"data":{"channel":["a"]})", R"(,"data":{"channel":{}})"}) {
        refused(R"({"event":"pusher:subscribe")" + std::string(data) + '}', Kind::Subscribe);
        refused(R"({"event":"pusher:unsubscribe")" + std::string(data) + '}', Kind::Unsubscribe);
        refused(R"({"event":"realtime:publish")" + std::string(data) + '}', Kind::Publish);
    }
    refused(R"({"event":"pusher:signin","data":[]})", Kind::SignIn);
    for (const std::string_view data :
         {"", R"(,"data":null)", R"(,"data":"")", R"(,"data":{})", R"(,"data":"{}")"}) {
        const ClientMessage empty =
            accepted(R"({"event":"pusher:signin")" + std::string(data) + '}', Kind::SignIn);
        assert_false(empty.auth.has_value());
        assert_false(empty.userData.has_value());
    }
}

TEST(subscribe_fields_of_the_wrong_type_are_absent)
{
    const ClientMessage message = accepted(
        R"({"event":"pusher:subscribe","data":{"channel":"private-x","auth":7,"channel_data":{"user_id":1},"since":5}})",
        Kind::Subscribe);
    assert_false(message.auth.has_value());
    assert_false(message.channelData.has_value());
    assert_true(message.channelDataUnusable);
    assert_false(message.since.has_value());
    // An empty name is the name grammar's business.
    assert_text_equal(
        accepted(R"({"event":"pusher:subscribe","data":{"channel":""}})", Kind::Subscribe).channel, "");
    const ClientMessage signin =
        accepted(R"({"event":"pusher:signin","data":{"auth":null,"user_data":{"id":"1"}}})", Kind::SignIn);
    assert_false(signin.auth.has_value());
    assert_false(signin.userData.has_value());
}

TEST(what_is_no_message_is_malformed)
{
    for (const std::string_view text :
         {"", " ", "x", "[]", "\"pusher:ping\"", "1", "null", "{}", R"({"event":null})", R"({"event":1})",
          R"({"event":{}})", R"({"event":"pusher:ping"}x)", R"({"event":"pusher:ping",})", R"({'event':'x'})",
          "{\"event\":\"pusher:ping\",\"data\":\"\xff\"}"}) {
        refused(text, Kind::Malformed);
    }
    std::string deep = R"({"event":"pusher:ping","data":)";
    deep += std::string(100, '[') + std::string(100, ']') + '}';
    refused(deep, Kind::Malformed);
    refused(std::string(60'000, '['), Kind::Malformed);
}

TEST(events_have_their_kinds)
{
    refused(R"({"event":"pusher:nonsense"})", Kind::UnknownReserved);
    refused(R"({"event":"pusher:connection_established"})", Kind::UnknownReserved);
    refused(R"({"event":"pusher_internal:member_added","channel":"x"})", Kind::UnknownReserved);
    refused(R"({"event":"realtime:ack"})", Kind::UnknownReserved);
    refused(R"({"event":"pusher:Subscribe"})", Kind::UnknownReserved);
    refused(R"({"event":"news"})", Kind::UnknownEvent);
    refused(R"({"event":""})", Kind::UnknownEvent);
    refused(R"({"event":" client-x","channel":"private-a"})", Kind::UnknownEvent);
    accepted(R"({"\u0065vent":"pusher\u003aping"})", Kind::Ping);               // escapes do not hide a name
    accepted(R"({"event":"news","event":"pusher:ping"})", Kind::Ping);          // the last one counts
    assert_text_equal(parseClientMessage(R"({"event":"news"})").event, "news"); // for a message about it
}

TEST(client_events_are_relayed_byte_for_byte)
{
    const struct {
        std::string_view data;
        std::string_view expected;
    } cases[] = {
        {R"(,"data":"te\"xt\u00e9")", "te\"xt\xc3\xa9"},
        {R"(,"data":"")", ""},
        {R"(,"data":"{\"a\":1}")", R"({"a":1})"},
        {R"(,"data":{ "b" : 1.0, "a":[1e2,"\u00e9\/"]})", R"({ "b" : 1.0, "a":[1e2,"\u00e9\/"]})"},
        {R"(,"data":12345678901234567890.0)", "12345678901234567890.0"},
        {R"(,"data":true)", "true"},
        {R"(,"data":null)", "null"},
        {"", "null"},
    };
    for (const auto& each : cases) {
        const std::string text =
            R"({"event":"client-x","channel":"private-a")" + std::string(each.data) + '}';
        assert_text_equal(accepted(text, Kind::ClientEvent).data, each.expected);
        const std::string publish =
            R"({"event":"realtime:publish","data":{"ref":1,"event":"e","channel":"a")" +
            std::string(each.data) + "}}";
        assert_text_equal(accepted(publish, Kind::Publish).data, each.expected);
    }
}

TEST(client_events_need_a_channel_and_a_name_of_bounded_length)
{
    refused(R"({"event":"client-x","data":{}})", Kind::ClientEvent);
    refused(R"({"event":"client-x","channel":7})", Kind::ClientEvent);
    const auto named = [](std::size_t size) {
        return R"({"event":"client-)" + std::string(size - 7, 'x') + R"(","channel":"private-a"})";
    };
    accepted(named(200), Kind::ClientEvent);
    refused(named(201), Kind::ClientEvent);
    assert_text_equal(parseClientMessage(named(201)).channel, "private-a"); // so that the channel can be told
}

TEST(publish_takes_its_fields_from_data)
{
    const ClientMessage message = accepted(
        R"({"event":"realtime:publish","data":{"ref":7,"channel":"orders","event":"created","data":{"no":1}}})",
        Kind::Publish);
    assert_text_equal(message.ref, "7");
    assert_text_equal(message.channel, "orders");
    assert_text_equal(message.event, "created");
    assert_text_equal(message.data, R"({"no":1})");
    // The reference goes back as it came.
    for (const std::string_view ref : {R"("a\"\u0062")", "1.0", "-12345678901234567890", R"("")"}) {
        const std::string text = R"({"event":"realtime:publish","data":{"channel":"a","event":"e","ref":)" +
                                 std::string(ref) + "}}";
        assert_text_equal(accepted(text, Kind::Publish).ref, ref);
    }
}

TEST(a_publish_may_have_an_idempotency_key_of_bounded_length)
{
    const auto text = [](std::string_view key) {
        return R"({"event":"realtime:publish","data":{"ref":1,"channel":"a","event":"e")" + std::string(key) +
               "}}";
    };
    assert_text_equal(accepted(text(""), Kind::Publish).key, "");
    assert_text_equal(accepted(text(R"(,"key":null)"), Kind::Publish).key, "");
    assert_text_equal(accepted(text(R"(,"key":"k\u00e9-1")"), Kind::Publish).key, "k\xc3\xa9-1");
    const std::string longest(255, 'k');
    assert_text_equal(accepted(text(",\"key\":\"" + longest + '"'), Kind::Publish).key, longest);
    refused(text(",\"key\":\"" + longest + "k\""), Kind::Publish);
    refused(text(R"(,"key":"")"), Kind::Publish);
    refused(text(R"(,"key":7)"), Kind::Publish);
}

TEST(a_bad_publish_keeps_its_ref_for_the_error)
{
    for (const std::string_view rest :
         {R"("event":"e")", R"("channel":7,"event":"e")", R"("channel":"a")", R"("channel":"a","event":"")",
          R"("channel":"a","event":5)", R"("channel":"a","event":"pusher:x")",
          R"("channel":"a","event":"pusher_internal:member_added")",
          R"("channel":"a","event":"realtime:gap")"}) {
        const std::string text =
            R"({"event":"realtime:publish","data":{"ref":"r1",)" + std::string(rest) + "}}";
        refused(text, Kind::Publish);
        assert_text_equal(parseClientMessage(text).ref, "\"r1\"");
    }
    const std::string longest = '"' + std::string(253, 'r') + '"'; // it may have to be kept for long
    assert_text_equal(
        accepted(R"({"event":"realtime:publish","data":{"channel":"a","event":"e","ref":)" + longest + "}}",
                 Kind::Publish)
            .ref,
        longest);
    const std::string tooLong = '"' + std::string(254, 'r') + '"';
    for (const std::string_view ref :
         {std::string_view("null"), std::string_view("true"), std::string_view("[1]"), std::string_view("{}"),
          std::string_view(tooLong)}) {
        const std::string text = R"({"event":"realtime:publish","data":{"channel":"a","event":"e","ref":)" +
                                 std::string(ref) + "}}";
        refused(text, Kind::Publish);
        assert_text_equal(parseClientMessage(text).ref, "null");
    }
}

// --- presence

TEST(members_are_read_as_they_came)
{
    const struct {
        std::string_view text;
        std::string_view id;
        std::string_view info;
    } cases[] = {
        {R"({"user_id":"u-17","user_info":{"name":"Ada"}})", "u-17", R"({"name":"Ada"})"},
        {R"({"user_id":"u-17"})", "u-17", "{}"},
        {R"({"user_id":17})", "17", "{}"},
        {R"({"user_id":12345678901234567890})", "12345678901234567890", "{}"}, // past 2^53
        {R"({"user_id":1.0})", "1.0", "{}"},
        {R"({"user_id":"1","user_info":true})", "1", "true"}, // Laravel
        {R"({"user_id":"1","user_info":null})", "1", "null"},
        {R"({"user_id":"1","user_info":[ 1 , "\u00e9" ]})", "1", R"([ 1 , "\u00e9" ])"},
        {R"( { "user_id" : "\u00e9" } )", "\xc3\xa9", "{}"},
        {R"({"user_id":"a","user_id":"b"})", "b", "{}"},
    };
    for (const auto& each : cases) {
        const PresenceData data = parsePresenceData(each.text);
        assert_true(data.fault == PresenceFault::None);
        assert_text_equal(data.member.userId, each.id);
        assert_text_equal(data.member.userInfo, each.info);
    }
}

TEST(what_names_no_user_is_malformed)
{
    for (const std::string_view text :
         {"", "x", "[]", "\"u\"", "{}", R"({"user_id":null})", R"({"user_id":""})", R"({"user_id":true})",
          R"({"user_id":["u"]})", R"({"user_id":{}})", R"({"user_info":{}})", R"({"user_id":"u")"}) {
        assert_true(parsePresenceData(text).fault == PresenceFault::Malformed);
    }
}

TEST(presence_limits_hold_at_their_border)
{
    const PresenceLimits limits{.maxUserIdCharacters = 3, .maxUserInfoBytes = 5};
    const auto fault = [&limits](std::string_view text) { return parsePresenceData(text, limits).fault; };
    assert_true(fault(R"({"user_id":"abc"})") == PresenceFault::None);
    assert_true(fault(R"({"user_id":"\u00e9\u00e9\u00e9"})") == PresenceFault::None); // characters
    assert_true(fault(R"({"user_id":"abcd"})") == PresenceFault::UserIdTooLong);
    assert_true(fault(R"({"user_id":1234})") == PresenceFault::UserIdTooLong);
    assert_true(fault(R"({"user_id":"a","user_info":"abc"})") == PresenceFault::None);
    assert_true(fault(R"({"user_id":"a","user_info":"abcd"})") == PresenceFault::UserInfoTooLarge);
    assert_true(checkMember({"abcd", "{}"}, limits) == PresenceFault::UserIdTooLong);
    assert_true(checkMember({"abc", "{\"a\":1}"}, limits) == PresenceFault::UserInfoTooLarge);
    assert_true(checkMember({"abc", "{}"}, limits) == PresenceFault::None);
    for (const PresenceFault each :
         {PresenceFault::Malformed, PresenceFault::UserIdTooLong, PresenceFault::UserInfoTooLarge}) {
        assert_false(describe(each).empty());
    }
}

// --- users

TEST(user_data_is_read_as_it_came)
{
    const UserData user =
        parseUserData(R"({"id":"u-17","user_info":{"name": "Ada"},"watchlist":["u-18","u-19"],"more":1})");
    assert_true(user.error.empty());
    assert_text_equal(user.id, "u-17");
    assert_text_equal(user.userInfo.value(), R"({"name": "Ada"})");
    assert_true(user.watchlist == std::vector<std::string>({"u-18", "u-19"}));
    assert_int_equal(user.watchlistTotal, 2);
    assert_false(user.watchlistTooLong);

    const UserData plain = parseUserData(R"({"id":"ann lee","watchlist":null})");
    assert_true(plain.error.empty());
    assert_false(plain.userInfo.has_value());
    assert_true(plain.watchlist.empty());
}

TEST(who_has_no_string_as_id_is_nobody)
{
    for (const std::string& text : std::vector<std::string>{
             "", "x", "[]", "{}", R"({"id":17})", R"({"id":null})", R"({"id":""})", R"({"id":["a"]})",
             R"({"id":"a\u0000b"})", R"({"id":"a\nb"})", R"({"id":")" + std::string(201, 'a') + "\"}",
             R"({"id":"a","watchlist":"b"})", R"({"id":"a","watchlist":{}})"}) {
        const UserData user = parseUserData(text);
        assert_false(user.error.empty());
        assert_true(user.id.empty());
    }
    assert_true(parseUserData(R"({"id":")" + std::string(200, 'a') + "\"}").error.empty());
}

TEST(the_first_hundred_ids_are_watched)
{
    const auto user = [](int count) {
        std::string text = R"({"id":"me","watchlist":["u-0","u-0",7,"",null)";
        for (int i = 0; i < count; ++i) {
            text += ",\"u-" + std::to_string(i) + '"';
        }
        return parseUserData(text + "]}");
    };
    const UserData full = user(100);
    assert_int_equal(full.watchlist.size(), 100);
    assert_false(full.watchlistTooLong); // repeated and impossible ids do not count
    assert_int_equal(full.watchlistTotal, 105);
    const UserData over = user(101);
    assert_int_equal(over.watchlist.size(), 100);
    assert_true(over.watchlistTooLong);
    assert_text_equal(over.watchlist.back(), "u-99");
    assert_int_equal(user(5000).watchlistTotal, 5005);
}

TEST_MAIN()
