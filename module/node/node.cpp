#include "node/node.hpp"

#include "broker/amqp/amqp_peer_feed.hpp"
#include "broker/amqp/amqp_stream_reader.hpp"
#include "node/cluster.hpp"
#include "node/ordered_channels.hpp"
#include "node/pusher_channels.hpp"

#include "wire/pusher_channel.hpp"

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace realtime {

const App* NodeConfig::app(std::string_view id) const
{
    const auto found = std::find_if(apps.begin(), apps.end(), [id](const App* app) { return app->id == id; });
    return found == apps.end() ? nullptr : *found;
}

std::unique_ptr<PeerFeed> NodeLinks::amqpPeerFeed(const BrokerConfig& config, LoopWakeUp& wakeUp)
{
    return std::make_unique<AmqpPeerFeed>(config, wakeUp);
}

std::unique_ptr<StreamReader> NodeLinks::amqpStreamReader(const BrokerConfig& config, std::string queue,
                                                          LoopWakeUp& wakeUp)
{
    return std::make_unique<AmqpStreamReader>(config, std::move(queue), wakeUp);
}

Node::Node(EventLoop& loop, NodeConfig config, const NodeLinks& links)
    : loop_(loop), config_(std::move(config)), counters_(ownWords_), startedMs_(loop.nowMs()),
      activity_(*this), turnEnd_(loop.task([this] { deliver(); })),
      nextTurn_(loop.task([this] { deliver(); })), rouseBrokers_(loop.task([this] { rouseBrokers(); }))
{
    openLogs();
    openBrokers(links.stores);
    publisher_ = std::make_unique<Publisher>(*hub_, brokers_);
    pusherChannels_ = std::make_unique<PusherChannels>(*this);
    // Before claimSlot() does the same without a word: this may be the successor of a worker that crashed.
    pusherChannels_->reap();
    claimMissingSlots();
    openCluster(links.peers);
    ordered_ = std::make_unique<OrderedChannels>(*this, links.streams);
    publishStats();
}

Node::~Node() = default;

void Node::stop(bool release)
{
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
    for (std::uint32_t i = 0; release && i < hub_->logCount(); i++) {
        HubLog& log = hub_->log(i);
        if (log.slot != SharedLog::NoSlot) {
            log.log.releaseSlot(log.slot);
        }
    }
}

void Node::openLogs()
{
    std::vector<HubLog> logs;
    for (const NodeConfig::Zone& zone : config_.zones) {
        auto log = SharedLog::attach(zone.memory);
        if (!log) {
            throw std::runtime_error("zone \"" + std::string(zone.name) + "\" holds no log");
        }
        log->declareApps(zone.quotas);
        wakeUps_.push_back(std::make_unique<LogWakeUp>(*log));
        logs.push_back({*log, SharedLog::NoSlot, wakeUps_.back().get()});
    }
    logEvents_.resize(logs.size());
    hub_ = std::make_unique<Hub>(std::move(logs));
}

// A storm of reloads may leave more workers alive than a zone has slots: then this one serves no subscribers of it
// until one is free.
void Node::claimMissingSlots()
{
    for (std::uint32_t i = 0; i < hub_->logCount(); i++) {
        HubLog& log = hub_->log(i);
        if (log.slot != SharedLog::NoSlot) {
            continue;
        }
        std::uint32_t slot = log.log.claimSlot();
        if (slot == SharedLog::NoSlot) {
            loop_.log(
                {Note::Level::Error, "too many worker processes live to give this one a slot in zone \"" +
                                         std::string(config_.zones[i].name) + '"'});
            continue;
        }
        logEvents_[i] = loop_.watch(log.log.wakeFd(slot), [this] { drainSoon(); });
        hub_->openSlot(i, slot);
        if (i == 0) {
            counters_ = Counters(log.log.slotCounters(slot));
            counters_.set(word(Gauge::StartedMs), static_cast<std::uint64_t>(startedMs_));
            counters_.set(word(Gauge::Generation), config_.generation);
            hub_->measureInto(counters_.latency());
        }
    }
}

bool Node::hasSlots() const
{
    for (std::uint32_t i = 0; i < hub_->logCount(); i++) {
        if (hub_->log(i).slot == SharedLog::NoSlot) {
            return false;
        }
    }
    return true;
}

void Node::openBrokers(const LinkFactory& stores)
{
    threadEvents_.watch(loop_, [this] { onThreadEvent(); });
    for (const BrokerConfig* broker : config_.brokers) {
        BrokerConfig config = *broker;
        config.node = nodeName(config);
        config.spool.maxBytes /= std::max(config_.workers, 1U);
        brokers_.push_back({config.name, std::make_unique<Broker>(config, threadEvents_, stores)});
    }
}

// Nodes on one machine must differ, and so must two lives of one, since the second does not know what the first had.
std::string Node::nodeName(const BrokerConfig& config) const
{
    if (!config.cluster || !config.clusterNode.empty()) {
        return config.cluster ? config.clusterNode : config.node;
    }
    char suffix[24];
    std::snprintf(suffix, sizeof(suffix), "-%08x", static_cast<unsigned>(hub_->log(0).log.identity()));
    return config.node + suffix;
}

void Node::openCluster(const PeerFeedFactory& peers)
{
    for (const NamedBroker& one : brokers_) {
        if (one.broker->config().cluster) {
            const BrokerConfig& config = one.broker->config();
            cluster_ = std::make_unique<Cluster>(*this, config, peers(config, threadEvents_));
        }
    }
}

// --- events in and out ------------------------------------------------------------------------------------------

// Whoever publishes there: a cache channel of the Pusher protocol remembers its last event.
Publication Node::withFlags(const App& app, const Publication& publication)
{
    Publication kept = publication;
    if (!app.pusher.credentials.empty() && (kept.flags & record_flag::Transient) == 0 &&
        pusher::classify(kept.channel).cache) {
        kept.flags |= record_flag::Kept;
    }
    return kept;
}

Published Node::relay(const App& app, const Publication& publication)
{
    Published published = publisher_->relay(app, withFlags(app, publication));
    if (published.status == PublishStatus::Published && published.subscribers > 0) {
        drainSoon();
    }
    return published;
}

Published Node::publish(const App& app, const Publication& publication)
{
    Published published = publisher_->publish(app, withFlags(app, publication));
    if (published.stores > 0) {
        rouseBrokers_->atTurnEnd(); // before drainSoon(): the longer way first
    }
    if (!published.handBack.empty() && publication.token != 0) {
        ordered_->expect(app, publication.channel, published, publication.token);
    }
    if (published.status == PublishStatus::Published && published.subscribers > 0) {
        drainSoon();
    }
    return published;
}

std::optional<AppendResult> Node::appendIfSubscribed(std::uint32_t index, const NewRecord& record)
{
    HubLog& log = hub_->log(index);
    auto result = log.log.appendIfSubscribed(record, log.slot, *log.wakeUp);
    if (result) {
        drainSoon();
    }
    return result;
}

bool Node::readKept(std::uint32_t index, ChannelRef channel, RecordArena& arena, LogRecord& record)
{
    const SharedLog& log = hub_->log(index).log;
    auto info = log.info(channel);
    return info && info->keptPosition != 0 && log.readAt(info->keptPosition, arena, record) &&
           record.id.epoch == channel.epoch && now() - record.timeMs < KeptMs;
}

JoinResult Node::join(Subscriber& subscriber, const App& app, std::span<const std::string_view> channels,
                      const Since& since)
{
    std::vector<ChannelRequest> requests;
    requests.reserve(channels.size());
    for (std::string_view channel : channels) {
        ChannelPolicy policy = app.policyOf(channel);
        requests.push_back({app.id, channel, policy.log, policy.history, policy.stream});
    }
    return hub_->join(subscriber, requests, since, now());
}

void Node::drainNow()
{
    if (hub_->drain()) {
        nextTurn_->inNextTurn();
    }
}

void Node::deliver()
{
    drainNow();
    publishHubStats();
    ordered_->tellPublishers();
    delivered();
}

// --- brokers ----------------------------------------------------------------------------------------------------

void Node::rouseBrokers()
{
    for (NamedBroker& one : brokers_) {
        one.broker->rouse();
    }
}

bool Node::storing() const
{
    return std::any_of(brokers_.begin(), brokers_.end(), [](const NamedBroker& one) {
        const BrokerStats stats = one.broker->stats();
        return stats.state == BrokerState::Up && stats.queuedEvents > 0;
    });
}

std::uint64_t Node::expectAck(AckWaiter& waiter)
{
    waiters_.emplace(++lastToken_, &waiter);
    return lastToken_;
}

void Node::forgetAck(std::uint64_t token)
{
    waiters_.erase(token);
    ordered_->forgetToken(token);
}

void Node::handedBack(std::uint64_t token, const MessageId& id, std::uint32_t subscribers)
{
    if (const auto waiter = waiters_.find(token); waiter != waiters_.end()) {
        AckWaiter& who = *waiter->second;
        who.placed(token, id, subscribers);
        who.stored(token, true);
    }
}

void Node::tear(const std::function<bool(const App&, std::string_view channel)>& concerned)
{
    struct Tear final : SharedLog::ChannelVisitor {
        const Node* node = nullptr;
        HubLog* log = nullptr;
        const std::function<bool(const App&, std::string_view)>* concerned = nullptr;
        bool visit(const SharedLog::ChannelRow& row) override
        {
            const App* app = node->config_.app(row.app);
            if (app != nullptr && (row.info.subscribers > 0 || row.info.lastOffset > 0) &&
                (*concerned)(*app, row.channel)) {
                NewRecord notice;
                notice.app = row.app;
                notice.channel = row.channel;
                notice.event = "gap";
                notice.timeMs = node->now();
                notice.flags = record_flag::Internal | record_flag::Transient | record_flag::Control;
                log->log.tear(row.info.channel, notice, *log->wakeUp);
            }
            return true;
        }
    };
    Tear tear;
    tear.node = this;
    tear.concerned = &concerned;
    for (std::uint32_t i = 0; i < hub_->logCount(); i++) {
        tear.log = &hub_->log(i);
        tear.log->log.forEachChannel(tear);
    }
    drainSoon();
}

void Node::onThreadEvent()
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

void Node::logNotes()
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

void Node::log(std::string_view source, Note note)
{
    note.text.insert(0, std::string(source) + ": ");
    loop_.log(note);
}

// --- apps -------------------------------------------------------------------------------------------------------

void Node::countAppConnection(const App& app, int change)
{
    if (app.pusher.maxConnections != 0) {
        std::size_t at = word(AppGauge{app.pusher.connectionRow});
        counters_.set(at, counters_.get(at) + static_cast<std::uint64_t>(static_cast<std::int64_t>(change)));
    }
}

std::uint64_t Node::appConnections(const App& app) const
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

// --- time -------------------------------------------------------------------------------------------------------

void Node::tick()
{
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
}

// After each turn, so that who looks every second sees the events of a second.
void Node::publishHubStats()
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

void Node::publishStats()
{
    publishHubStats();
    publishWebhookStats();
    counters_.set(word(Gauge::Draining), loop_.exiting() ? 1 : 0);

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

void Node::publishWebhookStats()
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
