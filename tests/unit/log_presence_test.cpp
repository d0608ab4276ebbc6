// Who is present, in several workers, and what is left of the dead.
#include "log_testing.hpp"

#include <algorithm>
#include <map>

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

constexpr std::int64_t Pause = SharedLog::AnnouncePauseMs;

NewRecord announcement(std::string_view event, std::string_view user = {}, std::string_view info = {},
                       std::int64_t nowMs = 0)
{
    NewRecord record;
    record.app = "app";
    record.channel = "room";
    record.event = event;
    record.userId = user;
    record.data = info;
    record.timeMs = nowMs;
    record.flags = record_flag::Internal;
    return record;
}

struct Announcements final : Announcer {
    std::int64_t now = 0;
    std::string text; // what the record's views are of

    void memberAdded(std::string_view, std::string_view, std::string_view user, std::string_view info,
                     NewRecord& record) override
    {
        text = std::string(user) + std::string(info);
        record = announcement("added", std::string_view(text).substr(0, user.size()),
                              std::string_view(text).substr(user.size()), now);
    }
    void memberRemoved(std::string_view, std::string_view, std::string_view user, NewRecord& record) override
    {
        text = user;
        record = announcement("removed", text, {}, now);
    }
};

struct Told final : Reaper {
    std::vector<std::string> members, channels;
    std::string removal;

    bool onMemberGone(std::string_view, std::string_view, std::string_view, NewRecord& record) override
    {
        record = announcement("removed");
        return true;
    }
    void memberGone(std::string_view, std::string_view channel, std::string_view userId) override
    {
        members.push_back(std::string(channel) + "/" + std::string(userId));
    }
    void channelVacated(std::string_view, std::string_view channel) override
    {
        channels.emplace_back(channel);
    }
};

struct Room {
    explicit Room(std::size_t bytes = 4 << 20) : mapping(bytes), log(SharedLog::create(mapping.span(), {8}))
    {
    }

    MemberJoined join(std::uint32_t slot, std::string_view user, std::string_view info = "{}",
                      std::uint32_t limit = 100)
    {
        ref = log.subscribe(slot, "app", "room")->channel;
        return log.joinMember(slot, ref, user, info, limit, announcement("added", user, info, now), wakes,
                              atOnce);
    }
    MemberLeft leaves(std::uint32_t slot, std::string_view user)
    {
        const MemberLeft left =
            log.leaveMember(slot, ref, user, announcement("removed", user, {}, now), wakes, atOnce);
        log.unsubscribe(slot, ref);
        return left;
    }
    // As above, of somebody who has been there for long enough to be told of at once.
    bool leave(std::uint32_t slot, std::string_view user)
    {
        now += Pause;
        return leaves(slot, user).last;
    }
    std::optional<std::int64_t> announce(bool all = false)
    {
        announcer.now = now;
        return log.announceMembers(ref, now, all, announcer, wakes);
    }
    // What was announced since the last time: "+ada=info", "-ada".
    std::string announced()
    {
        std::string all;
        LogRecord record;
        RecordArena arena;
        while (log.next(cursor, Everything{}, arena, record) == ReadStatus::Record) {
            all += all.empty() ? "" : " ";
            all += (record.event == "added" ? "+" : "-") + std::string(record.userId);
            all += record.event == "added" ? "=" + std::string(record.data) : std::string();
        }
        return all;
    }
    std::string present() const
    {
        std::set<std::string> ids;
        for (const Member& member : log.members(ref)) {
            ids.insert(member.userId + "=" + member.info);
        }
        std::string all;
        for (const std::string& id : ids) {
            all += id + " ";
        }
        return all;
    }
    std::uint64_t offset() const { return log.info(ref)->lastOffset; }
    // In the table of members, whoever they are for.
    int rows()
    {
        const sharedlog::Memory memory(mapping.as<std::byte>());
        int count = 0;
        for (std::uint32_t i = memory.entry(ref.index).firstMember; i != 0; i = memory.member(i).next) {
            ++count;
        }
        return count;
    }

