// The handshake of sleeping and waking under every schedule of a reader and a publisher with up to three changes
// from one to the other. The sources of the log are compiled into this test once more, with a hook at each step;
// both sides run as coroutines of one thread, and the hook decides who goes on. This sees every interleaving that
// matters as sequential consistency allows it; log_wake_test.cpp leaves the same race to chance and real processors.
void onLogStep(const char* name);
#define REALTIME_LOG_STEP(name) onLogStep(name)

// NOLINTBEGIN(bugprone-suspicious-include)
#include "log/appender.cpp"
#include "log/cells.cpp"
#include "log/directory.cpp"
#include "log/idempotency.cpp"
#include "log/lock.cpp"
#include "log/members.cpp"
#include "log/moving.cpp"
#include "log/peers.cpp"
#include "log/presence.cpp"
#include "log/reading.cpp"
#include "log/record_arena.cpp"
#include "log/ring.cpp"
#include "log/shared_log.cpp"
#include "log/streams.cpp"
#include "log/worker_slots.cpp"
// NOLINTEND(bugprone-suspicious-include)

#include "log_testing.hpp"

#include <array>
#include <functional>
#include <ucontext.h>

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

// Runs two bodies in turns. The running one goes on at each step, except at those in `changes`, and where it waits
// for the log's mutex that the other one holds.
class Scheduler {
public:
    using Changes = std::array<int, 3>; // step numbers; -1: none

    // How many steps there were.
    int run(const Changes& changes, std::function<void()> first, std::function<void()> second)
    {
        changes_ = changes;
        step_ = 0;
        holder_ = None;
        tasks_[0].body = std::move(first);
        tasks_[1].body = std::move(second);
        for (int i = 0; i < 2; ++i) {
            Task& task = tasks_[i];
            task.done = false;
            task.wantsLock = false;
            getcontext(&task.context);
            task.context.uc_stack.ss_sp = task.stack.data();
            task.context.uc_stack.ss_size = task.stack.size();
            task.context.uc_link = nullptr;
            makecontext(&task.context, reinterpret_cast<void (*)()>(&Scheduler::start), 0);
        }
        current_ = 0;
        running = this;
        swapcontext(&main_, &tasks_[0].context);
        running = nullptr;
        return step_;
    }

    void onStep(std::string_view name)
    {
        Task& task = tasks_[current_];
        if (name == "locking") {
            task.wantsLock = true;
        } else if (name == "locked") {
            task.wantsLock = false;
            holder_ = current_;
        } else if (name == "unlocked") {
            holder_ = None;
        }
        const int number = step_++;
        const bool wanted = number == changes_[0] || number == changes_[1] || number == changes_[2];
        const bool blocked = task.wantsLock && holder_ == 1 - current_;
        const Task& other = tasks_[1 - current_];
        const bool otherBlocked = other.wantsLock && holder_ == current_;
        if ((wanted || blocked) && !other.done && !otherBlocked) {
            change();
        }
    }

    static Scheduler* running;

private:
    static constexpr int None = -1;
    struct Task {
        ucontext_t context = {};
        std::vector<char> stack = std::vector<char>(256 << 10);
        std::function<void()> body;
        bool done = false;
        bool wantsLock = false;
    };

    static void start()
    {
        Scheduler& self = *running;
        Task& task = self.tasks_[self.current_];
        task.body();
        task.done = true;
        if (!self.tasks_[1 - self.current_].done) {
            self.change();
        }
        setcontext(&self.main_);
    }

    void change()
    {
        const int from = current_;
        current_ = 1 - from;
        swapcontext(&tasks_[from].context, &tasks_[current_].context);
    }

    Changes changes_ = {};
    int step_ = 0;
    int current_ = 0;
    int holder_ = None;
    ucontext_t main_ = {};
    Task tasks_[2];
};

Scheduler* Scheduler::running = nullptr;

} // namespace

void onLogStep(const char* name)
{
    if (Scheduler::running != nullptr) {
        Scheduler::running->onStep(name);
    }
}

namespace {

// How the reader stands when a run begins. It has read everything unless said otherwise.
enum class Start { Asleep, AsleepAndMarked, Awake };

// One reader of "room" and whoever appends. Checks do not assert, since that would jump out of a coroutine.
class Stage {
public:
    Stage() : mapping_(SharedLog::MinimumBytes), log_(SharedLog::create(mapping_.span(), {2}))
    {
        slot_ = log_.claimSlot();
        only_.epochs.insert(log_.subscribe(slot_, "app", "room")->channel.epoch);
    }

    void begin(Start start)
    {
        do {
            jump();
            drain();
        } while (!sleep());
        if (start == Start::AsleepAndMarked) {
            append("room");
        } else if (start == Start::Awake) {
            append("room");
            jump();
            drain();
        }
        asleep_ = start == Start::Asleep;
    }

    void append(const char* channel)
    {
        Wakes wakes;
        const auto appended = log_.append(makeRecord(channel, "x"), SharedLog::NoSlot, wakes);
        appended_ = std::strcmp(channel, "room") == 0 ? appended.id.offset : appended_;
        woken_ = woken_ || !wakes.slots.empty();
    }

