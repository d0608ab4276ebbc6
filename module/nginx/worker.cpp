#include "nginx/worker.hpp"

#include "nginx/framed_connection.hpp"
#include "nginx/guard.hpp"
#include "nginx/handover.hpp"
#include "nginx/outlet.hpp"
#include "nginx/status_feed.hpp"
#include "nginx/takeover.hpp"

#include <algorithm>
#include <sys/eventfd.h>

namespace realtime {

namespace {

Worker* currentWorker = nullptr;
NginxEventLoop eventLoop;

NodeConfig nodeConfig(ngx_cycle_t* cycle, const MainConf& conf)
{
    NodeConfig config;
    for (const auto& zone : conf.zones) {
        config.zones.push_back({zone->name, zone->memory(), zone->quotas});
    }
    for (const auto& broker : conf.brokers) {
        config.brokers.push_back(&broker->config);
    }
    for (const auto& app : conf.apps) {
        config.apps.push_back(&app->app);
    }
    const auto* core = reinterpret_cast<ngx_core_conf_t*>(ngx_get_conf(cycle->conf_ctx, ngx_core_module));
    config.workers = ngx_process == NGX_PROCESS_SINGLE
                         ? 1
                         : static_cast<unsigned>(std::max<ngx_int_t>(core->worker_processes, 1));
    config.generation = conf.generation;
    return config;
}

constexpr ngx_msec_t LongestTick = 1000;
constexpr ngx_msec_t ShortestTick = 20;
constexpr ngx_msec_t DrainStep = 100;
constexpr ngx_msec_t ShortestHistoryPause = 10; // so that a part of it is worth its while
constexpr std::size_t LeastDrainStep = 10; // connections a step: a handful need not wait for half a minute

// For the error log of connections that have no request: the client's address, as far as it can still be had.
u_char* logConnection(ngx_log_t* log, u_char* buffer, std::size_t size)
{
    return ngx_snprintf(buffer, size, "%s%s, realtime connection", log->action != nullptr ? " while " : "",
                        log->action != nullptr ? log->action : "");
}

} // namespace

Worker* Worker::current()
{
    return currentWorker;
}

std::int64_t Worker::nowMs()
{
    return eventLoop.nowMs();
}

Worker::Worker(ngx_cycle_t* cycle, MainConf& conf)
    : Node(eventLoop, nodeConfig(cycle, conf)), conf_(conf), partialMessages_(conf.partialBytes),
      readBuffer_(new char[ReadBytes]), tick_([this] { onTick(); }), pump_([this] { onPump(); }),
      drain_([this] { onDrain(); }), pumpTimer_([this] { onPumpTimer(); }),
      sentinelFd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      sentinel_(
          sentinelFd_.get(), [this] { drainRequests(); }, EventSource::Kind::Socket)
{
    statusFeed_ = std::make_unique<StatusFeed>(*this);
    currentWorker = this;
    handOver_ = std::make_unique<HandOver>(*this);
    takeover_ = std::make_unique<Takeover>(*this);
    takeConnections();
    tick_.after(tickInterval());
}

Worker::~Worker()
{
    const bool lost = handOver_->lost();
    takeover_.reset();
    handOver_.reset();
    auto end = [](IdleList& list) {
        while (IdleNode* node = list.first()) {
            static_cast<Outlet*>(node)->processEnds();
        }
    };
    for (auto& endpoint : endpoints_) {
        end(endpoint->active);
        end(endpoint->pinged);
        end(endpoint->adopted);
    }
    end(closing_);
    end(lingering_);
    end(draining_);
    deliver();
    stop(!lost);
    currentWorker = nullptr;
}

// Not before it can serve all that may come.
void Worker::takeConnections()
{
    if (hasSlots()) {
        takeover_->open();
    }
}

Endpoint& Worker::endpointOf(const LocConf& conf)
{
    for (auto& endpoint : endpoints_) {
        if (endpoint->conf == &conf) {
            return *endpoint;
        }
    }
    auto endpoint = std::make_unique<Endpoint>();
    endpoint->conf = &conf;
    endpoint->log = *conf.core->error_log;
    endpoint->log.handler = logConnection;
    endpoint->log.data = nullptr;
    endpoint->log.action = nullptr;
    endpoints_.push_back(std::move(endpoint));
    return *endpoints_.back();
}

// --- the hub's wishes ---------------------------------------------------------------------------------------------

void Worker::delivered()
{
    while (!toFinish_.empty()) {
        Outlet* outlet = toFinish_.back();
        toFinish_.pop_back();
        outlet->finishPending_ = false;
        outlet->finish();
    }
}

// All of a worker's subscribers are Outlets.
Gauge Worker::transportOf(const Subscriber& subscriber) const
{
    return static_cast<const Outlet&>(subscriber).transport();
}

void Worker::onPump()
{
    std::vector<Outlet*> pump;
    pump.swap(toPump_);
    for (Outlet* outlet : pump) {
        outlet->pumpPending_ = false;
    }
    // pump() flushes, and a flush asks for the next one: those go to toPump_ again.
    for (Outlet* outlet : pump) {
        Node::pump(*outlet);
    }
    deliver();
}

void Worker::pumpLater(Outlet& outlet)
{
    if (!outlet.pumpPending_) {
        outlet.pumpPending_ = true;
        toPump_.push_back(&outlet);
        pump_.inNextTurn();
    }
}

void Worker::finishLater(Outlet& outlet)
{
    if (!outlet.finishPending_) {
        outlet.finishPending_ = true;
        toFinish_.push_back(&outlet);
        drainSoon();
    }
}

void Worker::forget(Outlet& outlet)
{
    statusFeed_->forget(outlet);
    if (!authorizing_.empty()) {
        authorizing_.erase(&outlet);
    }
    if (outlet.pumpPending_) {
        std::erase(toPump_, &outlet);
    }
    if (outlet.pumpTimed_) {
        std::erase_if(toPumpAt_, [&](const auto& one) { return one.second == &outlet; });
    }
    if (outlet.finishPending_) {
        std::erase(toFinish_, &outlet);
    }
}

// --- history, at a bounded rate -----------------------------------------------------------------------------------

Worker::HistoryBudget& Worker::historyBudget(const Outlet& outlet)
{
    HistoryBudget& budget = histories_[outlet.connectionNumber()];
    budget.rate.perSecond = static_cast<double>(outlet.endpoint_.conf->historyRate);
    return budget;
}

std::size_t Worker::historyAllowance(Outlet& outlet)
{
    if (outlet.endpoint_.conf->historyRate == 0 || !histories_.contains(outlet.connectionNumber())) {
        return ~std::size_t{0};
    }
    const HistoryBudget& budget = historyBudget(outlet);
    const double left = budget.limit.left(budget.rate);
    if (left >= 1) {
        return static_cast<std::size_t>(left);
    }
    const auto ms = static_cast<ngx_msec_t>((1 - left) / budget.rate.perSecond * 1000);
    pumpAfter(outlet, std::max(ms, ShortestHistoryPause));
    return 0;
}

void Worker::chargeHistory(const Outlet& outlet, std::size_t bytes)
{
    if (outlet.endpoint_.conf->historyRate != 0) {
        HistoryBudget& budget = historyBudget(outlet);
        budget.limit.charge(budget.rate, static_cast<double>(bytes));
    }
}

HandoverRecord::Rate Worker::saveHistory(const Outlet& outlet)
{
    const auto found = histories_.find(outlet.connectionNumber());
    return found == histories_.end() ? HandoverRecord::Rate{} : found->second.limit.save();
}

void Worker::restoreHistory(const Outlet& outlet, const HandoverRecord::Rate& rate)
{
    if (rate.ageMs != 0 && outlet.endpoint_.conf->historyRate != 0) {
        historyBudget(outlet).limit.restore(rate);
    }
}

void Worker::pumpAfter(Outlet& outlet, ngx_msec_t ms)
{
    if (outlet.pumpTimed_) {
        return;
    }
    outlet.pumpTimed_ = true;
    const auto place = toPumpAt_.insert({ngx_current_msec + ms, &outlet});
    if (place == toPumpAt_.begin()) {
        pumpTimer_.after(ms);
    }
}

void Worker::onPumpTimer()
{
    while (!toPumpAt_.empty()) {
        const auto left = static_cast<ngx_msec_int_t>(toPumpAt_.begin()->first - ngx_current_msec);
        if (left > 0) {
            pumpTimer_.after(static_cast<ngx_msec_t>(left));
            return;
        }
        Outlet& outlet = *toPumpAt_.begin()->second;
        toPumpAt_.erase(toPumpAt_.begin());
        outlet.pumpTimed_ = false;
        pumpLater(outlet);
    }
}

// --- time -------------------------------------------------------------------------------------------------------

void Worker::checkAuthorizations()
{
    std::vector<Outlet*> due;
    for (const auto& [outlet, time] : authorizing_) {
        if (static_cast<ngx_msec_int_t>(ngx_current_msec - time) >= 0) {
            due.push_back(outlet);
        }
    }
    for (Outlet* outlet : due) {
        authorizing_.erase(outlet);
        outlet->authorizationDue();
    }
}

ngx_msec_t Worker::tickInterval() const
{
    ngx_msec_t shortest = LongestTick;
    for (const LocConf* conf : conf_.endpoints) {
        ngx_msec_t grain = conf->ping != 0 ? std::min(conf->ping, conf->timeout - conf->ping) : conf->timeout;
        shortest = std::min(shortest, grain / 4);
    }
    return std::max(shortest, ShortestTick);
}

void Worker::onTick()
{
    tick_.after(tickInterval());
    while (PartialMessage* late = partialMessages_.late(ngx_current_msec)) { // before who is only silent
        late->owner().partialDue();
    }
    for (auto& endpoint : endpoints_) {
        keepAlive(*endpoint);
        settlePings(*endpoint);
    }
    while (IdleNode* node = closing_.due(ngx_current_msec, CloseWait)) {
        static_cast<Outlet*>(node)->closeWaitOver();
    }
    while (IdleNode* node = lingering_.due(ngx_current_msec, LingerWait)) {
        static_cast<Outlet*>(node)->lingerWaitOver();
    }
    counters().set(word(Gauge::PartialMessages), partialMessages_.count());
    counters().set(word(Gauge::PartialBytes), partialMessages_.bytes());
    checkAuthorizations();
    std::erase_if(histories_, [](const auto& one) { return one.second.limit.full(one.second.rate); });
    tick();
    takeConnections();
}

void Worker::keepAlive(Endpoint& endpoint)
{
    while (IdleNode* node = endpoint.pinged.due(ngx_current_msec, endpoint.conf->timeout)) {
        static_cast<Outlet*>(node)->timeoutDue();
    }
    keepAlive(endpoint, endpoint.active);
    keepAlive(endpoint, endpoint.adopted);
}

void Worker::keepAlive(Endpoint& endpoint, IdleList& list)
{
    ngx_msec_t ping = endpoint.conf->ping;
    while (IdleNode* node = list.due(ngx_current_msec, ping != 0 ? ping : endpoint.conf->timeout)) {
        if (ping == 0) {
            static_cast<Outlet*>(node)->timeoutDue();
            continue;
        }
        auto* outlet = static_cast<Outlet*>(node);
        endpoint.pinged.push(*outlet, outlet->since());
        outlet->pingDue();
    }
}

void Worker::settlePings(Endpoint& endpoint)
{
    for (IdleNode* node = endpoint.pinging.first(); node != nullptr;) {
        auto* pings = static_cast<Pings*>(node);
        node = endpoint.pinging.after(*node);
        pings->owner().settlePings();
    }
}

void Worker::drainLater(Outlet& outlet)
{
    if (draining_.empty()) {
        drainStart_ = ngx_current_msec;
        drain_.after(DrainStep, true);
    }
    draining_.push(outlet, ngx_current_msec);
}

// nginx does not ask them, and would not wait for them either: most have no timer.
void Worker::drainRequests()
{
    for (auto& endpoint : endpoints_) {
        for (IdleList* list : {&endpoint->active, &endpoint->pinged}) {
            for (IdleNode* node = list->first(); node != nullptr;) {
                auto* outlet = static_cast<Outlet*>(node);
                node = list->after(*node);
                if (outlet->waitsInRequest()) {
                    outlet->setLeaving();
                    drainLater(*outlet);
                }
            }
        }
    }
}

// Closes the share of this step, so that all are asked by the end of realtime_drain and no step is a storm.
void Worker::onDrain()
{
    std::size_t waiting = 0;
    for (IdleNode* node = draining_.first(); node != nullptr; node = draining_.after(*node)) {
        waiting++;
    }
    ngx_msec_t elapsed = ngx_current_msec - drainStart_;
    ngx_msec_t left = elapsed < conf_.drain ? conf_.drain - elapsed : 0;
    std::size_t share = std::max(LeastDrainStep, waiting * DrainStep / std::max(left, DrainStep) + 1);

    for (; share > 0 && !draining_.empty(); share--) {
        static_cast<Outlet*>(draining_.first())->askToReconnect();
    }
    if (!draining_.empty() || !closing_.empty() || !lingering_.empty()) {
        drain_.after(DrainStep, true); // good-byes must get out before the process ends
    }
}

} // namespace realtime
