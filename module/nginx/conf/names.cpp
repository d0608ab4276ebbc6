// Names that could not be looked up while the file was read.
#include "nginx/conf.hpp"

#include "nginx/endpoint_identity.hpp"
#include "nginx/guard.hpp"
#include "nginx/str.hpp"
#include "node/counters.hpp"

#include "base/siphash.hpp"

#include <algorithm>
#include <optional>
#include <set>

namespace realtime {

namespace {

void refuseAt(ngx_conf_t* cf, const ConfPlace& place, const char* what, std::string_view name)
{
    ngx_str_t text = borrow(name);
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "%s \"%V\" in %V:%ui", what, &text, &place.file, place.line);
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

bool resolveStreams(ngx_conf_t* cf, const MainConf& conf, AppConf& app)
{
    for (const AppConf::Delivery& delivery : app.deliveries) {
        ChannelRule& rule = app.app.rules[delivery.rule];
        rule.stream = streamOf(conf, rule.brokersSet ? rule.brokers : app.app.brokers);
        if (!rule.stream) {
            refuseAt(cf, delivery.place, "\"deliver broker\" needs a broker with a queue of type stream for",
                     rule.pattern->text());
            return false;
        }
        app.app.anyStream = true;
    }
    return true;
}

// A log follows MaxStreams at most.
bool countStreams(ngx_conf_t* cf, const MainConf& conf)
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
                refuseAt(cf, app->place, "more than 4 streams for the channels of one zone, with",
                         stream->queue);
                return false;
            }
        }
    }
    return true;
}

bool resolveApp(ngx_conf_t* cf, const MainConf& conf, AppConf& app)
{
    for (const auto& reference : app.brokers) {
        if (conf.broker(reference.name) == nullptr) {
            refuseAt(cf, reference.place, "unknown realtime_broker", reference.name);
            return false;
        }
        if (!reference.exchange.empty() && !conf.broker(reference.name)->hasExchange(reference.exchange)) {
            refuseAt(cf, reference.place, "the realtime_broker has no exchange", reference.exchange);
            return false;
        }
    }
    for (const auto& reference : app.zones) {
        if (conf.zone(reference.name) == nullptr || reference.name.empty()) {
            refuseAt(cf, reference.place, "unknown realtime_zone", reference.name);
            return false;
        }
    }
    app.app.log = indexOf(conf, app.app.zone);
    for (const ChannelRule& rule : app.app.rules) {
        app.app.ruleLogs.push_back(rule.zone.empty() ? app.app.log : indexOf(conf, rule.zone));
    }
    return resolveStreams(cf, conf, app);
}

// Each app with max_connections is counted in a row of its own.
bool numberApps(ngx_conf_t* cf, const MainConf& conf)
{
    std::uint32_t row = 0;
    for (const auto& app : conf.apps) {
        PusherSettings& pusher = app->app.pusher;
        if (pusher.maxConnections == 0) {
            continue;
        }
        if (row == MaxCountedApps) {
            refuseAt(cf, app->place, "too many apps with \"max_connections\", at most 16:", app->app.id);
            return false;
        }
        pusher.connectionRow = row++;
    }
    return true;
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

bool shareZones(ngx_conf_t* cf, const MainConf& conf)
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
            refuseAt(cf, apps[most]->place, "too many apps for their realtime_zone, with",
                     apps[most]->app.id);
            return false;
        }
        for (const AppConf* app : apps) {
            zone.quotas.push_back(quotasOf(app->app, apps.size() == 1));
        }
    }
    return true;
}

bool resolveEndpoint(ngx_conf_t* cf, const MainConf& conf, LocConf& endpoint)
{
    std::string_view id = endpoint.appId.len == 0 ? std::string_view("default") : view(endpoint.appId);
    endpoint.app = conf.app(id);
    if (endpoint.app == nullptr) {
        refuseAt(cf, endpoint.place, "unknown realtime_app", id);
    }
    return endpoint.app != nullptr;
}

} // namespace

ngx_int_t resolveNames(ngx_conf_t* cf, MainConf& conf)
{
    return guard<ngx_int_t>(cf->log, NGX_ERROR, [&]() -> ngx_int_t {
        if (!conf.endpoints.empty() && conf.zones.empty()) {
            const ConfPlace& place = conf.endpoints.front()->place;
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "no \"realtime_zone\" for the endpoint in %V:%ui",
                          &place.file, place.line);
            return NGX_ERROR;
        }
        bool good = std::all_of(conf.apps.begin(), conf.apps.end(),
                                [&](const auto& app) { return resolveApp(cf, conf, *app); }) &&
                    std::all_of(conf.endpoints.begin(), conf.endpoints.end(),
                                [&](LocConf* endpoint) { return resolveEndpoint(cf, conf, *endpoint); }) &&
                    numberApps(cf, conf) && countStreams(cf, conf) && shareZones(cf, conf);
        identifyEndpoints(conf);
        return good ? NGX_OK : NGX_ERROR;
    });
}

} // namespace realtime
