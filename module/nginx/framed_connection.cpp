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
    if (!ending()) {
        onInput(rest);
    }
    flush();
    readInput();
}

// What comes behind an error or a close frame is ignored by the parser.
void FramedConnection::onInput(std::span<char> bytes)
{
    touch();
    const ws::FrameParser::Limits limits{endpoint().conf->maxMessageBytes, &Worker::current()->inflater()};
    auto error = parser_.feed(bytes, limits, *this);
    if (error) {
        Worker::current()->counters().add(Counter::ProtocolErrors);
        failWith(error->code, error->reason);
    }
    notePartial();
    flush(); // the answers to all that came in one piece go out in one
}

void FramedConnection::close(std::uint16_t code, std::string_view)
{
    if (!closing()) {
        deliverEcho();
        enqueue(ws::encodeClose(code == ws::close_code::None ? 0 : code, {}), 0);
    }
    endSoon();
}

void FramedConnection::failWith(std::uint16_t code, std::string_view why)
{
    ngx_str_t reason = borrow(why);
    ngx_log_error(NGX_LOG_INFO, connection()->log, 0, "realtime: WebSocket closed with %ui: %V",
                  static_cast<ngx_uint_t>(code), &reason);
    failWith(ws::encodeClose(code, why));
}

void FramedConnection::failWith(const FramePtr& farewell)
{
    deliverEcho();
    parser_.stop();
    forgetPartial();
    if (closing()) {
        endSoon();
    } else {
        closeAtOnce(farewell);
    }
}

// What came before the end of a conversation was published, and who hears itself hears that, too.
void FramedConnection::deliverEcho()
{
    if (echoDue()) {
        setEchoDue(false);
        Worker::current()->drainNow();
    }
}

// --- half messages, pings ---------------------------------------------------------------------------------------

Inbound& FramedConnection::inbound()
{
    if (inbound_ == nullptr) {
        inbound_ = std::make_unique<Inbound>();
    }
    return *inbound_;
}

void FramedConnection::releaseInbound()
{
    if (inbound_->empty()) {
        inbound_.reset();
    }
}

void FramedConnection::forgetPartial()
{
    if (inbound_ != nullptr && inbound_->partial) {
        inbound_->partial.reset();
        releaseInbound();
    }
}

// Its age is that of its first byte: whoever sends a byte now and then would keep it for ever otherwise.
void FramedConnection::notePartial(ngx_msec_t ageMs)
{
    if (parser_.idle()) {
        forgetPartial();
        return;
    }
    PartialMessages& all = Worker::current()->partialMessages();
    auto& partial = inbound().partial;
    if (!partial || partial->number() != parser_.begun()) {
        partial.emplace(*this, all, parser_.begun(), ngx_current_msec - ageMs + endpoint().conf->timeout);
    }
    partial->holds(parser_.heldBytes());
    while (PartialMessage* largest = all.excess()) {
        largest->owner().partialExceeds();
    }
}

void FramedConnection::partialDue()
{
    Worker::current()->counters().add(Counter::PartialTimedOut);
    failWith(ws::close_code::PolicyViolation, "the message did not come in time");
}

void FramedConnection::partialExceeds()
{
    Worker::current()->counters().add(Counter::PartialClosed);
    ngx_log_error(NGX_LOG_INFO, connection()->log, 0,
                  "realtime: half messages take more than realtime_partial: the largest is closed");
    failWith(farewell(Why::Busy));
}

// Within the rate each is answered, and all that came in one piece in one. Past it, or while the socket takes nothing, only
// the latest is (RFC 6455 5.5.3): a client that sends pings and reads nothing must not make pongs queue up.
ws::FrameHandler::Next FramedConnection::ping(std::string_view payload)
{
    if (closing()) {
        return Next::Continue;
    }
    auto& pings = inbound().pings;
    if (!pings) {
        pings.emplace(*this);
    }
    endpoint().pinging.push(*pings, ngx_current_msec);
    if (pings->owed) {
        Worker::current()->counters().add(Counter::PingsSkipped);
    }
    if (writable() && waitingCost() > endpoint().conf->bufferBytes / 4) {
        flush(); // whether the socket takes pongs shows when it is given some
    }
    if (mayAnswer(*pings)) {
        pings->owed.reset();
        enqueue(ws::encodeFrame(ws::Opcode::Pong, payload), 0);
    } else {
        pings->owed = payload;
    }
    return Next::Continue;
}

bool FramedConnection::mayAnswer(Pings& pings)
{
    return writable() && pings.rate.admit({endpoint().conf->pingRate});
}

bool FramedConnection::answerOwed()
{
    Pings& pings = *inbound_->pings;
    if (!pings.owed || !mayAnswer(pings)) {
        return false;
    }
    enqueue(ws::encodeFrame(ws::Opcode::Pong, *pings.owed), 0);
    pings.owed.reset();
    return true;
}

void FramedConnection::onWritable()
{
    if (inbound_ != nullptr && inbound_->pings) {
        answerOwed();
    }
    flush();
}

void FramedConnection::settlePings()
{
    if (answerOwed()) {
        flush();
    }
    Pings& pings = *inbound_->pings;
    const bool over =
        !pings.owed && ngx_current_msec - pings.since() >= RateLimit::fullAfter(endpoint().conf->pingRate);
    if (closing() || over) {
        inbound_->pings.reset();
        releaseInbound();
    }
}

// --- rates ------------------------------------------------------------------------------------------------------

double FramedConnection::costOf(std::size_t bytes)
{
    constexpr double BytesOfOne = 16.0 * 1024;
    return std::max(1.0, static_cast<double>(bytes) / BytesOfOne);
}

bool FramedConnection::admitPublish(RateLimit& limit, std::size_t bytes)
{
    return limit.admit(endpoint().conf->publishRate, costOf(bytes));
}

void FramedConnection::tooFast(std::string_view what)
{
    ngx_str_t text = borrow(what);
    ngx_log_error(NGX_LOG_INFO, connection()->log, 0, "realtime: %V refused: client is too fast", &text);
    Worker::current()->counters().add(Counter::RateLimited);
}

// --- moving -----------------------------------------------------------------------------------------------------

namespace {

std::uint32_t ageOf(ngx_msec_t since)
{
    return static_cast<std::uint32_t>(std::min<ngx_msec_t>(ngx_current_msec - since, UINT32_MAX));
}

} // namespace

void FramedConnection::describe(HandoverRecord& record)
{
    Connection::describe(record);
    Worker& worker = *Worker::current();
    record.location = endpoint().conf->identity;
    record.connectionId = skips();
    record.idleMs = ageOf(since());
    record.deflate = parser_.decompresses();
    record.parser = parser_.serialise();
    if (inbound_ != nullptr && inbound_->partial) {
        record.partialMs = ageOf(inbound_->partial->due() - endpoint().conf->timeout);
    }
    if (inbound_ != nullptr && inbound_->pings && inbound_->pings->owed) {
        record.unsent += ws::encodeFrame(ws::Opcode::Pong, *inbound_->pings->owed)->view();
    }
    record.history = worker.saveHistory(*this);
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
    Worker::current()->restoreHistory(*this, record.history);
    auto parser = ws::FrameParser::restore(record.parser, {endpoint().conf->maxMessageBytes}, record.deflate);
    if (!parser) {
        return false;
    }
    parser_ = std::move(*parser);
    notePartial(record.partialMs);
    return true;
}

} // namespace realtime
