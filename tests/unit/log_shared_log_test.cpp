// What one process sees of a shared log.
#include "log/shared_log.hpp"

#include "base/latency.hpp"
#include "log_testing.hpp"

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

constexpr std::size_t LogBytes = SharedLog::MinimumBytes;

struct Fixture {
    explicit Fixture(std::size_t bytes = LogBytes, std::uint32_t slots = 4)
        : mapping(bytes), log(SharedLog::create(mapping.span(), {slots}))
    {
    }

    AppendResult append(std::string_view channel, std::string_view data = makePayload(1, 8),
                        std::int64_t timeMs = 1)
    {
        return log.append(makeRecord(channel, data, timeMs), SharedLog::NoSlot, wakes);
    }
    // Appends to channel "filler" until what was there before is gone.
    void overwriteAll()
    {
        const LogPosition head = log.head();
        const std::string data(8000, 'x');
        while (log.tail() < head) {
            append("filler", data);
        }
    }
    std::vector<std::string> read(LogPosition& cursor, const Interest& interest = Everything{})
    {
        std::vector<std::string> got;
        LogRecord record;
        while (log.next(cursor, interest, arena, record) == ReadStatus::Record) {
            got.emplace_back(record.data);
        }
        return got;
    }
    std::vector<std::uint64_t> offsets(const History& history)
    {
        std::vector<std::uint64_t> got;
        LogRecord record;
        for (const LogPosition position : history.positions) {
            assert_true(log.readAt(position, arena, record));
            got.push_back(record.id.offset);
        }
        return got;
    }

    SharedMapping mapping;
    SharedLog log;
    Wakes wakes;
    RecordArena arena;
};

using Texts = std::vector<std::string>;
using Offsets = std::vector<std::uint64_t>;

} // namespace

TEST(a_new_log_is_empty_whatever_the_memory_held)
{
    SharedMapping mapping(LogBytes);
    std::memset(mapping.as<char>(), 0xa5, LogBytes);
    assert_false(SharedLog::attach(mapping.span()).has_value());
    SharedLog log = SharedLog::create(mapping.span(), {4});
    assert_int_equal(log.head(), log.tail());
    const LogStats stats = log.stats();
    assert_int_equal(stats.channels, 0);
    assert_int_equal(stats.usedBytes, 0);
    assert_int_equal(stats.slots, 4);
    assert_int_equal(stats.oldestTimeMs, 0);
    assert_true(stats.ringBytes > LogBytes / 2);
    assert_true(stats.channelCapacity > 600);
    assert_text_equal(LogCheck(log, mapping.as<std::byte>()).run(), "");
}

TEST(a_log_is_attached_to_only_as_it_was_made)
{
    Fixture f(2 * LogBytes);
    f.append("room", "hello");
    auto second = SharedLog::attach(f.mapping.span());
    assert_true(second.has_value());
    assert_int_equal(second->find("app", "room")->lastOffset, 1);

    assert_false(SharedLog::attach(f.mapping.span().first(LogBytes)).has_value());
    assert_false(SharedLog::attach(f.mapping.span().first(100)).has_value());
    auto* header = f.mapping.as<sharedlog::Header>();
    ++header->layoutVersion;
    assert_false(SharedLog::attach(f.mapping.span()).has_value());
    --header->layoutVersion;
    header->plan.ringBytes += 8;
    assert_false(SharedLog::attach(f.mapping.span()).has_value());
}

TEST(a_log_that_cannot_be_made_says_why)
{
    SharedMapping mapping(LogBytes);
    const auto refused = [&](std::size_t bytes, std::uint32_t slots) {
        try {
            SharedLog::create(mapping.span().first(bytes), {slots});
        } catch (const std::runtime_error& e) {
            return std::string_view(e.what()).find("shared log: ") == 0;
        }
        return false;
    };
    assert_true(refused(LogBytes - 1, 4));
    assert_true(refused(LogBytes, 0));
    assert_true(refused(LogBytes, SharedLog::MaxSlots + 1));
    assert_true(refused(LogBytes, SharedLog::MaxSlots));
    assert_false(refused(LogBytes, 64));
}

