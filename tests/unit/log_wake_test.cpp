// The handshake of sleeping and waking: nobody sleeps through a message, nobody is woken for nothing.
#include "log_testing.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <thread>

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

constexpr std::size_t LogBytes = SharedLog::MinimumBytes;

struct Fixture {
    Fixture() : mapping(LogBytes), log(SharedLog::create(mapping.span(), {4})) {}

    // Who was woken for one append.
    std::vector<std::uint32_t> append(std::string_view channel, std::uint32_t self = SharedLog::NoSlot)
    {
        Wakes wakes;
        last = log.append(makeRecord(channel, makePayload(1, 1000)), self, wakes);
        return wakes.slots;
    }
    void drain(LogPosition& cursor)
    {
        LogRecord record;
        RecordArena arena;
        while (log.next(cursor, Everything{}, arena, record) != ReadStatus::End) {
        }
    }

    SharedMapping mapping;
    SharedLog log;
    AppendResult last;
};

using Slots = std::vector<std::uint32_t>;

// Wakes by eventfd, as workers do.
struct EventFds final : WakeUp {
    std::vector<int> fds;
    explicit EventFds(std::size_t slots)
    {
        for (std::size_t i = 0; i < slots; ++i) {
            fds.push_back(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
        }
    }
    ~EventFds()
    {
        for (const int fd : fds) {
            close(fd);
        }
    }
    EventFds(const EventFds&) = delete;
    EventFds& operator=(const EventFds&) = delete;

    void wake(std::uint32_t slot) override
    {
        const std::uint64_t one = 1;
        if (write(fds.at(slot), &one, sizeof(one)) != sizeof(one)) {
            std::abort();
        }
    }
    // False: nobody woke us in time.
    bool wait(std::uint32_t slot, int timeoutMs) const
    {
        pollfd ready{fds.at(slot), POLLIN, 0};
        if (poll(&ready, 1, timeoutMs) != 1) {
            return false;
        }
        std::uint64_t count = 0;
        return read(fds.at(slot), &count, sizeof(count)) == sizeof(count);
    }
};

void spin(std::uint64_t rounds)
{
    for (std::uint64_t i = 0; i < rounds; ++i) {
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }
}

} // namespace

TEST(only_workers_with_subscribers_of_the_channel_are_woken)
{
    Fixture f;
    const auto one = f.log.claimSlot(), two = f.log.claimSlot(), three = f.log.claimSlot();
    f.log.subscribe(one, "app", "room");
    f.log.subscribe(two, "app", "room");
    const auto other = f.log.subscribe(three, "app", "other");
    const Slots woken = f.append("room");
    assert_int_equal(woken.size(), 2);
    assert_true(std::set<std::uint32_t>(woken.begin(), woken.end()) == (std::set<std::uint32_t>{one, two}));
    assert_true(f.append("nobody").empty());
    assert_true(f.append("other") == Slots{three});
    f.log.unsubscribe(three, other->channel);
    LogPosition cursor = f.log.awake(three);
    f.drain(cursor);
    assert_true(f.log.sleep(three, cursor));
    assert_true(f.append("other").empty());
}

TEST(a_worker_is_woken_once_until_it_sleeps_again)
{
    Fixture f;
    const auto slot = f.log.claimSlot();
    f.log.subscribe(slot, "app", "room");
    assert_true(f.append("room") == Slots{slot});
    const LogPosition first = f.last.position;
    assert_true(f.append("room").empty());
    assert_int_equal(f.log.awake(slot), first);
    assert_true(f.append("room").empty());
    assert_int_equal(f.log.awake(slot), first);

    LogPosition cursor = first;
    assert_false(f.log.sleep(slot, cursor)); // nothing was read yet
    f.drain(cursor);
    f.append("room");
    assert_false(f.log.sleep(slot, cursor));
    assert_true(f.append("room").empty());
    assert_true(f.log.awake(slot) <= cursor);
    f.drain(cursor);
    assert_true(f.log.sleep(slot, cursor));
    assert_true(f.append("room") == Slots{slot});
    assert_int_equal(f.log.awake(slot), f.last.position);
}

TEST(a_newcomer_is_woken_without_having_slept)
{
    Fixture f;
    auto slot = f.log.claimSlot();
    f.log.subscribe(slot, "app", "room");
    f.append("room");
    f.log.releaseSlot(slot); // with a mark, awake
    slot = f.log.claimSlot();
    f.log.subscribe(slot, "app", "room");
    assert_int_equal(f.log.awake(slot), f.log.head());
    assert_true(f.log.sleep(slot, f.log.head()));
    assert_true(f.append("room") == Slots{slot});
}

