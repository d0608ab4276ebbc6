#include "node/pusher_channels.hpp"

#include "node/node.hpp"

#include "wire/pusher_channel.hpp"

namespace realtime {

using pusher::WebhookEvent;
using pusher::WebhookName;

namespace {

constexpr Msec MissPause = 1000; // of cache_miss webhooks of one channel

NewRecord internalRecord(std::int64_t timeMs, std::string_view app, std::string_view channel,
                         std::string_view event, std::string_view data)
{
    NewRecord record;
    record.app = app;
    record.channel = channel;
    record.event = event;
    record.data = data;
    record.timeMs = timeMs;
    record.flags = record_flag::Internal | record_flag::Transient;
    return record;
}

WebhookEvent webhookEvent(WebhookName name, std::string_view channel, std::string_view userId = {})
{
    WebhookEvent event;
    event.name = name;
    event.channel = channel;
    event.userId = userId;
    return event;
}

bool isUserChannel(std::string_view channel)
{
    return channel.starts_with('#');
}

} // namespace

PusherChannels::PusherChannels(Node& node)
    : node_(node),
      departing_(node.loop().task([this] { departDue(); })), changed_{CountDelay, node.loop().task([this] {
                                                                          countDue(changed_);
                                                                      })},
      paused_{CountPause, node.loop().task([this] { countDue(paused_); })},
      longPaused_{LongCountPause, node.loop().task([this] { countDue(longPaused_); })}, announcements_(node)
{
    std::vector<WebhookEndpoint> endpoints;
    for (const App* app : node.config().apps) {
        for (const WebhookTarget& target : app->pusher.webhooks) {
            WebhookEndpoint endpoint;
            endpoint.app = app->id;
            endpoint.url = target.url;
            endpoint.events = target.events;
            endpoint.key = app->pusher.credentials.front().key;
            endpoint.secret = app->pusher.credentials.front().secret;
            endpoints.push_back(std::move(endpoint));
        }
    }
    if (!endpoints.empty()) {
        sender_ = std::make_unique<WebhookSender>(std::move(endpoints), node.threadEvents());
    }
}

PusherChannels::~PusherChannels() = default;

std::string PusherChannels::userChannel(std::string_view userId)
{
    return std::string(pusher::ServerToUserPrefix) + std::string(userId);
}

// No client can subscribe to it, and no REST call publish there: '#' is reserved.
std::string PusherChannels::watchChannel(std::string_view userId)
{
    return "#watch-" + std::string(userId);
}

// --- subscriptions ----------------------------------------------------------------------------------------------

void PusherChannels::subscribed(const App& app, const Subscription& subscription)
{
    tellOccupied(app, *subscription.channel);
    countChanged(app, subscription.channel->name);
}

void PusherChannels::tellOccupied(const App& app, const LocalChannel& channel)
{
    if (hasWebhooks(app) && !isUserChannel(channel.name) &&
        node_.hub().log(channel.log).log.tellOccupied(channel.ref)) {
        tell(app, webhookEvent(WebhookName::ChannelOccupied, channel.name));
    }
}

void PusherChannels::left(const App& app, std::string_view channel, ChannelRef ref, std::uint32_t log,
                          std::uint32_t subscribers)
{
    if (subscribers > 0) {
        countChanged(app, channel);
    }
    // Those of other nodes may be on their way out as well: whoever goes last cannot know that it does.
    const bool none = subscribers == 0 ||
                      (node_.cluster() != nullptr && node_.hub().log(log).log.localSubscribers(ref) == 0);
    if (none && hasWebhooks(app) && !isUserChannel(channel)) {
        departLater(app, channel, {});
    }
}

void PusherChannels::countChanged(const App& app, std::string_view channel, bool quiet)
{
    if (!app.pusher.subscriptionCount || isUserChannel(channel) || pusher::classify(channel).presence) {
        return;
    }
    const auto [count, fresh] = counts_.try_emplace({app.id, std::string(channel)});
    if (fresh) {
        countLater(changed_, count);
    }
    count->second.quiet = quiet && (count->second.quiet || !count->second.changed);
    count->second.changed = true;
}

void PusherChannels::countLater(CountQueue& queue, Counts::iterator count)
{
    if (queue.waiting.empty()) {
        queue.task->after(queue.time);
    }
    queue.waiting.emplace_back(node_.loop().ticks(), count);
}

void PusherChannels::countDue(CountQueue& queue)
{
    while (!queue.waiting.empty() && node_.loop().elapsed(queue.waiting.front().first, queue.time)) {
        const Counts::iterator count = queue.waiting.front().second;
        queue.waiting.pop_front();
        const auto& [name, state] = *count;
        const App* app = appOf(name.first);
        const std::uint32_t subscribers =
            state.changed && app != nullptr ? announceCount(*app, name.second, state.quiet) : 0;
        if (subscribers == 0) {
            counts_.erase(count); // nobody is there, or its pause is over
        } else {
            count->second = {false, true};
            countLater(subscribers > ManySubscribers ? longPaused_ : paused_, count);
        }
    }
    if (!queue.waiting.empty()) {
        queue.task->after(queue.waiting.front().first + queue.time - node_.loop().ticks());
    }
}

// The record itself carries the count: the log notes it at the instant of the append. Returns it; 0: nobody is there.
std::uint32_t PusherChannels::announceCount(const App& app, std::string_view channel, bool quiet)
{
    const auto result = node_.appendIfSubscribed(
        app.policyOf(channel).log, internalRecord(node_.now(), app.id, channel, SubscriptionCountEvent, {}));
    if (result && hasWebhooks(app) && !quiet) {
        WebhookEvent event = webhookEvent(WebhookName::SubscriptionCount, channel);
        event.subscriptionCount = result->subscribers;
        tell(app, event);
    }
    return result ? result->subscribers : 0;
}

// --- presence ---------------------------------------------------------------------------------------------------

MemberJoined PusherChannels::join(const App& app, const Subscription& subscription, std::string_view userId,
                                  std::string_view info)
{
    const LocalChannel& channel = *subscription.channel;
    info = info.empty() ? std::string_view("{}") : info;
    const PresenceRecord record(node_.now(), app.id, channel.name, userId, info);

    HubLog& log = node_.hub().log(channel.log);
    MemberJoined joined =
        log.log.joinMember(log.slot, channel.ref, userId, info, app.pusher.presenceMembers, record.get(),
                           *log.wakeUp, announcements_.atOnce(channel.log, channel.ref));
    announcements_.changed(channel.log, channel.ref, joined.telling);
    if (joined.first) {
        tellOccupied(app, channel); // in that order
    }
    if (joined.first && hasWebhooks(app) && log.log.tellMemberAdded(channel.ref, userId)) {
        tell(app, webhookEvent(WebhookName::MemberAdded, channel.name, userId));
    }
    return joined;
}

void PusherChannels::leave(const App& app, std::string_view channel, ChannelRef ref, std::uint32_t index,
                           std::string_view userId)
{
    const PresenceRecord record(node_.now(), app.id, channel, userId, std::nullopt);
    HubLog& log = node_.hub().log(index);
    const MemberLeft left = log.log.leaveMember(log.slot, ref, userId, record.get(), *log.wakeUp,
                                                announcements_.atOnce(index, ref));
    announcements_.changed(index, ref, left.telling);
    if ((left.last || node_.cluster() != nullptr) && hasWebhooks(app)) {
        departLater(app, channel, userId);
    }
}

bool PusherChannels::move(const Subscription& subscription, std::string_view userId, const SlotOwner& from)
{
    HubLog& log = node_.hub().log(subscription.channel->log);
    return log.log.moveMember(from, log.slot, subscription.channel->ref, userId);
}

// --- users ------------------------------------------------------------------------------------------------------

std::uint32_t PusherChannels::userConnections(const App& app, std::string_view userId) const
{
    std::string channel = userChannel(userId);
    auto info = node_.hub().log(app.policyOf(channel).log).log.find(app.id, channel);
    return info ? info->subscribers : 0;
}

// Tells nothing but to look: what the watchers then find is true whatever the order in which things came.
void PusherChannels::userChanged(const App& app, std::string_view userId)
{
    std::string channel = watchChannel(userId);
    if (app.pusher.watchlist) {
        NewRecord record = internalRecord(node_.now(), app.id, channel, "watch", {});
        record.flags |= record_flag::Control;
        node_.appendIfSubscribed(app.policyOf(channel).log, record);
    }
}

void PusherChannels::terminate(const App& app, std::string_view userId)
{
    std::string channel = userChannel(userId);
    NewRecord record = internalRecord(node_.now(), app.id, channel, "terminate", {});
    record.flags |= record_flag::Control;
    node_.appendIfSubscribed(app.policyOf(channel).log, record);
}

// --- other nodes ------------------------------------------------------------------------------------------------

void PusherChannels::peerSubscribers(const App& app, std::string_view channel, std::uint32_t log,
                                     const SharedLog::PeerChange& change)
{
    const bool nowOccupied = change.before == 0 && change.after > 0;
    const bool nowVacated = change.before > 0 && change.after == 0;
    if (auto userId = pusher::serverToUserId(channel)) {
        if (nowOccupied || nowVacated) {
            userChanged(app, *userId);
        }
        return;
    }
    if (hasWebhooks(app) && nowOccupied) {
        node_.hub().log(log).log.tellOccupied(change.channel);
    }
    if (hasWebhooks(app) && nowVacated) {
        departLater(app, channel, {}, true);
    }
    if (change.before != change.after && change.after > 0) {
        countChanged(app, channel, true);
    }
}

void PusherChannels::peerMember(const App& app, std::uint32_t slot, std::uint32_t index,
                                std::string_view channel, ChannelRef ref, std::string_view userId,
                                std::string_view info, bool present)
{
    info = info.empty() ? std::string_view("{}") : info;
    const PresenceRecord record(node_.now(), app.id, channel, userId,
                                present ? std::optional(info) : std::nullopt);
    HubLog& log = node_.hub().log(index);
    const auto change = log.log.setPeerMember(slot, ref, userId, info, present, record.get(), *log.wakeUp,
                                              announcements_.atOnce(index, ref));
    announcements_.changed(index, ref, change.telling);
    if (!change.changed) {
        return;
    }
    if (hasWebhooks(app) && present) {
        log.log.tellMemberAdded(ref, userId);
    } else if (hasWebhooks(app)) {
        departLater(app, channel, userId, true);
    }
}

void PusherChannels::forgetPeer(std::string_view node, bool tells)
{
    quietReaping_ = !tells;
    for (std::uint32_t i = 0; i < node_.hub().logCount(); i++) {
        HubLog& log = node_.hub().log(i);
        log.log.releasePeer(node, this, *log.wakeUp);
    }
    quietReaping_ = false;
    node_.drainSoon();
}

// --- webhooks ---------------------------------------------------------------------------------------------------

void PusherChannels::cacheMiss(const App& app, std::string_view channel)
{
    if (!hasWebhooks(app)) {
        return;
    }
    auto [last, first] = misses_.try_emplace({app.id, std::string(channel)}, node_.loop().ticks());
    if (first || node_.loop().elapsed(last->second, MissPause)) {
        last->second = node_.loop().ticks();
        tell(app, webhookEvent(WebhookName::CacheMiss, channel));
    }
}

void PusherChannels::clientEvent(const App& app, std::string_view channel, std::string_view event,
                                 std::string_view data, std::string_view socketId, std::string_view userId)
{
    if (hasWebhooks(app)) {
        WebhookEvent told = webhookEvent(WebhookName::ClientEvent, channel, userId);
        told.event = event;
        told.data = data;
        told.socketId = socketId;
        tell(app, told);
    }
}

void PusherChannels::tell(const App& app, const WebhookEvent& event)
{
    for (std::size_t i = 0; sender_ != nullptr && i < sender_->endpoints().size(); i++) {
        const WebhookEndpoint& endpoint = sender_->endpoints()[i];
        if (endpoint.app == app.id && endpoint.wants(event.name, event.channel)) {
            sender_->offer(i, event, node_.now()); // a full queue is counted, and noted by the sender
        }
    }
}

void PusherChannels::departLater(const App& app, std::string_view channel, std::string_view userId,
                                 bool quiet)
{
    if (departures_.empty()) {
        departing_->after(Grace, true); // whoever is to tell of it must not end before
    }
    departures_.push_back(
        {node_.loop().ticks() + Grace, app.id, std::string(channel), std::string(userId), quiet});
}

void PusherChannels::depart(const Departure& departure)
{
    const App* app = appOf(departure.app);
    if (app == nullptr) {
        return;
    }
    const SharedLog& log = node_.hub().log(app->policyOf(departure.channel).log).log;
    auto info = log.find(departure.app, departure.channel);
    if (!info) {
        return;
    }
    SharedLog& writable = node_.hub().log(app->policyOf(departure.channel).log).log;
    if (departure.userId.empty()) {
        if (writable.tellVacated(info->channel) && !departure.quiet) {
            tell(*app, webhookEvent(WebhookName::ChannelVacated, departure.channel));
        }
    } else if (writable.tellMemberRemoved(info->channel, departure.userId) && !departure.quiet) {
        tell(*app, webhookEvent(WebhookName::MemberRemoved, departure.channel, departure.userId));
    }
}

void PusherChannels::departDue()
{
    while (!departures_.empty() && node_.loop().elapsed(departures_.front().due, 0)) {
        Departure departure = std::move(departures_.front());
        departures_.pop_front();
        depart(departure);
    }
    if (!departures_.empty()) {
        departing_->after(departures_.front().due - node_.loop().ticks(), true);
    }
}

void PusherChannels::tick()
{
    announcements_.tick();
    std::erase_if(misses_, [this](const auto& one) { return node_.loop().elapsed(one.second, MissPause); });
}

// --- after a crash ----------------------------------------------------------------------------------------------

void PusherChannels::reap()
{
    std::uint32_t dead = 0;
    for (std::uint32_t i = 0; i < node_.hub().logCount(); i++) {
        HubLog& log = node_.hub().log(i);
        dead += log.log.reclaimDeadSlots(this, log.wakeUp);
    }
    if (dead != 0 || !std::exchange(adopted_, true)) { // at first: others may have cleaned up after the dead
        announcements_.adopt();
    }
}

bool PusherChannels::onMemberGone(std::string_view app, std::string_view channel, std::string_view userId,
                                  NewRecord& announcement)
{
    announcement = removal_.emplace(node_.now(), app, channel, userId, std::nullopt).get();
    return true;
}

void PusherChannels::memberGone(std::string_view app, std::string_view channel, std::string_view userId)
{
    node_.drainSoon();
    const App* known = appOf(app);
    if (known != nullptr && hasWebhooks(*known)) {
        departLater(*known, channel, userId, quietReaping_);
    }
}

void PusherChannels::channelVacated(std::string_view app, std::string_view channel)
{
    const App* known = appOf(app);
    if (known == nullptr) {
        return;
    }
    if (auto userId = pusher::serverToUserId(channel)) {
        userChanged(*known, *userId);
    } else if (hasWebhooks(*known) && !isUserChannel(channel)) {
        departLater(*known, channel, {}, quietReaping_);
    }
}

const App* PusherChannels::appOf(std::string_view id) const
{
    return node_.config().app(id);
}

void PusherChannels::takeNotes(std::vector<Note>& out)
{
    if (sender_ != nullptr) {
        sender_->takeNotes(out);
    }
}

void PusherChannels::stop()
{
    announcements_.tellAll();
    for (const auto& [name, count] : counts_) {
        const App* app = appOf(name.first);
        if (count.changed && app != nullptr) { // nobody else knows that it was to be told
            announceCount(*app, name.second, count.quiet);
        }
    }
    for (CountQueue* queue : {&changed_, &paused_, &longPaused_}) {
        queue->task->cancel();
        queue->waiting.clear();
    }
    counts_.clear();
    if (sender_ != nullptr) {
        sender_->stop();
    }
}

} // namespace realtime
