#include "nginx/conf/endpoints.hpp"

#include "nginx/conf/arguments.hpp"
#include "nginx/publish.hpp"

#include "base/ascii.hpp"

#include "wire/pusher_channel.hpp"

namespace realtime {

namespace {

std::string wordsOf(ngx_conf_t* cf)
{
    std::string words;
    for (const ngx_str_t& argument : argumentsOf(cf)) {
        words += std::string(view(argument)) + '\n';
    }
    return words;
}

void install(ngx_conf_t* cf, LocConf& conf, ngx_http_handler_pt handler)
{
    auto* main = static_cast<MainConf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_realtime_module));
    main->endpoints.push_back(&conf);
    conf.core =
        static_cast<ngx_http_core_loc_conf_t*>(ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
    conf.displaced = conf.core->handler != nullptr && conf.core->handler != handler;
    conf.handler = conf.core->handler = handler;
    conf.server =
        static_cast<ngx_http_core_srv_conf_t*>(ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module));
}

// A location has one.
void begin(ngx_conf_t* cf, LocConf& conf, EndpointKind kind)
{
    if (conf.kind != 0) {
        throw ConfError(inQuotes(view(argumentsOf(cf)[0])) +
                        " is a second realtime endpoint in this location");
    }
    conf.kind = kind;
    conf.place = placeOf(cf);
    conf.words = copyTo(cf->pool, wordsOf(cf));
}

void compile(ngx_conf_t* cf, ngx_str_t text, ngx_http_complex_value_t& into)
{
    ngx_http_compile_complex_value_t compiler{};
    compiler.cf = cf;
    compiler.value = static_cast<ngx_str_t*>(ngx_palloc(cf->pool, sizeof(ngx_str_t)));
    if (compiler.value == nullptr) {
        throw std::bad_alloc();
    }
    *compiler.value = text;
    compiler.complex_value = &into;
    if (ngx_http_compile_complex_value(&compiler) != NGX_OK) {
        throw AlreadyLogged();
    }
}

// --- realtime_publish, realtime_subscribe, realtime_pubsub --------------------------------------------------------

struct EndpointReader {
    ngx_conf_t* cf;
    LocConf& conf;
};

void setAppId(EndpointReader& reader, std::string_view id)
{
    if (id.empty()) {
        throw ConfError("invalid parameter \"app=\": the id of a realtime_app is wanted");
    }
    reader.conf.appId = borrow(id);
}

void setEvent(EndpointReader& reader, std::string_view name)
{
    if (name.empty()) {
        throw ConfError("invalid parameter \"event=\": the name of an event is wanted");
    }
    auto* value = static_cast<ngx_http_complex_value_t*>(
        ngx_pcalloc(reader.cf->pool, sizeof(ngx_http_complex_value_t)));
    if (value == nullptr) {
        throw std::bad_alloc();
    }
    compile(reader.cf, borrow(name), *value);
    if (value->lengths == nullptr && pusher::reservedEvent(name)) {
        throw ConfError("invalid parameter " + inQuotes("event=" + std::string(name)) + ": " +
                        std::string(ReservedName));
    }
    reader.conf.event = value;
}

constexpr Choice<Ack> Acks[] = {{"log", Ack::Log}, {"stored", Ack::Stored}, {"broker", Ack::Broker}};

void setAck(EndpointReader& reader, std::string_view word)
{
    reader.conf.ack = chooseParameter("ack", word, Acks);
}

void setEcho(EndpointReader& reader, std::string_view word)
{
    reader.conf.echo = chooseParameter("echo", word, OnOff);
}

void setRate(EndpointReader& reader, std::string_view value)
{
    reader.conf.rate = parseRateParameter(value);
}

constexpr Parameter<EndpointReader> PublishParameters[] = {
    {"app=", setAppId}, {"event=", setEvent}, {"ack=", setAck}};
constexpr Parameter<EndpointReader> SubscribeParameters[] = {{"app=", setAppId}};
constexpr Parameter<EndpointReader> PubSubParameters[] = {
    {"app=", setAppId}, {"event=", setEvent}, {"echo=", setEcho}, {"rate=", setRate}};

void addChannel(ngx_conf_t* cf, LocConf& conf, const ngx_str_t& text)
{
    auto* slot = static_cast<ngx_http_complex_value_t*>(ngx_array_push(conf.channels));
    if (slot == nullptr) {
        throw std::bad_alloc();
    }
    compile(cf, text, *slot);
    if (slot->lengths == nullptr && !validChannelName(view(text))) {
        throw ConfError("invalid channel name " + inQuotes(view(text)) +
                        ": 1 to 200 bytes of UTF-8 without control characters");
    }
}

// The parameters of all endpoints.
constexpr std::string_view ParameterNames[] = {"app", "event", "ack", "echo", "rate"};

enum class Looks { Channel, Foreign, Typo };

// Does what is to be the name of a channel look like a parameter: one of another endpoint, or one that is spelt wrongly?
template <std::size_t N> Looks looksOf(std::string_view text, const Parameter<EndpointReader> (&table)[N])
{
    std::string name(text.substr(0, text.find('=')));
    std::transform(name.begin(), name.end(), name.begin(), [](char c) { return lower(c); });
    if (name.size() == text.size() || name.empty()) {
        return Looks::Channel;
    }
    const bool known =
        std::find(std::begin(ParameterNames), std::end(ParameterNames), name) != std::end(ParameterNames);
    const bool near = std::any_of(std::begin(table), std::end(table), [&](const auto& parameter) {
        return editDistance(name + '=', parameter.prefix) <= 1;
    });
    return near ? Looks::Typo : known ? Looks::Foreign : Looks::Channel;
}

