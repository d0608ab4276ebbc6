// The other nodes through RabbitMQ: a thread that keeps a PeerLink up and hands over what comes.
//
// Bounds     at most PeerLink::Prefetch messages of a connection wait to be taken; RabbitMQ keeps the others.
#pragma once

#include "broker/amqp/peer_link.hpp"
#include "broker/peer_feed.hpp"

#include <memory>
#include <string>
#include <vector>

namespace realtime {

class AmqpPeerFeed final : public PeerFeed {
public:
    // Throws std::runtime_error if the thread cannot start.
    AmqpPeerFeed(BrokerConfig config, LoopWakeUp& wakeUp);
    ~AmqpPeerFeed() override;
    AmqpPeerFeed(const AmqpPeerFeed&) = delete;
    AmqpPeerFeed& operator=(const AmqpPeerFeed&) = delete;

    bool take(std::vector<std::unique_ptr<PeerMessage>>& out, std::size_t most) override;
    void done(std::uint64_t receipt) override;
    bool say(std::string body) override;
    void takeNotes(std::vector<Note>& out) override;
    bool up() const override;
    void stop() override;

private:
    class Loop;
    BrokerConfig config_;
    std::unique_ptr<Loop> loop_;
    std::uint64_t roused_ = 0; // the receipt that the thread was last roused for
};

} // namespace realtime
