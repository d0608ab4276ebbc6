#include "wire/websocket.hpp"

#include "base/base64.hpp"
#include "base/utf8.hpp"
#include "wire/deflate.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <vector>

namespace realtime::ws {

namespace {

constexpr std::uint8_t Fin = 0x80, Reserved = 0x70, Rsv1 = 0x40, OpcodeBits = 0x0f, Masked = 0x80,
                       LengthBits = 0x7f;
constexpr std::uint8_t Length16 = 126, Length64 = 127;

constexpr bool isControl(Opcode opcode)
{
    return (static_cast<std::uint8_t>(opcode) & 0x08) != 0;
}

constexpr bool known(std::uint8_t opcode)
{
    return opcode <= 2 || (opcode >= 8 && opcode <= 10);
}

// The mask as eight bytes in memory order, beginning with its byte `phase`.
std::uint64_t wideMask(const std::uint8_t (&mask)[4], std::size_t phase)
{
    std::uint8_t wide[8];
    for (std::size_t i = 0; i < sizeof wide; ++i) {
        wide[i] = mask[(phase + i) & 3];
    }
    std::uint64_t word;
    std::memcpy(&word, wide, sizeof word);
    return word;
}

// RFC 6455 5.3, eight bytes at a time.
void unmask(std::span<char> bytes, const std::uint8_t (&mask)[4])
{
    const std::uint64_t wide = wideMask(mask, 0);
    char* at = bytes.data();
    std::size_t left = bytes.size();
    for (; left >= sizeof wide; at += sizeof wide, left -= sizeof wide) {
        std::uint64_t word;
        std::memcpy(&word, at, sizeof word);
        word ^= wide;
        std::memcpy(at, &word, sizeof word);
    }
    for (std::size_t i = 0; i < left; ++i) {
        at[i] = static_cast<char>(at[i] ^ mask[i & 3]);
    }
}

void rotate(std::uint8_t (&mask)[4], std::size_t by)
{
    std::rotate(mask, mask + (by & 3), mask + 4);
}

std::uint64_t bigEndian(const char* bytes, std::size_t size)
{
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
        value = value << 8 | static_cast<std::uint8_t>(bytes[i]);
    }
    return value;
}

std::string_view view(std::span<const char> bytes)
{
    return {bytes.data(), bytes.size()};
}

} // namespace

// --- handshake
// ------------------------------------------------------------------------------------------------

bool validCloseCode(std::uint16_t code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

bool validKey(std::string_view key)
{
    // 16 bytes are 21 characters and a third. What the unused bits of the 22nd are is not held against a
    // client.
    constexpr std::size_t Size = 24, Padding = 2;
    if (key.size() != Size || key.substr(Size - Padding) != "==") {
        return false;
    }
    return std::all_of(key.begin(), key.end() - Padding, [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
               c == '/';
    });
}

std::string acceptKey(std::string_view key)
{
    std::string text(key);
    text += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; // RFC 6455 1.3
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    if (EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha1(), nullptr) != 1) {
        throw std::runtime_error("OpenSSL cannot compute SHA-1");
    }
    std::string accept;
    appendBase64(accept, {reinterpret_cast<const char*>(digest), size});
    return accept;
}

// --- out
// ------------------------------------------------------------------------------------------------------

std::size_t encodeHeader(char out[MaxHeaderBytes], Opcode opcode, std::size_t payloadBytes, bool compressed)
{
    out[0] = static_cast<char>(Fin | (compressed ? Rsv1 : 0) | static_cast<std::uint8_t>(opcode));
    if (payloadBytes < Length16) {
        out[1] = static_cast<char>(payloadBytes);
        return 2;
    }
    const std::size_t bytes = payloadBytes <= 0xffff ? 2 : 8;
    out[1] = static_cast<char>(bytes == 2 ? Length16 : Length64);
    for (std::size_t i = 0; i < bytes; ++i) {
        out[2 + i] = static_cast<char>(static_cast<std::uint64_t>(payloadBytes) >> 8 * (bytes - 1 - i));
    }
    return 2 + bytes;
}