    SharedMapping mapping;
    SharedLog log;
    Wakes wakes;
    ChannelRef ref;
    std::int64_t now = 1'000'000;
    bool atOnce = true; // the channel is calm
    Announcements announcer;
    LogPosition cursor = 0;
};

std::string idsOf(const std::vector<Member>& members)
{
    std::set<std::string> ids;
    for (const Member& member : members) {
        ids.insert(member.userId + "=" + member.info);
    }
    std::string all;
    for (const std::string& id : ids) {
        all += (all.empty() ? "" : " ") + id;
    }
    return all;
}

} // namespace

TEST(a_user_is_there_once_however_many_connections_it_has)
{
    Room room;
    const std::uint32_t slot = room.log.claimSlot();
    assert_true(room.join(slot, "ada", "1").first);
    assert_int_equal(room.offset(), 1);
    MemberJoined again = room.join(slot, "ada", "2");
    assert_false(again.first);
    assert_int_equal(room.offset(), 1); // not announced again
    assert_int_equal(again.members.size(), 1);
    assert_text_equal(room.present(), "ada=1 "); // the first connection's info counts
    assert_int_equal(room.log.info(room.ref)->members, 1);
    assert_false(room.leave(slot, "ada"));
    assert_true(room.leave(slot, "ada"));
    assert_int_equal(room.offset(), 2);
    assert_text_equal(room.present(), "");
    assert_false(room.leave(slot, "ada"));
}

TEST(the_snapshot_and_the_announcement_are_one_instant)
{
    Room room;
    const std::uint32_t slot = room.log.claimSlot();
    room.join(slot, "ada");
    MemberJoined bob = room.join(slot, "bob");
    assert_int_equal(bob.lastOffset, 2);
    assert_int_equal(bob.members.size(), 2);
}

TEST(the_limit_counts_users_and_lets_those_who_are_there_in_again)
{
    Room room;
    const std::uint32_t slot = room.log.claimSlot();
    room.join(slot, "ada", "{}", 2);
    room.join(slot, "bob", "{}", 2);
    assert_true(room.join(slot, "eve", "{}", 2).status == MemberStatus::LimitReached);
    assert_true(room.join(slot, "ada", "{}", 2).status == MemberStatus::Ok);
    assert_int_equal(room.offset(), 2);
}

TEST(ids_and_infos_of_every_length_come_back)
{
    Room room;
    const std::uint32_t slot = room.log.claimSlot();
    for (const std::size_t length : {1, 59, 60, 61, 119, 120, 121, 512}) {
        const std::string id(length, 'i');
        const std::string info(length * 3, 'x');
        assert_true(room.join(slot, id, info).first);
        assert_text_equal(room.present(), id + "=" + info + " ");
        assert_true(room.leave(slot, id));
    }
    const std::string tooLong(MaxMemberIdBytes + 1, 'i');
    assert_true(room.join(slot, tooLong).status == MemberStatus::Gone);
}

TEST(room_is_found_again_after_members_have_left)
{
    Room room(SharedLog::MinimumBytes);
    const std::uint32_t slot = room.log.claimSlot();
    for (int round = 0; round < 3; ++round) {
        int joined = 0;
        while (room.join(slot, "user" + std::to_string(joined), std::string(300, 'x'), ~0U).status ==
               MemberStatus::Ok) {
            joined++;
        }
        assert_true(joined > 20);
        for (int i = 0; i < joined; ++i) {
            assert_true(room.leave(slot, "user" + std::to_string(i)));
        }
        assert_text_equal(room.present(), "");
    }
}

