#include "broker/amqp/stream_link.hpp"

#include <algorithm>

namespace realtime {

namespace {

amqp_table_entry_t startArgument(const StreamStart& start)
{
    constexpr std::string_view Key = "x-stream-offset";
    amqp_table_entry_t entry = tableEntry(Key, start.value);
    switch (start.kind) {
    case StreamStart::Kind::Number:
        break;
    case StreamStart::Kind::Time:
        entry.value.kind = AMQP_FIELD_KIND_TIMESTAMP;
        entry.value.value.u64 = static_cast<std::uint64_t>(start.value);
        break;
    case StreamStart::Kind::First:
        return tableEntry(Key, "first");
    case StreamStart::Kind::Last:
        return tableEntry(Key, "last");
    }
    return entry;
}

} // namespace

StreamLink::StreamLink(const BrokerConfig& config, const BrokerServer& server, std::string queue,
                       StreamOwner& owner)
    : queue_(std::move(queue)), owner_(owner), connection_(config, server, *this),
      declarations_(amqpDeclarations(config, queue_))
{
}

LinkState StreamLink::turn(LinkClock::time_point now)
{
    now_ = now;
    const LinkState state = connection_.turn(now);
    if (state != LinkState::Up) {
        return state;
    }
    if (stage_ != Stage::Ready && now - since_ > AmqpConnection::Patience) {
        connection_.fail("timed out while declaring the stream");
        return LinkState::Broken;
    }
    return stage_ == Stage::Ready ? LinkState::Up : LinkState::Connecting;
}

LinkInterest StreamLink::interest() const
{
    LinkInterest interest = connection_.interest();
    if (stage_ == Stage::Opening || stage_ == Stage::Declaring) {
        interest.wakeAt = std::min(interest.wakeAt, since_ + AmqpConnection::Patience);
    }
    return interest;
}

StreamLink::Lane* StreamLink::laneOf(amqp_channel_t channel)
{
    return channel >= 1 && channel <= lanes_.size() ? &lanes_[channel - 1U] : nullptr;
}

bool StreamLink::openChannel(amqp_channel_t channel)
{
    amqp_channel_open_t open{amqp_empty_bytes};
    return connection_.send(channel, AMQP_CHANNEL_OPEN_METHOD, &open) && sendPrefetch(channel);
}

bool StreamLink::sendPrefetch(amqp_channel_t channel)
{
    amqp_basic_qos_t qos{};
    qos.prefetch_count = channel == channelOf(StreamLane::Begin) ? 1 : Prefetch; // of each consumer to come
    return connection_.send(channel, AMQP_BASIC_QOS_METHOD, &qos);
}

void StreamLink::onOpen()
{
    since_ = now_;
    stage_ = Stage::Opening;
    if (!openChannel(channelOf(StreamLane::Follow)) || !openChannel(channelOf(StreamLane::Look)) ||
        !openChannel(channelOf(StreamLane::Begin))) {
        connection_.fail("cannot open a channel");
    }
}

void StreamLink::declareNext()
{
    if (declared_ == declarations_.size()) {
        stage_ = Stage::Ready;
        return;
    }
    const AmqpDeclaration& next = declarations_[declared_++];
    if (!declare(connection_, channelOf(StreamLane::Begin), next)) {
        connection_.fail(describe(next) + ": a name is longer than AMQP allows", true);
    }
}

void StreamLink::read(StreamLane lane, const StreamStart& start)
{
    stop(lane);
    Lane& state = lanes_[static_cast<std::size_t>(lane)];
    const std::string tag = consumerTag(++state.reading);
    amqp_table_entry_t argument = startArgument(start);
    amqp_basic_consume_t consume{};
    consume.queue = amqpBytes(queue_);
    consume.consumer_tag = amqpBytes(tag);
    consume.arguments = {1, &argument};
    if (!connection_.send(channelOf(lane), AMQP_BASIC_CONSUME_METHOD, &consume)) {
        connection_.fail("the name of the stream is longer than AMQP allows", true);
    }
}

void StreamLink::stop(StreamLane lane)
{
    Lane& state = lanes_[static_cast<std::size_t>(lane)];
    if (state.stopped == state.reading) {
        return;
    }
    state.stopped = state.reading;
    const std::string tag = consumerTag(state.reading);
    amqp_basic_cancel_t cancel{};
    cancel.consumer_tag = amqpBytes(tag);
    if (!connection_.send(channelOf(lane), AMQP_BASIC_CANCEL_METHOD, &cancel)) {
        connection_.fail("cannot stop reading");
    }
}

// Says once more what it has said already, which changes nothing.
void StreamLink::probe(StreamLane lane)
{
    if (!sendPrefetch(channelOf(lane))) {
        connection_.fail("cannot probe");
    }
}

void StreamLink::acknowledge(StreamLane lane, std::uint64_t tag)
{
    amqp_basic_ack_t ack{};
    ack.delivery_tag = tag;
    ack.multiple = 1;
    if (!connection_.send(channelOf(lane), AMQP_BASIC_ACK_METHOD, &ack)) {
        connection_.fail("cannot acknowledge");
    }
}

void StreamLink::onMethod(amqp_channel_t channel, const amqp_method_t& method)
{
    Lane* lane = laneOf(channel);
    if (lane == nullptr) {
        return;
    }
    switch (method.id) {
    case AMQP_BASIC_QOS_OK_METHOD:
        if (stage_ == Stage::Ready) {
            owner_.onStreamAlive(static_cast<StreamLane>(channel - 1));
            break;
        }
        lane->open = true;
        if (std::all_of(lanes_.begin(), lanes_.end(), [](const Lane& one) { return one.open; })) {
            stage_ = Stage::Declaring;
            declareNext();
        }
        break;
    case AMQP_EXCHANGE_DECLARE_OK_METHOD:
    case AMQP_QUEUE_DECLARE_OK_METHOD:
    case AMQP_QUEUE_BIND_OK_METHOD:
        declareNext();
        break;
    case AMQP_BASIC_DELIVER_METHOD: {
        const auto& deliver = decoded<amqp_basic_deliver_t>(method);
        lane->current =
            lane->stopped != lane->reading && toView(deliver.consumer_tag) == consumerTag(lane->reading);
        lane->incoming.begin(deliver.delivery_tag);
        break;
    }
    case AMQP_BASIC_CANCEL_METHOD: // by RabbitMQ: it has another leader, or is gone
        connection_.fail("the stream \"" + queue_ + "\" cannot be read any more");
        break;
    case AMQP_CHANNEL_CLOSE_METHOD: {
        const auto& close = decoded<amqp_channel_close_t>(method);
        connection_.fail("the stream \"" + queue_ + "\": " + amqpReply(close.reply_code, close.reply_text),
                         stage_ == Stage::Declaring || close.reply_code == AMQP_ACCESS_REFUSED);
        break;
    }
    default:
        break;
    }
}

void StreamLink::onHeader(amqp_channel_t channel, const amqp_basic_properties_t& properties,
                          std::uint64_t bodySize)
{
    Lane* lane = laneOf(channel);
    if (lane != nullptr && lane->incoming.begun()) {
        finish(channel, lane->incoming.header(properties, bodySize));
    }
}

void StreamLink::onBody(amqp_channel_t channel, std::string_view piece)
{
    Lane* lane = laneOf(channel);
    if (lane != nullptr && lane->incoming.begun()) {
        finish(channel, lane->incoming.body(piece));
    }
}

void StreamLink::finish(amqp_channel_t channel, MessageAssembler::Part part)
{
    Lane& lane = *laneOf(channel);
    if (part == MessageAssembler::Part::Bad) {
        connection_.fail("it sent more of a message than it had announced");
    }
    if (part != MessageAssembler::Part::Complete) {
        return;
    }
    if (lane.incoming.tooLarge()) {
        owner_.onStreamNote(Note::Level::Warn, "a message of more than 16 MiB was left out", "large");
    }
    auto message = lane.incoming.take();
    if (lane.current) {
        owner_.onStreamMessage(static_cast<StreamLane>(channel - 1), std::move(message));
    } else {
        acknowledge(static_cast<StreamLane>(channel - 1), message->tag); // of a reading that is over
    }
}

} // namespace realtime
