// What the one way in makes of a publication, without brokers.
#include "app/publisher.hpp"

#include "log_testing.hpp"

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

constexpr std::int64_t Now = 1'000'000;

struct Stage {
    Stage()
        : mapping(SharedLog::MinimumBytes), log(SharedLog::create(mapping.span(), {4})),
          slot(log.claimSlot()), hub(std::vector<HubLog>{{log, slot, &wakes}}), publisher(hub, brokers)
    {
        app.id = "shop";
    }

    Published publish(std::string_view channel, std::string_view key, KeyOwner owner, std::uint32_t flags = 0)
    {
        Publication publication;
        publication.channel = channel;
        publication.data = "x";
        publication.idempotencyKey = key;
        publication.keyOwner = owner;
        publication.timeMs = Now;
        publication.flags = flags;
        return publisher.publish(app, publication);
    }
    void rule(std::string_view pattern, const HistoryLimit& history)
    {
        ChannelRule rule;
        rule.pattern.emplace(pattern);
        rule.history = history;
        app.rules.push_back(std::move(rule));
        app.ruleLogs.push_back(0);
    }
    // Does a subscriber find room for a new channel at that time?
    bool hasRoom(std::int64_t nowMs)
    {
        const auto done = log.subscribe(slot, "shop", "newcomer", {}, nowMs);
        if (done) {
            log.unsubscribe(slot, done->channel);
        }
        return done.has_value();
    }
    void fillWith(const std::string& prefix, std::uint32_t flags = 0)
    {
        const std::uint32_t capacity = log.stats().channelCapacity;
        for (std::uint32_t i = 0; log.stats().channels < capacity; ++i) {
            publish(prefix + std::to_string(i), {}, KeyOwner::Publisher, flags);
        }
    }

    SharedMapping mapping;
    SharedLog log;
    Wakes wakes;
    std::uint32_t slot;
    Hub hub;
    std::vector<NamedBroker> brokers;
    Publisher publisher;
    App app;
};

} // namespace

TEST(a_client_neither_takes_a_publishers_key_nor_learns_of_it)
{
    Stage stage;
    const Published server = stage.publish("orders", "order-42", KeyOwner::Publisher);
    const Published client = stage.publish("orders", "order-42", KeyOwner::Client);
    assert_true(server.status == PublishStatus::Published);
    assert_true(client.status == PublishStatus::Published);
    assert_true(server.id != client.id);
    assert_true(stage.publish("orders", "order-42", KeyOwner::Publisher).id == server.id);
    assert_true(stage.publish("orders", "order-42", KeyOwner::Client).id == client.id);
    Publication relayed;
    relayed.channel = "orders";
    relayed.idempotencyKey = "order-42"; // another node's word for an event is no key of either
    relayed.timeMs = Now;
    assert_true(stage.publisher.relay(stage.app, relayed).status == PublishStatus::Published);
    assert_true(stage.publisher.relay(stage.app, relayed).status == PublishStatus::Repeated);
}

TEST(history_counts_for_as_long_as_its_rule_says)
{
    Stage off;
    off.rule("*", {0, 300'000});
    off.fillWith("c");
    assert_true(off.hasRoom(Now));

    Stage minute;
    minute.rule("*", {100, 60'000});
    minute.fillWith("c");
    assert_false(minute.hasRoom(Now + 60'000));
    assert_true(minute.hasRoom(Now + 62'000));

    Stage kept; // the last event of a cache channel
    kept.rule("*", {100, 60'000});
    kept.fillWith("c", record_flag::Kept);
    assert_false(kept.hasRoom(Now + KeptMs));
    assert_true(kept.hasRoom(Now + KeptMs + 2000));

    Stage ever;
    ever.rule("*", {100, 0});
    ever.fillWith("c");
    assert_false(ever.hasRoom(Now + 1000 * KeptMs));
}

TEST_MAIN()
