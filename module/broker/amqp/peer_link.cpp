#include "broker/amqp/peer_link.hpp"

#include <algorithm>
#include <array>

namespace realtime {

namespace {

constexpr amqp_channel_t Consumer = 1;
constexpr amqp_channel_t Probe = 2; // its fate is to be closed if the queue is not there

} // namespace

std::string PeerLink::queueName(const BrokerConfig& config)
{
    return config.exchange.name + ".node." + config.node;
}

std::string PeerLink::controlExchange(const BrokerConfig& config)
{
    return config.exchange.name + ".cluster";
}

PeerLink::PeerLink(const BrokerConfig& config, const BrokerServer& server, PeerOwner& owner)
    : config_(config), owner_(owner), connection_(config, server, *this), queue_(queueName(config)),
      control_(controlExchange(config))
{
    plan();
}

void PeerLink::plan()
{
    using Kind = Step::Kind;
    std::vector<ExchangeConfig> exchanges{config_.exchange};
    exchanges.insert(exchanges.end(), config_.moreExchanges.begin(), config_.moreExchanges.end());
    exchanges.push_back({control_, "fanout"});
    for (const auto& exchange : exchanges) {
        steps_.push_back({Kind::Exchange, exchange.name, exchange.type});
    }
    steps_.push_back({Kind::Queue, queue_, {}});
    for (const auto& exchange : exchanges) {
        steps_.push_back({Kind::Binding, exchange.name, {}});
    }
    steps_.push_back({Kind::Prefetch, {}, {}});
    steps_.push_back({Kind::Consume, {}, {}});
}

LinkState PeerLink::turn(LinkClock::time_point now)
{
    now_ = now;
    const LinkState state = connection_.turn(now);
    if (state != LinkState::Up) {
        return state;
    }
    if (stage_ != Stage::Ready) {
        if (now - since_ > AmqpConnection::Patience) {
            connection_.fail("timed out while declaring the node's queue");
            return LinkState::Broken;
        }
        return LinkState::Connecting;
    }
    if (consumed_ && now >= lookAt_) {
        lookAt_ = now + LookEvery;
        if (!askForQueue(Consumer)) {
            connection_.fail("cannot ask for the node's queue");
        }
    }
    if (unsaid_ && !blocked_ && !connection_.outputFull()) {
        unsaid_ = false;
        auto opened = std::make_unique<PeerMessage>();
        opened->kind = PeerMessage::Kind::Opened;
        owner_.onPeerMessage(std::move(opened));
    }
    return LinkState::Up;
}

LinkInterest PeerLink::interest() const
{
    LinkInterest interest = connection_.interest();
    if (stage_ != Stage::Connecting && stage_ != Stage::Ready) {
        interest.wakeAt = std::min(interest.wakeAt, since_ + AmqpConnection::Patience);
    } else if (stage_ == Stage::Ready && consumed_) {
        interest.wakeAt = std::min(interest.wakeAt, lookAt_);
    }
    return interest;
}

void PeerLink::acknowledge(std::uint64_t tag)
{
    amqp_basic_ack_t ack{};
    ack.delivery_tag = tag;
    ack.multiple = 1;
    if (!connection_.send(Consumer, AMQP_BASIC_ACK_METHOD, &ack)) {
        connection_.fail("cannot acknowledge");
    }
}

bool PeerLink::say(std::string_view body)
{
    if (stage_ != Stage::Ready || blocked_ || connection_.outputFull()) {
        unsaid_ = stage_ == Stage::Ready;
        return false;
    }
    std::array<amqp_table_entry_t, 1> headers{tableEntry("node", config_.node)};
    amqp_basic_properties_t properties{};
    properties._flags =
        AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_HEADERS_FLAG;
    properties.delivery_mode = AMQP_DELIVERY_NONPERSISTENT; // after a restart of the broker all is told anew
    properties.content_type = amqp_cstring_bytes("application/json");
    properties.headers = {static_cast<int>(headers.size()), headers.data()};
    amqp_basic_publish_t publish{};
    publish.exchange = amqpBytes(control_);
    return connection_.publish(Consumer, publish, properties, body);
}

// --- opening --------------------------------------------------------------------------------------------------------

bool PeerLink::openChannel(amqp_channel_t channel)
{
    amqp_channel_open_t open{amqp_empty_bytes};
    return connection_.send(channel, AMQP_CHANNEL_OPEN_METHOD, &open);
}

bool PeerLink::askForQueue(amqp_channel_t channel)
{
    amqp_queue_declare_t queue{};
    queue.queue = amqpBytes(queue_);
    queue.passive = 1;
    return connection_.send(channel, AMQP_QUEUE_DECLARE_METHOD, &queue);
}

void PeerLink::onOpen()
{
    since_ = now_;
    stage_ = Stage::Probe;
    if (!openChannel(Probe)) {
        connection_.fail("cannot open a channel");
    }
}

void PeerLink::onMethod(amqp_channel_t channel, const amqp_method_t& method)
{
    if (channel == Consumer) {
        onConsumerMethod(method);
        return;
    }
    if (channel != Probe || stage_ != Stage::Probe) {
        return;
    }
    switch (method.id) {
    case AMQP_CHANNEL_OPEN_OK_METHOD:
        if (!askForQueue(Probe)) {
            connection_.fail("the name of the node's queue is too long", true);
        }
        break;
    case AMQP_QUEUE_DECLARE_OK_METHOD:
        onProbed(true, decoded<amqp_queue_declare_ok_t>(method).message_count);
        break;
    case AMQP_CHANNEL_CLOSE_METHOD: {
        const auto& close = decoded<amqp_channel_close_t>(method);
        if (close.reply_code != AMQP_NOT_FOUND) {
            connection_.fail("the node's queue \"" + queue_ +
                                 "\" cannot be had: " + amqpReply(close.reply_code, close.reply_text),
                             true);
            return;
        }
        amqp_channel_close_ok_t ok{};
        if (connection_.send(Probe, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok)) {
            onProbed(false, 0);
        }
        break;
    }
    default:
        break;
    }
}

void PeerLink::onProbed(bool there, std::uint32_t messages)
{
    fresh_ = !there;
    stage_ = Stage::Channel;
    onLength(messages);
    if (!openChannel(Consumer)) {
        connection_.fail("cannot open a channel");
    }
}

void PeerLink::onLength(std::uint32_t messages)
{
    if (messages >= QueueLength) {
        auto overflown = std::make_unique<PeerMessage>();
        overflown->kind = PeerMessage::Kind::Overflown;
        owner_.onPeerMessage(std::move(overflown));
    }
}

void PeerLink::onConsumerMethod(const amqp_method_t& method)
{
    switch (method.id) {
    case AMQP_CHANNEL_OPEN_OK_METHOD:
        stage_ = Stage::Declare;
        next();
        break;
    case AMQP_QUEUE_DECLARE_OK_METHOD:
        if (stage_ == Stage::Ready) {
            onLength(decoded<amqp_queue_declare_ok_t>(method).message_count);
            break;
        }
        [[fallthrough]];
    case AMQP_EXCHANGE_DECLARE_OK_METHOD:
    case AMQP_QUEUE_BIND_OK_METHOD:
    case AMQP_BASIC_QOS_OK_METHOD:
    case AMQP_BASIC_CONSUME_OK_METHOD:
        if (stage_ == Stage::Declare) {
            ++stepsDone_;
            next();
        }
        break;
    case AMQP_BASIC_DELIVER_METHOD: {
        const auto& deliver = decoded<amqp_basic_deliver_t>(method);
        consumed_ = true;
        incoming_.begin(deliver.delivery_tag);
        incomingKind_ =
            toView(deliver.exchange) == control_ ? PeerMessage::Kind::Control : PeerMessage::Kind::Event;
        break;
    }
    case AMQP_BASIC_CANCEL_METHOD:
        connection_.fail("the node's queue \"" + queue_ + "\" was deleted");
        break;
    case AMQP_CHANNEL_CLOSE_METHOD: {
        const auto& close = decoded<amqp_channel_close_t>(method);
        connection_.fail(
            "the node's queue \"" + queue_ + "\": " + amqpReply(close.reply_code, close.reply_text),
            close.reply_code == AMQP_ACCESS_REFUSED || close.reply_code == AMQP_PRECONDITION_FAILED);
        break;
    }
    default:
        break;
    }
}

void PeerLink::next()
{
    if (stepsDone_ < steps_.size()) {
        if (!carryOut(steps_[stepsDone_])) {
            connection_.fail("a name of the cluster is longer than AMQP allows", true);
        }
        return;
    }
    stage_ = Stage::Ready;
    lookAt_ = now_ + LookEvery;
    auto opened = std::make_unique<PeerMessage>();
    opened->kind = PeerMessage::Kind::Opened;
    opened->fresh = fresh_;
    owner_.onPeerMessage(std::move(opened));
}

bool PeerLink::carryOut(const Step& step)
{
    switch (step.kind) {
    case Step::Kind::Exchange: {
        amqp_exchange_declare_t exchange{};
        exchange.exchange = amqpBytes(step.name);
        exchange.type = amqpBytes(step.type);
        exchange.durable = 1;
        return connection_.send(Consumer, AMQP_EXCHANGE_DECLARE_METHOD, &exchange);
    }
    case Step::Kind::Queue:
        return declareQueue();
    case Step::Kind::Binding: {
        amqp_queue_bind_t binding{};
        binding.queue = amqpBytes(queue_);
        binding.exchange = amqpBytes(step.name);
        binding.routing_key = amqp_cstring_bytes("#"); // a headers exchange without arguments: everything
        return connection_.send(Consumer, AMQP_QUEUE_BIND_METHOD, &binding);
    }
    case Step::Kind::Prefetch: {
        amqp_basic_qos_t qos{};
        qos.prefetch_count = Prefetch;
        return connection_.send(Consumer, AMQP_BASIC_QOS_METHOD, &qos);
    }
    case Step::Kind::Consume: {
        amqp_basic_consume_t consume{};
        consume.queue = amqpBytes(queue_);
        return connection_.send(Consumer, AMQP_BASIC_CONSUME_METHOD, &consume);
    }
    }
    return false;
}

bool PeerLink::declareQueue()
{
    std::array<amqp_table_entry_t, 3> arguments{
        trueEntry("x-single-active-consumer"),
        tableEntry("x-expires", std::int64_t{QueueExpiry.count()}),
        tableEntry("x-max-length", QueueLength),
    };
    amqp_queue_declare_t queue{};
    queue.queue = amqpBytes(queue_);
    queue.durable = 1;
    queue.arguments = {static_cast<int>(arguments.size()), arguments.data()};
    return connection_.send(Consumer, AMQP_QUEUE_DECLARE_METHOD, &queue);
}

// --- messages -------------------------------------------------------------------------------------------------------

void PeerLink::onHeader(amqp_channel_t channel, const amqp_basic_properties_t& properties,
                        std::uint64_t bodySize)
{
    if (channel == Consumer && incoming_.begun()) {
        finishMessage(incoming_.header(properties, bodySize));
    }
}

void PeerLink::onBody(amqp_channel_t channel, std::string_view piece)
{
    if (channel == Consumer && incoming_.begun()) {
        finishMessage(incoming_.body(piece));
    }
}

void PeerLink::finishMessage(MessageAssembler::Part part)
{
    if (part == MessageAssembler::Part::Bad) {
        connection_.fail("it sent more of a message than it had announced");
    }
    if (part != MessageAssembler::Part::Complete) {
        return;
    }
    if (incoming_.tooLarge()) {
        owner_.onPeerNote(Note::Level::Warn, "a message of more than 16 MiB was left out", "large");
    }
    auto message = std::make_unique<PeerMessage>();
    static_cast<IncomingMessage&>(*message) = std::move(*incoming_.take());
    message->kind = incomingKind_;
    owner_.onPeerMessage(std::move(message));
}

void PeerLink::onBlocked(bool blocked, std::string_view)
{
    blocked_ = blocked;
}

} // namespace realtime
