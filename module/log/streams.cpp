// The part of SharedLog that knows of streams, which give their channels order and ids.
#include "log/appender.hpp"
#include "log/directory.hpp"
#include "log/idempotency.hpp"
#include "log/layout.hpp"
#include "log/lock.hpp"
#include "log/shared_log.hpp"
#include "log/step.hpp"

#include <algorithm>

namespace realtime {

using namespace sharedlog;

std::optional<std::uint64_t> SharedLog::streamNext(std::uint64_t identity) const
{
    const Memory memory(base_);
    const Lock lock(memory);
    for (const Stream& stream : memory.header().streams) {
        if (stream.identity == identity && stream.begun != 0) {
            return stream.next;
        }
    }
    return std::nullopt;
}

std::uint64_t SharedLog::streamLife(std::uint64_t identity) const
{
    const Memory memory(base_);
    const Lock lock(memory);
    for (const Stream& stream : memory.header().streams) {
        if (stream.identity == identity) {
            return stream.life;
        }
    }
    return 0;
}

std::int64_t SharedLog::streamSince(std::uint64_t identity, std::int64_t nowMs)
{
    const Memory memory(base_);
    const Lock lock(memory);
    const std::uint16_t place = Directory(memory).streamPlace(identity);
    if (place == 0) {
        return nowMs;
    }
    std::int64_t& since = memory.header().streams[place - 1].sinceMs;
    since = since == 0 ? nowMs : since;
    return since;
}

bool SharedLog::beginStream(std::uint64_t identity, std::uint64_t number, std::uint64_t life)
{
    const Memory memory(base_);
    const Lock lock(memory);
    const std::uint16_t place = Directory(memory).streamPlace(identity);
    if (place == 0) {
        return false;
    }
    Stream& stream = memory.header().streams[place - 1];
    stream.floor = std::max(stream.floor, streamOffset(number - 1));
    // Channels that were asked for before: what they had until now is not known here. If it was an event of another life,
    // a hole behind it tells.
    const bool another = stream.begun != 0 && stream.next > stream.life && life != stream.life;
    for (std::uint32_t i = 1; i <= memory.header().entriesTouched; ++i) {
        Entry& entry = memory.entry(i);
        if (entry.epoch != 0 && entry.stream == place && (entry.lastPosition == 0 || another)) {
            entry.lastOffset = std::max(entry.lastOffset, stream.floor);
        }
    }
    step("stream floor set");
    stream.next = number;
    stream.begun = 1;
    step("stream begun");
    stream.life = life; // the last, since it makes that another life is found
    return true;
}

void SharedLog::reachStream(std::uint64_t identity, std::uint64_t number)
{
    const Memory memory(base_);
    const Lock lock(memory);
    for (Stream& stream : memory.header().streams) {
        if (stream.identity == identity && stream.begun != 0) {
            stream.next = std::max(stream.next, number);
        }
    }
}

std::optional<AppendResult> SharedLog::appended(const NewRecord& record) const
{
    const Memory memory(base_);
    const auto key = Directory(memory).key(record.app, record.channel);
    if (!key) {
        return std::nullopt;
    }
    const auto digest = IdempotencyTable(memory).digest(record);
    const Appender appender(memory);
    AppendResult result;
    const Lock lock(memory);
    return appender.wasSeen(record, digest, *key, result) ? std::optional(result) : std::nullopt;
}

} // namespace realtime