    // Wakes, pauses after the first event and asks again, reads all, goes to sleep.
    void readerTurn()
    {
        jump();
        onLogStep("between");
        drain(1);
        jump();
        onLogStep("between");
        drain();
        onLogStep("between");
        sleep();
        onLogStep("between");
    }
    bool sleep()
    {
        woken_ = false;
        asleep_ = log_.sleep(slot_, cursor_);
        return asleep_;
    }

    // With nothing going on: what is wrong, or "".
    const char* end()
    {
        if (skipped_) {
            return "an event was skipped";
        }
        if (asleep_ && !woken_ && read_ != appended_) {
            return "it sleeps although there is something to read";
        }
        if (asleep_ && !woken_) {
            append("room");
            if (!woken_) {
                return "the next append does not wake it";
            }
        }
        jump();
        drain();
        return skipped_ || read_ != appended_ ? "an event was skipped at last" : "";
    }

private:
    void jump()
    {
        cursor_ = std::max(cursor_, log_.awake(slot_));
        asleep_ = false;
    }
    void drain(std::uint64_t most = ~std::uint64_t{0})
    {
        for (; most != 0 && log_.next(cursor_, only_, arena_, record_) == ReadStatus::Record; --most) {
            skipped_ = skipped_ || record_.id.offset != ++read_;
            onLogStep("read");
            arena_.clear();
        }
    }

    SharedMapping mapping_;
    SharedLog log_;
    std::uint32_t slot_ = 0;
    Only only_;
    RecordArena arena_;
    LogRecord record_;
    LogPosition cursor_ = 0;
    std::uint64_t appended_ = 0, read_ = 0; // offsets
    bool asleep_ = true;                    // as sleep() said
    bool woken_ = false;                    // since it was called
    bool skipped_ = false;
};

using Script = std::vector<const char*>;

// What the reader does, and how many steps and runs there are at least: with fewer, the hooks are not where they were.
struct Reader {
    void (*act)(Stage&);
    int leastSteps;
    std::uint64_t leastRuns;
};

void tryAll(Start start, const Reader& read, const Script& script, bool readerFirst)
{
    Stage stage;
    Scheduler scheduler;
    const auto reader = [&stage, read] { read.act(stage); };
    const auto publisher = [&stage, &script] {
        for (const char* channel : script) {
            stage.append(channel);
        }
    };
    int steps = 1;
    std::uint64_t runs = 0;
    for (int a = -1; a < steps; ++a) {
        for (int b = a; b < (a < 0 ? 0 : steps); ++b) {
            for (int c = b; c < (b <= a ? b + 1 : steps); ++c) {
                const Scheduler::Changes changes{a, b == a ? -1 : b, c == b ? -1 : c};
                stage.begin(start);
                const int taken = readerFirst ? scheduler.run(changes, reader, publisher)
                                              : scheduler.run(changes, publisher, reader);
                steps = std::max(steps, taken);
                ++runs;
                if (const std::string wrong = stage.end(); !wrong.empty()) {
                    fail_msg("start %d, %s first, changes at %d %d %d: %s", static_cast<int>(start),
                             readerFirst ? "reader" : "publisher", changes[0], changes[1], changes[2],
                             wrong.c_str());
                }
            }
        }
    }
    assert_true(steps > read.leastSteps);
    assert_true(runs > read.leastRuns);
}

void tryAllStarts(const Reader& reader, const Script& script)
{
#ifdef __SANITIZE_THREAD__
    constexpr bool Understood = false; // ThreadSanitizer takes the coroutines for one broken stack
#else
    constexpr bool Understood = true;
#endif
    if (!Understood) {
        skip();
    }
    for (const Start start : {Start::Asleep, Start::AsleepAndMarked, Start::Awake}) {
        tryAll(start, reader, script, true);
        tryAll(start, reader, script, false);
    }
}

constexpr Reader OneTurn{[](Stage& stage) { stage.readerTurn(); }, 20, 1000};
constexpr Reader TwoTurns{[](Stage& stage) {
                              stage.readerTurn();
                              stage.readerTurn();
                          },
                          20, 1000};
constexpr Reader OnlySleep{[](Stage& stage) { stage.sleep(); }, 10, 200};

} // namespace

TEST(no_schedule_of_one_append_loses_it)
{
    tryAllStarts(TwoTurns, {"room"});
}

TEST(no_schedule_of_two_appends_loses_one)
{
    tryAllStarts(TwoTurns, {"room", "room"});
}

TEST(no_schedule_of_three_appends_loses_one)
{
    tryAllStarts(OneTurn, {"room", "room", "room"});
}

TEST(no_schedule_of_an_append_and_noise_loses_it)
{
    tryAllStarts(TwoTurns, {"room", "noise"});
    tryAllStarts(OneTurn, {"noise", "room"});
}

TEST(no_schedule_of_appends_while_it_falls_asleep_loses_one)
{
    tryAllStarts(OnlySleep, {"room"});
    tryAllStarts(OnlySleep, {"room", "room"});
    tryAllStarts(OnlySleep, {"noise", "room"});
}

TEST_MAIN()
