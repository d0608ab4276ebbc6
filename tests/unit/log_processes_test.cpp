// Several processes at one log.
#include "log_testing.hpp"

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

constexpr std::uint32_t Writers = 4;
constexpr std::uint64_t RecordsEach = 5'000;
constexpr std::uint64_t Channels = 7;

// A record's number tells its writer and the writer's count.
constexpr std::uint64_t numberOf(std::uint64_t writer, std::uint64_t count)
{
    return writer << 32U | count;
}

int write(std::span<std::byte> memory, std::uint64_t writer, std::atomic<int>& start)
{
    SharedLog log = *SharedLog::attach(memory);
    Wakes wakes;
    Random random{writer};
    while (start == 0) {
    }
    for (std::uint64_t i = 1; i <= RecordsEach; ++i) {
        const std::string data = makePayload(numberOf(writer, i), 8 + random.below(200));
        const std::string channel = "c" + std::to_string(random.below(Channels));
        if (log.append(makeRecord(channel, data), SharedLog::NoSlot, wakes).status !=
            AppendStatus::Appended) {
            return 1;
        }
    }
    return 0;
}

// Reads until each writer's last record has come. The ring holds everything, so there must be no gap.
int readAll(std::span<std::byte> memory)
{
    const SharedLog log = *SharedLog::attach(memory);
    LogPosition cursor = 0;
    RecordArena arena;
    LogRecord record;
    std::vector<std::uint64_t> counts(Writers, 0);
    std::map<std::uint64_t, std::uint64_t> offsets;
    const Deadline deadline(std::chrono::seconds(60));
    for (std::uint64_t total = 0; total < Writers * RecordsEach;) {
        const ReadStatus status = log.next(cursor, Everything{}, arena, record);
        if (status == ReadStatus::Overtaken || deadline.passed()) {
            return 1;
        }
        if (status == ReadStatus::End) {
            continue;
        }
        const std::uint64_t number = payloadNumber(record.data);
        if (!isIntact(record.data) || ++counts.at(number >> 32U) != (number & 0xffffffffU)) {
            return 2; // damaged, or a writer's records out of order
        }
        if (++offsets[record.id.epoch] != record.id.offset) {
            return 3;
        }
        arena.clear();
        ++total;
    }
    return offsets.size() == Channels ? 0 : 4;
}

} // namespace

TEST(writers_and_readers_in_many_processes_agree_on_one_order)
{
    SharedMapping mapping(16 << 20);
    SharedMapping flag(4096);
    auto& start = *flag.as<std::atomic<int>>();
    SharedLog log = SharedLog::create(mapping.span(), {8});
    std::vector<pid_t> children;
    for (std::uint32_t i = 0; i < Writers; ++i) {
        children.push_back(forkChild([&, i] { return write(mapping.span(), i, start); }));
    }
    for (int i = 0; i < 2; ++i) {
        children.push_back(forkChild([&] { return readAll(mapping.span()); }));
    }
    start = 1;
    for (const pid_t child : children) {
        assert_int_equal(waitFor(child), 0);
    }
    assert_int_equal(log.stats().appendedRecords, Writers * RecordsEach);
    assert_int_equal(log.stats().recoveries, 0);
    assert_text_equal(LogCheck(log, mapping.as<std::byte>()).run(), "");
}

TEST(processes_may_map_the_log_at_different_addresses)
{
    char path[] = "/tmp/realtime-log-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    constexpr std::size_t Bytes = SharedLog::MinimumBytes;
    assert_int_equal(ftruncate(fd, Bytes), 0);
    const auto map = [fd] {
        return static_cast<std::byte*>(mmap(nullptr, Bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    };
    std::byte* const first = map();
    std::byte* const second = map();
    assert_true(first != second);
    SharedLog log = SharedLog::create({first, Bytes}, {4});
    Wakes wakes;
    log.append(makeRecord("room", makePayload(1, 100)), SharedLog::NoSlot, wakes);
    const pid_t child = forkChild([&] {
        munmap(first, Bytes);
        SharedLog other = *SharedLog::attach({second, Bytes});
        RecordArena arena;
        LogRecord record;
        LogPosition cursor = 0;
        const bool read = other.next(cursor, Everything{}, arena, record) == ReadStatus::Record;
        other.append(makeRecord("room", makePayload(2, 100)), SharedLog::NoSlot, wakes);
        return read && isIntact(record.data) ? 0 : 1;
    });
    assert_int_equal(waitFor(child), 0);
    assert_int_equal(log.find("app", "room")->lastOffset, 2);
    assert_text_equal(LogCheck(log, first).run(), "");
    munmap(first, Bytes);
    munmap(second, Bytes);
    close(fd);
}

TEST_MAIN()
