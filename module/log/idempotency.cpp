#include "log/idempotency.hpp"

#include "base/siphash.hpp"
#include "log/step.hpp"

#include <algorithm>
#include <iterator>

namespace realtime::sharedlog {

namespace {

bool expired(const IdempotencyCell& cell, std::int64_t nowMs)
{
    return cell.offset == 0 || nowMs - cell.timeMs >= IdempotencyWindowMs;
}

} // namespace

IdempotencyTable::Digest IdempotencyTable::digest(const NewRecord& record) const
{
    const auto half = [&](std::uint64_t number) {
        const std::uint64_t seed = memory_.header().seed;
        const SipKey secret{mix(seed + number), mix(seed + number + 1)};
        return SipHash(secret)
            .add(record.app.size())
            .add(record.channel.size())
            .add(record.app)
            .add(record.channel)
            .add(record.idempotencyKey)
            .finish();
    };
    return {{half(3), half(5)}, record.fromPeer};
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

void IdempotencyTable::put(const Digest& digest, std::int64_t nowMs, MessageId id, LogPosition position)
{
    auto& cells = set(digest).cells;
    const auto older = [](const IdempotencyCell& a, const IdempotencyCell& b) {
        return (a.offset == 0 ? INT64_MIN : a.timeMs) < (b.offset == 0 ? INT64_MIN : b.timeMs);
    };
    const auto isOurs = [&](const IdempotencyCell& c) {
        return c.digest[0] == digest[0] && c.digest[1] == digest[1];
    };
    // A key that came back after its window keeps its cell, so that a key is never there twice.
    auto* cell = std::find_if(std::begin(cells), std::end(cells), isOurs);
    if (cell == std::end(cells)) {
        cell = std::min_element(std::begin(cells), std::end(cells), older);
    }
    cell->offset = 0;
    step("idempotency cell dead");
    cell->digest[0] = digest[0];
    cell->digest[1] = digest[1];
    cell->epoch = id.epoch;
    cell->position = position;
    cell->timeMs = nowMs;
    step("idempotency cell filled");
    cell->offset = id.offset;
    step("idempotency cell alive");
}

void IdempotencyTable::dropUnpublished(LogPosition head)
{
    for (std::uint32_t i = 0; i < memory_.plan().idempotencySets + memory_.plan().peerSets; ++i) {
        for (IdempotencyCell& cell : memory_.idempotencySetAt(i).cells) {
            if (cell.position >= head) {
                cell.offset = 0;
            }
        }
    }
}

} // namespace realtime::sharedlog
