// What the tests of the shared log have in common: shared mappings, forked children, payloads that tell when they
// are damaged, and a check of everything that must be true of a log at rest.
#pragma once

#include "log/apps.hpp"
#include "log/directory.hpp"
#include "log/layout.hpp"
#include "log/shared_log.hpp"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace realtime::testing {

// Anonymous memory that children inherit.
class SharedMapping {
public:
    explicit SharedMapping(std::size_t bytes) : bytes_(bytes)
    {
        base_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (base_ == MAP_FAILED) {
            throw std::runtime_error("mmap");
        }
    }
    ~SharedMapping() { munmap(base_, bytes_); }
    SharedMapping(const SharedMapping&) = delete;
    SharedMapping& operator=(const SharedMapping&) = delete;

    std::span<std::byte> span() const { return {static_cast<std::byte*>(base_), bytes_}; }
    template <class T> T* as() const { return static_cast<T*>(base_); }

private:
    void* base_ = nullptr;
    std::size_t bytes_;
};

// Runs `body` in a child, which ends with its return value. For bodies that must not run atexit handlers.
template <class Body> pid_t forkChild(Body body)
{
    const pid_t pid = fork();
    if (pid < 0) {
        throw std::runtime_error("fork");
    }
    if (pid == 0) {
        int status = 99;
        try {
            status = body();
        } catch (const std::exception& e) {
            std::fprintf(stderr, "child: %s\n", e.what());
        }
        _exit(status);
    }
    return pid;
}

// Exit status, or 128 + the signal that ended it.
inline int waitFor(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            throw std::runtime_error("waitpid");
        }
    }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

inline void killAndWait(pid_t pid)
{
    kill(pid, SIGKILL);
    waitFor(pid);
}

class Deadline {
public:
    explicit Deadline(std::chrono::milliseconds time) : end_(std::chrono::steady_clock::now() + time) {}
    bool passed() const { return std::chrono::steady_clock::now() >= end_; }

private:
    std::chrono::steady_clock::time_point end_;
};

struct Random {
    std::uint64_t state = 1;
    std::uint64_t next() // splitmix64
    {
        std::uint64_t x = state += 0x9e3779b97f4a7c15U;
        x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
        x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
        return x ^ (x >> 31U);
    }
    std::uint64_t below(std::uint64_t limit) { return next() % limit; }
};

struct Wakes final : WakeUp {
    std::vector<std::uint32_t> slots;
    void wake(std::uint32_t slot) override { slots.push_back(slot); }
    bool has(std::uint32_t slot) const
    {
        for (const auto s : slots) {
            if (s == slot) {
                return true;
            }
        }
        return false;
    }
};

struct Everything final : Interest {
    bool wants(const ChannelRef&) const override { return true; }
};

struct Only final : Interest {
    std::set<std::uint64_t> epochs;
    bool wants(const ChannelRef& channel) const override { return epochs.count(channel.epoch) != 0; }
};

// At least 8 bytes that all follow from `number`.
inline std::string makePayload(std::uint64_t number, std::size_t bytes)
{
    std::string payload(bytes < 8 ? 8 : bytes, '\0');
    std::memcpy(payload.data(), &number, 8);
    Random random{number};
    for (std::size_t at = 8; at < payload.size(); at += 8) {
        const std::uint64_t word = random.next();
        std::memcpy(payload.data() + at, &word, std::min<std::size_t>(8, payload.size() - at));
    }
    return payload;
}

inline std::uint64_t payloadNumber(std::string_view payload)
{
    std::uint64_t number = 0;
    std::memcpy(&number, payload.data(), std::min<std::size_t>(8, payload.size()));
    return number;
}

inline bool isIntact(std::string_view payload)
{
    return payload.size() >= 8 && makePayload(payloadNumber(payload), payload.size()) == payload;
}

inline NewRecord makeRecord(std::string_view channel, std::string_view data, std::int64_t timeMs = 1)
{
    NewRecord record;
    record.app = "app";
    record.channel = channel;
    record.data = data;
    record.timeMs = timeMs;
    return record;
}

