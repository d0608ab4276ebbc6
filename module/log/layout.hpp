// What the bytes of a shared log mean. Private to log/ and its tests; shared_log.hpp is the interface.
//
// Tables are flat and their truth is in few fields, each row coming to life and dying by one store:
//
//   row               lives while          truth                                    derived, rebuilt after a crash
//   Slot              inUse                pid, startTime, takeover, counters
//   AppRow            nameEnd != 0         name, limits, declared                   chain, lists, what is used
//   Entry (channel)   epoch != 0           app, name, offset, positions, told,      links, chains, sums
//                                          usefulUntil, stream
//   Cell              count != 0           entry, slot, count                       next
//   MemberRow         channelEpoch != 0    entry, text, told, announced             next, firstCell, connections
//   Cell of a member  count != 0           member, slot, count                      next
//   Block             a live row leads to it                                        free list
//   IdempotencyCell   offset != 0          all
//   record            position < head      all
//
// Index 0 of apps, entries and cells is never used, so that 0 means "none" in every link and zeroed memory is empty.
//
// Secrets: each table has keys of its own (Keys), drawn when the log is made. What strangers see (epochs, identity) is
// random or comes from a keyed hash that nobody can turn round, never from another secret.
#pragma once

#include "base/siphash.hpp"
#include "log/shared_log.hpp"

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <pthread.h>

namespace realtime::sharedlog {

static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "a lock inside an atomic is not shared");

inline constexpr std::uint64_t Magic = 0x676f6c2d65726c72; // "rlre-log"
inline constexpr LogPosition FirstPosition = 64;
inline constexpr std::size_t CacheLine = 64;

inline constexpr std::int32_t PeerPid = -1; // the slot is another node's; startTime numbers its lives

struct Slot {
    alignas(CacheLine) std::atomic<std::uint32_t> inUse;
    std::atomic<std::int32_t> pid;
    std::atomic<std::uint64_t> startTime; // of the process, in clock ticks since boot; 0: not known
    std::atomic<std::int32_t> wakeFd;     // descriptor + 1; 0: none
    // Of a worker that takes connections: the words it knows (0: it takes none), and its generation.
    std::atomic<std::uint32_t> takeoverVersion;
    std::atomic<std::uint64_t> generation;
    std::atomic<std::uint64_t> taken;   // connections that others have taken from this worker
    std::atomic<std::uint32_t> silence; // of another node, in beats of our own
    char peer[MaxPeerBytes];            // its name, if pid is PeerPid; under the mutex

    // See wake.hpp.
    alignas(CacheLine) std::atomic<std::uint64_t> wakePosition;
    std::atomic<std::uint32_t> asleep;

    alignas(CacheLine) std::atomic<std::uint64_t> counters[SharedLog::SlotCounters];
};

// What an app has of a table, and the most that it may have.
struct Share {
    std::uint32_t used;
    std::uint32_t limit;

    bool full() const { return used >= limit; }
};
inline constexpr std::uint32_t Unlimited = ~0U;

// Entries without subscribers, longest without them first.
struct IdleList {
    std::uint32_t first;
    std::uint32_t last;
};

// An app that has, or may have, channels here.
struct AppRow {
    std::uint32_t nameEnd;  // 1 + the bytes of its name; 0: not in use
    std::uint32_t declared; // 1: the newest configuration has it
    Share channels, cells;
    Share members, memberCells, blocks;
    std::uint32_t repeatWays; // most cells of a set of repeats
    std::uint32_t next;       // in its bucket
    IdleList spare;           // of channels that have nothing to give to who comes back
    IdleList idle;            // of those that have, or had until lately
    std::uint64_t refused;    // channels and members for which there was no room
    char name[MaxAppBytes];
};
static_assert(sizeof(AppRow) == 144);

// Which list of its app's an entry is in.
enum class Idle : std::uint8_t {
    None, // it has subscribers, or is just being made
    Spare,
    Useful,
    Gone, // in none, not even the directory: never found in an entry
};

struct Entry {
    std::uint64_t epoch; // 0: not in use
    std::uint64_t lastOffset;
    LogPosition lastPosition;
    LogPosition keptPosition;  // of the last record with record_flag::Kept; 0: none
    std::uint32_t subscribers; // sum of its cells
    std::uint32_t firstCell;
    std::uint32_t nextInBucket; // or in the free list
    std::uint16_t tag;          // bits of the hash that the bucket does not tell
    std::uint16_t app;          // index of its AppRow
    std::uint8_t channelBytes;
    Idle list;
    std::uint8_t stream;       // 1 + index in Header::streams; 0: none
    std::uint8_t told;         // 1: somebody outside knows that it is occupied
    std::uint32_t usefulUntil; // Unix seconds: until then its history may be asked for. 0: it has none
    std::uint32_t idlePrevious;
    std::uint32_t idleNext;
    std::uint32_t members; // rows of its chain with connections
    std::uint32_t firstMember;
    std::uint32_t memberChanges; // counts the comings and goings of members; wraps around
    char name[MaxChannelBytes];
};
static_assert(sizeof(Entry) == 296);

