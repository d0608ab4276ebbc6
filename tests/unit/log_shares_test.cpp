// Who gets room in the tables, and whom that takes it from: strangers that only subscribe, and apps beside one another.
#include "log/shared_log.hpp"

#include "log_testing.hpp"

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

constexpr std::int64_t Now = 1'000'000;
constexpr std::int64_t AgeMs = 300'000;

struct Zone {
    explicit Zone(std::size_t bytes = SharedLog::MinimumBytes)
        : mapping(bytes), log(SharedLog::create(mapping.span(), {8})), slot(log.claimSlot()),
          capacity(log.stats().channelCapacity)
    {
    }
    ~Zone() { assert_text_equal(LogCheck(log, mapping.as<std::byte>()).run(), ""); }
    Zone(const Zone&) = delete;
    Zone& operator=(const Zone&) = delete;

    AppendResult publish(std::string_view app, std::string_view channel, std::string_view key = {},
                         KeyOwner owner = KeyOwner::Publisher, std::int64_t timeMs = Now)
    {
        NewRecord record = makeRecord(channel, makePayload(1, 8), timeMs);
        record.app = app;
        record.idempotencyKey = key;
        record.keyOwner = owner;
        record.historyMs = AgeMs;
        return log.append(record, SharedLog::NoSlot, wakes);
    }
    AppendResult publishTransient(std::string_view app, std::string_view channel)
    {
        NewRecord record = makeRecord(channel, makePayload(1, 8), Now);
        record.app = app;
        record.flags = record_flag::Transient | record_flag::Internal;
        return log.append(record, SharedLog::NoSlot, wakes);
    }
    // A channel of this name is subscribed to, and left again unless it is to stay.
    bool visit(std::string_view app, const std::string& channel, bool stay = false, std::int64_t nowMs = Now)
    {
        const auto done = log.subscribe(slot, app, channel, {}, nowMs);
        if (done && !stay) {
            log.unsubscribe(slot, done->channel);
        }
        return done.has_value();
    }
    bool has(std::string_view app, std::string_view channel) const
    {
        return log.find(app, channel).has_value();
    }
    // How many of the channels PREFIX0, PREFIX1, … are there.
    std::uint32_t count(std::string_view app, const std::string& prefix, std::uint32_t most) const
    {
        std::uint32_t found = 0;
        for (std::uint32_t i = 0; i < most; ++i) {
            found += has(app, prefix + std::to_string(i)) ? 1 : 0;
        }
        return found;
    }
    void fill(std::string_view app, const std::string& prefix, std::uint32_t channels)
    {
        for (std::uint32_t i = 0; i < channels; ++i) {
            assert_true(publish(app, prefix + std::to_string(i)).status == AppendStatus::Appended);
        }
    }
    void share(std::vector<AppQuotas> apps) { assert_true(log.declareApps(apps)); }
    AppUse use(std::string_view app) const
    {
        for (AppUse& one : log.appUses()) {
            if (one.app == app) {
                return one;
            }
        }
        return {};
    }
    MemberStatus join(std::string_view app, std::string_view channel, const std::string& user,
                      const std::string& info = "{}", std::uint32_t worker = 0)
    {
        NewRecord announcement = makeRecord(channel, makePayload(1, 8), Now);
        announcement.app = app;
        announcement.flags = record_flag::Transient;
        const auto done = log.subscribe(worker, app, channel, {}, Now);
        return log.joinMember(worker, done->channel, user, info, ~0U, announcement, wakes).status;
    }
    void leave(std::string_view app, std::string_view channel, const std::string& user)
    {
        NewRecord announcement = makeRecord(channel, makePayload(1, 8), Now + SharedLog::AnnouncePauseMs);
        announcement.app = app;
        announcement.flags = record_flag::Transient;
        const ChannelRef ref = log.find(app, channel)->channel;
        log.leaveMember(slot, ref, user, announcement, wakes);
        log.unsubscribe(slot, ref);
    }

    SharedMapping mapping;
    SharedLog log;
    Wakes wakes;
    std::uint32_t slot;
    std::uint32_t capacity;
};

} // namespace

