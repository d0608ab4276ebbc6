// The directives that stand in http, server and location. docs/directives.md describes them; a test compares.
#include "nginx/conf.hpp"

#include "nginx/guard.hpp"
#include "nginx/pool.hpp"
#include "nginx/str.hpp"

#include "wire/accept.hpp"

#include <type_traits>

namespace realtime {

static_assert(std::is_standard_layout_v<LocConf>, "the table uses offsetof()");

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
    return NGX_CONF_OK;
}

void* createLocConf(ngx_conf_t* cf)
{
    return guard<void*>(cf->log, nullptr, [&] {
        auto& conf = poolNewPlain<LocConf>(cf->pool);
        conf.maxMessageBytes = NGX_CONF_UNSET_SIZE;
        conf.bufferBytes = NGX_CONF_UNSET_SIZE;
        conf.ping = NGX_CONF_UNSET_MSEC;
        conf.timeout = NGX_CONF_UNSET_MSEC;
        conf.deflate = NGX_CONF_UNSET;
        conf.echo = true;
        return &conf;
    });
}

namespace {

std::string wordsOf(ngx_conf_t* cf)
{
    std::string words;
    auto* arguments = static_cast<ngx_str_t*>(cf->args->elts);
    for (ngx_uint_t i = 0; i < cf->args->nelts; i++) {
        words += std::string(view(arguments[i])) + '\n';
    }
    return words;
}

char* install(ngx_conf_t* cf, LocConf& conf, ngx_http_handler_pt handler)
{
    return guard<char*>(cf->log, static_cast<char*>(NGX_CONF_ERROR), [&]() -> char* {
        if (conf.words.len == 0) {
            conf.words = copyTo(cf->pool, wordsOf(cf));
        }
        auto* main = static_cast<MainConf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_realtime_module));
        main->endpoints.push_back(&conf);
        conf.core = static_cast<ngx_http_core_loc_conf_t*>(
            ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
        conf.core->handler = handler;
        conf.server = static_cast<ngx_http_core_srv_conf_t*>(
            ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module));
        return NGX_CONF_OK;
    });
}

// An `if` or `limit_except` within our location is a location of its own to nginx, and the same to people.
char* inheritEndpoint(ngx_conf_t* cf, const LocConf& prev, LocConf& conf)
{
    auto* core =
        static_cast<ngx_http_core_loc_conf_t*>(ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
    if (conf.kind != 0 || prev.kind == 0 || !core->noname) {
        return NGX_CONF_OK;
    }
    conf.kind = prev.kind;
    conf.channels = prev.channels;
    conf.event = prev.event;
    conf.appId = prev.appId;
    conf.place = prev.place;
    conf.words = prev.words;
    conf.ack = prev.ack;
    conf.echo = prev.echo;
    conf.rate = prev.rate;
    conf.watch = prev.watch;
    conf.publishes = prev.publishes;
    return install(cf, conf, prev.core->handler);
}

} // namespace

char* mergeLocConf(ngx_conf_t* cf, void* parent, void* child)
{
    auto& prev = *static_cast<LocConf*>(parent);
    auto& conf = *static_cast<LocConf*>(child);

    ngx_conf_merge_size_value(conf.maxMessageBytes, prev.maxMessageBytes, std::size_t{64} * 1024);
    ngx_conf_merge_size_value(conf.bufferBytes, prev.bufferBytes, std::size_t{1024} * 1024);
    ngx_conf_merge_msec_value(conf.ping, prev.ping, 25000);
    ngx_conf_merge_msec_value(conf.timeout, prev.timeout, 60000);
    ngx_conf_merge_value(conf.deflate, prev.deflate, 0);
    if (conf.origins == nullptr) {
        conf.origins = prev.origins;
    }

    if (conf.timeout == 0 || conf.ping >= conf.timeout) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"realtime_timeout\" must be longer than \"realtime_ping\"");
        return static_cast<char*>(NGX_CONF_ERROR);
    }
    return inheritEndpoint(cf, prev, conf);
}