OwnFrame takeOwnFrame(std::string_view& frames)
{
    std::size_t header = 2;
    std::size_t payload = static_cast<std::uint8_t>(frames[1]);
    if (payload >= Length16) {
        const std::size_t bytes = payload == Length16 ? 2 : 8;
        payload = static_cast<std::size_t>(bigEndian(frames.data() + header, bytes));
        header += bytes;
    }
    const std::string_view bytes = frames.substr(0, header + payload);
    frames.remove_prefix(bytes.size());
    return {static_cast<Opcode>(static_cast<std::uint8_t>(bytes[0]) & OpcodeBits), bytes,
            bytes.substr(header)};
}

FramePtr encodeFrame(Opcode opcode, std::string_view payload)
{
    if (isControl(opcode)) {
        payload = payload.substr(0, MaxControlPayload);
    }
    char header[MaxHeaderBytes];
    const std::size_t size = encodeHeader(header, opcode, payload.size());
    FramePtr frame = Frame::make(size + payload.size());
    std::memcpy(frame->data(), header, size);
    if (!payload.empty()) {
        std::memcpy(frame->data() + size, payload.data(), payload.size());
    }
    return frame;
}

FramePtr finishFrame(FrameBuilder& payload, Opcode opcode)
{
    static_assert(FrameBuilder::Headroom >= MaxHeaderBytes);
    char header[MaxHeaderBytes];
    payload.prepend({header, encodeHeader(header, opcode, payload.size())});
    return payload.finish();
}

FramePtr encodeClose(std::uint16_t code, std::string_view reason)
{
    if (!validCloseCode(code)) {
        return encodeFrame(Opcode::Close, {});
    }
    std::string payload{static_cast<char>(code >> 8), static_cast<char>(code)};
    payload += reason.substr(0, utf8Prefix(reason, MaxCloseReason));
    return encodeFrame(Opcode::Close, payload);
}

// --- in
// -------------------------------------------------------------------------------------------------------

struct FrameParser::Header {
    static constexpr std::size_t MaxBytes = 14; // two, the length, the mask

    Opcode opcode = Opcode::Continuation;
    bool fin = false;
    bool compressed = false;
    std::uint64_t length = 0;
    std::uint8_t mask[4] = {};
    std::size_t bytes = 0; // its own size; 0: not whole yet

    std::optional<ProtocolError> parse(std::string_view raw, bool decompresses);

private:
    std::optional<ProtocolError> parseFirst(std::uint8_t first, std::uint8_t second, bool decompresses);
};

struct FrameParser::State {
    // A header that is not whole yet.
    char header[Header::MaxBytes] = {};
    std::uint8_t headerBytes = 0;

    // A frame whose payload is not whole yet.
    bool inPayload = false;
    bool fin = false;
    Opcode opcode = Opcode::Continuation;
    std::uint8_t mask[4] = {}; // rotated: the next byte's mask comes first
    std::uint64_t left = 0;

    // A message that is not whole yet; Continuation: there is none.
    Opcode message = Opcode::Continuation;
    bool compressed = false;
    Utf8Validator utf8;
    std::vector<char> assembled; // no string: that would take more than it is asked to

    std::string_view view() const { return {assembled.data(), assembled.size()}; }
    void add(std::string_view payload);

    // Control frames come between the fragments of a message.
    std::uint8_t controlBytes = 0;
    char control[MaxControlPayload] = {};

    // After restore(): could feed() have left it so? Brings the UTF-8 state up to date.
    bool consistent(const Limits& limits, bool decompresses);
};

struct FrameParser::Result {
    enum class Kind { Continue, Stop, Error } kind = Kind::Continue;
    ProtocolError error{};

    Result() = default;
    Result(FrameHandler::Next next) : kind(next == FrameHandler::Next::Stop ? Kind::Stop : Kind::Continue) {}
    Result(ProtocolError problem) : kind(Kind::Error), error(problem) {}

    static Result stop() { return FrameHandler::Next::Stop; }
    bool go() const { return kind == Kind::Continue; }
};

