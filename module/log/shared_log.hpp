// The shared log: one ring of events in memory that several processes map, with a directory of channels beside
// it. An event is in the log once; delivery, history and resume are positions in it.
//
//   +--------+-------------+------+----------+-------------------+-----------------+------------------------+
//   | header | worker slots| apps | channels | subscriber cells  | idempotency     | ring of records        |
//   +--------+-------------+------+----------+-------------------+-----------------+------------------------+
//
// Thread     append, subscribe, unsubscribe and the other writers take one robust process-shared mutex for well
//            under a microsecond; reading records takes no lock. A SharedLog object is a view: one per process,
//            used by one thread (its event loop).
// Ownership  the mapping belongs to the caller and must outlive the object. Everything in it is an offset or a
//            plain value, so that processes may map it at different addresses; it starts with a layout version.
// Crash      a process may die at any instruction. The next one to lock finds out (EOWNERDEAD) and rebuilds what
//            is derived (hash chains, free lists, counts) from the flat tables; records become visible by one
//            final store, so that a half-written one never existed.
// Memory     fixed at creation. Old records fall off the end of the ring; nothing is ever refused for lack of
//            room in it, only for a record larger than MaxRecordShare of the ring, or a new channel for which the
//            directory, or the app's share of it, has no room.
// Strangers  who only subscribes leaves nothing behind, and takes no other channel's history away: a channel that
//            was never published to is forgotten with its last subscriber. Each app has a share of the tables
//            (declareApps), past which its own is refused or displaced. Keys are random, see layout.hpp.
#pragma once

#include "base/message_id.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace realtime {

inline constexpr std::size_t MaxAppBytes = 64;
inline constexpr std::size_t MaxChannelBytes = 216; // 200 for users; "#server-to-user-" + a 200-byte id

// Bump at any change of what the bytes mean: processes of two builds may meet at one mapping.
inline constexpr std::uint32_t LogLayoutVersion = 7;

// Byte position of a record since the log was made: grows for ever, index in the ring is position % ring size.
// 0 means "none" (the first record is not at 0).
using LogPosition = std::uint64_t;

// A stream of a broker that a channel's order and ids come from (`deliver broker`), so that they are the same on every node
// and survive this log. `identity` names the stream; `epoch` is that of the ids of one of its channels. A stream's event
// `n` has the offset streamOffset(n) in its channel, so that offsets grow, but are no longer counted; what this node itself
// appends to the channel has offsets in between. Numbers begin with the stream's `life`: a greater one when it was deleted
// and made anew, so that they go on growing.
struct StreamKey {
    std::uint64_t identity = 0; // 0: no stream; the log counts, and draws the epoch
    std::uint64_t epoch = 0;

    friend bool operator==(const StreamKey&, const StreamKey&) = default;
};

inline constexpr unsigned StreamOffsetBits = 18;
constexpr std::uint64_t streamOffset(std::uint64_t number)
{
    return (number + 1) << StreamOffsetBits;
}
constexpr std::uint64_t
streamNumber(std::uint64_t offset) // of the event, or the one before what lies in between
{
    return (offset >> StreamOffsetBits) - 1;
}
inline constexpr std::size_t MaxStreams = 4; // of a log

// Whose idempotency key it is. The same words of two owners are two keys, and have nothing in common: not even room.
enum class KeyOwner : std::uint8_t {
    Publisher, // over HTTP, as servers do
    Client,    // a subscriber that may publish
    // Not a key but what tells events of other nodes, or of a stream, apart: those of publishers and those of clients.
    Peer,
    PeerClient,
};

