#include "log/idempotency.hpp"

#include "base/siphash.hpp"
#include "log/step.hpp"

#include <algorithm>
#include <numeric>
#include <span>

namespace realtime::sharedlog {

namespace {

// Of the app that has most of the cells, none of which is free.
IdempotencyCell& oldestOfMost(std::span<IdempotencyCell, IdempotencyWays> cells)
{
    IdempotencyCell* chosen = nullptr;
    std::ptrdiff_t most = 0;
    for (IdempotencyCell& cell : cells) {
        const auto same = std::count_if(cells.begin(), cells.end(),
                                        [&](const IdempotencyCell& other) { return other.app == cell.app; });
        if (same > most || (same == most && cell.position < chosen->position)) {
            most = same;
            chosen = &cell;
        }
    }
    return *chosen;
}

bool expired(const IdempotencyCell& cell, std::int64_t nowMs)
{
    return cell.offset == 0 || nowMs - cell.timeMs >= IdempotencyWindowMs;
}

} // namespace

IdempotencyTable::Digest IdempotencyTable::digest(const NewRecord& record) const
{
    const auto half = [&](std::size_t which) {
        return SipHash(memory_.header().keys.repeats[which])
            .add(static_cast<std::uint64_t>(record.keyOwner))
            .add(record.app.size())
            .add(record.channel.size())
            .add(record.app)
            .add(record.channel)
            .add(record.idempotencyKey)
            .finish();
    };
    return {{half(0), half(1)}, record.keyOwner};
}

const IdempotencyCell* IdempotencyTable::find(const Digest& digest, std::int64_t nowMs) const
{
    for (const IdempotencyCell& cell : set(digest).cells) {
        if (cell.digest[0] == digest[0] && cell.digest[1] == digest[1] && !expired(cell, nowMs)) {
            return &cell;
        }
    }
    return nullptr;
}

// Of those that share a place: the key's own (which came back after its window, so that a key is never there twice). Else
// an app that has its share there gives its own oldest, and one that has less gets one that is free or over, or the oldest
// of the app that has most.
IdempotencyCell& IdempotencyTable::choose(const Digest& digest, std::int64_t nowMs, std::uint16_t app) const
{
    auto& cells = set(digest).cells;
    IdempotencyCell* over = nullptr;
    IdempotencyCell* ownOldest = nullptr;
    std::uint32_t own = 0;
    for (IdempotencyCell& cell : cells) {
        if (cell.digest[0] == digest[0] && cell.digest[1] == digest[1]) {
            return cell;
        }
        if (expired(cell, nowMs)) {
            over = &cell;
        } else if (cell.app == app) {
            ownOldest = own++ == 0 || cell.position < ownOldest->position ? &cell : ownOldest;
        }
    }
    if (own >= memory_.app(app).repeatWays) {
        return *ownOldest;
    }
    return over != nullptr ? *over : oldestOfMost(cells);
}

void IdempotencyTable::put(const Digest& digest, std::int64_t nowMs, MessageId id, LogPosition position,
                           std::uint16_t app)
{
    IdempotencyCell& cell = choose(digest, nowMs, app);
    cell.offset = 0;
    step("idempotency cell dead");
    cell.digest[0] = digest[0];
    cell.digest[1] = digest[1];
    cell.epoch = id.epoch;
    cell.position = position;
    cell.timeMs = nowMs;
    cell.app = app;
    step("idempotency cell filled");
    cell.offset = id.offset;
    step("idempotency cell alive");
}

IdempotencySet& IdempotencyTable::set(const Digest& digest) const
{
    const auto& counts = memory_.plan().idempotencySets;
    const auto owner = static_cast<std::size_t>(digest.owner);
    const std::uint32_t first = std::accumulate(counts.begin(), counts.begin() + owner, 0U);
    return memory_.idempotencySet(first + static_cast<std::uint32_t>(digest[0] % counts[owner]));
}

void IdempotencyTable::dropUnpublished(LogPosition head)
{
    const auto& counts = memory_.plan().idempotencySets;
    const std::uint32_t sets = std::accumulate(counts.begin(), counts.end(), 0U);
    for (std::uint32_t i = 0; i < sets; ++i) {
        for (IdempotencyCell& cell : memory_.idempotencySet(i).cells) {
            if (cell.position >= head) {
                cell.offset = 0;
            }
        }
    }
}

} // namespace realtime::sharedlog