// "user=$id" is meant; "user=7" rather not.
void warnOfEquals(ngx_conf_t* cf, std::string_view channel)
{
    const auto equals = channel.find('=');
    const auto word = channel.substr(0, equals);
    if (equals != std::string_view::npos && channel.find('$') == std::string_view::npos &&
        std::all_of(word.begin(), word.end(), [](char c) { return isAlnum(c) || c == '_'; })) {
        warn(cf, inQuotes(channel) + " is taken as the name of a channel: there is no parameter " +
                     inQuotes(std::string(word) + '='));
    }
}

// The parameters may stand anywhere among the channels.
template <std::size_t N>
char* endpoint(ngx_conf_t* cf, void* data, EndpointKind kind, ngx_http_handler_pt handler,
               const Parameter<EndpointReader> (&table)[N])
{
    return reading(cf, [&] {
        auto& conf = *static_cast<LocConf*>(data);
        begin(cf, conf, kind);
        conf.channels = ngx_array_create(cf->pool, 1, sizeof(ngx_http_complex_value_t));
        if (conf.channels == nullptr) {
            throw std::bad_alloc();
        }

        Arguments arguments = argumentsOf(cf);
        EndpointReader reader{cf, conf};
        Parameters parameters(table, reader);
        for (const ngx_str_t& argument : arguments.subspan(1)) {
            if (parameters.take(view(argument))) {
                continue;
            }
            const Looks looks = looksOf(view(argument), table);
            const bool full = kind != Subscribe && conf.channels->nelts == 1;
            if (full || looks == Looks::Typo || (looks == Looks::Foreign && kind != Subscribe)) {
                parameters.refuse(view(arguments[0]), view(argument),
                                  {kind == Subscribe ? "channels" : "one channel"});
            }
            if (looks == Looks::Foreign) {
                warn(cf, inQuotes(view(argument)) + " has no effect in realtime_subscribe");
                continue;
            }
            warnOfEquals(cf, view(argument));
            addChannel(cf, conf, argument);
        }
        if (conf.channels->nelts == 0) {
            throw ConfError(inQuotes(view(arguments[0])) + " needs a channel");
        }
        install(cf, conf, handler);
    });
}

// --- realtime_pusher, realtime_status -----------------------------------------------------------------------------

struct PusherSide {
    EndpointKind kind;
    ngx_http_handler_pt handler;
};
constexpr Choice<PusherSide> PusherSides[] = {{"websocket", {PusherWebSocket, pusherWebSocketHandler}},
                                              {"api", {PusherApi, pusherApiHandler}}};

constexpr Choice<bool LocConf::*> StatusPermissions[] = {{"watch", &LocConf::watch},
                                                         {"publish", &LocConf::publishes}};

} // namespace

// realtime_publish CHANNEL [app=ID] [event=NAME] [ack=log|stored|broker]
char* publishDirective(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    return endpoint(cf, data, Publish, publishHandler, PublishParameters);
}

// realtime_subscribe CHANNEL… [app=ID]
char* subscribeDirective(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    return endpoint(cf, data, Subscribe, subscribeHandler, SubscribeParameters);
}

// realtime_pubsub CHANNEL [app=ID] [event=NAME] [echo=on|off] [rate=Nr/s]
char* pubsubDirective(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    return endpoint(cf, data, PubSub, pubsubHandler, PubSubParameters);
}

// realtime_pusher websocket|api
char* pusherDirective(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    return reading(cf, [&] {
        auto& conf = *static_cast<LocConf*>(data);
        Arguments arguments = argumentsOf(cf);
        PusherSide side = choose("realtime_pusher", view(arguments[1]), PusherSides);
        begin(cf, conf, side.kind);
        install(cf, conf, side.handler);
    });
}

// realtime_status [watch] [publish]
char* statusDirective(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    return reading(cf, [&] {
        auto& conf = *static_cast<LocConf*>(data);
        begin(cf, conf, Status);
        for (const ngx_str_t& argument : argumentsOf(cf).subspan(1)) {
            bool LocConf::*const* permission = chosen(StatusPermissions, view(argument));
            if (permission == nullptr || conf.**permission) {
                throw ConfError("invalid parameter " + inQuotes(view(argument)) +
                                ", realtime_status: " + listed(StatusPermissions) + ", each once");
            }
            conf.** permission = true;
        }
        install(cf, conf, statusHandler);
    });
}

std::span<const ngx_http_complex_value_t> channelsOf(const LocConf& endpoint)
{
    if (endpoint.channels == nullptr) {
        return {};
    }
    return {static_cast<const ngx_http_complex_value_t*>(endpoint.channels->elts), endpoint.channels->nelts};
}

void inheritEndpoint(ngx_conf_t* cf, const LocConf& prev, LocConf& conf)
{
    auto* core =
        static_cast<ngx_http_core_loc_conf_t*>(ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
    const bool answersItself = core->handler != nullptr && core->handler != prev.handler;
    if (conf.kind != 0 || prev.kind == 0 || !core->noname || answersItself ||
        prev.core->handler != prev.handler) {
        return;
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
    install(cf, conf, prev.handler);
}

} // namespace realtime
