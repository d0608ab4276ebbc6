// The channels of a log: a hash table of fixed size, and the cells in which each worker counts its subscribers.
//
// Thread     everything under the log's mutex.
// Full       an entry without subscribers is given to the newcomer: one whose records have all fallen off the ring
//            if a short look finds it, else that with the oldest last record among those seen. Entries with
//            subscribers are never taken. The list of idle entries makes this O(1) however many are subscribed.
#pragma once

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

class Directory {
public:
    explicit Directory(Memory memory) : memory_(memory), header_(memory.header()) {}

    // Needs no lock. nullopt if a name is too long.
    std::optional<ChannelKey> key(std::string_view app, std::string_view channel,
                                  const StreamKey& stream = {}) const;

    // Indexes; 0: none.
    std::uint32_t find(const ChannelKey& key) const;
    std::uint32_t findOrAdd(const ChannelKey& key);
    // The entry, or 0 if it is another channel's by now.
    std::uint32_t resolve(ChannelRef channel) const;

    // How many the worker had before; nullopt if no cell is free.
    std::optional<std::uint32_t> addSubscriber(std::uint32_t entry, std::uint32_t slot,
                                               std::uint32_t count = 1);
    void removeSubscriber(std::uint32_t entry, std::uint32_t slot, std::uint32_t count = 1);
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
    static std::string_view app(const Entry& entry) { return {entry.name, entry.appBytes}; }
    static std::string_view channel(const Entry& entry)
    {
        return {entry.name + entry.appBytes, entry.channelBytes};
    }

    // 1 + its place, made if need be; 0: it has none (no stream, or all places are taken).
    std::uint16_t streamPlace(std::uint64_t identity) const;

    // Makes everything derived anew.
    void rebuild();

private:
    Cells cells() const { return Cells::ofChannels(memory_); }
    std::uint64_t hash(std::string_view app, std::string_view channel) const;
    bool matches(const Entry& entry, const ChannelKey& key) const;
    std::uint64_t drawEpoch();
    std::uint32_t takeEntry();
    std::uint32_t evict();
    void linkBucket(std::uint32_t index, std::uint64_t hash);
    void unlinkBucket(std::uint32_t index);
    void linkIdle(std::uint32_t index);
    void unlinkIdle(std::uint32_t index);
    void dropSubscribers(std::uint32_t index, std::uint32_t cell, std::uint32_t count);
    void rebuildEntries();
    void rebuildCells();

    Memory memory_;
    Header& header_;
};

} // namespace realtime::sharedlog