TEST(a_dead_workers_members_leave_and_those_with_another_connection_stay)
{
    Room room;
    const std::uint32_t slot = room.log.claimSlot();
    room.join(slot, "ada");
    waitFor(forkChild([&] {
        const std::uint32_t own = room.log.claimSlot();
        room.join(own, "ada");
        room.join(own, "bob");
        room.log.subscribe(own, "app", "elsewhere");
        return 0;
    }));
    assert_text_equal(room.present(), "ada={} bob={} ");
    Told told;
    const std::uint64_t before = room.offset();
    assert_int_equal(room.log.reclaimDeadSlots(&told, &room.wakes), 1);
    assert_text_equal(room.present(), "ada={} ");
    assert_int_equal(room.offset(), before + 1); // bob's removal
    assert_int_equal(told.members.size(), 1);
    assert_text_equal(told.members[0], "room/bob");
    assert_int_equal(told.channels.size(), 1);
    assert_text_equal(told.channels[0], "elsewhere");
    assert_int_equal(room.log.info(room.ref)->subscribers, 1);
}

TEST(each_arrival_and_departure_is_told_by_one_worker_only)
{
    Room room;
    const std::uint32_t slot = room.log.claimSlot();
    room.join(slot, "ada");
    assert_true(room.log.tellOccupied(room.ref));
    assert_false(room.log.tellOccupied(room.ref));
    assert_true(room.log.tellMemberAdded(room.ref, "ada"));
    assert_false(room.log.tellMemberAdded(room.ref, "ada"));
    assert_false(room.log.tellMemberRemoved(room.ref, "ada")); // still there
    assert_false(room.log.tellVacated(room.ref));
    room.leave(slot, "ada");
    assert_text_equal(room.present(), "");
    room.join(slot, "ada"); // back before anybody was told: nothing is
    assert_false(room.log.tellMemberAdded(room.ref, "ada"));
    assert_false(room.log.tellMemberRemoved(room.ref, "ada"));
    room.leave(slot, "ada");
    assert_true(room.log.tellMemberRemoved(room.ref, "ada"));
    assert_false(room.log.tellMemberRemoved(room.ref, "ada"));
    assert_true(room.log.tellVacated(room.ref));
    assert_false(room.log.tellVacated(room.ref));
}

TEST(departures_that_a_dead_worker_was_to_tell_are_told_by_another)
{
    Room room;
    waitFor(forkChild([&] {
        const std::uint32_t own = room.log.claimSlot();
        room.join(own, "ada");
        room.log.tellOccupied(room.ref);
        room.log.tellMemberAdded(room.ref, "ada");
        room.leave(own, "ada"); // and dies within the grace
        return 0;
    }));
    room.log.claimSlot(); // frees the dead worker's slot without telling
    Told told;
    waitFor(forkChild([&] {
        room.log.claimSlot();
        return 0;
    }));
    room.log.reclaimDeadSlots(&told, &room.wakes);
    assert_int_equal(told.members.size(), 1);
    assert_int_equal(told.channels.size(), 1);
}

TEST(deaths_while_members_come_and_go_leave_no_ghosts)
{
    Room room;
    const std::uint32_t slot = room.log.claimSlot();
    room.join(slot, "stays");
    Random random{static_cast<std::uint64_t>(getpid())};
    for (int round = 0; round < 60; ++round) {
        const pid_t child = forkChild([&] {
            const std::uint32_t own = room.log.claimSlot();
            Random mine{static_cast<std::uint64_t>(getpid())};
            for (;;) {
                const std::string user = "u" + std::to_string(mine.below(5));
                if (mine.below(2) == 0) {
                    room.join(own, user, std::string(mine.below(200), 'x'));
                } else if (mine.below(2) == 0) {
                    room.leave(own, user);
                } else {
                    room.leaves(own, user);
                    room.announce(mine.below(2) == 0);
                }
            }
            return 0;
        });
        usleep(static_cast<useconds_t>(random.below(3000)));
        killAndWait(child);
        Told told;
        room.log.stats(); // takes the lock, mends
        room.log.reclaimDeadSlots(&told, &room.wakes);
        for (const ChannelRef& channel : room.log.waitingAnnouncements()) {
            assert_true(channel == room.ref);
            assert_false(room.announce(true).has_value());
        }
        assert_true(room.log.waitingAnnouncements().empty());
        assert_int_equal(room.rows(), 1);
        assert_text_equal(room.present(), "stays={} ");
        assert_int_equal(room.log.info(room.ref)->members, 1);
    }
}

