// Reads a RabbitMQ queue, over rabbitmq-c.
//
// Errors     UnreachableError when there is no connection, or none any more: a new Consumer may have more luck;
//            std::runtime_error when the server refuses (no such queue, no access).
#pragma once

#include "broker/broker.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace realtime::cli {

struct Delivery {
    std::uint64_t tag = 0;
    BrokerEvent event; // what the message's properties and headers tell of it
};

class Consumer {
public:
    static constexpr std::uint16_t Prefetch = 1'000; // not yet acknowledged

    Consumer(const BrokerServer& server, const std::string& queue, const std::string& caFile);
    ~Consumer();
    Consumer(const Consumer&) = delete;
    Consumer& operator=(const Consumer&) = delete;

    std::optional<Delivery> receive(std::chrono::milliseconds atMost);
    // This and all before it.
    void acknowledge(std::uint64_t tag);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace realtime::cli
