// The ring as it wraps: against a model, and under readers that are overtaken.
#include "log/ring.hpp"

#include "log_testing.hpp"

#include <deque>
#include <thread>

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

constexpr std::size_t LogBytes = SharedLog::MinimumBytes;

struct Expected {
    LogPosition position;
    std::uint64_t number;
    std::size_t bytes;
    std::string channel;
};

std::size_t randomSize(Random& random, std::size_t most)
{
    switch (random.below(8)) {
    case 0:
        return 8 + random.below(most - 8);
    case 1:
        return most;
    default:
        return 8 + random.below(600);
    }
}

} // namespace

TEST(what_is_left_after_any_number_of_wraps_is_the_newest)
{
    SharedMapping mapping(LogBytes);
    SharedLog log = SharedLog::create(mapping.span(), {4});
    Wakes wakes;
    Random random{42};
    std::deque<Expected> model;
    const std::size_t most = log.maxRecordBytes() - 88 - 3 - 10;
    for (std::uint64_t number = 1; number <= 20'000; ++number) {
        const std::string channel = "c" + std::to_string(random.below(50));
        const std::string data = makePayload(number, randomSize(random, most));
        const AppendResult result = log.append(makeRecord(channel, data), SharedLog::NoSlot, wakes);
        assert_true(result.status == AppendStatus::Appended);
        model.push_back({result.position, number, data.size(), channel});
        while (model.front().position < log.tail()) {
            model.pop_front();
        }
        if (number % 500 != 0) {
            continue;
        }
        LogPosition cursor = log.tail();
        RecordArena arena;
        LogRecord record;
        for (const Expected& expected : model) {
            assert_true(log.next(cursor, Everything{}, arena, record) == ReadStatus::Record);
            assert_int_equal(record.position, expected.position);
            assert_text_equal(record.channel, expected.channel);
            assert_int_equal(record.data.size(), expected.bytes);
            assert_true(isIntact(record.data));
            assert_int_equal(payloadNumber(record.data), expected.number);
            arena.clear();
        }
        assert_true(log.next(cursor, Everything{}, arena, record) == ReadStatus::End);
        // Nothing is thrown out early: what is free is less than one largest record and its padding.
        const LogStats stats = log.stats();
        assert_true(number < 2000 || stats.ringBytes - stats.usedBytes < 2 * log.maxRecordBytes());
    }
    assert_text_equal(LogCheck(log, mapping.as<std::byte>()).run(), "");
}

TEST(a_cursor_that_was_overrun_is_told_and_set_to_the_oldest_record)
{
    SharedMapping mapping(LogBytes);
    SharedLog log = SharedLog::create(mapping.span(), {4});
    Wakes wakes;
    LogPosition cursor = 0; // before the first record
    const std::string data = makePayload(1, 8000);
    log.append(makeRecord("room", data), SharedLog::NoSlot, wakes);
    RecordArena arena;
    LogRecord record;
    assert_true(log.next(cursor, Everything{}, arena, record) == ReadStatus::Record);
    for (int i = 0; i < 1000; ++i) {
        log.append(makeRecord("room", data), SharedLog::NoSlot, wakes);
    }
    assert_true(log.next(cursor, Everything{}, arena, record) == ReadStatus::Overtaken);
    assert_int_equal(cursor, log.tail());
    assert_true(log.next(cursor, Everything{}, arena, record) == ReadStatus::Record);
    assert_true(record.id.offset > 900);
    LogPosition early = 0;
    assert_true(log.next(early, Everything{}, arena, record) == ReadStatus::Overtaken);
}

TEST(a_cursor_that_points_at_no_record_neither_crashes_nor_loops)
{
    SharedMapping mapping(LogBytes);
    SharedLog log = SharedLog::create(mapping.span(), {4});
    Wakes wakes;
    Random random{3};
    for (std::uint64_t i = 0; i < 3000; ++i) {
        log.append(makeRecord("room", makePayload(i, 8 + random.below(2000))), SharedLog::NoSlot, wakes);
    }
    for (LogPosition start = log.tail(); start < log.head(); start += 1 + random.below(9)) {
        LogPosition cursor = start;
        RecordArena arena;
        LogRecord record;
        if (log.next(cursor, Everything{}, arena, record) == ReadStatus::Record) {
            assert_true(isIntact(record.data));
        }
        assert_true(cursor > start && cursor <= log.head());
        log.readAt(start, arena, record);
    }
}

TEST(readers_that_are_overrun_while_they_read_never_see_damage)
{
    SharedMapping mapping(LogBytes);
    SharedLog::create(mapping.span(), {4});
    std::atomic<bool> done = false;
    std::atomic<std::uint64_t> damaged = 0, overtaken = 0, read = 0;
    std::vector<std::thread> readers;
    for (int i = 0; i < 2; ++i) {
        readers.emplace_back([&, i] {
            const SharedLog log = *SharedLog::attach(mapping.span());
            Random random{static_cast<std::uint64_t>(i)};
            RecordArena arena;
            LogRecord record;
            LogPosition cursor = log.tail();
            while (!done) {
                // Where the writer is about to be: the oldest record, over and over.
                if (i == 0 || random.below(4) == 0) {
                    cursor = log.tail();
                }
                const ReadStatus status = log.next(cursor, Everything{}, arena, record);
                overtaken += status == ReadStatus::Overtaken ? 1 : 0;
                if (status == ReadStatus::Record) {
                    ++read;
                    damaged += isIntact(record.data) ? 0 : 1;
                }
                arena.clear();
            }
        });
    }
    SharedLog log = *SharedLog::attach(mapping.span());
    Wakes wakes;
    Random random{42};
    const Deadline deadline(std::chrono::seconds(20));
    // Until the race was run often enough to mean something, but not for ever on a slow machine.
    for (std::uint64_t i = 0; (i < 20'000 || overtaken < 20 || read < 1000) && !deadline.passed(); ++i) {
        const std::string data = makePayload(i, randomSize(random, log.maxRecordBytes() - 100));
        log.append(makeRecord("c" + std::to_string(random.below(20)), data), SharedLog::NoSlot, wakes);
    }
    done = true;
    for (auto& reader : readers) {
        reader.join();
    }
    assert_int_equal(damaged, 0);
    assert_true(overtaken > 0);
    assert_true(read >= 1000);
}

TEST_MAIN()
