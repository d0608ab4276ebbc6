// Messages to and from the compressed payloads of permessage-deflate (RFC 7692). No context is taken over, in neither
// direction: a compressed message is the same bytes for every connection, and a connection has no window.
// What a client offers and is answered is in accept.hpp.
//
// Thread     the worker's event loop; one Deflater and one Inflater serve all its connections.
// Memory     none before the first use. Then zlib's own, 32 KiB to compress and some 40 KiB to decompress, and each a
//            buffer for a message, of which at most 64 KiB stay.
// Errors     std::bad_alloc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

struct z_stream_s;

namespace realtime::ws {

// Keeps what is small, lets go of what is not.
class Scratch {
public:
    static constexpr std::size_t KeptBytes = std::size_t{64} * 1024;

    // At least so many bytes; what was there before is gone.
    std::span<char> of(std::size_t bytes);

private:
    std::unique_ptr<char[]> memory_;
    std::size_t size_ = 0;
};

class Deflater {
public:
    // What it compresses with. Up to 4 KiB, which is most messages, a larger window finds nothing more; at 64 KiB it
    // would save 1 to 2 % of the message. Level 6 takes a fifth more time than level 1 for a kilobyte of JSON, once for
    // all subscribers, and saves a twentieth of the bytes of each.
    static constexpr int WindowBits = 12;
    static constexpr int Level = 6;
    // Below, the few bytes that are saved are nothing beside the headers of a packet.
    static constexpr std::size_t LeastBytes = 128;

    Deflater();
    ~Deflater();
    Deflater(const Deflater&) = delete;
    Deflater& operator=(const Deflater&) = delete;

    // The payload of a frame with RSV1, valid until the next call. Empty: the message is too small, or would not get
    // smaller, and goes as it is.
    std::string_view compress(std::string_view message);

private:
    struct End {
        void operator()(z_stream_s* stream) const;
    };
    std::unique_ptr<z_stream_s, End> stream_;
    Scratch scratch_;
};

class Inflater {
public:
    struct Result {
        std::optional<std::uint16_t> error; // close code: 1007, 1009
        std::string_view message;           // valid until the next call, and no longer than this object
        std::unique_ptr<char[]> own;        // holds a message that is larger than what is kept
    };

    Inflater();
    ~Inflater();
    Inflater(const Inflater&) = delete;
    Inflater& operator=(const Inflater&) = delete;

    // A whole message of at most `atMost` bytes. Ends as soon as there are more, and never takes memory for more.
    Result decompress(std::string_view payload, std::size_t atMost);

    // Payloads of messages of `messageBytes` are not longer, unless their sender wastes more than any compressor does.
    static constexpr std::size_t mostPayload(std::size_t messageBytes)
    {
        return messageBytes + messageBytes / 8 + 64;
    }

private:
    struct End {
        void operator()(z_stream_s* stream) const;
    };
    std::unique_ptr<z_stream_s, End> stream_;
    Scratch scratch_;
};

} // namespace realtime::ws
