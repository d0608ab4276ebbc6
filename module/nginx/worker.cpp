#include "nginx/worker.hpp"

#include "nginx/cluster.hpp"
#include "nginx/guard.hpp"
#include "nginx/handover.hpp"
#include "nginx/ordered_channels.hpp"
#include "nginx/outlet.hpp"
#include "nginx/pusher_channels.hpp"
#include "nginx/status_feed.hpp"
#include "nginx/str.hpp"
#include "nginx/takeover.hpp"

#include "wire/pusher_channel.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace realtime {

namespace {

Worker* currentWorker = nullptr;

constexpr ngx_msec_t LongestTick = 1000;
constexpr ngx_msec_t ShortestTick = 20;
constexpr ngx_msec_t DrainStep = 100;
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
    ngx_time_t* now = ngx_timeofday();
    return static_cast<std::int64_t>(now->sec) * 1000 + static_cast<std::int64_t>(now->msec);
}

Worker::Worker(ngx_cycle_t* cycle, MainConf& conf)
    : cycle_(cycle), conf_(conf), counters_(ownWords_), activity_(*this), readBuffer_(new char[ReadBytes]),
      tick_([this] { onTick(); }), turnEnd_([this] { onTurnEnd(); }), nextTurn_([this] { onNextTurn(); }),
      drain_([this] { onDrain(); }), rouseBrokers_([this] { rouseBrokers(); })
{
    openLogs();
    openBrokers();
    publisher_ = std::make_unique<Publisher>(*hub_, brokers_);
    pusherChannels_ = std::make_unique<PusherChannels>(*this);
    statusFeed_ = std::make_unique<StatusFeed>(*this);
    currentWorker = this;
    // Before claimSlot() does the same without a word: this may be the successor of a worker that crashed.
    pusherChannels_->reap();
    claimMissingSlots();
    openCluster();
    ordered_ = std::make_unique<OrderedChannels>(*this);
    publishStats();
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
    end(draining_);
    onTurnEnd();

    cluster_.reset();
    ordered_.reset();
    // All at once: nginx's master kills a worker that has not ended 1.5 s after TERM.
    for (NamedBroker& one : brokers_) {
        one.broker->beginStop();
    }
    pusherChannels_->stop();
    for (NamedBroker& one : brokers_) {
        one.broker->stop();
    }
    logNotes(); // of what could not be stored
    brokers_.clear();
    publishStats();
    logEvents_.clear();
    for (std::uint32_t i = 0; i < hub_->logCount(); i++) {
        HubLog& log = hub_->log(i);
        if (log.slot != SharedLog::NoSlot &&
            !lost) { // else it is reclaimed like that of the dead: with announcements
            log.log.releaseSlot(log.slot);
        }
    }
    currentWorker = nullptr;
}

void Worker::openLogs()
{
    std::vector<HubLog> logs;
    for (const auto& zone : conf_.zones) {
        auto log = SharedLog::attach(zone->memory());
        if (!log) {
            throw std::runtime_error("zone \"" + zone->name + "\" holds no log");
        }
        wakeUps_.push_back(std::make_unique<LogWakeUp>(*log));
        logs.push_back({*log, SharedLog::NoSlot, wakeUps_.back().get()});
    }
    logEvents_.resize(logs.size());
    hub_ = std::make_unique<Hub>(std::move(logs));
}

// A storm of reloads may leave more workers alive than a zone has slots: then this one serves no subscribers of it
// until one is free.
void Worker::claimMissingSlots()
{
    for (std::uint32_t i = 0; i < hub_->logCount(); i++) {
        HubLog& log = hub_->log(i);
        if (log.slot != SharedLog::NoSlot) {
            continue;
        }
        std::uint32_t slot = log.log.claimSlot();
        if (slot == SharedLog::NoSlot) {
            ngx_log_error(NGX_LOG_ERR, cycle_->log, 0,
                          "realtime: too many worker processes live to give this one a slot in zone \"%s\"",
                          conf_.zones[i]->name.c_str());
            continue;
        }
        logEvents_[i] = std::make_unique<EventSource>(log.log.wakeFd(slot), [this] { onLogEvent(); });
        hub_->openSlot(i, slot);
        if (i == 0) {
            counters_ = Counters(log.log.slotCounters(slot));
            counters_.set(word(Gauge::StartedMs), static_cast<std::uint64_t>(startedMs_));
            counters_.set(word(Gauge::Generation), conf_.generation);
            hub_->measureInto(counters_.latency());
        }
    }
}

// Not before it can serve all that may come.
void Worker::takeConnections()
{
    for (std::uint32_t i = 0; i < hub_->logCount(); i++) {
        if (hub_->log(i).slot == SharedLog::NoSlot) {
            return;
        }
    }
    takeover_->open();
}

