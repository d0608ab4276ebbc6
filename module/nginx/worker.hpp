// What one worker process has: its hub, its brokers, its publisher, its connections. The composition root.
//
// Lifetime   made in init_process, destroyed in exit_process; the master has none.
// Thread     the event loop.
#pragma once

#include "nginx/ngx.hpp"

#include "app/publisher.hpp"
#include "hub/hub.hpp"
#include "nginx/activity.hpp"
#include "nginx/conf.hpp"
#include "nginx/counters.hpp"
#include "nginx/event_source.hpp"
#include "nginx/idle_list.hpp"

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace realtime {

class Cluster;
class HandOver;
class OrderedChannels;
class Outlet;
class PusherChannels;
class Takeover;
class StatusFeed;

// What the connections of one location share.
struct Endpoint {
    const LocConf* conf = nullptr;
    IdleList active;  // in the order of their last sign of life
    IdleList pinged;  // the same, those that have been asked for one
    IdleList adopted; // the same, those that came from another worker and have not been heard of since
    ngx_log_t log{};  // for connections that have no request any more
};

// Who waits for brokers to store an event: an HTTP publish with `ack`.
class AckWaiter {
public:
    virtual void stored(std::uint64_t token, bool good) = 0; // once a broker
    // Before a stream's stored(): the event is in the log now.
    virtual void placed(std::uint64_t, const MessageId&, std::uint32_t /* subscribers */) {}

protected:
    ~AckWaiter() = default;
};

class Worker {
public:
    // Throws std::runtime_error if the zones, the descriptors or the threads cannot be had.
    Worker(ngx_cycle_t* cycle, MainConf& conf);
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    Hub& hub() { return *hub_; }
    const std::vector<NamedBroker>& brokers() const { return brokers_; }
    Counters& counters() { return counters_; }
    const MainConf& conf() const { return conf_; }
    Endpoint& endpointOf(const LocConf& conf);
    const std::vector<std::unique_ptr<Endpoint>>& endpoints() const { return endpoints_; }

    // Publishes, and sees to it that this worker's own subscribers get it in this turn of the event loop.
    Published publish(const App& app, const Publication& publication);
    // The same for what another node has published, which no broker gets again.
    Published relay(const App& app, const Publication& publication);
    // Appends a record that no publisher has sent, and no broker gets.
    AppendResult append(std::uint32_t index, const NewRecord& record);
    // Delivers what is in the logs at the end of this turn.
    void drainSoon() { turnEnd_.atTurnEnd(); }
    // The event that a cache channel keeps; false: none, or it is older than it is kept.
    bool readKept(std::uint32_t index, ChannelRef channel, RecordArena& arena, LogRecord& record);
    static constexpr std::int64_t KeptMs = std::int64_t{30} * 60 * 1000;
    // Hub::join(); the caller calls pump() next.
    JoinResult join(Subscriber& subscriber, const App& app, std::span<const std::string_view> channels,
                    const Since& since);
    void pump(Subscriber& subscriber) { hub_->pump(subscriber, nowMs()); }

    // The hub calls subscribers while it walks its tables; what they want of it then, they ask for here.
    void pumpLater(Outlet& outlet);   // Hub::pump(), in the next turn of the event loop
    void finishLater(Outlet& outlet); // Outlet::finish(), at the end of this one
    // nginx wants to go: Outlet::askToReconnect() within realtime_drain.
    void drainLater(Outlet& outlet);
    // It dies: takes it out of all of these.
    void forget(Outlet& outlet);

    // Some of what was published here is on its way to a broker that is there to take it.
    bool storing() const;
    // Gives a token for Publication::token. The waiter is called once for each broker until it is forgotten.
    std::uint64_t expectAck(AckWaiter& waiter);
    void forgetAck(std::uint64_t token);
    // A stream has handed back the event of this token.
    void handedBack(std::uint64_t token, const MessageId& id, std::uint32_t subscribers);
    // Something is lost to all channels that are `concerned`: whoever follows them is told of a gap.
    void tear(const std::function<bool(const App&, std::string_view channel)>& concerned);

    StatusFeed& statusFeed() { return *statusFeed_; }
    HandOver& handOver() { return *handOver_; }
    Takeover& takeover() { return *takeover_; }

    PusherChannels& pusherChannels() { return *pusherChannels_; }
    Cluster* cluster() { return cluster_.get(); } // null: this node stands alone
    BrokerEvents& brokerEvents() { return brokerEvents_; }
    // Connections of an app over the Pusher protocol, in all workers; counted for apps with max_connections.
    void countAppConnection(const App& app, int change);
    std::uint64_t appConnections(const App& app) const;
    // Calls Outlet::authorizationDue() then.
    void expectAuthorization(Outlet& outlet, ngx_msec_t due) { authorizing_[&outlet] = due; }

    // Those that have said good-bye and wait for the peer to do so.
    static constexpr ngx_msec_t CloseWait = 5000;
    IdleList& closing() { return closing_; }

    // For reading from sockets, shared by all connections of the worker.
    static constexpr std::size_t ReadBytes = std::size_t{64} * 1024;
    char* readBuffer() { return readBuffer_.get(); }
    // For what they send compressed, likewise.
    ws::Inflater& inflater() { return inflater_; }

    static std::int64_t nowMs(); // Unix, by nginx's cached time
    static Worker* current();    // null in the master and in helper processes

private:
    void openLogs();
    void openBrokers();
    void openCluster();
    std::string nodeName(const BrokerConfig& config) const;
    static Publication withFlags(const App& app, const Publication& publication);
    void onLogEvent();
    void onBrokerEvent();
    void rouseBrokers();
    void onTick();
    void onTurnEnd();
    void onNextTurn();
    void onDrain();
    void keepAlive(Endpoint& endpoint);
    void keepAlive(Endpoint& endpoint, IdleList& list);
    void takeConnections();
    void claimMissingSlots();
    void checkAuthorizations();
    void publishStats();
    void publishHubStats();
    void publishWebhookStats();
    void logNotes();
    void log(std::string_view source, const Note& note);
    ngx_msec_t tickInterval() const;

    ngx_cycle_t* cycle_;
    MainConf& conf_;
    std::vector<std::unique_ptr<LogWakeUp>> wakeUps_;
    std::unique_ptr<Hub> hub_;
    std::vector<std::unique_ptr<EventSource>> logEvents_; // beside the hub's logs; null without a slot
    BrokerEvents brokerEvents_;
    std::vector<NamedBroker> brokers_;
    std::unique_ptr<Publisher> publisher_;
    std::array<std::atomic<std::uint64_t>, SharedLog::SlotCounters> ownWords_{}; // while there is no slot
    Counters counters_;
    std::int64_t startedMs_ = nowMs();
    HubStats countedHubStats_;
    Activity activity_;
    std::vector<std::unique_ptr<Endpoint>> endpoints_;
    std::unordered_map<std::uint64_t, AckWaiter*> waiters_;
    std::uint64_t lastToken_ = 0;
    std::unique_ptr<PusherChannels> pusherChannels_;
    std::unique_ptr<StatusFeed> statusFeed_;
    std::unique_ptr<HandOver> handOver_;
    std::unique_ptr<Takeover> takeover_;
    std::unique_ptr<Cluster> cluster_;
    std::unique_ptr<OrderedChannels> ordered_;
    std::unordered_map<Outlet*, ngx_msec_t> authorizing_;
    std::vector<Outlet*> toPump_;
    std::vector<Outlet*> toFinish_;
    IdleList closing_;
    IdleList draining_;
    ngx_msec_t drainStart_ = 0;
    std::unique_ptr<char[]> readBuffer_;
    ws::Inflater inflater_;
    Callback tick_;
    Callback turnEnd_;
    Callback nextTurn_;
    Callback drain_;
    Callback rouseBrokers_;
};

} // namespace realtime
