// Counts by worker: what each worker has of an owner, in a list of cells for each owner. There are two such tables: the
// subscribers of a channel, and the connections of a member.
//
// Locking    under the log's mutex.
// Errors     index 0: there is none, or no room for one.
#pragma once

#include "log/layout.hpp"

#include <cstdint>
#include <optional>

namespace realtime::sharedlog {

class Cells {
public:
    static Cells ofChannels(Memory memory)
    {
        Header& header = memory.header();
        return {memory.cell(0), memory.plan().cellCount, header.cellsTouched, header.freeCell};
    }
    static Cells ofMembers(Memory memory)
    {
        Header& header = memory.header();
        return {memory.memberCell(0), memory.plan().memberCellCount, header.memberCellsTouched,
                header.freeMemberCell};
    }

    Cell& at(std::uint32_t index) const { return table_[index]; }
    // In the list that begins with `first`.
    std::uint32_t find(std::uint32_t first, std::uint32_t slot) const;
    // The same, made without a count if need be. It is part of `share`, what the owner's app has.
    std::uint32_t findOrAdd(std::uint32_t& first, std::uint32_t owner, std::uint32_t slot, Share& share);
    // Takes one without a count out of its list.
    void remove(std::uint32_t& first, std::uint32_t index, Share& share);
    // Counts one of `from` for `slot` instead, and returns how many that had before; nullopt if `from` has none, or there
    // is no room; the share, for a moment one more, does not count. Should this process die in between, it is counted
    // twice until its slot is freed; never not at all.
    std::optional<std::uint32_t> move(std::uint32_t& first, std::uint32_t owner, std::uint32_t from,
                                      std::uint32_t slot, Share& share);

    // For rebuilding: each is free, or in the list that it is put in.
    void discard(std::uint32_t index);
    void put(std::uint32_t& first, std::uint32_t index);

private:
    Cells(Cell& table, std::uint32_t count, std::uint32_t& touched, std::uint32_t& free)
        : table_(&table), count_(count), touched_(touched), free_(free)
    {
    }
    std::uint32_t take();
    std::uint32_t add(std::uint32_t& first, std::uint32_t owner, std::uint32_t slot, Share& share);

    Cell* table_;
    std::uint32_t count_;
    std::uint32_t& touched_; // so many have been in use
    std::uint32_t& free_;    // the first of those that are no more
};

} // namespace realtime::sharedlog
