#include "nginx/framed_connection.hpp"

#include "nginx/str.hpp"

#include <algorithm>

namespace realtime {

void FramedConnection::pingDue()
{
    enqueue(ws::encodeFrame(ws::Opcode::Ping, {}), 0);
    flush();
}

void FramedConnection::onAttached(std::string rest)
{
    take(rest);
    flush();
    onReadable();
}

void FramedConnection::onReadable()
{
    Worker& worker = *Worker::current();
    for (int reads = 0; reads < MaxReads && connection()->read->ready; reads++) {
        ssize_t n = receive(worker.readBuffer(), Worker::ReadBytes);
        if (n == NGX_AGAIN) {
            break;
        }
        if (n <= 0) {
            destroy();
            return;
        }
        take({worker.readBuffer(), static_cast<std::size_t>(n)});
    }
    if (connection()->read->ready) {
        ngx_post_event(connection()->read, &ngx_posted_next_events);
    } else if (!awaitRead()) {
        destroy();
    }
}

// What comes behind an error or a close frame is ignored by the parser.
void FramedConnection::take(std::span<char> bytes)
{
    touch();
    const ws::FrameParser::Limits limits{endpoint().conf->maxMessageBytes, &Worker::current()->inflater()};
    auto error = parser_.feed(bytes, limits, *this);
    if (error) {
        ngx_str_t reason = borrow(error->reason);
        ngx_log_error(NGX_LOG_INFO, connection()->log, 0, "realtime: WebSocket closed with %ui: %V",
                      static_cast<ngx_uint_t>(error->code), &reason);
        Worker::current()->counters().add(Counter::ProtocolErrors);
        close(ws::encodeClose(error->code, error->reason));
    }
    flush(); // the answers to all that came in one piece go out in one
}

ws::FrameHandler::Next FramedConnection::ping(std::string_view payload)
{
    enqueue(ws::encodeFrame(ws::Opcode::Pong, payload), 0);
    return Next::Continue;
}

void FramedConnection::close(std::uint16_t code, std::string_view)
{
    if (!closing()) {
        enqueue(ws::encodeClose(code == ws::close_code::None ? 0 : code, {}), 0);
    }
    endSoon();
}

// --- moving -----------------------------------------------------------------------------------------------------

void FramedConnection::describe(HandoverRecord& record)
{
    Connection::describe(record);
    Worker& worker = *Worker::current();
    record.location = endpoint().conf->identity;
    record.connectionId = skips();
    record.idleMs = static_cast<std::uint32_t>(std::min<ngx_msec_t>(ngx_current_msec - since(), UINT32_MAX));
    record.deflate = parser_.decompresses();
    record.parser = parser_.serialise();
    for (const Position& position : worker.hub().positions(*this)) {
        const std::string& name = worker.conf().zones[position.log]->name;
        HandoverRecord::Zone zone{name, worker.hub().log(position.log).slot};
        auto known = std::find(record.zones.begin(), record.zones.end(), zone);
        auto index = static_cast<std::uint32_t>(known - record.zones.begin());
        if (known == record.zones.end()) {
            record.zones.push_back(std::move(zone));
        }
        record.channels.push_back({std::string(position.channel), index, position.epoch, position.lastOffset,
                                   position.historyUntil, std::string()});
    }
}

bool FramedConnection::restore(const HandoverRecord& record)
{
    restoreOutput(record.begun, record.unsent);
    setSkips(record.connectionId);
    setIdle(record.idleMs);
    auto parser = ws::FrameParser::restore(record.parser, {endpoint().conf->maxMessageBytes}, record.deflate);
    if (!parser) {
        return false;
    }
    parser_ = std::move(*parser);
    return true;
}

} // namespace realtime
