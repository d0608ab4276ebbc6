// RFC 6455 and RFC 7692 as a client can check them: a table of what is sent, what has to come back, and how it ends. The
// endpoint is realtime_pubsub, which echoes what a client sends. Each case has a channel and a connection of its own, and
// in each the server ends TCP first and at once, without a reset.
#include "support/files.hpp"
#include "support/raw_socket.hpp"
#include "support/realtime.hpp"

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <iostream>
#include <zlib.h>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

// --- what a case is -----------------------------------------------------------------------------------------------

constexpr int NoCode = 1005;
constexpr unsigned Rsv1 = 4;
// The server gives a peer that it waits for five seconds; here it has nothing to wait for.
constexpr std::chrono::milliseconds AtOnce{4000};

using Pieces = std::vector<std::string>; // each sent on its own

struct Case {
    std::string what;
    Pieces sent;
    std::vector<Frame> answers; // all frames before the close frame
    int close = 1000;           // its code
    bool ends = false;          // what is sent ends it; otherwise it is closed with 1000 afterwards
};

std::string closeFrame(int code, std::string_view reason = "")
{
    const std::string payload{static_cast<char>(code >> 8), static_cast<char>(code)};
    return encode({Close, payload + std::string(reason)});
}

Frame answer(unsigned opcode, std::string payload)
{
    Frame frame;
    frame.opcode = opcode;
    frame.payload = std::move(payload);
    frame.masked = false;
    return frame;
}

std::string brief(const Frame& frame)
{
    return std::to_string(frame.opcode) + (frame.final ? "" : "-") +
           (frame.reserved == 0 ? "" : "/" + std::to_string(frame.reserved)) + ':' +
           std::to_string(frame.payload.size()) + ':' + frame.payload.substr(0, 40);
}

bool same(const Frame& a, const Frame& b)
{
    return a.opcode == b.opcode && a.final == b.final && a.reserved == b.reserved && a.payload == b.payload;
}

Pieces chopped(std::string_view bytes, std::size_t size)
{
    Pieces pieces;
    for (; !bytes.empty(); bytes.remove_prefix(std::min(size, bytes.size()))) {
        pieces.emplace_back(bytes.substr(0, size));
    }
    return pieces;
}

std::string joined(const Pieces& pieces)
{
    std::string all;
    for (const std::string& one : pieces) {
        all += one;
    }
    return all;
}

class Suite {
public:
    explicit Suite(const Nginx& nginx) : nginx_(nginx) {}

    void run(const Case& one)
    {
        ++count_;
        try {
            check(one);
        } catch (const std::exception& error) {
            problems_ += "\n" + one.what + ": " + error.what();
        }
    }
    // As it is; all in one piece; and byte by byte.
    void runCut(const Case& one)
    {
        run(one);
        Case other = one;
        other.sent = {joined(one.sent)};
        other.what = one.what + ", in one";
        run(other);
        other.sent = chopped(other.sent.front(), 1);
        other.what = one.what + ", in bytes";
        run(other);
    }
    // For who has more to say than a Case can.
    void expectEnd(RawWebSocket& client, int code) const
    {
        expectEqual(client.receiveClose(), code);
        expectEqual(client.socket().receiveUntilClosed(AtOnce), "");
        expect(!client.socket().wasReset(), "the connection was reset");
    }
    std::string path() const { return "/ws/case-" + std::to_string(count_); }
    void problem(const std::string& what) { problems_ += "\n" + what; }
    void count() { ++count_; }

    void finish(int least) const
    {
        std::cerr << count_ << " cases\n";
        expectEqual(problems_, std::string());
        expect(count_ >= least, std::to_string(count_) + " cases are too few");
    }

private:
    void check(const Case& one) const
    {
        RawWebSocket client(nginx_.port(), path());
        for (const std::string& piece : one.sent) {
            client.sendBytes(piece);
        }
        if (!one.ends) {
            client.sendBytes(closeFrame(1000));
        }
        for (const Frame& expected : one.answers) {
            const Frame frame = client.receive();
            expect(same(frame, expected), "got " + brief(frame) + ", expected " + brief(expected));
        }
        const Frame last = client.receive();
        expect(last.opcode == Close && last.final && last.reserved == 0,
               "got " + brief(last) + " at the end");
        const int code = last.payload.empty() ? NoCode
                                              : static_cast<unsigned char>(last.payload.at(0)) << 8 |
                                                    static_cast<unsigned char>(last.payload.at(1));
        expectEqual(code, one.close);
        expectEqual(client.socket().receiveUntilClosed(AtOnce), "");
        expect(!client.socket().wasReset(), "the connection was reset");
    }

    const Nginx& nginx_;
    std::string problems_;
    int count_ = 0;
};

NginxOptions echoing()
{
    NginxOptions options = endpoints();
    options.zone = "main 256m";
    options.http = "realtime_max_message_size 16m; client_max_body_size 16m; realtime_buffer 32m;\n"
                   "realtime_app default { channels * { history off; } }\n";
    return options;
}

} // namespace

// --- framing --------------------------------------------------------------------------------------------------------

TEST(messages_of_every_length_come_back)
{
    const Nginx nginx(echoing());
    Suite suite(nginx);
    for (const std::size_t size : {0, 1, 2, 124, 125, 126, 127, 128, 1000, 65534, 65535, 65536, 65537}) {
        const std::string text(size, '*');
        const std::string bytes(size, '\xfe');
        const unsigned binary = size == 0 ? Text : Binary; // no byte says what an empty one is
        for (const std::size_t cut : {size + 14, std::size_t{997}, std::size_t{61}}) {
            const std::string what = std::to_string(size) + " bytes cut at " + std::to_string(cut);
            suite.run({what, chopped(encode({Text, text}), cut), {answer(Text, text)}});
            suite.run({what, chopped(encode({Binary, bytes}), cut), {answer(binary, bytes)}});
        }
    }
    // Several in one piece, and each from a client that sends the next before it has read the last.
    Pieces many;
    std::vector<Frame> back;
    for (int i = 0; i < 1000; ++i) {
        many.push_back(encode({Text, std::to_string(i)}));
        back.push_back(answer(Text, std::to_string(i)));
    }
    suite.run({"a thousand, each on its own", many, back});
    suite.run({"a thousand in one", {joined(many)}, back});
    suite.finish(80);
}

