#include "wire/pusher_channel.hpp"

#include "testing.hpp"

using namespace realtime::pusher;

TEST(names_hold_to_the_grammar)
{
    const struct {
        std::string name;
        NameCheck expected;
    } cases[] = {
        {"news", NameCheck::Ok},
        {"AZaz09_-=@,.;", NameCheck::Ok},
        {"private-", NameCheck::Ok},
        {std::string(200, 'a'), NameCheck::Ok},
        {std::string(201, 'a'), NameCheck::TooLong},
        {"", NameCheck::Malformed},
        {" ", NameCheck::Malformed},
        {"a b", NameCheck::Malformed},
        {"a/b", NameCheck::Malformed},
        {"a:b", NameCheck::Malformed},
        {"gr\xc3\xbc", NameCheck::Malformed},
        {std::string("a\0b", 3), NameCheck::Malformed},
        {"a\n", NameCheck::Malformed},
        {"#news", NameCheck::Malformed},
        {"#server-to-user", NameCheck::Malformed},
        {"#server-to-user-", NameCheck::Malformed},
        {"a#server-to-user-b", NameCheck::Malformed},
        {"#server-to-user-u-17", NameCheck::Ok},
        {"#server-to-user-ann lee", NameCheck::Ok},
        {"#server-to-user-" + std::string(200, 'u'), NameCheck::Ok},
        {"#server-to-user-" + std::string(201, 'u'), NameCheck::TooLong},
        {"#server-to-user-a\nb", NameCheck::Malformed},
        {"#server-to-user-\xff", NameCheck::Malformed},
        {std::string(5000, ' '), NameCheck::Malformed},
    };
    for (const auto& each : cases) {
        if (checkChannelName(each.name) != each.expected) {
            fail_msg("%s", each.name.c_str());
        }
    }
    for (int byte = 0; byte < 256; ++byte) {
        const char c = static_cast<char>(byte);
        const bool allowed = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                             (c != 0 && std::string_view("_-=@,.;").find(c) != std::string_view::npos);
        assert_int_equal(checkChannelName(std::string(1, c)) == NameCheck::Ok, allowed);
    }
    assert_true(checkChannelName("abcd", 3) == NameCheck::TooLong);
    assert_true(checkChannelName("#server-to-user-abcd", 3) == NameCheck::Ok); // has its own limit
}

TEST(the_longest_anchored_prefix_decides)
{
    const struct {
        std::string_view name;
        ChannelKind expected;
    } cases[] = {
        {"news", {}},
        {"cache-btc", {.cache = true}},
        {"private-x", {.isPrivate = true}},
        {"private-", {.isPrivate = true}},
        {"private-cache-x", {.isPrivate = true, .cache = true}},
        {"private-cachex", {.isPrivate = true}},
        {"private-encrypted-x", {.isPrivate = true, .encrypted = true}},
        {"private-encryptedx", {.isPrivate = true}},
        {"private-encrypted-cache-x", {.isPrivate = true, .encrypted = true, .cache = true}},
        {"private-cache-encrypted-x", {.isPrivate = true, .cache = true}},
        {"presence-x", {.presence = true}},
        {"presence-cache-x", {.presence = true, .cache = true}},
        {"presence-encrypted-x", {.presence = true}},
        {"#server-to-user-1", {.serverToUser = true}},
        {"privateers", {}},
        {"private", {}},
        {"presence@x", {}},
        {"cached", {}},
        {"my-cache-x", {}},
        {"x-private-y", {}},
        {"Private-x", {}},
        {"", {}},
    };
    for (const auto& each : cases) {
        if (classify(each.name) != each.expected) {
            fail_msg("%s", std::string(each.name).c_str());
        }
    }
}

TEST(kinds_tell_what_is_allowed)
{
    for (const std::string_view name : {"private-x", "private-cache-x", "presence-x", "presence-cache-x"}) {
        assert_true(classify(name).needsSignature());
        assert_true(classify(name).allowsClientEvents());
    }
    for (const std::string_view name : {"private-encrypted-x", "private-encrypted-cache-x"}) {
        assert_true(classify(name).needsSignature());
        assert_false(classify(name).allowsClientEvents());
    }
    for (const std::string_view name : {"x", "cache-x", "#server-to-user-x"}) {
        assert_false(classify(name).needsSignature());
        assert_false(classify(name).allowsClientEvents());
    }
}