// What one worker has of an owner, see cells.hpp: of the subscribers of an entry, or the connections of a member.
struct Cell {
    std::uint32_t entry; // the owner
    std::uint32_t slot;
    std::uint32_t count; // 0: not in use
    std::uint32_t next;  // of the same entry, or in the free list
};

// A member's id and then its info, in blocks. One word, so that one store replaces it.
struct MemberText {
    std::uint32_t firstBlock = 0;
    std::uint16_t idBytes = 0;
    std::uint16_t infoBytes = 0;

    static MemberText of(std::uint64_t word) { return std::bit_cast<MemberText>(word); }
    std::uint64_t word() const { return std::bit_cast<std::uint64_t>(*this); }
};

// What the channel's subscribers have been told of a member.
enum class Announced : std::uint8_t {
    No,      // nothing, or that it has gone
    Yes,     // that it is there
    Changed, // the same, but not as it is now; or nobody knows what they were told
};

// A user that is present in a channel, or of whom the subscribers have not been told yet that it is not. Its connections are
// counted in cells of a table of their own.
struct MemberRow {
    std::uint64_t channelEpoch; // 0: not in use
    std::uint64_t idHash;
    std::uint64_t text; // MemberText
    std::uint32_t entry;
    std::uint32_t connections; // sum of its cells
    std::uint32_t firstCell;
    std::uint32_t next;        // of the same channel, or in the free list
    std::uint32_t announcedMs; // when it was announced last, as far as 32 bits tell
    std::uint16_t told;        // 1: somebody outside knows that it is there
    Announced announced;
    std::uint8_t spare;
};
static_assert(sizeof(MemberRow) == 48);

struct Block {
    std::uint32_t next; // of the same text, or in the free list
    char bytes[60];
};

struct IdempotencyCell {
    std::uint64_t digest[2];
    std::uint64_t epoch;
    std::uint64_t offset; // 0: not in use
    LogPosition position;
    std::int64_t timeMs : 48;
    std::uint64_t app : 15;     // index of the AppRow
    std::uint64_t ofClient : 1; // its client's; else its publisher's
};
static_assert(sizeof(IdempotencyCell) == 48);

// Of publishers' keys, of clients', and of what tells events of other nodes and of streams apart.
inline constexpr std::size_t RepeatTables = 3;
inline constexpr std::uint32_t IdempotencyWays = 8; // cells that share one place in the table
struct IdempotencySet {
    IdempotencyCell cells[IdempotencyWays];
};

inline constexpr std::uint64_t CellsPerOwner =
    2; // most channels have their subscribers on one or two workers
inline constexpr std::uint64_t BlocksPerMember = 3; // 180 bytes of id and info on average

// Where everything is. A pure function of the size and the number of slots, so that attach() can compare.
struct Plan {
    std::uint64_t totalBytes = 0;
    std::uint32_t slotCount = 0;
    std::uint32_t appCount = 0;                                // the unused one at 0 included
    std::uint32_t appBucketCount = 0;                          // a power of two
    std::uint32_t bucketCount = 0;                             // likewise
    std::uint32_t entryCount = 0;                              // the unused one at 0 included
    std::uint32_t cellCount = 0;                               // likewise
    std::uint32_t memberCount = 0;                             // likewise
    std::uint32_t memberCellCount = 0;                         // likewise
    std::uint32_t blockCount = 0;                              // likewise
    std::array<std::uint32_t, RepeatTables> idempotencySets{}; // one table behind the other
    std::uint32_t slotBytes = 0;
    // Offsets from the base.
    std::uint64_t slots = 0; // slotCount, and one more for the retired counters
    std::uint64_t apps = 0;
    std::uint64_t appBuckets = 0;
    std::uint64_t buckets = 0;
    std::uint64_t eras = 0; // beside the buckets
    std::uint64_t entries = 0;
    std::uint64_t cells = 0;
    std::uint64_t members = 0;
    std::uint64_t memberCells = 0;
    std::uint64_t blocks = 0;
    std::uint64_t idempotency = 0;
    std::uint64_t ring = 0;
    std::uint64_t ringBytes = 0; // a multiple of 8

    friend bool operator==(const Plan&, const Plan&) = default;
};

// How far it is followed. Of a channel that the directory did not forget, everything behind `floor` is in its chain.
struct Stream {
    std::uint64_t identity; // 0: not in use
    std::uint64_t next;     // number
    std::uint64_t floor;    // offset
    std::uint64_t begun;    // 1: it is followed
    std::uint64_t life;     // number of its first event; 0: not known, or it was empty
    std::int64_t sinceMs;   // when this log first wanted to; 0: it never did
};