ngx_int_t postconfiguration(ngx_conf_t* cf)
{
    auto& conf = *static_cast<MainConf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_realtime_module));
    return resolveNames(cf, conf);
}

namespace {

char* refuse(ngx_conf_t* cf, const char* what, const ngx_str_t& value)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s \"%V\"", what, &value);
    return static_cast<char*>(NGX_CONF_ERROR);
}

ngx_http_complex_value_t* compile(ngx_conf_t* cf, ngx_str_t text, ngx_http_complex_value_t* into)
{
    ngx_http_compile_complex_value_t compiler{};
    compiler.cf = cf;
    compiler.value = static_cast<ngx_str_t*>(ngx_palloc(cf->pool, sizeof(ngx_str_t)));
    if (compiler.value == nullptr) {
        return nullptr;
    }
    *compiler.value = text;
    compiler.complex_value = into;
    return ngx_http_compile_complex_value(&compiler) == NGX_OK ? into : nullptr;
}

bool parseAck(std::string_view word, Ack& ack)
{
    if (word == "log") {
        ack = Ack::Log;
    } else if (word == "stored") {
        ack = Ack::Stored;
    } else if (word == "broker") {
        ack = Ack::Broker;
    } else {
        return false;
    }
    return true;
}

// The options after the channel. Ok: taken; not an option: a channel.
enum class Option { NotOne, Ok, Bad };
Option parseOption(ngx_conf_t* cf, LocConf& conf, const ngx_str_t& argument)
{
    std::string_view text = view(argument);
    if (takePrefix(text, "app=")) {
        conf.appId = borrow(text);
        return text.empty() ? Option::Bad : Option::Ok;
    }
    if ((conf.kind & Publish) != 0 && takePrefix(text, "event=")) {
        auto* value = static_cast<ngx_http_complex_value_t*>(ngx_pcalloc(cf->pool, sizeof(*conf.event)));
        conf.event = value == nullptr ? nullptr : compile(cf, borrow(text), value);
        return conf.event == nullptr || text.empty() ? Option::Bad : Option::Ok;
    }
    if (conf.kind == Publish && takePrefix(text, "ack=")) {
        return parseAck(text, conf.ack) ? Option::Ok : Option::Bad;
    }
    if (conf.kind == PubSub && takePrefix(text, "echo=")) {
        conf.echo = text == "on";
        return text == "on" || text == "off" ? Option::Ok : Option::Bad;
    }
    if (conf.kind == PubSub && takePrefix(text, "rate=")) {
        auto rate = parseRate(text);
        conf.rate = rate ? rate->perSecond : 0;
        return rate ? Option::Ok : Option::Bad;
    }
    return Option::NotOne;
}

// realtime_publish   CHANNEL  [app=ID] [event=NAME] [ack=log|stored|broker]   location
// realtime_subscribe CHANNEL… [app=ID]                                        location
// realtime_pubsub    CHANNEL  [app=ID] [event=NAME] [echo=on|off] [rate=Nr/s] location
char* endpoint(ngx_conf_t* cf, LocConf& conf, EndpointKind kind, ngx_http_handler_pt handler)
{
    if (conf.kind != 0) {
        return const_cast<char*>("is a second realtime endpoint in this location");
    }
    conf.kind = kind;
    conf.place = placeOf(cf);
    conf.channels = ngx_array_create(cf->pool, 1, sizeof(ngx_http_complex_value_t));
    if (conf.channels == nullptr) {
        return static_cast<char*>(NGX_CONF_ERROR);
    }

    auto* arguments = static_cast<ngx_str_t*>(cf->args->elts);
    for (ngx_uint_t i = 1; i < cf->args->nelts; i++) {
        Option option = parseOption(cf, conf, arguments[i]);
        if (option == Option::Bad) {
            return refuse(cf, "invalid parameter", arguments[i]);
        }
        if (option == Option::Ok) {
            continue;
        }
        if (arguments[i].len == 0 || (kind != Subscribe && conf.channels->nelts == 1)) {
            return refuse(cf, "invalid parameter", arguments[i]);
        }
        auto* slot = static_cast<ngx_http_complex_value_t*>(ngx_array_push(conf.channels));
        if (slot == nullptr || compile(cf, arguments[i], slot) == nullptr) {
            return static_cast<char*>(NGX_CONF_ERROR);
        }
        if (slot->lengths == nullptr && !validChannelName(view(arguments[i]))) {
            return refuse(cf, "invalid channel name", arguments[i]);
        }
    }
    if (conf.channels->nelts == 0) {
        return const_cast<char*>("needs a channel");
    }

    return install(cf, conf, handler);
}

