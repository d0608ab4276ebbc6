#include "hub/encoding.hpp"

#include "base/utf8.hpp"
#include "wire/envelope.hpp"
#include "wire/pusher_frame.hpp"
#include "wire/sse.hpp"
#include "wire/websocket.hpp"

namespace realtime {

namespace {

// Beside the data: header, id, names, punctuation.
constexpr std::size_t OverheadGuess = 160;

std::string_view idOf(const LogRecord& record, char* buffer)
{
    return {buffer, formatMessageId(record.id, buffer)};
}

void appendRaw(FrameBuilder& out, const LogRecord& record)
{
    auto opcode = validUtf8(record.data) ? ws::Opcode::Text : ws::Opcode::Binary;
    char header[ws::MaxHeaderBytes];
    out.append({header, ws::encodeHeader(header, opcode, record.data.size())});
    out.append(record.data);
}

void appendEnvelope(FrameBuilder& out, const LogRecord& record)
{
    char id[MaxMessageIdBytes];
    appendJsonEnvelope(out, idOf(record, id), record.channel, record.event, record.data);
}

void appendJsonFrame(FrameBuilder& out, const LogRecord& record)
{
    FrameBuilder text(record.data.size() + OverheadGuess);
    appendEnvelope(text, record);
    char header[ws::MaxHeaderBytes];
    out.append({header, ws::encodeHeader(header, ws::Opcode::Text, text.size())});
    out.append(text.view());
}

void appendEvent(FrameBuilder& out, const LogRecord& record)
{
    char id[MaxMessageIdBytes];
    appendSseEvent(out, idOf(record, id), record.event, record.data);
}

void appendPusherFrame(FrameBuilder& out, const LogRecord& record)
{
    FrameBuilder text(record.data.size() + OverheadGuess);
    char id[MaxMessageIdBytes];
    if (record.event == SubscriptionCountEvent) {
        pusher::appendSubscriptionCount(text, record.channel, record.subscribers);
    } else {
        bool internal = (record.flags & record_flag::Internal) != 0;
        pusher::appendEvent(text, {.event = record.event.empty() ? "message" : record.event,
                                   .channel = record.channel,
                                   .data = record.data,
                                   .id = internal ? std::string_view() : idOf(record, id),
                                   .userId = record.userId});
    }
    char header[ws::MaxHeaderBytes];
    out.append({header, ws::encodeHeader(header, ws::Opcode::Text, text.size())});
    out.append(text.view());
}

} // namespace

FramePtr encode(Encoding encoding, std::span<const LogRecord> records)
{
    std::size_t expected = 0;
    for (const LogRecord& record : records) {
        expected += record.data.size() + OverheadGuess;
    }
    FrameBuilder out(expected);

    for (const LogRecord& record : records) {
        if ((record.flags & record_flag::Internal) != 0 && encoding != Encoding::Pusher) {
            continue;
        }
        switch (encoding) {
        case Encoding::WebSocketRaw:
            appendRaw(out, record);
            break;
        case Encoding::WebSocketJson:
            appendJsonFrame(out, record);
            break;
        case Encoding::Sse:
        case Encoding::SseChunked:
            appendEvent(out, record);
            break;
        case Encoding::Pusher:
            appendPusherFrame(out, record);
            break;
        case Encoding::JsonList:
            appendEnvelope(out, record);
            out.append(',');
            break;
        }
    }
    return encoding == Encoding::SseChunked ? finishChunk(out) : out.finish();
}

FramePtr encodeGap(Encoding encoding, std::string_view channel)
{
    FrameBuilder out(channel.size() + OverheadGuess);
    switch (encoding) {
    case Encoding::WebSocketRaw:
        return nullptr;
    case Encoding::WebSocketJson:
        appendJsonGap(out, channel, {});
        return ws::finishFrame(out, ws::Opcode::Text);
    case Encoding::Sse:
        appendSseEvent(out, {}, GapEvent, channel);
        return out.finish();
    case Encoding::SseChunked:
        appendSseEvent(out, {}, GapEvent, channel);
        return finishChunk(out);
    case Encoding::Pusher:
        pusher::appendEvent(
            out, {.event = GapEvent, .channel = channel, .data = pusher::NoData, .id = {}, .userId = {}});
        return ws::finishFrame(out, ws::Opcode::Text);
    case Encoding::JsonList:
        appendJsonGap(out, channel, {});
        out.append(',');
        return out.finish();
    }
    return nullptr;
}

} // namespace realtime