// What a publisher hands in. All views are copied. Limits are the caller's to check, save for the total size.
struct NewRecord {
    std::string_view app;
    std::string_view channel;
    std::string_view event;          // empty: the default event, "message"
    std::string_view contentType;    // may be empty
    std::string_view data;           // any bytes
    std::string_view origin;         // socket_id of the publisher, which delivery skips; empty: none
    std::string_view userId;         // may be empty
    std::int64_t timeMs = 0;         // Unix milliseconds
    std::uint32_t flags = 0;         // the caller's, handed back as it is
    std::string_view idempotencyKey; // empty: none. Scoped to app and channel; kept for IdempotencyWindowMs
    KeyOwner keyOwner = KeyOwner::Publisher;
    std::int64_t historyMs = 0; // how long the channel's history may be asked for. 0: as long as it is there;
                                // NoHistory: never
    StreamKey stream{};         // the channel's
    std::optional<std::uint64_t> number = {}; // it is this event of the stream
    std::uint32_t publisher = ~0U;            // the slot of a worker that waits for it, to be woken too
};

inline constexpr std::int64_t NoHistory = -1;
inline constexpr std::int64_t IdempotencyWindowMs = 300'000;

// Flags of a record. The log acts on Kept; the others are the hub's and the publisher's, handed back as they are.
namespace record_flag {
inline constexpr std::uint32_t Kept = 1; // it is what ChannelInfo::keptPosition leads to: the last event of a
                                         // cache channel
inline constexpr std::uint32_t Internal = 2;  // for subscribers of the Pusher protocol only
inline constexpr std::uint32_t Transient = 4; // never replayed
inline constexpr std::uint32_t Control = 8;   // never delivered: Subscriber::control() gets it
inline constexpr std::uint32_t Presence = 16; // `userId` has come or gone: for all but this user itself
} // namespace record_flag

// A record as read. The views point into the RecordArena it was read into.
struct LogRecord {
    LogPosition position = 0;
    LogPosition previous = 0;         // the channel's previous record; 0: it was the first
    std::uint64_t previousOffset = 0; // of the event before; a reader that has not seen it has a gap
    MessageId id;
    std::int64_t timeMs = 0;
    std::uint32_t flags = 0;
    std::uint32_t subscribers = 0; // of the channel, in all workers, when it was appended
    std::uint32_t appendedUs = 0;  // monotonicMicros() then: for measuring how long its delivery takes
    std::string_view app, channel, event, contentType, data, origin, userId;
};

// Memory for the records of one turn: addresses stay valid until clear(), which keeps a bounded amount
// (KeptBytes) for the next turn.
class RecordArena {
public:
    static constexpr std::size_t KeptBytes = 1 << 20;
    std::byte* allocate(std::size_t bytes); // 8-byte aligned
    void clear();
    std::size_t used() const { return used_; }

private:
    struct Block {
        std::unique_ptr<std::byte[]> bytes;
        std::size_t size = 0;
        std::size_t used = 0;
    };
    std::vector<Block> blocks_;
    std::size_t current_ = 0;
    std::size_t used_ = 0;
};

// A directory entry, by index; `epoch` tells whether the entry still is the same channel's.
struct ChannelRef {
    std::uint32_t index = 0;
    std::uint64_t epoch = 0;

    friend bool operator==(const ChannelRef&, const ChannelRef&) = default;
};

enum class AppendStatus {
    Appended,
    Repeated, // the idempotency key was seen: `id` is the first event's; nothing was written. Or the stream's
              // event is there already
    TooLarge, // larger than the ring may take
    ChannelsFull, // no room for a new channel of this app
};

struct AppendResult {
    AppendStatus status = AppendStatus::Appended;
    ChannelRef channel;
    MessageId id;
    LogPosition position = 0;
    std::uint32_t subscribers = 0; // of all workers, at the instant of the append
};

struct SubscribeResult {
    ChannelRef channel;
    std::uint64_t lastOffset = 0;  // events after it are new to this subscriber
    LogPosition lastPosition = 0;  // of that event; 0: none yet
    std::uint32_t subscribers = 0; // of all workers, this one included
    bool firstOfWorker = false;    // this worker had none of this channel before
};

struct ChannelInfo {
    ChannelRef channel;
    std::uint64_t lastOffset = 0;
    LogPosition lastPosition = 0;
    LogPosition keptPosition = 0; // of the last record with record_flag::Kept; 0: none, or given up
    std::uint32_t subscribers = 0;
    std::uint32_t members = 0; // distinct users present, see joinMember()
};

