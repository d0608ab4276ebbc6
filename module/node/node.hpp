// What one worker process is without nginx: its hub, its brokers, its publisher, and what goes on around channels. The
// worker (nginx/worker.hpp) adds sockets and directives; a unit test adds a loop that is turned by hand.
//
// Thread     the event loop.
// Lifetime   made after fork. stop() comes before the destructor, when the subscribers have ended.
#pragma once

#include "app/publisher.hpp"
#include "broker/link.hpp"
#include "broker/peer_feed.hpp"
#include "broker/stream_reader.hpp"
#include "hub/hub.hpp"
#include "node/activity.hpp"
#include "node/counters.hpp"
#include "node/event_loop.hpp"
#include "node/node_config.hpp"
#include "node/wake_ups.hpp"

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace realtime {

class Cluster;
class OrderedChannels;
class PusherChannels;

// Who waits for brokers to store an event: an HTTP publish with `ack`.
class AckWaiter {
public:
    virtual void stored(std::uint64_t token, bool good) = 0; // once a broker
    // Before a stream's stored(): the event is in the log now.
    virtual void placed(std::uint64_t, const MessageId&, std::uint32_t /* subscribers */) {}

protected:
    ~AckWaiter() = default;
};

// How a node reaches what is outside. Unit tests put something in memory there.
struct NodeLinks {
    LinkFactory stores = makeLink;
    PeerFeedFactory peers = amqpPeerFeed;
    StreamReaderFactory streams = amqpStreamReader;

    static std::unique_ptr<PeerFeed> amqpPeerFeed(const BrokerConfig& config, LoopWakeUp& wakeUp);
    static std::unique_ptr<StreamReader> amqpStreamReader(const BrokerConfig& config, std::string queue,
                                                          LoopWakeUp& wakeUp);
};

class Node {
public:
    // Throws std::runtime_error if the zones, the descriptors or the threads cannot be had.
    Node(EventLoop& loop, NodeConfig config, const NodeLinks& links = {});
    virtual ~Node();
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;

    EventLoop& loop() { return loop_; }
    const NodeConfig& config() const { return config_; }
    Hub& hub() { return *hub_; }
    const std::vector<NamedBroker>& brokers() const { return brokers_; }
    Counters& counters() { return counters_; }
    std::int64_t now() const { return loop_.nowMs(); } // Unix milliseconds

    // Publishes, and sees to it that this worker's own subscribers get it in this turn of the event loop.
    Published publish(const App& app, const Publication& publication);
    // False: publish() will always say TooLarge.
    bool fits(const App& app, const Publication& publication) const
    {
        return publisher_->fits(app, publication);
    }
    // The same for what another node has published, which no broker gets again.
    Published relay(const App& app, const Publication& publication);
    // Appends a record that no publisher has sent, and no broker gets, for those who are there. nullopt: nobody is.
    std::optional<AppendResult> appendIfSubscribed(std::uint32_t index, const NewRecord& record);
    // Delivers what is in the logs at the end of this turn.
    void drainSoon() { turnEnd_->atTurnEnd(); }
    // The same without waiting for that. Not while the hub is at work.
    void drainNow();
    // The event that a cache channel keeps; false: none, or it is older than it is kept.
    bool readKept(std::uint32_t index, ChannelRef channel, RecordArena& arena, LogRecord& record);
    static constexpr std::int64_t KeptMs = realtime::KeptMs;
    // Hub::join(); the caller calls pump() next.
    JoinResult join(Subscriber& subscriber, const App& app, std::span<const std::string_view> channels,
                    const Since& since);
    void pump(Subscriber& subscriber) { hub_->pump(subscriber, now()); }

    // Some of what was published here is on its way to a broker that is there to take it.
    bool storing() const;
    // Gives a token for Publication::token. The waiter is called once for each broker until it is forgotten.
    std::uint64_t expectAck(AckWaiter& waiter);
    void forgetAck(std::uint64_t token);
    // A stream has handed back the event of this token.
    void handedBack(std::uint64_t token, const MessageId& id, std::uint32_t subscribers);
    // Something is lost to all channels that are `concerned`: whoever follows them is told of a gap.
    void tear(const std::function<bool(const App&, std::string_view channel)>& concerned);

    PusherChannels& pusherChannels() { return *pusherChannels_; }
    Cluster* cluster() { return cluster_.get(); } // null: this node stands alone
    LoopWakeUp& threadEvents() { return threadEvents_; }
    // Connections of an app over the Pusher protocol, in all workers; counted for apps with max_connections.
    void countAppConnection(const App& app, int change);
    std::uint64_t appConnections(const App& app) const;
    // It has a slot in each zone.
    bool hasSlots() const;

protected:
    // Delivers what has come, now.
    void deliver();
    // What is due now and then.
    void tick();
    // `release`: the slots are given up, else they are reclaimed like those of the dead, with announcements.
    void stop(bool release);

    // A turn's deliveries are out: what subscribers have asked for meanwhile can be done now.
    virtual void delivered() = 0;
    virtual Gauge transportOf(const Subscriber& subscriber) const = 0;

private:
    friend class Activity; // asks transportOf()
    void openLogs();
    void openBrokers(const LinkFactory& stores);
    void openCluster(const PeerFeedFactory& peers);
    std::string nodeName(const BrokerConfig& config) const;
    void claimMissingSlots();
    static Publication withFlags(const App& app, const Publication& publication);
    void onThreadEvent();
    void rouseBrokers();
    void publishStats();
    void publishHubStats();
    void publishWebhookStats();
    void logNotes();
    void log(std::string_view source, Note note);

    EventLoop& loop_;
    const NodeConfig config_;
    std::vector<std::unique_ptr<LogWakeUp>> wakeUps_;
    std::unique_ptr<Hub> hub_;
    std::vector<std::unique_ptr<EventLoop::Watch>> logEvents_; // beside the hub's logs; null without a slot
    ThreadEvents threadEvents_;
    std::vector<NamedBroker> brokers_;
    std::unique_ptr<Publisher> publisher_;
    std::array<std::atomic<std::uint64_t>, SharedLog::SlotCounters> ownWords_{}; // while there is no slot
    Counters counters_;
    std::int64_t startedMs_;
    HubStats countedHubStats_;
    Activity activity_;
    std::unordered_map<std::uint64_t, AckWaiter*> waiters_;
    std::uint64_t lastToken_ = 0;
    std::unique_ptr<EventLoop::Task> turnEnd_;
    std::unique_ptr<EventLoop::Task> nextTurn_;
    std::unique_ptr<EventLoop::Task> rouseBrokers_;
    std::unique_ptr<PusherChannels> pusherChannels_;
    std::unique_ptr<Cluster> cluster_;
    std::unique_ptr<OrderedChannels> ordered_;
};

} // namespace realtime
