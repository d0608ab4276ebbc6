// Other nodes in the log: what they have is counted as a worker's is, and goes with them.
#include "log_testing.hpp"

#include <algorithm>

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

constexpr std::uint32_t Slots = 6;

struct Told final : Reaper {
    std::vector<std::string> members, channels;
    std::string channel;

    bool onMemberGone(std::string_view, std::string_view of, std::string_view, NewRecord& record) override
    {
        channel = of;
        record = makeRecord(channel, "");
        record.event = "removed";
        return true;
    }
    void memberGone(std::string_view, std::string_view of, std::string_view userId) override
    {
        members.push_back(std::string(of) + "/" + std::string(userId));
    }
    void channelVacated(std::string_view, std::string_view of) override { channels.emplace_back(of); }
};

// This node with one worker, and others of which it hears.
struct Node {
    Node() : mapping(4 << 20), log(SharedLog::create(mapping.span(), {Slots})), worker(log.claimSlot()) {}

    std::uint32_t claim(std::string_view name)
    {
        bool fresh = false;
        return log.claimPeer(name, fresh);
    }
    bool claimsFresh(std::string_view name)
    {
        bool fresh = false;
        log.claimPeer(name, fresh);
        return fresh;
    }
    ChannelRef subscribe(const char* channel = "room")
    {
        return log.subscribe(worker, "app", channel)->channel;
    }
    SharedLog::PeerChange count(std::uint32_t peer, std::uint32_t subscribers, const char* channel = "room")
    {
        return log.setPeerSubscribers(peer, "app", channel, subscribers).value();
    }
    bool set(std::uint32_t peer, ChannelRef channel, std::string_view user, bool present,
             std::string_view info = "{}")
    {
        NewRecord record = makeRecord("room", "");
        record.event = present ? "added" : "removed";
        record.timeMs = now += SharedLog::AnnouncePauseMs; // nobody comes and goes too fast to be told of
        return log.setPeerMember(peer, channel, user, info, present, record, wakes).changed;
    }
    bool join(ChannelRef channel, std::string_view user)
    {
        now += SharedLog::AnnouncePauseMs;
        return log.joinMember(worker, channel, user, "{}", 100, makeRecord("room", "", now), wakes).first;
    }
    bool leave(ChannelRef channel, std::string_view user)
    {
        now += SharedLog::AnnouncePauseMs;
        return log.leaveMember(worker, channel, user, makeRecord("room", "", now), wakes).last;
    }
    std::uint32_t subscribers(ChannelRef channel) const { return log.info(channel)->subscribers; }
    std::uint64_t events(ChannelRef channel) const { return log.info(channel)->lastOffset; }
    // The names of events of one channel, the oldest first.
    std::string announced() const
    {
        LogPosition cursor = log.tail();
        LogRecord record;
        RecordArena arena;
        std::string all;
        while (log.next(cursor, Everything{}, arena, record) == ReadStatus::Record) {
            all.append(record.event).append(1, ' ');
        }
        return all;
    }

    SharedMapping mapping;
    SharedLog log;
    Wakes wakes;
    std::uint32_t worker;
    std::int64_t now = 0;
};

std::string names(std::vector<Member> members)
{
    std::sort(members.begin(), members.end(),
              [](const Member& a, const Member& b) { return a.userId < b.userId; });
    std::string all;
    for (const Member& member : members) {
        all += member.userId + "=" + member.info + " ";
    }
    return all;
}

} // namespace

// --- slots

TEST(a_node_has_one_slot_under_its_name)
{
    Node node;
    bool fresh = false;
    const std::uint32_t bee = node.log.claimPeer("bee", fresh);
    assert_true(fresh);
    assert_true(bee != SharedLog::NoSlot && bee != node.worker);
    assert_int_equal(node.log.claimPeer("bee", fresh), bee);
    assert_false(fresh);
    const std::uint32_t ant = node.log.claimPeer("ant", fresh);
    assert_true(fresh);
    assert_true(ant != bee);
    assert_int_equal(node.log.findPeer("ant"), ant);
    assert_int_equal(node.log.findPeer("an"), SharedLog::NoSlot);
    assert_int_equal(node.log.findPeer(""), SharedLog::NoSlot);
    assert_int_equal(node.log.peers().size(), 2);
}

