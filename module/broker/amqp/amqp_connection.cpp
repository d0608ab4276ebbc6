#include "broker/amqp/amqp_connection.hpp"

#include "base/utf8.hpp"

#include <algorithm>
#include <poll.h>

namespace realtime {

namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t FrameMax = 131'072;
constexpr std::uint16_t MaxChannels = 3;
constexpr int MaxReads = 64; // a turn; the rest is read in the next
constexpr std::size_t MaxReplyText = 400;

bool hasWord(std::string_view list, std::string_view word)
{
    for (std::size_t at = 0; at <= list.size();) {
        const auto end = std::min(list.find(' ', at), list.size());
        if (list.substr(at, end - at) == word) {
            return true;
        }
        at = end + 1;
    }
    return false;
}

// Closes that only a change by the operator can mend: wrong password, missing virtual host, no permission.
bool closeLasts(std::uint16_t code)
{
    return code == AMQP_ACCESS_REFUSED || code == AMQP_NOT_ALLOWED || code == AMQP_INVALID_PATH;
}

} // namespace

std::string amqpReply(std::uint16_t code, amqp_bytes_t text)
{
    auto view = toView(text);
    view = view.substr(0, utf8Prefix(view, MaxReplyText));
    std::string out = std::to_string(code) + " ";
    std::transform(view.begin(), view.end(), std::back_inserter(out), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte < ' ' || byte == 0x7f ? ' ' : c;
    });
    return out;
}

AmqpConnection::AmqpConnection(const BrokerConfig& config, const BrokerServer& server, AmqpHandler& handler)
    : config_(config), server_(server), handler_(handler), stream_(config, server)
{
}

LinkState AmqpConnection::turn(LinkClock::time_point now)
{
    if (stage_ == Stage::Connecting) {
        if (deadline_ == LinkClock::time_point::max()) {
            deadline_ = now + Patience;
        }
        switch (stream_.connect(now)) {
        case ByteStream::Io::Done:
            output_.append("AMQP\0\0\x09\x01", 8);
            lastSent_ = lastReceived_ = now;
            stage_ = Stage::Start;
            break;
        case ByteStream::Io::Again:
            break;
        case ByteStream::Io::Closed:
        case ByteStream::Io::Failed:
            fail(stream_.error(), stream_.errorLasts());
            break;
        }
    }
    if (stage_ != Stage::Connecting && !over()) {
        readAll(now);
        keepAlive(now);
        flush(now);
    }
    if (!over() && !loggedIn() && now >= deadline_) {
        fail(stage_ == Stage::Connecting ? "timed out while connecting" : "timed out during the log-in");
    }
    if (over()) {
        return LinkState::Broken;
    }
    return loggedIn() ? LinkState::Up : LinkState::Connecting;
}

LinkInterest AmqpConnection::interest() const
{
    LinkInterest interest = stream_.interest(sent_ < output_.size());
    if (readAgain_) {
        interest.wakeAt = LinkClock::time_point::min();
    }
    if (!loggedIn()) {
        interest.wakeAt = std::min(interest.wakeAt, deadline_);
    } else if (heartbeat_ > 0s) {
        interest.wakeAt = std::min(interest.wakeAt, lastReceived_ + 2 * heartbeat_);
        if (sent_ == output_.size()) {
            interest.wakeAt = std::min(interest.wakeAt, lastSent_ + heartbeat_ / 2);
        }
    }
    return interest;
}

void AmqpConnection::fail(std::string text, bool lasting)
{
    if (!over()) { // the first fault is the cause
        fault_ = {std::move(text), lasting};
        stage_ = Stage::Failed;
    }
}

bool AmqpConnection::send(amqp_channel_t channel, amqp_method_number_t id, void* method)
{
    return encoder_.method(output_, channel, id, method);
}

bool AmqpConnection::publish(amqp_channel_t channel, amqp_basic_publish_t& method,
                             amqp_basic_properties_t& properties, std::string_view body)
{
    const auto before = output_.size();
    if (!encoder_.method(output_, channel, AMQP_BASIC_PUBLISH_METHOD, &method) ||
        !encoder_.header(output_, channel, properties, body.size())) {
        output_.resize(before);
        return false;
    }
    encoder_.body(output_, channel, body, frameMax_);
    return true;
}