TEST(large_messages_come_back_whole_fragmented_and_cut)
{
    constexpr std::size_t K = 1024;
    const Nginx nginx(echoing());
    Suite suite(nginx);
    for (const std::size_t size : {64 * K, 256 * K, 1024 * K, 4096 * K, 8192 * K, 16384 * K}) {
        suite.run({std::to_string(size),
                   {encode({Text, std::string(size, '*')})},
                   {answer(Text, std::string(size, '*'))}});
        suite.run({std::to_string(size) + " binary",
                   {encode({Binary, std::string(size, '\xfe')})},
                   {answer(Binary, std::string(size, '\xfe'))}});
    }
    const std::string large(4096 * K, '*');
    for (const std::size_t part : {64UL, 256UL, K, 4 * K, 16 * K, 64 * K, 256 * K, 1024 * K, 4096 * K}) {
        std::string frames;
        for (std::size_t at = 0; at < large.size(); at += part) {
            frames +=
                encode({at == 0 ? Text : Continuation, large.substr(at, part), at + part >= large.size()});
        }
        suite.run({"fragments of " + std::to_string(part), {frames}, {answer(Text, large)}});
    }
    for (const std::size_t cut : {64, 128, 256, 512, 1024, 2048}) {
        suite.run({"cut at " + std::to_string(cut),
                   chopped(encode({Text, std::string(1024 * K, '*')}), cut),
                   {answer(Text, std::string(1024 * K, '*'))}});
    }
    // What is too large is refused by its header, or by its last fragment's.
    suite.run(
        {"16m and one", {encode({Text, std::string(16384 * K + 1, '*')}).substr(0, 14)}, {}, 1009, true});
    suite.run({"16m and one in two",
               {encode({Text, std::string(16384 * K, '*'), false}) + encode({Continuation, "*"})},
               {},
               1009,
               true});
    suite.run({"2^62 bytes", {std::string("\x82\xff\x40\0\0\0\0\0\0\0mask", 14)}, {}, 1009, true});
    suite.run({"2^63 bytes", {std::string("\x82\xff\x80\0\0\0\0\0\0\0mask", 14)}, {}, 1002, true});
    suite.finish(30);
}

TEST(lengths_have_one_form)
{
    const Nginx nginx(echoing());
    Suite suite(nginx);
    const auto header = [](const char* bytes, std::size_t size) {
        return std::string(bytes, size) + std::string(4, '\0');
    };
    suite.runCut({"125 in 16 bits", {header("\x81\xfe\x00\x7d", 4)}, {}, 1002, true});
    suite.runCut({"0 in 16 bits", {header("\x81\xfe\x00\x00", 4)}, {}, 1002, true});
    suite.runCut({"0 in 64 bits", {header("\x81\xff\0\0\0\0\0\0\0\0", 10)}, {}, 1002, true});
    suite.runCut({"65535 in 64 bits", {header("\x81\xff\0\0\0\0\0\0\xff\xff", 10)}, {}, 1002, true});
    suite.runCut({"a ping in 16 bits", {header("\x89\xfe\x00\x01", 4)}, {}, 1002, true});
    suite.runCut({"not masked", {encode({Text, "x", true, false})}, {}, 1002, true});
    suite.runCut({"a ping that is not masked", {encode({Ping, "x", true, false})}, {}, 1002, true});
    suite.runCut({"a close that is not masked", {encode({Close, "", true, false})}, {}, 1002, true});
    suite.finish(24);
}

TEST(pings_are_answered_in_order_with_their_payload)
{
    const Nginx nginx(echoing());
    Suite suite(nginx);
    for (const std::string& payload :
         {std::string(), std::string("Hello, world!"), std::string("\x00\xff\xfe\xfd\xfc\xfb\x00\xff", 8),
          std::string(125, '\xfe')}) {
        suite.runCut({"a ping of " + std::to_string(payload.size()),
                      {encode({Ping, payload})},
                      {answer(Pong, payload)}});
        suite.runCut({"a pong nobody has asked for", {encode({Pong, payload})}, {}});
        suite.runCut({"a pong and a ping",
                      {encode({Pong, payload}), encode({Ping, payload})},
                      {answer(Pong, payload)}});
    }
    suite.runCut({"a ping of 126", {encode({Ping, std::string(126, '\xfe')})}, {}, 1002, true});
    suite.runCut({"a pong of 126", {encode({Pong, std::string(126, '\xfe')})}, {}, 1002, true});
    Pieces ten;
    std::vector<Frame> pongs;
    for (int i = 0; i < 10; ++i) {
        ten.push_back(encode({Ping, "payload-" + std::to_string(i)}));
        pongs.push_back(answer(Pong, "payload-" + std::to_string(i)));
    }
    suite.runCut({"ten pings", ten, pongs});
    suite.finish(45);
}

TEST(reserved_bits_and_opcodes_fail_the_connection)
{
    const Nginx nginx(echoing());
    Suite suite(nginx);
    const Frame hello = answer(Text, "Hello, world!");
    const std::string before = encode({Text, "Hello, world!"});
    for (unsigned reserved = 1; reserved <= 7; ++reserved) {
        for (const unsigned opcode : {Continuation, Text, Binary, Close, Ping, Pong}) {
            const std::string what =
                "RSV " + std::to_string(reserved) + " with opcode " + std::to_string(opcode);
            for (const char* payload : {"", "xy"}) {
                const std::string bad = encode({opcode, payload, true, true, reserved});
                suite.runCut({what, {bad}, {}, 1002, true});
                // What came before is published and echoed, what comes behind is not read.
                suite.runCut({what + " between", {before, bad, encode({Ping, "late"})}, {hello}, 1002, true});
            }
        }
    }
    for (const unsigned opcode : {3U, 4U, 5U, 6U, 7U, 11U, 12U, 13U, 14U, 15U}) {
        const std::string what = "opcode " + std::to_string(opcode);
        for (const char* payload : {"", "reserved opcode payload"}) {
            const std::string bad = encode({opcode, payload});
            suite.runCut({what, {bad}, {}, 1002, true});
            suite.runCut({what + " between", {before, bad, encode({Ping, "late"})}, {hello}, 1002, true});
            suite.runCut({what + " within a message",
                          {encode({Text, "frag", false}), bad, encode({Continuation, "ment"})},
                          {},
                          1002,
                          true});
        }
    }
    suite.finish(600);
}

