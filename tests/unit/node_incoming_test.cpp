// What RabbitMQ hands over is let in only if it is for somebody here, and under a name that it may bear.
#include "node/incoming.hpp"

#include "testing.hpp"

using namespace realtime;

namespace {

struct House {
    House()
    {
        shop.id = "shop";
        shop.pusher.credentials = {{"key", "secret"}};
        plain.id = "default";
        config.apps = {&shop, &plain};
    }

    static IncomingMessage message(std::string_view app, std::string_view channel, std::string_view event)
    {
        IncomingMessage message;
        message.app = app;
        message.channel = channel;
        message.event = event;
        return message;
    }
    bool takes(std::string_view app, std::string_view channel, std::string_view event = "e") const
    {
        const IncomingMessage one = message(app, channel, event);
        return readIncoming(config, one).has_value();
    }

    App shop, plain;
    NodeConfig config;
};

} // namespace

TEST(what_is_for_nobody_here_or_malformed_is_not_taken)
{
    const House house;
    assert_true(house.takes("shop", "news"));
    assert_true(house.takes("default", "news"));
    assert_false(house.takes("other", "news"));
    assert_false(house.takes("shop", ""));
    assert_false(house.takes("shop", std::string(201, 'n')));
    assert_false(house.takes("shop", "news", ""));
    assert_false(house.takes("shop", "news", "a\nb"));
    assert_false(house.takes("shop", "news", std::string(256, 'e')));
}

TEST(what_another_node_publishes_bears_no_name_of_the_server)
{
    const House house;
    for (const std::string_view app : {"shop", "default"}) {
        for (const std::string_view event :
             {"pusher:error", "pusher_internal:member_removed", "realtime:gap", "Pusher:error"}) {
            assert_false(house.takes(app, "presence-room", event));
        }
    }
    assert_false(house.takes("shop", "#watch-ann"));
    assert_false(house.takes("shop", "#x"));
    assert_true(house.takes("default", "#x"));
}

TEST(users_are_spoken_to_from_other_nodes_whatever_their_name)
{
    const House house;
    assert_true(house.takes("shop", "#server-to-user-ann"));
    assert_true(house.takes("shop", "#server-to-user-" + std::string(200, 'u')));
    assert_false(house.takes("shop", "#server-to-user-" + std::string(201, 'u')));
    assert_false(house.takes("shop", "#server-to-user-"));
}

TEST(client_events_of_other_nodes_are_not_kept)
{
    const House house;
    const IncomingMessage typing = House::message("shop", "private-a", "client-typing");
    assert_int_equal(readIncoming(house.config, typing)->publication.flags, record_flag::Transient);
    const IncomingMessage event = House::message("shop", "private-a", "typing");
    assert_int_equal(readIncoming(house.config, event)->publication.flags, 0);
}

TEST_MAIN()