TEST(a_record_comes_back_as_it_was_appended)
{
    Fixture f;
    NewRecord record;
    record.app = "shop";
    record.channel = "orders.7";
    record.event = "created";
    record.contentType = "application/json";
    record.data = std::string_view("\0bin\xff\r\n", 7);
    record.origin = "123.456";
    record.userId = "u1";
    record.timeMs = 1'700'000'000'123;
    record.flags = 0xdeadbeef;
    const LogPosition start = f.log.head();
    const AppendResult appended = f.log.append(record, SharedLog::NoSlot, f.wakes);
    assert_true(appended.status == AppendStatus::Appended);
    assert_int_equal(appended.position, start);
    assert_int_equal(appended.id.offset, 1);
    assert_true(appended.id.epoch != 0);
    assert_int_equal(appended.subscribers, 0);

    LogPosition cursor = start;
    LogRecord read;
    assert_true(f.log.next(cursor, Everything{}, f.arena, read) == ReadStatus::Record);
    assert_int_equal(cursor, f.log.head());
    assert_int_equal(read.position, start);
    assert_int_equal(read.previous, 0);
    assert_true(read.id == appended.id);
    assert_int_equal(read.timeMs, record.timeMs);
    assert_int_equal(read.flags, record.flags);
    assert_text_equal(read.app, record.app);
    assert_text_equal(read.channel, record.channel);
    assert_text_equal(read.event, record.event);
    assert_text_equal(read.contentType, record.contentType);
    assert_text_equal(read.data, record.data);
    assert_text_equal(read.origin, record.origin);
    assert_text_equal(read.userId, record.userId);
    assert_true(f.log.next(cursor, Everything{}, f.arena, read) == ReadStatus::End);
}

TEST(strings_of_every_length_come_back)
{
    Fixture f;
    LogPosition cursor = f.log.head();
    for (std::size_t data = 0; data < 20; ++data) {
        for (std::size_t name = 1; name < 20; ++name) {
            const std::string bytes = makePayload(data * 100 + name, 64);
            const std::string_view text(bytes);
            NewRecord record = makeRecord(text.substr(1, name), text.substr(20, data));
            record.event = text.substr(40, (data + name) % 11);
            f.log.append(record, SharedLog::NoSlot, f.wakes);
            LogRecord read;
            assert_true(f.log.next(cursor, Everything{}, f.arena, read) == ReadStatus::Record);
            assert_text_equal(read.channel, record.channel);
            assert_text_equal(read.data, record.data);
            assert_text_equal(read.event, record.event);
            assert_text_equal(read.app, "app");
        }
    }
}

TEST(the_largest_record_fits_and_one_byte_more_does_not)
{
    Fixture f;
    const std::size_t fixed = 88 + 3 + 4; // header, app, channel
    const std::size_t most = f.log.maxRecordBytes() / 8 * 8 - fixed;
    const std::string data = makePayload(1, most);
    LogPosition cursor = f.log.head();
    assert_true(f.append("room", data).status == AppendStatus::Appended);
    assert_true(f.read(cursor) == Texts{data});
    assert_true(f.append("none", std::string(most + 1, 'x')).status == AppendStatus::TooLarge);
    assert_true(f.append("none", std::string(10 * most, 'x')).status == AppendStatus::TooLarge);
    assert_false(f.log.find("app", "none").has_value());
}

TEST(data_of_which_it_is_said_that_it_fits_does_so_with_the_longest_of_names)
{
    Fixture f;
    const std::size_t most = f.log.maxDataBytes();
    const std::string app(MaxAppBytes, 'a'), channel(MaxChannelBytes, 'c');
    const std::string others(SharedLog::MaxOtherBytes - app.size() - channel.size(), 'o');
    const std::string data(most, 'x');
    NewRecord record = makeRecord(channel, data);
    record.app = app;
    record.event = std::string_view(others).substr(0, 200);
    record.contentType = std::string_view(others).substr(200, 255);
    record.userId = std::string_view(others).substr(455);
    assert_true(f.log.fits(record));
    assert_true(f.log.append(record, SharedLog::NoSlot, f.wakes).status == AppendStatus::Appended);
    assert_in_range(most, f.log.maxRecordBytes() - 1200, f.log.maxRecordBytes());

    // Before there is one.
    for (const std::size_t size : {SharedLog::MinimumBytes, std::size_t{3} << 20, std::size_t{100} << 20}) {
        for (const std::uint32_t slots : {1U, 64U}) {
            const SharedMapping memory(size);
            const auto log = SharedLog::create(memory.span(), {.slots = slots});
            assert_int_equal(log.maxDataBytes(), SharedLog::maxDataBytes(size, slots));
        }
    }
    assert_int_equal(SharedLog::maxDataBytes(SharedLog::MinimumBytes - 1, 1), 0);
    assert_in_range(SharedLog::maxDataBytes(std::size_t{1} << 42, 64), (1ULL << 32) - 2000, 1ULL << 32);
}

