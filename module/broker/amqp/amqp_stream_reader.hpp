// A stream of RabbitMQ as a worker reads it: a thread with a StreamLink.
#pragma once

#include "broker/amqp/stream_link.hpp"
#include "broker/stream_reader.hpp"

#include <memory>
#include <string>
#include <vector>

namespace realtime {

class AmqpStreamReader final : public StreamReader {
public:
    // Throws std::runtime_error if the thread cannot start.
    AmqpStreamReader(BrokerConfig config, std::string queue, LoopWakeUp& wakeUp);
    ~AmqpStreamReader() override;
    AmqpStreamReader(const AmqpStreamReader&) = delete;
    AmqpStreamReader& operator=(const AmqpStreamReader&) = delete;

    void follow(const StreamStart& start, std::uint64_t life) override;
    void expect(std::uint64_t life) override;
    void stopFollowing() override;
    std::unique_ptr<StreamEvent> take() override;
    void done(std::uint64_t receipt, std::uint64_t number) override;
    bool ask(StreamQuestion question) override;
    void takeAnswers(std::vector<StreamAnswer>& out) override;
    void takeNotes(std::vector<Note>& out) override;

private:
    class Loop;
    BrokerConfig config_;
    std::unique_ptr<Loop> loop_;
};

} // namespace realtime
