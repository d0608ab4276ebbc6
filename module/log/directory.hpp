// The channels of a log: a hash table of fixed size, and the cells in which each worker counts its subscribers.
//
// Thread     everything under the log's mutex.
// Forgotten  a channel without subscribers that was never published to is not there. Its epoch comes from its name, so
//            that it has the same when it is back, and who waits for its first event has missed nothing.
// Full       an entry without subscribers is given to the newcomer: one that has nothing to give to who comes back
//            (only transient records, or none), else one whose history is over (it has fallen off the ring, or is too
//            old to be asked for) if a short look finds it. A newcomer that is published to takes, failing that, the
//            one with the oldest last record among those seen; one that is subscribed to takes no history away.
//            Entries with subscribers are never taken.
// Shares     an app that has all it may have gets room from its own idle entries only, and one that has less from any
//            app's, but no history from a smaller one. Each app has its lists of idle entries, so that all of this is
//            O(1) however many are subscribed.
#pragma once

#include "log/apps.hpp"
#include "log/cells.hpp"
#include "log/layout.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

namespace realtime::sharedlog {

struct ChannelKey {
    std::string_view app;
    std::string_view channel;
    std::uint64_t hash = 0;
    StreamKey stream{};
};

// Who needs room for a new channel.
struct Newcomer {
    std::int64_t nowMs = 0; // 0: not known, so that no history is too old
    bool published = true;  // else it is subscribed to
};

class Directory {
public:
    explicit Directory(Memory memory) : memory_(memory), header_(memory.header()) {}

    // Needs no lock. nullopt if a name is too long.
    std::optional<ChannelKey> key(std::string_view app, std::string_view channel,
                                  const StreamKey& stream = {}) const;

    // Indexes; 0: none.
    std::uint32_t find(const ChannelKey& key) const;
    // What is made is in no list: settle() it before the lock is released, if it has no subscribers.
    std::uint32_t findOrAdd(const ChannelKey& key, const Newcomer& newcomer);
    // After any change that may have left it without subscribers, users or marks, or has given it a history: it goes
    // to the list where it belongs, or away.
    void settle(std::uint32_t index)
    {
        const Entry& entry = memory_.entry(index);
        if (entry.subscribers == 0 && entry.list != idleListOf(entry)) {
            moveToList(index);
        }
    }
    // The entry, or 0 if it is another channel's by now.
    std::uint32_t resolve(ChannelRef channel) const;

    // How many the worker had before; nullopt if no cell is free.
    std::optional<std::uint32_t> addSubscriber(std::uint32_t entry, std::uint32_t slot,
                                               std::uint32_t count = 1);
    // How many the channel has left. With the last one the entry may go.
    std::uint32_t removeSubscriber(std::uint32_t entry, std::uint32_t slot, std::uint32_t count = 1);
    // Counts one of the subscribers of `from` for `slot` instead, and returns how many that had before; nullopt if
    // `from` has none, or no cell is free.
    std::optional<std::uint32_t> moveSubscriber(std::uint32_t entry, std::uint32_t from, std::uint32_t slot);
    // Forgets what `slot` has counted in `count` cells from cell `from` on.
    // `vacated` hears of entries that have no subscribers any more.
    void clearCells(std::uint32_t slot, std::uint32_t from, std::uint32_t count,
                    const std::function<void(std::uint32_t entry)>& vacated);

    ChannelInfo info(std::uint32_t entry) const;
    // Of a worker that had so many subscribers of the channel before.
    SubscribeResult subscribed(std::uint32_t entry, std::uint32_t before) const;
    static std::string_view app(Memory memory, const Entry& entry) { return Apps::name(memory.appOf(entry)); }
    static std::string_view channel(const Entry& entry) { return {entry.name, entry.channelBytes}; }

    // 1 + its place, made if need be; 0: it has none (no stream, or all places are taken).
    std::uint16_t streamPlace(std::uint64_t identity) const;

    // Makes everything derived anew.
    void rebuild();

private:
    Cells cells() const { return Cells::ofChannels(memory_); }
    std::uint64_t hash(std::string_view app, std::string_view channel) const;
    std::uint64_t hashOf(const Entry& entry) const { return hash(app(memory_, entry), channel(entry)); }
    bool matches(const Entry& entry, const ChannelKey& key) const;
    std::uint64_t epochOf(const ChannelKey& key) const;
    std::uint32_t takeEntry(AppRow& app, const Newcomer& newcomer);
    struct IdleEntry {
        std::uint32_t index = 0; // 0: none
        bool useful = false;     // its history may be asked for
    };
    std::uint32_t findIdle(AppRow& app, const Newcomer& newcomer);
    IdleEntry leastMissed(AppRow& app, std::int64_t nowMs);
    IdleEntry leastMissedOfOthers(const AppRow& needy, std::int64_t nowMs, IdleEntry own);
    void evict(std::uint32_t index);
    void bury(std::uint32_t index, std::uint64_t hash);
    // Of an entry without subscribers.
    Idle idleListOf(const Entry& entry) const
    {
        return entry.usefulUntil != 0 ? Idle::Useful : isBare(entry) ? Idle::Gone : Idle::Spare;
    }
    bool isBare(const Entry& entry) const
    {
        const std::uint64_t floor = entry.stream != 0 ? header_.streams[entry.stream - 1].floor : 0;
        return entry.lastPosition == 0 && entry.lastOffset <= floor && entry.firstMember == 0 &&
               entry.told == 0;
    }
    static IdleList& listOf(AppRow& app, Idle list) { return list == Idle::Spare ? app.spare : app.idle; }
    void linkBucket(std::uint32_t index, std::uint64_t hash);
    void unlinkBucket(std::uint32_t index, std::uint64_t hash);
    void moveToList(std::uint32_t index);
    void linkIdle(std::uint32_t index, Idle list);
    void unlinkIdle(std::uint32_t index);
    void dropSubscribers(std::uint32_t index, std::uint32_t cell, std::uint32_t count);
    void rebuildEntries();
    void rebuildCells();

    Memory memory_;
    Header& header_;
};

} // namespace realtime::sharedlog
