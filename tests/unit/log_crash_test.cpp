// Processes die in the middle of everything. The sources of the log are compiled into this test once more, with a
// hook at each place where the order of stores matters, so that a child can be killed at exactly that place; and
// children are killed from outside at random instants. REALTIME_TEST_KILLS sets in how many rounds (of two each).
void onLogStep(const char* name);
#define REALTIME_LOG_STEP(name) onLogStep(name)

// NOLINTBEGIN(bugprone-suspicious-include)
#include "log/announcing.cpp"
#include "log/appender.cpp"
#include "log/apps.cpp"
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

#include <functional>

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

constexpr std::size_t LogBytes = SharedLog::MinimumBytes;

// In children only: how many steps they have yet to live.
std::uint64_t stepsToLive = 0;
const char* repairStep = nullptr; // die at the first step of this name instead

} // namespace

void onLogStep(const char* name)
{
    const bool named = repairStep != nullptr && std::strcmp(name, repairStep) == 0;
    if (named || (stepsToLive != 0 && --stepsToLive == 0)) {
        kill(getpid(), SIGKILL);
    }
}

namespace {

constexpr std::int64_t HistoryMs = 1000;
constexpr std::int64_t LaterMs = 10'000; // when all history is too old

// A log with a bystander that subscribes, at slot 0, and whose worker is asleep.
struct Scene {
    Scene() : mapping(LogBytes), log(SharedLog::create(mapping.span(), {4})), bystander(log.claimSlot())
    {
        log.subscribe(bystander, "app", "watched");
        log.subscribe(bystander, "app", "watched");
        log.subscribe(bystander, "app", "quiet");
        append("known", 1);
        append("known", 2);
    }

    AppendResult append(std::string_view channel, std::uint64_t number, std::string_view key = {},
                        std::size_t bytes = 100, std::string_view app = "app")
    {
        const std::string data = makePayload(number, bytes);
        NewRecord record = makeRecord(channel, data);
        record.app = app;
        record.idempotencyKey = key;
        record.historyMs = HistoryMs;
        return log.append(record, SharedLog::NoSlot, wakes);
    }
    // One that nobody who comes later gets.
    AppendResult appendTransient(std::string_view channel, std::uint64_t number)
    {
        const std::string data = makePayload(number, 100);
        NewRecord record = makeRecord(channel, data);
        record.flags = record_flag::Transient;
        return log.append(record, SharedLog::NoSlot, wakes);
    }

    int count(std::uint64_t number) const
    {
        LogPosition cursor = log.tail();
        LogRecord record;
        RecordArena arena;
        int found = 0;
        while (log.next(cursor, Everything{}, arena, record) == ReadStatus::Record) {
            found += payloadNumber(record.data) == number ? 1 : 0;
        }
        return found;
    }

    void fillRing()
    {
        const LogPosition start = log.head();
        while (log.tail() <= start) {
            append("filler", 7, {}, 1000);
        }
    }
    void limitChannels(std::uint32_t channels)
    {
        const AppQuotas quotas[] = {{"app", {channels, 0}, {}, {}}, {"other", {}, {}, {1, 0}}};
        log.declareApps(quotas);
    }
    void fillDirectory()
    {
        while (log.stats().channels < log.stats().channelCapacity) {
            append("idle" + std::to_string(log.stats().channels), 7);
        }
    }

    SharedMapping mapping;
    SharedLog log;
    std::uint32_t bystander;
    Wakes wakes;
};

constexpr std::uint64_t Victim = 4711;   // number of the record that a dying child appends
constexpr std::uint64_t Survivor = 4712; // of the one appended afterwards

struct Scenario {
    const char* name;
    std::function<void(Scene&)> prepare;
    std::function<void(Scene&)> act; // in the child
    std::function<void(Scene&)> check;
};

void appendVictim(Scene& scene, const char* channel, std::string_view key = {}, std::size_t bytes = 100)
{
    scene.append(channel, Victim, key, bytes);
}

void nothing(Scene&) {}

// All that is said has the same text.
struct Crier final : Announcer {
    std::string app, channel, data = makePayload(7, 100);