namespace {

ProtocolError wrong(std::string_view reason)
{
    return {close_code::ProtocolError, reason};
}

constexpr ProtocolError NotUtf8{close_code::InvalidData, "text is not UTF-8"};
constexpr ProtocolError TooBig{close_code::TooBig, "message too big"};

// Of a message on the wire.
std::size_t mostBytes(const FrameParser::Limits& limits, bool compressed)
{
    return compressed ? Inflater::mostPayload(limits.maxMessageBytes) : limits.maxMessageBytes;
}

} // namespace

FrameParser::FrameParser(bool decompresses) : decompresses_(decompresses) {}
FrameParser::~FrameParser() = default;
FrameParser::FrameParser(FrameParser&&) noexcept = default;
FrameParser& FrameParser::operator=(FrameParser&&) noexcept = default;

FrameParser::State& FrameParser::state()
{
    if (!state_) {
        state_ = std::make_unique<State>();
        ++begun_;
    }
    return *state_;
}

std::size_t FrameParser::heldBytes() const
{
    return state_ ? sizeof(State) + state_->assembled.capacity() : 0;
}

void FrameParser::stop()
{
    finished_ = true;
    state_.reset();
}

void FrameParser::settle()
{
    if (state_ && state_->headerBytes == 0 && !state_->inPayload && state_->message == Opcode::Continuation) {
        state_.reset();
    }
}

std::optional<ProtocolError> FrameParser::feed(std::span<char> bytes, const Limits& limits, Handler& handler)
{
    while (!bytes.empty() && !finished_) {
        const bool inPayload = state_ && state_->inPayload;
        const Result result =
            inPayload ? takePayload(bytes, limits, handler) : takeHeader(bytes, limits, handler);
        if (result.kind == Result::Kind::Stop) {
            return std::nullopt; // and `this` may be gone
        }
        if (result.kind == Result::Kind::Error) {
            stop();
            return result.error;
        }
    }
    return std::nullopt;
}

// What two bytes can tell (RFC 6455 5.2, 5.5).
std::optional<ProtocolError> FrameParser::Header::parseFirst(std::uint8_t first, std::uint8_t second,
                                                             bool decompresses)
{
    const int reserved = first & Reserved;
    if (reserved != 0 && (reserved != Rsv1 || !decompresses)) {
        return wrong("reserved bits set");
    }
    if (!known(first & OpcodeBits)) {
        return wrong("unknown opcode");
    }
    if ((second & Masked) == 0) {
        return wrong("frame not masked");
    }
    opcode = static_cast<Opcode>(first & OpcodeBits);
    fin = (first & Fin) != 0;
    compressed = reserved != 0;
    length = second & LengthBits;
    if (compressed && opcode != Opcode::Text && opcode != Opcode::Binary) { // RFC 7692 6.1
        return wrong("reserved bits set");
    }
    if (isControl(opcode) && !fin) {
        return wrong("fragmented control frame");
    }
    if (isControl(opcode) && length > MaxControlPayload) {
        return wrong("control frame too long");
    }
    return std::nullopt;
}

// Leaves `bytes` 0 if `raw` does not hold all of it.
std::optional<ProtocolError> FrameParser::Header::parse(std::string_view raw, bool decompresses)
{
    if (raw.size() < 2) {
        return std::nullopt;
    }
    if (auto error =
            parseFirst(static_cast<std::uint8_t>(raw[0]), static_cast<std::uint8_t>(raw[1]), decompresses)) {
        return error;
    }
    const std::size_t lengthBytes = length == Length16 ? 2 : length == Length64 ? 8 : 0;
    if (raw.size() < 2 + lengthBytes + sizeof mask) {
        return std::nullopt;
    }
    if (lengthBytes > 0) {
        length = bigEndian(raw.data() + 2, lengthBytes);
        if (length < Length16 || (lengthBytes == 8 && length <= 0xffff)) {
            return wrong("length not minimal");
        }
        if (length >> 63 != 0) {
            return wrong("length out of range");
        }
    }
    std::memcpy(mask, raw.data() + 2 + lengthBytes, sizeof mask);
    bytes = 2 + lengthBytes + sizeof mask;
    return std::nullopt;
}