// Independent of one another. Nobody outside may learn them, nor what could be computed from them.
struct Keys {
    SipKey apps, channels, members; // hashes of names
    SipKey epochs;
    std::array<SipKey, 2> repeats; // a half of the digest each
    SipKey cuts;
};

// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): cache lines are kept apart, fields stay in groups
struct Header {
    // Set by create(), constant afterwards.
    std::uint64_t magic;
    std::uint32_t layoutVersion;
    std::uint32_t headerBytes;
    std::uint64_t identity; // random, not a secret
    std::uint64_t cutEpoch; // the same: of ids that are cuts through the log, see cut.cpp
    Keys keys;
    Plan plan;

    // Written by the master alone, before it forks.
    std::atomic<std::uint64_t> generation;
    std::atomic<std::int32_t> handoverIn, handoverOut; // descriptor + 1; 0: none

    alignas(CacheLine) pthread_mutex_t mutex;

    // Under the mutex; truth.
    alignas(CacheLine) LogPosition pending; // record being published; 0: none
    std::uint64_t pendingRecords;           // what appendedRecords becomes with it
    std::uint64_t appendedRecords;
    LogPosition forgottenPosition; // the newest record of any channel that the directory has given up
    std::uint32_t appsTouched;     // rows above have never been used
    std::uint32_t entriesTouched;  // likewise
    std::uint32_t cellsTouched;    // likewise
    std::uint32_t membersTouched, memberCellsTouched, blocksTouched;
    std::uint32_t recoveries;
    std::uint32_t wakeAll; // a wake-up may have been lost: the next append wakes every worker
    std::uint64_t peersClaimed;
    std::uint64_t roundsAsked, keptAsked;
    std::uint64_t leader; // pid << 32 | slot + 1; 0: nobody
    std::int64_t
        followedMs; // since when peers' events are followed, or their source was last found new; 0: not

    Stream streams[MaxStreams];

    // Under the mutex; derived.
    std::uint32_t freeEntry;
    std::uint32_t freeCell;
    std::uint32_t freeMember, freeMemberCell, freeBlock;
    std::uint32_t lastApp; // that was looked up; 0: none. A guess
    std::uint32_t appHand; // where the search for an app that can give room has come to
    std::uint32_t channels;
    std::uint32_t members; // rows
    std::uint32_t subscribedChannels;
    std::uint64_t subscribers;

    // Written under the mutex, read by all. On lines of their own: every reader polls head.
    alignas(CacheLine) std::atomic<LogPosition> head;
    alignas(CacheLine) std::atomic<LogPosition> tail;
};

// The base of a mapping, with typed ways into it.
class Memory {
public:
    explicit Memory(std::byte* base) : base_(base) {}

    Header& header() const { return *at<Header>(0); }
    const Plan& plan() const { return header().plan; }
    Slot& slot(std::uint32_t i) const { return at<Slot>(plan().slots)[i]; }
    Slot& retired() const { return slot(plan().slotCount); }
    AppRow& app(std::uint32_t i) const { return at<AppRow>(plan().apps)[i]; }
    AppRow& appOf(const Entry& entry) const { return app(entry.app); }
    std::uint32_t& appBucket(std::uint64_t hash) const
    {
        return at<std::uint32_t>(plan().appBuckets)[hash & (plan().appBucketCount - 1)];
    }
    std::uint32_t& bucket(std::uint64_t hash) const
    {
        return at<std::uint32_t>(plan().buckets)[hash & (plan().bucketCount - 1)];
    }
    // Counts the channels that have had this hash and were given up with their events. Truth.
    std::uint32_t& era(std::uint64_t hash) const
    {
        return at<std::uint32_t>(plan().eras)[hash & (plan().bucketCount - 1)];
    }
    Entry& entry(std::uint32_t i) const { return at<Entry>(plan().entries)[i]; }
    Cell& cell(std::uint32_t i) const { return at<Cell>(plan().cells)[i]; }
    MemberRow& member(std::uint32_t i) const { return at<MemberRow>(plan().members)[i]; }
    Cell& memberCell(std::uint32_t i) const
    {
        return at<Cell>(plan().memberCells)[i];
    } // its `entry` is a member
    Block& block(std::uint32_t i) const { return at<Block>(plan().blocks)[i]; }
    IdempotencySet& idempotencySet(std::uint32_t i) const
    {
        return at<IdempotencySet>(plan().idempotency)[i];
    }
    std::uint64_t* ringWords() const { return at<std::uint64_t>(plan().ring); }

private:
    template <class T> T* at(std::uint64_t offset) const { return reinterpret_cast<T*>(base_ + offset); }
    std::byte* base_;
};

} // namespace realtime::sharedlog