TEST(names_are_bounded)
{
    Node node;
    assert_int_equal(node.claim(""), SharedLog::NoSlot);
    const std::string longest(MaxPeerBytes, 'n');
    const std::uint32_t slot = node.claim(longest);
    assert_true(slot != SharedLog::NoSlot);
    assert_int_equal(node.log.findPeer(longest), slot);
    assert_text_equal(node.log.peers().at(0), longest);
    assert_int_equal(node.claim(longest + 'n'), SharedLog::NoSlot);
}

TEST(a_node_is_no_worker)
{
    Node node;
    const std::uint32_t bee = node.claim("bee");
    assert_false(node.log.slotInUse(bee));
    assert_int_equal(node.log.slotPid(bee), 0);
    assert_int_equal(node.log.firstSlotInUse(), node.worker);
    assert_int_equal(node.log.stats().slotsInUse, 1);
    node.log.releaseSlot(node.worker);
    assert_int_equal(node.log.firstSlotInUse(), SharedLog::NoSlot);
    node.log.reclaimDeadSlots(); // it is not a dead process either
    assert_int_equal(node.log.findPeer("bee"), bee);
}

TEST(nodes_and_workers_share_the_slots)
{
    Node node;
    for (std::uint32_t i = 1; i < Slots; ++i) {
        assert_true(node.claim("node" + std::to_string(i)) != SharedLog::NoSlot);
    }
    assert_int_equal(node.claim("one too many"), SharedLog::NoSlot);
    assert_int_equal(node.log.claimSlot(), SharedLog::NoSlot);
    assert_true(node.claim("node1") != SharedLog::NoSlot); // who is there stays
    node.log.releasePeer("node1", nullptr, node.wakes);
    assert_true(node.claimsFresh("one too many"));
    node.log.releasePeer("node2", nullptr, node.wakes);
    assert_true(node.log.claimSlot() != SharedLog::NoSlot);
}

// --- silence

TEST(a_node_is_silent_when_nothing_was_heard_for_so_many_beats)
{
    Node node;
    const std::uint32_t bee = node.claim("bee");
    node.claim("ant");
    assert_true(node.log.countBeat(3).empty());
    assert_true(node.log.countBeat(3).empty());
    node.log.hearPeer(bee);
    assert_true(node.log.countBeat(3) == std::vector<std::string>{"ant"});
    node.log.releasePeer("ant", nullptr, node.wakes);
    assert_true(node.log.countBeat(3).empty());
    assert_true(node.log.countBeat(3) == std::vector<std::string>{"bee"});
    assert_true(node.log.countBeat(3) == std::vector<std::string>{"bee"}); // until it is let go
}

TEST(a_node_that_comes_back_begins_anew)
{
    Node node;
    const std::uint32_t bee = node.claim("bee");
    node.log.countBeat(2);
    node.count(bee, 3);
    node.log.releasePeer("bee", nullptr, node.wakes);
    assert_true(node.claimsFresh("bee"));
    assert_true(node.log.countBeat(2).empty());
    assert_true(node.log.peerRows(node.log.findPeer("bee")).empty());
}

// --- counts