FrameParser::Result FrameParser::takeHeader(std::span<char>& bytes, const Limits& limits, Handler& handler)
{
    std::string_view raw = view(bytes);
    const std::size_t had = state_ ? state_->headerBytes : 0;
    if (had > 0) { // its beginning came earlier
        const std::size_t more = std::min(bytes.size(), Header::MaxBytes - had);
        std::memcpy(state_->header + had, bytes.data(), more);
        raw = {state_->header, had + more};
    }

    Header header;
    if (const auto error = header.parse(raw, decompresses_)) {
        return *error;
    }
    if (header.bytes == 0) {
        if (had == 0) {
            std::memcpy(state().header, raw.data(), raw.size());
        }
        state_->headerBytes = static_cast<std::uint8_t>(raw.size());
        bytes = {};
        return {};
    }
    if (had > 0) {
        state_->headerBytes = 0;
    }
    bytes = bytes.subspan(header.bytes - had);
    return begin(header, bytes, limits, handler);
}

// `bytes` begin with the frame's payload.
FrameParser::Result FrameParser::begin(const Header& header, std::span<char>& bytes, const Limits& limits,
                                       Handler& handler)
{
    if (!isControl(header.opcode)) {
        const bool fragmented = state_ && state_->message != Opcode::Continuation;
        if (header.opcode == Opcode::Continuation && !fragmented) {
            return wrong("nothing to continue");
        }
        if (header.opcode != Opcode::Continuation && fragmented) {
            return wrong("message within a fragmented message");
        }
        const std::size_t before = fragmented ? state_->assembled.size() : 0;
        const std::size_t most = mostBytes(limits, fragmented ? state_->compressed : header.compressed);
        if (before > most || header.length > most - before) {
            return TooBig;
        }
    }

    if (header.length <= bytes.size()) {
        const auto payload = bytes.first(static_cast<std::size_t>(header.length));
        bytes = bytes.subspan(payload.size());
        unmask(payload, header.mask);
        return isControl(header.opcode) ? control(header.opcode, view(payload), handler)
                                        : wholeData(header, view(payload), limits, handler);
    }

    State& s = state();
    s.inPayload = true;
    s.fin = header.fin;
    s.opcode = header.opcode;
    s.left = header.length;
    s.controlBytes = 0;
    std::memcpy(s.mask, header.mask, sizeof s.mask);
    if (header.opcode == Opcode::Text || header.opcode == Opcode::Binary) {
        s.message = header.opcode;
        s.compressed = header.compressed;
    }
    return {}; // feed() goes on with takePayload()
}

FrameParser::Result FrameParser::takePayload(std::span<char>& bytes, const Limits& limits, Handler& handler)
{
    State& s = *state_;
    const auto piece = bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), s.left)));
    bytes = bytes.subspan(piece.size());
    unmask(piece, s.mask);
    rotate(s.mask, piece.size());
    s.left -= piece.size();
    s.inPayload = s.left > 0;

    if (isControl(s.opcode)) {
        std::memcpy(s.control + s.controlBytes, piece.data(), piece.size());
        s.controlBytes = static_cast<std::uint8_t>(s.controlBytes + piece.size());
        if (s.inPayload) {
            return {};
        }
        char payload[MaxControlPayload]; // the state may go before the handler is called
        std::memcpy(payload, s.control, s.controlBytes);
        return control(s.opcode, {payload, s.controlBytes}, handler);
    }
    if (const Result result = append(view(piece)); !result.go()) {
        return result;
    }
    return s.inPayload || !s.fin ? Result{} : deliver(limits, handler);
}

FrameParser::Result FrameParser::wholeData(const Header& header, std::string_view payload,
                                           const Limits& limits, Handler& handler)
{
    if (header.opcode != Opcode::Continuation && header.fin) { // the common case
        if (header.compressed) {
            settle();
            return decompress(header.opcode, payload, limits, handler);
        }
        if (header.opcode == Opcode::Text && !validUtf8(payload)) {
            return NotUtf8;
        }
        settle();
        return handler.message(header.opcode, payload);
    }
    if (header.opcode != Opcode::Continuation) {
        state().message = header.opcode;
        state_->compressed = header.compressed;
    }
    state_->fin = header.fin;
    state_->left = 0;
    if (const Result result = append(payload); !result.go()) {
        return result;
    }
    return header.fin ? deliver(limits, handler) : Result{};
}

