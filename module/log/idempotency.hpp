// Which idempotency keys were seen lately, and what id their event got: a small set-associative table. A key is
// known by 128 bits of keyed hash. Where more keys than cells meet, the oldest is forgotten: deduplication is a
// promise for the window as far as memory allows, the log's only such. Publishers, clients and other nodes have a table
// each, so that nobody's keys push out, or can be told from, those of others. In each place of a table an app has so many
// cells as its share allows; and where others need one, who has most gives way: of the events of streams, clients' and
// publishers' count apart.
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
        KeyOwner owner = KeyOwner::Publisher;
        std::uint64_t operator[](std::size_t i) const { return words[i]; }
    };

    explicit IdempotencyTable(Memory memory) : memory_(memory) {}

    Digest digest(const NewRecord& record) const;
    // Null if the key was not seen within the window.
    const IdempotencyCell* find(const Digest& digest, std::int64_t nowMs) const;
    // Called before the record is published, so that no crash lets a published event be published again.
    // `app`: index of its row.
    void put(const Digest& digest, std::int64_t nowMs, MessageId id, LogPosition position, std::uint16_t app);
    // After a crash: forgets keys whose record was never published (at or behind `head`).
    void dropUnpublished(LogPosition head);

private:
    IdempotencySet& set(const Digest& digest) const;
    std::uint32_t waysOf(const Digest& digest, std::uint16_t app) const;
    IdempotencyCell& choose(const Digest& digest, std::int64_t nowMs, std::uint16_t app) const;
    Memory memory_;
};

} // namespace realtime::sharedlog