// --- those who only subscribe ---------------------------------------------------------------------------------------

TEST(a_channel_that_was_never_published_to_goes_with_its_last_subscriber)
{
    Zone zone;
    const auto first = zone.log.subscribe(zone.slot, "app", "silent");
    zone.log.subscribe(zone.slot, "app", "silent");
    assert_int_equal(zone.log.unsubscribe(zone.slot, first->channel), 1);
    assert_true(zone.has("app", "silent"));
    assert_int_equal(zone.log.unsubscribe(zone.slot, first->channel), 0);
    assert_false(zone.has("app", "silent"));
    assert_int_equal(zone.log.stats().channels, 0);
    for (std::uint32_t i = 0; i < 3 * zone.capacity; ++i) {
        assert_true(zone.visit("app", "q" + std::to_string(i)));
    }
    assert_int_equal(zone.log.stats().channels, 0);
}

TEST(who_waits_for_the_first_event_of_a_channel_knows_it_again)
{
    Zone zone;
    const auto first = zone.log.subscribe(zone.slot, "app", "silent");
    const auto other = zone.log.subscribe(zone.slot, "app", "other");
    assert_true(first->channel.epoch != other->channel.epoch);
    zone.log.unsubscribe(zone.slot, first->channel);
    zone.log.unsubscribe(zone.slot, other->channel);
    assert_int_equal(zone.publish("app", "silent").id.epoch, first->channel.epoch);
    assert_int_equal(zone.log.subscribe(zone.slot, "app", "other")->channel.epoch, other->channel.epoch);
}

TEST(a_channel_that_was_given_up_with_its_events_is_another_when_it_is_back)
{
    Zone zone;
    std::set<std::uint64_t> epochs;
    for (std::uint32_t life = 0; life < 20; ++life) {
        assert_true(epochs.insert(zone.publish("app", "room").id.epoch).second);
        for (std::uint32_t i = 0; zone.has("app", "room"); ++i) {
            zone.publish("app", std::to_string(life) + "." + std::to_string(i));
        }
    }
}

TEST(channels_that_are_given_up_leave_others_without_events_as_they_are)
{
    Zone zone;
    std::vector<std::uint64_t> epochs;
    const auto silent = [&](int i) {
        const ChannelRef ref = zone.log.subscribe(zone.slot, "app", "silent" + std::to_string(i))->channel;
        zone.log.unsubscribe(zone.slot, ref);
        return ref.epoch;
    };
    constexpr int Silent = 100;
    for (int i = 0; i < Silent; ++i) {
        epochs.push_back(silent(i));
    }
    zone.fill("app", "c", zone.capacity + 100); // a hundred of them are given up
    int same = 0;
    for (int i = 0; i < Silent; ++i) {
        const auto done =
            zone.log.subscribe(zone.slot, "app", "silent" + std::to_string(i), {}, Now + 2 * AgeMs);
        same += done->channel.epoch == epochs[static_cast<std::size_t>(i)] ? 1 : 0;
        zone.log.unsubscribe(zone.slot, done->channel);
    }
    assert_true(same > Silent / 2);
}

TEST(a_channel_stays_while_somebody_outside_was_told_of_it)
{
    Zone zone;
    const ChannelRef ref = zone.log.subscribe(zone.slot, "app", "told")->channel;
    assert_true(zone.log.tellOccupied(ref));
    zone.log.unsubscribe(zone.slot, ref);
    assert_true(zone.has("app", "told"));
    assert_true(zone.log.tellVacated(ref));
    assert_false(zone.has("app", "told"));
}

TEST(who_only_subscribes_takes_no_history_away)
{
    Zone zone;
    zone.fill("app", "kept", zone.capacity);
    for (const bool stay : {false, true}) {
        for (std::uint32_t i = 0; i < 2 * zone.capacity; ++i) {
            assert_false(zone.visit("app", "q" + std::to_string(i), stay));
        }
    }
    assert_true(zone.visit("app", "kept7"));
    assert_int_equal(zone.count("app", "kept", zone.capacity), zone.capacity);
    assert_true(zone.use("app").refused >= 4 * zone.capacity);
    // What is too old to be asked for is no history.
    assert_true(zone.visit("app", "q", true, Now + 2 * AgeMs));
    assert_int_equal(zone.count("app", "kept", zone.capacity), zone.capacity - 1);
    // Nor is what has fallen off the ring.
    const LogPosition end = zone.log.head();
    while (zone.log.tail() < end) {
        zone.publish("app", "kept7");
    }
    assert_true(zone.visit("app", "p", true));
}

