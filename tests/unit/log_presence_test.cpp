// Who is present, in several workers, and what is left of the dead.
#include "log_testing.hpp"

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

NewRecord announcement(std::string_view event)
{
    NewRecord record;
    record.app = "app";
    record.channel = "room";
    record.event = event;
    record.flags = record_flag::Internal;
    return record;
}

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
        return log.joinMember(slot, ref, user, info, limit, announcement("added"), wakes);
    }
    bool leave(std::uint32_t slot, std::string_view user)
    {
        const bool last = log.leaveMember(slot, ref, user, announcement("removed"), wakes);
        log.unsubscribe(slot, ref);
        return last;
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

    SharedMapping mapping;
    SharedLog log;
    Wakes wakes;
    ChannelRef ref;
};

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
                } else {
                    room.leave(own, user);
                }
            }
            return 0;
        });
        usleep(static_cast<useconds_t>(random.below(3000)));
        killAndWait(child);
        Told told;
        room.log.stats(); // takes the lock, mends
        room.log.reclaimDeadSlots(&told, &room.wakes);
        assert_text_equal(room.present(), "stays={} ");
        assert_int_equal(room.log.info(room.ref)->members, 1);
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
