#include "wire/sse.hpp"

#include "base/base64.hpp"
#include "base/utf8.hpp"

#include <charconv>

namespace realtime {

namespace {

constexpr std::string_view LineBreaks = "\r\n";

// `name: value`, on one line whatever the value holds.
void appendField(FrameBuilder& out, std::string_view name, std::string_view value)
{
    using namespace std::string_view_literals;
    constexpr std::string_view Forbidden = "\r\n\0"sv;

    out.append(name);
    for (;;) {
        const std::size_t end = value.find_first_of(Forbidden);
        out.append(value.substr(0, end));
        if (end == std::string_view::npos) {
            break;
        }
        value.remove_prefix(end + 1);
    }
    out.append('\n');
}

void appendData(FrameBuilder& out, std::string_view data)
{
    for (;;) {
        const std::size_t end = data.find_first_of(LineBreaks);
        out.append("data: ");
        out.append(data.substr(0, end));
        out.append('\n');
        if (end == std::string_view::npos) {
            return;
        }
        data.remove_prefix(data.substr(end).starts_with("\r\n") ? end + 2 : end + 1);
    }
}

struct ChunkHead {
    char text[18]; // 16 digits, CRLF
    std::size_t size;

    explicit ChunkHead(std::size_t payloadBytes)
    {
        char* end = std::to_chars(text, text + 16, payloadBytes, 16).ptr;
        *end++ = '\r';
        *end++ = '\n';
        size = static_cast<std::size_t>(end - text);
    }
    std::string_view view() const { return {text, size}; }
};

static_assert(FrameBuilder::Headroom >= sizeof ChunkHead::text);

} // namespace

void appendSseEvent(FrameBuilder& out, std::string_view id, std::string_view event, std::string_view data)
{
    if (!id.empty()) {
        appendField(out, "id: ", id);
    }
    if (!event.empty() && event != "message") {
        appendField(out, "event: ", event);
    }
    if (validUtf8(data)) {
        appendData(out, data);
    } else {
        out.append("encoding: base64\ndata: ");
        appendBase64(out, data);
        out.append('\n');
    }
    out.append('\n');
}

void appendSseComment(FrameBuilder& out)
{
    out.append(":\n\n");
}

void appendSseRetry(FrameBuilder& out, std::uint64_t milliseconds)
{
    out.append("retry: ");
    out.number(milliseconds);
    out.append("\n\n");
}

void appendChunk(FrameBuilder& out, std::string_view payload)
{
    if (payload.empty()) {
        return;
    }
    out.append(ChunkHead(payload.size()).view());
    out.append(payload);
    out.append(LineBreaks);
}

FramePtr finishChunk(FrameBuilder& payload)
{
    if (payload.size() > 0) {
        payload.prepend(ChunkHead(payload.size()).view());
        payload.append(LineBreaks);
    }
    return payload.finish();
}

} // namespace realtime