// --- presence: the users of a channel, each once however many connections it has, in all workers together

inline constexpr std::size_t MaxPeerBytes = 96; // of a node's name

inline constexpr std::size_t MaxMemberIdBytes = 512; // 128 characters
inline constexpr std::size_t MaxMemberInfoBytes = 8192;

struct Member {
    std::string userId;
    std::string info;
};

enum class MemberStatus {
    Ok,
    Gone,         // the channel entry is another channel's by now
    LimitReached, // `limit` distinct users are there already
    NoRoom,       // the zone's table of members, or the app's share of it, is full
};

// What becomes of the announcement of a change.
enum class Telling : std::uint8_t {
    Nothing, // there is nothing to tell: for all that others know, nothing has changed
    Now,     // it was appended
    Later,   // it waits for announceMembers()
};

struct MemberJoined {
    MemberStatus status = MemberStatus::Ok;
    bool first = false; // the user was not there
    Telling telling = Telling::Nothing;
    std::uint64_t lastOffset = 0; // of the channel at the instant of `members`, the announcement included
    std::vector<Member> members;  // those that were announced, and the user itself
};

struct MemberLeft {
    bool last = false; // it was the user's last connection
    Telling telling = Telling::Nothing;
};

// Makes the announcements of announceMembers(), under the lock: each fills in the record, whose views must live until the
// next call.
class Announcer {
public:
    virtual void memberAdded(std::string_view app, std::string_view channel, std::string_view userId,
                             std::string_view info, NewRecord& announcement) = 0;
    virtual void memberRemoved(std::string_view app, std::string_view channel, std::string_view userId,
                               NewRecord& announcement) = 0;

protected:
    ~Announcer() = default;
};

// Who hears of what a dead worker has left behind. Called by reclaimDeadSlots(), onMemberGone() under the lock: it
// only fills in the announcement, whose views must live until the next call.
class Reaper {
public:
    // A user's last connection was the dead worker's, and others know of it. False: announce nothing.
    virtual bool onMemberGone(std::string_view app, std::string_view channel, std::string_view userId,
                              NewRecord& announcement) = 0;
    // Not under the lock: the user is gone, or the channel's last subscriber was the dead worker's.
    virtual void memberGone(std::string_view app, std::string_view channel, std::string_view userId) = 0;
    virtual void channelVacated(std::string_view app, std::string_view channel) = 0;

protected:
    ~Reaper() = default;
};

enum class ReadStatus {
    Record,    // `out` is set, the cursor is behind it
    End,       // nothing more for now
    Overtaken, // the ring has run over the cursor, which now stands at the oldest record that is left
};

// How much of a channel may be resumed (directive `history`); 0 messages: none.
struct HistoryLimit {
    std::uint32_t messages = 1000;
    std::int64_t ageMs = 300'000; // 0: any age
};

struct History {
    std::vector<LogPosition> positions; // oldest first
    bool complete = false;              // false: there was something between `after` and the first of them
    std::uint64_t behind = 0;           // offset; whatever there was behind it is in `positions`
};

struct LogStats {
    std::uint64_t ringBytes = 0;     // capacity
    std::uint64_t usedBytes = 0;     // between the oldest record and the head
    std::uint64_t appendedBytes = 0; // ever
    std::uint64_t appendedRecords = 0;
    std::int64_t oldestTimeMs = 0; // of the oldest record left; 0: empty
    std::uint32_t channels = 0;    // directory entries in use
    std::uint32_t channelCapacity = 0;
    std::uint32_t members = 0; // users in channels, each once a channel
    std::uint32_t memberCapacity = 0;
    std::uint32_t subscribedChannels = 0; // with at least one subscriber
    std::uint64_t subscribers = 0;
    std::uint32_t recoveries = 0; // times that a dead lock holder was cleaned up after
    std::uint32_t slots = 0, slotsInUse = 0;
};