TEST(who_publishes_takes_the_place_of_what_is_no_history_first)
{
    Zone zone;
    zone.fill("app", "kept", zone.capacity - 4);
    for (int i = 0; i < 4; ++i) {
        const std::string channel = "passing" + std::to_string(i);
        const ChannelRef ref = zone.log.subscribe(zone.slot, "app", channel)->channel;
        if (i % 2 == 0) {
            zone.publishTransient("app", channel);
        } else {
            zone.log.tellOccupied(ref);
        }
        zone.log.unsubscribe(zone.slot, ref);
    }
    assert_int_equal(zone.log.stats().channels, zone.capacity);
    zone.fill("app", "new", 4);
    assert_int_equal(zone.count("app", "kept", zone.capacity), zone.capacity - 4);
    assert_int_equal(zone.count("app", "passing", 4), 0);
    zone.fill("app", "more", 4);
    assert_true(zone.count("app", "kept", zone.capacity) < zone.capacity - 4);
}

TEST(a_channel_whose_history_is_off_is_no_history)
{
    Zone zone;
    zone.fill("app", "kept", zone.capacity - 1);
    NewRecord record = makeRecord("unkept", makePayload(1, 8), Now);
    record.historyMs = NoHistory;
    zone.log.append(record, SharedLog::NoSlot, zone.wakes);
    assert_true(zone.visit("app", "q", true));
    assert_false(zone.has("app", "unkept"));
}

TEST(what_is_for_those_who_are_there_makes_no_channel)
{
    Zone zone;
    NewRecord count = makeRecord("room", makePayload(1, 8), Now);
    count.flags = record_flag::Transient | record_flag::Internal;
    assert_false(zone.log.appendIfSubscribed(count, SharedLog::NoSlot, zone.wakes).has_value());
    assert_false(zone.has("app", "room"));
    zone.publish("app", "room");
    assert_false(zone.log.appendIfSubscribed(count, SharedLog::NoSlot, zone.wakes).has_value());
    const std::uint32_t other = zone.log.claimSlot();
    zone.log.subscribe(zone.slot, "app", "room");
    zone.log.subscribe(other, "app", "room");
    const auto appended = zone.log.appendIfSubscribed(count, zone.slot, zone.wakes);
    assert_int_equal(appended->subscribers, 2);
    assert_int_equal(appended->id.offset, 2);
    assert_true(zone.wakes.has(other));
}

// --- apps beside one another ----------------------------------------------------------------------------------------

TEST(an_app_that_has_its_share_gives_its_own_channels_up)
{
    Zone zone;
    zone.share({{"greedy", {0, 50}, {}, {}}, {"other", {0, 50}, {}, {}}});
    zone.fill("other", "kept", 100);
    zone.fill("greedy", "c", 3 * zone.capacity);
    assert_int_equal(zone.count("other", "kept", 100), 100);
    assert_int_equal(zone.use("greedy").channels, zone.capacity / 2);
    assert_int_equal(zone.use("greedy").channelLimit, zone.capacity / 2);
    assert_int_equal(zone.log.stats().channels, zone.capacity / 2 + 100);
    assert_int_equal(zone.use("other").channels, 100);
}

