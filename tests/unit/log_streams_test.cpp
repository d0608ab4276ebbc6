// Channels whose order and ids come from a stream: SharedLog's part of it.
#include "log_testing.hpp"

#include "log/shared_log.hpp"

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

constexpr std::uint64_t Identity = 77;

struct Fixture {
    explicit Fixture(std::size_t bytes = 1 << 20)
        : mapping(bytes), log(SharedLog::create(mapping.span(), {4}))
    {
    }

    // The channel's event of this number in the stream.
    AppendResult append(std::uint64_t number, const std::string& data = "x", std::string_view key = {},
                        std::string_view channel = "room")
    {
        NewRecord record = makeRecord(channel, data, 1);
        record.stream = keyOf(channel);
        record.number = number;
        record.idempotencyKey = key;
        record.keyOwner = KeyOwner::Peer;
        record.historyMs = 1000;
        AppendResult result = log.append(record, SharedLog::NoSlot, wakes);
        log.reachStream(Identity, number + 1);
        return result;
    }
    static StreamKey keyOf(std::string_view channel) { return {Identity, channel == "room" ? 1234U : 5678U}; }
    History history(std::uint64_t after) const
    {
        return log.history(log.find("app", "room")->channel, after, {~0U, 0}, 1);
    }

    SharedMapping mapping;
    SharedLog log;
    Wakes wakes;
};

} // namespace

TEST(ids_are_the_stream_s_whatever_the_log_has_seen)
{
    Fixture early, late;
    early.log.beginStream(Identity, 0);
    for (std::uint64_t n = 0; n < 10; ++n) {
        early.append(n);
    }
    late.log.beginStream(Identity, 5);
    for (const std::uint64_t n : {5U, 9U}) { // the others are of other channels
        assert_int_equal(late.append(n).id.offset, streamOffset(n));
    }
    assert_int_equal(late.log.find("app", "room")->channel.epoch, 1234);
    assert_int_equal(late.log.find("app", "room")->lastOffset, early.log.find("app", "room")->lastOffset);
    assert_int_equal(streamNumber(late.log.find("app", "room")->lastOffset), 9);
}

TEST(an_event_of_a_stream_is_appended_once_whoever_brings_it)
{
    Fixture f;
    f.log.beginStream(Identity, 3);
    assert_int_equal(f.append(3).status, AppendStatus::Appended);
    assert_int_equal(f.append(3).status, AppendStatus::Repeated);
    assert_int_equal(f.append(2).status, AppendStatus::Repeated);
    assert_int_equal(f.append(5, "x", "key").status, AppendStatus::Appended);
    const AppendResult again = f.append(6, "x", "key"); // the stream has it twice
    assert_int_equal(again.status, AppendStatus::Repeated);
    assert_int_equal(again.id.offset, streamOffset(5));
    assert_int_equal(*f.log.streamNext(Identity), 7);
    // One who dies between the append and the count leaves it to the channel's last offset.
    NewRecord record = makeRecord("room", "x", 1);
    record.stream = Fixture::keyOf("room");
    record.number = 8;
    assert_int_equal(f.log.append(record, SharedLog::NoSlot, f.wakes).status, AppendStatus::Appended);
    assert_int_equal(f.log.append(record, SharedLog::NoSlot, f.wakes).status, AppendStatus::Repeated);
}

TEST(history_is_complete_as_far_as_the_log_has_followed)
{
    Fixture f;
    f.log.beginStream(Identity, 10);
    f.append(12);
    f.append(15);
    assert_true(f.history(streamOffset(9)).complete); // all of the stream since 10 is known
    assert_true(f.history(streamOffset(11)).complete);
    assert_int_equal(f.history(streamOffset(11)).positions.size(), 2);
    assert_int_equal(f.history(streamOffset(12)).positions.size(), 1);
    assert_true(f.history(streamOffset(13)).complete);
    const History before = f.history(streamOffset(8));
    assert_false(before.complete);
    assert_int_equal(before.positions.size(), 2);
    assert_int_equal(before.behind, streamOffset(9));
}

TEST(a_channel_that_was_asked_for_before_the_stream_began_knows_nothing_of_before)
{
    Fixture f;
    const auto slot = f.log.claimSlot();
    const auto subscribed = f.log.subscribe(slot, "app", "room", Fixture::keyOf("room"));
    assert_int_equal(subscribed->channel.epoch, 1234);
    assert_false(f.log.streamNext(Identity).has_value());
    f.log.beginStream(Identity, 10);
    f.append(11);
    assert_false(f.history(0).complete);
    assert_true(f.history(streamOffset(9)).complete);
}

TEST(what_has_fallen_off_the_ring_is_known_to_be_missing)
{
    Fixture f;
    f.log.beginStream(Identity, 0);
    const std::string data(8000, 'x');
    for (std::uint64_t n = 0; n < 200; n += 2) {
        f.append(n, data);
    }
    const History all = f.history(0);
    assert_false(all.complete);
    RecordArena arena;
    LogRecord first;
    assert_true(f.log.readAt(all.positions.front(), arena, first));
    assert_int_equal(all.behind, first.previousOffset);
    assert_int_equal(first.previousOffset, first.id.offset - streamOffset(1));
    assert_true(f.history(first.previousOffset).complete);
}

