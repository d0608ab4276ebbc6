#include "wire/pusher_frame.hpp"

#include "base/base64.hpp"

#include "json_reader.hpp"

#include "testing.hpp"

using namespace realtime;
using namespace realtime::pusher;
using realtime::testing::dump;
using realtime::testing::Json;
using realtime::testing::member;
using realtime::testing::readJson;

namespace {

const std::string Hostile = "\"},{\\\n\x01\xc3\xa9\xff";
const std::string Mended = "\"},{\\\n\x01\xc3\xa9\xef\xbf\xbd";

// What `append` appends, checked for what holds for every frame.
template <class Append> std::string frame(Append append)
{
    FrameBuilder builder;
    append(builder);
    std::string text(builder.view());
    const Json object = readJson(text);
    assert_true(json_is_object(object.get()));
    assert_true(member(object, "event") != "(none)");
    if (member(object, "event") != "pusher:error") {
        assert_true(member(object, "data") != "(none)");
    }
    return text;
}

// The object that is in the string `data`.
Json inner(const std::string& text)
{
    return readJson(member(readJson(text), "data"));
}

} // namespace

TEST(a_connection_begins_as_documented)
{
    assert_text_equal(
        frame([](FrameBuilder& out) { appendConnectionEstablished(out, "310462.91724455", 120); }),
        R"({"event":"pusher:connection_established","data":"{\"socket_id\":\"310462.91724455\",\"activity_timeout\":120}"})");
}

TEST(errors_carry_an_object)
{
    assert_text_equal(
        frame([](FrameBuilder& out) {
            appendError(out, std::nullopt, "Existing subscription to channel news");
        }),
        R"({"event":"pusher:error","data":{"code":null,"message":"Existing subscription to channel news"}})");
    assert_text_equal(
        frame([](FrameBuilder& out) {
            appendError(out, code::ClientEventRejected, "Client event rate limit exceeded", "private-chat");
        }),
        R"({"event":"pusher:error","channel":"private-chat","data":{"code":4301,"message":"Client event rate limit exceeded"}})");
    const std::string hostile = frame([](FrameBuilder& out) { appendError(out, 4001, Hostile, Hostile); });
    assert_text_equal(member(readJson(hostile), "channel"), Mended);
}

TEST(frames_of_a_connection_have_no_channel)
{
    assert_text_equal(frame([](FrameBuilder& out) { appendPong(out); }),
                      R"({"event":"pusher:pong","data":"{}"})");
    const std::string userData = R"({"id":"u-17","user_info":{"name":"Zo\u00eb"},"watchlist":["u-18"]})";
    const std::string signin = frame([&userData](FrameBuilder& out) { appendSigninSuccess(out, userData); });
    assert_text_equal(member(inner(signin), "user_data"), userData);
    assert_text_equal(member(readJson(signin), "channel"), "(none)");
    assert_text_equal(
        frame([](FrameBuilder& out) {
            appendSigninSuccess(out,
                                R"({"id":"u-17","user_info":{"name":"Ada"},"watchlist":["u-18","u-19"]})");
        }),
        R"({"event":"pusher:signin_success","data":"{\"user_data\":\"{\\\"id\\\":\\\"u-17\\\",\\\"user_info\\\":{\\\"name\\\":\\\"Ada\\\"},\\\"watchlist\\\":[\\\"u-18\\\",\\\"u-19\\\"]}\"}"})");
}

TEST(watchlist_events_leave_out_what_is_empty)
{
    const std::vector<std::string_view> online{"u-18"}, offline{"u-19", "\"\n"}, none;
    const auto data = [](const auto& on, const auto& off) {
        const std::string text =
            frame([&](FrameBuilder& out) { assert_true(appendWatchlistEvents(out, on, off)); });
        assert_text_equal(member(readJson(text), "event"), "pusher_internal:watchlist_events");
        assert_text_equal(member(readJson(text), "channel"), "(none)");
        return dump(inner(text).get());
    };
    assert_text_equal(
        data(online, offline),
        R"({"events":[{"name":"online","user_ids":["u-18"]},{"name":"offline","user_ids":["u-19","\"\n"]}]})");
    assert_text_equal(data(online, none), R"({"events":[{"name":"online","user_ids":["u-18"]}]})");
    assert_text_equal(data(none, online), R"({"events":[{"name":"offline","user_ids":["u-18"]}]})");
    FrameBuilder builder;
    assert_false(appendWatchlistEvents(builder, none, none));
    assert_int_equal(builder.size(), 0);
}

TEST(a_subscription_succeeds_with_data)
{
    assert_text_equal(
        frame([](FrameBuilder& out) { appendSubscriptionSucceeded(out, "private-orders-42"); }),
        R"({"event":"pusher_internal:subscription_succeeded","channel":"private-orders-42","data":"{}"})");
    assert_text_equal(dump(inner(frame([](FrameBuilder& out) {
                               appendSubscriptionSucceeded(out, "a", NoData, Resumed{true, "7c-3"});
                           })).get()),
                      R"({"recovered":true,"id":"7c-3"})");
    const std::string presence = presenceData({});
    assert_text_equal(
        dump(inner(frame([&](FrameBuilder& out) {
                 appendSubscriptionSucceeded(out, "presence-a", presence, Resumed{false, "7c-0"});
             })).get()),
        R"({"presence":{"count":0,"ids":[],"hash":{}},"recovered":false,"id":"7c-0"})");
}