TEST(a_member_that_flaps_is_announced_twice_in_a_second_at_most)
{
    Room room;
    const std::uint32_t slot = room.log.claimSlot();
    room.join(slot, "watcher");
    assert_text_equal(room.announced(), "+watcher={}");
    const std::int64_t start = room.now;
    std::string all;
    for (; room.now < start + 10 * Pause; room.now += 1) {
        room.join(slot, "flap");
        room.leaves(slot, "flap");
        room.announce();
        all += room.announced();
    }
    const auto count = static_cast<long>(std::count(all.begin(), all.end(), '+'));
    assert_true(count >= 9 && count <= 11);
    assert_true(std::count(all.begin(), all.end(), '-') <= count);
}

TEST(who_comes_back_before_its_departure_was_told_was_never_away)
{
    Room room;
    const std::uint32_t slot = room.log.claimSlot();
    assert_true(room.join(slot, "ada", "1").telling == Telling::Now);
    room.announced();
    room.now += Pause / 2;
    const MemberLeft left = room.leaves(slot, "ada");
    assert_true(left.last && left.telling == Telling::Later);
    assert_text_equal(room.present(), "");                                    // that is how it stands
    assert_text_equal(idsOf(room.join(slot, "bob").members), "ada=1 bob={}"); // and that is what others know
    const MemberJoined back = room.join(slot, "ada", "1");
    assert_true(back.first && back.telling == Telling::Nothing);
    room.now += Pause;
    assert_false(room.announce().has_value());
    assert_text_equal(room.announced(), "+bob={}");
    assert_true(room.leaves(slot, "ada").telling == Telling::Now);
    assert_text_equal(room.announced(), "-ada");
}

TEST(a_departure_that_waits_is_told_when_it_is_due)
{
    Room room;
    const std::uint32_t slot = room.log.claimSlot();
    room.join(slot, "ada");
    room.now += 300;
    room.leaves(slot, "ada");
    room.announced();
    assert_int_equal(room.announce().value(), Pause - 300);
    assert_text_equal(room.announced(), "");
    assert_int_equal(room.log.waitingAnnouncements().size(), 1);
    room.now += Pause - 300;
    assert_false(room.announce().has_value());
    assert_text_equal(room.announced(), "-ada");
    assert_true(room.log.waitingAnnouncements().empty());
    // Nothing is left of it.
    assert_int_equal(room.rows(), 0);
}

TEST(who_comes_back_as_another_is_announced_anew_when_that_is_due)
{
    Room room;
    const std::uint32_t slot = room.log.claimSlot();
    room.join(slot, "ada", "old");
    room.announced();
    room.leaves(slot, "ada");
    assert_true(room.join(slot, "ada", "new").telling == Telling::Later);
    assert_text_equal(idsOf(room.join(slot, "bob", "b").members),
                      "ada=new bob=b"); // the newest is what joiners see
    assert_int_equal(room.announce().value(), Pause);
    room.leaves(slot, "ada");
    assert_true(room.join(slot, "ada", std::string(500, 'n')).telling == Telling::Later);
    room.announced();
    room.now += Pause;
    room.announce();
    assert_text_equal(room.announced(), "-ada +ada=" + std::string(500, 'n'));
    room.now += Pause;
    assert_false(room.announce().has_value());
    assert_text_equal(room.announced(), "");
}

TEST(who_comes_and_goes_while_the_channel_has_enough_leaves_no_trace)
{
    Room room;
    const std::uint32_t slot = room.log.claimSlot();
    room.join(slot, "watcher");
    room.announced();
    room.atOnce = false;
    for (int i = 0; i < 400; ++i) {
        const std::string user = "u" + std::to_string(i);
        const MemberJoined joined = room.join(slot, user, "{}", 1000);
        assert_true(joined.telling == Telling::Later);
        assert_text_equal(idsOf(joined.members), user + "={} watcher={}"); // itself, and who was announced
        if (i % 2 == 0) {
            assert_true(room.leaves(slot, user).telling == Telling::Nothing);
        }
    }
    assert_text_equal(room.announced(), "");
    assert_false(room.announce().has_value()); // more than go under one lock
    const std::string all = room.announced();
    assert_int_equal(std::count(all.begin(), all.end(), '+'), 200);
    assert_int_equal(std::count(all.begin(), all.end(), '-'), 0);
}