// What is wrong with a log that nobody is using, or "". Records' data must be from makePayload().
class LogCheck {
public:
    LogCheck(SharedLog& log, std::byte* base) : log_(log), memory_(base), header_(memory_.header()) {}

    std::string run()
    {
        log_.stats(); // takes the lock, which mends what a dead process left
        records();
        entries();
        cells();
        members();
        memberShares();
        return problem_;
    }

private:
    struct Last {
        std::uint64_t offset;
        LogPosition position;
    };

    void expect(bool condition, const char* what, std::uint64_t value)
    {
        if (!condition && problem_.empty()) {
            problem_ = std::string(what) + " (" + std::to_string(value) + ")";
        }
    }

    void records()
    {
        const LogPosition tail = log_.tail();
        LogPosition cursor = tail;
        LogRecord record;
        RecordArena arena;
        for (;;) {
            const ReadStatus status = log_.next(cursor, Everything{}, arena, record);
            if (status == ReadStatus::End) {
                break;
            }
            expect(status == ReadStatus::Record, "a record that cannot be read", cursor);
            if (status != ReadStatus::Record) {
                return;
            }
            expect(isIntact(record.data), "damaged data", record.position);
            const auto known = last_.find(record.id.epoch);
            if (known == last_.end()) {
                expect(record.previous < tail, "a link to a record of another channel", record.position);
                expect((record.previous == 0) == (record.id.offset == 1), "a first that is none",
                       record.position);
            } else {
                expect(record.id.offset == known->second.offset + 1, "offsets not contiguous",
                       record.position);
                expect(record.previous == known->second.position, "a wrong back-link", record.position);
            }
            last_[record.id.epoch] = {record.id.offset, record.position};
            arena.clear();
        }
        expect(cursor == log_.head(), "the end is not head", cursor);
    }

    void entries()
    {
        using namespace sharedlog;
        std::set<std::uint32_t> chained, idle, free;
        for (std::uint64_t b = 0; b < memory_.plan().bucketCount; ++b) {
            for (std::uint32_t i = memory_.bucket(b); i != 0; i = memory_.entry(i).nextInBucket) {
                expect(chained.insert(i).second, "an entry is chained twice", i);
                if (!problem_.empty()) {
                    return;
                }
            }
        }
        for (std::uint32_t row = 1; row <= header_.appsTouched; ++row) {
            idleList(row, memory_.app(row).spare, Idle::Spare, idle);
            idleList(row, memory_.app(row).idle, Idle::Useful, idle);
        }
        for (std::uint32_t i = header_.freeEntry; i != 0; i = memory_.entry(i).nextInBucket) {
            expect(free.insert(i).second, "an entry is free twice", i);
            if (!problem_.empty()) {
                return;
            }
        }
        std::set<std::string> names;
        std::set<std::uint64_t> epochs;
        std::uint32_t used = 0, subscribed = 0;
        std::map<std::uint32_t, std::uint32_t> ofApps;
        for (std::uint32_t i = 1; i <= header_.entriesTouched; ++i) {
            const Entry& entry = memory_.entry(i);
            const bool alive = entry.epoch != 0;
            expect(alive == (chained.count(i) != 0), "alive is chained", i);
            expect(alive != (free.count(i) != 0), "alive is not free", i);
            expect((alive && entry.subscribers == 0) == (idle.count(i) != 0), "idle is without subscribers",
                   i);
            if (!alive) {
                continue;
            }
            expect(entry.app != 0 && entry.app <= header_.appsTouched && memory_.app(entry.app).nameEnd != 0,
                   "an app that is none", i);
            expect(entry.subscribers != 0 || entry.lastPosition != 0 || entry.lastOffset != 0 ||
                       entry.firstMember != 0 || entry.told != 0,
                   "an entry that nobody needs", i);
            ++used;
            ++ofApps[entry.app];
            subscribed += entry.subscribers != 0 ? 1 : 0;
            const std::string name =
                std::to_string(entry.app) + "/" + std::string(entry.name, entry.channelBytes);
            expect(names.insert(name).second, "a channel has two entries", i);
            expect(epochs.insert(entry.epoch).second, "an epoch was given twice", i);
            const auto last = last_.find(entry.epoch);
            if (last != last_.end()) {
                expect(entry.lastOffset == last->second.offset, "last offset", i);
                expect(entry.lastPosition == last->second.position, "last position", i);
            } else {
                expect(entry.lastPosition < log_.tail(), "a last record that is not there", i);
            }
        }
        expect(header_.channels == used, "number of channels", used);
        expect(header_.subscribedChannels == subscribed, "number of subscribed channels", subscribed);
        expect(free.size() + used == header_.entriesTouched, "a lost entry", free.size());
        std::set<std::string> apps;
        for (std::uint32_t row = 1; row <= header_.appsTouched; ++row) {
            const AppRow& app = memory_.app(row);
            expect(app.channels.used == ofApps[row], "channels of an app", row);
            expect(app.nameEnd == 0 || apps.insert(std::string(Apps::name(app))).second,
                   "an app has two rows", row);
        }
    }

