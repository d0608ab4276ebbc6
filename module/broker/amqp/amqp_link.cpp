#include "broker/amqp/amqp_link.hpp"

#include "base/utf8.hpp"

#include <algorithm>
#include <array>

namespace realtime {

namespace {

constexpr amqp_channel_t Channel = 1;
// Together with five short strings these fit into the smallest frame that AMQP allows.
constexpr std::size_t MaxHeader = 512;
constexpr std::chrono::seconds DeclareAgainAfter{1};

} // namespace

AmqpLink::AmqpLink(const BrokerConfig& config, const BrokerServer& server, LinkOwner& owner)
    : config_(config), owner_(owner), connection_(config, server, *this),
      declarations_(amqpDeclarations(config))
{
}

LinkState AmqpLink::turn(LinkClock::time_point now)
{
    now_ = now;
    const LinkState state = connection_.turn(now);
    if (state != LinkState::Up) {
        return state;
    }
    if (stage_ != Stage::Ready) {
        if (now - lastProgress_ > AmqpConnection::Patience) {
            connection_.fail("timed out while declaring");
            return LinkState::Broken;
        }
        return LinkState::Connecting;
    }
    if (unsettled_ > 0 && !blocked_ && now - lastProgress_ >= config_.confirmTimeout) {
        connection_.fail("no confirm for " + std::to_string(config_.confirmTimeout.count()) + " ms");
        return LinkState::Broken;
    }
    return blocked_ ? LinkState::Blocked : LinkState::Up;
}

LinkInterest AmqpLink::interest() const
{
    LinkInterest interest = connection_.interest();
    if (stage_ != Stage::Ready) {
        if (stage_ != Stage::Connecting) {
            interest.wakeAt = std::min(interest.wakeAt, lastProgress_ + AmqpConnection::Patience);
        }
    } else if (unsettled_ > 0 && !blocked_) {
        interest.wakeAt = std::min(interest.wakeAt, lastProgress_ + config_.confirmTimeout);
    }
    return interest;
}

std::size_t AmqpLink::room() const
{
    if (stage_ != Stage::Ready || blocked_ || connection_.outputFull() || unsettled_ >= config_.window) {
        return 0;
    }
    return config_.window - unsettled_;
}

void AmqpLink::submit(std::uint64_t handle, const BrokerEvent& event)
{
    const auto messageId = cut(event.messageId, MaxShortString, "message id");
    std::array<amqp_table_entry_t, 6> headers{
        tableEntry("channel", cut(event.channel, MaxHeader, "channel")),
        tableEntry("node", cut(config_.node, MaxHeader, "node")),
    };
    int count = 2;
    if (!event.userId.empty()) {
        headers[count++] = tableEntry("user_id", cut(event.userId, MaxHeader, "user id"));
    }
    if (!event.socketId.empty()) {
        headers[count++] = tableEntry("socket_id", cut(event.socketId, MaxHeader, "socket id"));
    }
    if (!event.worker.empty()) {
        headers[count++] = tableEntry("worker", event.worker);
    }
    if (!event.life.empty()) {
        headers[count++] = tableEntry("life", event.life);
    }

    amqp_basic_properties_t properties{};
    properties._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG |
                        AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_APP_ID_FLAG | AMQP_BASIC_TYPE_FLAG |
                        AMQP_BASIC_HEADERS_FLAG;
    properties.delivery_mode = AMQP_DELIVERY_PERSISTENT;
    properties.message_id = amqpBytes(messageId);
    properties.timestamp = static_cast<std::uint64_t>(std::max<std::int64_t>(event.timeMs, 0)) / 1000;
    properties.app_id = amqpBytes(cut(event.app, MaxShortString, "app"));
    properties.type = amqpBytes(cut(event.event, MaxShortString, "event name"));
    properties.headers = {count, headers.data()};
    if (!event.contentType.empty()) {
        properties._flags |= AMQP_BASIC_CONTENT_TYPE_FLAG;
        properties.content_type = amqpBytes(cut(event.contentType, MaxShortString, "content type"));
    }
    amqp_basic_publish_t publish{};
    const auto& exchange = event.exchange.empty() ? config_.exchange.name : event.exchange;
    publish.exchange = amqpBytes(cut(exchange, MaxShortString, "exchange"));
    publish.routing_key = amqpBytes(cut(event.routingKey, MaxShortString, "routing key"));
    publish.mandatory = 1;
    if (!connection_.publish(Channel, publish, properties, event.data)) {
        connection_.fail("a message's names do not fit into a frame"); // cannot be: they are cut
        return;
    }
    flights_.push_back({handle, messageId});
    if (unsettled_++ == 0) {
        lastProgress_ = now_;
    }
}

void AmqpLink::onOpen()
{
    lastProgress_ = now_;
    stage_ = Stage::Channel;
    amqp_channel_open_t open{amqp_empty_bytes};
    if (!connection_.send(Channel, AMQP_CHANNEL_OPEN_METHOD, &open)) {
        connection_.fail("cannot open a channel");
    }
}

void AmqpLink::onMethod(amqp_channel_t channel, const amqp_method_t& method)
{
    if (channel != Channel) {
        return;
    }
    switch (method.id) {
    case AMQP_BASIC_ACK_METHOD: {
        const auto& ack = decoded<amqp_basic_ack_t>(method);
        onSettled(ack.delivery_tag, ack.multiple != 0, true);
        break;
    }
    case AMQP_BASIC_NACK_METHOD: {
        const auto& nack = decoded<amqp_basic_nack_t>(method);
        onSettled(nack.delivery_tag, nack.multiple != 0, false);
        break;
    }
    case AMQP_BASIC_RETURN_METHOD:
        onReturn(decoded<amqp_basic_return_t>(method));
        break;
    case AMQP_CHANNEL_CLOSE_METHOD:
        onChannelClose(decoded<amqp_channel_close_t>(method));
        break;
    case AMQP_CHANNEL_OPEN_OK_METHOD:
        stage_ = Stage::Declare;
        declareNext();
        break;
    case AMQP_EXCHANGE_DECLARE_OK_METHOD:
    case AMQP_QUEUE_DECLARE_OK_METHOD:
    case AMQP_QUEUE_BIND_OK_METHOD:
        if (stage_ == Stage::Declare) {
            ++declared_;
            declareNext();
        }
        break;
    case AMQP_CONFIRM_SELECT_OK_METHOD:
        if (stage_ == Stage::Confirm) {
            stage_ = Stage::Ready;
        }
        break;
    default:
        break;
    }
}

void AmqpLink::declareNext()
{
    if (declared_ < declarations_.size()) {
        if (!declare(connection_, Channel, declarations_[declared_])) {
            connection_.fail(describe(declarations_[declared_]) + ": a name is longer than AMQP allows",
                             true);
        }
        return;
    }
    stage_ = Stage::Confirm;
    amqp_confirm_select_t select{0};
    if (!connection_.send(Channel, AMQP_CONFIRM_SELECT_METHOD, &select)) {
        connection_.fail("cannot ask for confirms");
    }
}

void AmqpLink::onChannelClose(const amqp_channel_close_t& close)
{
    const auto reply = amqpReply(close.reply_code, close.reply_text);
    if (stage_ == Stage::Declare && declared_ < declarations_.size()) {
        connection_.fail(describe(declarations_[declared_]) + " was refused: " + reply, true);
        return;
    }
    // No permission to write lasts; a missing exchange does not: the next connection declares it again.
    connection_.fail("the broker closed the channel: " + reply, close.reply_code == AMQP_ACCESS_REFUSED);
}

// The message itself follows as a header, which tells which one it is; then, once for all of this, its ack.
void AmqpLink::onReturn(const amqp_basic_return_t& returned)
{
    owner_.onNote(Note::Level::Warn,
                  "a message came back from exchange \"" + std::string(toView(returned.exchange)) +
                      "\", routing key \"" + std::string(toView(returned.routing_key)) + "\": " +
                      amqpReply(returned.reply_code, returned.reply_text) + "; it is sent again later",
                  "returned");
    declareAgain();
}

// Somebody may have deleted what was declared. Should that be refused, the channel is closed, and all begins anew.
void AmqpLink::declareAgain()
{
    if (now_ - declaredAgain_ < DeclareAgainAfter) {
        return;
    }
    declaredAgain_ = now_;
    for (const auto& declaration : declarations_) {
        if (!declare(connection_, Channel, declaration)) {
            connection_.fail("cannot declare again");
        }
    }
}

void AmqpLink::onHeader(amqp_channel_t channel, const amqp_basic_properties_t& properties, std::uint64_t)
{
    if (channel != Channel || (properties._flags & AMQP_BASIC_MESSAGE_ID_FLAG) == 0) {
        return;
    }
    // Returns come in the order of publishing and before their acks, so the search is short.
    const auto messageId = toView(properties.message_id);
    const auto flight = std::find_if(flights_.begin(), flights_.end(), [messageId](const Flight& candidate) {
        return !candidate.settled && !candidate.returned && candidate.messageId == messageId;
    });
    if (flight != flights_.end()) {
        flight->returned = true;
    }
}

void AmqpLink::onSettled(std::uint64_t tag, bool multiple, bool accepted)
{
    if (multiple && tag == 0) {
        tag = firstTag_ + flights_.size() - 1; // 1.8.3.13: all so far
    }
    if (tag < firstTag_) {
        return; // settled already
    }
    const std::uint64_t last = tag - firstTag_;
    if (last >= flights_.size()) {
        connection_.fail("it confirmed a message that was not sent");
        return;
    }
    for (std::uint64_t i = multiple ? 0 : last; i <= last; ++i) {
        settle(flights_[i], accepted);
    }
    while (!flights_.empty() && flights_.front().settled) {
        flights_.pop_front();
        ++firstTag_;
    }
    lastProgress_ = now_;
}

void AmqpLink::settle(Flight& flight, bool accepted)
{
    if (flight.settled) {
        return;
    }
    flight.settled = true;
    flight.messageId = {}; // the owner may free the event now
    --unsettled_;
    if (accepted && !flight.returned) {
        owner_.onStored(flight.handle);
        return;
    }
    if (!accepted) {
        owner_.onNote(Note::Level::Warn, "a message was refused (basic.nack); it is sent again later",
                      "nack");
    }
    owner_.onFailed(flight.handle);
}

void AmqpLink::onBlocked(bool blocked, std::string_view reason)
{
    blocked_ = blocked;
    lastProgress_ = now_; // its pause does not count as silence
    if (blocked) {
        owner_.onNote(Note::Level::Warn,
                      "the broker blocks publishers (" + amqpReply(0, amqpBytes(reason)).substr(2) + ")",
                      "blocked");
    } else {
        owner_.onNote(Note::Level::Notice, "the broker no longer blocks publishers");
    }
}

std::string_view AmqpLink::cut(std::string_view text, std::size_t limit, const char* what)
{
    if (text.size() <= limit) {
        return text;
    }
    owner_.onNote(Note::Level::Warn,
                  std::string("a message's ") + what + " is longer than " + std::to_string(limit) +
                      " bytes and was cut",
                  what);
    return text.substr(0, utf8Prefix(text, limit));
}

} // namespace realtime