TEST(the_user_of_a_server_to_user_channel_is_all_behind_the_prefix)
{
    assert_text_equal(serverToUserId("#server-to-user-u-17").value(), "u-17");
    assert_text_equal(serverToUserId("#server-to-user-").value(), "");
    assert_false(serverToUserId("server-to-user-1").has_value());
    assert_false(serverToUserId("private-#server-to-user-1").has_value());
}

TEST(what_some_client_could_take_for_a_reserved_name_is_reserved)
{
    for (const std::string_view name : {
             "PUSHER:x", "Pusher_Internal:member_removed", "reAltime:gap", "pusher:",
             "\xc2\xadpusher:x",              // a soft hyphen
             "pus\xe2\x80\x8bher_internal:x", // a zero-width space
             "\xef\xbb\xbfpusher:x",          // a byte order mark
             "pusher\xe2\x80\x8d:x",          // a joiner
             "\x01pusher:x", "pusher\x7f:x",  // controls
             "\xef\xbd\x90usher:x",           // a full-width p
             "pusher\xef\xbc\x9ax",           // a full-width colon
             "pu\xc5\xbfher:x",               // a long s
             "\xf3\xa0\x81\xb0pusher:x",      // a tag character
             "realtime:\xcc\x81",             // with an accent behind
         }) {
        assert_true(reservedEvent(name));
    }
    using namespace std::string_view_literals;
    assert_true(reservedEvent("\0pusher:x"sv));
    for (const std::string_view name : {
             "",
             "p",
             "r",
             "pushers:x",
             "pusher-x",
             "pusher;x",
             "pusher_internals:x",
             "pusher_:x",
             "realtime",
             "realtime.x",
             "real-time:x",
             "Pushed:x",
             "r\xc3\xa9"
             "altime:x",        // é
             "\xd1\x80usher:x", // a Cyrillic letter that looks like a p
             " pusher:x",
             "\xe2\x80\x8b",
             "\xff:",
             "\xef\xbc",
             "App\\Events\\Pusher:x",
         }) {
        assert_false(reservedEvent(name));
    }
}

TEST(event_names_are_told_apart)
{
    assert_true(reservedEvent("pusher:x"));
    assert_true(reservedEvent("pusher_internal:x"));
    assert_true(reservedEvent("realtime:x"));
    assert_false(reservedEvent("pusher"));
    assert_false(reservedEvent("xpusher:x"));
    assert_true(reservedChannel("#server-to-user-1"));
    assert_true(reservedChannel("#"));
    assert_false(reservedChannel("a#"));
    assert_false(reservedChannel(""));
    assert_true(clientEvent("client-x"));
    assert_true(clientEvent("client-"));
    assert_false(clientEvent("client_x"));
    assert_false(clientEvent("xclient-x"));
    assert_true(validEventName("App\\Events\\OrderShipped"));
    assert_false(validEventName(""));
    assert_true(validEventName(std::string(200, 'x')));
    assert_false(validEventName(std::string(201, 'x')));
    std::string umlauts;
    for (int i = 0; i < 200; ++i) {
        umlauts += "\xc3\xbc";
    }
    assert_true(validEventName(umlauts)); // characters, not bytes
    assert_false(validEventName(umlauts + "x"));
}

TEST(socket_ids_are_two_numbers)
{
    for (const std::string_view id : {"310462.91724455", "0.0", "99999999999999999999.1"}) {
        assert_true(validSocketId(id));
    }
    for (const std::string_view id :
         {"", ".", "1", "1.", ".1", "1.2.3", "-1.2", "1.2 ", " 1.2", "1e1.2", "1.2\n", "a.b", "+1.2"}) {
        assert_false(validSocketId(id));
    }
}

TEST_MAIN()
