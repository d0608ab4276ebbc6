// A node in a worker process of nginx: adds the connections, what waits for them, and nginx's event loop. The composition root.
//
// Lifetime   made in init_process, destroyed in exit_process; the master has none.
// Thread     the event loop.
#pragma once

#include "nginx/ngx.hpp"

#include "base/own_fd.hpp"
#include "nginx/conf.hpp"
#include "nginx/event_source.hpp"
#include "nginx/idle_list.hpp"
#include "nginx/inbound.hpp"
#include "nginx/rate_limit.hpp"
#include "node/node.hpp"

#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

namespace realtime {

class HandOver;
class Outlet;
class StatusFeed;
class Takeover;

// What the connections of one location share.
struct Endpoint {
    const LocConf* conf = nullptr;
    IdleList active;  // in the order of their last sign of life
    IdleList pinged;  // the same, those that have been asked for one
    IdleList adopted; // the same, those that came from another worker and have not been heard of since
    IdleList pinging; // of Pings, in the order of the latest
    ngx_log_t log{};  // for connections that have no request any more
};

class Worker final : public Node {
public:
    // Throws std::runtime_error if the zones, the descriptors or the threads cannot be had.
    Worker(ngx_cycle_t* cycle, MainConf& conf);
    ~Worker() override;

    const MainConf& conf() const { return conf_; }
    Endpoint& endpointOf(const LocConf& conf);
    const std::vector<std::unique_ptr<Endpoint>>& endpoints() const { return endpoints_; }

    // What a client may have of the history: realtime_history_rate, of all that is served over one TCP connection. The
    // allowance: see Subscriber; 0: Hub::pump() follows when there is some again.
    std::size_t historyAllowance(Outlet& outlet);
    void chargeHistory(const Outlet& outlet, std::size_t bytes);
    HandoverRecord::Rate saveHistory(const Outlet& outlet);
    void restoreHistory(const Outlet& outlet, const HandoverRecord::Rate& rate);

    // The hub calls subscribers while it walks its tables; what they want of it then, they ask for here.
    void pumpLater(Outlet& outlet);   // Hub::pump(), in the next turn of the event loop
    void finishLater(Outlet& outlet); // Outlet::finish(), at the end of this one
    // nginx wants to go: Outlet::askToReconnect() within realtime_drain.
    void drainLater(Outlet& outlet);
    // It dies: takes it out of all of these.
    void forget(Outlet& outlet);

    StatusFeed& statusFeed() { return *statusFeed_; }
    HandOver& handOver() { return *handOver_; }
    Takeover& takeover() { return *takeover_; }

    // Calls Outlet::authorizationDue() then.
    void expectAuthorization(Outlet& outlet, ngx_msec_t due) { authorizing_[&outlet] = due; }

    // Those that have said good-bye and wait for the peer to do so.
    static constexpr ngx_msec_t CloseWait = 5000;
    IdleList& closing() { return closing_; }
    // Those whose last words and FIN are out, see Connection::linger().
    static constexpr ngx_msec_t LingerWait = 1000;
    IdleList& lingering() { return lingering_; }

    PartialMessages& partialMessages() { return partialMessages_; }

    // For reading from sockets, shared by all connections of the worker.
    static constexpr std::size_t ReadBytes = std::size_t{64} * 1024;
    char* readBuffer() { return readBuffer_.get(); }
    // For what they send compressed, likewise.
    ws::Inflater& inflater() { return inflater_; }

    static std::int64_t nowMs(); // Unix, by nginx's cached time
    static Worker* current();    // null in the master and in helper processes

private:
    void delivered() override;
    Gauge transportOf(const Subscriber& subscriber) const override;
    void onTick();
    void onPump();
    void drainRequests();
    void onDrain();
    void pumpAfter(Outlet& outlet, ngx_msec_t ms);
    void onPumpTimer();
    void keepAlive(Endpoint& endpoint);
    void keepAlive(Endpoint& endpoint, IdleList& list);
    static void settlePings(Endpoint& endpoint);
    void takeConnections();
    void checkAuthorizations();
    ngx_msec_t tickInterval() const;

    MainConf& conf_;
    std::vector<std::unique_ptr<Endpoint>> endpoints_;
    std::unique_ptr<StatusFeed> statusFeed_;
    std::unique_ptr<HandOver> handOver_;
    std::unique_ptr<Takeover> takeover_;
    std::unordered_map<Outlet*, ngx_msec_t> authorizing_;
    struct HistoryBudget {
        Rate rate;
        RateLimit limit;
    };
    HistoryBudget& historyBudget(const Outlet& outlet);
    std::unordered_map<std::uint64_t, HistoryBudget>
        histories_; // by connection; those with a full budget are not there
    std::multimap<ngx_msec_t, Outlet*> toPumpAt_;
    std::vector<Outlet*> toPump_;
    std::vector<Outlet*> toFinish_;
    IdleList closing_;
    IdleList lingering_;
    IdleList draining_;
    PartialMessages partialMessages_;
    ngx_msec_t drainStart_ = 0;
    std::unique_ptr<char[]> readBuffer_;
    ws::Inflater inflater_;
    Callback tick_;
    Callback pump_;
    Callback drain_;
    Callback pumpTimer_;
    OwnFd sentinelFd_;     // nobody writes there
    EventSource sentinel_; // nginx calls it when the worker is told to go
};

} // namespace realtime
