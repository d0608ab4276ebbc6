// The yardsticks for RabbitMQ: a plain rabbitmq-c loop that publishes with confirms, and a plain hop from a publisher to
// a consumer.
//
// Thread     one thread.
// Errors     std::runtime_error: whatever does not go as planned spoils the measurement.
#pragma once

#include "broker/amqp/amqp_codec.hpp"
#include "broker/broker.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

namespace realtime::bench {

// Milliseconds from the moment when a message was to be published until one of two consumers has it; the other is there
// since a cluster of two nodes has two. `config` names the exchange.
std::vector<double> bareHop(const BrokerConfig& config, std::size_t count, std::size_t bytes,
                            std::chrono::nanoseconds interval, std::chrono::nanoseconds nap);

class BareAmqp {
public:
    // To the first server; `config` must outlive it. Exchange and queue must be there: somebody else declares them.
    explicit BareAmqp(const BrokerConfig& config);

    // Events a second, from the first one's publish to the last one's confirm, BrokerConfig::window in flight.
    double publish(std::size_t events, std::size_t bytes);
    void purge(const std::string& queue);

    void send(const BrokerEvent& event);
    bool pump(bool wait); // one frame of confirms; false if there is none

    // Consumes from a queue of its own, which gets all of the exchange and is as that of a node with `cluster on`.
    void consume(const std::string& queue, std::uint16_t prefetch);
    bool take(); // one message, and acknowledges it; false if there is none
    int fd() const;

private:
    struct Close {
        void operator()(amqp_connection_state_t connection) const noexcept;
    };
    const BrokerConfig& config_;
    std::unique_ptr<std::remove_pointer_t<amqp_connection_state_t>, Close> connection_;
    std::size_t base_ = 0, confirmed_ = 0;
};

} // namespace realtime::bench
