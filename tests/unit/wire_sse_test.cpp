#include "wire/sse.hpp"

#include "base/base64.hpp"

#include <optional>

#include "sse_reader.hpp"
#include "testing.hpp"

using namespace realtime;
using realtime::testing::readSse;

namespace {

std::string written(std::string_view id, std::string_view event, std::string_view data)
{
    FrameBuilder builder;
    appendSseEvent(builder, id, event, data);
    return std::string(builder.view());
}

// All that such a stream holds is this one event.
void check(std::string_view data, const std::string& expected)
{
    const auto events = readSse(written("e1-7", "news", data));
    assert_int_equal(events.size(), 1);
    assert_text_equal(events[0].id, "e1-7");
    assert_text_equal(events[0].type, "news");
    assert_text_equal(events[0].data, expected);
    assert_text_equal(events[0].encoding, "");
}

} // namespace

TEST(an_event_looks_as_documented)
{
    assert_text_equal(written("e1-7", "news", "one\ntwo"), "id: e1-7\nevent: news\ndata: one\ndata: two\n\n");
    assert_text_equal(written("e1-8", "message", "x"), "id: e1-8\ndata: x\n\n");
    assert_text_equal(written("", "", "x"), "data: x\n\n");
}

TEST(data_arrives_with_every_kind_of_line_break_as_lf)
{
    check("plain", "plain");
    check("", "");
    check(" leading and trailing ", " leading and trailing ");
    check("a\nb", "a\nb");
    check("a\r\nb", "a\nb");
    check("a\rb", "a\nb");
    check("a\n\rb", "a\n\nb");
    check("a\r\r\n\nb", "a\n\n\nb");
    check("\n", "\n");
    check("\r\n", "\n");
    check("a\r", "a\n");
    check("\n\n\n", "\n\n\n");
    check("\na", "\na");
    check("data: x\n\nid: forged\n\nevent: forged", "data: x\n\nid: forged\n\nevent: forged");
    check(": comment\n:", ": comment\n:");
    check("gr\xc3\xbc\xc3\x9f\n\xe2\x82\xac", "gr\xc3\xbc\xc3\x9f\n\xe2\x82\xac");
    check(std::string("\0", 1), std::string("\0", 1));
}

TEST(id_and_event_cannot_forge_fields)
{
    using namespace std::string_literals;
    const auto events = readSse(written("1\ndata: a\n\n\r\nid: 2\0"s, "x\r\rdata: b\n\ny\0z"s, "real"));
    assert_int_equal(events.size(), 1);
    assert_text_equal(events[0].id, "1data: aid: 2");
    assert_text_equal(events[0].type, "xdata: byz");
    assert_text_equal(events[0].data, "real");
}

TEST(data_that_is_not_utf8_is_base64_behind_an_encoding_line)
{
    const std::string data("\xff\n\0\r", 4);
    const auto events = readSse(written("e1-7", "blob", data));
    assert_int_equal(events.size(), 1);
    assert_text_equal(events[0].encoding, "base64");
    assert_text_equal(events[0].type, "blob");
    assert_text_equal(decodeBase64(events[0].data).value(), data);
}

TEST(comments_and_retry_are_no_events)
{
    FrameBuilder builder;
    appendSseComment(builder);
    appendSseRetry(builder, 15'000);
    appendSseEvent(builder, "1", "", "x");
    appendSseComment(builder);
    assert_text_equal(builder.view(), ":\n\nretry: 15000\n\nid: 1\ndata: x\n\n:\n\n");
    assert_int_equal(readSse(std::string(builder.view())).size(), 1);
}

namespace {

// Reads chunks after RFC 9112 7.1; null if malformed. `ended`: the last chunk was there.
std::optional<std::string> unchunk(std::string_view text, bool& ended)
{
    std::string body;
    ended = false;
    while (!text.empty()) {
        const std::size_t lineEnd = text.find("\r\n");
        if (ended || lineEnd == std::string_view::npos) {
            return std::nullopt;
        }
        const std::size_t size = std::stoul(std::string(text.substr(0, lineEnd)), nullptr, 16);
        text.remove_prefix(lineEnd + 2);
        if (text.size() < size + 2 || text.substr(size, 2) != "\r\n") {
            return std::nullopt;
        }
        body += text.substr(0, size);
        ended = size == 0;
        text.remove_prefix(size + 2);
    }
    return body;
}

} // namespace

TEST(chunks_read_back_at_every_size)
{
    std::string expected;
    FrameBuilder all;
    for (const std::size_t size : {0UL, 1UL, 9UL, 10UL, 15UL, 16UL, 255UL, 256UL, 4095UL, 4096UL, 70'000UL}) {
        const std::string payload(size, static_cast<char>('a' + size % 26));
        appendChunk(all, payload);
        expected += payload;

        FrameBuilder one;
        one.append(payload);
        const FramePtr chunk = finishChunk(one);
        bool ended = true;
        assert_text_equal(unchunk(chunk->view(), ended).value(), payload);
        assert_false(ended); // an empty payload is no chunk, since that would be the last
    }
    bool ended = true;
    assert_text_equal(unchunk(all.view(), ended).value(), expected);
    assert_false(ended);
    all.append(LastChunk);
    assert_text_equal(unchunk(all.view(), ended).value(), expected);
    assert_true(ended);
}

TEST(one_chunk_carries_several_events)
{
    FrameBuilder builder;
    appendSseEvent(builder, "1", "", "a");
    appendSseEvent(builder, "2", "", "b");
    assert_text_equal(finishChunk(builder)->view(), "1e\r\nid: 1\ndata: a\n\nid: 2\ndata: b\n\n\r\n");
}

TEST_MAIN()
