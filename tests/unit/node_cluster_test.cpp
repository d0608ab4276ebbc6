// Several nodes in one process: what they hear from one another, on clocks that the test moves.
#include "node/cluster.hpp"
#include "node/pusher_channels.hpp"
#include "node_testing.hpp"

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

class Inbox final : public Subscriber {
public:
    explicit Inbox(Encoding encoding = Encoding::JsonList) : Subscriber(encoding) {}
    void enqueue(const FramePtr& frame, std::uint32_t) override { text += frame->view(); }
    void flush() override {}
    void cutOff(std::string_view) override {}
    std::size_t count(std::string_view words) const
    {
        std::size_t found = 0;
        for (std::size_t at = 0; (at = text.find(words, at)) != std::string::npos; at += words.size()) {
            found++;
        }
        return found;
    }
    std::string text;
};

struct Nodes {
    struct One {
        One(Bus& bus, MemoryStore& store, const std::string& name)
            : setting(name),
              node(loop, memory, setting, {store.links(), bus.feeds(), NodeLinks::amqpStreamReader})
        {
        }
        Subscription* join(Subscriber& subscriber, std::string_view channel)
        {
            const auto joined = node.join(subscriber, setting.app, std::span(&channel, 1), {});
            node.pump(subscriber);
            return joined.subscription;
        }
        std::uint32_t subscribers(std::string_view channel) const
        {
            const auto info = memory.log.find("shop", channel);
            return info ? info->subscribers : 0;
        }
        ManualLoop loop;
        TestNode::Memory memory;
        NodeSetting setting;
        TestNode node;
    };
    // So much time passes for all of them, a bit for each in turn.
    void pass(Msec time)
    {
        for (Msec gone = 0; gone < time; gone += 20) {
            for (One* one : {&a, &b}) {
                one->loop.advance(20);
                if (gone % 1000 == 0) {
                    one->node.tick();
                }
            }
        }
    }
    Bus bus;
    MemoryStore store;
    One a{bus, store, "a"}, b{bus, store, "b"};
};

PeerMessage eventOf(const std::string& node, const std::string& id, const std::string& data)
{
    PeerMessage message;
    message.node = node;
    message.messageId = id;
    message.app = "shop";
    message.channel = "news";
    message.event = "created";
    message.data = data;
    return message;
}

} // namespace

TEST(an_event_of_another_node_comes_once_and_ones_own_does_not_come_back)
{
    Nodes nodes;
    Inbox onA, onB;
    nodes.a.join(onA, "news");
    nodes.b.join(onB, "news");
    nodes.bus.publish(eventOf("a", "id-1", "first"));
    nodes.bus.publish(eventOf("a", "id-1", "first")); // RabbitMQ may bring it again
    nodes.bus.publish(eventOf("a", "id-2", "second"));
    nodes.pass(40);
    assert_int_equal(onB.count("first"), 1);
    assert_int_equal(onB.count("second"), 1);
    assert_int_equal(onA.count("first") + onA.count("second"), 0);
    assert_int_equal(nodes.b.node.counters().get(Counter::PeerReceived), 2);
    assert_int_equal(nodes.b.node.counters().get(Counter::PeerRepeated), 1);
    assert_true(nodes.bus.feed("b").lastDone >= 3); // they are in the log: they need not come again
    nodes.a.node.hub().leave(onA);
    nodes.b.node.hub().leave(onB);
}

TEST(subscribers_and_members_of_all_nodes_are_counted_on_each)
{
    Nodes nodes;
    Inbox onA(Encoding::Pusher), onB(Encoding::Pusher);
    Subscription* subscription = nodes.a.join(onA, "presence-room");
    nodes.b.join(onB, "presence-room");
    nodes.a.node.pusherChannels().join(nodes.a.setting.app, *subscription, "ann", "{\"name\":\"Ann\"}");
    nodes.pass(3000);
    assert_int_equal(nodes.a.subscribers("presence-room"), 2);
    assert_int_equal(nodes.b.subscribers("presence-room"), 2);
    const auto room = nodes.b.memory.log.find("shop", "presence-room");
    const auto members = nodes.b.memory.log.members(room->channel);
    assert_int_equal(members.size(), 1);
    assert_string_equal(members.front().userId.c_str(), "ann");
    assert_int_equal(onB.count("member_added"), 1);

    const ChannelRef ref = subscription->channel->ref;
    nodes.a.node.pusherChannels().leave(nodes.a.setting.app, "presence-room", ref, 0, "ann");
    nodes.a.node.hub().leave(onA);
    nodes.pass(3000);
    assert_int_equal(nodes.b.subscribers("presence-room"), 1);
    assert_int_equal(onB.count("member_removed"), 1);
    nodes.b.node.hub().leave(onB);
}