// A share of a table: so many of it, or (0) so much.
struct Quota {
    std::uint32_t count = 0;
    std::uint32_t percent = 100;

    friend bool operator==(const Quota&, const Quota&) = default;
};

// The shares of an app. What is `channels` is also the share of the subscribers' cells, of which a channel needs one for
// each worker that has subscribers of it; a member with much information takes room of several. Of repeats, a share is
// rounded up to an eighth: so much of each place in the table.
struct AppQuotas {
    std::string app;
    Quota channels, members, repeats;
};

struct AppUse {
    std::string app;
    std::uint32_t channels = 0, channelLimit = 0; // most that it may have, at most what the directory takes
    std::uint32_t members = 0, memberLimit = 0;
    std::uint64_t refused = 0; // new channels and members, for lack of room
};

// Who wants to be woken. Called by append() after the lock is released, once a worker that has subscribers of the
// channel and is not awake already. Never called for the appending worker's own slot when it is given.
class WakeUp {
public:
    virtual void wake(std::uint32_t slot) = 0;

protected:
    ~WakeUp() = default;
};

// A slot as one life of a worker holds it: a slot that has changed hands is another owner's.
struct SlotOwner {
    std::uint32_t slot = ~0U;
    std::int32_t pid = 0;
    std::uint64_t startTime = 0; // of the process, see ProcessIdentity

    friend bool operator==(const SlotOwner&, const SlotOwner&) = default;
};

// Which records a reader wants: the others are skipped by their header alone.
class Interest {
public:
    virtual bool wants(const ChannelRef& channel) const = 0;

protected:
    ~Interest() = default;
};

class SharedLog {
public:
    static constexpr std::uint32_t NoSlot = ~0U;
    static constexpr std::size_t MinimumBytes = 1 << 20;
    static constexpr std::uint32_t MaxSlots = 1024;
    static constexpr std::size_t MaxRecordShare = 8; // a record takes at most this fraction of the ring
    static constexpr std::uint64_t MaxLocateSteps = 1 << 16;
    // A slot has SlotCounters words for its worker to count in; those from FirstGauge on are gauges. When a slot
    // is given up, its counters are added to the retired row and its gauges are cleared. The gauges of the retired row
    // are nobody's: users of the log may keep there what belongs to all of them.
    static constexpr std::size_t SlotCounters = 304; // 64 such slots leave enough of the smallest zone
    static constexpr std::size_t FirstGauge = 168;

    struct Options {
        std::uint32_t slots = 64; // workers that may live at one time, all generations together
    };

    // Lays out and initialises fresh (zeroed or not) memory, and draws its keys. Throws std::runtime_error if it is
    // smaller than MinimumBytes, or if so many slots (1 to MaxSlots) would leave too little of it for the ring. Its
    // address must be aligned to 64 bytes.
    static SharedLog create(std::span<std::byte> memory, const Options& options);
    // Null if the memory does not hold a log of this layout version and size.
    static std::optional<SharedLog> attach(std::span<std::byte> memory);

    // --- apps -------------------------------------------------------------------------------------------------
    // The apps of a new configuration and their shares, which hold from now on; those of apps that it does not have
    // hold as long as these have channels. An app that was never declared has no limit. False: they are more than
    // maxApps(), and the last of them are not declared.
    bool declareApps(std::span<const AppQuotas> apps);
    static std::uint32_t maxApps(std::size_t bytes); // of a log of this size
    std::vector<AppUse> appUses() const;

    // --- worker slots -----------------------------------------------------------------------------------------
    // A slot stands for one live process, identified by pid and start time (field 22 of /proc/PID/stat), so that a
    // reused pid is not taken for its predecessor. claimSlot first frees the slots of dead processes: their cells
    // are cleared. NoSlot if all are taken by the living.
    std::uint32_t claimSlot();
    void releaseSlot(std::uint32_t slot);
    // Frees the slots of dead processes; returns how many. For a periodic sweep by any worker. `reaper` hears of the
    // members and channels that lost their last connection by it, and of all that are marked as told (see below)
    // though nobody is there any more.
    std::uint32_t reclaimDeadSlots(Reaper* reaper = nullptr, WakeUp* wakeUp = nullptr);

