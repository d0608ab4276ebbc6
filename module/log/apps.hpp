// The apps that have channels in a log: their names, once each, and how much of the tables they have and may have.
//
// Thread     everything under the log's mutex.
// Memory     a table of fixed size. An app without channels that the newest configuration does not have gives its row
//            up when another needs it.
#pragma once

#include "log/layout.hpp"

#include <cstdint>
#include <span>
#include <string_view>

namespace realtime::sharedlog {

class Apps {
public:
    explicit Apps(Memory memory) : memory_(memory), header_(memory.header()) {}

    // Index of the app's row; made, without limits, if need be. 0: no row is free.
    std::uint32_t findOrAdd(std::string_view name);
    // False: there is no room for all of them.
    bool declare(std::span<const AppQuotas> apps);

    static std::string_view name(const AppRow& row) { return {row.name, row.nameEnd - 1}; }

    // Links all rows anew, with nothing used: who rebuilds the tables counts.
    void rebuild();

private:
    std::uint64_t hash(std::string_view name) const;
    std::uint32_t find(std::string_view name, std::uint64_t hash) const;
    std::uint32_t takeRow();
    void unlink(std::uint32_t index);
    void setLimits(AppRow& row, const AppQuotas& quotas) const;

    Memory memory_;
    Header& header_;
};

} // namespace realtime::sharedlog
