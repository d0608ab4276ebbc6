// When subscribers of a channel are told how many they are.
#include "log_testing.hpp"
#include "manual_loop.hpp"

#include "node/node.hpp"
#include "node/pusher_channels.hpp"

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

// Keeps the counts that it is told.
class Client final : public Subscriber {
public:
    Client() : Subscriber(Encoding::Pusher) {}
    void enqueue(const FramePtr& frame, std::uint32_t) override { text += frame->view(); }
    void flush() override {}
    void cutOff(std::string_view) override {}

    std::vector<int> counts() const
    {
        static constexpr std::string_view Field = "subscription_count\\\":";
        std::vector<int> all;
        for (std::size_t at = 0; (at = text.find(Field, at)) != std::string::npos;) {
            at += Field.size();
            all.push_back(std::atoi(text.c_str() + at));
        }
        return all;
    }

    std::string text;
};

class CountedNode final : public Node {
public:
    using Node::Node;
    void stop() { Node::stop(true); }

private:
    void delivered() override {}
    Gauge transportOf(const Subscriber&) const override { return Gauge::WebSocket; }
};

struct Stage {
    Stage() : mapping(4 << 20), log(SharedLog::create(mapping.span(), {4}))
    {
        app.id = "shop";
        app.pusher.subscriptionCount = true;
        NodeConfig config;
        config.zones.push_back({"main", mapping.span(), {}});
        config.apps.push_back(&app);
        node = std::make_unique<CountedNode>(loop, std::move(config));
    }
    ~Stage() { node->stop(); }
    Stage(const Stage&) = delete;
    Stage& operator=(const Stage&) = delete;

    void join(Client& client, std::string_view channel = "news")
    {
        const JoinResult joined = node->join(client, app, {&channel, 1}, {});
        assert_true(joined.status == Joined::Ok);
        node->pusherChannels().subscribed(app, *joined.subscription);
        node->pump(client);
    }
    void leave(Client& client, std::string_view channel = "news")
    {
        Subscription& subscription = *client.follows("shop", channel);
        const ChannelRef ref = subscription.channel->ref;
        const std::uint32_t left = node->hub().leave(client, subscription);
        node->pusherChannels().left(app, channel, ref, 0, left);
    }
    std::uint64_t appended() const { return log.stats().appendedRecords; }

    SharedMapping mapping;
    SharedLog log;
    App app;
    ManualLoop loop;
    std::unique_ptr<CountedNode> node;
};

using Counts = std::vector<int>;

} // namespace

TEST(a_count_is_told_a_little_later_and_what_comes_together_goes_together)
{
    Stage stage;
    std::vector<Client> clients(10);
    for (Client& client : clients) {
        stage.join(client);
    }
    stage.loop.advance(PusherChannels::CountDelay - 1);
    assert_int_equal(stage.appended(), 0);
    stage.loop.advance(1);
    assert_int_equal(stage.appended(), 1);
    assert_true(clients.front().counts() == Counts{10});
    assert_true(clients.back().counts() == Counts{10});
    for (Client& client : clients) {
        stage.leave(client);
    }
}

TEST(who_comes_and_goes_fills_no_log)
{
    Stage stage;
    Client visitor;
    for (int i = 0; i < 5000; ++i) {
        const std::string channel = "q" + std::to_string(i);
        stage.join(visitor, channel);
        stage.leave(visitor, channel);
    }
    stage.loop.advance(10'000);
    assert_int_equal(stage.appended(), 0);
    assert_int_equal(stage.log.stats().channels, 0);
}

TEST(a_channel_that_many_come_to_and_leave_is_told_of_once_a_second)
{
    Stage stage;
    Client listener, visitor;
    stage.join(listener);
    for (int i = 0; i < 1000; ++i) { // ten seconds
        stage.join(visitor);
        stage.loop.advance(5);
        stage.leave(visitor);
        stage.loop.advance(5);
    }
    assert_in_range(stage.appended(), 5, 12);
    stage.loop.advance(PusherChannels::CountPause);
    assert_int_equal(listener.counts().back(), 1);
    const std::uint64_t before = stage.appended();
    stage.loop.advance(100'000); // nothing changes, nothing is told
    assert_int_equal(stage.appended(), before);
    stage.leave(listener);
}

TEST(the_last_count_is_told_after_the_pause)
{
    Stage stage;
    Client first, second, third;
    stage.join(first);
    stage.loop.advance(PusherChannels::CountDelay);
    stage.join(second);
    stage.join(third);
    stage.leave(second);
    assert_true(first.counts() == Counts{1});
    stage.loop.advance(PusherChannels::CountPause);
    assert_true(first.counts() == (Counts{1, 2}));
    assert_true(third.counts() == (Counts{2}));
    stage.loop.advance(PusherChannels::CountPause);
    stage.leave(third); // long after: the pause is over
    stage.loop.advance(PusherChannels::CountDelay);
    assert_true(first.counts() == (Counts{1, 2, 1}));
    stage.leave(first);
}

TEST(many_subscribers_are_told_more_seldom)
{
    Stage stage;
    std::vector<Client> crowd(PusherChannels::ManySubscribers + 1);
    for (Client& client : crowd) {
        stage.join(client);
    }
    stage.loop.advance(PusherChannels::CountDelay);
    Client late;
    stage.join(late);
    stage.loop.advance(PusherChannels::LongCountPause - 1);
    assert_int_equal(stage.appended(), 1);
    stage.loop.advance(1);
    assert_int_equal(stage.appended(), 2);
    assert_int_equal(crowd.front().counts().back(), 102);
    stage.leave(late);
    for (Client& client : crowd) {
        stage.leave(client);
    }
}

TEST(counts_that_wait_are_told_when_the_worker_ends)
{
    Stage stage;
    Client client;
    stage.join(client);
    stage.node->pusherChannels().stop();
    assert_int_equal(stage.appended(), 1);
    stage.leave(client);
}

TEST(an_app_without_the_setting_and_presence_channels_are_told_nothing)
{
    Stage stage;
    Client client;
    stage.join(client, "presence-room");
    stage.join(client, "#server-to-user-ada");
    stage.app.pusher.subscriptionCount = false;
    stage.join(client);
    stage.loop.advance(10'000);
    assert_int_equal(stage.appended(), 0);
    stage.node->hub().leave(client);
}

TEST_MAIN()
