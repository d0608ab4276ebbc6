#include "log/idempotency.hpp"

#include "base/siphash.hpp"
#include "log/step.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <span>

namespace realtime::sharedlog {

namespace {

bool isClient(KeyOwner owner)
{
    return owner == KeyOwner::Client || owner == KeyOwner::PeerClient;
}

struct Owner {
    std::uint16_t app;
    bool client;

    bool has(const IdempotencyCell& cell) const { return cell.app == app && (cell.ofClient != 0) == client; }
};

// The oldest of who would have most of the cells with one more for `newcomer`. There is one at least.
IdempotencyCell& oldestOfMost(std::span<IdempotencyCell* const> cells, const Owner& newcomer)
{
    IdempotencyCell* chosen = nullptr;
    std::ptrdiff_t most = 0;
    for (IdempotencyCell* cell : cells) {
        const Owner owner{static_cast<std::uint16_t>(cell->app), cell->ofClient != 0};
        const auto held =
            std::count_if(cells.begin(), cells.end(),
                          [&owner](const IdempotencyCell* other) { return owner.has(*other); }) +
            (newcomer.has(*cell) ? 1 : 0);
        if (held > most || (held == most && cell->position < chosen->position)) {
            most = held;
            chosen = cell;
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

// The most cells of a place. Where clients and publishers share it, each can have one.
std::uint32_t IdempotencyTable::waysOf(const Digest& digest, std::uint16_t app) const
{
    const bool shared = digest.owner == KeyOwner::Peer || digest.owner == KeyOwner::PeerClient;
    return std::max(memory_.app(app).repeatWays, shared ? 2U : 1U);
}

// Of those that share a place: the key's own (which came back after its window, so that a key is never there twice). Else an
// app that has its share there gives one of its own, and one that has less gets one that is free or over, else one of any.
IdempotencyCell& IdempotencyTable::choose(const Digest& digest, std::int64_t nowMs, std::uint16_t app) const
{
    IdempotencyCell* over = nullptr;
    std::array<IdempotencyCell*, IdempotencyWays> held{};
    std::size_t count = 0;
    for (IdempotencyCell& cell : set(digest).cells) {
        if (cell.digest[0] == digest[0] && cell.digest[1] == digest[1]) {
            return cell;
        }
        (expired(cell, nowMs) ? over : held[count++]) = &cell;
    }
    const std::span all(held.data(), count);
    const auto others =
        std::partition(all.begin(), all.end(), [app](auto* cell) { return cell->app == app; });
    const auto own = static_cast<std::size_t>(others - all.begin());
    const Owner newcomer{app, isClient(digest.owner)};
    if (own >= waysOf(digest, app)) {
        return oldestOfMost(all.first(own), newcomer);
    }
    return over != nullptr ? *over : oldestOfMost(all, newcomer);
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
    cell.ofClient = isClient(digest.owner) ? 1 : 0;
    step("idempotency cell filled");
    cell.offset = id.offset;
    step("idempotency cell alive");
}

IdempotencySet& IdempotencyTable::set(const Digest& digest) const
{
    const auto& counts = memory_.plan().idempotencySets;
    const auto table = std::min<std::size_t>(static_cast<std::size_t>(digest.owner), RepeatTables - 1);
    const std::uint32_t first =
        std::accumulate(counts.begin(), counts.begin() + static_cast<std::ptrdiff_t>(table), 0U);
    return memory_.idempotencySet(first + static_cast<std::uint32_t>(digest[0] % counts[table]));
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
