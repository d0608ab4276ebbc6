// The directives that stand in http, server and location. docs/directives.md describes them; a test compares.
#include "nginx/conf.hpp"

#include "nginx/conf/arguments.hpp"
#include "nginx/conf/block.hpp"
#include "nginx/conf/commands.hpp"
#include "nginx/conf/endpoints.hpp"
#include "nginx/conf/names.hpp"
#include "nginx/guard.hpp"
#include "nginx/pool.hpp"
#include "nginx/stream_head.hpp"

#include <algorithm>
#include <type_traits>

namespace realtime {

static_assert(std::is_standard_layout_v<LocConf>, "the table uses offsetof()");

namespace {

constexpr double UnsetRate = -1;

} // namespace

MainConf* mainConf(ngx_cycle_t* cycle)
{
    return static_cast<MainConf*>(ngx_http_cycle_get_module_main_conf(cycle, ngx_http_realtime_module));
}

ConfPlace placeOf(ngx_conf_t* cf)
{
    if (cf->conf_file == nullptr) {
        return {};
    }
    return {cf->conf_file->file.name, cf->conf_file->line};
}

ZoneConf* MainConf::zone(std::string_view name) const
{
    for (const auto& one : zones) {
        if (name.empty() || one->name == name) {
            return one.get();
        }
    }
    return nullptr;
}

BrokerConf* MainConf::broker(std::string_view name) const
{
    for (const auto& one : brokers) {
        if (one->config.name == name) {
            return one.get();
        }
    }
    return nullptr;
}

bool BrokerConf::hasExchange(std::string_view name) const
{
    return config.exchange.name == name ||
           std::any_of(config.moreExchanges.begin(), config.moreExchanges.end(),
                       [name](const ExchangeConfig& one) { return one.name == name; });
}

AppConf* MainConf::app(std::string_view id) const
{
    for (const auto& one : apps) {
        if (one->app.id == id) {
            return one.get();
        }
    }
    return nullptr;
}

void* createMainConf(ngx_conf_t* cf)
{
    return guard<void*>(cf->log, nullptr, [&] {
        auto& conf = poolNew<MainConf>(cf->pool);
        conf.apps.push_back(std::make_unique<AppConf>());
        conf.apps.front()->app.id = "default";
        return &conf;
    });
}

char* initMainConf(ngx_conf_t*, void* data)
{
    auto& conf = *static_cast<MainConf*>(data);
    ngx_conf_init_msec_value(conf.drain, 30000);
    ngx_conf_init_size_value(conf.partialBytes, std::size_t{64} * 1024 * 1024);
    return NGX_CONF_OK;
}

namespace {

void mergeRate(Rate& rate, const Rate& outer, const Rate& otherwise)
{
    if (rate.perSecond == UnsetRate) {
        rate = outer.perSecond == UnsetRate ? otherwise : outer;
    }
}

} // namespace

void* createLocConf(ngx_conf_t* cf)
{
    return guard<void*>(cf->log, nullptr, [&] {
        auto& conf = poolNewPlain<LocConf>(cf->pool);
        conf.maxMessageBytes = NGX_CONF_UNSET_SIZE;
        conf.bufferBytes = NGX_CONF_UNSET_SIZE;
        conf.ping = NGX_CONF_UNSET_MSEC;
        conf.pingRate = UnsetRate;
        conf.timeout = NGX_CONF_UNSET_MSEC;
        conf.deflate = NGX_CONF_UNSET;
        conf.subscribeRate.perSecond = UnsetRate;
        conf.publishRate.perSecond = UnsetRate;
        conf.historyRate = NGX_CONF_UNSET_SIZE;
        conf.echo = true;
        return &conf;
    });
}

char* mergeLocConf(ngx_conf_t* cf, void* parent, void* child)
{
    auto& prev = *static_cast<LocConf*>(parent);
    auto& conf = *static_cast<LocConf*>(child);

    if (conf.maxMessageBytes == NGX_CONF_UNSET_SIZE) {
        conf.maxMessagePlace = prev.maxMessagePlace;
    }
    ngx_conf_merge_size_value(conf.maxMessageBytes, prev.maxMessageBytes, std::size_t{64} * 1024);
    ngx_conf_merge_size_value(conf.bufferBytes, prev.bufferBytes, std::size_t{1024} * 1024);
    ngx_conf_merge_msec_value(conf.ping, prev.ping, 25000);
    if (conf.pingRate == UnsetRate) {
        conf.pingRate = prev.pingRate == UnsetRate ? 10 : prev.pingRate;
    }
    ngx_conf_merge_msec_value(conf.timeout, prev.timeout, 60000);
    ngx_conf_merge_value(conf.deflate, prev.deflate, 0);
    mergeRate(conf.subscribeRate, prev.subscribeRate, {100, 1000});
    mergeRate(conf.publishRate, prev.publishRate, {1000, 2000});
    ngx_conf_merge_size_value(conf.historyRate, prev.historyRate, std::size_t{8} * 1024 * 1024);
    if (conf.origins == nullptr) {
        conf.origins = prev.origins;
    }

    if (conf.keepAlivePlace.line == 0) {
        conf.keepAlivePlace = prev.keepAlivePlace;
    }

    return reading(cf, [&] {
        if (conf.timeout == 0 || conf.ping >= conf.timeout) {
            throw ConfErrorAt("\"realtime_timeout\" must be longer than \"realtime_ping\": " +
                                  std::to_string(conf.timeout) + "ms is not longer than " +
                                  std::to_string(conf.ping) + "ms",
                              conf.keepAlivePlace);
        }
        inheritEndpoint(cf, prev, conf);
    });
}

ngx_int_t postconfiguration(ngx_conf_t* cf)
{
    auto& conf = *static_cast<MainConf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_realtime_module));
    if (!conf.endpoints.empty()) { // loaded but not used, the module adds nothing to a request's way
        registerStreamFilter();
        if (installVariables(cf) != NGX_OK || installPreflights(cf) != NGX_OK) {
            return NGX_ERROR;
        }
    }
    char* result = reading(cf, [&] {
        resolveNames(conf);
        checkWhole(cf, conf);
    });
    return result == NGX_CONF_OK ? NGX_OK : NGX_ERROR;
}

