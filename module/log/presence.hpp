// Who is present in channels: a table of members, each with the connections that every worker has of it.
//
// Thread     everything under the log's mutex.
// Memory     fixed at creation; a member's id and info lie in a chain of blocks.
// Crash      a row lives by one store and its cells tell how often; what is derived is rebuilt. A row without
//            connections that nobody was told of, outside or in the channel, is not there.
// Cost       a channel's members are one chain: joining and leaving is linear in their number.
#pragma once

#include "log/cells.hpp"
#include "log/layout.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace realtime::sharedlog {

class Presence {
public:
    explicit Presence(Memory memory) : memory_(memory), header_(memory.header()) {}

    // Index of the member's row, or 0.
    std::uint32_t find(std::uint32_t entry, std::string_view userId) const;
    // Makes a row without connections; 0: no room. What is not followed by connect() before the lock is released must
    // be forgotten.
    std::uint32_t add(std::uint32_t entry, std::string_view userId, std::string_view info);
    // One connection more of the worker; false: no room.
    bool connect(std::uint32_t member, std::uint32_t slot);
    // One less. Forgets the row with its last connection, unless somebody was told of it.
    void disconnect(std::uint32_t member, std::uint32_t slot);
    // Counts one of the connections of `from` for `slot` instead. False: `from` has none, or no room.
    bool move(std::uint32_t member, std::uint32_t from, std::uint32_t slot);
    void forget(std::uint32_t member);
    // All rows of a channel whose entry is given to another.
    void forgetAll(std::uint32_t entry);

    std::uint32_t connections(std::uint32_t member) const { return memory_.member(member).connections; }
    std::uint32_t connections(std::uint32_t member, std::uint32_t slot) const;
    std::string userId(std::uint32_t member) const;
    Member read(std::uint32_t member) const;
    std::vector<Member> list(std::uint32_t entry) const;    // those with connections
    std::vector<Member> listOwn(std::uint32_t entry) const; // those with connections to workers of this node
    // Those that subscribers have been told of, and `self`.
    std::vector<Member> listAnnounced(std::uint32_t entry, std::uint32_t self) const;
    bool told(std::uint32_t member) const { return memory_.member(member).told != 0; }
    void setTold(std::uint32_t member, bool told);

    Announced announced(std::uint32_t member) const { return memory_.member(member).announced; }
    // `No` forgets a row without connections, unless it is marked as told.
    void setAnnounced(std::uint32_t member, Announced announced);
    std::string info(std::uint32_t member) const;
    // False: no room, it stays as it was.
    bool setInfo(std::uint32_t member, std::string_view info);

    void rebuild();

private:
    Cells cells() const { return Cells::ofMembers(memory_); }
    std::uint64_t hash(std::string_view userId) const;
    std::uint32_t takeMember();
    std::uint32_t takeBlock();
    std::uint32_t writeBlocks(std::string_view userId, std::string_view info, Share& share);
    void freeBlocks(std::uint32_t first, Share& share);
    // Id and info, one behind the other.
    std::string text(std::uint32_t member) const;
    template <class Wanted> std::vector<Member> listIf(std::uint32_t entry, Wanted wanted) const;
    bool forgettable(std::uint32_t member) const;
    void link(std::uint32_t member);
    void unlink(std::uint32_t member);
    void rebuildRows(std::vector<bool>& blocksInUse);
    void rebuildCells();

    Memory memory_;
    Header& header_;
};

} // namespace realtime::sharedlog