TEST(an_app_whose_share_is_subscribed_is_refused_and_others_are_not)
{
    Zone zone;
    zone.share({{"greedy", {10, 0}, {}, {}}, {"other", {}, {}, {}}});
    for (int i = 0; i < 10; ++i) {
        assert_true(zone.visit("greedy", "c" + std::to_string(i), true));
    }
    assert_false(zone.visit("greedy", "more"));
    assert_true(zone.publish("greedy", "more").status == AppendStatus::ChannelsFull);
    assert_true(zone.publish("greedy", "c3").status == AppendStatus::Appended);
    assert_true(zone.visit("greedy", "c3", true));
    assert_int_equal(zone.use("greedy").refused, 2);
    assert_true(zone.visit("other", "c", true));
    assert_true(zone.publish("other", "more").status == AppendStatus::Appended);
    zone.log.unsubscribe(zone.slot, zone.log.find("greedy", "c4")->channel);
    assert_true(zone.visit("greedy", "more", true));
}

TEST(an_app_that_was_never_declared_and_one_that_is_alone_have_all)
{
    Zone zone;
    zone.fill("app", "c", zone.capacity);
    assert_int_equal(zone.log.stats().channels, zone.capacity);
    zone.share({{"app", {}, {}, {}}});
    assert_int_equal(zone.use("app").channelLimit, zone.capacity);
    zone.fill("app", "d", zone.capacity);
    assert_int_equal(zone.log.stats().channels, zone.capacity);
}

TEST(in_a_full_directory_the_app_that_has_most_makes_room)
{
    Zone zone;
    zone.fill("small", "kept", 50);
    zone.fill("middle", "kept", 100);
    zone.fill("large", "c", zone.capacity - 150);
    zone.fill("middle", "new", 50);
    assert_int_equal(zone.use("small").channels, 50);
    assert_int_equal(zone.use("middle").channels, 150);
    assert_int_equal(zone.use("large").channels, zone.capacity - 200);
    // The one that has most gets no history from those that have less.
    zone.fill("large", "d", 50);
    assert_int_equal(zone.use("middle").channels, 150);
    assert_int_equal(zone.use("small").channels, 50);
    // But what is no history any more.
    zone.log.subscribe(zone.slot, "small", "passing", {}, 2 * Now);
    zone.publishTransient("small", "passing");
    zone.log.unsubscribe(zone.slot, zone.log.find("small", "passing")->channel);
    zone.fill("large", "e", 1);
    assert_false(zone.has("small", "passing"));
}

TEST(an_app_without_idle_channels_gets_room_from_others)
{
    Zone zone;
    zone.fill("large", "c", zone.capacity);
    assert_true(zone.publish("new", "room").status == AppendStatus::Appended);
    assert_false(zone.visit("another", "room")); // who only subscribes does not
    assert_true(zone.visit("another", "room", false, Now + 2 * AgeMs));
}

TEST(workers_of_one_channel_are_part_of_the_share)
{
    Zone zone;
    for (int i = 0; i < 7; ++i) {
        zone.log.claimSlot();
    }
    zone.share({{"greedy", {0, 25}, {}, {}}, {"other", {}, {}, {}}});
    zone.log.subscribe(7, "greedy", "moving");
    std::uint32_t cells = 1;
    bool refused = false;
    for (std::uint32_t channel = 0; !refused; ++channel) {
        for (std::uint32_t slot = 0; slot < 8 && !refused; ++slot) {
            refused = !zone.log.subscribe(slot, "greedy", "c" + std::to_string(channel));
            cells += refused ? 0 : 1;
        }
    }
    assert_true(cells <= zone.capacity / 2 + 1);
    assert_true(zone.log.subscribe(0, "greedy", "c0").has_value()); // counted where it has one
    assert_true(zone.log.subscribe(0, "other", "c0").has_value());
    // It takes over what another worker has, share or not.
    assert_true(zone.log.moveSubscriber(zone.log.owner(7), 6, "greedy", "moving").has_value());
}

TEST(few_channels_may_be_on_all_workers)
{
    Zone zone;
    for (int i = 0; i < 7; ++i) {
        zone.log.claimSlot();
    }
    zone.share({{"app", {10, 0}, {}, {}}});
    for (std::uint32_t channel = 0; channel < 10; ++channel) {
        for (std::uint32_t slot = 0; slot < 8; ++slot) {
            assert_true(zone.log.subscribe(slot, "app", "c" + std::to_string(channel)).has_value());
        }
    }
    assert_false(zone.log.subscribe(0, "app", "c10").has_value());
}

