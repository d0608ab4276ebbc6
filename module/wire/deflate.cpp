#include "wire/deflate.hpp"

#include "wire/websocket.hpp"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>

namespace realtime::ws {

namespace {

// What a flush ends with, and a sender leaves away (RFC 7692 7.2.1).
constexpr std::string_view Tail{"\x00\x00\xff\xff", 4};

constexpr std::size_t MostAtOnce = std::numeric_limits<uInt>::max();

// With zlib's 2^(WindowBits + 2) + 2^(MemoryLevel + 9): 32 KiB. The table that each message begins with an empty one of
// is small, so that small messages do not pay for it.
constexpr int MemoryLevel = 5;
constexpr int LargestWindow = 15;
constexpr int Raw = -1; // a window of -15 bits is one of 15, and no header

Bytef* bytes(char* at)
{
    return reinterpret_cast<Bytef*>(at);
}
Bytef* bytes(std::string_view text)
{
    return bytes(const_cast<char*>(text.data())); // zlib only reads it
}

} // namespace

std::span<char> Scratch::of(std::size_t bytes)
{
    if (size_ < bytes || size_ > std::max(bytes, KeptBytes)) {
        memory_.reset();
        size_ = 0;
        memory_.reset(new char[bytes]);
        size_ = bytes;
    }
    return {memory_.get(), size_};
}

// --- out ----------------------------------------------------------------------------------------------------------

Deflater::Deflater() = default;
Deflater::~Deflater() = default;

void Deflater::End::operator()(z_stream_s* stream) const
{
    deflateEnd(stream);
    delete stream;
}

std::string_view Deflater::compress(std::string_view message)
{
    if (message.size() < LeastBytes || message.size() > MostAtOnce - Tail.size()) {
        return {};
    }
    if (stream_ == nullptr) {
        auto stream = std::make_unique<z_stream>();
        if (deflateInit2(stream.get(), Level, Z_DEFLATED, Raw * WindowBits, MemoryLevel,
                         Z_DEFAULT_STRATEGY) != Z_OK) {
            throw std::bad_alloc();
        }
        stream_.reset(stream.release());
    } else {
        deflateReset(stream_.get());
    }
    // Room for no more than the message itself: what does not fit does not get smaller.
    const std::size_t room = message.size() + Tail.size();
    const std::span<char> out = scratch_.of(room);
    stream_->next_in = bytes(message);
    stream_->avail_in = static_cast<uInt>(message.size());
    stream_->next_out = bytes(out.data());
    stream_->avail_out = static_cast<uInt>(room);
    if (deflate(stream_.get(), Z_SYNC_FLUSH) != Z_OK || stream_->avail_out == 0) {
        return {};
    }
    return {out.data(), room - stream_->avail_out - Tail.size()};
}

// --- in -----------------------------------------------------------------------------------------------------------

Inflater::Inflater() = default;
Inflater::~Inflater() = default;

void Inflater::End::operator()(z_stream_s* stream) const
{
    inflateEnd(stream);
    delete stream;
}

namespace {

// Where the message grows: what is kept, and one of its own when that is full.
class Output {
public:
    Output(Scratch& scratch, std::size_t atMost)
        : atMost_(atMost), room_(scratch.of(std::min(most(), Scratch::KeptBytes)))
    {
        room_ = room_.first(std::min(room_.size(), most()));
    }

    // The rest of the room, made if need be. Empty: the message is larger than allowed.
    std::span<char> rest()
    {
        if (used_ == room_.size() && used_ < most()) {
            own_.reset(new char[most()]); // untouched pages cost nothing
            std::memcpy(own_.get(), room_.data(), used_);
            room_ = {own_.get(), most()};
        }
        return used_ > atMost_ ? std::span<char>() : room_.subspan(used_);
    }
    void take(std::size_t bytes) { used_ += bytes; }
    std::string_view view() const { return {room_.data(), used_}; }
    std::unique_ptr<char[]> own() { return std::move(own_); }

private:
    // One more than allowed, which shows that there are more.
    std::size_t most() const { return atMost_ + 1; }

    std::size_t atMost_;
    std::size_t used_ = 0;
    std::span<char> room_;
    std::unique_ptr<char[]> own_;
};

enum class Outcome : std::uint8_t { Good, TooBig, Corrupt };

// A final block ends the stream, but not the message (RFC 7692 7.2.3.4); the next one begins anew.
Outcome inflatePiece(z_stream& stream, std::string_view piece, Output& out, bool& finalBlock)
{
    stream.next_in = bytes(piece);
    stream.avail_in = static_cast<uInt>(piece.size());
    do {
        if (finalBlock) {
            inflateReset(&stream);
            finalBlock = false;
        }
        const std::span<char> room = out.rest();
        if (room.empty()) {
            return Outcome::TooBig;
        }
        const auto size = static_cast<uInt>(std::min(room.size(), MostAtOnce));
        stream.next_out = bytes(room.data());
        stream.avail_out = size;
        const int result = inflate(&stream, Z_SYNC_FLUSH);
        out.take(size - stream.avail_out);
        finalBlock = result == Z_STREAM_END;
        if (result == Z_MEM_ERROR) {
            throw std::bad_alloc();
        }
        // Z_BUF_ERROR: nothing was left to do.
        if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
            return Outcome::Corrupt;
        }
    } while (stream.avail_in > 0 || (stream.avail_out == 0 && !finalBlock));
    return Outcome::Good;
}

Outcome inflateAll(z_stream& stream, std::string_view payload, Output& out)
{
    bool finalBlock = false;
    Outcome outcome = inflatePiece(stream, payload, out, finalBlock);
    if (outcome != Outcome::Good || finalBlock) {
        return outcome;
    }
    outcome = inflatePiece(stream, Tail, out, finalBlock);
    constexpr int AtBlockEnd = 128; // in data_type, see inflate() in zlib.h
    const bool whole = (stream.data_type & AtBlockEnd) != 0;
    return outcome == Outcome::Good && !whole ? Outcome::Corrupt : outcome;
}

} // namespace

Inflater::Result Inflater::decompress(std::string_view payload, std::size_t atMost)
{
    if (payload.size() > MostAtOnce || atMost == std::numeric_limits<std::size_t>::max()) {
        return {close_code::TooBig, {}, nullptr};
    }
    if (stream_ == nullptr) {
        auto stream = std::make_unique<z_stream>();
        if (inflateInit2(stream.get(), Raw * LargestWindow) != Z_OK) {
            throw std::bad_alloc();
        }
        stream_.reset(stream.release());
    } else {
        inflateReset(stream_.get());
    }
    Output out(scratch_, atMost);
    switch (inflateAll(*stream_, payload, out)) {
    case Outcome::Good:
        break;
    case Outcome::TooBig:
        return {close_code::TooBig, {}, nullptr};
    case Outcome::Corrupt:
        return {close_code::InvalidData, {}, nullptr};
    }
    return {std::nullopt, out.view(), out.own()};
}

} // namespace realtime::ws