TEST(fragments_are_put_together_and_control_frames_come_in_between)
{
    const Nginx nginx(echoing());
    Suite suite(nginx);
    const std::string one = encode({Text, "fragment1", false});
    const std::string two = encode({Continuation, "fragment2"});
    const std::string more = encode({Continuation, "fragment2", false});
    const std::string ping = encode({Ping, "ping"});
    const Frame both = answer(Text, "fragment1fragment2");
    const Frame pong = answer(Pong, "ping");
    const Frame hello = answer(Text, "Hello");
    const std::string text = encode({Text, "Hello"});

    for (const std::size_t size : {0, 2, 125}) {
        suite.runCut({"a fragmented ping", {encode({Ping, std::string(size, 'p'), false})}, {}, 1002, true});
        suite.runCut({"a fragmented pong", {encode({Pong, std::string(size, 'p'), false})}, {}, 1002, true});
        suite.runCut(
            {"a fragmented close", {encode({Close, std::string(size, 'p'), false})}, {}, 1002, true});
    }
    suite.runCut({"two fragments", {one, two}, {both}});
    suite.runCut({"with a ping in between", {one, ping, two}, {pong, both}});
    suite.runCut({"with a pong in between", {one, encode({Pong, "x"}), two}, {both}});
    suite.runCut(
        {"with pings and pongs everywhere", {ping, one, ping, encode({Pong, ""}), two}, {pong, pong, both}});
    suite.runCut({"nothing to continue", {two}, {}, 1002, true});
    suite.runCut({"nothing to continue, unfinished", {more}, {}, 1002, true});
    suite.runCut({"nothing to continue any more", {one, two, two, text}, {both}, 1002, true});
    suite.runCut({"nothing to continue, then text", {encode({Continuation, ""}), text}, {}, 1002, true});
    suite.runCut({"text, then nothing to continue", {text, more, text}, {hello}, 1002, true});
    suite.runCut({"a message within a message", {one, text}, {}, 1002, true});
    suite.runCut({"bytes within a message", {one, encode({Binary, "\xfe"})}, {}, 1002, true});
    suite.runCut({"a second beginning", {one, one, two}, {}, 1002, true});
    suite.runCut({"two messages", {one, two, one, two}, {both, both}});
    suite.runCut({"binary",
                  {encode({Binary, "\xfe", false}), encode({Continuation, "\xff"})},
                  {answer(Binary, "\xfe\xff")}});
    suite.runCut({"empty fragments",
                  {encode({Text, "", false}), encode({Continuation, "", false}), encode({Continuation, ""})},
                  {answer(Text, "")}});
    suite.runCut(
        {"one that is not empty",
         {encode({Text, "", false}), encode({Continuation, "middle", false}), encode({Continuation, ""})},
         {answer(Text, "middle")}});
    suite.runCut({"five, and pings",
                  {encode({Text, "1", false}), encode({Continuation, "2", false}), ping,
                   encode({Continuation, "3", false}), encode({Continuation, "4", false}), ping,
                   encode({Continuation, "5"})},
                  {pong, pong, answer(Text, "12345")}});
    for (const int count : {2, 10, 1000, 65536}) {
        std::string frames;
        for (int i = 0; i < count; ++i) {
            frames += encode({i == 0 ? Text : Continuation, "a", i == count - 1});
        }
        suite.run({std::to_string(count) + " of one byte",
                   {frames},
                   {answer(Text, std::string(static_cast<std::size_t>(count), 'a'))}});
        // One frame in the middle comes in two parts: what is kept of it is not of those behind it.
        const std::string cut = encode({Ping, "ping"});
        suite.run({std::to_string(count) + " of one byte behind half a ping",
                   {encode({Text, "a", false}) + cut.substr(0, 7),
                    cut.substr(7) + encode({Continuation, "a", false}) + frames.replace(0, 1, 1, '\0')},
                   {pong, answer(Text, std::string(static_cast<std::size_t>(count) + 2, 'a'))}});
    }
    const std::string long_(65536, '*');
    std::string parts;
    for (std::size_t at = 0; at < long_.size(); at += 1300) {
        parts += encode({at == 0 ? Text : Continuation, long_.substr(at, 1300), at + 1300 >= long_.size()});
    }
    suite.run({"fragments of 1300", {parts}, {answer(Text, long_)}});
    suite.run({"fragments of 1300, cut", chopped(parts, 1000), {answer(Text, long_)}});
    suite.finish(80);
}

// --- text -----------------------------------------------------------------------------------------------------------

