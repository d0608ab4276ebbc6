// A client's bytes must mean the same however they are cut, also when the connection changes hands at a cut.
#include "base/utf8.hpp"
#include "wire/websocket.hpp"

#include "fuzz.hpp"

using namespace realtime;
using namespace realtime::ws;

namespace {

struct Recorder final : FrameHandler {
    std::string got;
    std::size_t maxMessageBytes = 0;

    Next note(char what, std::string_view payload)
    {
        got += what;
        got += std::to_string(payload.size()) + ":";
        got += payload;
        return Next::Continue;
    }
    Next message(Opcode opcode, std::string_view payload) override
    {
        CHECK(opcode == Opcode::Text || opcode == Opcode::Binary);
        CHECK(opcode == Opcode::Binary || validUtf8(payload));
        CHECK(payload.size() <= maxMessageBytes);
        return note(opcode == Opcode::Text ? 't' : 'b', payload);
    }
    Next ping(std::string_view payload) override
    {
        CHECK(payload.size() <= MaxControlPayload);
        return note('i', payload);
    }
    Next pong(std::string_view payload) override
    {
        CHECK(payload.size() <= MaxControlPayload);
        return note('o', payload);
    }
    void close(std::uint16_t code, std::string_view reason) override
    {
        CHECK(code == close_code::None ? reason.empty() : validCloseCode(code));
        CHECK(validUtf8(reason));
        note('c', std::to_string(code) + std::string(reason));
    }
};

// The pieces are as long as the bytes of `cuts` say, over and over; none: one piece.
std::string parse(std::string_view bytes, std::string_view cuts, const FrameParser::Limits& limits)
{
    Recorder recorder;
    recorder.maxMessageBytes = limits.maxMessageBytes;
    FrameParser parser;
    for (std::size_t i = 0; !bytes.empty(); ++i) {
        const std::size_t cut =
            cuts.empty() ? bytes.size() : static_cast<std::uint8_t>(cuts[i % cuts.size()]);
        std::vector<char> piece(
            bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(std::min(cut % 64 + 1, bytes.size())));
        if (cuts.empty()) {
            piece.assign(bytes.begin(), bytes.end());
        }
        bytes.remove_prefix(piece.size());
        if (const auto error = parser.feed(piece, limits, recorder)) {
            CHECK(error->code == 1002 || error->code == 1007 || error->code == 1009);
            CHECK(encodeClose(error->code, error->reason)->size() > 4);
            return recorder.got + "error " + std::to_string(error->code);
        }
        if (cut >= 128) { // hand over
            auto restored = FrameParser::restore(parser.serialise(), limits);
            CHECK(restored.has_value());
            parser = std::move(*restored);
        }
    }
    return recorder.got;
}

void restoreAnything(std::string_view state, std::string_view bytes, const FrameParser::Limits& limits)
{
    auto parser = FrameParser::restore(state, limits);
    if (!parser) {
        return;
    }
    // What is taken is what would be written, save that settled parsers write nothing.
    const std::string written = parser->serialise();
    const auto again = FrameParser::restore(written, limits);
    CHECK(again.has_value());
    CHECK(again->serialise() == written);

    Recorder recorder;
    recorder.maxMessageBytes = limits.maxMessageBytes;
    std::vector<char> piece(bytes.begin(), bytes.end());
    (void)parser->feed(piece, limits, recorder);
}

std::string frame(int first, std::string_view payload)
{
    std::string out{static_cast<char>(first)};
    if (payload.size() < 126) {
        out += static_cast<char>(0x80 | payload.size());
    } else {
        out += static_cast<char>(0x80 | 126);
        out += static_cast<char>(payload.size() >> 8);
        out += static_cast<char>(payload.size());
    }
    return out + std::string(4, '\0') +
           std::string(payload); // a mask of zeros, so that the fuzzer sees the text
}

} // namespace

std::vector<std::string> seeds()
{
    const std::string head("\x40\x03\x01\x81\x05", 5); // limit, three cuts
    std::vector<std::string> all{
        head + frame(0x81, "Hello"),
        head + frame(0x82, std::string(126, 'b')),
        head + frame(0x01, "fr\xc3") + frame(0x89, "ping") + frame(0x00, "\xbc") + frame(0x80, "end"),
        head + frame(0x8a, "pong") + frame(0x88, "\x03\xe8why") + frame(0x81, "late"),
        head + frame(0x02, "") + frame(0x80, std::string(200, 'c')),
        head + "\x82\xff" + std::string("\x00\x00\x00\x00\x00\x01\x00\x00mask", 12),
    };
    // States as they are written down
    Recorder recorder;
    recorder.maxMessageBytes = 1000;
    for (const std::string& bytes : {frame(0x01, "half") + frame(0x89, "ping"), frame(0x81, "text"),
                                     frame(0x02, std::string(50, 'x')) + "\x80"}) {
        FrameParser parser;
        std::vector<char> piece(bytes.begin(), bytes.end() - (bytes.size() > 50 ? 0 : 2));
        (void)parser.feed(piece, {1000}, recorder);
        all.push_back(std::string("\x40\x00", 2) + static_cast<char>(parser.serialise().size()) +
                      parser.serialise() + frame(0x80, "rest"));
    }
    return all;
}

FUZZ_TARGET(websocket)(const std::uint8_t* data, std::size_t size)
{
    Input in(data, size);
    const FrameParser::Limits limits{in.byte() * std::size_t{8}};
    const std::size_t cutCount = in.byte() % 16;
    if (cutCount == 0) {
        const std::string_view state = in.take(in.byte());
        restoreAnything(state, in.rest(), limits);
        return 0;
    }
    const std::string_view cuts = in.take(cutCount);
    const std::string_view bytes = in.rest();
    CHECK(parse(bytes, cuts, limits) == parse(bytes, {}, limits));
    return 0;
}