TEST(subscribers_of_all_nodes_are_one_sum)
{
    Node node;
    const ChannelRef room = node.subscribe();
    const std::uint32_t bee = node.claim("bee"), ant = node.claim("ant");
    const auto change = node.count(bee, 3);
    assert_true(change.channel == room);
    assert_int_equal(change.before, 1);
    assert_int_equal(change.after, 4);
    assert_int_equal(node.count(ant, 2).after, 6);
    assert_int_equal(node.count(bee, 1).after, 4);
    assert_int_equal(node.count(bee, 1).before, 4); // the same again
    assert_int_equal(node.subscribers(room), 4);
    assert_int_equal(node.log.localSubscribers(room), 1);
    assert_int_equal(node.log.unsubscribe(node.worker, room), 3);
    assert_int_equal(node.count(bee, 0).after, 2);
    assert_int_equal(node.count(ant, 0).after, 0);
    assert_text_equal(LogCheck(node.log, node.mapping.as<std::byte>()).run(), "");
}

TEST(what_a_publisher_is_told_counts_all_nodes)
{
    Node node;
    node.count(node.claim("bee"), 5);
    const AppendResult result = node.log.append(makeRecord("room", "hello"), node.worker, node.wakes);
    assert_int_equal(result.subscribers, 5);
    assert_true(node.wakes.slots.empty()); // nobody of this node is to be woken for it
}

TEST(a_channel_that_nobody_has_is_not_made_for_nothing)
{
    Node node;
    const auto change = node.count(node.claim("bee"), 0, "nowhere");
    assert_int_equal(change.channel.epoch, 0);
    assert_int_equal(change.after, 0);
    assert_false(node.log.find("app", "nowhere").has_value());
    const std::string tooLong(MaxChannelBytes + 1, 'c');
    assert_false(node.log.setPeerSubscribers(node.claim("bee"), "app", tooLong, 1).has_value());
    assert_false(node.log.setPeerSubscribers(Slots, "app", "room", 1).has_value());
}

TEST(a_full_directory_refuses_what_a_node_has)
{
    Node node;
    const std::uint32_t bee = node.claim("bee");
    std::uint32_t made = 0;
    while (node.log.setPeerSubscribers(bee, "app", "c" + std::to_string(made), 1)) {
        ++made;
    }
    assert_true(made > 100);
    assert_int_equal(node.log.stats().subscribedChannels, made);
    assert_int_equal(node.log.peerRows(bee).size(), made);
    node.log.releasePeer("bee", nullptr, node.wakes);
    assert_int_equal(node.log.stats().subscribers, 0);
    assert_text_equal(LogCheck(node.log, node.mapping.as<std::byte>()).run(), "");
}

TEST(rows_tell_what_the_nodes_own_workers_have)
{
    Node node;
    const ChannelRef room = node.subscribe();
    node.subscribe();
    const std::uint32_t bee = node.claim("bee");
    node.count(bee, 3);
    const ChannelRef other = node.count(bee, 1, "elsewhere").channel;
    const auto rows = node.log.localRows(1, 4096);
    assert_int_equal(rows.size(), 2);
    for (const auto& row : rows) {
        assert_int_equal(row.subscribers, row.channel == room ? 2 : 0);
    }
    assert_int_equal(node.log.localRows(2, 4096).size(), 1);
    assert_int_equal(node.log.localRows(1, 1).size(), 1);
    assert_true(node.log.localRows(3, 4096).empty());
    std::string app, name;
    assert_true(node.log.channelName(other, app, name));
    assert_text_equal(app + '/' + name, "app/elsewhere");
    assert_false(node.log.channelName({other.index, other.epoch + 1}, app, name));
}

TEST(rows_come_whole_however_many_there_are)
{
    Node node;
    for (int i = 0; i < 1000; ++i) {
        node.log.subscribe(node.worker, "app", "c" + std::to_string(i));
    }
    std::set<std::uint32_t> seen;
    for (std::uint32_t from = 1;; from += 300) { // neither a multiple of what is looked at under one lock
        const auto rows = node.log.localRows(from, 300);
        for (const auto& row : rows) {
            assert_true(seen.insert(row.channel.index).second);
            assert_int_equal(row.subscribers, 1);
        }
        if (rows.size() < 300) {
            break;
        }
    }
    assert_int_equal(seen.size(), 1000);
}