    // Words of `slot`, or (retiredCounters) the sum of those given up. Relaxed atomics; any process may read.
    std::span<std::atomic<std::uint64_t>, SlotCounters> slotCounters(std::uint32_t slot) const;
    std::span<std::atomic<std::uint64_t>, SlotCounters> retiredCounters() const;
    bool slotInUse(std::uint32_t slot) const; // by a worker
    std::int32_t slotPid(std::uint32_t slot) const;
    // The lowest slot in use: its worker does what one of them is to do for all. NoSlot: there is none.
    std::uint32_t firstSlotInUse() const;
    std::uint32_t slots() const;
    // The descriptor on which the worker of `slot` is woken. Set once by the process that made the descriptors,
    // before it forked; -1 if not.
    void setWakeFd(std::uint32_t slot, int fd);
    int wakeFd(std::uint32_t slot) const;

    // --- moving subscribers between workers ---------------------------------------------------------------------
    // On a reload the workers of the configuration before hand their connections to those of the new one. Each
    // configuration is a generation, counted by the master before it forks the workers.
    std::uint64_t nextGeneration();
    std::uint64_t generation() const; // of the newest configuration
    // The socket on which connections move: where they go in and where they come out. Set once by the process that
    // made the descriptors, before it forked; -1 if not.
    void setHandoverFds(int in, int out);
    int handoverIn() const;
    int handoverOut() const;
    // The slot's worker takes connections, written down in the words of `version`. 0: it takes none (any more).
    void offerTakeover(std::uint32_t slot, std::uint64_t generation, std::uint32_t version);
    // Is there a worker of a generation behind `generation` that takes connections in these words?
    bool hasSuccessor(std::uint64_t generation, std::uint32_t version) const;
    SlotOwner owner(std::uint32_t slot) const; // of a slot in use
    // How many connections others have taken from the slot's worker in its life.
    void countTaken(const SlotOwner& from);
    std::uint64_t taken(std::uint32_t slot) const;

    // Takes one subscriber that `from` has counted over into the cell of `slot`: at no instant does the channel have
    // one more or less. nullopt: `from` does not count one (any more), or no cell is free; nothing has changed.
    std::optional<SubscribeResult> moveSubscriber(const SlotOwner& from, std::uint32_t slot,
                                                  std::string_view app, std::string_view channel);
    // The same for one connection of a user that is present. False: nothing has changed.
    bool moveMember(const SlotOwner& from, std::uint32_t slot, ChannelRef channel, std::string_view userId);

    // --- publish ----------------------------------------------------------------------------------------------
    // `self`: the caller's slot, or NoSlot. See WakeUp for who is woken. Where a new channel finds no room, it takes
    // that of an idle one: of one that has nothing to give, else of the one whose last event is oldest.
    AppendResult append(const NewRecord& record, std::uint32_t self, WakeUp& wakeUp);
    // The same for what is only of use to those who are there: nullopt if the channel has no subscribers.
    std::optional<AppendResult> appendIfSubscribed(const NewRecord& record, std::uint32_t self,
                                                   WakeUp& wakeUp);
    // The size of the largest record, its fixed header (88 bytes) and all its strings together.
    std::size_t maxRecordBytes() const;
    bool fits(const NewRecord& record) const; // else append() says TooLarge
    // Data of so many bytes fits, if all else of the record has at most MaxOtherBytes. Also of a log that is still to be
    // made; 0: of none.
    static constexpr std::size_t MaxOtherBytes = 1024;
    std::size_t maxDataBytes() const;
    static std::size_t maxDataBytes(std::size_t memoryBytes, std::uint32_t slots);