TEST(the_appending_worker_is_not_woken_but_knows_where_to_read)
{
    Fixture f;
    const auto self = f.log.claimSlot(), other = f.log.claimSlot();
    f.log.subscribe(self, "app", "room");
    f.log.subscribe(other, "app", "room");
    LogPosition cursor = f.log.awake(self);
    assert_true(f.log.sleep(self, cursor));
    f.append("noise");
    assert_true(f.append("room", self) == Slots{other});
    assert_int_equal(f.log.awake(self), f.last.position);
    cursor = f.last.position;
    assert_false(f.log.sleep(self, cursor));
    f.drain(cursor);
    assert_true(f.log.sleep(self, cursor));
    // It appends again while it is awake: the position of the earlier append must not be skipped.
    const LogPosition before = f.log.head();
    f.append("room", self);
    f.append("room", self);
    assert_int_equal(f.log.awake(self), before);
}

TEST(a_worker_that_slept_through_a_turn_of_the_ring_sees_no_gap)
{
    Fixture f;
    const auto slot = f.log.claimSlot();
    f.log.subscribe(slot, "app", "room");
    LogPosition cursor = f.log.awake(slot);
    const LogPosition start = cursor;
    assert_true(f.log.sleep(slot, cursor));
    while (f.log.tail() <= start) {
        assert_true(f.append("noise").empty());
    }
    // Woken for another reason, such as its clock: nothing concerned it.
    assert_int_equal(f.log.awake(slot), f.log.head());
    assert_true(f.log.sleep(slot, cursor));
    const LogPosition noisy = f.log.head();
    while (f.log.tail() <= noisy) {
        f.append("noise");
    }
    assert_true(f.append("room") == Slots{slot});
    cursor = std::max(cursor, f.log.awake(slot));
    LogRecord record;
    RecordArena arena;
    assert_true(f.log.next(cursor, Everything{}, arena, record) == ReadStatus::Record);
    assert_int_equal(record.position, f.last.position);
}

TEST(what_was_swallowed_by_a_mark_is_not_jumped_over)
{
    Fixture f;
    const auto slot = f.log.claimSlot();
    f.log.subscribe(slot, "app", "room");
    f.append("room");
    LogPosition cursor = f.log.awake(slot);
    f.drain(cursor);
    f.append("room"); // finds the mark of the first
    const LogPosition second = f.last.position;
    assert_false(f.log.sleep(slot, cursor)); // clears it, notices, and must leave one at the second
    f.append("room");
    assert_true(f.log.awake(slot) <= second);
}

TEST(after_a_dead_worker_is_found_everybody_is_woken_once)
{
    Fixture f;
    const auto slot = f.log.claimSlot();
    const pid_t child = forkChild([&] {
        SharedLog log = *SharedLog::attach(f.mapping.span());
        return static_cast<int>(log.claimSlot());
    });
    assert_int_equal(waitFor(child), 1);
    assert_int_equal(f.log.reclaimDeadSlots(), 1);
    assert_true(f.append("nobody") == Slots{slot});
    assert_true(f.append("nobody").empty());
}