void AmqpConnection::close(LinkClock::time_point deadline)
{
    if (stage_ != Stage::Open) {
        return;
    }
    amqp_connection_close_t goodbye{AMQP_REPLY_SUCCESS, amqp_cstring_bytes("bye"), 0, 0};
    sendOrFail(AMQP_CONNECTION_CLOSE_METHOD, &goodbye);
    stage_ = stage_ == Stage::Open ? Stage::Closing : stage_;
    for (auto now = LinkClock::now(); turn(now) != LinkState::Broken && now < deadline;
         now = LinkClock::now()) {
        const auto wait = interest();
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(std::min(deadline, wait.wakeAt) - now);
        pollfd fd{wait.fd, wait.events, 0};
        poll(&fd, 1, static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 1'000)));
    }
}

void AmqpConnection::readAll(LinkClock::time_point now)
{
    char bytes[16'384];
    readAgain_ = false;
    for (int i = 0; i < MaxReads; ++i) {
        std::size_t count = 0;
        switch (stream_.read(bytes, count)) {
        case ByteStream::Io::Done:
            lastReceived_ = now;
            if (!decode({bytes, count})) {
                return;
            }
            break;
        case ByteStream::Io::Again:
            return;
        case ByteStream::Io::Closed:
            fail(loggedIn() ? "the broker closed the connection"
                            : "the broker closed the connection during the log-in; is the password right?");
            return;
        case ByteStream::Io::Failed:
            fail(stream_.error());
            return;
        }
    }
    readAgain_ = true;
}

// False if nothing more is to be read.
bool AmqpConnection::decode(std::string_view bytes)
{
    if (stage_ == Stage::Start && bytes.starts_with("AMQP")) {
        fail("it does not speak AMQP 0-9-1", true);
        return false;
    }
    amqp_frame_t frame;
    while (!over()) {
        switch (decoder_.next(bytes, frame)) {
        case AmqpDecoder::Result::Frame:
            handle(frame);
            break;
        case AmqpDecoder::Result::More:
            return true;
        case AmqpDecoder::Result::Bad:
            fail("it sent something that is not AMQP 0-9-1");
            break;
        }
    }
    return false;
}

void AmqpConnection::handle(const amqp_frame_t& frame)
{
    switch (frame.frame_type) {
    case AMQP_FRAME_METHOD:
        if (frame.channel == 0) {
            handleConnectionMethod(frame.payload.method);
        } else if (loggedIn()) {
            handler_.onMethod(frame.channel, frame.payload.method);
        }
        break;
    case AMQP_FRAME_HEADER:
        if (loggedIn() && frame.payload.properties.class_id == AMQP_BASIC_CLASS) {
            handler_.onHeader(frame.channel,
                              *static_cast<amqp_basic_properties_t*>(frame.payload.properties.decoded),
                              frame.payload.properties.body_size);
        }
        break;
    case AMQP_FRAME_BODY:
        if (loggedIn()) {
            handler_.onBody(frame.channel, toView(frame.payload.body_fragment));
        }
        break;
    default: // a heartbeat: that something came is all there is to it
        break;
    }
}

void AmqpConnection::handleConnectionMethod(const amqp_method_t& method)
{
    switch (method.id) {
    case AMQP_CONNECTION_START_METHOD:
        if (stage_ == Stage::Start) {
            onStart(*static_cast<amqp_connection_start_t*>(method.decoded));
            return;
        }
        break;
    case AMQP_CONNECTION_TUNE_METHOD:
        if (stage_ == Stage::Tune) {
            onTune(*static_cast<amqp_connection_tune_t*>(method.decoded));
            return;
        }
        break;
    case AMQP_CONNECTION_OPEN_OK_METHOD:
        if (stage_ == Stage::OpenOk) {
            stage_ = Stage::Open;
            handler_.onOpen();
            return;
        }
        break;
    case AMQP_CONNECTION_BLOCKED_METHOD:
        handler_.onBlocked(true, toView(static_cast<amqp_connection_blocked_t*>(method.decoded)->reason));
        return;
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        handler_.onBlocked(false, {});
        return;
    case AMQP_CONNECTION_CLOSE_METHOD: {
        const auto& close = *static_cast<amqp_connection_close_t*>(method.decoded);
        amqp_connection_close_ok_t ok{};
        sendOrFail(AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
        flush(lastReceived_); // if it can go out at once; the broker does not depend on it
        fail("the broker closed the connection: " + amqpReply(close.reply_code, close.reply_text),
             closeLasts(close.reply_code));
        return;
    }
    case AMQP_CONNECTION_CLOSE_OK_METHOD:
        if (stage_ == Stage::Closing) {
            stage_ = Stage::Closed;
            return;
        }
        break;
    default:
        return; // of a later version of the broker
    }
    fail("it sent " + std::string(amqp_method_name(method.id)) + " out of turn");
}

void AmqpConnection::onStart(const amqp_connection_start_t& start)
{
    if (!hasWord(toView(start.mechanisms), "PLAIN")) {
        fail("it does not offer the log-in mechanism PLAIN", true);
        return;
    }
    // RabbitMQ sends connection.blocked, and a reason for a refused log-in, only to those who say they understand.
    amqp_table_entry_t capabilities[] = {
        trueEntry("authentication_failure_close"),
        trueEntry("connection.blocked"),
        trueEntry("basic.nack"),
        trueEntry("publisher_confirms"),
        trueEntry("consumer_cancel_notify"),
    };
    amqp_table_entry_t properties[] = {
        tableEntry("product", "nginx-realtime"),     tableEntry("platform", "nginx"),
        tableEntry("connection_name", config_.name), tableEntry("node", config_.node),
        {amqp_cstring_bytes("capabilities"), {}},
    };
    auto& last = properties[std::size(properties) - 1].value;
    last.kind = AMQP_FIELD_KIND_TABLE;
    last.value.table = {static_cast<int>(std::size(capabilities)), capabilities};

    std::string response; // RFC 4616
    response.append(1, '\0').append(server_.user).append(1, '\0').append(server_.password);

    amqp_connection_start_ok_t ok;
    ok.client_properties = {static_cast<int>(std::size(properties)), properties};
    ok.mechanism = amqp_cstring_bytes("PLAIN");
    ok.response = amqpBytes(response);
    ok.locale = amqp_cstring_bytes("en_US");
    stage_ = Stage::Tune;
    sendOrFail(AMQP_CONNECTION_START_OK_METHOD, &ok);
}

void AmqpConnection::onTune(const amqp_connection_tune_t& tune)
{
    frameMax_ = tune.frame_max == 0 ? FrameMax : std::min(tune.frame_max, FrameMax);
    const auto offered = std::chrono::seconds(tune.heartbeat);
    heartbeat_ = offered == 0s ? config_.heartbeat : std::min(offered, config_.heartbeat);
    heartbeat_ = std::clamp<std::chrono::seconds>(heartbeat_, 0s, std::chrono::seconds(UINT16_MAX));
    if (frameMax_ < MinFrameSize || !decoder_.setFrameMax(frameMax_)) {
        fail("it asks for frames of " + std::to_string(frameMax_) + " bytes");
        return;
    }
    amqp_connection_tune_ok_t ok{MaxChannels, frameMax_, static_cast<std::uint16_t>(heartbeat_.count())};
    sendOrFail(AMQP_CONNECTION_TUNE_OK_METHOD, &ok);
    amqp_connection_open_t open{amqpBytes(server_.vhost), amqp_empty_bytes, 0};
    sendOrFail(AMQP_CONNECTION_OPEN_METHOD, &open);
    stage_ = over() ? stage_ : Stage::OpenOk;
}

void AmqpConnection::keepAlive(LinkClock::time_point now)
{
    if (!loggedIn() || heartbeat_ == 0s) {
        return;
    }
    if (now >= lastReceived_ + 2 * heartbeat_) {
        fail("no sign of life for " + std::to_string(2 * heartbeat_.count()) + " s");
    } else if (sent_ == output_.size() && now >= lastSent_ + heartbeat_ / 2) {
        encoder_.heartbeat(output_);
    }
}

void AmqpConnection::flush(LinkClock::time_point now)
{
    while (!over() && sent_ < output_.size()) {
        std::size_t count = 0;
        switch (stream_.write(std::string_view(output_).substr(sent_), count)) {
        case ByteStream::Io::Done:
            sent_ += count;
            lastSent_ = now;
            break;
        case ByteStream::Io::Again:
            if (sent_ >=
                MaxOutput / 4) { // or a stream that never catches up would keep all that it ever sent
                output_.erase(0, sent_);
                sent_ = 0;
            }
            return;
        case ByteStream::Io::Closed:
        case ByteStream::Io::Failed:
            fail(stream_.error().empty() ? "the broker closed the connection" : stream_.error());
            return;
        }
    }
    output_.clear();
    sent_ = 0;
    if (output_.capacity() > 2 * MaxOutput) { // one huge message must not hold its memory for ever
        output_.shrink_to_fit();
    }
}

void AmqpConnection::sendOrFail(amqp_method_number_t id, void* method)
{
    if (!send(0, id, method)) {
        fail("a name in the configuration is too long for AMQP", true);
    }
}

} // namespace realtime