FrameParser::Result FrameParser::append(std::string_view payload)
{
    if (state_->message == Opcode::Text && !state_->compressed && !state_->utf8.feed(payload)) {
        return NotUtf8;
    }
    state_->add(payload);
    return {};
}

// Doubles as it grows, but not past the end of the message where that is known.
void FrameParser::State::add(std::string_view payload)
{
    const std::size_t size = assembled.size() + payload.size();
    if (size > assembled.capacity()) {
        const std::size_t twice = std::max(size, 2 * assembled.capacity());
        assembled.reserve(fin ? static_cast<std::size_t>(std::min<std::uint64_t>(twice, size + left))
                              : twice);
    }
    assembled.insert(assembled.end(), payload.begin(), payload.end());
}

FrameParser::Result FrameParser::deliver(const Limits& limits, Handler& handler)
{
    if (state_->message == Opcode::Text && !state_->utf8.complete()) {
        return NotUtf8;
    }
    const std::unique_ptr<State> whole = std::move(state_); // at rest before the handler is called
    if (whole->compressed) {
        return decompress(whole->message, whole->view(), limits, handler);
    }
    return handler.message(whole->message, whole->view());
}

FrameParser::Result FrameParser::decompress(Opcode opcode, std::string_view payload, const Limits& limits,
                                            Handler& handler)
{
    const Inflater::Result result = limits.inflater->decompress(payload, limits.maxMessageBytes);
    if (result.error) {
        return *result.error == close_code::TooBig
                   ? TooBig
                   : ProtocolError{*result.error, "compressed data is malformed"};
    }
    if (opcode == Opcode::Text && !validUtf8(result.message)) {
        return NotUtf8;
    }
    return handler.message(opcode, result.message);
}

FrameParser::Result FrameParser::control(Opcode opcode, std::string_view payload, Handler& handler)
{
    settle();
    if (opcode == Opcode::Ping) {
        return handler.ping(payload);
    }
    if (opcode == Opcode::Pong) {
        return handler.pong(payload);
    }

    // RFC 6455 5.5.1, 7.4
    std::uint16_t code = close_code::None;
    std::string_view reason;
    if (payload.size() == 1) {
        return wrong("close code cut short");
    }
    if (payload.size() >= 2) {
        code = static_cast<std::uint16_t>(bigEndian(payload.data(), 2));
        reason = payload.substr(2);
        if (!validCloseCode(code)) {
            return wrong("invalid close code");
        }
        if (!validUtf8(reason)) {
            return ProtocolError{close_code::InvalidData, "close reason is not UTF-8"};
        }
    }
    stop();
    handler.close(code, reason);
    return Result::stop();
}

// --- handing over
// ---------------------------------------------------------------------------------------------
//
// version 2 | flags | opcode | message | mask 4 | left 8 | header: size 1, bytes | control: size 1, bytes |
// assembled Numbers big-endian; `assembled` goes to the end. The UTF-8 state follows from it.

namespace {

constexpr char StateVersion = 2;
constexpr std::uint8_t FlagInPayload = 1, FlagFin = 2, FlagFinished = 4, FlagCompressed = 8;
constexpr std::size_t StateFixedBytes = 4 + 4 + 8;

} // namespace

// Takes bytes off a view; once something was missing, all it gives is empty and ok() is false.
class FrameParser::Reader {
public:
    explicit Reader(std::string_view bytes) : rest_(bytes) {}

    std::string_view take(std::size_t size)
    {
        ok_ = ok_ && size <= rest_.size();
        if (!ok_) {
            return {};
        }
        const auto taken = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return taken;
    }
    std::string_view sized(std::size_t most)
    {
        const std::string_view size = take(1);
        if (!ok_ || static_cast<std::uint8_t>(size[0]) > most) {
            ok_ = false;
            return {};
        }
        return take(static_cast<std::uint8_t>(size[0]));
    }
    std::string_view rest() const { return rest_; }
    bool ok() const { return ok_; }

private:
    std::string_view rest_;
    bool ok_ = true;
};

