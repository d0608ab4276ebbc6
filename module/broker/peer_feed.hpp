// The other nodes of a cluster, as a worker hears and tells them.
//
// Thread     the event loop, which never waits but in stop(), half a second at most.
// Order      as the node's queue has it.
// Twice      a message counts as delivered when done() has been called for it: what was taken and is not done when the worker
//            dies is handed to another worker.
#pragma once

#include "broker/broker.hpp"
#include "broker/incoming_message.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace realtime {

struct PeerMessage : IncomingMessage {
    enum class Kind {
        Event,
        Control,   // what nodes tell each other; `data`
        Opened,    // the queue is consumed from now on; what was told before may be lost
        Overflown, // the queue was full: events are lost
    };
    Kind kind = Kind::Event;
    bool fresh = false;        // Opened: the queue was not there, so that nothing was kept
    std::uint64_t receipt = 0; // for PeerFeed::done()
};

class PeerFeed {
public:
    virtual ~PeerFeed() = default;

    // Appends at most `most` messages, this node's own events left out; false: there are no more.
    virtual bool take(std::vector<std::unique_ptr<PeerMessage>>& out, std::size_t most) = 0;
    // The message with this receipt, and all that were taken before it, need not come again.
    virtual void done(std::uint64_t receipt) = 0;
    // Tells all nodes, this one included; may be lost, and then Opened comes. False: the queue for it is full.
    virtual bool say(std::string body) = 0;

    virtual void takeNotes(std::vector<Note>& out) = 0;
    virtual bool up() const = 0;

    // Lets go of the queue: another worker gets its messages from now on.
    virtual void stop() = 0;
};

// `config.node` is this node's name. `wakeUp` is called on another thread, once for all that waits to be taken.
using PeerFeedFactory =
    std::function<std::unique_ptr<PeerFeed>(const BrokerConfig& config, LoopWakeUp& wakeUp)>;

} // namespace realtime