TEST(members_of_an_app_have_their_share)
{
    Zone zone;
    zone.share({{"greedy", {}, {5, 0}, {}}, {"other", {}, {0, 50}, {}}});
    for (int i = 0; i < 5; ++i) {
        assert_true(zone.join("greedy", "room" + std::to_string(i), "user") == MemberStatus::Ok);
    }
    assert_true(zone.join("greedy", "room5", "user") == MemberStatus::NoRoom);
    assert_true(zone.join("greedy", "room0", "user") == MemberStatus::Ok); // is there already
    assert_true(zone.join("other", "room", "user") == MemberStatus::Ok);
    assert_int_equal(zone.use("greedy").members, 5);
    assert_int_equal(zone.use("greedy").memberLimit, 5);
    assert_int_equal(zone.use("greedy").refused, 1);
    assert_int_equal(zone.log.stats().members, 6);
    zone.leave("greedy", "room3", "user");
    assert_int_equal(zone.use("greedy").members, 4);
    assert_true(zone.join("greedy", "room5", "user") == MemberStatus::Ok);
}

TEST(what_members_tell_of_themselves_is_part_of_the_share)
{
    Zone zone(4 << 20);
    zone.share({{"greedy", {}, {0, 20}, {}}, {"other", {}, {0, 50}, {}}});
    const std::string large(MaxMemberInfoBytes, 'x');
    std::uint32_t joined = 0;
    while (zone.join("greedy", "room", "user" + std::to_string(joined), large) == MemberStatus::Ok) {
        ++joined;
    }
    assert_true(joined > 0 && joined < zone.use("greedy").memberLimit);
    std::uint32_t others = 0;
    while (zone.join("other", "room", "user" + std::to_string(others), large) == MemberStatus::Ok) {
        ++others;
    }
    assert_true(others >= 2 * joined);
    zone.leave("greedy", "room", "user0");
    assert_true(zone.join("greedy", "room", "newcomer", large) == MemberStatus::Ok);
}

// --- repeats --------------------------------------------------------------------------------------------------------

TEST(keys_of_clients_and_of_publishers_have_nothing_in_common)
{
    Zone zone;
    using enum AppendStatus;
    const auto client = zone.publish("app", "orders", "order-42", KeyOwner::Client);
    assert_true(client.status == Appended);
    const auto server = zone.publish("app", "orders", "order-42", KeyOwner::Publisher);
    assert_true(server.status == Appended);
    assert_true(server.id != client.id);
    assert_true(zone.publish("app", "orders", "order-42", KeyOwner::Peer).status == Appended);
    const auto again = zone.publish("app", "orders", "order-42", KeyOwner::Publisher);
    assert_true(again.status == Repeated && again.id == server.id);
    const auto clientAgain = zone.publish("app", "orders", "order-42", KeyOwner::Client);
    assert_true(clientAgain.status == Repeated && clientAgain.id == client.id);
}

TEST(keys_of_clients_do_not_push_out_those_of_publishers)
{
    Zone zone;
    zone.publish("app", "orders", "order-42");
    for (int i = 0; i < 20'000; ++i) {
        zone.publish("app", "noise", "key" + std::to_string(i), KeyOwner::Client, Now + 1);
        zone.publish("app", "noise", "key" + std::to_string(i), KeyOwner::Peer, Now + 1);
    }
    assert_true(zone.publish("app", "orders", "order-42").status == AppendStatus::Repeated);
}

TEST(keys_of_an_app_push_out_its_own_only)
{
    Zone zone;
    for (const KeyOwner owner :
         {KeyOwner::Publisher, KeyOwner::Client, KeyOwner::Peer, KeyOwner::PeerClient}) {
        zone.share({{"greedy", {}, {}, {0, 25}}, {"other", {}, {}, {0, 25}}});
        zone.publish("other", "orders", "order-42", owner);
        for (int i = 0; i < 20'000; ++i) {
            zone.publish("greedy", "noise", "key" + std::to_string(i), owner, Now + 1);
        }
        assert_true(zone.publish("other", "orders", "order-42", owner).status == AppendStatus::Repeated);
        assert_true(zone.publish("greedy", "noise", "key19999", owner).status == AppendStatus::Repeated);
    }
}

