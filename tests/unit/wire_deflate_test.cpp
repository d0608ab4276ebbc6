// permessage-deflate: the examples of RFC 7692 byte by byte, and messages there and back, through the parser and cut
// anywhere.
#include "wire/deflate.hpp"

#include "wire/websocket.hpp"

#include <random>

#include <zlib.h>

#include "testing.hpp"

using namespace realtime;
using namespace realtime::ws;

namespace {

constexpr std::size_t Roomy = 1 << 20;

std::string bytes(std::initializer_list<int> values)
{
    std::string text;
    for (const int value : values) {
        text += static_cast<char>(value);
    }
    return text;
}

// The message, or the close code.
std::string inflated(Inflater& inflater, std::string_view payload, std::size_t atMost = Roomy)
{
    // A copy of its own, so that a sanitizer sees each byte beyond it.
    const std::vector<char> copy(payload.begin(), payload.end());
    const Inflater::Result result = inflater.decompress({copy.data(), copy.size()}, atMost);
    return result.error ? std::to_string(*result.error) : std::string(result.message);
}

std::string inflated(std::string_view payload, std::size_t atMost = Roomy)
{
    Inflater inflater;
    return inflated(inflater, payload, atMost);
}

// As zlib makes it with whatever parameters, unlike Deflater also of what does not get smaller.
std::string compressed(std::string_view message, int flush = Z_SYNC_FLUSH, int level = 6, int bits = 15)
{
    z_stream stream{};
    assert_int_equal(deflateInit2(&stream, level, Z_DEFLATED, -bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    std::string out(deflateBound(&stream, message.size()) + 64, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(message.data()));
    stream.avail_in = static_cast<uInt>(message.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    assert_true(deflate(&stream, flush) >= Z_OK);
    out.resize(out.size() - stream.avail_out);
    deflateEnd(&stream);
    if (flush == Z_SYNC_FLUSH) {
        assert_true(out.ends_with(std::string_view("\x00\x00\xff\xff", 4)));
        out.resize(out.size() - 4);
    }
    return out;
}

std::string words(std::size_t size)
{
    std::string text;
    for (std::size_t i = 0; text.size() < size; i++) {
        text += "word" + std::to_string(i * i % 97) + ' ';
    }
    text.resize(size);
    return text;
}

std::string noise(std::size_t size)
{
    std::mt19937 random(42); // the same in each run
    std::string text(size, '\0');
    for (char& c : text) {
        c = static_cast<char>(random());
    }
    return text;
}

const std::size_t Sizes[] = {0, 1, 125, 126, 127, 128, 129, 4096, 65535, 65536, 65537, 300'000};

// --- through the parser

struct Recorder final : FrameHandler {
    std::string got;

    Next note(const char* what, std::string_view payload)
    {
        got += what;
        got += payload;
        got += '\n';
        return Next::Continue;
    }
    Next message(Opcode opcode, std::string_view payload) override
    {
        return note(opcode == Opcode::Text ? "text " : "binary ", payload);
    }
    Next ping(std::string_view payload) override { return note("ping ", payload); }
    Next pong(std::string_view payload) override { return note("pong ", payload); }
    void close(std::uint16_t code, std::string_view) override { note("close ", std::to_string(code)); }
};

constexpr int Fin = 0x80, Rsv1 = 0x40;
constexpr int Continuation = 0, Text = 1, Binary = 2, Close = 8, Ping = 9;

// A frame as clients send it, masked.
std::string frame(int first, std::string_view payload)
{
    static constexpr unsigned char Mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    std::string out{static_cast<char>(first)};
    if (payload.size() < 126) {
        out += static_cast<char>(0x80 | payload.size());
    } else {
        const int size = payload.size() <= 0xffff ? 2 : 8;
        out += static_cast<char>(0x80 | (size == 2 ? 126 : 127));
        for (int i = size - 1; i >= 0; --i) {
            out += static_cast<char>(static_cast<std::uint64_t>(payload.size()) >> 8 * i);
        }
    }
    out.append(reinterpret_cast<const char*>(Mask), sizeof Mask);
    for (std::size_t i = 0; i < payload.size(); ++i) {
        out += static_cast<char>(payload[i] ^ Mask[i % 4]);
    }
    return out;
}

// What came of it: the calls, then "error CODE" if there was one. `handOver` takes the parser through serialise() and
// restore() at the cut.
std::string parse(const std::string& input, std::size_t cut = 0, bool handOver = false,
                  std::size_t maxMessageBytes = Roomy)
{
    Recorder recorder;
    Inflater inflater;
    FrameParser parser(true);
    const FrameParser::Limits limits{maxMessageBytes, &inflater};
    for (const auto& [from, to] : {std::pair(std::size_t{0}, cut), std::pair(cut, input.size())}) {
        std::vector<char> piece(input.begin() + static_cast<std::ptrdiff_t>(from),
                                input.begin() + static_cast<std::ptrdiff_t>(to));
        if (const auto error = parser.feed(piece, limits, recorder)) {
            return recorder.got + "error " + std::to_string(error->code);
        }
        if (handOver) {
            const std::string written = parser.serialise();
            auto restored = FrameParser::restore(written, limits, true);
            assert_true(restored.has_value());
            assert_text_equal(restored->serialise(), written);
            parser = std::move(*restored);
            assert_true(parser.decompresses());
        }
    }
    return recorder.got;
}

void expectAtEachCut(const std::string& input, const std::string& expected)
{
    for (std::size_t cut = 0; cut <= input.size(); cut++) {
        assert_text_equal(parse(input, cut, false), expected);
        assert_text_equal(parse(input, cut, true), expected);
    }
}

} // namespace

// --- RFC 7692 7.2.3

const std::string HelloBlock = bytes({0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00});

TEST(a_message_in_one_block)
{
    assert_text_equal(inflated(HelloBlock), "Hello");
    expectAtEachCut(frame(Fin | Rsv1 | Text, HelloBlock), "text Hello\n");
    expectAtEachCut(frame(Rsv1 | Text, HelloBlock.substr(0, 3)) +
                        frame(Fin | Continuation, HelloBlock.substr(3)),
                    "text Hello\n");
}

TEST(a_window_that_is_taken_over_is_not_there)
{
    // The second "Hello" refers to the first.
    Inflater inflater;
    assert_text_equal(inflated(inflater, HelloBlock), "Hello");
    assert_text_equal(inflated(inflater, bytes({0xf2, 0x00, 0x11, 0x00, 0x00})), "1007");
    assert_text_equal(inflated(inflater, HelloBlock), "Hello"); // what went wrong before is forgotten
}

TEST(a_block_without_compression)
{
    const std::string block = bytes({0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00});
    assert_text_equal(inflated(block), "Hello");
    expectAtEachCut(frame(Fin | Rsv1 | Text, block), "text Hello\n");
}

TEST(a_final_block)
{
    const std::string block = bytes({0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00});
    assert_text_equal(inflated(block), "Hello");
    expectAtEachCut(frame(Fin | Rsv1 | Binary, block), "binary Hello\n");
    assert_text_equal(inflated(block.substr(0, block.size() - 1)), "Hello"); // the octet behind it left away
    assert_text_equal(inflated(block.substr(0, 7) + HelloBlock), "HelloHello");
}

TEST(two_blocks)
{
    const std::string blocks =
        bytes({0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00});
    assert_text_equal(inflated(blocks), "Hello");
    expectAtEachCut(frame(Fin | Rsv1 | Text, blocks), "text Hello\n");
}

TEST(an_empty_message_is_one_octet)
{
    assert_text_equal(inflated(bytes({0x00})), "");
    expectAtEachCut(frame(Fin | Rsv1 | Text, bytes({0x00})), "text \n");
    // As the last fragment of a message that has been flushed.
    expectAtEachCut(frame(Rsv1 | Text, HelloBlock.substr(0, 6)) +
                        frame(Fin | Continuation, HelloBlock.substr(6)),
                    "text Hello\n");
}

// --- there and back

TEST(messages_of_all_sizes_come_back)
{
    Inflater inflater;
    for (const std::size_t size : Sizes) {
        for (const std::string& message : {words(size), noise(size), std::string(size, 'a')}) {
            for (const int level : {0, 1, 6, 9}) {
                for (const int bits : {9, 15}) {
                    const std::string payload = compressed(message, Z_SYNC_FLUSH, level, bits);
                    assert_true(payload.size() <= Inflater::mostPayload(size));
                    assert_true(inflated(inflater, payload) == message);
                    assert_true(inflated(inflater, payload, size) == message); // just as many as allowed
                    if (size > 0) {
                        assert_text_equal(inflated(inflater, payload, size - 1), "1009");
                    }
                }
            }
            assert_true(inflated(inflater, compressed(message, Z_FINISH)) == message);
        }
    }
}

TEST(what_is_compressed_is_smaller_and_comes_back)
{
    Deflater deflater;
    Inflater inflater;
    for (const std::size_t size : Sizes) {
        const std::string message = words(size);
        const std::string_view payload = deflater.compress(message);
        assert_int_equal(payload.empty(), size < Deflater::LeastBytes);
        if (!payload.empty()) {
            assert_true(payload.size() < size);
            assert_true(inflated(inflater, payload) == message);
        }
        assert_true(deflater.compress(noise(size)).empty());
        const std::string again(deflater.compress(message));
        assert_text_equal(deflater.compress(message), again); // nothing is taken over
    }
}

TEST(a_small_window_is_enough_to_read_what_is_compressed)
{
    Deflater deflater;
    const std::string half = noise(6000); // beyond the window when it comes again
    const std::string message = half + half + words(20'000);
    std::string payload(deflater.compress(message));
    payload += bytes({0x00, 0x00, 0xff, 0xff});
    z_stream stream{};
    assert_int_equal(inflateInit2(&stream, -Deflater::WindowBits), Z_OK);
    std::string out;
    // In small pieces, so that the window is all that zlib has of what came before.
    stream.next_in = reinterpret_cast<Bytef*>(payload.data());
    stream.avail_in = static_cast<uInt>(payload.size());
    do {
        char piece[100];
        stream.next_out = reinterpret_cast<Bytef*>(piece);
        stream.avail_out = sizeof piece;
        const int result = inflate(&stream, Z_SYNC_FLUSH);
        assert_true(result == Z_OK || result == Z_BUF_ERROR);
        out.append(piece, sizeof piece - stream.avail_out);
    } while (stream.avail_out == 0);
    inflateEnd(&stream);
    assert_true(out == message);
}

// --- what must not get through

TEST(a_bomb_ends_at_the_bound)
{
    const std::string bomb = compressed(std::string(8'000'000, 'a'));
    assert_true(bomb.size() < 60'000);
    assert_text_equal(inflated(bomb, 65536), "1009");
    assert_text_equal(inflated(bomb, 0), "1009");
    assert_text_equal(inflated(bomb, 7'999'999), "1009");
    assert_text_equal(parse(frame(Fin | Rsv1 | Text, bomb), 0, false, 65536), "error 1009");
    // In fragments, each of which is small.
    std::string fragments = frame(Rsv1 | Binary, bomb.substr(0, 1000));
    fragments += frame(Continuation, bomb.substr(1000, 1000)) + frame(Fin | Continuation, bomb.substr(2000));
    assert_text_equal(parse(fragments, 0, false, 65536), "error 1009");
}

TEST(compressed_bytes_are_bounded_before_they_are_there)
{
    const std::string endless = frame(Rsv1 | Binary, std::string(100, '\0'));
    assert_text_equal(parse(endless, 0, false, 1000), "");
    const std::string tooLong(Inflater::mostPayload(1000) + 1, '\0');
    assert_text_equal(parse(frame(Fin | Rsv1 | Binary, tooLong).substr(0, 8), 0, false, 1000), "error 1009");
    std::string fragments = endless;
    for (int i = 0; i < 20; i++) {
        fragments += frame(Continuation, std::string(100, '\0'));
    }
    assert_text_equal(parse(fragments, 0, false, 1000), "error 1009");
    // Of a message that is not compressed the bound is what it was.
    assert_text_equal(parse(frame(Fin | Binary, std::string(1001, 'x')), 0, false, 1000), "error 1009");
    // Bytes that cannot be compressed may be as many as allowed.
    const std::string most = noise(1000);
    assert_text_equal(parse(frame(Fin | Rsv1 | Binary, compressed(most)), 0, false, 1000),
                      "binary " + most + "\n");
}

TEST(what_is_not_deflated_is_refused)
{
    const std::string good = compressed(words(500));
    for (std::size_t size = 0; size < good.size(); size++) {
        assert_text_equal(inflated(good.substr(0, size)), "1007"); // cut short anywhere
    }
    assert_text_equal(inflated("Hello, this is not compressed at all"), "1007");
    assert_text_equal(inflated(std::string(100, '\xff')), "1007");
    assert_text_equal(inflated(bytes({0x07})), "1007"); // a block of the reserved type
    assert_text_equal(inflated(bytes({0x00, 0x05, 0x00, 0x00, 0x00})), "1007"); // lengths that do not fit
    assert_text_equal(parse(frame(Fin | Rsv1 | Text, "garbage")), "error 1007");
    assert_text_equal(parse(frame(Fin | Rsv1 | Text, "")), "error 1007");
}

TEST(text_is_checked_when_it_is_decompressed)
{
    const std::string invalid = compressed("caf\xc3 au lait");
    assert_text_equal(parse(frame(Fin | Rsv1 | Text, invalid)), "error 1007");
    assert_text_equal(parse(frame(Fin | Rsv1 | Binary, invalid)), "binary caf\xc3 au lait\n");
    assert_text_equal(parse(frame(Fin | Rsv1 | Text, compressed("cut \xe2\x82"))), "error 1007");
    // Compressed bytes themselves are no text, also when they come in fragments.
    const std::string valid = compressed("Gr\xc3\xbc\xc3\x9f Gott, \xe2\x82\xac 20");
    expectAtEachCut(frame(Rsv1 | Text, valid.substr(0, 9)) + frame(Fin | Continuation, valid.substr(9)),
                    "text Gr\xc3\xbc\xc3\x9f Gott, \xe2\x82\xac 20\n");
}

TEST(rsv1_belongs_to_the_first_frame_of_a_message)
{
    for (const int first : {Fin | Rsv1 | Close, Fin | Rsv1 | Ping, Fin | Rsv1 | Continuation,
                            Fin | 0x20 | Text, Fin | 0x10 | Text, Fin | Rsv1 | 0x20 | Text}) {
        assert_text_equal(parse(frame(first, HelloBlock)), "error 1002");
    }
    assert_text_equal(parse(frame(Rsv1 | Text, HelloBlock) + frame(Fin | Rsv1 | Continuation, "")),
                      "error 1002");
    assert_text_equal(parse(frame(Text, "He") + frame(Fin | Rsv1 | Continuation, HelloBlock)), "error 1002");
}

TEST(without_negotiation_rsv1_is_refused)
{
    Recorder recorder;
    FrameParser parser;
    assert_false(parser.decompresses());
    std::string input = frame(Fin | Rsv1 | Text, HelloBlock);
    const auto error = parser.feed({input.data(), input.size()}, {Roomy}, recorder);
    assert_true(error.has_value());
    assert_int_equal(error->code, 1002);

    // Nor does half a compressed message go to who does not decompress.
    Inflater inflater;
    FrameParser half(true);
    input = frame(Rsv1 | Text, HelloBlock);
    assert_false(half.feed({input.data(), input.size()}, {Roomy, &inflater}, recorder).has_value());
    assert_false(FrameParser::restore(half.serialise(), {Roomy}, false).has_value());
    assert_true(FrameParser::restore(half.serialise(), {Roomy}, true).has_value());
}

TEST(compressed_and_plain_messages_and_control_frames_mix)
{
    const std::string payload = compressed(words(2000));
    expectAtEachCut(frame(Fin | Text, "plain") + frame(Rsv1 | Text, payload.substr(0, 50)) +
                        frame(Fin | Ping, "between") + frame(Continuation, payload.substr(50, 70)) +
                        frame(Fin | Continuation, payload.substr(120)) + frame(Text, "in ") +
                        frame(Fin | Continuation, "two") + frame(Fin | Close, "\x03\xe8"),
                    "text plain\nping between\ntext " + words(2000) + "\ntext in two\nclose 1000\n");
}

// --- memory

TEST(large_buffers_are_given_back)
{
    Scratch scratch;
    assert_int_equal(scratch.of(100).size(), 100);
    assert_int_equal(scratch.of(50).size(), 100); // as it is
    assert_true(scratch.of(1 << 20).size() == 1 << 20);
    assert_int_equal(scratch.of(100).size(), 100);
    assert_true(scratch.of(Scratch::KeptBytes).size() == Scratch::KeptBytes);
    assert_true(scratch.of(100).size() == Scratch::KeptBytes);
}

TEST(a_message_that_is_not_kept_is_its_receivers)
{
    Inflater inflater;
    const std::string message = words(Scratch::KeptBytes + 1000);
    const Inflater::Result large = inflater.decompress(compressed(message), Roomy);
    assert_non_null(large.own.get());
    const Inflater::Result small = inflater.decompress(compressed("small"), Roomy);
    assert_null(small.own.get());
    assert_text_equal(small.message, "small");
    assert_true(large.message == message);
}

TEST_MAIN()
