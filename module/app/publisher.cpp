#include "app/publisher.hpp"

namespace realtime {

namespace {

PublishStatus statusOf(Offer offer)
{
    return offer == Offer::Full ? PublishStatus::BrokerFull : PublishStatus::BrokerAway;
}

BrokerEvent brokerEvent(const App& app, const Publication& publication, const BrokerRoute& route,
                        const ChannelPolicy& policy, const MessageId& id)
{
    BrokerEvent event;
    event.messageId = toString(id);
    event.app = app.id;
    event.channel = publication.channel;
    event.event = publication.event.empty() ? "message" : publication.event;
    event.contentType = publication.contentType;
    event.data = publication.data;
    event.routingKey =
        route.routingKey ? route.routingKey->expand(app.id, publication.channel, event.event, policy.captures)
                         : std::string(publication.channel);
    event.exchange = route.exchange;
    event.userId = publication.userId;
    event.socketId = publication.origin;
    event.timeMs = publication.timeMs;
    event.token = publication.token;
    event.needsConfirm = publication.needsConfirm;
    return event;
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

} // namespace

Published Publisher::publish(const App& app, const Publication& publication)
{
    Published published;
    ChannelPolicy policy = app.policyOf(publication.channel);

    for (const BrokerRoute& route : *policy.brokers) {
        Broker& broker = *find(route.broker);
        Offer offer = broker.admits(publication.data.size());
        if (offer != Offer::Queued) {
            broker.refused(offer);
            published.status = statusOf(offer);
            return published;
        }
    }

    AppendResult appended = append(app, publication, policy.log, false);
    published = outcome(appended);
    bool again = published.status == PublishStatus::Repeated && publication.token != 0;
    if (published.status != PublishStatus::Published && !again) {
        return published;
    }

    for (const BrokerRoute& route : *policy.brokers) {
        // Admitted above, and only this thread fills the queues.
        Offer offer = find(route.broker)->offer(brokerEvent(app, publication, route, policy, appended.id));
        published.stores += offer == Offer::Queued ? 1 : 0;
    }
    return published;
}

Published Publisher::relay(const App& app, const Publication& publication)
{
    return outcome(append(app, publication, app.policyOf(publication.channel).log, true));
}

AppendResult Publisher::append(const App& app, const Publication& publication, std::uint32_t index,
                               bool fromPeer)
{
    HubLog& log = hub_.log(index);
    return log.log.append(
        {
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
            .fromPeer = fromPeer,
        },
        log.slot, *log.wakeUp);
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
