// The handshake of sleeping and waking, interleaved on purpose: the sources of the log are compiled into this test
// once more, with a hook at each step, so that an append can happen at any step of a reader and a reader's turn at
// any step of an append. log_wake_test.cpp has the same race left to chance.
void onLogStep(const char* name);
#define REALTIME_LOG_STEP(name) onLogStep(name)

#include "log/directory.cpp"
#include "log/idempotency.cpp"
#include "log/lock.cpp"
#include "log/process.cpp"
#include "log/reading.cpp"
#include "log/record_arena.cpp"
#include "log/ring.cpp"
#include "log/shared_log.cpp"
#include "log/worker_slots.cpp"

#include "log_testing.hpp"

#include <functional>

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

std::function<void()> atStep; // not called while it runs
bool locked = false;          // by whoever takes a step

} // namespace

void onLogStep(const char* name)
{
    if (std::strcmp(name, "locked") == 0 || std::strcmp(name, "unlocked") == 0) {
        locked = std::strcmp(name, "locked") == 0;
    }
    if (atStep) {
        const auto call = std::move(atStep);
        atStep = nullptr;
        call();
        atStep = call;
    }
}

namespace {

// One reader of "room" and whoever appends.
struct Stage {
    Stage() : log(SharedLog::create(mapping().span(), {2, 7})), slot(log.claimSlot())
    {
        only.epochs.insert(log.subscribe(slot, "app", "room")->channel.epoch);
        cursor = log.head();
    }

    static SharedMapping& mapping() // the same for every stage: making one takes longer than a run
    {
        static SharedMapping shared(SharedLog::MinimumBytes);
        return shared;
    }
    void append(const char* channel)
    {
        appended += std::strcmp(channel, "room") == 0 ? 1 : 0;
        log.append(makeRecord(channel, makePayload(1, 50)), SharedLog::NoSlot, wakes);
    }
    void jump() { cursor = std::max(cursor, log.awake(slot)); }
    void drain()
    {
        LogRecord record;
        RecordArena arena;
        while (log.next(cursor, only, arena, record) == ReadStatus::Record) {
            skipped = skipped || record.id.offset != ++read;
            onLogStep("read");
        }
    }
    void sleep()
    {
        const std::size_t wakesBefore = wakes.slots.size();
        asleep = log.sleep(slot, cursor);
        wakesAtSleep = wakesBefore;
    }
    bool hasMark() const { return sharedlog::Memory(mapping().as<std::byte>()).slot(slot).wakePosition != 0; }

    // What must hold when nothing is going on.
    void check()
    {
        if (asleep && wakes.slots.size() == wakesAtSleep) {
            assert_int_equal(read, appended); // sleeps on, so there must be nothing to read
        }
        // The next append must reach it in any case.
        append("room");
        assert_true(!asleep || wakes.slots.size() > wakesAtSleep);
        jump();
        drain();
        assert_false(skipped);
        assert_int_equal(read, appended);
    }

    SharedLog log;
    std::uint32_t slot;
    Only only;
    Wakes wakes;
    LogPosition cursor = 0;
    std::uint64_t appended = 0, read = 0;
    std::size_t wakesAtSleep = 0;
    bool skipped = false;
    bool asleep = true; // a newcomer counts as asleep
};

void readerTurns(Stage& stage, int turns)
{
    for (int i = 0; i < turns; ++i) {
        stage.jump();
        onLogStep("between");
        stage.drain();
        onLogStep("between");
        stage.sleep();
        onLogStep("between");
    }
}

} // namespace

TEST(two_appends_at_any_two_steps_of_a_reader_are_noticed)
{
    constexpr int Turns = 3;
    const char* const kinds[] = {"room", "noise"};
    std::uint64_t runs = 0;
    for (const bool markedBefore : {false, true}) {
        for (const char* first : kinds) {
            for (const char* second : kinds) {
                int steps = 1;
                for (int i = 0; i < steps; ++i) {
                    for (int j = i; j < steps; ++j) {
                        Stage stage;
                        if (markedBefore) {
                            stage.append("room");
                        }
                        int at = 0;
                        atStep = [&] {
                            if (locked) {
                                return;
                            }
                            if (at == i) {
                                stage.append(first);
                            }
                            if (at == j) {
                                stage.append(second);
                            }
                            ++at;
                        };
                        readerTurns(stage, Turns);
                        atStep = nullptr;
                        steps = std::max(steps, at);
                        stage.check();
                        ++runs;
                    }
                }
            }
        }
    }
    assert_true(runs > 1000);
}

TEST(a_turn_of_the_reader_at_any_step_of_an_append_loses_nothing)
{
    // What the reader does meanwhile. It must not need the lock, which the append holds.
    const std::function<void(Stage&)> turns[] = {
        [](Stage& s) { s.sleep(); },
        [](Stage& s) {
            s.drain();
            s.sleep();
        },
        [](Stage& s) {
            if (s.hasMark()) {
                s.jump();
            }
            s.drain();
            s.sleep();
            s.drain();
            s.sleep();
        },
        [](Stage& s) {
            if (s.hasMark()) {
                s.jump();
            }
            s.drain();
        },
    };
    std::uint64_t runs = 0;
    for (const auto& turn : turns) {
        for (const bool markedBefore : {false, true}) {
            int steps = 1;
            for (int i = 0; i < steps; ++i) {
                for (int j = i; j < steps; ++j) {
                    Stage stage;
                    if (markedBefore) {
                        stage.append("room");
                    }
                    stage.jump();
                    stage.drain();
                    stage.asleep = false;
                    int at = 0;
                    atStep = [&] {
                        if (at == i || at == j) {
                            turn(stage);
                        }
                        ++at;
                    };
                    stage.append("room");
                    stage.append("noise");
                    stage.append("room");
                    atStep = nullptr;
                    steps = std::max(steps, at);
                    if (!stage.asleep) {
                        stage.drain();
                        stage.sleep();
                    }
                    stage.check();
                    ++runs;
                }
            }
        }
    }
    assert_true(runs > 1000);
}

TEST_MAIN()
