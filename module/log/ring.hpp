// The ring of records: contiguous, 8-byte aligned, oldest at tail, next one at head. A record that does not fit
// before the ring's end is preceded by padding up to there.
//
//   frame:  bytes (u32) | kind (u32) | ...         bytes: of the whole frame, a multiple of 8
//   record: RecordHeader | data | app | channel | event | contentType | origin | userId | zeros to a multiple of 8
//
// Thread     reserve(), write(), publish() under the log's mutex; the rest by anyone without a lock.
// Order      the reader of a record may be overtaken by a writer that needs its room. As in a seqlock, the writer
//            first moves tail past the record, then a release fence, then overwrites; the reader copies, then an
//            acquire fence, then looks at tail. If it has read one word of the newcomer, the fences pair and it
//            sees the moved tail. All words are atomics (relaxed), so that this race is not undefined behaviour.
#pragma once

#include "log/layout.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>

namespace realtime::sharedlog {

struct RecordHeader {
    std::uint32_t bytes = 0;
    std::uint32_t kind = 0;
    LogPosition position = 0;
    std::uint64_t epoch = 0;
    std::uint64_t offset = 0;
    LogPosition previous = 0;
    std::uint64_t previousOffset =
        0; // the channel's at that time; a record was lost if `previous` has another
    std::int64_t timeMs = 0;
    std::uint32_t flags = 0;
    std::uint32_t entry = 0;
    std::uint32_t dataBytes = 0;
    std::uint8_t appBytes = 0;
    std::uint8_t channelBytes = 0;
    std::uint16_t eventBytes = 0;
    std::uint16_t contentTypeBytes = 0;
    std::uint16_t originBytes = 0;
    std::uint16_t userIdBytes = 0;
    std::uint16_t spare = 0;
    std::uint32_t subscribers = 0;
    std::uint32_t appendedUs = 0; // monotonicMicros()
};
static_assert(sizeof(RecordHeader) == 88);

enum class Peek {
    Record,
    Padding, // only `bytes` is set
    Gone,    // overwritten
    Broken,  // no frame begins here
};

class Ring {
public:
    explicit Ring(Memory memory)
        : header_(memory.header()), words_(memory.ringWords()), bytes_(memory.plan().ringBytes)
    {
    }

    // Size of the frame that `record` needs, or nullopt if it, or one of its parts, is larger than allowed.
    std::optional<std::uint32_t> frameBytes(const NewRecord& record) const;

    // Has the cache fetch the room that a record of `bytes` will most likely take: the ring is larger than caches
    // are, and stores to what is not there wait. A hint; needs no mutex.
    void warm(std::uint32_t bytes) const;
    // Makes room by moving tail on, and lays padding if need be. Where the record goes.
    LogPosition reserve(std::uint32_t bytes);
    // `header` holds what the record itself does not tell: bytes, position, epoch, offset, previous,
    // previousOffset, entry, subscribers.
    void write(RecordHeader header, const NewRecord& record);
    void publish(LogPosition end) { header_.head.store(end, std::memory_order_seq_cst); } // see wake.hpp

    LogPosition head() const { return header_.head.load(std::memory_order_acquire); }
    LogPosition tail() const { return header_.tail.load(std::memory_order_acquire); }

    // Reads the frame at `position`, which is below head.
    Peek peek(LogPosition position, RecordHeader& out) const;
    // Copies the record that peek() has seen; false if it was overwritten meanwhile.
    bool copy(const RecordHeader& header, RecordArena& arena, LogRecord& out) const;

private:
    std::uint64_t* word(LogPosition position) const { return words_ + position % bytes_ / 8; }
    bool stillThere(LogPosition position) const;
    bool plausible(LogPosition position, std::uint64_t index, const RecordHeader& header) const;
    void makeRoom(LogPosition end);

    Header& header_;
    std::uint64_t* words_;
    std::uint64_t bytes_;
};

} // namespace realtime::sharedlog