    // --- streams (streams.cpp) -----------------------------------------------------------------------------------
    // How far this log has followed a stream: the number of the next event. nullopt: it has not begun.
    std::optional<std::uint64_t> streamNext(std::uint64_t identity) const;
    // Since when this log wants to follow it: for who cannot say where it has stopped. `nowMs`: from now on, if never before.
    std::int64_t streamSince(std::uint64_t identity, std::int64_t nowMs);
    // The number of the first event of its life; 0: it has not begun, or was empty.
    std::uint64_t streamLife(std::uint64_t identity) const;
    // From event `number` on, whatever was before: what channels had then is known to be incomplete. Of another life: so
    // is what they have here. False: it has followed MaxStreams others.
    bool beginStream(std::uint64_t identity, std::uint64_t number, std::uint64_t life = 0);
    // All up to event `number` - 1 has been appended or is of no concern.
    void reachStream(std::uint64_t identity, std::uint64_t number);
    // The id under which an event with this idempotency key was appended, if that is still known.
    std::optional<AppendResult> appended(const NewRecord& record) const;

    // --- other nodes (peers.cpp) ------------------------------------------------------------------------------
    // The same for all who share this log, another for every other one and after it was made anew.
    std::uint64_t identity() const;
    // For who follows a source that keeps events while nobody follows, and has found it there or `fresh`: true if this
    // log has followed it before and it is fresh, so that events may be lost. Workers that find it so within
    // FreshSourceMs have found one thing, and one of them is told.
    static constexpr std::int64_t FreshSourceMs = 5000;
    bool followSource(bool fresh, std::int64_t nowMs);
    // Events of the channel are lost: leaves a hole in its offsets and appends `notice` behind it, so that every
    // reader, now or later, sees that something is missing.
    void tear(ChannelRef channel, const NewRecord& notice, WakeUp& wakeUp);

    // Another node has a slot as a worker has: the subscribers and members that it has of channels are counted there, so
    // that all sums, snapshots and announcements are of all nodes. Nobody is woken for it. One writer at a time.
    // NoSlot: the name is too long, or all slots are taken. `fresh`: it was not known.
    std::uint32_t claimPeer(std::string_view node, bool& fresh);
    std::uint32_t findPeer(std::string_view node) const; // NoSlot: not known
    // A peer is dead when it has been silent for so many beats of this node's own: hearPeer() ends its silence,
    // countBeat() adds one to everybody's. Returns the names of those silent for `most` or more.
    void hearPeer(std::uint32_t slot);
    std::vector<std::string> countBeat(std::uint32_t most);
    std::vector<std::string> peers() const;
    // As reclaimDeadSlots() does for a dead worker.
    void releasePeer(std::string_view node, Reaper* reaper, WakeUp& wakeUp);
    struct PeerChange {
        ChannelRef channel;
        std::uint32_t before = 0, after = 0; // subscribers of all nodes
    };
    // nullopt: no room, see subscribe().
    std::optional<PeerChange> setPeerSubscribers(std::uint32_t slot, std::string_view app,
                                                 std::string_view channel, std::uint32_t count,
                                                 const StreamKey& stream = {}, std::int64_t nowMs = 0);
    // Whether the user is there on that node. The channel must have subscribers of the peer.
    struct PeerMemberChange {
        bool changed = false; // it was not present at all and is now, or the other way round
        Telling telling = Telling::Nothing;
    };
    PeerMemberChange setPeerMember(std::uint32_t slot, ChannelRef channel, std::string_view userId,
                                   std::string_view info, bool present, const NewRecord& announcement,
                                   WakeUp& wakeUp, bool atOnce = true);
    // What a peer has, for forgetting what it no longer says. (Copies all: not often.)
    struct PeerRow {
        std::string app, channel;
        std::uint32_t subscribers = 0;
        std::vector<std::string> members;
    };
    std::vector<PeerRow> peerRows(std::uint32_t slot) const;