TEST(a_clock_that_was_set_holds_nothing_back)
{
    for (const std::int64_t jump :
         {std::int64_t{-3'600'000}, std::int64_t{-1}, std::int64_t{315'360'000'000}}) {
        Room room;
        const std::uint32_t slot = room.log.claimSlot();
        room.join(slot, "ada");
        room.now += jump;
        room.leaves(slot, "ada");
        room.announce();
        room.announced();
        assert_true(room.log.waitingAnnouncements().empty());
    }
}

TEST(departures_that_a_dead_worker_was_to_announce_are_announced_by_another)
{
    Room room;
    const std::uint32_t slot = room.log.claimSlot();
    room.join(slot, "ada");
    waitFor(forkChild([&] {
        const std::uint32_t own = room.log.claimSlot();
        room.join(own, "bob");
        room.join(own, "stays until the end");
        room.leaves(own, "bob"); // and dies before it is told
        return 0;
    }));
    room.log.claimSlot(); // frees its slot without a word
    room.announced();
    assert_int_equal(room.log.waitingAnnouncements().size(), 1);
    room.now += Pause;
    assert_false(room.announce().has_value());
    const std::string all = room.announced();
    assert_true(all == "-bob -stays until the end" || all == "-stays until the end -bob");
    assert_text_equal(room.present(), "ada={} ");
}

// What each of several subscribers can know: its snapshot, and then what is announced. However members come and go, it is
// consistent at every step and true when all has been told.
TEST(what_subscribers_are_told_adds_up)
{
    struct View {
        std::string self;   // of which it is not told
        std::uint64_t from; // offset of its snapshot
        std::map<std::string, std::string> members;
    };
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        Room room;
        Random random{seed};
        const std::uint32_t slots[] = {room.log.claimSlot(), room.log.claimSlot(), room.log.claimSlot()};
        std::vector<View> views;
        std::multimap<std::string, std::uint32_t> connections; // user -> slot
        LogPosition cursor = 0;
        const auto take = [&] {
            LogRecord record;
            RecordArena arena;
            while (room.log.next(cursor, Everything{}, arena, record) == ReadStatus::Record) {
                const std::string user(record.userId);
                for (View& view : views) {
                    if (record.id.offset <= view.from || user == view.self) {
                        continue;
                    }
                    const bool known = view.members.contains(user);
                    assert_true(known == (record.event == "removed")); // neither twice nor from nowhere
                    if (known) {
                        view.members.erase(user);
                    } else {
                        view.members[user] = record.data;
                    }
                }
            }
        };
        const auto watch = [&] {
            View view{"watcher" + std::to_string(views.size()), 0, {}};
            const MemberJoined joined = room.join(slots[random.below(3)], view.self);
            take(); // the others hear of it
            view.from = joined.lastOffset;
            for (const Member& member : joined.members) {
                assert_true(view.members.emplace(member.userId, member.info).second);
            }
            assert_true(view.members.contains(view.self));
            views.push_back(std::move(view));
        };
        watch();
        for (int step = 0; step < 2000; ++step) {
            room.now += static_cast<std::int64_t>(random.below(200));
            room.atOnce = random.below(4) != 0;
            const std::string user = "u" + std::to_string(random.below(6));
            const std::uint64_t action = random.below(10);
            if (action < 4) {
                const std::uint32_t slot = slots[random.below(3)];
                room.join(slot, user, std::string(1, static_cast<char>('a' + random.below(3))));
                connections.emplace(user, slot);
            } else if (action < 8) {
                if (const auto found = connections.find(user); found != connections.end()) {
                    room.leaves(found->second, user);
                    connections.erase(found);
                }
            } else if (action < 9) {
                room.announce(random.below(8) == 0);
            } else if (views.size() < 30 && random.below(4) == 0) {
                watch();
            }
            take();
        }
        room.now += Pause;
        assert_false(room.announce().has_value());
        take();
        std::map<std::string, std::string> truth;
        for (const Member& member : room.log.members(room.ref)) {
            truth[member.userId] = member.info;
        }
        for (const View& view : views) {
            assert_true(view.members == truth);
        }
        std::set<std::string> users;
        for (const auto& [user, slot] : connections) {
            users.insert(user);
        }
        assert_int_equal(users.size() + views.size(), truth.size());
        assert_true(room.log.waitingAnnouncements().empty());
    }
}

TEST(a_kept_record_is_found_until_the_next_one)
{
    Room room;
    NewRecord record = announcement("price");
    record.flags = record_flag::Kept;
    const AppendResult first = room.log.append(record, SharedLog::NoSlot, room.wakes);
    room.log.append(announcement("other"), SharedLog::NoSlot, room.wakes);
    assert_int_equal(room.log.info(first.channel)->keptPosition, first.position);
    const AppendResult second = room.log.append(record, SharedLog::NoSlot, room.wakes);
    assert_int_equal(room.log.info(first.channel)->keptPosition, second.position);
}

TEST(a_connection_moves_to_another_worker_without_a_trace)
{
    Room room;
    const std::uint32_t old = room.log.claimSlot();
    const std::uint32_t young = room.log.claimSlot();
    room.join(old, "alice", "a");
    room.join(old, "alice", "a");
    const std::uint64_t offset = room.offset();
    const SlotOwner owner = room.log.owner(old);
    for (int i = 0; i < 2; ++i) {
        assert_true(room.log.moveMember(owner, young, room.ref, "alice"));
        assert_true(room.log.moveSubscriber(owner, young, "app", "room").has_value());
        assert_int_equal(room.log.info(room.ref)->members, 1);
        assert_int_equal(room.log.info(room.ref)->subscribers, 2);
    }
    assert_false(room.log.moveMember(owner, young, room.ref, "alice"));
    assert_false(room.log.moveSubscriber(owner, young, "app", "room").has_value());
    room.log.releaseSlot(old);
    assert_text_equal(room.present(), "alice=a ");
    assert_int_equal(room.offset(), offset); // nothing was announced
    assert_false(room.leave(young, "alice"));
    assert_true(room.leave(young, "alice"));
    assert_int_equal(room.log.info(room.ref)->subscribers, 0);
}

TEST(a_slot_that_has_changed_hands_gives_nothing)
{
    Room room;
    const std::uint32_t old = room.log.claimSlot();
    const std::uint32_t young = room.log.claimSlot();
    room.join(old, "alice");
    SlotOwner other = room.log.owner(old);
    other.startTime++;
    assert_false(room.log.moveMember(other, young, room.ref, "alice"));
    assert_false(room.log.moveSubscriber(other, young, "app", "room").has_value());
    room.log.countTaken(other);
    assert_int_equal(room.log.taken(old), 0);
    room.log.countTaken(room.log.owner(old));
    assert_int_equal(room.log.taken(old), 1);
}

TEST(a_successor_is_a_worker_of_a_later_generation_that_knows_the_words)
{
    Room room;
    const std::uint32_t slot = room.log.claimSlot();
    const std::uint64_t first = room.log.nextGeneration();
    assert_false(room.log.hasSuccessor(first, 1));
    const std::uint64_t second = room.log.nextGeneration();
    assert_int_equal(room.log.generation(), second);
    room.log.offerTakeover(slot, second, 1);
    assert_true(room.log.hasSuccessor(first, 1));
    assert_false(room.log.hasSuccessor(first, 2));
    assert_false(room.log.hasSuccessor(second, 1));
    room.log.releaseSlot(slot);
    assert_false(room.log.hasSuccessor(first, 1));
}

TEST_MAIN()
