#include "app/publisher.hpp"

#include "base/hmac.hpp"
#include "base/random.hpp"
#include "wire/pusher_channel.hpp"

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstring>

namespace realtime {

namespace {

PublishStatus statusOf(Offer offer)
{
    return offer == Offer::Full ? PublishStatus::BrokerFull : PublishStatus::BrokerAway;
}

std::string_view eventOf(const Publication& publication)
{
    return publication.event.empty() ? std::string_view("message") : publication.event;
}

// All of it, see Broker::next().
void fill(BrokerEvent& event, const App& app, const Publication& publication, const BrokerRoute& route,
          const ChannelPolicy& policy, std::string_view messageId)
{
    event.messageId = messageId;
    event.app = app.id;
    event.channel = publication.channel;
    event.event = eventOf(publication);
    event.contentType = publication.contentType;
    event.data = publication.data;
    if (route.routingKey) {
        event.routingKey =
            route.routingKey->expand(app.id, publication.channel, event.event, policy.captures);
    } else {
        event.routingKey = publication.channel;
    }
    event.exchange = route.exchange;
    event.node.clear();
    event.worker.clear();
    event.life.clear();
    event.userId = publication.userId;
    event.socketId = publication.origin;
    event.timeMs = publication.timeMs;
    event.token = publication.token;
    event.needsConfirm = publication.needsConfirm;
}

// An event's name before it has an id. A repeat under the same idempotency key gets the same one, so that whoever hears
// both knows them for one, on every node. All nodes come to the same without a secret: hence a hash for which nobody finds
// two texts. It begins with whose it is.
std::string messageIdFor(const App& app, const Publication& publication)
{
    std::array<std::uint64_t, 2> id{};
    if (publication.idempotencyKey.empty()) {
        id = drawRandom<decltype(id)>();
    } else {
        std::string text(1, static_cast<char>('0' + static_cast<int>(publication.keyOwner)));
        text.append(app.id).append(1, '\0').append(publication.channel).append(1, '\0');
        text += publication.idempotencyKey;
        const Sha256Digest digest = hmacSha256("nginx-realtime message", text);
        std::memcpy(id.data(), digest.data(), sizeof(id));
    }
    char text[40];
    const int length = std::snprintf(text, sizeof(text), "%c-%016" PRIx64 "%016" PRIx64,
                                     publication.keyOwner == KeyOwner::Client ? 'c' : 's', id[0], id[1]);
    return {text, static_cast<std::size_t>(length)};
}

// For so long who subscribes may be given the event.
std::int64_t historyMsOf(const Publication& publication, const HistoryLimit& history)
{
    const std::int64_t age = history.messages == 0 ? NoHistory : history.ageMs;
    const bool kept = (publication.flags & record_flag::Kept) != 0;
    return kept && age != 0 ? std::max(age, KeptMs) : age;
}

Published outcome(const AppendResult& appended)
{
    Published published;
    published.id = appended.id;
    published.subscribers = appended.subscribers;
    switch (appended.status) {
    case AppendStatus::Appended:
        break;
    case AppendStatus::Repeated:
        published.status = PublishStatus::Repeated;
        break;
    case AppendStatus::TooLarge:
        published.status = PublishStatus::TooLarge;
        break;
    case AppendStatus::ChannelsFull:
        published.status = PublishStatus::ChannelsFull;
        break;
    }
    return published;
}

NewRecord recordOf(const App& app, const Publication& publication, const ChannelPolicy& policy,
                   KeyOwner owner)
{
    return {
        .app = app.id,
        .channel = publication.channel,
        .event = publication.event,
        .contentType = publication.contentType,
        .data = publication.data,
        .origin = publication.origin,
        .userId = publication.userId,
        .timeMs = publication.timeMs,
        .flags = publication.flags,
        .idempotencyKey = publication.idempotencyKey,
        .keyOwner = owner,
        .historyMs = historyMsOf(publication, policy.history),
        .stream = policy.stream,
        .number = publication.number,
        .publisher = publication.publisherSlot,
    };
}

} // namespace

bool mayPublish(const App& app, const Publication& publication)
{
    if (pusher::reservedEvent(publication.event)) {
        return false;
    }
    if (!app.reserves(publication.channel)) {
        return true;
    }
    // Of what is reserved only users' channels have publishers.
    return publication.door != Door::Open && pusher::serverToUserId(publication.channel) &&
           pusher::checkChannelName(publication.channel) == pusher::NameCheck::Ok;
}

Published Publisher::publish(const App& app, const Publication& publication)
{
    Published published;
    if (!mayPublish(app, publication)) {
        published.status = PublishStatus::Reserved;
        return published;
    }
    ChannelPolicy policy = app.policyOf(publication.channel);

    // What append() would say, before a broker that is full says 'try again'.
    if (!policy.brokers->empty() && !fits(app, publication, policy)) {
        published.status = PublishStatus::TooLarge;
        return published;
    }
    for (const BrokerRoute& route : *policy.brokers) {
        Broker& broker = *find(route.broker);
        Offer offer = broker.admits(publication.data.size());
        if (offer != Offer::Queued) {
            broker.refused(offer);
            published.status = statusOf(offer);
            return published;
        }
    }

    if (policy.stream.identity != 0) {
        return toStream(app, publication, policy);
    }
    AppendResult appended = append(app, publication, policy, publication.keyOwner);
    published = outcome(appended);
    bool again = published.status == PublishStatus::Repeated && publication.token != 0;
    if (published.status != PublishStatus::Published && !again) {
        return published;
    }

    if (policy.brokers->empty()) {
        return published;
    }
    char text[MaxMessageIdBytes];
    const std::string_view messageId(text, formatMessageId(appended.id, text));
    for (const BrokerRoute& route : *policy.brokers) {
        Broker& broker = *find(route.broker);
        fill(broker.next(), app, publication, route, policy, messageId);
        published.stores += broker.offerNext() ? 1 : 0; // admitted above
    }
    return published;
}

// The stream's own completion counts as one: OrderedChannels says it when the event has come back.
Published Publisher::toStream(const App& app, const Publication& publication, const ChannelPolicy& policy)
{
    Published published;
    published.handBack = messageIdFor(app, publication);
    published.log = policy.log;
    for (const BrokerRoute& route : *policy.brokers) {
        Broker& broker = *find(route.broker);
        BrokerEvent& event = broker.next();
        fill(event, app, publication, route, policy, published.handBack);
        const bool stream = route.broker == policy.rule->stream->broker;
        if (stream) {
            const std::uint64_t life = hub_.log(policy.log).log.streamLife(policy.stream.identity);
            event.life = life != 0 ? std::to_string(life) : std::string();
        }
        if (stream && publication.token != 0) {
            event.worker = std::to_string(hub_.log(policy.log).slot);
        }
        if (stream || publication.streamAlone) {
            event.token = 0;
            event.needsConfirm = false;
        }
        published.stores += broker.offerNext() && (stream || !publication.streamAlone) ? 1 : 0;
    }
    return published;
}

bool Publisher::fits(const App& app, const Publication& publication) const
{
    return fits(app, publication, app.policyOf(publication.channel));
}

bool Publisher::fits(const App& app, const Publication& publication, const ChannelPolicy& policy) const
{
    NewRecord record = recordOf(app, publication, policy, KeyOwner::Peer);
    if (policy.stream.identity != 0) {
        record.event = eventOf(publication); // a stream hands it back with its name
    }
    return hub_.log(policy.log).log.fits(record) &&
           std::all_of(policy.brokers->begin(), policy.brokers->end(), [&](const BrokerRoute& route) {
               return find(route.broker)->everAdmits(publication.data.size());
           });
}

KeyOwner Publisher::ownerOf(std::string_view messageId)
{
    return messageId.starts_with("c-") ? KeyOwner::PeerClient : KeyOwner::Peer;
}

Published Publisher::relay(const App& app, const Publication& publication)
{
    if (!mayPublish(app, publication)) {
        Published refused;
        refused.status = PublishStatus::Reserved;
        return refused;
    }
    const bool ofClient = publication.keyOwner == KeyOwner::PeerClient;
    return outcome(append(app, publication, app.policyOf(publication.channel),
                          ofClient ? KeyOwner::PeerClient : KeyOwner::Peer));
}

AppendResult Publisher::append(const App& app, const Publication& publication, const ChannelPolicy& policy,
                               KeyOwner owner)
{
    HubLog& log = hub_.log(policy.log);
    return log.log.append(recordOf(app, publication, policy, owner), log.slot, *log.wakeUp);
}

// The configuration has made sure that every route names a broker.
Broker* Publisher::find(std::string_view name) const
{
    for (const NamedBroker& one : brokers_) {
        if (one.name == name) {
            return one.broker.get();
        }
    }
    return nullptr;
}

} // namespace realtime