bool FrameParser::State::consistent(const Limits& limits, bool decompresses)
{
    Header whole;
    if (whole.parse({header, headerBytes}, decompresses) || whole.bytes != 0) {
        return false;
    }
    const std::size_t most = mostBytes(limits, compressed);
    if (message == Opcode::Continuation ? !assembled.empty() : assembled.size() > most) {
        return false;
    }
    if (compressed && (!decompresses || message == Opcode::Continuation)) {
        return false;
    }
    if (message == Opcode::Text && !compressed && !utf8.feed(view())) {
        return false;
    }
    if (!inPayload) {
        return true;
    }
    if (headerBytes != 0 || left == 0) {
        return false;
    }
    if (isControl(opcode)) {
        return fin && left <= MaxControlPayload - controlBytes;
    }
    return message != Opcode::Continuation && (opcode == Opcode::Continuation || opcode == message) &&
           left <= most - assembled.size();
}

std::string FrameParser::serialise() const
{
    if (!state_ && !finished_) {
        return {};
    }
    const State nothing;
    const State& s = state_ ? *state_ : nothing;
    std::string out;
    out += StateVersion;
    out += static_cast<char>((s.inPayload ? FlagInPayload : 0) | (s.fin ? FlagFin : 0) |
                             (finished_ ? FlagFinished : 0) | (s.compressed ? FlagCompressed : 0));
    out += static_cast<char>(s.opcode);
    out += static_cast<char>(s.message);
    out.append(reinterpret_cast<const char*>(s.mask), sizeof s.mask);
    for (int shift = 56; shift >= 0; shift -= 8) {
        out += static_cast<char>(s.left >> shift);
    }
    out += static_cast<char>(s.headerBytes);
    out.append(s.header, s.headerBytes);
    out += static_cast<char>(s.controlBytes);
    out.append(s.control, s.controlBytes);
    out += s.view();
    return out;
}

std::optional<FrameParser> FrameParser::restore(std::string_view bytes, const Limits& limits,
                                                bool decompresses)
{
    FrameParser parser(decompresses);
    if (bytes.empty()) {
        return parser;
    }
    Reader in(bytes);
    const std::string_view fixed = in.take(StateFixedBytes);
    const std::string_view header = in.sized(Header::MaxBytes - 1);
    const std::string_view controlPayload = in.sized(MaxControlPayload);
    if (!in.ok() || fixed[0] != StateVersion) {
        return std::nullopt;
    }
    const auto flags = static_cast<std::uint8_t>(fixed[1]);
    const auto opcode = static_cast<std::uint8_t>(fixed[2]);
    const auto message = static_cast<std::uint8_t>(fixed[3]);
    if ((flags & FlagFinished) != 0) {
        parser.finished_ = true;
        return parser;
    }

    State& s = parser.state();
    s.inPayload = (flags & FlagInPayload) != 0;
    s.fin = (flags & FlagFin) != 0;
    s.compressed = (flags & FlagCompressed) != 0;
    s.left = bigEndian(fixed.data() + 8, 8);
    std::memcpy(s.mask, fixed.data() + 4, sizeof s.mask);
    if (!known(opcode) || message > static_cast<std::uint8_t>(Opcode::Binary)) {
        return std::nullopt;
    }
    s.opcode = static_cast<Opcode>(opcode);
    s.message = static_cast<Opcode>(message);
    if (!header.empty()) {
        std::memcpy(s.header, header.data(), header.size());
    }
    s.headerBytes = static_cast<std::uint8_t>(header.size());
    if (!controlPayload.empty()) {
        std::memcpy(s.control, controlPayload.data(), controlPayload.size());
    }
    s.controlBytes = static_cast<std::uint8_t>(controlPayload.size());
    s.add(in.rest());
    if (!s.consistent(limits, decompresses)) {
        return std::nullopt;
    }
    parser.settle();
    return parser;
}

} // namespace realtime::ws
