// One AMQP 0-9-1 connection to RabbitMQ: stream, log-in, heartbeats, connection.blocked, the end. What happens on
// channels is the handler's; so a consumer can stand on it as well as the publisher.
//
// Thread     the one of its owner. Nothing blocks but close(), and that only until its deadline.
// Errors     turn() answers Broken and fault() says why. A close by the broker is told in the broker's own words.
// Bounds     Patience for everything from the name look-up to the log-in; afterwards silence for two heartbeats is
//            an error. The buffer of bytes to be sent is as large as what was put into it: see outputFull().
#pragma once

#include "broker/amqp/amqp_codec.hpp"
#include "broker/amqp/byte_stream.hpp"
#include "broker/link.hpp"

#include <chrono>
#include <cstdint>
#include <string>

namespace realtime {

class AmqpHandler {
public:
    // Log-in is done; channels may be opened.
    virtual void onOpen() = 0;
    // Frames of channels; their content lives until the call returns.
    virtual void onMethod(amqp_channel_t channel, const amqp_method_t& method) = 0;
    virtual void onHeader(amqp_channel_t channel, const amqp_basic_properties_t& properties,
                          std::uint64_t bodySize) = 0;
    virtual void onBody(amqp_channel_t channel, std::string_view piece) = 0;
    // connection.blocked and .unblocked (then without a reason).
    virtual void onBlocked(bool blocked, std::string_view reason) = 0;

protected:
    ~AmqpHandler() = default;
};

// "404 NOT_FOUND - no exchange 'x'", without control characters and of bounded length.
std::string amqpReply(std::uint16_t code, amqp_bytes_t text);

class AmqpConnection {
public:
    static constexpr std::chrono::seconds Patience{12};
    static constexpr std::size_t MaxOutput = 1 << 20;

    AmqpConnection(const BrokerConfig& config, const BrokerServer& server, AmqpHandler& handler);

    // Goes on with whatever can be done: connecting, log-in; reading (which calls the handler); heartbeats; sending.
    // Never Blocked.
    LinkState turn(LinkClock::time_point now);
    LinkInterest interest() const;
    const LinkFault& fault() const { return fault_; }

    // For the handler: something is wrong beyond mending; turn() answers Broken.
    void fail(std::string text, bool lasting = false);

    // Queues frames to be sent by the next turn(). False: does not fit into a frame, nothing was queued.
    [[nodiscard]] bool send(amqp_channel_t channel, amqp_method_number_t id, void* method);
    [[nodiscard]] bool publish(amqp_channel_t channel, amqp_basic_publish_t& method,
                               amqp_basic_properties_t& properties, std::string_view body);
    bool outputFull() const { return output_.size() - sent_ >= MaxOutput; }

    // Says goodbye in AMQP's way and waits for the answer, `deadline` at the latest.
    void close(LinkClock::time_point deadline);

private:
    enum class Stage { Connecting, Start, Tune, OpenOk, Open, Closing, Closed, Failed };

    void readAll(LinkClock::time_point now);
    bool decode(std::string_view bytes);
    void handle(const amqp_frame_t& frame);
    void handleConnectionMethod(const amqp_method_t& method);
    void onStart(const amqp_connection_start_t& start);
    void onTune(const amqp_connection_tune_t& tune);
    void keepAlive(LinkClock::time_point now);
    void flush(LinkClock::time_point now);
    void sendOrFail(amqp_method_number_t id, void* method);
    bool loggedIn() const { return stage_ == Stage::Open || stage_ == Stage::Closing; }
    bool over() const { return stage_ == Stage::Closed || stage_ == Stage::Failed; }

    const BrokerConfig& config_;
    const BrokerServer& server_;
    AmqpHandler& handler_;
    ByteStream stream_;
    AmqpDecoder decoder_;
    AmqpEncoder encoder_;
    Stage stage_ = Stage::Connecting;
    LinkFault fault_;
    std::string output_;
    std::size_t sent_ = 0; // of output_
    std::uint32_t frameMax_ = MinFrameSize;
    std::chrono::seconds heartbeat_{0};                             // 0: none
    LinkClock::time_point deadline_ = LinkClock::time_point::max(); // of the log-in
    LinkClock::time_point lastSent_, lastReceived_;
    bool readAgain_ = false; // there may be more to read than one turn takes
};

} // namespace realtime