    void idleList(std::uint32_t row, const sharedlog::IdleList& list, sharedlog::Idle kind,
                  std::set<std::uint32_t>& idle)
    {
        std::uint32_t previous = 0;
        for (std::uint32_t i = list.first; i != 0 && problem_.empty();
             previous = i, i = memory_.entry(i).idleNext) {
            const sharedlog::Entry& entry = memory_.entry(i);
            expect(idle.insert(i).second, "an entry is idle twice", i);
            expect(entry.idlePrevious == previous, "idle list, backwards", i);
            expect(entry.app == row && entry.list == kind, "an entry in a list that is not its", i);
            expect((kind == sharedlog::Idle::Useful) == (entry.usefulUntil != 0), "the wrong list", i);
        }
        expect(list.last == previous, "the end of the idle list", previous);
    }

    void cells()
    {
        using namespace sharedlog;
        std::set<std::uint32_t> seen;
        std::uint64_t total = 0;
        std::map<std::uint32_t, std::uint32_t> ofApps;
        for (std::uint32_t i = 1; i <= header_.entriesTouched && problem_.empty(); ++i) {
            const Entry& entry = memory_.entry(i);
            std::uint64_t sum = 0;
            std::set<std::uint32_t> slots;
            for (std::uint32_t c = entry.epoch == 0 ? 0 : entry.firstCell; c != 0; c = memory_.cell(c).next) {
                const Cell& cell = memory_.cell(c);
                expect(seen.insert(c).second, "a cell is chained twice", c);
                expect(cell.count != 0 && cell.entry == i, "a cell that is not the entry's", c);
                expect(slots.insert(cell.slot).second, "two cells of one slot", c);
                expect(memory_.slot(cell.slot).inUse != 0, "a cell of a free slot", c);
                ++ofApps[entry.app];
                if (!problem_.empty()) {
                    return;
                }
                sum += cell.count;
            }
            expect(entry.subscribers == sum, "sum of an entry's cells", i);
            total += sum;
        }
        for (std::uint32_t c = header_.freeCell; c != 0 && problem_.empty(); c = memory_.cell(c).next) {
            expect(seen.insert(c).second, "a free cell is chained", c);
            expect(memory_.cell(c).count == 0, "a free cell counts", c);
        }
        expect(seen.size() == header_.cellsTouched, "a lost cell", seen.size());
        expect(header_.subscribers == total, "number of subscribers", total);
        for (std::uint32_t row = 1; row <= header_.appsTouched; ++row) {
            expect(memory_.app(row).cells.used == ofApps[row], "cells of an app", row);
        }
    }