TEST(where_keys_meet_the_app_that_has_most_gives_way)
{
    Zone zone; // nobody has a share, but one app has much
    zone.publish("other", "orders", "order-42");
    for (int i = 0; i < 20'000; ++i) {
        zone.publish("greedy", "noise", "key" + std::to_string(i), KeyOwner::Publisher, Now + 1);
    }
    assert_true(zone.publish("other", "orders", "order-42").status == AppendStatus::Repeated);
}

TEST(clients_events_of_a_stream_do_not_push_out_publishers)
{
    for (const std::uint32_t percent : {100, 25, 1}) {
        Zone zone;
        zone.share({{"app", {}, {}, {0, percent}}, {"other", {}, {}, {0, 25}}});
        zone.publish("app", "orders", "s-42", KeyOwner::Peer);
        for (int i = 0; i < 20'000; ++i) {
            zone.publish("app", "noise", "c-" + std::to_string(i), KeyOwner::PeerClient, Now + 1);
        }
        assert_true(zone.publish("app", "orders", "s-42", KeyOwner::Peer).status == AppendStatus::Repeated);
    }
}

TEST(an_app_that_is_alone_has_the_whole_table_of_repeats)
{
    const auto known = [](const Quota& quota) {
        Zone zone;
        zone.share({{"app", {}, {}, quota}, {"other", {}, {}, {}}});
        for (int i = 0; i < 5000; ++i) {
            zone.publish("app", "room", "key" + std::to_string(i), KeyOwner::Publisher, Now + i);
        }
        int found = 0;
        for (int i = 0; i < 5000; ++i) {
            const std::string key = "key" + std::to_string(i);
            NewRecord asked = makeRecord("room", "", Now + 5000);
            asked.idempotencyKey = key;
            found += zone.log.appended(asked) ? 1 : 0;
        }
        return found;
    };
    const int all = known({});
    assert_true(all > 300);
    assert_in_range(known({0, 25}), all / 4 - 8, all / 4 + 8);
    assert_in_range(known({1, 0}), all / 8 - 8, all / 8 + 8); // at least an eighth
}

// --- the apps themselves --------------------------------------------------------------------------------------------

TEST(an_app_that_is_gone_makes_room_for_another)
{
    Zone zone;
    const std::uint32_t most = SharedLog::maxApps(SharedLog::MinimumBytes);
    assert_true(most >= 50);
    std::vector<AppQuotas> apps(most);
    for (std::uint32_t i = 0; i < most; ++i) {
        apps[i].app = "app" + std::to_string(i);
    }
    zone.share(apps);
    zone.publish("app0", "kept");
    assert_true(zone.publish("stranger", "room").status == AppendStatus::ChannelsFull);
    assert_false(zone.visit("stranger", "room"));

    std::vector<AppQuotas> others(apps.begin() + 1, apps.end());
    for (AppQuotas& app : others) {
        app.app = "new" + app.app;
    }
    zone.share(others); // app0 has a channel, and keeps its row
    assert_true(zone.has("app0", "kept"));
    assert_true(zone.publish("newapp1", "room").status == AppendStatus::Appended);
    others.push_back({"one too many", {}, {}, {}});
    assert_false(zone.log.declareApps(others));
}

TEST(new_shares_hold_at_once)
{
    Zone zone;
    zone.share({{"app", {}, {}, {}}});
    zone.fill("app", "c", 100);
    zone.share({{"app", {50, 0}, {}, {}}});
    zone.fill("app", "d", 100);
    assert_int_equal(zone.use("app").channels, 100); // it has what it has, and gives of it for what is new
    zone.share({{"other", {}, {}, {}}});
    assert_int_equal(zone.use("app").channelLimit, 50);
    zone.share({{"app", {200, 0}, {}, {}}});
    zone.fill("app", "e", 100);
    assert_int_equal(zone.use("app").channels, 200);
}

TEST_MAIN()
