// Encodings that are compressed: which frames are, what shares the plain ones, and that it happens once.
#include "hub/encoding.hpp"

#include "wire/websocket.hpp"

#include "testing.hpp"

using namespace realtime;

namespace {

LogRecord recordOf(std::string_view data, std::uint64_t offset = 1)
{
    LogRecord record;
    record.id = {77, offset};
    record.app = "app";
    record.channel = "room";
    record.data = data;
    return record;
}

// The frames of `bytes`, a line each: "text", "text compressed"; checks that the message is one of `messages`.
std::string describe(std::string_view bytes, const std::vector<std::string>& messages)
{
    ws::Inflater inflater;
    std::string all;
    for (std::size_t i = 0; !bytes.empty(); i++) {
        const bool compressed = (bytes[0] & 0x40) != 0;
        assert_true((bytes[0] & 0x80) != 0 && (bytes[0] & 0x30) == 0);
        const ws::OwnFrame frame = ws::takeOwnFrame(bytes);
        all += frame.opcode == ws::Opcode::Text ? "text" : "binary";
        if (compressed) {
            const auto message = inflater.decompress(frame.payload, 1 << 20);
            assert_false(message.error.has_value());
            assert_text_equal(message.message, messages.at(i));
            all += " compressed";
        } else {
            assert_text_equal(frame.payload, messages.at(i));
        }
        all += '\n';
    }
    return all;
}

std::string repeated(char c, std::size_t size = 500)
{
    return std::string(size, c);
}

// Not to be compressed, and no UTF-8.
std::string noise(std::size_t size)
{
    std::string text(size, '\0');
    std::uint32_t state = 1;
    for (char& c : text) {
        state = state * 1664525 + 1013904223;
        c = static_cast<char>(state >> 24);
    }
    return text;
}

} // namespace

TEST(frames_of_ours_are_taken_apart_again)
{
    for (const std::size_t size : {0, 1, 125, 126, 65535, 65536, 70000}) {
        const FramePtr frame = ws::encodeFrame(ws::Opcode::Binary, repeated('x', size));
        const std::string two = std::string(frame->view()) + std::string(frame->view());
        std::string_view rest = two;
        const ws::OwnFrame first = ws::takeOwnFrame(rest);
        assert_true(first.opcode == ws::Opcode::Binary);
        assert_int_equal(first.payload.size(), size);
        assert_true(first.bytes == frame->view() && rest == frame->view());
    }
}

TEST(each_message_is_compressed_that_gets_smaller)
{
    const std::vector<std::string> messages{repeated('a'), "short", repeated('b', 70'000), noise(500),
                                            repeated('c', 127)};
    std::vector<LogRecord> records;
    for (const std::string& message : messages) {
        records.push_back(recordOf(message, records.size() + 1));
    }
    ws::Deflater deflater;
    DeflateStats stats;
    SharedFrames frames;
    const FramePtr frame = frames.of(Encoding::WebSocketRawDeflated, records, deflater, stats);
    assert_text_equal(describe(frame->view(), messages),
                      "text compressed\ntext\ntext compressed\nbinary\ntext\n");
    assert_int_equal(stats.in, 70'500);
    assert_in_range(stats.out, 1, 1000);

    const FramePtr plain = frames.of(Encoding::WebSocketRaw, records, deflater, stats);
    assert_text_equal(describe(plain->view(), messages), "text\ntext\ntext\nbinary\ntext\n");
}

TEST(all_forms_of_a_message_are_compressed_once)
{
    const std::string message = repeated('m', 2000);
    const LogRecord record = recordOf(message);
    ws::Deflater deflater;
    DeflateStats stats;
    SharedFrames frames;
    for (const Encoding encoding : {Encoding::WebSocketRaw, Encoding::WebSocketJson, Encoding::Pusher}) {
        const std::uint64_t before = stats.in;
        const FramePtr plain = encode(encoding, {&record, 1});
        std::string_view text = plain->view();
        const std::string payload(ws::takeOwnFrame(text).payload);
        assert_true(plainOf(deflatedOf(encoding)) == encoding);
        const FramePtr first = frames.of(deflatedOf(encoding), {&record, 1}, deflater, stats);
        assert_true(first->size() < 200);
        assert_text_equal(describe(first->view(), {payload}), "text compressed\n");
        assert_int_equal(stats.in - before, payload.size());
        assert_true(frames.of(deflatedOf(encoding), {&record, 1}, deflater, stats) == first);
        assert_int_equal(stats.in - before, payload.size());
        assert_text_equal(frames.of(encoding, {&record, 1}, deflater, stats)->view(), plain->view());
    }
    frames.clear();
    const LogRecord other = recordOf("other");
    assert_text_equal(frames.of(Encoding::WebSocketRaw, {&other, 1}, deflater, stats)->view(),
                      "\x81\x05other");
}

TEST(what_does_not_get_smaller_is_the_plain_frame_itself)
{
    ws::Deflater deflater;
    DeflateStats stats;
    for (const std::string& message : {std::string(), std::string("short"), noise(1000), noise(70'000)}) {
        const LogRecord record = recordOf(message);
        SharedFrames frames;
        const FramePtr deflated = frames.of(Encoding::WebSocketRawDeflated, {&record, 1}, deflater, stats);
        assert_true(deflated == frames.of(Encoding::WebSocketRaw, {&record, 1}, deflater, stats));
    }
    assert_int_equal(stats.in, 0);
    assert_int_equal(stats.out, 0);
}

TEST(what_one_subscriber_alone_gets_is_not_compressed)
{
    const std::string message = repeated('a');
    const LogRecord record = recordOf(message);
    for (const Encoding encoding : {Encoding::WebSocketRaw, Encoding::WebSocketJson, Encoding::Pusher}) {
        assert_text_equal(encode(deflatedOf(encoding), {&record, 1})->view(),
                          encode(encoding, {&record, 1})->view());
        const FramePtr gap = encodeGap(deflatedOf(encoding), "room");
        const FramePtr plain = encodeGap(encoding, "room");
        assert_true(gap ? gap->view() == plain->view() : !plain);
    }
    for (const Encoding encoding : {Encoding::Sse, Encoding::SseChunked, Encoding::JsonList}) {
        assert_true(deflatedOf(encoding) == encoding && plainOf(encoding) == encoding);
    }
}

TEST(what_is_not_for_a_form_makes_an_empty_frame)
{
    const std::string data = repeated('i');
    LogRecord record = recordOf(data);
    record.flags = record_flag::Internal;
    ws::Deflater deflater;
    DeflateStats stats;
    SharedFrames frames;
    assert_int_equal(frames.of(Encoding::WebSocketRawDeflated, {&record, 1}, deflater, stats)->size(), 0);
    assert_true(frames.of(Encoding::PusherDeflated, {&record, 1}, deflater, stats)->size() > 0);
}

TEST_MAIN()