    // One worker at a time speaks for the node: true if it is the one that holds `slot`, from now on or still. It is until
    // it gives it up or its slot is freed.
    bool lead(std::uint32_t slot);
    void giveUpLead(std::uint32_t slot);
    // How often any worker has asked the one that leads to tell all; `kept`: with what cache channels keep.
    struct Asked {
        std::uint64_t rounds = 0, kept = 0;
    };
    void askForRound(bool kept);
    Asked asked() const;

    // What this node's own workers have: entries from..from+count-1 of the directory, free ones with epoch 0; fewer at
    // its end. `memberChanges` differs if somebody of the node has come or gone since.
    struct LocalRow {
        ChannelRef channel;
        std::uint32_t subscribers = 0, memberChanges = 0;
    };
    std::vector<LocalRow> localRows(std::uint32_t from, std::uint32_t count) const;
    std::uint32_t localSubscribers(ChannelRef channel) const;
    std::vector<Member> localMembers(ChannelRef channel) const;
    bool channelName(ChannelRef channel, std::string& app, std::string& name) const; // false: it is gone

    // --- subscribe --------------------------------------------------------------------------------------------
    // Counts one more subscriber of the channel in the worker's cell, making the channel if need be. That takes the
    // room of no other channel whose history may still be asked for at `nowMs` (0: at any time).
    // nullopt: the directory (or the pool of cells), or the app's share of it, is full.
    std::optional<SubscribeResult> subscribe(std::uint32_t slot, std::string_view app,
                                             std::string_view channel, const StreamKey& stream = {},
                                             std::int64_t nowMs = 0);
    // Returns how many subscribers the channel has left in all workers. With the last it is forgotten, if it was never
    // published to; should it come back it has the same epoch, unless a channel with events was given up meanwhile.
    std::uint32_t unsubscribe(std::uint32_t slot, ChannelRef channel);

    // --- presence ---------------------------------------------------------------------------------------------
    // Adds one connection of a user, whose `info` is kept while it is there (the first connection's counts). The
    // change, the snapshot and the append of `announcement` are one instant: who subscribes to the channel sees each user
    // either in its snapshot or announced. An arrival is announced now if the user was not there for all that the others
    // know, and the channel may have announcements `atOnce`. `timeMs` of it is the time.
    MemberJoined joinMember(std::uint32_t slot, ChannelRef channel, std::string_view userId,
                            std::string_view info, std::uint32_t limit, const NewRecord& announcement,
                            WakeUp& wakeUp, bool atOnce = true);
    // Takes one away. The user's last is announced, but not before AnnouncePauseMs have passed since its arrival was.
    MemberLeft leaveMember(std::uint32_t slot, ChannelRef channel, std::string_view userId,
                           const NewRecord& announcement, WakeUp& wakeUp, bool atOnce = true);
    // Who has a connection: a user that left is not there, whatever was announced.
    std::vector<Member> members(ChannelRef channel) const;

    // A member is announced at most twice in so long, however often it comes and goes (log/announcing.hpp).
    static constexpr std::int64_t AnnouncePauseMs = 1000;
    // Announces what waits in the channel (Telling::Later) and is due; `all`: also what is not. Returns in how many
    // milliseconds the next is due; nullopt: nothing waits any more.
    std::optional<std::int64_t> announceMembers(ChannelRef channel, std::int64_t nowMs, bool all,
                                                Announcer& announcer, WakeUp& wakeUp);
    // Where something waits: for who goes on for a worker that is dead. (Looks at all members: not often.)
    std::vector<ChannelRef> waitingAnnouncements() const;

    // --- telling the world once ---------------------------------------------------------------------------------
    // A mark on the channel, or on a member of it, that somebody outside was told it is there. Each returns true for
    // one caller only, in whatever worker. A member keeps its row while it is marked.
    bool tellOccupied(ChannelRef channel); // not marked: marks it
    bool tellVacated(ChannelRef channel);  // marked, and without subscribers: unmarks it
    bool tellMemberAdded(ChannelRef channel, std::string_view userId);
    bool tellMemberRemoved(ChannelRef channel,
                           std::string_view userId); // marked, and gone: unmarks and forgets it