TEST(a_part_that_is_too_long_is_refused)
{
    Fixture f;
    const std::string channel(MaxChannelBytes, 'c'), app(MaxAppBytes, 'a');
    NewRecord record = makeRecord(channel, "x");
    record.app = app;
    assert_true(f.log.append(record, SharedLog::NoSlot, f.wakes).status == AppendStatus::Appended);
    assert_true(f.log.find(app, channel).has_value());
    assert_true(f.append(channel + "c").status == AppendStatus::TooLarge);
    assert_false(f.log.subscribe(0, app + "a", "room").has_value());
    assert_false(f.log.subscribe(0, app, channel + "c").has_value());
    assert_false(f.log.find(app, channel + "c").has_value());
    const std::string event(65536, 'e');
    record.event = event;
    assert_true(f.log.append(record, SharedLog::NoSlot, f.wakes).status == AppendStatus::TooLarge);
}

TEST(channels_count_for_themselves)
{
    Fixture f;
    const auto first = f.append("a");
    const auto other = f.append("b");
    const auto second = f.append("a");
    assert_int_equal(second.id.offset, 2);
    assert_int_equal(other.id.offset, 1);
    assert_true(first.id.epoch == second.id.epoch);
    assert_true(first.id.epoch != other.id.epoch);
    LogRecord read;
    assert_true(f.log.readAt(second.position, f.arena, read));
    assert_int_equal(read.previous, first.position);
    assert_int_equal(f.log.find("app", "a")->lastOffset, 2);
    assert_int_equal(f.log.find("app", "a")->lastPosition, second.position);
}

TEST(the_border_between_app_and_channel_counts)
{
    Fixture f;
    f.log.subscribe(0, "ab", "c");
    assert_false(f.log.find("a", "bc").has_value());
    assert_true(f.log.find("ab", "c").has_value());
    const auto other = f.log.subscribe(0, "a", "bc");
    assert_int_equal(other->subscribers, 1);
}

TEST(epochs_differ_from_zone_to_zone)
{
    std::set<std::uint64_t> epochs;
    for (int zone = 0; zone < 3; ++zone) {
        SharedMapping mapping(LogBytes);
        SharedLog log = SharedLog::create(mapping.span(), {4});
        Wakes wakes;
        for (const auto* channel : {"a", "b", "c"}) {
            epochs.insert(log.append(makeRecord(channel, ""), SharedLog::NoSlot, wakes).id.epoch);
        }
    }
    assert_int_equal(epochs.size(), 9);
}

TEST(a_reader_gets_only_what_it_wants)
{
    Fixture f;
    LogPosition cursor = f.log.head();
    Only only;
    only.epochs.insert(f.append("a", "1").id.epoch);
    f.append("b", "2");
    f.append("a", "3");
    f.append("c", "4");
    assert_true(f.read(cursor, only) == (Texts{"1", "3"}));
    assert_int_equal(cursor, f.log.head());
}

TEST(read_at_takes_only_positions_of_records)
{
    Fixture f;
    const auto first = f.append("a");
    LogRecord read;
    assert_true(f.log.readAt(first.position, f.arena, read));
    for (const LogPosition wrong : {LogPosition{0}, LogPosition{8}, first.position + 1, first.position + 8,
                                    f.log.head(), f.log.head() + 8, ~LogPosition{0}, ~LogPosition{7}}) {
        assert_false(f.log.readAt(wrong, f.arena, read));
    }
    f.overwriteAll();
    assert_false(f.log.readAt(first.position, f.arena, read));
}

TEST(subscribers_are_counted_for_each_worker)
{
    Fixture f;
    const std::uint32_t one = f.log.claimSlot(), two = f.log.claimSlot();
    const auto a = f.log.subscribe(one, "app", "room");
    assert_true(a->firstOfWorker);
    assert_int_equal(a->subscribers, 1);
    assert_int_equal(a->lastOffset, 0);
    assert_int_equal(a->lastPosition, 0);
    const auto b = f.log.subscribe(one, "app", "room");
    assert_false(b->firstOfWorker);
    const auto appended = f.append("room");
    assert_int_equal(appended.subscribers, 2);
    assert_true(appended.channel == a->channel);
    const auto c = f.log.subscribe(two, "app", "room");
    assert_true(c->firstOfWorker);
    assert_int_equal(c->subscribers, 3);
    assert_int_equal(c->lastOffset, 1);
    assert_int_equal(c->lastPosition, appended.position);
    assert_int_equal(f.log.stats().subscribers, 3);
    assert_int_equal(f.log.stats().subscribedChannels, 1);

    assert_int_equal(f.log.unsubscribe(one, a->channel), 2);
    assert_int_equal(f.log.unsubscribe(one, a->channel), 1);
    assert_int_equal(f.log.unsubscribe(one, a->channel), 1); // it has none left: nothing happens
    assert_int_equal(f.log.unsubscribe(two, {a->channel.index, a->channel.epoch + 1}), 0);
    assert_int_equal(f.log.unsubscribe(two, {~0U, a->channel.epoch}), 0);
    assert_int_equal(f.log.info(a->channel)->subscribers, 1);
    assert_int_equal(f.log.unsubscribe(two, a->channel), 0);
    assert_int_equal(f.log.stats().subscribedChannels, 0);
    assert_true(f.log.subscribe(one, "app", "room")->firstOfWorker);
    assert_text_equal(LogCheck(f.log, f.mapping.as<std::byte>()).run(), "");
}