namespace {

const std::string Kosme = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";

const std::vector<std::string> Valid{
    "Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!",
    Kosme,
    std::string("\0", 1),
    // the first and the last of each length
    "\x7f",
    "\xc2\x80",
    "\xdf\xbf",
    "\xe0\xa0\x80",
    "\xef\xbf\xbf",
    "\xf0\x90\x80\x80",
    "\xf4\x8f\xbf\xbf",
    // beside the surrogates
    "\xed\x9f\xbf",
    "\xee\x80\x80",
    "\xef\xbf\xbd",
    // that are no characters
    "\xef\xbf\xbe",
    "\xf0\x9f\xbf\xbe",
    "\xf0\x9f\xbf\xbf",
    "\xf0\xaf\xbf\xbe",
    "\xf0\xaf\xbf\xbf",
    "\xf0\xbf\xbf\xbe",
    "\xf0\xbf\xbf\xbf",
    "\xf1\x8f\xbf\xbe",
    "\xf1\x8f\xbf\xbf",
    "\xf1\x9f\xbf\xbe",
    "\xf1\x9f\xbf\xbf",
    "\xf1\xaf\xbf\xbe",
    "\xf1\xaf\xbf\xbf",
    "\xf1\xbf\xbf\xbe",
    "\xf1\xbf\xbf\xbf",
    "\xf2\x8f\xbf\xbe",
    "\xf2\x8f\xbf\xbf",
    "\xf2\x9f\xbf\xbe",
    "\xf2\x9f\xbf\xbf",
    "\xf2\xaf\xbf\xbe",
    "\xf2\xaf\xbf\xbf",
    "\xf2\xbf\xbf\xbe",
    "\xf2\xbf\xbf\xbf",
    "\xf3\x8f\xbf\xbe",
    "\xf3\x8f\xbf\xbf",
    "\xf3\x9f\xbf\xbe",
    "\xf3\x9f\xbf\xbf",
    "\xf3\xaf\xbf\xbe",
    "\xf3\xaf\xbf\xbf",
    "\xf3\xbf\xbf\xbe",
    "\xf3\xbf\xbf\xbf",
    "\xf4\x8f\xbf\xbe",
    // specials, and a byte order mark
    "\xef\xbf\xb9",
    "\xef\xbf\xba",
    "\xef\xbf\xbb",
    "\xef\xbf\xbc",
    "\xef\xbb\xbf"
    "x",
};

// In each the last byte is the first that cannot be.
const std::vector<std::string> Invalid{
    // bytes that cannot begin anything
    "\x80",
    "\xbf",
    "\xc0",
    "\xc1",
    "\xf5",
    "\xf6",
    "\xf7",
    "\xf8",
    "\xf9",
    "\xfb",
    "\xfc",
    "\xfd",
    "\xfe",
    "\xff",
    "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\x80",
    // begun, and something else follows
    "\xc2 ",
    "\xc2\x7f",
    "\xc2\xc2",
    "\xdf\xc0",
    "\xe0\xa0 ",
    "\xe1\x80\xc0",
    "\xef\xbf ",
    "\xe2\x82\xe2",
    "\xf0\x90 ",
    "\xf0\x90\x80 ",
    "\xf0\x90\x80\xc0",
    "\xf4\x8f\xbf ",
    "\xf1\x80\x80\xff",
    // too long for what they say
    "\xe0\x80",
    "\xe0\x9f",
    "\xf0\x80",
    "\xf0\x8f",
    "\xe0\x81",
    // surrogates, alone and in pairs
    "\xed\xa0",
    "\xed\xad",
    "\xed\xae",
    "\xed\xaf",
    "\xed\xb0",
    "\xed\xbe",
    "\xed\xbf",
    // past U+10FFFF
    "\xf4\x90",
    "\xf4\xbf",
};

// Whole so far, but not at the end.
const std::vector<std::string> CutOff{
    "\xc2", "\xdf",     "\xe0",         "\xe0\xa0", "\xef",     "\xef\xbf",     "\xed\x9f",
    "\xf0", "\xf0\x90", "\xf0\x90\x80", "\xf4",     "\xf4\x8f", "\xf4\x8f\xbf", "\xce\xba\xe1\xbd"};

Pieces inFragments(const std::string& text)
{
    Pieces frames;
    for (std::size_t i = 0; i < text.size(); ++i) {
        frames.push_back(encode({i == 0 ? Text : Continuation, text.substr(i, 1), i + 1 == text.size()}));
    }
    return frames;
}

} // namespace