    void memberAdded(std::string_view ofApp, std::string_view of, std::string_view, std::string_view,
                     NewRecord& announcement) override
    {
        app = ofApp;
        channel = of;
        announcement = makeRecord(channel, data);
        announcement.app = app;
        announcement.flags = record_flag::Transient;
    }
    void memberRemoved(std::string_view ofApp, std::string_view of, std::string_view userId,
                       NewRecord& announcement) override
    {
        memberAdded(ofApp, of, userId, {}, announcement);
    }
};

void announceAll(SharedLog& log, WakeUp& wakes)
{
    Crier crier;
    for (const ChannelRef& channel : log.waitingAnnouncements()) {
        assert_false(log.announceMembers(channel, 1, true, crier, wakes).has_value());
    }
    assert_true(log.waitingAnnouncements().empty());
}

// Comes and goes in all ways that there are, within the pause and past it.
void flap(Scene& scene)
{
    const auto slot = scene.log.claimSlot();
    const ChannelRef ref = scene.log.subscribe(slot, "app", "watched")->channel;
    Crier crier;
    std::int64_t now = 1'000'000;
    const auto record = [&] { return makeRecord("watched", crier.data, now); };
    const auto join = [&](const std::string& info, bool atOnce = true) {
        scene.log.joinMember(slot, ref, "user", info, 10, record(), scene.wakes, atOnce);
    };
    const auto leave = [&] { scene.log.leaveMember(slot, ref, "user", record(), scene.wakes); };
    const auto announce = [&] { scene.log.announceMembers(ref, now, false, crier, scene.wakes); };
    join("{}", false);
    leave(); // without a trace
    join("{}", false);
    announce();
    leave();
    join(std::string(200, 'x')); // another, but not yet
    leave();
    join(std::string(20, 'y'));
    now += SharedLog::AnnouncePauseMs;
    announce();
    leave();
    now += SharedLog::AnnouncePauseMs;
    announce();
    join("{}");
    now += SharedLog::AnnouncePauseMs;
    leave();
    join("{}"); // and dies as a member
}

const Scenario Scenarios[] = {
    {"append", nothing, [](Scene& s) { appendVictim(s, "known"); }, nothing},
    {"append to a subscribed channel", nothing, [](Scene& s) { appendVictim(s, "watched"); },
     [](Scene& s) {
         if (s.count(Victim) == 1) { // published: the mark must be there, and no later than the record
             const LogPosition mark = sharedlog::Memory(s.mapping.as<std::byte>()).slot(0).wakePosition;
             assert_true(mark != 0);
             assert_true(mark <= s.log.find("app", "watched")->lastPosition);
         }
     }},
    {"append to a new channel", nothing, [](Scene& s) { appendVictim(s, "new"); }, nothing},
    {"append over the oldest", [](Scene& s) { s.fillRing(); },
     [](Scene& s) { appendVictim(s, "known", {}, 60'000); }, nothing},
    {"append over the edge",
     [](Scene& s) {
         s.fillRing();
         while (s.log.head() % s.log.stats().ringBytes < s.log.stats().ringBytes - 30'000) {
             s.append("filler", 7, {}, 20'000);
         }
     },
     [](Scene& s) { appendVictim(s, "known", {}, 60'000); }, nothing},
    {"append to a new channel in a full directory", [](Scene& s) { s.fillDirectory(); },
     [](Scene& s) { appendVictim(s, "new"); }, nothing},
    {"append once", nothing, [](Scene& s) { appendVictim(s, "known", "key"); },
     [](Scene& s) {
         const int published = s.count(Victim);
         const AppendResult again = s.append("known", Victim, "key");
         assert_true((again.status == AppendStatus::Repeated) == (published == 1));
         assert_int_equal(s.count(Victim), 1);
         LogRecord record;
         RecordArena arena;
         assert_true(s.log.readAt(again.position, arena, record));
         assert_true(record.id == again.id);
     }},
    {"subscribe", nothing,
     [](Scene& s) {
         const auto slot = s.log.claimSlot();
         s.log.subscribe(slot, "app", "new");
         s.log.subscribe(slot, "app", "known");
         s.log.subscribe(slot, "app", "watched");
         s.log.subscribe(slot, "app", "watched");
     },
     nothing},
    {"subscribe in a full directory", [](Scene& s) { s.fillDirectory(); },
     [](Scene& s) {
         const auto slot = s.log.claimSlot();
         s.log.subscribe(slot, "app", "refused");
         s.log.subscribe(slot, "app", "new", {}, LaterMs);
     },
     [](Scene& s) { assert_false(s.log.find("app", "refused").has_value()); }},
    {"append in a full directory to another app's channel", [](Scene& s) { s.fillDirectory(); },
     [](Scene& s) { s.append("new", Victim, {}, 100, "other"); }, nothing},
    {"append to a new channel of an app that has its share",
     [](Scene& s) { s.limitChannels(s.log.stats().channels); }, [](Scene& s) { appendVictim(s, "new"); },
     [](Scene& s) { assert_true(s.log.stats().channels <= 3); }},
    {"a channel that is never published to comes and goes", nothing,
     [](Scene& s) {
         const auto slot = s.log.claimSlot();
         const ChannelRef ref = s.log.subscribe(slot, "app", "silent")->channel;
         s.log.tellOccupied(ref);
         s.log.unsubscribe(slot, ref);
         s.log.tellVacated(ref);
         s.log.subscribe(slot, "app", "silent");
         s.log.releaseSlot(slot);
     },
     [](Scene& s) {
         const auto silent =
             s.log.find("app", "silent"); // only with a mark that nobody is there to take away
         if (silent) {
             assert_true(s.log.tellVacated(silent->channel));
         }
         assert_false(s.log.find("app", "silent").has_value());
     }},
    {"an idle channel gets a history",
     [](Scene& s) {
         s.appendTransient("idle", 7);
         s.append("behind", 7);
     },
     [](Scene& s) {
         s.appendTransient("idle", 8);
         appendVictim(s, "idle");
     },
     nothing},
    {"apps are declared, and one takes the row of one that is gone",
     [](Scene& s) {
         std::vector<AppQuotas> many(SharedLog::maxApps(LogBytes) - 1);
         for (std::size_t i = 0; i < many.size(); ++i) {
             many[i].app = "gone" + std::to_string(i);
         }
         assert_true(s.log.declareApps(many));
         s.append("kept", 7, {}, 100, "gone5");
     },
     [](Scene& s) {
         s.limitChannels(1);
         s.append("new", Victim, {}, 100, "yet another");
     },
     [](Scene& s) {
         assert_true(s.log.find("gone5", "kept").has_value());
         s.limitChannels(100);
         s.append("new", 7, {}, 100, "other");
         assert_true(s.log.find("other", "new").has_value());
     }},
    {"unsubscribe", nothing,
     [](Scene& s) {
         const auto slot = s.log.claimSlot();
         for (const auto* channel : {"watched", "known"}) {
             s.log.subscribe(slot, "app", channel);
             s.log.subscribe(slot, "app", channel);
             const ChannelRef ref = s.log.find("app", channel)->channel;
             s.log.unsubscribe(slot, ref);
             s.log.unsubscribe(slot, ref);
         }
     },
     nothing},
    {"move a subscriber and a member", nothing,
     [](Scene& s) {
         const auto giver = s.log.claimSlot();
         const auto taker = s.log.claimSlot();
         const ChannelRef ref = s.log.subscribe(giver, "app", "watched")->channel;
         NewRecord announcement;
         announcement.app = "app";
         announcement.channel = "watched";
         const std::string data = makePayload(7, 100);
         announcement.data = data;
         s.log.joinMember(giver, ref, "user", "{}", 10, announcement, s.wakes);
         const SlotOwner owner = s.log.owner(giver);
         s.log.moveSubscriber(owner, taker, "app", "watched");
         s.log.moveMember(owner, taker, ref, "user");
         s.log.countTaken(owner);
     },
     [](Scene& s) { assert_int_equal(s.log.find("app", "watched")->members, 0); }},
    {"members come and go faster than they are announced", nothing, flap,
     [](Scene& s) {
         announceAll(s.log, s.wakes);
         assert_int_equal(s.log.find("app", "watched")->members, 0);
         const auto entry = s.log.find("app", "watched")->channel.index;
         assert_int_equal(sharedlog::Memory(s.mapping.as<std::byte>()).entry(entry).firstMember, 0);
     }},
    {"release a slot", nothing,
     [](Scene& s) {
         const auto slot = s.log.claimSlot();
         s.log.subscribe(slot, "app", "watched");
         s.log.subscribe(slot, "app", "new");
         s.log.slotCounters(slot)[3] = 1;
         s.log.releaseSlot(slot);
     },
     [](Scene& s) { assert_true(s.log.retiredCounters()[3] <= 1); }},
    {"reclaim a dead worker's slot",
     [](Scene& s) {
         waitFor(forkChild([&s] {
             const auto slot = s.log.claimSlot();
             s.log.subscribe(slot, "app", "watched");
             s.log.subscribe(slot, "app", "known");
             return 0;
         }));
     },
     [](Scene& s) { s.log.reclaimDeadSlots(); }, nothing},
    {"another node comes, counts and goes", nothing,
     [](Scene& s) {
         bool fresh = false;
         const auto slot = s.log.claimPeer("bee", fresh);
         const std::string data = makePayload(7, 100);
         NewRecord announcement = makeRecord("watched", data);
         for (const auto* channel : {"watched", "new"}) {
             const ChannelRef ref = s.log.setPeerSubscribers(slot, "app", channel, 3)->channel;
             announcement.channel = channel;
             s.log.setPeerMember(slot, ref, "user", "{}", true, announcement, s.wakes);
             s.log.setPeerMember(slot, ref, "other", "{}", true, announcement, s.wakes);
             s.log.setPeerMember(slot, ref, "user", "{}", false, announcement, s.wakes);
             s.log.setPeerSubscribers(slot, "app", channel, 1);
         }
         s.log.setPeerSubscribers(slot, "app", "new", 0);
         s.log.releasePeer("bee", nullptr, s.wakes);
     },
     [](Scene& s) {
         s.log.releasePeer("bee", nullptr, s.wakes); // its name is whole or not there
         assert_true(s.log.peers().empty());
         assert_int_equal(s.log.find("app", "watched")->members, 0);
     }},
    {"sleep and wake", [](Scene& s) { s.append("watched", 1); },
     [](Scene& s) {
         LogPosition cursor = s.log.awake(s.bystander);
         cursor = s.log.head();
         s.log.sleep(s.bystander, cursor);
         s.append("watched", Victim);
     },
     nothing},
};

// What must hold after any death.
void checkAfterwards(Scene& scene)
{
    scene.log.reclaimDeadSlots();
    assert_text_equal(LogCheck(scene.log, scene.mapping.as<std::byte>()).run(), "");
    assert_true(scene.count(Victim) <= 1);
    // The dead have no subscribers, the living have theirs.
    assert_int_equal(scene.log.stats().slotsInUse, 1);
    assert_int_equal(scene.log.stats().subscribers, 3);
    assert_int_equal(scene.log.find("app", "watched")->subscribers, 2);
    // Life goes on, and wake-ups that the dead owed are made good.
    const auto before = scene.log.find("app", "known");
    const bool owed = scene.log.stats().recoveries != 0;
    const AppendResult appended = scene.append("known", Survivor);
    assert_true(appended.status == AppendStatus::Appended);
    if (before) {
        assert_int_equal(appended.id.offset, before->lastOffset + 1);
        assert_true(appended.channel == before->channel);
    }
    assert_true(!owed || scene.wakes.has(scene.bystander));
    assert_int_equal(scene.count(Survivor), 1);
    assert_text_equal(LogCheck(scene.log, scene.mapping.as<std::byte>()).run(), "");
}

// Kills a child at each step that `act` takes, one after the other. The last one survives. How many there were.
template <class Act, class Check>
std::uint64_t killAtEachStep(const char* name, Scene& scene, Act act, Check check)
{
    const std::vector<std::byte> before(scene.mapping.span().begin(), scene.mapping.span().end());
    for (std::uint64_t at = 1; at < 5000; ++at) {
        scene.wakes.slots.clear();
        std::memcpy(scene.mapping.as<std::byte>(), before.data(), before.size());
        const int status = waitFor(forkChild([&] {
            stepsToLive = at;
            act(scene);
            stepsToLive = 0;
            return 0;
        }));
        if (status != 0 && status != 128 + SIGKILL) {
            fail_msg("%s: step %d ended with %d", name, static_cast<int>(at), status);
        }
        check(scene);
        if (status == 0) {
            return at - 1;
        }
    }
    fail_msg("%s: never ends", name);
    return 0;
}

} // namespace

TEST(a_death_at_any_step_of_any_change_is_recovered_from)
{
    for (const Scenario& scenario : Scenarios) {
        Scene scene;
        scenario.prepare(scene);
        std::uint32_t recoveries = 0;
        const std::uint64_t steps = killAtEachStep(scenario.name, scene, scenario.act, [&](Scene& s) {
            s.log.reclaimDeadSlots();
            s.log.stats();
            recoveries += s.log.stats().recoveries;
            scenario.check(s);
            checkAfterwards(s);
        });
        print_message("%-45s %3d steps, %3d with the lock\n", scenario.name, static_cast<int>(steps),
                      static_cast<int>(recoveries));
        assert_true(recoveries > 0);
    }
}

TEST(a_death_while_mending_is_recovered_from)
{
    for (const char* deathStep : {"tail moved", "entry alive", "pending", "published", "offset counted",
                                  "marked", "idle half unlinked", "cell filled", "bucket half linked"}) {
        Scene scene;
        scene.fillRing();
        const int first = waitFor(forkChild([&] {
            repairStep = deathStep;
            scene.append("new", Victim, "key", 60'000);
            scene.log.subscribe(scene.log.claimSlot(), "app", "known");
            scene.append("watched", Victim + 2);
            return 0;
        }));
        assert_int_equal(first, 128 + SIGKILL);
        const std::uint64_t steps = killAtEachStep(
            deathStep, scene, [](Scene& s) { s.log.stats(); },
            [](Scene& s) {
                assert_true(s.log.stats().recoveries >= 1);
                checkAfterwards(s);
            });
        assert_true(steps > 10);
    }
}

namespace {

// Publishes, subscribes, joins and so on until it is killed.
[[noreturn]] void misbehave(std::span<std::byte> memory, std::uint64_t seed)
{
    SharedLog log = *SharedLog::attach(memory);
    Random random{seed};
    Wakes wakes;
    struct Stake {
        ChannelRef ref;
        std::string channel, user;
        NewRecord news(std::string_view app, std::string_view data, std::int64_t nowMs) const
        {
            NewRecord record = makeRecord(channel, data, nowMs);
            record.app = app;
            record.flags = record_flag::Transient;
            return record;
        }
    };
    std::vector<Stake> subscribed, joined;
    const std::string news = makePayload(7, 50);
    const std::string app = seed % 2 == 0 ? "app" : "other";
    const AppQuotas quotas[] = {{"app", {}, {}, {}}, {"other", {0, 40}, {0, 20}, {0, 25}}};
    log.declareApps(quotas);
    std::uint32_t slot = log.claimSlot();
    std::int64_t now = 1;
    for (std::uint64_t number = seed << 32U;; ++number) {
        now += static_cast<std::int64_t>(random.below(100));
        const std::string channel = "c" + std::to_string(random.below(1500));
        const std::uint64_t action = random.below(26);
        if (action < 12) {
            const std::string data =
                makePayload(number, random.below(16) == 0 ? random.below(70'000) : random.below(300));
            const std::string key = random.below(4) == 0 ? std::to_string(random.below(1000)) : "";
            NewRecord record = makeRecord(channel, data);
            record.app = app;
            record.flags = random.below(4) == 0 ? record_flag::Transient : 0;
            record.historyMs = random.below(2) == 0 ? HistoryMs : 0;
            record.idempotencyKey = key;
            log.append(record, slot, wakes);
            wakes.slots.clear();
        } else if (action < 16) {
            if (const auto done = log.subscribe(slot, app, channel, {}, random.below(2) * LaterMs)) {
                subscribed.push_back({done->channel, channel, {}});
            }
        } else if (action < 19 && !subscribed.empty()) {
            log.unsubscribe(slot, subscribed.back().ref);
            subscribed.pop_back();
        } else if (action < 22) {
            if (const auto done = log.subscribe(slot, app, channel)) {
                joined.push_back({done->channel, channel, std::to_string(random.below(20))});
                const Stake& one = joined.back();
                const std::string info(random.below(200), 'i');
                log.joinMember(slot, one.ref, one.user, info, 50, one.news(app, news, now), wakes,
                               random.below(4) != 0);
                wakes.slots.clear();
            }
        } else if (action == 22 && !joined.empty()) {
            const Stake& one = joined.back();
            log.leaveMember(slot, one.ref, one.user, one.news(app, news, now), wakes, random.below(4) != 0);
            if (random.below(3) == 0) {
                Crier crier;
                log.announceMembers(one.ref, now, random.below(4) == 0, crier, wakes);
            }
            log.unsubscribe(slot, one.ref);
            wakes.slots.clear();
            joined.pop_back();
        } else if (action == 23 && random.below(10) == 0) {
            log.releaseSlot(slot);
            subscribed.clear();
            joined.clear();
            slot = log.claimSlot();
        } else if (action == 24) {
            if (const auto known = log.find(app, channel)) {
                log.tellOccupied(known->channel);
            }
        } else if (action == 25) {
            if (const auto known = log.find(app, channel)) {
                log.tellVacated(known->channel);
            }
        }
    }
}

std::uint64_t allMembers(const SharedLog& log)
{
    struct Sum final : SharedLog::ChannelVisitor {
        std::uint64_t members = 0;
        bool visit(const SharedLog::ChannelRow& row) override
        {
            members += row.info.members;
            return true;
        }
    };
    Sum sum;
    log.forEachChannel(sum);
    return sum.members;
}

} // namespace

TEST(deaths_at_random_instants_are_recovered_from)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    constexpr std::uint64_t Rounds = 30; // a fork copies the page tables of the shadow memory too
#else
    constexpr std::uint64_t Rounds = 500;
#endif
    const char* wanted = std::getenv("REALTIME_TEST_KILLS");
    const std::uint64_t rounds = wanted == nullptr ? Rounds : std::strtoull(wanted, nullptr, 10);
    SharedMapping mapping(LogBytes);
    SharedLog log = SharedLog::create(mapping.span(), {4});
    const std::uint32_t slot = log.claimSlot();
    const ChannelRef mine = log.subscribe(slot, "app", "mine")->channel;
    Random random{static_cast<std::uint64_t>(getpid())};
    print_message("seed %d\n", getpid());
    Wakes wakes;
    log.joinMember(slot, mine, "me", "{}", 10, makeRecord("mine", makePayload(0, 50)), wakes);
    std::uint64_t offset = 1; // that one has been told
    for (std::uint64_t round = 1; round <= rounds; ++round) {
        const pid_t one = forkChild([&] {
            misbehave(mapping.span(), 2 * round);
            return 0;
        });
        const pid_t two = forkChild([&] {
            misbehave(mapping.span(), 2 * round + 1);
            return 0;
        });
        usleep(static_cast<useconds_t>(random.below(4000)));
        killAndWait(one);
        usleep(static_cast<useconds_t>(random.below(500)));
        killAndWait(two);

        const AppendResult appended = log.append(makeRecord("mine", makePayload(round, 50)), slot, wakes);
        assert_true(appended.status == AppendStatus::Appended);
        assert_int_equal(appended.id.offset, ++offset);
        assert_int_equal(appended.subscribers, 1);
        log.reclaimDeadSlots();
        announceAll(log, wakes);
        assert_text_equal(LogCheck(log, mapping.as<std::byte>()).run(), "");
        const LogStats stats = log.stats();
        assert_int_equal(stats.slotsInUse, 1);
        assert_int_equal(stats.subscribers, 1);
        assert_int_equal(stats.subscribedChannels, 1);
        assert_int_equal(allMembers(log), 1);
    }
    print_message("%d recoveries in %d rounds, %llu records\n", static_cast<int>(log.stats().recoveries),
                  static_cast<int>(rounds), static_cast<unsigned long long>(log.stats().appendedRecords));
}

TEST_MAIN()
