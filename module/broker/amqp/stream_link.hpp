// One AMQP connection that reads a queue of type stream, from any place, and never takes anything off it. Lanes, each a
// channel with a consumer of its own: one that follows the end, one for looking back, and one that has a look at the
// beginning. The stream is declared first, since it may have been deleted.
//
// Thread     the one of its owner.
// Bounds     Prefetch messages of a lane (one, where the beginning is looked at) are handed out and not acknowledged;
//            RabbitMQ keeps the others.
#pragma once

#include "broker/amqp/amqp_connection.hpp"
#include "broker/amqp/amqp_declarations.hpp"
#include "broker/amqp/message_assembler.hpp"
#include "broker/link.hpp"
#include "broker/stream_reader.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace realtime {

enum class StreamLane : std::size_t { Follow, Look, Begin };

class StreamOwner {
public:
    virtual void onStreamMessage(StreamLane lane, std::unique_ptr<IncomingMessage> message) = 0;
    virtual void onStreamAlive(StreamLane lane) = 0; // the answer to probe()
    virtual void onStreamNote(Note::Level level, std::string text, std::string_view kind) = 0;

protected:
    ~StreamOwner() = default;
};

class StreamLink final : private AmqpHandler {
public:
    static constexpr std::uint16_t Prefetch = 512;

    StreamLink(const BrokerConfig& config, const BrokerServer& server, std::string queue, StreamOwner& owner);

    LinkState turn(LinkClock::time_point now);
    const LinkFault& fault() const { return connection_.fault(); }
    LinkInterest interest() const;
    void close(LinkClock::time_point deadline) { connection_.close(deadline); }

    // Begins there, or begins there anew: what comes from now on is of this reading. When it is Up.
    void read(StreamLane lane, const StreamStart& start);
    void stop(StreamLane lane);
    // Asks RabbitMQ for an answer, so that a lane on which nothing comes can be told from a RabbitMQ that hangs.
    void probe(StreamLane lane);
    // All up to this delivery.
    void acknowledge(StreamLane lane, std::uint64_t tag);

private:
    enum class Stage { Connecting, Opening, Declaring, Ready };
    struct Lane {
        bool open = false;
        std::uint64_t reading = 0; // counts; part of the consumer's tag
        std::uint64_t stopped = 0; // the last reading that was told to stop
        bool current = false;      // what is coming in is of this reading
        MessageAssembler incoming;
    };

    void onOpen() override;
    void onMethod(amqp_channel_t channel, const amqp_method_t& method) override;
    void onHeader(amqp_channel_t channel, const amqp_basic_properties_t& properties,
                  std::uint64_t bodySize) override;
    void onBody(amqp_channel_t channel, std::string_view piece) override;
    void onBlocked(bool, std::string_view) override {}

    Lane* laneOf(amqp_channel_t channel);
    static amqp_channel_t channelOf(StreamLane lane) { return static_cast<amqp_channel_t>(lane) + 1; }
    static std::string consumerTag(std::uint64_t reading) { return std::to_string(reading); }
    void finish(amqp_channel_t channel, MessageAssembler::Part part);
    bool openChannel(amqp_channel_t channel);
    bool sendPrefetch(amqp_channel_t channel);
    void declareNext();

    const std::string queue_;
    StreamOwner& owner_;
    AmqpConnection connection_;
    Stage stage_ = Stage::Connecting;
    LinkClock::time_point now_, since_;
    std::array<Lane, 3> lanes_;
    std::vector<AmqpDeclaration> declarations_;
    std::size_t declared_ = 0;
};

} // namespace realtime