TEST(a_node_that_says_nothing_any_more_is_taken_for_dead)
{
    Nodes nodes;
    Inbox onA, onB;
    nodes.a.join(onA, "news");
    nodes.b.join(onB, "news");
    nodes.pass(3000);
    assert_int_equal(nodes.b.subscribers("news"), 2);
    nodes.bus.feed("a").refuses = true; // its words do not get out
    nodes.pass((Cluster::MostSilence + 2) * Cluster::BeatPause);
    assert_int_equal(nodes.b.subscribers("news"), 1);
    assert_true(nodes.b.loop.logged("nothing was heard of node \"a\""));
    // It hears the others all the same.
    assert_int_equal(nodes.a.subscribers("news"), 2);
    nodes.bus.feed("a").refuses = false;
    nodes.pass(10'000);
    assert_int_equal(nodes.b.subscribers("news"), 2);
    nodes.a.node.hub().leave(onA);
    nodes.b.node.hub().leave(onB);
}

TEST(who_is_cut_off_takes_nobody_for_dead)
{
    Nodes nodes;
    Inbox onA, onB;
    nodes.a.join(onA, "news");
    nodes.b.join(onB, "news");
    nodes.pass(3000);
    nodes.bus.feed("b").cut = true; // not even its own words come back
    nodes.pass((Cluster::MostSilence + 2) * Cluster::BeatPause);
    assert_int_equal(nodes.b.subscribers("news"), 2);
    assert_false(nodes.b.loop.logged("nothing was heard"));
    nodes.a.node.hub().leave(onA);
    nodes.b.node.hub().leave(onB);
}

TEST(a_queue_that_was_gone_is_a_gap)
{
    Nodes nodes;
    Inbox onB;
    nodes.b.join(onB, "news");
    PeerMessage opened;
    opened.kind = PeerMessage::Kind::Opened;
    nodes.bus.feed("b").hear(opened);
    nodes.pass(40);
    assert_int_equal(onB.count("realtime:gap"), 0);
    nodes.pass(SharedLog::FreshSourceMs + 1000);
    opened.fresh = true;
    nodes.bus.feed("b").hear(opened);
    nodes.pass(40);
    assert_int_equal(onB.count("realtime:gap"), 1);
    assert_true(nodes.b.loop.logged("the node's queue was gone"));
    nodes.b.node.hub().leave(onB);
}

TEST(what_is_published_here_is_stored_and_its_publisher_is_told)
{
    struct Waiter final : AckWaiter {
        void stored(std::uint64_t, bool isStored) override { good += isStored ? 1 : 0; }
        int good = 0;
    };
    Nodes nodes;
    Waiter waiter;
    Publication publication;
    publication.channel = "news";
    publication.data = "hello";
    publication.timeMs = nodes.a.loop.nowMs();
    publication.token = nodes.a.node.expectAck(waiter);
    publication.needsConfirm = true;
    const Published published = nodes.a.node.publish(nodes.a.setting.app, publication);
    assert_int_equal(published.stores, 1);
    nodes.a.loop.until([&] { return waiter.good == 1; });
    nodes.a.node.forgetAck(publication.token);
    const auto events = nodes.store.events();
    assert_int_equal(events.size(), 1);
    assert_string_equal(events.front().data.c_str(), "hello");
}

// A channel without events leaves the directory with its last subscriber, and gets another place when it is back.
TEST(a_channel_that_is_back_in_another_place_is_not_told_to_be_gone)
{
    Nodes nodes;
    Inbox one, other;
    Subscription* lower = nodes.a.join(one, "lower");
    Subscription* moving = nodes.a.join(other, "presence-moving");
    const auto joinAs = [&](Subscription& subscription, std::string_view user) {
        nodes.a.node.pusherChannels().join(nodes.a.setting.app, subscription, user, "{}");
    };
    nodes.pass(1000);
    assert_int_equal(nodes.b.subscribers("presence-moving"), 1);
    const std::uint32_t before = moving->channel->ref.index;
    assert_true(lower->channel->ref.index < before);

    // All within one look at the directory, which goes from lower to higher places.
    Hub& hub = nodes.a.node.hub();
    hub.leave(other, *moving);
    hub.leave(one, *lower);
    moving = nodes.a.join(other, "presence-moving");
    nodes.a.join(one, "higher");
    joinAs(*moving, "ann");
    assert_true(moving->channel->ref.index < before);
    nodes.pass(1000);
    assert_int_equal(nodes.b.subscribers("lower"), 0);
    assert_int_equal(nodes.b.subscribers("higher"), 1);
    assert_int_equal(nodes.b.subscribers("presence-moving"), 1);
    assert_int_equal(nodes.b.memory.log.find("shop", "presence-moving")->members, 1);
    hub.leave(one);
    hub.leave(other);
}

TEST_MAIN()
