// The WebSocket protocol, RFC 6455, server side: handshake keys, frames out, and the parser of what clients
// send. Bytes in, bytes out: no sockets. Of the extensions there is permessage-deflate (RFC 7692); without it RSV bits
// are refused.
//
// Thread     pure functions; a FrameParser belongs to its connection's event loop.
#pragma once

#include "base/frame.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace realtime::ws {

class Inflater;

enum class Opcode : std::uint8_t { Continuation = 0, Text = 1, Binary = 2, Close = 8, Ping = 9, Pong = 10 };

// RFC 6455 7.4.1, and those that IANA registered since. What Pusher adds (4000 to 4299) is not here.
namespace close_code {
inline constexpr std::uint16_t Normal = 1000;
inline constexpr std::uint16_t GoingAway = 1001;
inline constexpr std::uint16_t ProtocolError = 1002;
inline constexpr std::uint16_t Unsupported = 1003;
inline constexpr std::uint16_t None = 1005;     // never on the wire: the close frame was empty
inline constexpr std::uint16_t Abnormal = 1006; // never on the wire: there was no close frame
inline constexpr std::uint16_t InvalidData = 1007;
inline constexpr std::uint16_t PolicyViolation = 1008;
inline constexpr std::uint16_t TooBig = 1009;
inline constexpr std::uint16_t InternalError = 1011;
inline constexpr std::uint16_t ServiceRestart = 1012;
inline constexpr std::uint16_t TryAgainLater = 1013;
} // namespace close_code

// May a peer send this code? 1000 to 1003, 1007 to 1014, 3000 to 4999.
bool validCloseCode(std::uint16_t code);

// --- handshake
// ------------------------------------------------------------------------------------------------ 24
// characters, the Base64 of 16 bytes.
bool validKey(std::string_view secWebSocketKey);
// Sec-WebSocket-Accept for it (28 characters). Throws std::runtime_error if OpenSSL has no SHA-1.
std::string acceptKey(std::string_view secWebSocketKey);

// --- frames to the client, unmasked
// ---------------------------------------------------------------------------
inline constexpr std::size_t MaxHeaderBytes = 10;
inline constexpr std::size_t MaxControlPayload = 125;
inline constexpr std::size_t MaxCloseReason = MaxControlPayload - 2;

// The header of a whole message in one frame; returns its length, 2, 4 or 10.
// `compressed` sets RSV1.
std::size_t encodeHeader(char out[MaxHeaderBytes], Opcode opcode, std::size_t payloadBytes,
                         bool compressed = false);

// A frame as encodeHeader() begins it, taken off the front of `frames`.
struct OwnFrame {
    Opcode opcode;
    std::string_view bytes, payload; // all of it, and what is behind its header
};
OwnFrame takeOwnFrame(std::string_view& frames);

// A frame of a copied payload. Control payloads are cut at MaxControlPayload.
FramePtr encodeFrame(Opcode opcode, std::string_view payload);

// Turns what has been built into one frame, without a copy: the header goes into the builder's headroom.
FramePtr finishFrame(FrameBuilder& payload, Opcode opcode);

// The reason is cut at a UTF-8 border to fit MaxCloseReason. A code that may not be sent makes an empty close
// frame, as when a peer's empty one is answered.
FramePtr encodeClose(std::uint16_t code, std::string_view reason);

// --- frames from the client
// -----------------------------------------------------------------------------------
struct ProtocolError {
    std::uint16_t code;      // to close with: 1002, 1007 or 1009
    std::string_view reason; // a literal
};

// Who gets what the parser finds. A function that returns Next::Stop may have destroyed the parser: feed()
// touches nothing afterwards. Views are valid during the call.
class FrameHandler {
public:
    enum class Next { Continue, Stop };

    virtual Next message(Opcode textOrBinary, std::string_view payload) = 0; // text is valid UTF-8
    virtual Next ping(std::string_view payload) = 0;
    virtual Next pong(std::string_view payload) = 0;
    // The last call: what follows a close frame is ignored. May destroy the parser. No code in it: 1005.
    virtual void close(std::uint16_t code, std::string_view reason) = 0;

protected:
    ~FrameHandler() = default;
};

// Incremental: fed with whatever the socket gave, cut anywhere.
//
// Memory     16 bytes between messages. A message, frame or header that is not whole yet has state on the
// heap,
//            which grows with the bytes that have come, not with the length that a header promises; heldBytes().
// Copies     none for a message whose only frame's payload lies whole in the fed bytes.
// Compressed messages are decompressed when they are whole: until then their compressed bytes are what is kept.
// Errors     std::bad_alloc; then, as after a ProtocolError, the connection is to be closed.
class FrameParser {
public:
    struct Limits {
        std::size_t
            maxMessageBytes; // of all fragments together; refused from the header, before memory is touched
        Inflater* inflater = nullptr; // of a parser that decompresses
    };
    using Handler = FrameHandler;

    // `decompresses`: permessage-deflate has been negotiated, so that messages may be compressed.
    explicit FrameParser(bool decompresses = false);
    ~FrameParser();
    FrameParser(FrameParser&&) noexcept;
    FrameParser& operator=(FrameParser&&) noexcept;

    // Unmasks within `bytes`. Returns what is wrong, or nothing; after an error or a close frame all further
    // bytes are ignored.
    [[nodiscard]] std::optional<ProtocolError> feed(std::span<char> bytes, const Limits& limits,
                                                    Handler& handler);

    // Nothing half received.
    bool idle() const { return state_ == nullptr; }
    // Memory that what is half received holds.
    std::size_t heldBytes() const;
    // Counts what has begun to come in pieces: as long as it is the same and not idle(), so is the message.
    std::uint32_t begun() const { return begun_; }
    // Forgets what is half received; all that follows is ignored. A FrameHandler may call it.
    void stop();
    // An error or a close frame has been seen.
    bool finished() const { return finished_; }
    bool decompresses() const { return decompresses_; }

    // For handing a connection to another process, of another build even: empty if idle, else versioned
    // bytes. Whether it decompresses is not in them.
    std::string serialise() const;
    // Null if the bytes are not understood, or if what they hold is past the limits.
    static std::optional<FrameParser> restore(std::string_view bytes, const Limits& limits,
                                              bool decompresses = false);

private:
    struct Header;
    struct State;
    struct Result;
    class Reader;

    State& state();
    void settle(); // frees the state if nothing is under way

    Result takeHeader(std::span<char>& bytes, const Limits& limits, Handler& handler);
    Result begin(const Header& header, std::span<char>& bytes, const Limits& limits, Handler& handler);
    Result takePayload(std::span<char>& bytes, const Limits& limits, Handler& handler);
    Result wholeData(const Header& header, std::string_view payload, const Limits& limits, Handler& handler);
    Result append(std::string_view payload);
    Result deliver(const Limits& limits, Handler& handler);
    static Result decompress(Opcode opcode, std::string_view payload, const Limits& limits, Handler& handler);
    Result control(Opcode opcode, std::string_view payload, Handler& handler);

    std::unique_ptr<State> state_;
    std::uint32_t begun_ = 0;
    bool finished_ = false;
    bool decompresses_;
};

static_assert(sizeof(FrameParser) <= 16, "each idle connection holds one");

} // namespace realtime::ws