char* publishDirective(ngx_conf_t* cf, ngx_command_t*, void* conf)
{
    return endpoint(cf, *static_cast<LocConf*>(conf), Publish, publishHandler);
}

char* subscribeDirective(ngx_conf_t* cf, ngx_command_t*, void* conf)
{
    return endpoint(cf, *static_cast<LocConf*>(conf), Subscribe, subscribeHandler);
}

char* pubsubDirective(ngx_conf_t* cf, ngx_command_t*, void* conf)
{
    return endpoint(cf, *static_cast<LocConf*>(conf), PubSub, pubsubHandler);
}

// realtime_status [watch] [publish]           location
char* statusDirective(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    auto& conf = *static_cast<LocConf*>(data);
    if (conf.kind != 0) {
        return const_cast<char*>("is a second realtime endpoint in this location");
    }
    auto* arguments = static_cast<ngx_str_t*>(cf->args->elts);
    for (ngx_uint_t i = 1; i < cf->args->nelts; i++) {
        bool watch = view(arguments[i]) == "watch";
        bool& permission = watch ? conf.watch : conf.publishes;
        if ((!watch && view(arguments[i]) != "publish") || permission) {
            return refuse(cf, "invalid parameter", arguments[i]);
        }
        permission = true;
    }
    conf.kind = Status;
    conf.place = placeOf(cf);
    return install(cf, conf, statusHandler);
}

char* pusherDirective(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    auto& conf = *static_cast<LocConf*>(data);
    std::string_view side = view(static_cast<ngx_str_t*>(cf->args->elts)[1]);
    if (conf.kind != 0) {
        return const_cast<char*>("is a second realtime endpoint in this location");
    }
    if (side != "websocket" && side != "api") {
        return const_cast<char*>("is either websocket or api");
    }
    conf.kind = side == "websocket" ? PusherWebSocket : PusherApi;
    conf.place = placeOf(cf);
    return install(cf, conf, side == "websocket" ? pusherWebSocketHandler : pusherApiHandler);
}

char* originsDirective(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    auto& conf = *static_cast<LocConf*>(data);
    if (conf.origins != nullptr) {
        return const_cast<char*>("is duplicate");
    }
    return guard<char*>(cf->log, static_cast<char*>(NGX_CONF_ERROR), [&]() -> char* {
        auto& origins = poolNew<std::vector<std::string>>(cf->pool);
        auto* arguments = static_cast<ngx_str_t*>(cf->args->elts);
        for (ngx_uint_t i = 1; i < cf->args->nelts; i++) {
            if (!validOriginPattern(view(arguments[i]))) {
                return refuse(cf, "invalid origin", arguments[i]);
            }
            origins.emplace_back(view(arguments[i]));
        }
        conf.origins = &origins;
        return NGX_CONF_OK;
    });
}

char* messageSizeDirective(ngx_conf_t* cf, ngx_command_t* cmd, void* conf)
{
    char* result = ngx_conf_set_size_slot(cf, cmd, conf);
    if (result == NGX_CONF_OK && static_cast<LocConf*>(conf)->maxMessageBytes == 0) {
        return const_cast<char*>("must be greater than zero");
    }
    return result;
}

char* bufferDirective(ngx_conf_t* cf, ngx_command_t* cmd, void* conf)
{
    char* result = ngx_conf_set_size_slot(cf, cmd, conf);
    if (result == NGX_CONF_OK && static_cast<LocConf*>(conf)->bufferBytes < 4096) {
        return const_cast<char*>("must be at least 4k");
    }
    return result;
}

