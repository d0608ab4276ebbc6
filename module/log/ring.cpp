#include "log/ring.hpp"

#include "log/step.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

namespace realtime::sharedlog {

namespace {

constexpr std::uint32_t RecordKind = 0x44434552;  // "RECD"
constexpr std::uint32_t PaddingKind = 0x44444150; // "PADD"
constexpr std::size_t HeaderWords = sizeof(RecordHeader) / sizeof(std::uint64_t);

std::uint64_t load(std::uint64_t* word)
{
    return std::atomic_ref<std::uint64_t>(*word).load(std::memory_order_relaxed);
}

void store(std::uint64_t* word, std::uint64_t value)
{
    std::atomic_ref<std::uint64_t>(*word).store(value, std::memory_order_relaxed);
}

std::uint64_t frameWord(std::uint64_t bytes, std::uint32_t kind)
{
    return bytes | (static_cast<std::uint64_t>(kind) << 32U);
}

// Packs pieces of text one behind the other into whole words.
class WordWriter {
public:
    explicit WordWriter(std::uint64_t* at) : at_(at) {}

    void put(std::string_view text)
    {
        while (text.size() >= sizeof(std::uint64_t)) {
            std::uint64_t word = 0;
            std::memcpy(&word, text.data(), sizeof(word));
            putWord(word, sizeof(word));
            text.remove_prefix(sizeof(word));
        }
        if (!text.empty()) {
            std::uint64_t word = 0;
            std::memcpy(&word, text.data(), text.size());
            putWord(word, text.size());
        }
    }

    void flush()
    {
        if (filled_ != 0) {
            store(at_, pending_);
        }
    }

private:
    static_assert(std::endian::native == std::endian::little, "the first byte of a word is its lowest");

    void putWord(std::uint64_t word, std::size_t bytes)
    {
        pending_ |= word << (8 * filled_);
        if (filled_ + bytes < sizeof(word)) {
            filled_ += bytes;
            return;
        }
        store(at_++, pending_);
        pending_ = filled_ == 0 ? 0 : word >> (8 * (sizeof(word) - filled_));
        filled_ = filled_ + bytes - sizeof(word);
    }

