// Names that could not be looked up while the file was read.
#include "nginx/conf/names.hpp"

#include "nginx/conf/arguments.hpp"
#include "nginx/endpoint_identity.hpp"

#include "base/siphash.hpp"
#include "node/counters.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <span>

namespace realtime {

namespace {

// With the names that there are, unless these are very many.
[[noreturn]] void refuseName(const char* what, std::string_view name, const ConfPlace& place,
                             const std::vector<std::string_view>& known)
{
    std::string text = std::string(what) + ' ' + inQuotes(name);
    if (!known.empty() && known.size() <= 10) {
        text += ", there is " + listed(known, " and ");
    }
    throw ConfErrorAt(text, place);
}

template <class Items, class NameOf>
std::vector<std::string_view> namesOf(const Items& items, NameOf&& nameOf)
{
    std::vector<std::string_view> names;
    for (const auto& item : items) {
        names.push_back(nameOf(*item));
    }
    return names;
}

std::uint32_t indexOf(const MainConf& conf, std::string_view zone)
{
    for (std::uint32_t i = 0; i < conf.zones.size(); i++) {
        if (conf.zones[i]->name == zone) {
            return i;
        }
    }
    return 0;
}

// The first stream that what is published to the rule's channels comes to; nullopt: there is none.
std::optional<StreamRoute> streamOf(const MainConf& conf, const std::vector<BrokerRoute>& routes)
{
    constexpr SipKey IdentityKey{0x6e67696e782d7274,
                                 0x73747265616d2d30}; // not a secret: the same on all nodes
    for (const BrokerRoute& route : routes) {
        const BrokerConfig& broker = conf.broker(route.broker)->config;
        const std::string& exchange = route.exchange.empty() ? broker.exchange.name : route.exchange;
        for (const QueueConfig& queue : broker.queues) {
            const std::string& bound = queue.exchange.empty() ? broker.exchange.name : queue.exchange;
            if (queue.type == "stream" && bound == exchange) {
                const std::string& vhost = broker.servers.front().vhost;
                const std::uint64_t hash =
                    SipHash(IdentityKey).add(vhost.size()).add(vhost).add(queue.name).finish();
                return StreamRoute{broker.name, queue.name, std::max<std::uint64_t>(hash, 1)};
            }
        }
    }
    return std::nullopt;
}

void resolveStreams(const MainConf& conf, AppConf& app)
{
    for (const AppConf::Delivery& delivery : app.deliveries) {
        ChannelRule& rule = app.app.rules[delivery.rule];
        rule.stream = streamOf(conf, rule.brokersSet ? rule.brokers : app.app.brokers);
        if (!rule.stream) {
            throw ConfErrorAt("\"deliver broker\" needs a broker with a queue of type stream for " +
                                  inQuotes(rule.pattern->text()),
                              delivery.place);
        }
        app.app.anyStream = true;
    }
}

// A log follows MaxStreams at most.
void countStreams(const MainConf& conf)
{
    std::vector<std::set<std::uint64_t>> streams(conf.zones.size());
    for (const auto& app : conf.apps) {
        for (std::size_t i = 0; i < app->app.rules.size(); i++) {
            const auto& stream = app->app.rules[i].stream;
            if (!stream) {
                continue;
            }
            auto& ofZone = streams[app->app.ruleLogs[i]];
            ofZone.insert(stream->identity);
            if (ofZone.size() > MaxStreams) {
                throw ConfErrorAt("more than 4 streams for the channels of one zone, with " +
                                      inQuotes(stream->queue),
                                  app->place);
            }
        }
    }
}

void resolveBroker(const MainConf& conf, const AppConf::Reference& reference)
{
    BrokerConf* broker = conf.broker(reference.name);
    if (broker == nullptr) {
        refuseName(
            "unknown realtime_broker", reference.name, reference.place,
            namesOf(conf.brokers, [](const BrokerConf& one) { return std::string_view(one.config.name); }));
    }
    broker->used = true;
    const bool sqlite = broker->config.servers.front().scheme == BrokerServer::Scheme::Sqlite;
    if (!reference.exchange.empty() && (sqlite || !broker->hasExchange(reference.exchange))) {
        throw ConfErrorAt("the realtime_broker has no exchange " + inQuotes(reference.exchange),
                          reference.place);
    }
}

void resolveZone(const MainConf& conf, const AppConf::Reference& reference)
{
    if (conf.zone(reference.name) == nullptr || reference.name.empty()) {
        refuseName("unknown realtime_zone", reference.name, reference.place,
                   namesOf(conf.zones, [](const ZoneConf& one) { return std::string_view(one.name); }));
    }
}

void resolveApp(const MainConf& conf, AppConf& app)
{
    for (const auto& reference : app.brokers) {
        resolveBroker(conf, reference);
    }
    for (const auto& reference : app.zones) {
        resolveZone(conf, reference);
    }
    app.app.log = indexOf(conf, app.app.zone);
    for (const ChannelRule& rule : app.app.rules) {
        app.app.ruleLogs.push_back(rule.zone.empty() ? app.app.log : indexOf(conf, rule.zone));
    }
    resolveStreams(conf, app);
}

// Each app with max_connections is counted in a row of its own.
void numberApps(const MainConf& conf)
{
    std::uint32_t row = 0;
    for (const auto& app : conf.apps) {
        PusherSettings& pusher = app->app.pusher;
        if (pusher.maxConnections == 0) {
            continue;
        }
        if (row == MaxCountedApps) {
            throw ConfErrorAt("too many apps with \"max_connections\", at most 16: " + inQuotes(app->app.id),
                              app->place);
        }
        pusher.connectionRow = row++;
    }
}

// Nobody reaches an app without a block but by an endpoint of its own.
bool isReached(const MainConf& conf, const AppConf& app)
{
    return app.declared || std::any_of(conf.endpoints.begin(), conf.endpoints.end(), [&](const LocConf* one) {
               return one->app == &app && (one->kind & PubSub) != 0;
           });
}

bool hasChannelsIn(const App& app, std::uint32_t zone)
{
    const auto& logs = app.ruleLogs;
    return app.log == zone || std::find(logs.begin(), logs.end(), zone) != logs.end();
}

// The share of an app that says nothing: all, if it has the zone for itself.
AppQuotas quotasOf(const App& app, bool alone)
{
    constexpr Quota Half{0, 50};
    constexpr Quota Quarter{0, 25};
    const auto quota = [alone](const std::optional<Quota>& said, const Quota& otherwise) {
        return said.value_or(alone ? Quota{} : otherwise);
    };
    const AppShares& shares = app.shares;
    return {app.id, quota(shares.channels, Half), quota(shares.presence, Half),
            quota(shares.repeats, Quarter)};
}

void shareZones(const MainConf& conf)
{
    for (std::uint32_t i = 0; i < conf.zones.size(); i++) {
        ZoneConf& zone = *conf.zones[i];
        std::vector<const AppConf*> apps;
        for (const auto& app : conf.apps) {
            if (isReached(conf, *app) && hasChannelsIn(app->app, i)) {
                apps.push_back(app.get());
            }
        }
        const std::size_t most = SharedLog::maxApps(zone.size);
        if (apps.size() > most) {
            throw ConfErrorAt("too many apps for their realtime_zone, with " + inQuotes(apps[most]->app.id) +
                                  ": a larger zone takes more",
                              apps[most]->place);
        }
        for (const AppConf* app : apps) {
            zone.quotas.push_back(quotasOf(app->app, apps.size() == 1));
        }
    }
}

void resolveEndpoint(const MainConf& conf, LocConf& endpoint)
{
    std::string_view id = endpoint.appId.len == 0 ? std::string_view("default") : view(endpoint.appId);
    endpoint.app = conf.app(id);
    if (endpoint.app == nullptr) {
        refuseName("unknown realtime_app", id, endpoint.place,
                   namesOf(conf.apps, [](const AppConf& one) { return std::string_view(one.app.id); }));
    }
    const ngx_array_t none{};
    const ngx_array_t& channels = endpoint.channels == nullptr ? none : *endpoint.channels;
    for (const auto& channel :
         std::span(static_cast<const ngx_http_complex_value_t*>(channels.elts), channels.nelts)) {
        if (channel.lengths == nullptr && endpoint.app->app.reserves(view(channel.value))) {
            throw ConfErrorAt("an app with a key reserves channels that begin with \"#\", such as " +
                                  inQuotes(view(channel.value)),
                              endpoint.place);
        }
    }
}

} // namespace

void resolveNames(MainConf& conf)
{
    if (!conf.endpoints.empty() && conf.zones.empty()) {
        throw ConfErrorAt(
            "no \"realtime_zone\" for the endpoint: it goes into http, as in realtime_zone main 32m;",
            conf.endpoints.front()->place);
    }
    for (const auto& app : conf.apps) {
        resolveApp(conf, *app);
    }
    for (LocConf* endpoint : conf.endpoints) {
        resolveEndpoint(conf, *endpoint);
    }
    numberApps(conf);
    countStreams(conf);
    shareZones(conf);
    identifyEndpoints(conf);
}

} // namespace realtime