TEST(a_channel_that_the_directory_forgets_is_not_taken_for_one_without_events)
{
    Fixture f;
    f.log.beginStream(Identity, 0);
    f.append(0);
    const auto capacity = f.log.stats().channelCapacity;
    for (std::uint64_t n = 1; f.log.find("app", "room"); ++n) {
        assert_true(n < 3 * std::uint64_t{capacity});
        f.append(n, "x", {}, "other" + std::to_string(n));
    }
    const auto slot = f.log.claimSlot();
    assert_true(f.log.subscribe(slot, "app", "room", Fixture::keyOf("room"), 10'000).has_value());
    assert_false(f.history(0).complete);
}

TEST(what_a_node_appends_itself_lies_between_the_stream_s_events)
{
    Fixture f;
    f.log.beginStream(Identity, 0);
    f.append(0);
    const AppendResult own = f.log.append(makeRecord("room", "member", 1), SharedLog::NoSlot, f.wakes);
    assert_int_equal(own.id.offset, streamOffset(0) + 1);
    assert_int_equal(f.append(1).id.offset, streamOffset(1));
    assert_true(f.history(own.id.offset).complete);
    assert_int_equal(f.history(own.id.offset).positions.size(), 1);
}

TEST(a_publisher_is_woken_and_finds_the_id_also_of_a_repeat)
{
    Fixture f;
    f.log.beginStream(Identity, 0);
    const auto leader = f.log.claimSlot();
    SharedLog other = *SharedLog::attach(f.mapping.span());
    // The second slot's worker sleeps.
    auto* header = f.mapping.as<sharedlog::Header>();
    sharedlog::Memory memory(reinterpret_cast<std::byte*>(header));
    const std::uint32_t publisher = leader + 1;
    memory.slot(publisher).inUse.store(1);
    memory.slot(publisher).asleep.store(1);
    for (const std::uint64_t number : {0U, 1U}) {
        f.wakes.slots.clear();
        memory.slot(publisher).asleep.store(1);
        NewRecord record = makeRecord("room", "x", 1);
        record.stream = Fixture::keyOf("room");
        record.number = number;
        record.idempotencyKey = "key";
        record.keyOwner = KeyOwner::Peer;
        record.publisher = publisher;
        f.log.append(record, leader, f.wakes);
        assert_true(f.wakes.has(publisher));
        const auto found = other.appended(record);
        assert_true(found.has_value());
        assert_int_equal(found->id.offset, streamOffset(0));
    }
    memory.slot(publisher).inUse.store(0);
}

TEST(another_life_of_a_stream_goes_on_with_greater_ids_behind_a_hole)
{
    Fixture f;
    f.log.beginStream(Identity, 1000, 1000);
    assert_int_equal(f.log.streamLife(Identity), 1000);
    const auto slot = f.log.claimSlot();
    assert_true(f.log.subscribe(slot, "app", "room", Fixture::keyOf("room")).has_value());
    f.append(1000);
    const AppendResult old = f.append(1007);
    f.log.beginStream(Identity, 5000, 5000);
    assert_int_equal(f.log.streamLife(Identity), 5000);
    assert_int_equal(*f.log.streamNext(Identity), 5000);
    const AppendResult first = f.append(5000);
    assert_int_equal(first.id.epoch, old.id.epoch);
    assert_int_equal(first.id.offset, streamOffset(5000));
    assert_int_equal(f.append(5001).id.offset, streamOffset(5001));
    const History missed = f.history(old.id.offset);
    assert_false(missed.complete);
    assert_int_equal(missed.positions.size(), 2);
    assert_int_equal(missed.behind, streamOffset(4999));
    assert_true(f.history(streamOffset(4999)).complete);
    // Nothing is lost with the first life of a stream that was empty.
    Fixture empty;
    empty.log.beginStream(Identity, 0);
    const auto other = empty.log.claimSlot();
    assert_true(empty.log.subscribe(other, "app", "room", Fixture::keyOf("room")).has_value());
    const AppendResult own =
        empty.log.append(makeRecord("room", "member", 1), SharedLog::NoSlot, empty.wakes);
    empty.log.beginStream(Identity, 5000, 5000);
    empty.append(5000);
    assert_true(empty.history(own.id.offset).complete);
    assert_int_equal(empty.history(own.id.offset).positions.size(), 1);
}

TEST(a_log_follows_a_few_streams)
{
    Fixture f;
    for (std::uint64_t i = 1; i <= MaxStreams; ++i) {
        assert_true(f.log.beginStream(i, i));
    }
    assert_false(f.log.beginStream(99, 0));
    assert_int_equal(*f.log.streamNext(3), 3);
    f.log.reachStream(3, 10);
    f.log.reachStream(3, 5);
    assert_int_equal(*f.log.streamNext(3), 10);
    const std::int64_t since = f.log.streamSince(2, 1000);
    assert_int_equal(since, 1000);
    assert_int_equal(f.log.streamSince(2, 2000), 1000);
}

TEST_MAIN()
