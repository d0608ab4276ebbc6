// What this node hears from the others of its cluster: one AMQP connection that consumes the node's own queue, and
// publishes what nodes tell each other.
//
// Queue      `EXCHANGE.node.NODE`, durable, bound to all exchanges of the broker and to `EXCHANGE.cluster` (fanout), which
//            carries what nodes tell each other. All workers of a node consume it and RabbitMQ lets one of them
//            (x-single-active-consumer); when that one's connection ends, what it did not acknowledge goes to the next,
//            in the old order. It keeps what comes while nobody consumes, for QueueExpiry and up to QueueLength.
// Bounds     Prefetch messages are handed out and not acknowledged. One with a body of more than MessageAssembler::MaxBody is dropped, with
//            a note.
// Apart      from the publisher's connection, since RabbitMQ stops reading one that publishes while memory is short.
#pragma once

#include "broker/amqp/amqp_connection.hpp"
#include "broker/amqp/message_assembler.hpp"
#include "broker/link.hpp"
#include "broker/peer_feed.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace realtime {

class PeerOwner {
public:
    virtual void onPeerMessage(std::unique_ptr<PeerMessage> message) = 0;
    virtual void onPeerNote(Note::Level level, std::string text, std::string_view kind) = 0;

protected:
    ~PeerOwner() = default;
};

class PeerLink final : private AmqpHandler {
public:
    static constexpr std::chrono::milliseconds QueueExpiry{60'000};
    static constexpr std::int64_t QueueLength = 500'000;
    static constexpr std::uint16_t Prefetch = 256;
    static constexpr std::chrono::seconds LookEvery{3}; // at the queue's length

    PeerLink(const BrokerConfig& config, const BrokerServer& server, PeerOwner& owner);

    LinkState turn(LinkClock::time_point now);
    const LinkFault& fault() const { return connection_.fault(); }
    LinkInterest interest() const;
    void close(LinkClock::time_point deadline) { connection_.close(deadline); }

    // Everything up to this delivery tag is in the log.
    void acknowledge(std::uint64_t tag);
    // To all nodes, this one included. False: it cannot be sent now, and is forgotten.
    bool say(std::string_view body);

    static std::string queueName(const BrokerConfig& config);
    static std::string controlExchange(const BrokerConfig& config);

private:
    enum class Stage { Connecting, Probe, Channel, Declare, Ready };
    struct Step {
        enum class Kind { Exchange, Queue, Binding, Prefetch, Consume } kind;
        std::string name, type;
    };

    void onOpen() override;
    void onMethod(amqp_channel_t channel, const amqp_method_t& method) override;
    void onHeader(amqp_channel_t channel, const amqp_basic_properties_t& properties,
                  std::uint64_t bodySize) override;
    void onBody(amqp_channel_t channel, std::string_view piece) override;
    void onBlocked(bool blocked, std::string_view reason) override;

    void onProbed(bool there, std::uint32_t messages);
    void onConsumerMethod(const amqp_method_t& method);
    void onLength(std::uint32_t messages);
    bool openChannel(amqp_channel_t channel);
    bool askForQueue(amqp_channel_t channel);
    void plan();
    void next();
    bool carryOut(const Step& step);
    bool declareQueue();
    void finishMessage(MessageAssembler::Part part);

    const BrokerConfig& config_;
    PeerOwner& owner_;
    AmqpConnection connection_;
    const std::string queue_, control_;
    Stage stage_ = Stage::Connecting;
    std::vector<Step> steps_;
    std::size_t stepsDone_ = 0;
    bool fresh_ = false;
    bool blocked_ = false;
    bool unsaid_ = false;   // something could not be said
    bool consumed_ = false; // this connection is the one that gets the messages
    LinkClock::time_point now_, since_, lookAt_;

    MessageAssembler incoming_;
    PeerMessage::Kind incomingKind_ = PeerMessage::Kind::Event;
    std::uint64_t lastTag_ = 0;
};

} // namespace realtime