char* drainDirective(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    auto& conf = *static_cast<MainConf*>(data);
    if (conf.drain != NGX_CONF_UNSET_MSEC) {
        return const_cast<char*>("is duplicate");
    }
    auto* arguments = static_cast<ngx_str_t*>(cf->args->elts);
    ngx_int_t time = ngx_parse_time(&arguments[1], 0);
    if (time == NGX_ERROR) {
        return const_cast<char*>("invalid value");
    }
    conf.drain = static_cast<ngx_msec_t>(time);
    return NGX_CONF_OK;
}

constexpr ngx_uint_t Everywhere = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF;

} // namespace

// clang-format off
ngx_command_t commands[] = {

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
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(LocConf, ping),
      nullptr },

    // realtime_timeout TIME                        http, server, location    60s
    { ngx_string("realtime_timeout"),
      Everywhere|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
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

    // realtime_origins * | ORIGIN…                 http, server, location    same origin
    { ngx_string("realtime_origins"),
      Everywhere|NGX_CONF_1MORE,
      originsDirective,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      nullptr },

    // --- in realtime_broker ---

    { ngx_string("server"),
      InBroker|NGX_CONF_TAKE1,
      brokerDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("exchange"),
      InBroker|NGX_CONF_TAKE12,
      brokerDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("queue"),
      InBroker|NGX_CONF_1MORE,
      brokerDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("spool"),
      InBroker|NGX_CONF_TAKE12,
      brokerDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("confirm"),
      InBroker|NGX_CONF_1MORE,
      brokerDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("cluster"),
      InBroker|NGX_CONF_TAKE12,
      brokerDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("tls_ca"),
      InBroker|NGX_CONF_TAKE1,
      brokerDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("tls_cert"),
      InBroker|NGX_CONF_TAKE12,
      brokerDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("heartbeat"),
      InBroker|NGX_CONF_TAKE1,
      brokerDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    // --- in realtime_app ---

    { ngx_string("key"),
      InApp|NGX_CONF_TAKE1,
      appDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("secret"),
      InApp|NGX_CONF_TAKE1,
      appDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("secret_file"),
      InApp|NGX_CONF_TAKE1,
      appDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("client_events"),
      InApp|NGX_CONF_TAKE12,
      appDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("max_connections"),
      InApp|NGX_CONF_TAKE1,
      appDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("max_channels"),
      InApp|NGX_CONF_TAKE1,
      appDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("origins"),
      InApp|NGX_CONF_1MORE,
      appDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("webhook"),
      InApp|NGX_CONF_TAKE12,
      appDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("activity_timeout"),
      InApp|NGX_CONF_TAKE1,
      appDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("authorized_connections"),
      InApp|NGX_CONF_TAKE1,
      appDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("presence_limits"),
      InApp|NGX_CONF_TAKE12,
      appDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("subscription_count"),
      InApp|NGX_CONF_TAKE1,
      appDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("watchlist"),
      InApp|NGX_CONF_TAKE1,
      appDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("tls_only"),
      InApp|NGX_CONF_TAKE1,
      appDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("disabled"),
      InApp|NGX_CONF_TAKE1,
      appDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("channels"),
      InApp|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      channelsBlock,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    // --- in realtime_app and in channels ---

    { ngx_string("zone"),
      InApp|InChannels|NGX_CONF_TAKE1,
      channelsDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("broker"),
      InApp|InChannels|NGX_CONF_1MORE,
      channelsDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    // --- in channels ---

    { ngx_string("history"),
      InChannels|NGX_CONF_TAKE12,
      channelsDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("deliver"),
      InChannels|NGX_CONF_TAKE1,
      channelsDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    { ngx_string("client_publish"),
      InChannels|NGX_CONF_TAKE12,
      channelsDirective,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      nullptr },

    ngx_null_command
};
// clang-format on

} // namespace realtime