TEST(history_is_bounded_by_messages_age_and_what_is_known)
{
    Fixture f;
    AppendResult last;
    for (std::int64_t i = 1; i <= 10; ++i) {
        last = f.append("room", "x", i * 1000);
        f.append("noise");
    }
    const auto history = [&](std::uint64_t after, std::uint32_t messages, std::int64_t ageMs) {
        return f.log.history(last.channel, after, {messages, ageMs}, 10'500);
    };
    const struct {
        std::uint64_t after;
        std::uint32_t messages;
        std::int64_t ageMs;
        Offsets offsets;
        bool complete;
    } rows[] = {
        {0, 100, 0, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, true},
        {0, 10, 0, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, true},
        {0, 9, 0, {2, 3, 4, 5, 6, 7, 8, 9, 10}, false},
        {7, 3, 0, {8, 9, 10}, true},
        {7, 2, 0, {9, 10}, false},
        {9, 100, 1, {}, false},
        {0, 100, 2500, {8, 9, 10}, false},
        {7, 100, 2500, {8, 9, 10}, true},
        {6, 100, 2500, {8, 9, 10}, false},
        {10, 100, 1, {}, true},
        {10, 0, 0, {}, true},
        {9, 0, 0, {}, false},
        {11, 100, 0, {}, true},
    };
    for (const auto& row : rows) {
        const History got = history(row.after, row.messages, row.ageMs);
        assert_true(f.offsets(got) == row.offsets);
        assert_int_equal(got.complete, row.complete);
    }
    const History stranger = f.log.history({last.channel.index, last.channel.epoch ^ 1}, 0, {}, 0);
    assert_true(stranger.positions.empty());
    assert_false(stranger.complete);
}

TEST(history_that_fell_off_the_ring_is_missed)
{
    Fixture f;
    const std::string data(8000, 'x');
    AppendResult last;
    for (int i = 0; i < 200; ++i) {
        last = f.append("room", data);
    }
    const History all = f.log.history(last.channel, 0, {1000, 0}, 1);
    assert_false(all.complete);
    const Offsets got = f.offsets(all);
    assert_true(got.size() > 50 && got.size() < 150);
    assert_int_equal(got.back(), 200);
    assert_int_equal(got.front(), 200 - got.size() + 1);
    assert_true(f.log.history(last.channel, got.front() - 1, {1000, 0}, 1).complete);
    assert_false(f.log.history(last.channel, got.front() - 2, {1000, 0}, 1).complete);

    assert_int_equal(f.log.locate(last.channel, got.front()), all.positions.front());
    assert_int_equal(f.log.locate(last.channel, got.front() - 1), 0);
    assert_int_equal(f.log.locate(last.channel, 200), last.position);
    assert_int_equal(f.log.locate(last.channel, 201), 0);
    assert_int_equal(f.log.locate(last.channel, 0), 0);
    assert_int_equal(f.log.locate({last.channel.index, last.channel.epoch ^ 1}, 200), 0);
}

TEST(several_channels_resume_from_one_cut)
{
    Fixture f;
    const auto a1 = f.append("a");
    const auto b1 = f.append("b");
    const auto a2 = f.append("a");
    const auto c1 = f.append("c");
    const auto behind = [&](ChannelRef channel, LogPosition after) {
        const History history = f.log.historyBehind(channel, after, {}, 1);
        assert_true(history.complete);
        return f.offsets(history);
    };
    assert_true(behind(a1.channel, 0) == (Offsets{1, 2}));
    assert_true(behind(a1.channel, a1.position) == (Offsets{2}));
    assert_true(behind(a1.channel, b1.position) == (Offsets{2}));
    assert_true(behind(a1.channel, a2.position).empty());
    assert_true(behind(b1.channel, a1.position) == (Offsets{1}));
    assert_true(behind(b1.channel, b1.position).empty());
    assert_true(behind(c1.channel, a2.position) == (Offsets{1}));
    assert_false(f.log.historyBehind(a1.channel, 0, {1, 0}, 1).complete);
    assert_true(f.log.historyBehind(a1.channel, a1.position, {1, 0}, 1).complete);

    f.overwriteAll();
    const auto a3 = f.append("a");
    assert_true(behind(a1.channel, a2.position) == (Offsets{3}));
    const History gone = f.log.historyBehind(a1.channel, a1.position, {}, 1);
    assert_true(f.offsets(gone) == (Offsets{3}));
    assert_false(gone.complete);
    assert_true(behind(a1.channel, a3.position).empty());
}

TEST(a_second_life_of_a_channel_does_not_hide_what_was_lost_with_the_first)
{
    Fixture f;
    const auto cut = f.append("cut");
    const auto first = f.append("room");
    const std::uint32_t capacity = f.log.stats().channelCapacity;
    for (std::uint32_t i = 0; i < 2 * capacity; ++i) { // "room" goes out of the directory, its record stays
        f.append("other" + std::to_string(i), "");
    }
    assert_false(f.log.info(first.channel).has_value());
    const auto second = f.append("room");
    assert_int_equal(second.id.offset, 1);
    assert_true(second.id.epoch != first.id.epoch);
    const History history = f.log.historyBehind(second.channel, cut.position, {}, 1);
    assert_true(f.offsets(history) == (Offsets{1}));
    assert_false(history.complete);
    assert_true(f.log.historyBehind(second.channel, second.position - 8, {}, 1).complete);
}

TEST(a_cut_has_an_id_that_only_its_log_can_read)
{
    Fixture f;
    const SharedMapping another(1 << 20);
    const SharedLog other = SharedLog::create(another.span(), {4});
    std::set<std::uint64_t> offsets;
    for (int i = 0; i < 1000; ++i) {
        const LogPosition position = f.log.head() - 1;
        const MessageId id = f.log.cutId(position);
        assert_true(f.log.cutPosition(id) == position);
        assert_true(parseMessageId(toString(id)) == id);
        assert_false(other.cutPosition(id).has_value());
        assert_int_equal(id.epoch, f.log.cutId(1).epoch);
        assert_true(offsets.insert(id.offset).second);
        f.append("room", "x");
    }
    // Positions grow in small steps, ids do not.
    std::size_t ascents = 0;
    for (LogPosition position = 63; position < 1063; ++position) {
        ascents += f.log.cutId(position).offset < f.log.cutId(position + 1).offset ? 1 : 0;
    }
    assert_in_range(ascents, 400, 600);
    const MessageId known = f.log.cutId(f.log.head() - 1);
    for (const MessageId& made :
         {MessageId{known.epoch, 0}, MessageId{known.epoch, 1}, MessageId{known.epoch, 63},
          MessageId{known.epoch, known.offset + 1}, f.log.cutId(f.log.head()), f.log.cutId(0),
          MessageId{known.epoch + 1, known.offset}}) {
        assert_false(f.log.cutPosition(made).has_value());
    }
}

TEST(an_idempotency_key_is_published_once)
{
    Fixture f;
    const auto publish = [&](std::string_view app, std::string_view channel, std::string_view key,
                             std::int64_t timeMs) {
        NewRecord record = makeRecord(channel, "x", timeMs);
        record.app = app;
        record.idempotencyKey = key;
        return f.log.append(record, SharedLog::NoSlot, f.wakes);
    };
    const auto first = publish("app", "room", "k", 1000);
    assert_true(first.status == AppendStatus::Appended);
    f.log.subscribe(0, "app", "room");
    const LogPosition head = f.log.head();
    const auto again = publish("app", "room", "k", 1000 + IdempotencyWindowMs - 1);
    assert_true(again.status == AppendStatus::Repeated);
    assert_true(again.id == first.id);
    assert_int_equal(again.position, first.position);
    assert_true(again.channel == first.channel);
    assert_int_equal(again.subscribers, 1);
    assert_int_equal(f.log.head(), head);
    assert_true(publish("app", "room", "k", 0).status == AppendStatus::Repeated); // a clock set back

    assert_true(publish("app", "room", "l", 1000).status == AppendStatus::Appended);
    assert_true(publish("app", "roomk", "", 1000).status == AppendStatus::Appended);
    assert_true(publish("app", "roo", "mk", 1000).status == AppendStatus::Appended);
    assert_true(publish("ap", "proom", "k", 1000).status == AppendStatus::Appended);
    const auto late = publish("app", "room", "k", 1000 + IdempotencyWindowMs);
    assert_true(late.status == AppendStatus::Appended);
    assert_true(publish("app", "room", "k", 1000 + IdempotencyWindowMs).id == late.id);
}

TEST(of_too_many_idempotency_keys_the_oldest_are_forgotten)
{
    Fixture f;
    const auto publish = [&](int i, std::int64_t timeMs) {
        const std::string key = std::to_string(i);
        NewRecord record = makeRecord("room", "x", timeMs);
        record.idempotencyKey = key;
        return f.log.append(record, SharedLog::NoSlot, f.wakes).status;
    };
    constexpr int Keys = 5000; // the table has some 340 cells
    for (int i = 0; i < Keys; ++i) {
        assert_true(publish(i, i) == AppendStatus::Appended);
    }
    int known = 0;
    for (int i = Keys - 50; i < Keys; ++i) {
        known += publish(i, Keys) == AppendStatus::Repeated ? 1 : 0;
    }
    assert_true(known >= 49);
    assert_true(publish(0, Keys) == AppendStatus::Appended);
}

TEST(a_full_directory_gives_up_idle_channels_whose_records_are_gone_first)
{
    Fixture f;
    const std::uint32_t capacity = f.log.stats().channelCapacity;
    const auto subscribed = f.log.subscribe(0, "app", "subscribed");
    for (std::uint32_t i = 0; i < 10; ++i) {
        f.append("old" + std::to_string(i));
    }
    f.overwriteAll(); // makes "filler"
    for (std::uint32_t i = 0; i < capacity - 12; ++i) {
        f.append("young" + std::to_string(i), "");
    }
    assert_int_equal(f.log.stats().channels, capacity);
    std::set<std::uint64_t> epochs;
    for (std::uint32_t i = 0; i < 10; ++i) {
        epochs.insert(f.append("new" + std::to_string(i), "").id.epoch);
        assert_false(f.log.find("app", "old" + std::to_string(i)).has_value());
    }
    assert_int_equal(epochs.size(), 10);
    assert_int_equal(f.log.stats().channels, capacity);
    assert_true(f.log.find("app", "young0").has_value());
    for (std::uint32_t i = 0; i < 3 * capacity; ++i) {
        assert_true(f.append("more" + std::to_string(i), "").status == AppendStatus::Appended);
    }
    assert_true(f.log.info(subscribed->channel).has_value());
    assert_int_equal(f.log.find("app", "subscribed")->subscribers, 1);
}

TEST(a_directory_of_subscribed_channels_refuses_new_ones_only)
{
    Fixture f;
    const std::uint32_t capacity = f.log.stats().channelCapacity;
    ChannelRef first;
    for (std::uint32_t i = 0; i < capacity; ++i) {
        const auto done = f.log.subscribe(0, "app", "c" + std::to_string(i));
        assert_true(done.has_value());
        first = i == 0 ? done->channel : first;
    }
    assert_true(f.append("another").status == AppendStatus::ChannelsFull);
    assert_false(f.log.subscribe(0, "app", "another").has_value());
    assert_true(f.append("c5").status == AppendStatus::Appended);
    assert_int_equal(f.log.unsubscribe(0, first), 0);
    assert_true(f.append("another").status == AppendStatus::Appended);
    assert_false(f.log.info(first).has_value());
    assert_false(f.log.find("app", "c0").has_value());
}

TEST(a_full_pool_of_cells_refuses_new_workers_of_a_channel_only)
{
    Fixture f(LogBytes, 16);
    for (int i = 0; i < 16; ++i) {
        f.log.claimSlot();
    }
    std::uint32_t cells = 0;
    bool refused = false;
    for (std::uint32_t channel = 0; !refused; ++channel) {
        for (std::uint32_t slot = 0; slot < 16 && !refused; ++slot) {
            refused = !f.log.subscribe(slot, "app", "c" + std::to_string(channel));
            cells += refused ? 0 : 1;
        }
    }
    assert_true(cells > 2 * f.log.stats().channelCapacity - 2);
    assert_true(f.log.subscribe(0, "app", "c0").has_value());
    f.log.unsubscribe(3, f.log.find("app", "c1")->channel);
    assert_true(f.log.subscribe(3, "app", "fresh").has_value());
    assert_text_equal(LogCheck(f.log, f.mapping.as<std::byte>()).run(), "");
    for (std::uint32_t slot = 0; slot < 16; ++slot) {
        f.log.releaseSlot(slot);
    }
    assert_int_equal(f.log.stats().subscribers, 0);
    assert_text_equal(LogCheck(f.log, f.mapping.as<std::byte>()).run(), "");
}

namespace {

struct Counted final : SharedLog::Tally {
    std::map<std::uint32_t, int> channels; // by index
    void count(const ChannelRef& channel, std::uint32_t) override { channels[channel.index]++; }
};

} // namespace

TEST(a_tally_counts_each_record_once_and_no_more_than_it_is_told_to)
{
    Fixture f;
    LogPosition cursor = f.log.head();
    const std::uint32_t a = f.append("a").channel.index;
    const std::uint32_t b = f.append("b").channel.index;
    f.append("a");
    Counted first;
    f.log.tally(cursor, 2, first);
    assert_true(first.channels == (std::map<std::uint32_t, int>{{a, 1}, {b, 1}}));
    Counted rest;
    f.log.tally(cursor, 100, rest);
    assert_true(rest.channels == (std::map<std::uint32_t, int>{{a, 1}}));
    assert_int_equal(cursor, f.log.head());
    Counted none;
    f.log.tally(cursor, 100, none);
    assert_true(none.channels.empty());
}

TEST(a_tally_whose_place_is_overwritten_begins_with_the_oldest_record_left)
{
    Fixture f;
    LogPosition cursor = f.log.head();
    const std::uint32_t a = f.append("a").channel.index;
    f.overwriteAll();
    Counted counted;
    f.log.tally(cursor, 1 << 20, counted);
    assert_int_equal(counted.channels.count(a), 0);
    assert_int_equal(counted.channels.size(), 1);
    assert_int_equal(cursor, f.log.head());
}

TEST(a_channel_has_its_names_as_long_as_it_lives)
{
    Fixture f;
    const ChannelRef channel = f.append("room").channel;
    auto named = f.log.named(channel);
    assert_true(named.has_value());
    assert_text_equal(named->app, "app");
    assert_text_equal(named->channel, "room");
    assert_int_equal(named->info.lastOffset, 1);
    assert_false(f.log.named({channel.index, channel.epoch + 1}).has_value());
    assert_false(f.log.named({~0U, channel.epoch}).has_value());
    assert_false(f.log.named({0, 0}).has_value());
}

TEST(a_record_tells_when_it_was_appended)
{
    Fixture f;
    LogPosition cursor = f.log.head();
    const std::uint32_t before = monotonicMicros();
    f.append("a");
    const std::uint32_t after = monotonicMicros();
    LogRecord record;
    assert_true(f.log.next(cursor, Everything{}, f.arena, record) == ReadStatus::Record);
    assert_true(record.appendedUs - before <= after - before);
}

TEST(the_first_slot_in_use_is_the_lowest)
{
    Fixture f;
    assert_int_equal(f.log.firstSlotInUse(), SharedLog::NoSlot);
    const std::uint32_t first = f.log.claimSlot();
    const std::uint32_t second = f.log.claimSlot();
    assert_int_equal(f.log.firstSlotInUse(), first);
    f.log.releaseSlot(first);
    assert_int_equal(f.log.firstSlotInUse(), second);
    f.log.releaseSlot(second);
}

TEST(a_slot_given_up_leaves_its_counters_and_nothing_else)
{
    Fixture f;
    const std::uint32_t slot = f.log.claimSlot();
    assert_int_equal(f.log.slotPid(slot), getpid());
    assert_true(f.log.slotInUse(slot));
    f.log.setWakeFd(slot, 0);
    f.log.slotCounters(slot)[0] = 5;
    f.log.slotCounters(slot)[SharedLog::FirstGauge - 1] = 6;
    f.log.slotCounters(slot)[SharedLog::FirstGauge] = 7;
    f.append("room");
    f.log.subscribe(slot, "app", "room");
    f.log.subscribe(slot, "app", "room");
    f.log.subscribe(slot, "app", "silent");
    f.log.releaseSlot(slot);

    assert_false(f.log.slotInUse(slot));
    assert_int_equal(f.log.slotPid(slot), 0);
    assert_int_equal(f.log.wakeFd(slot), 0);
    assert_int_equal(f.log.slotCounters(slot)[0], 0);
    assert_int_equal(f.log.slotCounters(slot)[SharedLog::FirstGauge], 0);
    assert_int_equal(f.log.retiredCounters()[0], 5);
    assert_int_equal(f.log.retiredCounters()[SharedLog::FirstGauge - 1], 6);
    assert_int_equal(f.log.retiredCounters()[SharedLog::FirstGauge], 0);
    assert_int_equal(f.log.find("app", "room")->subscribers, 0);
    assert_false(f.log.find("app", "silent").has_value());
    assert_int_equal(f.log.claimSlot(), slot);
    f.log.slotCounters(slot)[0] = 1;
    f.log.releaseSlot(slot);
    assert_int_equal(f.log.retiredCounters()[0], 6);
}

TEST(slots_of_the_living_run_out_and_those_of_the_dead_come_back)
{
    Fixture f;
    SharedMapping flag(4096);
    auto& claimed = *flag.as<std::atomic<std::uint32_t>>();
    for (int i = 0; i < 3; ++i) {
        assert_int_equal(f.log.claimSlot(), i);
    }
    f.append("room");
    const pid_t child = forkChild([&] {
        SharedLog log = *SharedLog::attach(f.mapping.span());
        log.subscribe(log.claimSlot(), "app", "room");
        claimed = 1;
        pause();
        return 0;
    });
    const Deadline deadline(std::chrono::seconds(20));
    while (claimed == 0 && !deadline.passed()) {
        usleep(100);
    }
    assert_int_equal(f.log.slotPid(3), child);
    assert_int_equal(f.log.claimSlot(), SharedLog::NoSlot);
    assert_int_equal(f.log.reclaimDeadSlots(), 0);
    assert_int_equal(f.log.find("app", "room")->subscribers, 1);
    kill(child, SIGKILL);
    // Also while it is a zombie that its parent has not waited for.
    while (f.log.reclaimDeadSlots() == 0 && !deadline.passed()) {
        usleep(100);
    }
    assert_false(f.log.slotInUse(3));
    assert_int_equal(f.log.find("app", "room")->subscribers, 0);
    assert_int_equal(f.log.claimSlot(), 3);
    waitFor(child);
    f.log.releaseSlot(3);

    // A process of that pid lives, but it is another one.
    const std::uint32_t slot = f.log.claimSlot();
    ++sharedlog::Memory(f.mapping.as<std::byte>()).slot(slot).startTime;
    assert_int_equal(f.log.reclaimDeadSlots(), 1);
}

TEST(wake_descriptors_are_kept_with_their_slot)
{
    Fixture f;
    assert_int_equal(f.log.wakeFd(2), -1);
    f.log.setWakeFd(2, 17);
    assert_int_equal(f.log.wakeFd(2), 17);
    f.log.setWakeFd(2, -1);
    assert_int_equal(f.log.wakeFd(2), -1);
}

TEST(a_listing_shows_every_channel_once_and_stops_when_told)
{
    struct Names final : SharedLog::ChannelVisitor {
        std::set<std::string> seen;
        std::size_t stopAfter = ~std::size_t{0};
        bool visit(const SharedLog::ChannelRow& row) override
        {
            seen.insert(std::string(row.app) + "/" + std::string(row.channel) + "=" +
                        std::to_string(row.info.lastOffset));
            return seen.size() < stopAfter;
        }
    };
    Fixture f;
    for (int i = 0; i < 200; ++i) {
        f.append("c" + std::to_string(i));
    }
    Names names;
    f.log.forEachChannel(names);
    assert_int_equal(names.seen.size(), 200);
    assert_true(names.seen.count("app/c0=1") == 1);
    assert_true(names.seen.count("app/c199=1") == 1);
    Names few;
    few.stopAfter = 5;
    f.log.forEachChannel(few);
    assert_int_equal(few.seen.size(), 5);
}

TEST(stats_tell_what_is_in_the_ring)
{
    Fixture f;
    f.append("a", "x", 100);
    f.append("a", "x", 200);
    LogStats stats = f.log.stats();
    assert_int_equal(stats.appendedRecords, 2);
    assert_int_equal(stats.oldestTimeMs, 100);
    assert_int_equal(stats.usedBytes, f.log.head() - f.log.tail());
    assert_int_equal(stats.appendedBytes, stats.usedBytes);
    assert_int_equal(stats.recoveries, 0);
    f.overwriteAll();
    stats = f.log.stats();
    assert_true(stats.usedBytes <= stats.ringBytes);
    assert_true(stats.usedBytes > stats.ringBytes * 3 / 4);
    assert_int_equal(stats.oldestTimeMs, 1);
}

TEST(an_arena_keeps_addresses_until_it_is_cleared_and_then_a_bounded_amount)
{
    RecordArena arena;
    std::vector<std::byte*> pieces;
    for (std::size_t i = 0; i < 3000; ++i) {
        pieces.push_back(arena.allocate(i));
        assert_int_equal(reinterpret_cast<std::uintptr_t>(pieces.back()) % 8, 0);
        std::memset(pieces.back(), static_cast<int>(i), i);
    }
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        for (std::size_t k = 0; k < i; ++k) {
            assert_true(pieces[i][k] == static_cast<std::byte>(i));
        }
    }
    assert_true(arena.used() >= 3000 * 2999 / 2);
    arena.clear();
    assert_int_equal(arena.used(), 0);
    std::memset(arena.allocate(3 << 20), 1, 3 << 20);
    std::memset(arena.allocate(8), 2, 8);
    arena.clear();
    std::memset(arena.allocate(8), 3, 8);
}

TEST_MAIN()