// --- members

TEST(a_user_is_announced_once_whichever_nodes_it_is_on)
{
    Node node;
    const ChannelRef room = node.subscribe();
    const std::uint32_t bee = node.claim("bee"), ant = node.claim("ant");
    node.count(bee, 1);
    node.count(ant, 1);
    assert_true(node.set(bee, room, "ada", true, "1"));
    assert_false(node.set(bee, room, "ada", true, "2")); // known already
    assert_false(node.set(ant, room, "ada", true, "3"));
    assert_false(node.join(room, "ada"));
    assert_text_equal(names(node.log.members(room)), "ada=1 ");
    assert_text_equal(names(node.log.localMembers(room)), "ada=1 ");
    assert_int_equal(node.log.info(room)->members, 1);
    assert_text_equal(node.announced(), "added ");

    assert_false(node.set(bee, room, "ada", false));
    assert_false(node.leave(room, "ada"));
    assert_text_equal(names(node.log.localMembers(room)), "");
    assert_false(node.set(bee, room, "ada", false)); // gone from there already
    assert_text_equal(node.announced(), "added ");
    assert_true(node.set(ant, room, "ada", false));
    assert_text_equal(names(node.log.members(room)), "");
    assert_text_equal(node.announced(), "added removed ");
    assert_false(node.set(ant, room, "ada", false));
}

TEST(somebody_of_this_node_who_is_on_another_too_stays)
{
    Node node;
    const ChannelRef room = node.subscribe();
    const std::uint32_t bee = node.claim("bee");
    node.count(bee, 1);
    node.join(room, "ada");
    const std::uint64_t before = node.events(room);
    assert_false(node.set(bee, room, "ada", true));
    assert_false(node.set(bee, room, "ada", false));
    assert_int_equal(node.events(room), before);
    assert_text_equal(names(node.log.members(room)), "ada={} ");
    assert_true(node.leave(room, "ada"));
}

TEST(a_sleeping_worker_is_woken_for_those_who_come_to_other_nodes)
{
    Node node;
    const ChannelRef room = node.subscribe();
    const std::uint32_t bee = node.claim("bee");
    node.count(bee, 1);
    assert_true(node.wakes.slots.empty()); // not for counts
    node.set(bee, room, "ada", true);
    assert_true(node.wakes.has(node.worker));
    assert_false(node.wakes.has(bee));
}

TEST(members_of_a_channel_that_is_gone_are_refused)
{
    Node node;
    const std::uint32_t bee = node.claim("bee");
    const ChannelRef room = node.count(bee, 1).channel;
    assert_false(node.set(bee, {room.index, room.epoch + 1}, "ada", true));
    assert_false(node.set(Slots, room, "ada", true));
    assert_false(node.set(bee, room, std::string(MaxMemberIdBytes + 1, 'u'), true));
    assert_false(node.set(bee, room, "ada", true, std::string(MaxMemberInfoBytes + 1, ' ')));
    assert_text_equal(node.announced(), "");
}

TEST(what_a_node_has_is_listed_for_it_alone)
{
    Node node;
    const ChannelRef room = node.subscribe();
    const std::uint32_t bee = node.claim("bee"), ant = node.claim("ant");
    node.count(bee, 2);
    node.count(ant, 1);
    node.count(bee, 1, "elsewhere");
    node.set(bee, room, "ada", true);
    node.set(ant, room, "bob", true);
    node.join(room, "eve");
    auto rows = node.log.peerRows(bee);
    assert_int_equal(rows.size(), 2);
    std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.channel < b.channel; });
    assert_text_equal(rows[0].app + '/' + rows[0].channel, "app/elsewhere");
    assert_int_equal(rows[0].subscribers, 1);
    assert_true(rows[0].members.empty());
    assert_int_equal(rows[1].subscribers, 2);
    assert_true(rows[1].members == std::vector<std::string>{"ada"});
}

