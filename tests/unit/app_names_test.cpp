// Which names an event may bear, by the door that it comes in.
#include "app/publisher.hpp"

#include "testing.hpp"

using namespace realtime;

namespace {

App appWithKey()
{
    App app;
    app.id = "shop";
    app.pusher.credentials = {{"key", "secret"}};
    return app;
}

bool passes(const App& app, Door door, std::string_view channel, std::string_view event = "message")
{
    Publication publication;
    publication.channel = channel;
    publication.event = event;
    publication.door = door;
    return mayPublish(app, publication);
}

constexpr Door Doors[] = {Door::Open, Door::Signed, Door::Node};

} // namespace

TEST(nobody_publishes_events_of_the_server)
{
    const App withKey = appWithKey();
    const App plain{};
    for (const App* app : {&withKey, &plain}) {
        for (const Door door : Doors) {
            for (const std::string_view event :
                 {"pusher:error", "pusher_internal:member_removed", "realtime:gap", "PUSHER:error",
                  "pusher\xe2\x80\x8b:error"}) {
                assert_false(passes(*app, door, "news", event));
                assert_false(passes(*app, door, "presence-room", event));
            }
            for (const std::string_view event :
                 {"", "message", "client-typing", "App\\Events\\Sent", "pushed"}) {
                assert_true(passes(*app, door, "news", event));
            }
        }
    }
}

TEST(only_who_signs_and_other_nodes_speak_to_users)
{
    const App app = appWithKey();
    for (const std::string& channel :
         {std::string("#server-to-user-ann"), std::string("#server-to-user-ann lee"),
          "#server-to-user-" + std::string(200, 'u')}) {
        assert_false(passes(app, Door::Open, channel));
        assert_true(passes(app, Door::Signed, channel));
        assert_true(passes(app, Door::Node, channel));
    }
}

TEST(what_else_begins_with_a_hash_is_nobodys)
{
    const App app = appWithKey();
    for (const std::string& channel :
         {std::string("#watch-ann"), std::string("#"), std::string("#x"), std::string("#server-to-user-"),
          std::string("#Server-To-User-ann"), "#server-to-user-" + std::string(201, 'u'),
          std::string("#server-to-user-a\nb")}) {
        for (const Door door : Doors) {
            assert_false(passes(app, door, channel));
        }
        assert_true(app.reserves(channel));
    }
}

TEST(other_prefixes_are_names_as_any_other)
{
    const App app = appWithKey();
    for (const std::string_view channel :
         {"private-a", "presence-a", "private-encrypted-a", "cache-a", "a#b", "server-to-user-a"}) {
        for (const Door door : Doors) {
            assert_true(passes(app, door, channel));
        }
        assert_false(app.reserves(channel));
    }
}

TEST(an_app_without_a_key_has_no_users)
{
    const App app{};
    for (const Door door : Doors) {
        assert_true(passes(app, door, "#general"));
        assert_true(passes(app, door, "#server-to-user-ann"));
    }
    assert_false(app.reserves("#general"));
}

TEST_MAIN()
