// What is compressed comes back; what is not deflated at all does no harm; and frames with RSV1 mean the same however
// they are cut, also when the connection changes hands at a cut.
#include "base/utf8.hpp"
#include "wire/deflate.hpp"
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
        CHECK(opcode == Opcode::Binary || validUtf8(payload));
        CHECK(payload.size() <= maxMessageBytes);
        return note(opcode == Opcode::Text ? 't' : 'b', payload);
    }
    Next ping(std::string_view payload) override { return note('i', payload); }
    Next pong(std::string_view payload) override { return note('o', payload); }
    void close(std::uint16_t code, std::string_view) override { note('c', std::to_string(code)); }
};

// The pieces are as long as the bytes of `cuts` say, over and over; none: one piece.
std::string parse(std::string_view bytes, std::string_view cuts, const FrameParser::Limits& limits)
{
    Recorder recorder;
    recorder.maxMessageBytes = limits.maxMessageBytes;
    FrameParser parser(true);
    for (std::size_t i = 0; !bytes.empty(); ++i) {
        const std::size_t cut =
            cuts.empty() ? bytes.size() : static_cast<std::uint8_t>(cuts[i % cuts.size()]) % 64 + 1U;
        std::vector<char> piece(bytes.begin(),
                                bytes.begin() + static_cast<std::ptrdiff_t>(std::min(cut, bytes.size())));
        bytes.remove_prefix(piece.size());
        if (const auto error = parser.feed(piece, limits, recorder)) {
            CHECK(error->code == 1002 || error->code == 1007 || error->code == 1009);
            return recorder.got + "error " + std::to_string(error->code);
        }
        if (!cuts.empty()) {
            auto restored = FrameParser::restore(parser.serialise(), limits, true);
            CHECK(restored.has_value());
            CHECK(restored->serialise() == parser.serialise());
            parser = std::move(*restored);
        }
    }
    return recorder.got;
}

void thereAndBack(std::string_view message)
{
    static Deflater deflater;
    static Inflater inflater;
    const std::string payload(deflater.compress(message));
    if (payload.empty()) {
        return;
    }
    CHECK(payload.size() < message.size());
    const auto whole = inflater.decompress(payload, message.size());
    CHECK(!whole.error && whole.message == message);
    CHECK(inflater.decompress(payload, message.size() - 1).error == close_code::TooBig);
    CHECK(inflater.decompress(std::string_view(payload).substr(0, payload.size() - 1), message.size()).error);
}

void inflateAnything(std::string_view payload, std::size_t atMost)
{
    static Inflater used;
    Inflater fresh;
    const auto one = fresh.decompress(payload, atMost);
    const auto same = used.decompress(payload, atMost);
    CHECK(one.error == same.error && one.message == same.message);
    CHECK(one.message.size() <= atMost);
    CHECK(!one.error || one.error == close_code::InvalidData || one.error == close_code::TooBig);
}

std::string frame(int first, std::string_view payload)
{
    std::string out{static_cast<char>(first), static_cast<char>(0x80 | payload.size())};
    return out + std::string(4, '\0') + std::string(payload);
}

} // namespace

std::vector<std::string> seeds()
{
    const std::string hello("\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
    const std::string plain("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 11);
    const std::string last("\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8);
    const std::string two("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 13);
    const std::string head("\x40\x03\x01\x81\x05", 5); // limit, three cuts
    std::vector<std::string> all{
        head + frame(0xc1, hello),
        head + frame(0xc1, plain) + frame(0xc2, last) + frame(0x81, "plain"),
        head + frame(0x41, two.substr(0, 5)) + frame(0x89, "ping") + frame(0x80, two.substr(5)),
        head + frame(0xc1, std::string(1, '\0')) + frame(0xc8, "\x03\xe8"),
        head + frame(0x41, hello) + frame(0xc0, hello),
    };
    Deflater deflater;
    for (const std::size_t size : {200U, 600U}) {
        const std::string payload(deflater.compress(std::string(size, 'a')));
        all.push_back(head + frame(0xc1, payload)); // the second is past the limit
    }
    for (const std::string& payload : {hello, plain, last, two}) {
        all.push_back(std::string("\x40\x00\x01", 3) + payload);
    }
    all.push_back(std::string("\x40\x00\x00", 3) + std::string(300, 'x') + "and so on");
    return all;
}

FUZZ_TARGET(deflate)(const std::uint8_t* data, std::size_t size)
{
    Input in(data, size);
    const std::size_t atMost = in.byte() * std::size_t{8};
    const std::size_t cutCount = in.byte() % 16;
    if (cutCount == 0) {
        in.byte() % 2 == 0 ? thereAndBack(in.rest()) : inflateAnything(in.rest(), atMost);
        return 0;
    }
    Inflater inflater;
    const FrameParser::Limits limits{atMost, &inflater};
    const std::string_view cuts = in.take(cutCount);
    const std::string_view bytes = in.rest();
    CHECK(parse(bytes, cuts, limits) == parse(bytes, {}, limits));
    return 0;
}