// --- the end of a node

TEST(a_dead_node_takes_its_members_and_subscribers_with_it)
{
    Node node;
    const ChannelRef room = node.subscribe();
    const std::uint32_t bee = node.claim("bee"), ant = node.claim("ant");
    node.count(bee, 2);
    node.count(ant, 1);
    node.count(bee, 1, "elsewhere");
    node.set(bee, room, "ada", true);
    node.set(bee, room, "bob", true);
    node.set(ant, room, "bob", true);
    Told told;
    node.wakes.slots.clear();
    node.log.awake(node.worker);
    node.log.sleep(node.worker, node.log.head());
    node.log.releasePeer("bee", &told, node.wakes);
    assert_true(told.members == std::vector<std::string>{"room/ada"});
    assert_true(told.channels == std::vector<std::string>{"elsewhere"});
    assert_text_equal(names(node.log.members(room)), "bob={} ");
    assert_int_equal(node.subscribers(room), 2);
    assert_text_equal(node.announced(), "added added removed ");
    assert_true(node.wakes.has(node.worker));
    assert_true(node.log.peers() == std::vector<std::string>{"ant"});
    assert_int_equal(node.log.findPeer("bee"), SharedLog::NoSlot);
    node.log.releasePeer("bee", &told, node.wakes); // and again
    assert_int_equal(told.members.size(), 1);
}

TEST(counters_of_a_worker_are_not_mixed_with_a_node_in_its_former_slot)
{
    Node node;
    node.log.slotCounters(node.worker)[3] = 5;
    node.log.releaseSlot(node.worker);
    assert_int_equal(node.claim("bee"), node.worker);
    node.log.releasePeer("bee", nullptr, node.wakes);
    assert_int_equal(node.log.retiredCounters()[3], 5);
}

// --- events of other nodes

TEST(an_event_of_another_node_that_comes_twice_is_there_once)
{
    Node node;
    NewRecord record = makeRecord("room", "hello");
    record.idempotencyKey = std::string_view("bee\0id", 6);
    record.keyOwner = KeyOwner::Peer;
    const AppendResult first = node.log.append(record, node.worker, node.wakes);
    assert_true(first.status == AppendStatus::Appended);
    const AppendResult again = node.log.append(record, node.worker, node.wakes);
    assert_true(again.status == AppendStatus::Repeated);
    assert_true(again.id == first.id);
    record.timeMs += IdempotencyWindowMs;
    assert_true(node.log.append(record, node.worker, node.wakes).status == AppendStatus::Appended);
}

TEST(events_of_other_nodes_do_not_push_out_clients_keys)
{
    Node node;
    NewRecord clients = makeRecord("room", "from a client");
    clients.idempotencyKey = "order-1";
    node.log.append(clients, node.worker, node.wakes);
    for (int i = 0; i < 20'000; ++i) {
        const std::string key = std::string("bee\0", 4) + std::to_string(i);
        NewRecord record = makeRecord("room", "");
        record.idempotencyKey = key;
        record.keyOwner = KeyOwner::Peer;
        assert_true(node.log.append(record, node.worker, node.wakes).status == AppendStatus::Appended);
    }
    assert_true(node.log.append(clients, node.worker, node.wakes).status == AppendStatus::Repeated);
    clients.keyOwner = KeyOwner::Peer; // another table: the same words are another key
    assert_true(node.log.append(clients, node.worker, node.wakes).status == AppendStatus::Appended);
}

