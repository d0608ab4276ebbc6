#include "wire/websocket.hpp"

#include <algorithm>

#include "testing.hpp"

using namespace realtime;
using namespace realtime::ws;

namespace {

constexpr FrameParser::Limits Roomy{1 << 20};

// Writes down what a parser says, one line a call.
struct Recorder final : FrameHandler {
    std::string got;
    int stopAfter = -1; // calls; -1: never

    Next note(const char* what, std::string_view payload)
    {
        got += what;
        got += payload;
        got += '\n';
        return stopAfter > 0 && --stopAfter == 0 ? Next::Stop : Next::Continue;
    }
    Next message(Opcode opcode, std::string_view payload) override
    {
        return note(opcode == Opcode::Text ? "text " : "binary ", payload);
    }
    Next ping(std::string_view payload) override { return note("ping ", payload); }
    Next pong(std::string_view payload) override { return note("pong ", payload); }
    void close(std::uint16_t code, std::string_view reason) override
    {
        note(("close " + std::to_string(code) + " ").c_str(), reason);
    }
};

constexpr bool Last = true, More = false;

// A frame as clients send it, masked.
std::string frame(int opcode, std::string_view payload, bool fin = Last)
{
    static constexpr unsigned char Mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    std::string out{static_cast<char>((fin ? 0x80 : 0) | opcode)};
    if (payload.size() < 126) {
        out += static_cast<char>(0x80 | payload.size());
    } else {
        const int bytes = payload.size() <= 0xffff ? 2 : 8;
        out += static_cast<char>(0x80 | (bytes == 2 ? 126 : 127));
        for (int i = bytes - 1; i >= 0; --i) {
            out += static_cast<char>(static_cast<std::uint64_t>(payload.size()) >> 8 * i);
        }
    }
    out.append(reinterpret_cast<const char*>(Mask), sizeof Mask);
    for (std::size_t i = 0; i < payload.size(); ++i) {
        out += static_cast<char>(payload[i] ^ Mask[i % 4]);
    }
    return out;
}

constexpr int Text = 1, Binary = 2, Continuation = 0, Close = 8, Ping = 9, Pong = 10;

// What came of it: the calls, then "error CODE" if there was one. `cuts` are where the bytes are cut; `handOver` takes
// the parser through serialise() and restore() at each.
std::string parse(const std::string& bytes, std::vector<std::size_t> cuts = {}, bool handOver = false,
                  FrameParser::Limits limits = Roomy)
{
    Recorder recorder;
    FrameParser parser;
    cuts.push_back(bytes.size());
    std::size_t from = 0;
    for (const std::size_t to : cuts) {
        // A copy of its own, so that a sanitizer sees each byte beyond it.
        std::vector<char> piece(bytes.begin() + static_cast<std::ptrdiff_t>(from),
                                bytes.begin() + static_cast<std::ptrdiff_t>(to));
        from = to;
        if (const auto error = parser.feed(piece, limits, recorder)) {
            assert_true(parser.finished());
            return recorder.got + "error " + std::to_string(error->code) + "\n";
        }
        if (handOver) {
            const std::string written = parser.serialise();
            assert_int_equal(written.empty(), parser.idle() && !parser.finished());
            auto restored = FrameParser::restore(written, limits);
            assert_true(restored.has_value());
            assert_int_equal(restored->idle(), parser.idle());
            assert_text_equal(restored->serialise(), written);
            parser = std::move(*restored);
        }
    }
    return recorder.got;
}

// The same result however the bytes are cut.
void check(const std::string& bytes, const std::string& expected, FrameParser::Limits limits = Roomy)
{
    assert_text_equal(parse(bytes, {}, false, limits), expected);
    std::vector<std::size_t> all;
    const std::size_t step = bytes.size() > 5000 ? 997 : 1;
    for (std::size_t cut = 0; cut <= bytes.size(); cut += cut < 64 ? 1 : step) {
        for (const bool handOver : {false, true}) {
            const std::string got = parse(bytes, {cut}, handOver, limits);
            if (got != expected) {
                fail_msg("cut at %zu: %.300s", cut, got.c_str());
            }
        }
        all.push_back(cut);
    }
    assert_text_equal(parse(bytes, all, false, limits), expected);
    assert_text_equal(parse(bytes, all, true, limits), expected);
}

void checkError(const std::string& bytes, int code, FrameParser::Limits limits = Roomy)
{
    check(bytes, "error " + std::to_string(code) + "\n", limits);
}

std::string closing(std::uint16_t code, std::string_view reason)
{
    return std::string{static_cast<char>(code >> 8), static_cast<char>(code)} + std::string(reason);
}

} // namespace