namespace {

// One reader of `channels` at slot `slot`: sleeps whenever it may, and must get records 1 to `count` of each.
// Returns what went wrong, or null.
const char* readSleeping(SharedLog log, EventFds& fds, std::uint32_t slot,
                         const std::vector<std::string>& channels, std::uint64_t count, std::uint64_t& sleeps,
                         std::atomic<std::uint64_t>* acknowledged)
{
    Only only;
    std::map<std::uint64_t, std::uint64_t> offsets;
    for (const auto& channel : channels) {
        const auto subscribed = log.find("app", channel);
        only.epochs.insert(subscribed->channel.epoch);
        offsets[subscribed->channel.epoch] = 0;
    }
    LogPosition cursor = 0;
    RecordArena arena;
    LogRecord record;
    Random random{slot};
    for (std::uint64_t total = 0; total < count * channels.size();) {
        cursor = std::max(cursor, log.awake(slot));
        ReadStatus status;
        while ((status = log.next(cursor, only, arena, record)) == ReadStatus::Record) {
            if (++offsets[record.id.epoch] != record.id.offset || !isIntact(record.data)) {
                return "an event was skipped";
            }
            ++total;
            arena.clear();
            if (acknowledged != nullptr) {
                *acknowledged = total;
            }
        }
        if (status == ReadStatus::Overtaken) {
            return "a false gap";
        }
        // Now and then a worker looks without having been woken.
        if (total < count * channels.size() && log.sleep(slot, cursor) && random.below(3) != 0) {
            ++sleeps;
            if (!fds.wait(slot, 20'000)) {
                return "slept through a message";
            }
        }
    }
    return nullptr;
}

} // namespace

TEST(no_reader_sleeps_through_a_message)
{
    constexpr std::uint64_t Count = 15'000;
    SharedMapping mapping(32 << 20);
    SharedLog log = SharedLog::create(mapping.span(), {4});
    EventFds fds(4);
    const std::vector<std::string> channels[2] = {{"a", "b"}, {"b", "c"}};
    const std::uint32_t slots[3] = {log.claimSlot(), log.claimSlot(), log.claimSlot()};
    for (int i = 0; i < 2; ++i) {
        for (const auto& channel : channels[i]) {
            log.subscribe(slots[i], "app", channel);
        }
    }
    const char* wrong[2] = {};
    std::uint64_t sleeps[2] = {};
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
        threads.emplace_back([&, i] {
            wrong[i] = readSleeping(*SharedLog::attach(mapping.span()), fds, slots[i], channels[i], Count,
                                    sleeps[i], nullptr);
        });
    }
    for (const std::string channel : {"a", "b", "c"}) {
        threads.emplace_back([&, channel] {
            SharedLog view = *SharedLog::attach(mapping.span());
            Random random{static_cast<std::uint64_t>(channel[0])};
            for (std::uint64_t i = 0; i < Count; ++i) {
                view.append(makeRecord(channel, makePayload(i, 40)), SharedLog::NoSlot, fds);
                spin(random.below(4) == 0 ? random.below(20'000) : 0);
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    for (int i = 0; i < 2; ++i) {
        assert_text_equal(wrong[i] == nullptr ? "" : wrong[i], "");
        assert_true(sleeps[i] > 10);
    }
    assert_false(fds.wait(slots[2], 0)); // the third has no subscribers
}

TEST(no_reader_takes_noise_that_overran_it_for_a_gap)
{
    constexpr std::uint64_t Rounds = 400;
    SharedMapping mapping(LogBytes);
    SharedMapping shared(4096);
    auto* const counters = shared.as<std::atomic<std::uint64_t>>();
    auto& acknowledged = counters[0];
    auto& round = counters[1];
    SharedLog log = SharedLog::create(mapping.span(), {4});
    EventFds fds(4);
    const auto slot = log.claimSlot(), uninvolved = log.claimSlot();
    log.subscribe(slot, "app", "rare");

    const pid_t reader = forkChild([&] {
        std::uint64_t sleeps = 0;
        const char* wrong = readSleeping(*SharedLog::attach(mapping.span()), fds, slot, {"rare"}, Rounds,
                                         sleeps, &acknowledged);
        if (wrong != nullptr) {
            std::fprintf(stderr, "%s\n", wrong);
        }
        return wrong == nullptr && sleeps > 10 ? 0 : 1;
    });
    // Noise while the reader wakes and goes to sleep, bounded so that it never overruns what it has to read.
    const Deadline deadline(std::chrono::seconds(90));
    const pid_t noise = forkChild([&] {
        SharedLog view = *SharedLog::attach(mapping.span());
        for (std::uint64_t seen = 0; seen < Rounds && !deadline.passed();) {
            if (seen == round) {
                sched_yield();
                continue;
            }
            seen = round;
            for (std::uint64_t i = 0; i < 300; ++i) {
                view.append(makeRecord("hum", makePayload(i, 100)), SharedLog::NoSlot, fds);
            }
        }
        return 0;
    });
    Random random{5};
    for (std::uint64_t i = 1; i <= Rounds && !deadline.passed(); ++i) {
        const std::uint64_t burst = random.below(3) == 0 ? random.below(1500) : random.below(20);
        for (std::uint64_t k = 0; k < burst; ++k) {
            log.append(makeRecord("noise", makePayload(k, 1000)), SharedLog::NoSlot, fds);
        }
        round = i;
        log.append(makeRecord("rare", makePayload(i, 100)), SharedLog::NoSlot, fds);
        while (acknowledged < i && !deadline.passed() && waitpid(reader, nullptr, WNOHANG) == 0) {
            sched_yield();
        }
        if (acknowledged < i) {
            break;
        }
    }
    killAndWait(noise);
    assert_int_equal(acknowledged, Rounds);
    assert_int_equal(waitFor(reader), 0);
    assert_false(fds.wait(uninvolved, 0));
    assert_true(log.tail() > 10 * LogBytes); // the ring was overrun many times
}

TEST_MAIN()