void Worker::openBrokers()
{
    auto* core = reinterpret_cast<ngx_core_conf_t*>(ngx_get_conf(cycle_->conf_ctx, ngx_core_module));
    const ngx_int_t workers = ngx_process == NGX_PROCESS_SINGLE ? 1 : core->worker_processes;
    brokerEvents_.watch([this] { onBrokerEvent(); });
    for (const auto& broker : conf_.brokers) {
        BrokerConfig config = broker->config;
        config.node = nodeName(config);
        config.spool.maxBytes /= static_cast<std::uint64_t>(std::max<ngx_int_t>(workers, 1));
        brokers_.push_back({config.name, std::make_unique<Broker>(config, brokerEvents_)});
    }
}

// Nodes on one machine must differ, and so must two lives of one, since the second does not know what the first had.
std::string Worker::nodeName(const BrokerConfig& config) const
{
    if (!config.cluster || !config.clusterNode.empty()) {
        return config.cluster ? config.clusterNode : config.node;
    }
    char suffix[24];
    std::snprintf(suffix, sizeof(suffix), "-%08x", static_cast<unsigned>(hub_->log(0).log.identity()));
    return config.node + suffix;
}

void Worker::openCluster()
{
    for (const NamedBroker& one : brokers_) {
        if (one.broker->config().cluster) {
            cluster_ = std::make_unique<Cluster>(*this, one.broker->config());
        }
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

// --- events in and out ------------------------------------------------------------------------------------------

// Whoever publishes there: a cache channel of the Pusher protocol remembers its last event.
Publication Worker::withFlags(const App& app, const Publication& publication)
{
    Publication kept = publication;
    if (!app.pusher.credentials.empty() && (kept.flags & record_flag::Transient) == 0 &&
        pusher::classify(kept.channel).cache) {
        kept.flags |= record_flag::Kept;
    }
    return kept;
}

Published Worker::relay(const App& app, const Publication& publication)
{
    Published published = publisher_->relay(app, withFlags(app, publication));
    if (published.status == PublishStatus::Published && published.subscribers > 0) {
        drainSoon();
    }
    return published;
}

Published Worker::publish(const App& app, const Publication& publication)
{
    Published published = publisher_->publish(app, withFlags(app, publication));
    if (published.stores > 0) {
        rouseBrokers_.atTurnEnd(); // before drainSoon(): the longer way first
    }
    if (!published.handBack.empty() && publication.token != 0) {
        ordered_->expect(app, publication.channel, published, publication.token);
    }
    if (published.status == PublishStatus::Published && published.subscribers > 0) {
        drainSoon();
    }
    return published;
}

AppendResult Worker::append(std::uint32_t index, const NewRecord& record)
{
    HubLog& log = hub_->log(index);
    AppendResult result = log.log.append(record, log.slot, *log.wakeUp);
    drainSoon();
    return result;
}

bool Worker::readKept(std::uint32_t index, ChannelRef channel, RecordArena& arena, LogRecord& record)
{
    const SharedLog& log = hub_->log(index).log;
    auto info = log.info(channel);
    return info && info->keptPosition != 0 && log.readAt(info->keptPosition, arena, record) &&
           record.id.epoch == channel.epoch && nowMs() - record.timeMs < KeptMs;
}

JoinResult Worker::join(Subscriber& subscriber, const App& app, std::span<const std::string_view> channels,
                        const Since& since)
{
    std::vector<ChannelRequest> requests;
    requests.reserve(channels.size());
    for (std::string_view channel : channels) {
        ChannelPolicy policy = app.policyOf(channel);
        requests.push_back({app.id, channel, policy.log, policy.history, policy.stream});
    }
    return hub_->join(subscriber, requests, since, nowMs());
}

void Worker::onLogEvent()
{
    // After what else this turn of the loop brings in: what comes together goes out together.
    turnEnd_.atTurnEnd();
}

void Worker::onTurnEnd()
{
    if (hub_->drain()) {
        nextTurn_.inNextTurn();
    }
    publishHubStats();
    ordered_->tellPublishers();
    while (!toFinish_.empty()) {
        Outlet* outlet = toFinish_.back();
        toFinish_.pop_back();
        outlet->finishPending_ = false;
        outlet->finish();
    }
}

void Worker::onNextTurn()
{
    std::vector<Outlet*> pump;
    pump.swap(toPump_);
    for (Outlet* outlet : pump) {
        outlet->pumpPending_ = false;
    }
    // pump() flushes, and a flush asks for the next one: those go to toPump_ again.
    for (Outlet* outlet : pump) {
        hub_->pump(*outlet, nowMs());
    }
    onTurnEnd();
}

void Worker::pumpLater(Outlet& outlet)
{
    if (!outlet.pumpPending_) {
        outlet.pumpPending_ = true;
        toPump_.push_back(&outlet);
        nextTurn_.inNextTurn();
    }
}

void Worker::finishLater(Outlet& outlet)
{
    if (!outlet.finishPending_) {
        outlet.finishPending_ = true;
        toFinish_.push_back(&outlet);
        turnEnd_.atTurnEnd();
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
    if (outlet.finishPending_) {
        std::erase(toFinish_, &outlet);
    }
}

// --- brokers ----------------------------------------------------------------------------------------------------

void Worker::rouseBrokers()
{
    for (NamedBroker& one : brokers_) {
        one.broker->rouse();
    }
}

bool Worker::storing() const
{
    return std::any_of(brokers_.begin(), brokers_.end(), [](const NamedBroker& one) {
        const BrokerStats stats = one.broker->stats();
        return stats.state == BrokerState::Up && stats.queuedEvents > 0;
    });
}

std::uint64_t Worker::expectAck(AckWaiter& waiter)
{
    waiters_.emplace(++lastToken_, &waiter);
    return lastToken_;
}

void Worker::forgetAck(std::uint64_t token)
{
    waiters_.erase(token);
    ordered_->forgetToken(token);
}

void Worker::handedBack(std::uint64_t token, const MessageId& id, std::uint32_t subscribers)
{
    if (const auto waiter = waiters_.find(token); waiter != waiters_.end()) {
        AckWaiter& who = *waiter->second;
        who.placed(token, id, subscribers);
        who.stored(token, true);
    }
}

void Worker::tear(const std::function<bool(const App&, std::string_view channel)>& concerned)
{
    struct Tear final : SharedLog::ChannelVisitor {
        const MainConf* conf = nullptr;
        HubLog* log = nullptr;
        const std::function<bool(const App&, std::string_view)>* concerned = nullptr;
        bool visit(const SharedLog::ChannelRow& row) override
        {
            const AppConf* app = conf->app(row.app);
            if (app != nullptr && (row.info.subscribers > 0 || row.info.lastOffset > 0) &&
                (*concerned)(app->app, row.channel)) {
                NewRecord notice;
                notice.app = row.app;
                notice.channel = row.channel;
                notice.event = "gap";
                notice.timeMs = nowMs();
                notice.flags = record_flag::Internal | record_flag::Transient | record_flag::Control;
                log->log.tear(row.info.channel, notice, *log->wakeUp);
            }
            return true;
        }
    };
    Tear tear;
    tear.conf = &conf_;
    tear.concerned = &concerned;
    for (std::uint32_t i = 0; i < hub_->logCount(); i++) {
        tear.log = &hub_->log(i);
        tear.log->log.forEachChannel(tear);
    }
    drainSoon();
}

void Worker::onBrokerEvent()
{
    std::vector<Completion> completions;
    for (NamedBroker& one : brokers_) {
        one.broker->takeCompletions(completions);
    }
    for (const Completion& completion : completions) {
        auto waiter = waiters_.find(completion.token); // it may have left: client gone, time over
        if (waiter != waiters_.end()) {
            waiter->second->stored(completion.token, completion.stored);
        }
    }
    if (cluster_ != nullptr) {
        cluster_->take();
    }
    ordered_->take();
    logNotes();
}

void Worker::logNotes()
{
    std::vector<Note> notes;
    for (NamedBroker& one : brokers_) {
        one.broker->takeNotes(notes);
        for (const Note& note : notes) {
            log("broker \"" + one.name + '"', note);
        }
        notes.clear();
    }
    if (cluster_ != nullptr) {
        cluster_->takeNotes(notes);
    }
    if (ordered_ != nullptr) {
        ordered_->takeNotes(notes);
    }
    for (const Note& note : notes) {
        log("broker", note);
    }
    notes.clear();
    if (pusherChannels_ != nullptr) {
        pusherChannels_->takeNotes(notes);
    }
    for (const Note& note : notes) {
        log("webhook", note);
    }
}

void Worker::log(std::string_view source, const Note& note)
{
    constexpr std::array<ngx_uint_t, 4> Levels{NGX_LOG_INFO, NGX_LOG_NOTICE, NGX_LOG_WARN, NGX_LOG_ERR};
    ngx_str_t name = borrow(source);
    ngx_log_error(Levels[static_cast<std::size_t>(note.level)], cycle_->log, 0, "realtime %V: %s", &name,
                  note.text.c_str());
}

// --- apps -------------------------------------------------------------------------------------------------------

void Worker::countAppConnection(const App& app, int change)
{
    if (app.pusher.maxConnections != 0) {
        std::size_t at = word(AppGauge{app.pusher.connectionRow});
        counters_.set(at, counters_.get(at) + static_cast<std::uint64_t>(static_cast<std::int64_t>(change)));
    }
}

std::uint64_t Worker::appConnections(const App& app) const
{
    const SharedLog& log = hub_->log(0).log;
    std::uint64_t sum = 0;
    for (std::uint32_t slot = 0; slot < log.slots(); slot++) {
        if (log.slotInUse(slot)) {
            sum += log.slotCounters(slot)[word(AppGauge{app.pusher.connectionRow})].load(
                std::memory_order_relaxed);
        }
    }
    return sum;
}

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

// --- time -------------------------------------------------------------------------------------------------------

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
    for (auto& endpoint : endpoints_) {
        keepAlive(*endpoint);
    }
    while (IdleNode* node = closing_.due(ngx_current_msec, CloseWait)) {
        static_cast<Outlet*>(node)->closeWaitOver();
    }
    checkAuthorizations();
    pusherChannels_->reap();
    pusherChannels_->tick();
    if (cluster_ != nullptr) {
        cluster_->tick();
    }
    ordered_->tick();
    claimMissingSlots();
    publishStats();
    activity_.tick();
    logNotes();
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

void Worker::drainLater(Outlet& outlet)
{
    if (draining_.empty()) {
        drainStart_ = ngx_current_msec;
        drain_.after(DrainStep, true);
    }
    draining_.push(outlet, ngx_current_msec);
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
    if (!draining_.empty() || !closing_.empty()) {
        drain_.after(DrainStep, true); // good-byes must get out before the process ends
    }
}

// After each turn, so that who looks every second sees the events of a second.
void Worker::publishHubStats()
{
    HubStats now = hub_->stats();
    counters_.add(Counter::Delivered, now.delivered - countedHubStats_.delivered);
    counters_.add(Counter::Gaps, now.gaps - countedHubStats_.gaps);
    counters_.add(Counter::Overtaken, now.overtaken - countedHubStats_.overtaken);
    counters_.set(word(Gauge::Channels), now.channels);
    counters_.add(Counter::DeliveryWaited, now.waited - countedHubStats_.waited);
    counters_.add(Counter::DeflateIn, now.deflated.in - countedHubStats_.deflated.in);
    counters_.add(Counter::DeflateOut, now.deflated.out - countedHubStats_.deflated.out);
    countedHubStats_ = now;
}

void Worker::publishStats()
{
    publishHubStats();
    publishWebhookStats();
    counters_.set(word(Gauge::Draining), ngx_exiting != 0 ? 1 : 0);

    for (std::size_t i = 0; i < brokers_.size(); i++) {
        BrokerStats stats = brokers_[i].broker->stats();
        counters_.set(word(i, BrokerCounter::Offered), stats.offered);
        counters_.set(word(i, BrokerCounter::Confirmed), stats.confirmed);
        counters_.set(word(i, BrokerCounter::Failed), stats.failed);
        counters_.set(word(i, BrokerCounter::Refused), stats.refused);
        counters_.set(word(i, BrokerCounter::Reconnects), stats.reconnects);
        counters_.set(word(i, BrokerGauge::State), static_cast<std::uint64_t>(stats.state));
        counters_.set(word(i, BrokerGauge::QueuedEvents), stats.queuedEvents);
        counters_.set(word(i, BrokerGauge::QueuedBytes), stats.queuedBytes);
        counters_.set(word(i, BrokerGauge::SpoolEvents), stats.spoolEvents);
        counters_.set(word(i, BrokerGauge::SpoolBytes), stats.spoolBytes);
        counters_.set(word(i, BrokerGauge::SpoolFailed), stats.spoolFailed ? 1 : 0);
    }
}

void Worker::publishWebhookStats()
{
    const WebhookSender* sender = pusherChannels_ != nullptr ? pusherChannels_->webhooks() : nullptr;
    if (sender == nullptr) {
        return;
    }
    WebhookStats sum;
    std::uint64_t failing = 0;
    for (std::size_t i = 0; i < sender->endpoints().size(); i++) {
        WebhookStats stats = sender->stats(i);
        sum.queued += stats.queued;
        sum.sent += stats.sent;
        sum.refused += stats.refused;
        sum.dropped += stats.dropped;
        sum.failedAttempts += stats.failedAttempts;
        failing += stats.failing ? 1 : 0;
    }
    counters_.set(word(Counter::WebhooksSent), sum.sent);
    counters_.set(word(Counter::WebhooksRefused), sum.refused);
    counters_.set(word(Counter::WebhooksDropped), sum.dropped);
    counters_.set(word(Counter::WebhookFailures), sum.failedAttempts);
    counters_.set(word(Gauge::WebhooksQueued), sum.queued);
    counters_.set(word(Gauge::WebhooksFailing), failing);
}

} // namespace realtime