// --- handshake and frames out -----------------------------------------------------------------------------------

TEST(the_accept_key_is_that_of_rfc_6455)
{
    assert_text_equal(acceptKey("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(a_key_is_the_base64_of_16_bytes)
{
    assert_true(validKey("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_true(validKey("////++++AAAAzzzz9999AA=="));
    for (const char* key :
         {"", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=a",
          "dGhlIHNhbXBsZSBub25jZWE=", "dGhlIHNhbXBsZSBub25jZ===", "dGhlIHNhbXBsZSBub25jZQ==\n",
          "dGhlIHNhbXB sZSBub25jZQ==", "dGhlIHNhbXBs-SBub25jZQ==", "dGhlIHNhbXBsZSBub25j\xc3\xa9=="}) {
        if (validKey(key)) {
            fail_msg("%s was taken", key);
        }
    }
}

TEST(headers_use_the_shortest_length)
{
    const struct {
        std::uint64_t size;
        std::string header;
    } cases[]{{0, std::string("\x82\x00", 2)},
              {125, "\x82\x7d"},
              {126, std::string("\x82\x7e\x00\x7e", 4)},
              {127, std::string("\x82\x7e\x00\x7f", 4)},
              {65535, "\x82\x7e\xff\xff"},
              {65536, std::string("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10)},
              {0x0102030405060708, "\x82\x7f\x01\x02\x03\x04\x05\x06\x07\x08"}};
    for (const auto& c : cases) {
        char out[MaxHeaderBytes];
        const std::size_t size = encodeHeader(out, Opcode::Binary, c.size);
        assert_text_equal(std::string(out, size), c.header);
    }
    char out[MaxHeaderBytes];
    encodeHeader(out, Opcode::Pong, 0);
    assert_int_equal(static_cast<unsigned char>(out[0]), 0x8a);
}

TEST(a_built_payload_becomes_a_frame_in_place)
{
    for (const std::size_t size : {0UL, 1UL, 125UL, 126UL, 65535UL, 65536UL}) {
        const std::string payload(size, 'p');
        FrameBuilder builder;
        builder.append(payload);
        const FramePtr built = finishFrame(builder, Opcode::Text);
        assert_text_equal(built->view(), encodeFrame(Opcode::Text, payload)->view());
        char header[MaxHeaderBytes];
        const std::size_t headerSize = encodeHeader(header, Opcode::Text, size);
        assert_text_equal(built->view(), std::string(header, headerSize) + payload);
    }
}

TEST(close_frames_hold_code_and_reason)
{
    assert_text_equal(encodeClose(1000, "bye")->view(), "\x88\x05\x03\xe8"
                                                        "bye");
    assert_text_equal(encodeClose(4100, "")->view(), "\x88\x02\x10\x04");
}

TEST(a_code_that_may_not_be_sent_makes_an_empty_close_frame)
{
    for (const int code : {0, 999, 1004, 1005, 1006, 1015, 5000}) {
        assert_text_equal(encodeClose(static_cast<std::uint16_t>(code), "reason")->view(),
                          std::string("\x88\x00", 2));
    }
}

TEST(a_close_reason_is_cut_between_characters)
{
    std::string reason(122, 'x');
    reason += "\xe2\x82\xac";
    const FramePtr frame = encodeClose(1000, reason);
    assert_int_equal(frame->size(), 2 + 2 + 122);
    assert_int_equal(encodeClose(1000, std::string(200, 'x'))->size(), 2 + 2 + MaxCloseReason);
}

TEST(control_payloads_are_cut)
{
    assert_int_equal(encodeFrame(Opcode::Pong, std::string(300, 'x'))->size(), 2 + MaxControlPayload);
}

TEST(close_codes_follow_the_registry)
{
    for (int code = 0; code <= 0xffff; ++code) {
        const bool expected =
            (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
            (code >= 3000 && code <= 4999);
        assert_int_equal(validCloseCode(static_cast<std::uint16_t>(code)), expected);
    }
}

// --- frames in --------------------------------------------------------------------------------------------------

TEST(the_masked_hello_of_rfc_6455_is_read)
{
    check("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "text Hello\n");
}

TEST(every_length_border_is_read_however_it_is_cut)
{
    for (const std::size_t size :
         {0, 1, 2, 3, 4, 5, 7, 8, 9, 124, 125, 126, 127, 128, 65534, 65535, 65536, 65537}) {
        std::string payload;
        for (std::size_t i = 0; i < size; ++i) {
            payload += static_cast<char>('!' + i * 7 % 90);
        }
        check(frame(Text, payload), "text " + payload + "\n");
        check(frame(Binary, payload), "binary " + payload + "\n");
    }
}

TEST(masks_are_applied_at_each_alignment)
{
    const std::string payload = "The quick brown fox jumps over the lazy dog, and back.";
    for (std::size_t shift = 0; shift < 9; ++shift) {
        for (std::size_t size = 0; size < payload.size(); ++size) {
            const std::string bytes = frame(Text, payload.substr(0, size));
            std::vector<char> room(shift + bytes.size());
            std::copy(bytes.begin(), bytes.end(), room.begin() + static_cast<std::ptrdiff_t>(shift));
            Recorder recorder;
            FrameParser parser;
            assert_false(parser.feed(std::span(room).subspan(shift), Roomy, recorder).has_value());
            assert_text_equal(recorder.got, "text " + payload.substr(0, size) + "\n");
        }
    }
}

TEST(every_opcode_is_read_or_refused)
{
    for (int opcode = 0; opcode < 16; ++opcode) {
        const std::string bytes = frame(opcode, "");
        switch (opcode) {
        case Text:
            check(bytes, "text \n");
            break;
        case Binary:
            check(bytes, "binary \n");
            break;
        case Close:
            check(bytes, "close 1005 \n");
            break;
        case Ping:
            check(bytes, "ping \n");
            break;
        case Pong:
            check(bytes, "pong \n");
            break;
        default: // also a continuation of nothing
            checkError(bytes, 1002);
        }
    }
}

TEST(several_messages_in_one_read_are_told_apart)
{
    check(frame(Text, "one") + frame(Ping, "p") + frame(Binary, "two") + frame(Text, "") + frame(Pong, "q"),
          "text one\nping p\nbinary two\ntext \npong q\n");
}

TEST(fragments_are_put_together_with_control_frames_between)
{
    check(frame(Text, "fr", More) + frame(Ping, "1") + frame(Continuation, "ag", More) + frame(Pong, "2") +
              frame(Continuation, "", More) + frame(Continuation, "ments") + frame(Text, "next"),
          "ping 1\npong 2\ntext fragments\ntext next\n");
    check(frame(Binary, "", More) + frame(Continuation, ""), "binary \n");
    check(frame(Text, "", More) + frame(Continuation, "late"), "text late\n");
}

TEST(an_unmasked_frame_is_refused)
{
    std::string bytes = frame(Text, "hello");
    bytes[1] = static_cast<char>(bytes[1] & 0x7f);
    checkError(bytes, 1002);
}

TEST(reserved_bits_are_refused)
{
    for (const int bit : {0x40, 0x20, 0x10}) {
        for (const int opcode : {Text, Ping}) {
            std::string bytes = frame(opcode, "hello");
            bytes[0] = static_cast<char>(bytes[0] | bit);
            checkError(bytes, 1002);
        }
    }
}

TEST(control_frames_are_whole_and_short)
{
    for (const int opcode : {Close, Ping, Pong}) {
        checkError(frame(opcode, "", More), 1002);
        checkError(frame(opcode, std::string(126, 'x')), 1002);
    }
    check(frame(Ping, std::string(125, 'x')), "ping " + std::string(125, 'x') + "\n");
}

TEST(messages_do_not_interleave)
{
    checkError(frame(Continuation, "x", More), 1002);
    checkError(frame(Text, "a", More) + frame(Text, "b"), 1002);
    checkError(frame(Text, "a", More) + frame(Binary, "b", More), 1002);
    checkError(frame(Binary, "", More) + frame(Binary, ""), 1002);
    check(frame(Text, "a") + frame(Continuation, "b"), "text a\nerror 1002\n");
}

TEST(lengths_must_be_minimal)
{
    const std::string mask(4, '\0');
    checkError("\x82\xfe" + std::string("\x00\x7d", 2) + mask, 1002);
    checkError("\x82\xff" + std::string("\x00\x00\x00\x00\x00\x00\xff\xff", 8) + mask, 1002);
    checkError("\x82\xff" + std::string("\x80\x00\x00\x00\x00\x00\x00\x00", 8) + mask, 1002);
}

TEST(size_is_refused_from_the_header)
{
    const std::string mask(4, '\0');
    check(frame(Text, std::string(10, 'x')), "text xxxxxxxxxx\n", {10});
    checkError(frame(Text, std::string(11, 'x')), 1009, {10});
    checkError(frame(Text, std::string(11, 'x')).substr(0, 6), 1009, {10}); // before any payload
    checkError("\x82\xff" + std::string("\x7f\xff\xff\xff\xff\xff\xff\xff", 8) + mask, 1009);
    // The fragments together
    checkError(frame(Text, "123456", More) + frame(Continuation, "78901"), 1009, {10});
    check(frame(Text, "123456", More) + frame(Continuation, "7890"), "text 1234567890\n", {10});
    // Control frames do not count
    check(frame(Text, "123456", More) + frame(Ping, "0123456789ab") + frame(Continuation, "7890"),
          "ping 0123456789ab\ntext 1234567890\n", {10});
}

TEST(text_is_utf8_and_binary_need_not_be)
{
    checkError(frame(Text, "a\xff"), 1007);
    checkError(frame(Text, "a\xe2\x82"), 1007);
    check(frame(Binary, "a\xff"), "binary a\xff\n");
    check(frame(Text, "\xe2\x82\xac"), "text \xe2\x82\xac\n");
    // A character may be split between fragments
    check(frame(Text, "\xe2", More) + frame(Continuation, "\x82", More) + frame(Continuation, "\xac"),
          "text \xe2\x82\xac\n");
    checkError(frame(Text, "\xe2", More) + frame(Continuation, "x"), 1007);
    checkError(frame(Text, "\xe2", More) + frame(Continuation, ""), 1007);
}

TEST(wrong_text_is_refused_before_the_frame_is_whole)
{
    const std::string bytes = frame(Text, "abc\xff" + std::string(1000, 'x'));
    assert_text_equal(parse(bytes.substr(0, 20)), "error 1007\n");
    assert_text_equal(parse(frame(Text, "\xf4", More) + frame(Continuation, "\x90", More)), "error 1007\n");
}

TEST(close_frames_are_judged)
{
    check(frame(Close, closing(1000, "bye")), "close 1000 bye\n");
    check(frame(Close, closing(4999, "")), "close 4999 \n");
    check(frame(Close, closing(1001, std::string(123, 'r'))), "close 1001 " + std::string(123, 'r') + "\n");
    checkError(frame(Close, "x"), 1002);
    for (const int code : {0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535}) {
        checkError(frame(Close, closing(static_cast<std::uint16_t>(code), "")), 1002);
    }
    checkError(frame(Close, closing(1000, "\xc3")), 1007);
}

TEST(what_follows_a_close_frame_is_ignored)
{
    check(frame(Close, closing(1000, "")) + frame(Text, "late") + "\xff\xff\xff", "close 1000 \n");
    check(frame(Text, "half", More) + frame(Close, "") + frame(Continuation, ""), "close 1005 \n");
}

TEST(what_follows_an_error_is_ignored)
{
    Recorder recorder;
    FrameParser parser;
    std::string wrong = frame(3, "");
    std::string right = frame(Text, "late");
    assert_true(parser.feed(wrong, Roomy, recorder).has_value());
    assert_false(parser.feed(right, Roomy, recorder).has_value());
    assert_text_equal(recorder.got, "");
}

TEST(a_handler_stops_the_parser)
{
    std::string bytes = frame(Text, "one") + frame(Ping, "two") + frame(Text, "thr", More) +
                        frame(Continuation, "ee") + frame(Pong, "four") + frame(Text, "five");
    const char* expected[] = {"text one\n", "ping two\n", "text three\n", "pong four\n"};
    std::string all;
    for (int calls = 1; calls <= 4; ++calls) {
        all += expected[calls - 1];
        Recorder recorder;
        recorder.stopAfter = calls;
        FrameParser parser;
        std::string copy = bytes;
        assert_false(parser.feed(copy, Roomy, recorder).has_value());
        assert_text_equal(recorder.got, all);
    }
}

TEST(a_handler_may_destroy_the_parser)
{
    struct Destroyer final : FrameHandler {
        std::unique_ptr<FrameParser> parser = std::make_unique<FrameParser>();
        std::string got;

        Next end(std::string_view payload)
        {
            parser.reset();
            got = payload; // still there
            return Next::Stop;
        }
        Next message(Opcode, std::string_view payload) override { return end(payload); }
        Next ping(std::string_view payload) override { return end(payload); }
        Next pong(std::string_view payload) override { return end(payload); }
        void close(std::uint16_t, std::string_view reason) override { end(reason); }
    };
    const std::string endings[]{frame(Text, "gone"), frame(Ping, "gone"), frame(Pong, "gone"),
                                frame(Close, closing(1000, "gone")),
                                frame(Binary, "go", More) + frame(Continuation, "ne")};
    for (const std::string& bytes : endings) {
        for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
            Destroyer handler;
            std::string first = bytes.substr(0, cut), second = bytes.substr(cut) + frame(Text, "late");
            assert_false(handler.parser->feed(first, Roomy, handler).has_value());
            assert_false(handler.parser->feed(second, Roomy, handler).has_value());
            assert_text_equal(handler.got, "gone");
        }
    }
}

TEST(a_whole_message_is_handed_out_without_a_copy)
{
    struct Where final : FrameHandler {
        const char* at = nullptr;
        Next message(Opcode, std::string_view payload) override
        {
            at = payload.data();
            return Next::Continue;
        }
        Next ping(std::string_view) override { return Next::Continue; }
        Next pong(std::string_view) override { return Next::Continue; }
        void close(std::uint16_t, std::string_view) override {}
    };
    Where where;
    FrameParser parser;
    std::string bytes = frame(Text, "hello");
    assert_false(parser.feed(bytes, Roomy, where).has_value());
    assert_ptr_equal(where.at, bytes.data() + 6);
    assert_true(parser.idle());

    // Also when the header came in pieces before it.
    std::string second = frame(Text, "hello");
    assert_false(parser.feed(std::span(second).first(3), Roomy, where).has_value());
    assert_false(parser.idle());
    assert_false(parser.feed(std::span(second).subspan(3), Roomy, where).has_value());
    assert_ptr_equal(where.at, second.data() + 6);
    assert_true(parser.idle());
}

TEST(a_parser_is_at_rest_between_messages_only)
{
    Recorder recorder;
    FrameParser parser;
    const std::string bytes = frame(Text, "ab", More) + frame(Ping, "p") + frame(Continuation, "cd");
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        assert_int_equal(parser.idle(), i == 0);
        char byte = bytes[i];
        assert_false(parser.feed({&byte, 1}, Roomy, recorder).has_value());
    }
    assert_true(parser.idle());
    assert_text_equal(parser.serialise(), "");
}

TEST(a_promised_length_takes_no_memory)
{
    // A header of a gigabyte, allowed, and one byte of it: what is written down is what there is.
    Recorder recorder;
    FrameParser parser;
    std::string bytes = "\x82\xff" + std::string("\x00\x00\x00\x00\x40\x00\x00\x00", 8) + "mask!";
    assert_false(parser.feed(bytes, {std::size_t{1} << 31}, recorder).has_value());
    assert_true(parser.serialise().size() < 64);
}

TEST(what_is_half_received_is_counted_and_told_from_what_follows)
{
    Recorder recorder;
    FrameParser parser;
    const auto feed = [&](std::string bytes) {
        assert_false(parser.feed(bytes, Roomy, recorder).has_value());
    };
    assert_int_equal(parser.heldBytes(), 0);
    const std::string one = frame(Text, std::string(1000, 'a'));
    feed(one);
    assert_int_equal(parser.begun(), 0);
    for (std::size_t i = 0; i + 1 < one.size(); ++i) { // however many pieces: it is one
        feed(one.substr(i, 1));
        assert_int_equal(parser.begun(), 1);
    }
    assert_in_range(parser.heldBytes(), 1000, 2000);
    feed(one.substr(one.size() - 1) + one.substr(0, 3)); // never at rest, and yet another
    assert_int_equal(parser.begun(), 2);
    assert_in_range(parser.heldBytes(), 1, 500);
    feed(one.substr(3));
    assert_true(parser.idle());
    assert_int_equal(parser.heldBytes(), 0);

    // Control frames within a message are of the message.
    feed(frame(Text, "x", More));
    feed(frame(Ping, "p").substr(0, 4));
    feed(frame(Ping, "p").substr(4) + frame(Continuation, "y", More));
    assert_int_equal(parser.begun(), 3);
}

TEST(memory_grows_with_the_message_and_not_past_its_end)
{
    Recorder recorder;
    FrameParser parser;
    const std::string large = frame(Binary, std::string(1'000'000, '\xfe'));
    std::size_t growths = 0;
    std::size_t held = 0;
    for (std::size_t at = 0; at + 1000 < large.size(); at += 1000) {
        std::string piece = large.substr(at, 1000);
        assert_false(parser.feed(piece, Roomy, recorder).has_value());
        growths += parser.heldBytes() != held ? 1 : 0;
        held = parser.heldBytes();
        assert_in_range(held, at, 2 * at + 3000);
    }
    assert_in_range(held, 1'000'000, 1'001'000);
    assert_in_range(growths, 5, 15);

    // Also behind half a control frame, whatever that has left behind.
    FrameParser fragments;
    std::string begin = frame(Binary, "a", More) + frame(Ping, "ping").substr(0, 8);
    std::string rest = frame(Ping, "ping").substr(8);
    assert_false(fragments.feed(begin, Roomy, recorder).has_value());
    assert_false(fragments.feed(rest, Roomy, recorder).has_value());
    growths = held = 0;
    for (int i = 0; i < 10'000; ++i) {
        std::string piece = frame(Continuation, "a", More);
        assert_false(fragments.feed(piece, Roomy, recorder).has_value());
        growths += fragments.heldBytes() != held ? 1 : 0;
        held = fragments.heldBytes();
    }
    assert_in_range(growths, 5, 20);
}

TEST(a_handler_may_stop_the_parser_for_good)
{
    struct Stopper final : FrameHandler {
        FrameParser* parser = nullptr;
        int calls = 0;
        Next stop()
        {
            ++calls;
            parser->stop();
            return Next::Continue;
        }
        Next message(Opcode, std::string_view) override { return stop(); }
        Next ping(std::string_view) override { return stop(); }
        Next pong(std::string_view) override { return stop(); }
        void close(std::uint16_t, std::string_view) override { stop(); }
    };
    for (const std::string& first :
         {frame(Text, "x"), frame(Ping, "x"), frame(Text, "x", More) + frame(Ping, "y"), frame(Close, "")}) {
        for (std::size_t cut = 0; cut <= first.size(); ++cut) {
            FrameParser parser;
            Stopper stopper;
            stopper.parser = &parser;
            std::string begin = first.substr(0, cut);
            std::string rest = first.substr(cut) + frame(Text, "late") + frame(3, "");
            assert_false(parser.feed(begin, Roomy, stopper).has_value());
            assert_false(parser.feed(rest, Roomy, stopper).has_value());
            assert_int_equal(stopper.calls, 1);
            assert_true(parser.finished());
            assert_true(parser.idle());
            assert_int_equal(parser.heldBytes(), 0);
        }
    }
}

TEST(a_half_received_message_is_refused_where_the_limit_is_lower)
{
    Recorder recorder;
    FrameParser parser;
    std::string bytes = frame(Binary, std::string(100, 'x'));
    bytes.pop_back();
    assert_false(parser.feed(bytes, Roomy, recorder).has_value());
    assert_false(FrameParser::restore(parser.serialise(), {99}).has_value());
    assert_true(FrameParser::restore(parser.serialise(), {100}).has_value());
}

TEST(what_was_not_written_by_a_parser_is_not_restored)
{
    Recorder recorder;
    FrameParser parser;
    std::string bytes = frame(Text, "half", More) + frame(Ping, "ping");
    bytes.pop_back();
    assert_false(parser.feed(bytes, Roomy, recorder).has_value());
    const std::string good = parser.serialise();
    for (std::size_t size = 1; size + 4 < good.size(); ++size) { // the last four are `assembled`
        assert_false(FrameParser::restore(good.substr(0, size), Roomy).has_value());
    }
    // Any byte changed: refused or usable, never harmful.
    for (std::size_t i = 0; i < good.size(); ++i) {
        for (int value = 0; value < 256; ++value) {
            std::string changed = good;
            changed[i] = static_cast<char>(value);
            if (auto restored = FrameParser::restore(changed, Roomy)) {
                std::string rest = frame(Continuation, std::string(200, 'y')) + frame(Text, "z");
                (void)restored->feed(rest, Roomy, recorder);
            }
        }
    }
    assert_false(FrameParser::restore("\x01" + good.substr(1), Roomy).has_value());
}

TEST_MAIN()