    // Null if nobody knows the channel.
    std::optional<ChannelInfo> find(std::string_view app, std::string_view channel) const;
    // Null if the entry is another channel's by now.
    std::optional<ChannelInfo> info(ChannelRef channel) const;
    // Its names as well.
    struct NamedChannel {
        std::string app, channel;
        ChannelInfo info;
    };
    std::optional<NamedChannel> named(ChannelRef channel) const;

    // --- read -------------------------------------------------------------------------------------------------
    LogPosition head() const; // the position after the newest record
    LogPosition tail() const; // the oldest record that is still there

    // Reads the next record that `interest` wants at or after `cursor`, copying it into `arena`.
    ReadStatus next(LogPosition& cursor, const Interest& interest, RecordArena& arena, LogRecord& out) const;
    // Counts by channel: tells `tally` of each of the next `most` records at or after `cursor`, which it moves behind
    // them. Looks at headers only. If the ring has run over the cursor, it begins with the oldest record that is left.
    class Tally {
    public:
        virtual void count(const ChannelRef& channel, std::uint32_t flags) = 0;

    protected:
        ~Tally() = default;
    };
    void tally(LogPosition& cursor, std::size_t most, Tally& tally) const;
    // Reads the record at exactly `position`; false if it has been overwritten, or if there is none.
    bool readAt(LogPosition position, RecordArena& arena, LogRecord& out) const;

    // Where `slot` is to read on: cursor = max(cursor, awake(slot)). That is the first position it was woken for
    // since it last fell asleep, or head() if nothing concerned its channels: nothing before it did, so a worker
    // that slept for long neither scans nor misses what was not for it. Never 0. Marks the worker as awake: it is
    // not woken again until sleep() has returned true. May be called at any time, any number of times; besides on
    // each wake-up and after own appends it should be called about once a second, since a publisher that is killed
    // between its append and its wake-ups owes them. A slot just claimed counts as asleep.
    LogPosition awake(std::uint32_t slot);
    // The worker has read up to `cursor`, which next() has moved to the end. True: it may sleep, the next append of
    // concern wakes it. False: something came in meanwhile, read on (with or without another awake()).
    bool sleep(std::uint32_t slot, LogPosition cursor);

    // Where the channel's events with an offset greater than `after` are, as far as the ring and the limit allow.
    History history(ChannelRef channel, std::uint64_t after, const HistoryLimit& limit,
                    std::int64_t nowMs) const;
    // All of the channel's events at positions greater than `after`, the position of the last event that was seen
    // (of any channel): for resuming several channels from one cut.
    History historyBehind(ChannelRef channel, LogPosition after, const HistoryLimit& limit,
                          std::int64_t nowMs) const;
    // Position of the event `offset` of the channel, or 0 if it is no longer (or not yet) there, or more than
    // MaxLocateSteps events back.
    LogPosition locate(ChannelRef channel, std::uint64_t offset) const;
    // A cut as an id, for who follows several channels or has not seen an event yet: it is of the form of an event's, but
    // of none. The position cannot be read from it.
    MessageId cutId(LogPosition position) const;
    // Null if this log has not given it out.
    std::optional<LogPosition> cutPosition(const MessageId& id) const;

    LogStats stats() const;

    // --- channels, for listings -------------------------------------------------------------------------------
    // Calls `visit` for each directory entry in use; the name is a copy valid during the call. Takes the lock in
    // short stretches, so that a listing is not one instant but never stops publishers for long.
    struct ChannelRow {
        std::string_view app, channel;
        ChannelInfo info;
    };
    class ChannelVisitor {
    public:
        virtual bool visit(const ChannelRow& row) = 0; // false: stop

    protected:
        ~ChannelVisitor() = default;
    };
    void forEachChannel(ChannelVisitor& visitor) const;

private:
    explicit SharedLog(std::byte* base) : base_(base) {}
    std::byte* base_;
};

} // namespace realtime