    // What each app has of the tables of members.
    void memberShares()
    {
        using namespace sharedlog;
        struct Used {
            std::uint32_t members = 0, cells = 0, blocks = 0;
        };
        std::map<std::uint32_t, Used> ofApps;
        std::uint32_t all = 0;
        for (std::uint32_t i = 1; i <= header_.entriesTouched && problem_.empty(); ++i) {
            const Entry& entry = memory_.entry(i);
            std::uint32_t present = 0;
            for (std::uint32_t m = entry.epoch == 0 ? 0 : entry.firstMember; m != 0;
                 m = memory_.member(m).next) {
                const MemberRow& row = memory_.member(m);
                expect(row.entry == i && row.channelEpoch == entry.epoch, "a member of another channel", m);
                Used& used = ofApps[entry.app];
                std::uint32_t sum = 0;
                for (std::uint32_t c = row.firstCell; c != 0; c = memory_.memberCell(c).next) {
                    sum += memory_.memberCell(c).count;
                    ++used.cells;
                }
                for (std::uint32_t b = MemberText::of(row.text).firstBlock; b != 0;
                     b = memory_.block(b).next) {
                    ++used.blocks;
                }
                expect(sum == row.connections, "sum of a member's cells", m);
                present += row.connections != 0 ? 1 : 0;
                ++used.members;
                ++all;
                if (!problem_.empty()) {
                    return;
                }
            }
            expect(entry.epoch == 0 || entry.members == present, "members of a channel", i);
        }
        expect(header_.members == all, "number of members", all);
        for (std::uint32_t row = 1; row <= header_.appsTouched; ++row) {
            const AppRow& app = memory_.app(row);
            expect(app.members.used == ofApps[row].members, "members of an app", row);
            expect(app.memberCells.used == ofApps[row].cells, "member cells of an app", row);
            expect(app.blocks.used == ofApps[row].blocks, "blocks of an app", row);
        }
    }

    // Each row, cell and block of the members' tables is in one place.
    void members()
    {
        using namespace sharedlog;
        std::set<std::uint32_t> rows, cells, blocks;
        for (std::uint32_t i = 1; i <= header_.entriesTouched && problem_.empty(); ++i) {
            const Entry& entry = memory_.entry(i);
            std::uint32_t present = 0;
            for (std::uint32_t m = entry.epoch == 0 ? 0 : entry.firstMember; m != 0;
                 m = memory_.member(m).next) {
                const MemberRow& row = memory_.member(m);
                expect(rows.insert(m).second, "a member is chained twice", m);
                expect(row.entry == i && row.channelEpoch == entry.epoch, "a member of another channel", m);
                expect(row.connections != 0 || row.told != 0 || row.announced != Announced::No, "a ghost", m);
                if (!problem_.empty()) {
                    return;
                }
                present += row.connections != 0 ? 1 : 0;
                std::uint64_t sum = 0;
                for (std::uint32_t c = row.firstCell; c != 0; c = memory_.memberCell(c).next) {
                    expect(cells.insert(c).second && memory_.memberCell(c).entry == m, "a member's cell", c);
                    sum += memory_.memberCell(c).count;
                }
                expect(sum == row.connections, "sum of a member's cells", m);
                for (std::uint32_t b = MemberText::of(row.text).firstBlock; b != 0;
                     b = memory_.block(b).next) {
                    expect(blocks.insert(b).second, "a block is in two texts", b);
                }
            }
            expect(entry.epoch == 0 || entry.members == present, "number of members", i);
        }
        for (std::uint32_t m = header_.freeMember; m != 0 && problem_.empty(); m = memory_.member(m).next) {
            expect(rows.insert(m).second, "a free member is chained", m);
        }
        for (std::uint32_t c = header_.freeMemberCell; c != 0 && problem_.empty();
             c = memory_.memberCell(c).next) {
            expect(cells.insert(c).second, "a free cell of a member is chained", c);
        }
        for (std::uint32_t b = header_.freeBlock; b != 0 && problem_.empty(); b = memory_.block(b).next) {
            expect(blocks.insert(b).second, "a free block is in a text", b);
        }
        expect(rows.size() == header_.membersTouched, "a lost member", rows.size());
        expect(cells.size() == header_.memberCellsTouched, "a lost cell of a member", cells.size());
        expect(blocks.size() == header_.blocksTouched, "a lost block", blocks.size());
    }

    SharedLog& log_;
    sharedlog::Memory memory_;
    sharedlog::Header& header_;
    std::map<std::uint64_t, Last> last_; // by epoch
    std::string problem_;
};

} // namespace realtime::testing