TEST(a_tear_shows_whoever_reads_on_that_something_is_missing)
{
    Node node;
    const ChannelRef room = node.subscribe();
    for (int i = 0; i < 3; ++i) {
        node.log.append(makeRecord("room", "x"), node.worker, node.wakes);
    }
    node.log.awake(node.worker);
    node.log.sleep(node.worker, node.log.head());
    node.wakes.slots.clear();
    NewRecord notice = makeRecord("room", "");
    notice.event = "gap";
    node.log.tear(room, notice, node.wakes);
    assert_true(node.wakes.has(node.worker));
    node.log.append(makeRecord("room", "x"), node.worker, node.wakes);
    assert_int_equal(node.events(room), 6); // 4 is the hole, 5 the notice
    for (const std::uint64_t seen : {2, 3}) {
        const History history = node.log.history(room, seen, {}, 1);
        assert_false(history.complete);
        assert_int_equal(history.positions.size(), 2); // what is behind the hole
    }
    assert_true(node.log.history(room, 4, {}, 1).complete);
    assert_text_equal(node.announced().substr(node.announced().find("gap")), "gap  ");
    node.log.tear({room.index, room.epoch + 1}, notice, node.wakes); // another's by now
    assert_int_equal(node.events(room), 6);
}

TEST(a_source_that_is_new_after_it_was_followed_is_a_loss_for_one_of_those_who_find_it)
{
    Node node;
    const std::int64_t start = 1'000'000;
    assert_false(node.log.followSource(true, start)); // the first time
    assert_false(node.log.followSource(true, start + 10));
    assert_false(node.log.followSource(false, start + 60'000)); // it was there
    assert_true(node.log.followSource(true, start + 60'010));
    assert_false(node.log.followSource(true, start + 60'020)); // the same finding, of another worker
    assert_true(node.log.followSource(true, start + 60'020 + SharedLog::FreshSourceMs));
}

TEST(who_begins_with_a_source_that_is_there_has_lost_nothing_yet)
{
    Node node;
    assert_false(node.log.followSource(false, 1'000'000));
    assert_true(node.log.followSource(true, 1'100'000));
}

// --- speaking for the node

TEST(one_worker_leads_until_it_gives_up_or_is_gone)
{
    Node node;
    const std::uint32_t second = node.log.claimSlot();
    assert_true(node.log.lead(node.worker));
    assert_false(node.log.lead(second));
    assert_true(node.log.lead(node.worker));
    node.log.giveUpLead(second); // not its to give
    assert_false(node.log.lead(second));
    node.log.giveUpLead(node.worker);
    assert_true(node.log.lead(second));
    assert_false(node.log.lead(node.worker));
    node.log.releaseSlot(second);
    assert_true(node.log.lead(node.worker));
}

TEST(the_slot_of_a_leader_that_died_does_not_make_its_next_owner_one_beside_another)
{
    Node node;
    waitFor(forkChild([&] {
        const std::uint32_t own = node.log.claimSlot();
        return node.log.lead(own) ? 0 : 1;
    }));
    const std::uint32_t heir = node.log.claimSlot(); // frees the dead one's, and takes it
    assert_true(node.log.lead(node.worker));
    assert_false(node.log.lead(heir));
}

TEST(a_node_in_the_slot_of_a_former_leader_does_not_lead)
{
    Node node;
    const std::uint32_t second = node.log.claimSlot();
    assert_true(node.log.lead(second));
    node.log.releaseSlot(second);
    assert_int_equal(node.claim("bee"), second);
    assert_true(node.log.lead(node.worker));
}

TEST(all_workers_ask_the_one_that_leads)
{
    Node node;
    assert_int_equal(node.log.asked().rounds, 0);
    node.log.askForRound(false);
    node.log.askForRound(true);
    assert_int_equal(node.log.asked().rounds, 2);
    assert_int_equal(node.log.asked().kept, 1);
}

TEST(a_log_that_was_made_anew_has_another_identity)
{
    const Node node;
    SharedMapping other(1 << 20);
    assert_true(SharedLog::create(other.span(), {Slots}).identity() != node.log.identity());
    assert_true(SharedLog::attach(node.mapping.span())->identity() == node.log.identity());
}

TEST_MAIN()
