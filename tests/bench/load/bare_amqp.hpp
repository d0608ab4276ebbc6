// The yardstick for RabbitMQ: a plain rabbitmq-c loop that publishes with confirms.
//
// Thread     one thread.
// Errors     std::runtime_error: whatever does not go as planned spoils the measurement.
#pragma once

#include "broker/amqp_codec.hpp"
#include "broker/broker.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <type_traits>

namespace realtime::bench {

class BareAmqp {
public:
    // To the first server; `config` must outlive it. Exchange and queue must be there: somebody else declares them.
    explicit BareAmqp(const BrokerConfig& config);

    // Events a second, from the first one's publish to the last one's confirm, BrokerConfig::window in flight.
    double publish(std::size_t events, std::size_t bytes);
    void purge(const std::string& queue);

private:
    void send(const BrokerEvent& event);
    bool pump(bool wait);

    struct Close {
        void operator()(amqp_connection_state_t connection) const noexcept;
    };
    const BrokerConfig& config_;
    std::unique_ptr<std::remove_pointer_t<amqp_connection_state_t>, Close> connection_;
    std::size_t base_ = 0, confirmed_ = 0;
};

} // namespace realtime::bench
