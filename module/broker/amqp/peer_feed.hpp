// The cluster's other nodes, as a worker hears them: a thread that keeps a PeerLink up and hands over what comes.
//
// Thread     as Broker: the constructor, the destructor and every member function belong to the event loop, which never
//            waits but in stop(), half a second at most.
// Order      as the node's queue has it.
// Bounds     at most PeerLink::Prefetch messages of a connection wait to be taken; RabbitMQ keeps the others. A message
//            counts as delivered when done() has been called for it: what was taken and is not done when the worker dies
//            is handed to another worker, and so comes twice.
#pragma once

#include "broker/amqp/peer_link.hpp"
#include "broker/broker.hpp"

#include <memory>
#include <string>
#include <vector>

namespace realtime {

class PeerFeed {
public:
    // `config.node` is this node's name. Throws std::runtime_error if the thread cannot start. `wakeUp` is called on
    // the thread, once for all that waits.
    PeerFeed(BrokerConfig config, LoopWakeUp& wakeUp);
    ~PeerFeed();
    PeerFeed(const PeerFeed&) = delete;
    PeerFeed& operator=(const PeerFeed&) = delete;

    // Appends at most `most` messages, this node's own events left out; false: there are no more.
    bool take(std::vector<std::unique_ptr<PeerMessage>>& out, std::size_t most);
    // The message with this receipt, and all that were taken before it, need not come again.
    void done(std::uint64_t receipt);
    // Tells all nodes, this one included; may be lost, and then Opened comes. False: the queue for it is full.
    bool say(std::string body);

    void takeNotes(std::vector<Note>& out);
    bool up() const;

    // Lets go of the queue: another worker gets its messages from now on.
    void stop();

    const BrokerConfig& config() const { return config_; }

private:
    class Loop;
    BrokerConfig config_;
    std::unique_ptr<Loop> loop_;
    std::uint64_t roused_ = 0; // the receipt that the thread was last roused for
};

} // namespace realtime