namespace {

char* originsDirective(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    auto& conf = *static_cast<LocConf*>(data);
    if (conf.origins != nullptr) {
        return const_cast<char*>("is duplicate");
    }
    return reading(cf, [&] {
        auto& origins = poolNew<std::vector<std::string>>(cf->pool);
        addOrigins(cf, origins, argumentsOf(cf).subspan(1));
        conf.origins = &origins;
    });
}

char* messageSizeDirective(ngx_conf_t* cf, ngx_command_t* cmd, void* data)
{
    auto& conf = *static_cast<LocConf*>(data);
    char* result = ngx_conf_set_size_slot(cf, cmd, data);
    if (result == NGX_CONF_OK && conf.maxMessageBytes == 0) {
        return const_cast<char*>("must be greater than zero");
    }
    conf.maxMessagePlace = placeOf(cf);
    return result;
}

// realtime_ping, realtime_timeout
char* keepAliveDirective(ngx_conf_t* cf, ngx_command_t* cmd, void* conf)
{
    static_cast<LocConf*>(conf)->keepAlivePlace = placeOf(cf);
    return ngx_conf_set_msec_slot(cf, cmd, conf);
}

char* pingRateDirective(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    auto& conf = *static_cast<LocConf*>(data);
    if (conf.pingRate != UnsetRate) {
        return const_cast<char*>("is duplicate");
    }
    return reading(cf, [&] {
        const std::string_view text = view(argumentsOf(cf)[1]);
        const auto rate = parseRate(text);
        if (!rate) {
            throw ConfError("invalid rate " + inQuotes(text) +
                            ", realtime_ping_rate: such as 10r/s or 30r/m");
        }
        conf.pingRate = rate->perSecond;
    });
}

char* partialDirective(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    constexpr std::uint64_t Least = 4096;
    auto& conf = *static_cast<MainConf*>(data);
    if (conf.partialBytes != NGX_CONF_UNSET_SIZE) {
        return const_cast<char*>("is duplicate");
    }
    return reading(cf, [&] { conf.partialBytes = parseSize(view(argumentsOf(cf)[1]), Least); });
}

char* bufferDirective(ngx_conf_t* cf, ngx_command_t* cmd, void* conf)
{
    char* result = ngx_conf_set_size_slot(cf, cmd, conf);
    if (result == NGX_CONF_OK && static_cast<LocConf*>(conf)->bufferBytes < 4096) {
        return const_cast<char*>("must be at least 4k");
    }
    return result;
}

void setBurst(Rate& rate, std::string_view number)
{
    rate.burst = parseCount(number, 1'000'000'000);
}

constexpr Parameter<Rate> RateParameters[] = {{"burst=", setBurst}};

// RATE [burst=NUMBER] | off
char* rateDirective(ngx_conf_t* cf, ngx_command_t* cmd, void* conf)
{
    auto& rate = *reinterpret_cast<Rate*>(static_cast<char*>(conf) + cmd->offset);
    if (rate.perSecond != UnsetRate) {
        return const_cast<char*>("is duplicate");
    }
    return reading(cf, [&] {
        Arguments arguments = argumentsOf(cf);
        const std::string_view name = view(arguments[0]);
        const bool off = view(arguments[1]) == "off";
        const auto parsed = off ? Rate{} : parseRate(view(arguments[1]));
        if (!parsed || (off && arguments.size() > 2)) {
            throw ConfError("invalid value " + inQuotes(view(arguments.back())) + ", " + std::string(name) +
                            ": a number with r/s or r/m and burst=, such as 10r/s burst=50, or off");
        }
        rate = *parsed;
        Parameters parameters(RateParameters, rate);
        parameters.takeAll(name, arguments.subspan(2));
    });
}

char* historyRateDirective(ngx_conf_t* cf, ngx_command_t* cmd, void* conf)
{
    char* result = ngx_conf_set_size_slot(cf, cmd, conf);
    const std::size_t rate = static_cast<LocConf*>(conf)->historyRate;
    if (result == NGX_CONF_OK && rate != 0 && rate < 4096) {
        return const_cast<char*>("must be at least 4k, or 0 for no limit");
    }
    return result;
}

char* drainDirective(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    auto& conf = *static_cast<MainConf*>(data);
    if (conf.drain != NGX_CONF_UNSET_MSEC) {
        return const_cast<char*>("is duplicate");
    }
    return reading(cf, [&] {
        ngx_str_t value = argumentsOf(cf)[1];
        const ngx_int_t time = ngx_parse_time(&value, 0);
        if (time == NGX_ERROR) {
            throw ConfError("invalid value " + inQuotes(view(value)) +
                            ", realtime_drain: a time such as 30s");
        }
        conf.drain = static_cast<ngx_msec_t>(time);
        conf.drainPlace = placeOf(cf);
    });
}

constexpr ngx_uint_t Everywhere = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF;

} // namespace

// clang-format off
std::span<const ngx_command_t> httpCommands()
{
  // A row for each: a directive of a location also needs its value in LocConf, and in createLocConf() and mergeLocConf().
  static const ngx_command_t table[] = {

    // realtime_zone NAME SIZE                      http
    { ngx_string("realtime_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      zoneDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    // realtime_broker NAME { … }                   http
    { ngx_string("realtime_broker"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      brokerBlock,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    // realtime_app ID { … }                        http
    { ngx_string("realtime_app"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      appBlock,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    // realtime_drain TIME                          http                      30s
    { ngx_string("realtime_drain"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      drainDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    // realtime_partial SIZE                        http                      64m   half messages of a worker
    { ngx_string("realtime_partial"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      partialDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("realtime_publish"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      publishDirective,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("realtime_subscribe"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      subscribeDirective,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("realtime_pubsub"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      pubsubDirective,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      nullptr },

    // realtime_pusher websocket|api               location
    { ngx_string("realtime_pusher"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      pusherDirective,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("realtime_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE12,
      statusDirective,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      nullptr },

    // realtime_max_message_size SIZE               http, server, location    64k   one event's data
    { ngx_string("realtime_max_message_size"),
      Everywhere|NGX_CONF_TAKE1,
      messageSizeDirective,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(LocConf, maxMessageBytes),
      nullptr },

    // realtime_buffer SIZE                         http, server, location    1m    waiting for one subscriber
    { ngx_string("realtime_buffer"),
      Everywhere|NGX_CONF_TAKE1,
      bufferDirective,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(LocConf, bufferBytes),
      nullptr },

    // realtime_ping TIME                           http, server, location    25s   0: never
    { ngx_string("realtime_ping"),
      Everywhere|NGX_CONF_TAKE1,
      keepAliveDirective,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(LocConf, ping),
      nullptr },

    // realtime_ping_rate RATE                      http, server, location    10r/s pings of a client that are all answered
    { ngx_string("realtime_ping_rate"),
      Everywhere|NGX_CONF_TAKE1,
      pingRateDirective,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      nullptr },

    // realtime_timeout TIME                        http, server, location    60s
    { ngx_string("realtime_timeout"),
      Everywhere|NGX_CONF_TAKE1,
      keepAliveDirective,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(LocConf, timeout),
      nullptr },

    // realtime_deflate on|off                      http, server, location    off   permessage-deflate
    { ngx_string("realtime_deflate"),
      Everywhere|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(LocConf, deflate),
      nullptr },

    // realtime_subscribe_rate RATE [burst=N] | off http, server, location    100r/s burst=1000    of one connection
    { ngx_string("realtime_subscribe_rate"),
      Everywhere|NGX_CONF_TAKE12,
      rateDirective,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(LocConf, subscribeRate),
      nullptr },

    // realtime_publish_rate RATE [burst=N] | off   http, server, location    1000r/s burst=2000   of one WebSocket
    { ngx_string("realtime_publish_rate"),
      Everywhere|NGX_CONF_TAKE12,
      rateDirective,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(LocConf, publishRate),
      nullptr },

    // realtime_history_rate SIZE                   http, server, location    8m    a second, of one connection; 0: no limit
    { ngx_string("realtime_history_rate"),
      Everywhere|NGX_CONF_TAKE1,
      historyRateDirective,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(LocConf, historyRate),
      nullptr },

    // realtime_origins * | ORIGIN…                 http, server, location    same origin
    { ngx_string("realtime_origins"),
      Everywhere|NGX_CONF_1MORE,
      originsDirective,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      nullptr },
  };
  return table;
}
// clang-format on

} // namespace realtime