TEST(text_is_utf8_however_it_is_cut)
{
    const Nginx nginx(echoing());
    Suite suite(nginx);
    for (const std::string& text : Valid) {
        suite.runCut({"valid " + text, {encode({Text, text})}, {answer(Text, text)}});
        suite.runCut({"valid in fragments " + text, inFragments(text), {answer(Text, text)}});
        suite.run({"valid within " + text,
                   {encode({Text, "a" + text + Kosme})},
                   {answer(Text, "a" + text + Kosme)}});
    }
    for (const auto* list : {&Invalid, &CutOff}) {
        for (const std::string& text : *list) {
            suite.runCut({"invalid " + text, {encode({Text, Kosme + text})}, {}, 1007, true});
            suite.runCut({"invalid in fragments " + text, inFragments("ab" + text), {}, 1007, true});
            suite.run({"invalid at the end of much",
                       {encode({Text, std::string(10'000, 'x') + text})},
                       {},
                       1007,
                       true});
        }
    }
    for (const std::string& text : Invalid) { // and what is behind it does not mend it
        suite.run({"invalid, then valid", {encode({Text, text + "\xbf\xbf" + Kosme})}, {}, 1007, true});
        suite.run({"bytes need not be text", {encode({Binary, text})}, {answer(Binary, text)}});
    }
    for (std::size_t size = 1; size < Kosme.size(); ++size) {
        const std::string part = Kosme.substr(0, size);
        const bool whole = size == 2 || size == 5 || size == 7 || size == 9;
        suite.runCut({"the first " + std::to_string(size) + " bytes",
                      {encode({Text, part})},
                      whole ? std::vector<Frame>{answer(Text, part)} : std::vector<Frame>{},
                      whole ? 1000 : 1007,
                      !whole});
    }
    suite.finish(850);
}

// Nothing comes behind the byte that cannot be: the server must not wait for it.
TEST(text_that_is_not_utf8_fails_at_its_first_bad_byte)
{
    const Nginx nginx(echoing());
    Suite suite(nginx);
    const Frame pong = answer(Pong, "so far");
    for (const std::string& text : Invalid) {
        const std::string good = Kosme + text.substr(0, text.size() - 1);
        const std::string bad = text.substr(text.size() - 1);
        suite.run(
            {"between fragments " + text,
             {encode({Text, good, false}), encode({Ping, "so far"}), encode({Continuation, bad, false})},
             {pong},
             1007,
             true});
        suite.run(
            {"between fragments, in one",
             {encode({Text, good, false}) + encode({Ping, "so far"}) + encode({Continuation, bad, false})},
             {pong},
             1007,
             true});
        const std::string frame = encode({Text, good + bad + std::string(1000, 'x')});
        const std::size_t upTo = frame.size() - 1000;
        suite.run({"within a frame " + text, {frame.substr(0, upTo)}, {}, 1007, true});
        suite.run({"within a frame, in bytes", chopped(frame.substr(0, upTo), 1), {}, 1007, true});
        const std::string second = encode({Continuation, good + bad + std::string(70'000, 'x')});
        suite.run({"within a second frame",
                   {encode({Text, "first", false}), second.substr(0, second.size() - 70'000)},
                   {},
                   1007,
                   true});
    }
    suite.finish(200);
}

// --- closing --------------------------------------------------------------------------------------------------------

TEST(a_close_is_answered_with_its_code_and_ends_everything)
{
    const Nginx nginx(echoing());
    Suite suite(nginx);
    const Frame hello = answer(Text, "Hello");
    const std::string text = encode({Text, "Hello"});
    const std::string close = closeFrame(1000);

    suite.runCut({"a message, then close", {text, close}, {hello}, 1000, true});
    suite.runCut({"twice", {close, close}, {}, 1000, true});
    suite.runCut({"a ping behind it", {close, encode({Ping, "late"})}, {}, 1000, true});
    suite.runCut({"a message behind it", {close, text}, {}, 1000, true});
    suite.runCut({"nonsense behind it", {close, std::string(100, '\xff')}, {}, 1000, true});
    suite.run({"much behind it", {close, std::string(1 << 20, '\xff')}, {}, 1000, true});
    suite.runCut({"within a message",
                  {encode({Text, "frag", false}), close, encode({Continuation, "ment"})},
                  {},
                  1000,
                  true});
    const std::string large(256 * 1024, 'x');
    suite.run({"behind a large message",
               {encode({Text, large}), close, encode({Ping, ""})},
               {answer(Text, large)},
               1000,
               true});
    suite.run({"behind a large message, in one",
               {encode({Text, large}) + close},
               {answer(Text, large)},
               1000,
               true});
    // The end of a message and what follows come in two reads of one turn of the event loop.
    for (const std::size_t size :
         {65'506UL, 65'520UL, 65'521UL, 65'522UL, 131'000UL, 500'000UL, 1'000'000UL}) {
        const std::string message(size, 'y');
        const std::string frame = encode({Text, message});
        suite.run({"close in another read", {frame + close}, {answer(Text, message)}, 1000, true});
        suite.run(
            {"an error in another read", {frame + encode({3, ""})}, {answer(Text, message)}, 1002, true});
    }

    suite.runCut({"empty", {encode({Close, ""})}, {}, NoCode, true});
    suite.runCut({"one byte", {encode({Close, "\x03"})}, {}, 1002, true});
    for (const std::size_t size : {0, 1, 12, 122, 123}) {
        suite.runCut({"a reason of " + std::to_string(size),
                      {closeFrame(1000, std::string(size, '*'))},
                      {},
                      1000,
                      true});
    }
    suite.runCut({"a reason of 124", {closeFrame(1000, std::string(124, '*'))}, {}, 1002, true});
    suite.runCut({"a reason that is not UTF-8",
                  {closeFrame(1000, Kosme + "\xed\xa0\x80"
                                            "edited")},
                  {},
                  1007,
                  true});
    for (const std::string& reason : Invalid) {
        suite.run({"a reason that is not UTF-8", {closeFrame(1000, reason)}, {}, 1007, true});
    }
    for (const std::string& reason : CutOff) {
        suite.run({"a reason that is cut off", {closeFrame(1000, reason)}, {}, 1007, true});
    }
    for (const std::string& reason : Valid) {
        suite.run({"a reason in UTF-8", {closeFrame(1000, reason)}, {}, 1000, true});
    }
    for (const int code :
         {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999}) {
        suite.runCut({"code " + std::to_string(code), {closeFrame(code)}, {}, code, true});
        suite.run({"code with a reason", {closeFrame(code, "reason")}, {}, code, true});
    }
    for (const int code :
         {0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 9999, 65535}) {
        suite.runCut({"code " + std::to_string(code), {closeFrame(code)}, {}, 1002, true});
        suite.run({"code with a reason", {closeFrame(code, "reason")}, {}, 1002, true});
    }
    suite.finish(230);
}

// Both sides still send; a socket that is closed with something unread would reset the connection, and what the client has
// not read yet would be gone.
TEST(a_client_that_goes_on_sending_gets_the_close_frame)
{
    const Nginx nginx(echoing());
    Suite suite(nginx);
    for (const std::string& bad :
         {encode({3, "x"}), encode({Text, "\xff"}), closeFrame(1000), closeFrame(5000)}) {
        for (const std::size_t more : {1UL, 65'536UL, 1UL << 20, 4UL << 20}) {
            suite.count();
            RawWebSocket client(nginx.port(), suite.path());
            client.sendBytes(encode({Text, "before"}) + bad + std::string(more, 'x'));
            const Frame echo = client.receive();
            expect(same(echo, answer(Text, "before")), "what came before is echoed: " + brief(echo));
            client.sendBytes(std::string(1000, 'y')); // also behind the close frame
            suite.expectEnd(client, bad == closeFrame(1000)         ? 1000
                                    : bad == encode({Text, "\xff"}) ? 1007
                                                                    : 1002);
        }
    }
    suite.finish(16);
}

TEST(who_closes_and_then_listens_gets_everything)
{
    const Nginx nginx(echoing());
    Suite suite(nginx);
    suite.count();
    const std::string large(8 << 20, 'x');
    RawWebSocket client(nginx.port(), suite.path(), "", 4096);
    client.sendBytes(encode({Text, large}) + closeFrame(1001));
    client.socket().shutdownWriting();
    expect(same(client.receive(), answer(Text, large)), "the echo");
    suite.expectEnd(client, 1001);
}

// --- the opening handshake ------------------------------------------------------------------------------------------

TEST(the_handshake_is_read_as_http_is)
{
    const Nginx nginx(endpoints());
    const std::string upgrade = "Upgrade: websocket\r\n";
    const std::string connection = "Connection: Upgrade\r\n";
    const std::string version = "Sec-WebSocket-Version: 13\r\n";
    const std::string key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const std::string json = "Sec-WebSocket-Protocol: realtime.json\r\n";
    struct Try {
        std::string headers;
        int status;
        std::string contains = {};
    };
    const std::vector<Try> tries{
        {upgrade + connection + version + key, 101},
        {"UPGRADE: WebSocket\r\nCONNECTION: UPGRADE\r\nSEC-WEBSOCKET-VERSION: 13\r\n" + key, 101},
        // lists, on one line or several
        {upgrade + "Connection: keep-alive, Upgrade\r\n" + version + key, 101},
        {upgrade + "Connection: Upgrade,keep-alive\r\n" + version + key, 101},
        {upgrade + "Connection: keep-alive\r\nConnection: Upgrade\r\n" + version + key, 101},
        {upgrade + "Connection: Upgrade\r\nConnection: keep-alive\r\n" + version + key, 101},
        {upgrade + "Connection: a\r\nConnection: ,, b ,\r\nConnection: c, upgrade\r\n" + version + key, 101},
        {"Upgrade: h2c, websocket\r\n" + connection + version + key, 101},
        {"Upgrade: h2c\r\nUpgrade: websocket\r\n" + connection + version + key, 101},
        {"Upgrade: websocket\r\nUpgrade: h2c\r\n" + connection + version + key, 101},
        // white space
        {"Upgrade:\twebsocket\t\r\nConnection:\t keep-alive\t,\tUpgrade \t\r\n" + version + key, 101},
        {upgrade + connection + "Sec-WebSocket-Version:\t13\t\r\n" + key, 101},
        {upgrade + connection + "Sec-WebSocket-Version:13\r\n" + key, 101},
        {upgrade + connection + version + "Sec-WebSocket-Key:\tdGhlIHNhbXBsZSBub25jZQ== \t \r\n", 101},
        {upgrade + connection + version + "Sec-WebSocket-Key:dGhlIHNhbXBsZSBub25jZQ==\r\n", 101},
        {upgrade + connection + version + key + "Sec-WebSocket-Protocol:\trealtime.json\t\r\n", 101,
         "realtime.json\r\n"},
        {upgrade + connection + version + key + "Sec-WebSocket-Protocol: chat\r\n" + json, 101,
         "realtime.json\r\n"},
        {upgrade + connection + version + key + json + "Sec-WebSocket-Protocol: chat\r\n", 101,
         "realtime.json\r\n"},
        {upgrade + connection + version + key + "Sec-WebSocket-Protocol: chat ,\trealtime.json\r\n", 101,
         "realtime.json\r\n"},
        // what is not one
        {upgrade + version + key, 400},
        {upgrade + "Connection: keep-alive\r\n" + version + key, 400},
        {upgrade + "Connection: keep-alive, upgraded\r\n" + version + key, 400},
        {upgrade + connection + key, 426, "Sec-WebSocket-Version: 13\r\n"},
        {upgrade + connection + "Sec-WebSocket-Version: 8\r\n" + key, 426, "Sec-WebSocket-Version: 13\r\n"},
        {upgrade + connection + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8\r\n" + key, 426},
        {upgrade + connection + "Sec-WebSocket-Version: 13 8\r\n" + key, 426},
        {upgrade + connection + version, 400},
        {upgrade + connection + version + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n", 400},
        {upgrade + connection + version + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ= =\r\n", 400},
        {upgrade + connection + version + key + key, 400},
        {upgrade + connection + version + "Sec-WebSocket-Key: \r\n", 400},
    };
    for (const Try& one : tries) {
        for (const char* path : {"/ws/room", "/sub/room"}) {
            RawSocket socket(nginx.port());
            socket.send(std::string("GET ") + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + one.headers +
                        "\r\n");
            const std::string head = socket.receiveUntil("\r\n\r\n");
            expect(head.starts_with("HTTP/1.1 " + std::to_string(one.status) + ' '),
                   one.headers + "got " + head);
            expectContains(head, one.contains);
            if (one.status == 101) {
                expectContains(head, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n");
            }
        }
    }
    RawSocket old(nginx.port());
    old.send("GET /ws/room HTTP/1.0\r\nHost: 127.0.0.1\r\n" + upgrade + connection + version + key + "\r\n");
    expectContains(old.receiveUntil("\r\n\r\n"), " 400 ");
    eventually([&] { return probe(nginx, "room") == 0; }, "all have been closed");
}

// --- permessage-deflate ---------------------------------------------------------------------------------------------

namespace {

// One message as a client may compress it, without what RFC 7692 leaves out at its end.
struct Compression {
    int windowBits = 15, level = 6, memory = 8, strategy = Z_DEFAULT_STRATEGY;
    int flush = Z_SYNC_FLUSH; // Z_FINISH: the last block says that it is one
};

std::string compressed(std::string_view message, const Compression& how = {})
{
    z_stream stream{};
    expect(deflateInit2(&stream, how.level, Z_DEFLATED, -how.windowBits, how.memory, how.strategy) == Z_OK,
           "deflateInit2()");
    std::string out(deflateBound(&stream, message.size()) + 64, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(message.data()));
    stream.avail_in = static_cast<uInt>(message.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    deflate(&stream, how.flush);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    if (how.flush == Z_FINISH) {
        return out + '\0'; // an empty block behind the last one, RFC 7692 7.2.3.4
    }
    expect(out.ends_with(std::string_view("\0\0\xff\xff", 4)), "an empty block");
    out.resize(out.size() - 4);
    return out;
}

std::string decompressed(std::string payload, int windowBits)
{
    z_stream stream{};
    expect(inflateInit2(&stream, -windowBits) == Z_OK, "inflateInit2()");
    payload.append("\0\0\xff\xff", 4);
    stream.next_in = reinterpret_cast<Bytef*>(payload.data());
    stream.avail_in = static_cast<uInt>(payload.size());
    std::string out;
    char part[16384];
    int result = Z_OK;
    do {
        stream.next_out = reinterpret_cast<Bytef*>(part);
        stream.avail_out = sizeof(part);
        result = inflate(&stream, Z_SYNC_FLUSH);
        out.append(part, sizeof(part) - stream.avail_out);
    } while (result == Z_OK && stream.avail_out == 0);
    const bool good =
        (result == Z_OK || result == Z_BUF_ERROR || result == Z_STREAM_END) && stream.avail_in == 0;
    inflateEnd(&stream);
    expect(good, "the server's compressed data is sound, within its window");
    return out;
}

std::string words(std::size_t size)
{
    std::string text;
    for (std::size_t i = 0; text.size() < size; ++i) {
        text += "{\"number\": " + std::to_string(i * i % 9973) + ", \"w\xc3\xb6rter\": true} ";
    }
    while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0U) == 0x80U) {
        --size;
    }
    return text.substr(0, size);
}

std::string headerOf(const std::string& head, const std::string& name)
{
    const std::size_t at = head.find(name + ": ");
    return at == std::string::npos
               ? ""
               : head.substr(at + name.size() + 2, head.find("\r\n", at) - at - name.size() - 2);
}

// What a client that has made that offer makes of the answer.
struct Negotiated {
    bool deflate = false;
    int windowBits = 15; // of what the server sends
};

Negotiated negotiated(const std::string& head)
{
    const std::string extension = headerOf(head, "Sec-WebSocket-Extensions");
    Negotiated result;
    if (extension.empty()) {
        return result;
    }
    result.deflate = true;
    for (const std::string& part : split(extension, ';')) {
        const std::string word = part.substr(std::min(part.find_first_not_of(' '), part.size()));
        const std::string bits = "server_max_window_bits=";
        if (word.starts_with(bits)) {
            result.windowBits = toInt(word.substr(bits.size()));
        } else {
            expect(word == "permessage-deflate" || word == "server_no_context_takeover" ||
                       word == "client_no_context_takeover",
                   "an answer that every client can keep to: " + word);
        }
    }
    return result;
}

void expectEcho(RawWebSocket& client, const std::string& message, const Negotiated& how)
{
    const Frame frame = client.receive();
    if (frame.reserved == 0) {
        expect(frame.payload == message, "a plain echo of " + std::to_string(message.size()));
        return;
    }
    expect(how.deflate && frame.reserved == Rsv1, "a reserved bit that was not negotiated");
    expect(decompressed(frame.payload, how.windowBits) == message,
           "a compressed echo of " + std::to_string(message.size()));
}

NginxOptions deflating()
{
    NginxOptions options = echoing();
    options.http += "realtime_deflate on;\n";
    return options;
}

void closeAndExpectEnd(const Suite& suite, RawWebSocket& client)
{
    client.sendBytes(closeFrame(1000));
    suite.expectEnd(client, 1000);
}

} // namespace

TEST(every_offer_of_permessage_deflate_is_answered_or_declined_and_messages_pass)
{
    const Nginx nginx(deflating());
    Suite suite(nginx);
    const std::string message = words(3000);
    std::vector<std::string> offers;
    std::vector<std::string> windows{"", "8", "9", "10", "11", "12", "13", "14", "15", "\"10\"", "\"15\""};
    for (const char* server : {"", "; server_no_context_takeover"}) {
        for (const char* client : {"", "; client_no_context_takeover"}) {
            for (const std::string& serverBits : windows) {
                for (const std::string& clientBits : windows) {
                    std::string offer = std::string("permessage-deflate") + client + server;
                    offer += serverBits.empty() ? "" : "; server_max_window_bits=" + serverBits;
                    offers.push_back(offer +
                                     (clientBits.empty() ? "" : "; client_max_window_bits=" + clientBits));
                }
                offers.push_back(std::string("permessage-deflate; client_max_window_bits") + server + client +
                                 (serverBits.empty() ? "" : ";server_max_window_bits=" + serverBits));
            }
        }
    }
    for (const std::string& offer : offers) {
        suite.count();
        try {
            RawWebSocket client(nginx.port(), suite.path(), "Sec-WebSocket-Extensions: " + offer + "\r\n");
            const Negotiated how = negotiated(client.responseHead());
            const std::string bits = "server_max_window_bits=";
            const std::size_t at = offer.find(bits);
            std::string asked = at == std::string::npos ? "" : offer.substr(at + bits.size());
            std::erase(asked, '"');
            const int window = asked.empty() ? 15 : toInt(asked);
            expect(how.deflate == (window >= 12), "compression where the window allows it");
            expect(!how.deflate || how.windowBits <= window, "no larger window than was asked for");
            client.send(
                {Text, how.deflate ? compressed(message) : message, true, true, how.deflate ? Rsv1 : 0});
            expectEcho(client, message, how);
            client.send({Text, message}); // plain ones are allowed as well
            expectEcho(client, message, how);
            closeAndExpectEnd(suite, client);
        } catch (const std::exception& error) {
            suite.problem(offer + ": " + error.what());
        }
    }
    suite.finish(500);
}

TEST(offers_that_cannot_be_kept_to_are_declined_and_malformed_ones_refused)
{
    const Nginx nginx(deflating());
    const auto head = [&](const std::string& headers) {
        RawSocket socket(nginx.port());
        socket.send(
            "GET /ws/room HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
            headers + "\r\n");
        return socket.receiveUntil("\r\n\r\n");
    };
    const std::string name = "Sec-WebSocket-Extensions: ";
    for (const std::string declined :
         {"permessage-deflate; server_max_window_bits", "permessage-deflate; server_max_window_bits=7",
          "permessage-deflate; server_max_window_bits=16", "permessage-deflate; server_max_window_bits=015",
          "permessage-deflate; server_max_window_bits=1", "permessage-deflate; client_max_window_bits=7",
          "permessage-deflate; client_max_window_bits=16", "permessage-deflate; client_max_window_bits=08",
          "permessage-deflate; server_no_context_takeover=1",
          "permessage-deflate; client_no_context_takeover=on",
          "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
          "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
          "permessage-deflate; unknown", "permessage-deflate; Server_no_context_takeover",
          "Permessage-Deflate", "x-webkit-deflate-frame", "foo; bar=baz"}) {
        const std::string answer = head(name + declined + "\r\n");
        expect(answer.starts_with("HTTP/1.1 101 "), declined + " got " + answer);
        expectLacks(answer, "Sec-WebSocket-Extensions");
    }
    for (const std::string taken :
         {"foo, permessage-deflate", "permessage-deflate; server_max_window_bits=9, permessage-deflate",
          "permessage-deflate; unknown , permessage-deflate; server_max_window_bits=15, permessage-deflate",
          "permessage-deflate;server_no_context_takeover;client_max_window_bits",
          ",, permessage-deflate ,"}) {
        expectContains(head(name + taken + "\r\n"), name + "permessage-deflate; server_no_context_takeover");
    }
    expectContains(head(name + "foo\r\n" + name + "bar\r\n" + name + "\tpermessage-deflate\t\r\n"),
                   name + "permessage-deflate");
    for (const std::string malformed :
         {"permessage-deflate;", "permessage-deflate; =1",
          "permessage-deflate; server_max_window_bits=", "permessage-deflate; server_max_window_bits=\"15",
          "permessage-deflate; a b", "a b", ";", "perm/deflate"}) {
        expectContains(head(name + malformed + "\r\n"), "HTTP/1.1 400 ");
    }
}

TEST(compressed_messages_of_every_size_and_make_come_back)
{
    const Nginx nginx(deflating());
    Suite suite(nginx);
    std::vector<Compression> makes;
    for (int bits = 9; bits <= 15; ++bits) {
        makes.push_back({.windowBits = bits});
    }
    for (const int level : {0, 1, 9}) {
        makes.push_back({.level = level});
    }
    for (const int strategy : {Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED}) {
        makes.push_back({.strategy = strategy});
    }
    makes.push_back({.memory = 1});
    makes.push_back({.flush = Z_FULL_FLUSH});
    makes.push_back({.flush = Z_FINISH});
    const std::string offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    const Negotiated how{true, 15};
    for (const std::size_t size : {0, 1, 16, 64, 125, 126, 127, 128, 256, 1024, 4096, 8192, 16384, 32768,
                                   65535, 65536, 131072, 1 << 20}) {
        const std::string message = words(size);
        for (const std::size_t cut :
             {std::size_t{0}, std::size_t{1}, std::size_t{64}, std::size_t{256}}) { // of fragments
            if (cut == 1 && size > 8192) {
                continue;
            }
            suite.count();
            try {
                RawWebSocket client(nginx.port(), suite.path(), offer);
                for (const Compression& make : makes) {
                    const std::string payload = compressed(message, make);
                    const std::size_t part = cut == 0 ? std::max<std::size_t>(payload.size(), 1) : cut;
                    std::string frames;
                    std::size_t at = 0;
                    do {
                        const bool first = at == 0;
                        frames += encode({first ? Text : Continuation, payload.substr(at, part),
                                          at + part >= payload.size(), true, first ? Rsv1 : 0});
                        at += part;
                    } while (at < payload.size());
                    client.sendBytes(frames);
                    expectEcho(client, message, how);
                }
                closeAndExpectEnd(suite, client);
            } catch (const std::exception& error) {
                suite.problem(std::to_string(size) + " in " + std::to_string(cut) + ": " + error.what());
            }
        }
    }
    // A thousand in a row, compressed and plain, with pings between fragments.
    suite.count();
    RawWebSocket client(nginx.port(), suite.path(), offer);
    for (std::size_t i = 0; i < 1000; ++i) {
        const std::string message = words(i % 300);
        const std::string payload = compressed(message);
        if (i % 3 == 0) {
            client.send({Text, message});
        } else if (i % 3 == 1) {
            client.send({Text, payload, true, true, Rsv1});
        } else {
            client.send({Text, payload.substr(0, 1), false, true, Rsv1});
            client.send({Pong, ""});
            client.send({Continuation, payload.substr(1)});
        }
        expectEcho(client, message, how);
    }
    closeAndExpectEnd(suite, client);
    suite.finish(60);
}

TEST(what_must_not_come_compressed_fails_the_connection)
{
    const Nginx nginx(deflating());
    Suite suite(nginx);
    const std::string offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    const std::string good = compressed(words(1000));
    struct Bad {
        const char* what;
        std::vector<Frame> frames;
        int code;
    };
    const std::vector<Bad> all{
        {"a ping", {{Ping, "", true, true, Rsv1}}, 1002},
        {"a pong", {{Pong, "x", true, true, Rsv1}}, 1002},
        {"a close", {{Close, "", true, true, Rsv1}}, 1002},
        {"a continuation",
         {{Text, good.substr(0, 10), false, true, Rsv1}, {Continuation, good.substr(10), true, true, Rsv1}},
         1002},
        {"the end of a plain one", {{Text, "a", false}, {Continuation, good, true, true, Rsv1}}, 1002},
        {"RSV2", {{Text, good, true, true, 2}}, 1002},
        {"RSV3", {{Text, good, true, true, 1}}, 1002},
        {"RSV1 and 2", {{Text, good, true, true, Rsv1 | 2}}, 1002},
        {"no deflate at all", {{Text, "\xff\xff\xff\xff", true, true, Rsv1}}, 1007},
        {"cut off", {{Text, good.substr(0, good.size() / 2), true, true, Rsv1}}, 1007},
        {"a stored block of the wrong length",
         {{Text, std::string("\x00\x05\x00\x05\x00hello", 10), true, true, Rsv1}},
         1007},
        {"behind the window", {{Text, std::string("\x4b\x04\x11\x00", 4), true, true, Rsv1}}, 1007},
        {"text that is not UTF-8", {{Text, compressed("\xff\xfe\xfd"), true, true, Rsv1}}, 1007},
        {"a code point cut off", {{Text, compressed("\xe2\x82"), true, true, Rsv1}}, 1007},
        {"more than a message may be",
         {{Binary, compressed(std::string((16 << 20) + 1, 'a')), true, true, Rsv1}},
         1009},
    };
    for (const Bad& bad : all) {
        suite.count();
        try {
            RawWebSocket client(nginx.port(), suite.path(), offer);
            client.send({Text, good, true, true, Rsv1});
            expectEcho(client, words(1000), {true, 15});
            for (const Frame& frame : bad.frames) {
                client.send(frame);
            }
            suite.expectEnd(client, bad.code);
        } catch (const std::exception& error) {
            suite.problem(std::string(bad.what) + ": " + error.what());
        }
    }
    suite.finish(15);
}

TEST_MAIN()
