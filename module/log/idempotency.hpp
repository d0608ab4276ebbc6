// Which idempotency keys were seen lately, and what id their event got: a small set-associative table. A key is
// known by 128 bits of keyed hash. Where more keys than cells meet, the oldest is forgotten: deduplication is a
// promise for the window as far as memory allows, the log's only such. Events of other nodes have a table of their own,
// so that many of them do not push out clients' keys.
//
// Thread     digest() any, the rest under the log's mutex.
#pragma once

#include "log/layout.hpp"

#include <array>
#include <cstdint>
#include <string_view>

namespace realtime::sharedlog {

class IdempotencyTable {
public:
    struct Digest {
        std::array<std::uint64_t, 2> words{};
        bool ofPeer = false; // which of the two tables
        std::uint64_t operator[](std::size_t i) const { return words[i]; }
    };

    explicit IdempotencyTable(Memory memory) : memory_(memory) {}

    Digest digest(const NewRecord& record) const;
    // Null if the key was not seen within the window.
    const IdempotencyCell* find(const Digest& digest, std::int64_t nowMs) const;
    // Called before the record is published, so that no crash lets a published event be published again.
    void put(const Digest& digest, std::int64_t nowMs, MessageId id, LogPosition position);
    // After a crash: forgets keys whose record was never published (at or behind `head`).
    void dropUnpublished(LogPosition head);

private:
    IdempotencySet& set(const Digest& digest) const
    {
        return memory_.idempotencySet(digest[0], digest.ofPeer);
    }
    Memory memory_;
};

} // namespace realtime::sharedlog
