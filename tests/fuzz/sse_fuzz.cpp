// Whatever a publisher sends is one event in the stream, and one chunk.
#include "base/base64.hpp"
#include "base/utf8.hpp"
#include "wire/sse.hpp"

#include "fuzz.hpp"
#include "sse_reader.hpp"

using namespace realtime;

namespace {

std::string normalised(std::string_view data) // CR and CRLF arrive as LF
{
    std::string out;
    for (std::size_t i = 0; i < data.size(); ++i) {
        if (data[i] != '\r') {
            out += data[i];
        } else if (i + 1 == data.size() || data[i + 1] != '\n') {
            out += '\n';
        }
    }
    return out;
}

std::string oneLine(std::string_view text)
{
    std::string out;
    for (const char c : text) {
        if (c != '\r' && c != '\n' && c != '\0') {
            out += c;
        }
    }
    return out;
}

} // namespace

std::vector<std::string> seeds()
{
    using namespace std::string_literals;
    return {"\x04\x04"s + "e1-7newsone\ntwo", "\x02\x06"s + "1\nx\r\rdata"s + "\r\n\r\n\n\r: x\ndata: y\n",
            "\x00\x07"s + "message\xff\xfe\n"s, "\x03\x03"s + "a\0ba\0b"s + "\0"s};
}

FUZZ_TARGET(sse)(const std::uint8_t* data, std::size_t size)
{
    Input in(data, size);
    const std::size_t idSize = in.byte() % 32, eventSize = in.byte() % 32;
    const std::string_view id = in.take(idSize), event = in.take(eventSize), text = in.rest();

    FrameBuilder builder;
    appendSseEvent(builder, id, event, text);
    const std::string stream(builder.view());
    const auto events = realtime::testing::readSse(stream);
    CHECK(events.size() == 1);
    CHECK(events[0].id == oneLine(id));
    CHECK(events[0].type == (oneLine(event).empty() ? "message" : oneLine(event)));
    if (validUtf8(text)) {
        CHECK(events[0].encoding.empty());
        CHECK(events[0].data == normalised(text));
    } else {
        CHECK(events[0].encoding == "base64");
        CHECK(decodeBase64(events[0].data) == text);
    }

    FrameBuilder appended;
    appendChunk(appended, stream);
    const FramePtr chunk = finishChunk(builder);
    CHECK(chunk->view() == appended.view());
    CHECK(std::strtoul(std::string(chunk->view()).c_str(), nullptr, 16) == stream.size());
    CHECK(chunk->view().ends_with(stream + "\r\n"));
    return 0;
}
