// A RabbitMQ of the test's own, and an independent consumer.
#pragma once

#include "support/check.hpp"
#include "support/files.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace realtime::testing {

// Starting one takes seconds: share() gives the program's only one, started on first use and stopped at exit; or, if
// RABBITMQ_DIR is set (see rabbitmq.sh), the one that runs there already and is left running.
class RabbitMq {
public:
    // `settings`: lines of its configuration, if it is started by this call.
    static RabbitMq& share(const std::string& settings = "");
    ~RabbitMq();
    RabbitMq(const RabbitMq&) = delete;
    RabbitMq& operator=(const RabbitMq&) = delete;

    std::uint16_t port() const { return port_; }
    std::string url(const std::string& credentials = "guest:guest") const; // amqp://
    void pause();                                                          // SIGSTOP to the broker's process
    void resume();                                                         // SIGCONT
    void stop();
    void start();                                                     // again: the same port, the same data
    void kill();                                                      // SIGKILL; start() brings it back
    std::string ctl(const std::vector<std::string>& arguments) const; // rabbitmqctl's output

private:
    explicit RabbitMq(const std::string& settings);
    void script(const char* command) const;
    void readPort(const char* command);
    TempDir directory_;
    std::string place_; // for rabbitmq.sh
    bool ours_ = true;
    std::uint16_t port_ = 0;
};

struct AmqpMessage {
    std::string body, routingKey, exchange;
    std::string contentType, messageId, appId, type;
    int deliveryMode = 0;
    std::uint64_t timestamp = 0;
    std::map<std::string, std::string> headers; // those with text values
};

struct AmqpQueue {
    std::string name;
};

// Reads everything that is published to an exchange through a queue that is its own and exclusive; or a queue that
// is there already.
class AmqpConsumer {
public:
    // Declares the exchange too (durable, topic), so that it may come before nginx.
    AmqpConsumer(const RabbitMq& server, const std::string& exchange, const std::string& binding = "#");
    AmqpConsumer(const RabbitMq& server, const AmqpQueue& queue);
    ~AmqpConsumer();
    AmqpConsumer(const AmqpConsumer&) = delete;
    AmqpConsumer& operator=(const AmqpConsumer&) = delete;

    AmqpMessage receive(std::chrono::milliseconds patience = Patience); // throws if none comes
    void expectSilence(std::chrono::milliseconds duration = Silence);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace realtime::testing