    std::uint64_t* at_;
    std::uint64_t pending_ = 0;
    std::size_t filled_ = 0;
};

std::uint64_t textBytes(const RecordHeader& h)
{
    return std::uint64_t{h.dataBytes} + h.appBytes + h.channelBytes + h.eventBytes + h.contentTypeBytes +
           h.originBytes + h.userIdBytes;
}

} // namespace

std::optional<std::uint32_t> Ring::frameBytes(const NewRecord& record) const
{
    constexpr std::size_t Small = std::numeric_limits<std::uint16_t>::max();
    const std::uint64_t most = bytes_ / SharedLog::MaxRecordShare;
    if (record.app.size() > MaxAppBytes || record.channel.size() > MaxChannelBytes ||
        record.event.size() > Small || record.contentType.size() > Small || record.origin.size() > Small ||
        record.userId.size() > Small || record.data.size() > most) {
        return std::nullopt;
    }
    const std::uint64_t text = record.app.size() + record.channel.size() + record.event.size() +
                               record.contentType.size() + record.origin.size() + record.userId.size() +
                               record.data.size();
    const std::uint64_t bytes = (sizeof(RecordHeader) + text + 7) & ~std::uint64_t{7};
    if (bytes > most || bytes > std::numeric_limits<std::uint32_t>::max()) {
        return std::nullopt;
    }
    return static_cast<std::uint32_t>(bytes);
}

void Ring::warm(std::uint32_t bytes) const
{
    constexpr std::uint64_t Most = 8 * CacheLine; // then the processor sees for itself what comes next
    const std::uint64_t begin = head() % bytes_;
    const std::uint64_t end = std::min({begin + bytes, begin + Most, bytes_});
    for (std::uint64_t at = begin; at < end; at += CacheLine) {
        __builtin_prefetch(words_ + at / sizeof(*words_), 1);
    }
}

LogPosition Ring::reserve(std::uint32_t bytes)
{
    const LogPosition head = header_.head.load(std::memory_order_relaxed); // only written under our mutex
    const std::uint64_t left = bytes_ - head % bytes_;
    const std::uint64_t padding = bytes > left ? left : 0;
    makeRoom(head + padding + bytes);
    if (padding != 0) {
        store(word(head), frameWord(padding, PaddingKind));
    }
    return head + padding;
}

void Ring::makeRoom(LogPosition end)
{
    const LogPosition head = header_.head.load(std::memory_order_relaxed);
    const LogPosition oldTail = header_.tail.load(std::memory_order_relaxed);
    LogPosition tail = oldTail;
    while (end - tail > bytes_) {
        const auto bytes = static_cast<std::uint32_t>(load(word(tail)));
        // A frame is never empty nor larger than what is left up to head; if it is, memory was scribbled over, and
        // an empty log is better than an endless loop.
        tail = bytes == 0 || bytes > head - tail ? head : tail + bytes;
    }
    if (tail != oldTail) {
        header_.tail.store(tail, std::memory_order_relaxed);
        std::atomic_thread_fence(std::memory_order_release); // pairs with stillThere()
        step("tail moved");
    }
}

void Ring::write(RecordHeader header, const NewRecord& record)
{
    header.kind = RecordKind;
    header.timeMs = record.timeMs;
    header.flags = record.flags;
    header.dataBytes = static_cast<std::uint32_t>(record.data.size());
    header.appBytes = static_cast<std::uint8_t>(record.app.size());
    header.channelBytes = static_cast<std::uint8_t>(record.channel.size());
    header.eventBytes = static_cast<std::uint16_t>(record.event.size());
    header.contentTypeBytes = static_cast<std::uint16_t>(record.contentType.size());
    header.originBytes = static_cast<std::uint16_t>(record.origin.size());
    header.userIdBytes = static_cast<std::uint16_t>(record.userId.size());

    std::uint64_t* const at = word(header.position);
    const auto words = std::bit_cast<std::array<std::uint64_t, HeaderWords>>(header);
    for (std::size_t i = 0; i < HeaderWords; ++i) {
        store(at + i, words[i]);
    }
    WordWriter out(at + HeaderWords);
    for (const auto text : {record.data, record.app, record.channel, record.event, record.contentType,
                            record.origin, record.userId}) {
        out.put(text);
    }
    out.flush();
}

bool Ring::stillThere(LogPosition position) const
{
    std::atomic_thread_fence(std::memory_order_acquire); // pairs with makeRoom()
    return header_.tail.load(std::memory_order_relaxed) <= position;
}

bool Ring::plausible(LogPosition position, std::uint64_t index, const RecordHeader& header) const
{
    const bool fits = header.bytes % 8 == 0 && header.bytes != 0 && header.bytes <= bytes_ - index &&
                      header.bytes <= head() - position;
    if (header.kind == PaddingKind) {
        return fits;
    }
    return fits && header.kind == RecordKind && header.position == position &&
           sizeof(RecordHeader) + textBytes(header) <= header.bytes;
}

Peek Ring::peek(LogPosition position, RecordHeader& out) const
{
    if (position % 8 != 0) {
        return Peek::Broken;
    }
    const std::uint64_t index = position % bytes_;
    std::uint64_t* const at = words_ + index / 8;
    std::array<std::uint64_t, HeaderWords> words{};
    words[0] = load(at);
    // Padding may be shorter than a header. (If a writer is just overwriting this, the last check tells.)
    const bool padding = words[0] >> 32U == PaddingKind;
    if (!padding && index + sizeof(RecordHeader) <= bytes_) {
        for (std::size_t i = 1; i < HeaderWords; ++i) {
            words[i] = load(at + i);
        }
    }
    if (!stillThere(position)) {
        return Peek::Gone;
    }
    out = std::bit_cast<RecordHeader>(words);
    if (!plausible(position, index, out)) {
        return Peek::Broken;
    }
    return padding ? Peek::Padding : Peek::Record;
}

bool Ring::copy(const RecordHeader& header, RecordArena& arena, LogRecord& out) const
{
    const std::size_t words = (header.bytes - sizeof(RecordHeader)) / sizeof(std::uint64_t);
    std::byte* const copied = arena.allocate(words * sizeof(std::uint64_t));
    std::uint64_t* const from = word(header.position) + HeaderWords;
    for (std::size_t i = 0; i < words; ++i) {
        const std::uint64_t value = load(from + i);
        std::memcpy(copied + i * sizeof(value), &value, sizeof(value));
    }
    if (!stillThere(header.position)) {
        return false;
    }

    const char* at = reinterpret_cast<const char*>(copied);
    const auto take = [&at](std::size_t bytes) {
        const std::string_view text(at, bytes);
        at += bytes;
        return text;
    };
    out.position = header.position;
    out.previous = header.previous;
    out.previousOffset = header.previousOffset;
    out.id = {header.epoch, header.offset};
    out.timeMs = header.timeMs;
    out.flags = header.flags;
    out.subscribers = header.subscribers;
    out.appendedUs = header.appendedUs;
    out.data = take(header.dataBytes);
    out.app = take(header.appBytes);
    out.channel = take(header.channelBytes);
    out.event = take(header.eventBytes);
    out.contentType = take(header.contentTypeBytes);
    out.origin = take(header.originBytes);
    out.userId = take(header.userIdBytes);
    return true;
}

} // namespace realtime::sharedlog
