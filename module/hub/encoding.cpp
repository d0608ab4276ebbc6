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
                                   .userId = internal ? std::string_view() : record.userId});
    }
    char header[ws::MaxHeaderBytes];
    out.append({header, ws::encodeHeader(header, ws::Opcode::Text, text.size())});
    out.append(text.view());
}

} // namespace

FramePtr encode(Encoding encoding, std::span<const LogRecord> records)
{
    encoding = plainOf(encoding);
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
        default:
            break;
        }
    }
    return encoding == Encoding::SseChunked ? finishChunk(out) : out.finish();
}

FramePtr deflateFrames(const FramePtr& plain, ws::Deflater& deflater, DeflateStats& stats)
{
    FrameBuilder out;
    std::string_view rest = plain->view();
    std::size_t copied = 0; // so much of it is in `out`
    while (!rest.empty()) {
        const std::size_t begin = plain->size() - rest.size();
        const ws::OwnFrame frame = ws::takeOwnFrame(rest);
        const std::string_view smaller = deflater.compress(frame.payload);
        if (smaller.empty()) {
            continue;
        }
        stats.in += frame.payload.size();
        stats.out += smaller.size();
        out.append(plain->view().substr(copied, begin - copied));
        char header[ws::MaxHeaderBytes];
        out.append({header, ws::encodeHeader(header, frame.opcode, smaller.size(), true)});
        out.append(smaller);
        copied = begin + frame.bytes.size();
    }
    if (copied == 0) {
        return plain;
    }
    out.append(plain->view().substr(copied));
    return out.finish();
}

const FramePtr& SharedFrames::make(Encoding encoding, std::span<const LogRecord> records,
                                   ws::Deflater& deflater, DeflateStats& stats)
{
    FramePtr& frame = frames_[static_cast<std::size_t>(encoding)];
    const Encoding plain = plainOf(encoding);
    if (plain == encoding) {
        frame = encode(encoding, records);
    } else {
        frame = deflateFrames(of(plain, records, deflater, stats), deflater, stats);
    }
    return frame;
}

FramePtr encodeGap(Encoding encoding, std::string_view channel)
{
    FrameBuilder out(channel.size() + OverheadGuess);
    switch (plainOf(encoding)) {
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
    default:
        return nullptr;
    }
}

} // namespace realtime