TEST(the_presence_snapshot_has_an_entry_for_every_id)
{
    const std::vector<PresenceEntry> users{{"u-17", R"({"name":"Ada"})"}, {"u-18", R"({"name":"Lin"})"}};
    assert_text_equal(
        frame([&users](FrameBuilder& out) {
            appendSubscriptionSucceeded(out, "presence-room-7", presenceData(users));
        }),
        R"({"event":"pusher_internal:subscription_succeeded","channel":"presence-room-7","data":"{\"presence\":{\"count\":2,\"ids\":[\"u-17\",\"u-18\"],\"hash\":{\"u-17\":{\"name\":\"Ada\"},\"u-18\":{\"name\":\"Lin\"}}}}"})");
    assert_text_equal(presenceData({}), R"({"presence":{"count":0,"ids":[],"hash":{}}})");
    const std::vector<PresenceEntry> odd{{"a", ""}, {"\"b\n", "true"}, {"\xc3\xa9", "null"}};
    assert_text_equal(
        dump(readJson(presenceData(odd)).get()),
        "{\"presence\":{\"count\":3,\"ids\":[\"a\",\"\\\"b\\n\",\"\xc3\xa9\"],\"hash\":{\"a\":{},"
        "\"\\\"b\\n\":true,\"\xc3\xa9\":null}}}");
}

TEST(members_come_and_go_as_documented)
{
    assert_text_equal(
        frame([](FrameBuilder& out) {
            appendMemberAdded(out, "presence-room-7", {"u-19", R"({"name":"Sam"})"});
        }),
        R"({"event":"pusher_internal:member_added","channel":"presence-room-7","data":"{\"user_id\":\"u-19\",\"user_info\":{\"name\":\"Sam\"}}"})");
    assert_text_equal(
        frame([](FrameBuilder& out) { appendMemberRemoved(out, "presence-room-7", "u-19"); }),
        R"({"event":"pusher_internal:member_removed","channel":"presence-room-7","data":"{\"user_id\":\"u-19\"}"})");
    const Json added = inner(frame([](FrameBuilder& out) {
        appendMemberAdded(out, "presence-a", {Hostile, ""});
    }));
    assert_text_equal(member(added, "user_id"), Mended);
    assert_text_equal(dump(json_object_get(added.get(), "user_info")), "{}");
}

TEST(the_other_frames_of_a_channel_look_as_documented)
{
    assert_text_equal(
        frame([](FrameBuilder& out) { appendSubscriptionCount(out, "news", 3); }),
        R"({"event":"pusher_internal:subscription_count","channel":"news","data":"{\"subscription_count\":3}"})");
    assert_text_equal(frame([](FrameBuilder& out) { appendCacheMiss(out, "cache-btc"); }),
                      R"({"event":"pusher:cache_miss","channel":"cache-btc","data":"{}"})");
    const SubscriptionError error{"AuthError", "Invalid signature", 401};
    assert_text_equal(
        frame([&](FrameBuilder& out) { appendSubscriptionError(out, "private-orders-42", error); }),
        R"({"event":"pusher:subscription_error","channel":"private-orders-42","data":"{\"type\":\"AuthError\",\"error\":\"Invalid signature\",\"status\":401}"})");
    assert_text_equal(
        member(readJson(frame([&](FrameBuilder& out) { appendInternalSubscriptionError(out, "a", error); })),
               "event"),
        "pusher_internal:subscription_error");
}

TEST(events_relay_their_data_in_a_string)
{
    assert_text_equal(
        frame([](FrameBuilder& out) {
            appendEvent(out, {"App\\Events\\OrderShipped", "private-orders-42", R"({"id":42})", {}, {}});
        }),
        R"({"event":"App\\Events\\OrderShipped","channel":"private-orders-42","data":"{\"id\":42}"})");
    assert_text_equal(
        frame([](FrameBuilder& out) {
            appendEvent(out, {"client-typing", "presence-room-7", R"({"on":true})", "e1-7", "u-17"});
        }),
        R"({"event":"client-typing","channel":"presence-room-7","data":"{\"on\":true}","user_id":"u-17","id":"e1-7"})");
    const std::string data = "not JSON: \"},{\\\n\x01\xc3\xa9";
    const Json object = readJson(frame([&](FrameBuilder& out) {
        appendEvent(out, {Hostile, Hostile, data, Hostile, Hostile});
    }));
    assert_int_equal(json_object_size(object.get()), 5);
    assert_text_equal(member(object, "data"), data);
    for (const char* name : {"event", "channel", "id", "user_id"}) {
        assert_text_equal(member(object, name), Mended);
    }
}

TEST(data_that_is_not_utf8_is_base64)
{
    const std::string data("\x00\xff\xfe", 3);
    const Json object = readJson(frame([&](FrameBuilder& out) {
        appendEvent(out, {"e", "c", data, {}, {}});
    }));
    assert_text_equal(member(object, "encoding"), "base64");
    assert_text_equal(decodeBase64(member(object, "data")).value(), data);
}

TEST(answers_to_publish_give_the_reference_back)
{
    assert_text_equal(frame([](FrameBuilder& out) { appendAck(out, "7", "e1-8"); }),
                      R"({"event":"realtime:ack","data":"{\"ref\":7,\"id\":\"e1-8\"}"})");
    assert_text_equal(
        frame([](FrameBuilder& out) { appendPublishError(out, R"("r\n1")", 403, "Not allowed"); }),
        R"({"event":"realtime:error","data":"{\"ref\":\"r\\n1\",\"code\":403,\"message\":\"Not allowed\"}"})");
    assert_text_equal(
        dump(inner(frame([](FrameBuilder& out) { appendPublishError(out, "null", 400, "x"); })).get()),
        R"({"ref":null,"code":400,"message":"x"})");
}

TEST(frames_are_appended)
{
    FrameBuilder builder;
    appendPong(builder);
    appendPong(builder);
    assert_text_equal(builder.view(),
                      R"({"event":"pusher:pong","data":"{}"}{"event":"pusher:pong","data":"{}"})");
}

TEST_MAIN()
