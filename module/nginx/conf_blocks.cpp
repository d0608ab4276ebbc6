// The blocks realtime_broker, realtime_app and channels. Every mistake becomes one line with file and line number.
#include "nginx/conf.hpp"

#include "node/counters.hpp"
#include "nginx/endpoint_identity.hpp"
#include "nginx/guard.hpp"
#include "nginx/str.hpp"

#include "base/siphash.hpp"
#include "webhook/webhook_sender.hpp"
#include "wire/accept.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <unistd.h>

namespace realtime {

namespace {

// What a directive function throws: the sentence that `nginx -t` shows.
struct ConfError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

std::string inQuotes(std::string_view text)
{
    return '"' + std::string(text) + '"';
}

std::span<ngx_str_t> argumentsOf(ngx_conf_t* cf)
{
    return {static_cast<ngx_str_t*>(cf->args->elts), cf->args->nelts};
}

// Runs the function of a directive; an exception is its refusal.
template <class Body> char* reading(ngx_conf_t* cf, Body&& body) noexcept
{
    try {
        body();
        return NGX_CONF_OK;
    } catch (const std::exception& e) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s", e.what());
    } catch (...) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "unknown exception");
    }
    return static_cast<char*>(NGX_CONF_ERROR);
}

char* readBlock(ngx_conf_t* cf, ngx_uint_t type)
{
    ngx_conf_t saved = *cf;
    cf->cmd_type = type;
    char* result = ngx_conf_parse(cf, nullptr);
    *cf = saved;
    return result;
}

std::string validName(const ngx_str_t& argument, const char* what)
{
    std::string_view name = view(argument);
    bool good = !name.empty() && name.size() <= MaxAppBytes &&
                std::all_of(name.begin(), name.end(), [](unsigned char c) { return c > ' ' && c < 0x7f; });
    if (!good) {
        throw ConfError("invalid " + std::string(what) + ' ' + inQuotes(name) +
                        ": 1 to 64 printable characters");
    }
    return std::string(name);
}

std::chrono::milliseconds parseTime(std::string_view text)
{
    ngx_str_t value = borrow(text);
    ngx_int_t ms = ngx_parse_time(&value, 0);
    if (ms == NGX_ERROR) {
        throw ConfError("invalid time " + inQuotes(text));
    }
    return std::chrono::milliseconds(ms);
}

std::uint32_t parseCount(std::string_view text, std::uint32_t most)
{
    ngx_str_t value = borrow(text);
    ngx_int_t n = ngx_atoi(value.data, value.len);
    if (n == NGX_ERROR || n < 1 || n > static_cast<ngx_int_t>(most)) {
        throw ConfError("invalid number " + inQuotes(text) + ": 1 to " + std::to_string(most));
    }
    return static_cast<std::uint32_t>(n);
}

std::string readableFile(ngx_conf_t* cf, const ngx_str_t& argument)
{
    ngx_str_t path = argument;
    if (ngx_conf_full_name(cf->cycle, &path, 1) != NGX_OK) {
        throw std::bad_alloc();
    }
    std::string name(view(path));
    if (access(name.c_str(), R_OK) != 0) {
        throw ConfError("cannot read " + inQuotes(name) + ": " + std::generic_category().message(errno));
    }
    return name;
}

// --- realtime_broker --------------------------------------------------------------------------------------------

void addServer(ngx_conf_t* cf, BrokerConfig& broker, const ngx_str_t& url)
{
    BrokerServer server = parseBrokerServer(view(url));
    bool sqlite = server.scheme == BrokerServer::Scheme::Sqlite;
    if (!broker.servers.empty()) {
        bool firstSqlite = broker.servers.front().scheme == BrokerServer::Scheme::Sqlite;
        if (sqlite || firstSqlite) {
            throw ConfError("a sqlite server stands alone: it is no failover for another");
        }
    }
    if (sqlite) {
        ngx_str_t path = borrow(server.path);
        if (ngx_conf_full_name(cf->cycle, &path, 0) != NGX_OK) {
            throw std::bad_alloc();
        }
        server.path = view(path);
    }
    broker.servers.push_back(std::move(server));
}

bool hasExchange(const BrokerConfig& broker, std::string_view name)
{
    return broker.exchange.name == name ||
           std::any_of(broker.moreExchanges.begin(), broker.moreExchanges.end(),
                       [name](const ExchangeConfig& one) { return one.name == name; });
}

// exchange NAME [topic|direct|fanout|headers]; the first is where events go if their rule does not say
void setExchange(BrokerConf& conf, std::span<ngx_str_t> arguments)
{
    std::string exchangeName = validName(arguments[1], "exchange");
    if (conf.exchangeSet && hasExchange(conf.config, exchangeName)) {
        throw ConfError("duplicate exchange " + inQuotes(exchangeName));
    }
    ExchangeConfig& exchange =
        conf.exchangeSet ? conf.config.moreExchanges.emplace_back() : conf.config.exchange;
    conf.exchangeSet = true;
    exchange.name = std::move(exchangeName);
    if (arguments.size() > 2) {
        std::string_view type = view(arguments[2]);
        if (type != "topic" && type != "direct" && type != "fanout" && type != "headers") {
            throw ConfError("invalid exchange type " + inQuotes(type) + ": topic, direct, fanout or headers");
        }
        exchange.type = type;
    }
}

// arg=NAME:VALUE
QueueArgument parseQueueArgument(std::string_view text)
{
    const auto colon = text.find(':');
    const std::string_view name = text.substr(0, colon);
    if (colon == std::string_view::npos || !name.starts_with("x-") || name.size() > 128 ||
        name == "x-queue-type") {
        throw ConfError("invalid \"arg=" + std::string(text) +
                        "\": x-NAME:VALUE is wanted; the type of a queue is said without it");
    }
    const std::string_view value = text.substr(colon + 1);
    QueueArgument argument{std::string(name), std::string(value)};
    if (value == "true" || value == "false") {
        argument.value = value == "true";
    } else if (const ngx_str_t number = borrow(value); !value.empty() && value.size() < 19) {
        if (const ngx_int_t n = ngx_atoi(number.data, number.len); n != NGX_ERROR) {
            argument.value = std::int64_t{n};
        }
    }
    return argument;
}

// queue NAME [classic|quorum|stream] [exchange=NAME] [bind=KEY…] [arg=NAME:VALUE…], or queue off
void addQueue(BrokerConf& conf, std::span<ngx_str_t> arguments, bool& defaultQueue)
{
    auto& queues = conf.config.queues;
    if (defaultQueue) {
        queues.clear();
        defaultQueue = false;
    }
    if (arguments.size() == 2 && view(arguments[1]) == "off") {
        return;
    }

    QueueConfig queue;
    queue.name = validName(arguments[1], "queue");
    std::vector<std::string> bindings;
    for (const ngx_str_t& argument : arguments.subspan(2)) {
        std::string_view text = view(argument);
        if (takePrefix(text, "bind=")) {
            if (text.size() > 255) {
                throw ConfError("a binding key has at most 255 bytes");
            }
            bindings.emplace_back(text);
        } else if (takePrefix(text, "exchange=")) {
            queue.exchange = text;
        } else if (takePrefix(text, "arg=")) {
            queue.arguments.push_back(parseQueueArgument(text));
        } else if (text == "classic" || text == "quorum" || text == "stream") {
            queue.type = text;
        } else {
            throw ConfError("invalid parameter " + inQuotes(text));
        }
    }
    if (!bindings.empty()) {
        queue.bindings = std::move(bindings);
    }
    for (const QueueConfig& other : queues) {
        if (other.name == queue.name) {
            throw ConfError("duplicate queue " + inQuotes(queue.name));
        }
    }
    queues.push_back(std::move(queue));
}

// nginx makes the directory if it is missing, and the workers' user its owner, as for its own temporary files.
void makeAtStart(ngx_conf_t* cf, const ngx_str_t& directory)
{
    auto* path = static_cast<ngx_path_t*>(ngx_pcalloc(cf->pool, sizeof(ngx_path_t)));
    if (path == nullptr) {
        throw std::bad_alloc();
    }
    path->name = directory;
    path->conf_file = cf->conf_file->file.name.data;
    path->line = cf->conf_file->line;
    if (ngx_add_path(cf, &path) != NGX_OK) {
        throw ConfError("the directory cannot be used");
    }
}

// spool DIRECTORY [max=SIZE]
void setSpool(ngx_conf_t* cf, SpoolConfig& spool, std::span<ngx_str_t> arguments)
{
    constexpr off_t Least = 1 << 20;
    if (!spool.directory.empty()) {
        throw ConfError("\"spool\" directive is duplicate");
    }
    ngx_str_t path = arguments[1];
    while (path.len > 1 && path.data[path.len - 1] == '/') {
        path.data[--path.len] = '\0';
    }
    if (path.len == 0) {
        throw ConfError("\"spool\" needs a directory");
    }
    if (ngx_conf_full_name(cf->cycle, &path, 0) != NGX_OK) {
        throw std::bad_alloc();
    }
    spool.directory = view(path);
    if (arguments.size() > 2) {
        std::string_view text = view(arguments[2]);
        if (!takePrefix(text, "max=")) {
            throw ConfError("invalid parameter " + inQuotes(text));
        }
        ngx_str_t value = borrow(text);
        const off_t size = ngx_parse_offset(&value);
        if (size == NGX_ERROR || size < Least) {
            throw ConfError("invalid size " + inQuotes(text) + ": at least 1m");
        }
        spool.maxBytes = static_cast<std::uint64_t>(size);
    }
    makeAtStart(cf, path);
}

// confirm TIME [window=N]: how long a confirm may take, how many may be under way
void setConfirm(BrokerConfig& broker, std::span<ngx_str_t> arguments)
{
    for (const ngx_str_t& argument : arguments.subspan(1)) {
        std::string_view text = view(argument);
        if (takePrefix(text, "window=")) {
            broker.window = parseCount(text, 65535);
        } else {
            broker.confirmTimeout = parseTime(text);
            if (broker.confirmTimeout < std::chrono::seconds(1)) {
                throw ConfError("invalid time " + inQuotes(text) + ": at least 1s");
            }
        }
    }
}

// cluster on|off [node=NAME]
void setCluster(const MainConf& main, BrokerConfig& broker, std::span<ngx_str_t> arguments)
{
    std::string_view word = view(arguments[1]);
    if (word != "on" && word != "off") {
        throw ConfError("invalid value " + inQuotes(word) + " in \"cluster\": on or off");
    }
    broker.cluster = word == "on";
    if (arguments.size() > 2) {
        std::string_view name = view(arguments[2]);
        constexpr std::string_view Allowed =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_";
        if (!takePrefix(name, "node=") || !broker.cluster) {
            throw ConfError("invalid parameter " + inQuotes(view(arguments[2])));
        }
        if (name.empty() || name.size() > 64 || name.find_first_not_of(Allowed) != std::string_view::npos) {
            throw ConfError("invalid node name " + inQuotes(name) +
                            ": 1 to 64 letters, digits, dots, - and _");
        }
        broker.clusterNode = name;
    }
    for (const auto& other : main.brokers) {
        if (broker.cluster && &other->config != &broker && other->config.cluster) {
            throw ConfError("\"cluster on\" stands in realtime_broker " + inQuotes(other->config.name) +
                            " already: a node is part of one cluster");
        }
    }
}

// Its own queue must be able to get everything.
void checkCluster(const BrokerConfig& broker)
{
    if (!broker.cluster) {
        return;
    }
    const std::string block = "realtime_broker " + inQuotes(broker.name) + " with \"cluster on\" ";
    if (broker.servers.front().scheme == BrokerServer::Scheme::Sqlite) {
        throw ConfError(block + "needs an amqp server: nodes cannot share a sqlite file");
    }
    std::vector<ExchangeConfig> exchanges = broker.moreExchanges;
    exchanges.push_back(broker.exchange);
    for (const ExchangeConfig& exchange : exchanges) {
        if (exchange.type == "direct") {
            throw ConfError(block + "cannot hear all of exchange " + inQuotes(exchange.name) +
                            ": topic, fanout or headers is wanted, not direct");
        }
        if (exchange.name == broker.exchange.name + ".cluster") {
            throw ConfError(block + "uses exchange " + inQuotes(exchange.name) + " itself");
        }
    }
}

void setTls(ngx_conf_t* cf, BrokerConfig& broker, std::span<ngx_str_t> arguments)
{
    if (view(arguments[0]) == "tls_ca") {
        broker.tlsCa = readableFile(cf, arguments[1]);
        return;
    }
    broker.tlsCert = readableFile(cf, arguments[1]);
    broker.tlsKey = arguments.size() > 2 ? readableFile(cf, arguments[2]) : broker.tlsCert;
}

void setHeartbeat(BrokerConfig& broker, std::string_view text)
{
    broker.heartbeat = std::chrono::duration_cast<std::chrono::seconds>(parseTime(text));
    if (broker.heartbeat < std::chrono::seconds(1) || broker.heartbeat > std::chrono::seconds(600)) {
        throw ConfError("invalid time " + inQuotes(text) + ": 1s to 10m");
    }
}

void checkBroker(const BrokerConfig& broker)
{
    if (broker.servers.empty()) {
        throw ConfError("realtime_broker " + inQuotes(broker.name) + " needs a \"server\"");
    }
    checkCluster(broker);
    for (const QueueConfig& queue : broker.queues) {
        if (!queue.exchange.empty() && !hasExchange(broker, queue.exchange)) {
            throw ConfError("queue " + inQuotes(queue.name) + " names an unknown exchange " +
                            inQuotes(queue.exchange));
        }
    }
    for (const BrokerServer& server : broker.servers) {
        if (server.scheme == BrokerServer::Scheme::Amqps && broker.tlsCa.empty()) {
            throw ConfError("realtime_broker " + inQuotes(broker.name) +
                            " has an amqps server and needs \"tls_ca\"");
        }
        if (server.scheme == BrokerServer::Scheme::Sqlite && !broker.spool.directory.empty()) {
            throw ConfError("realtime_broker " + inQuotes(broker.name) +
                            " has a sqlite server, which is durable itself: it takes no \"spool\"");
        }
    }
}

std::string nodeName()
{
    char name[256] = {};
    gethostname(name, sizeof(name) - 1);
    return name;
}

bool defaultQueue =
    false; // the block that is being read has named no queue yet (the parser is single-threaded)

// --- realtime_app -----------------------------------------------------------------------------------------------

std::string firstLine(const std::string& path)
{
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) {
        line.pop_back();
    }
    if (line.empty()) {
        throw ConfError("no secret in " + inQuotes(path));
    }
    return line;
}

// `key` and then its `secret`; several pairs, so that they can be changed while both are in use.
void addKey(const MainConf& main, PusherSettings& settings, std::string key)
{
    for (const auto& one : main.apps) {
        if (pusher::findKey(one->app.pusher.credentials, key) != nullptr) {
            throw ConfError("duplicate \"key\" " + inQuotes(key));
        }
    }
    if (!settings.credentials.empty() && settings.credentials.back().secret.empty()) {
        throw ConfError("\"key\" " + inQuotes(settings.credentials.back().key) + " has no \"secret\"");
    }
    if (key.empty() || key.find_first_of(":/?& ") != std::string::npos) {
        throw ConfError("invalid \"key\" " + inQuotes(key));
    }
    settings.credentials.push_back({std::move(key), {}});
}

void addSecret(PusherSettings& pusher, std::string secret)
{
    if (pusher.credentials.empty() || !pusher.credentials.back().secret.empty()) {
        throw ConfError("\"secret\" follows the \"key\" that it is for");
    }
    if (secret.empty()) {
        throw ConfError("empty \"secret\"");
    }
    pusher.credentials.back().secret = std::move(secret);
}

bool parseFlag(std::string_view directive, std::string_view word)
{
    if (word != "on" && word != "off") {
        throw ConfError("invalid value " + inQuotes(word) + " in " + inQuotes(directive) + ": on or off");
    }
    return word == "on";
}

// Times in whole seconds; "off" is 0.
std::uint32_t parseSeconds(std::string_view text, std::uint32_t least)
{
    if (text == "off" && least == 0) {
        return 0;
    }
    auto seconds = std::chrono::duration_cast<std::chrono::seconds>(parseTime(text)).count();
    if (seconds < std::max<std::int64_t>(least, 1) || seconds > 86400) {
        throw ConfError("invalid time " + inQuotes(text) + ": 1s to 24h");
    }
    return static_cast<std::uint32_t>(seconds);
}

// client_events on|off [rate=Nr/s]
void setClientEvents(PusherSettings& pusher, std::span<ngx_str_t> arguments)
{
    pusher.clientEvents = parseFlag("client_events", view(arguments[1]));
    if (arguments.size() > 2) {
        std::string_view text = view(arguments[2]);
        auto rate = takePrefix(text, "rate=") ? parseRate(text) : std::nullopt;
        if (!rate) {
            throw ConfError("invalid parameter " + inQuotes(view(arguments[2])));
        }
        pusher.clientEventsPerSecond = rate->perSecond;
    }
}

// presence_limits MEMBERS [INFO-SIZE]
void setPresenceLimits(PusherSettings& pusher, std::span<ngx_str_t> arguments)
{
    pusher.presenceMembers = parseCount(view(arguments[1]), 100'000);
    if (arguments.size() > 2) {
        ssize_t size = ngx_parse_size(&arguments[2]);
        if (size < 0 || size > static_cast<ssize_t>(MaxMemberInfoBytes)) {
            throw ConfError("invalid size " + inQuotes(view(arguments[2])) + ": at most 8k");
        }
        pusher.presenceInfoBytes = static_cast<std::uint32_t>(size);
    }
}

void addOrigins(std::vector<std::string>& origins, std::span<ngx_str_t> arguments)
{
    for (const ngx_str_t& argument : arguments.subspan(1)) {
        if (!validOriginPattern(view(argument))) {
            throw ConfError("invalid origin " + inQuotes(view(argument)));
        }
        origins.emplace_back(view(argument));
    }
}

// Groups as in Pusher's own settings, and single events.
std::vector<std::string> expandEvents(std::string_view list)
{
    struct Group {
        std::string_view name;
        std::vector<std::string> events;
    };
    const Group groups[] = {
        {"channel_existence", {"channel_occupied", "channel_vacated"}},
        {"presence", {"member_added", "member_removed"}},
        {"client_events", {"client_event"}},
        {"cache_channels", {"cache_miss"}},
        {"subscription_count", {"subscription_count"}},
    };
    std::vector<std::string> events;
    while (auto word = nextListItem(list)) {
        auto group = std::find_if(std::begin(groups), std::end(groups),
                                  [&](const Group& one) { return one.name == *word; });
        if (group == std::end(groups)) {
            throw ConfError("unknown webhook events " + inQuotes(*word));
        }
        events.insert(events.end(), group->events.begin(), group->events.end());
    }
    if (events.empty()) {
        throw ConfError("\"events=\" names no events");
    }
    return events;
}

// webhook URL [events=GROUP,GROUP…]
void addWebhook(PusherSettings& pusher, std::span<ngx_str_t> arguments)
{
    WebhookTarget target;
    target.url = view(arguments[1]);
    validateWebhookUrl(target.url);
    std::string_view text = arguments.size() > 2 ? view(arguments[2]) : "events=channel_existence,presence";
    if (!takePrefix(text, "events=")) {
        throw ConfError("invalid parameter " + inQuotes(text));
    }
    target.events = expandEvents(text);
    pusher.webhooks.push_back(std::move(target));
}

// --- channels ---------------------------------------------------------------------------------------------------

// history off | MESSAGES [AGE]
HistoryLimit parseHistory(std::span<ngx_str_t> arguments)
{
    HistoryLimit limit;
    if (view(arguments[1]) == "off") {
        if (arguments.size() > 2) {
            throw ConfError("\"history off\" takes no age");
        }
        limit.messages = 0;
        return limit;
    }
    limit.messages = parseCount(view(arguments[1]), 1'000'000);
    if (arguments.size() > 2) {
        limit.ageMs = parseTime(view(arguments[2])).count();
    }
    return limit;
}

// broker off | NAME [exchange=NAME] [routing_key=TEMPLATE] [NAME …]…
std::vector<BrokerRoute> parseRoutes(std::span<ngx_str_t> arguments, const ChannelPattern* pattern)
{
    std::vector<BrokerRoute> routes;
    if (arguments.size() == 2 && view(arguments[1]) == "off") {
        return routes;
    }
    for (const ngx_str_t& argument : arguments.subspan(1)) {
        std::string_view text = view(argument);
        if (takePrefix(text, "routing_key=")) {
            if (routes.empty() || routes.back().routingKey) {
                throw ConfError("\"routing_key=\" follows the broker that it is for");
            }
            routes.back().routingKey.emplace(text, pattern);
            continue;
        }
        if (takePrefix(text, "exchange=")) {
            if (routes.empty() || !routes.back().exchange.empty()) {
                throw ConfError("\"exchange=\" follows the broker that it is for");
            }
            routes.back().exchange = text;
            continue;
        }
        for (const BrokerRoute& other : routes) {
            if (other.broker == text) {
                throw ConfError("duplicate broker " + inQuotes(text));
            }
        }
        routes.push_back({std::string(text), std::nullopt});
    }
    return routes;
}

// client_publish on|off [rate=Nr/s]
void setClientPublish(ChannelRule& rule, std::span<ngx_str_t> arguments)
{
    std::string_view word = view(arguments[1]);
    if (word != "on" && word != "off") {
        throw ConfError("invalid value " + inQuotes(word) + " in \"client_publish\": on or off");
    }
    rule.clientPublish = word == "on";
    if (arguments.size() > 2) {
        std::string_view text = view(arguments[2]);
        auto rate = takePrefix(text, "rate=") ? parseRate(text) : std::nullopt;
        if (!rate || !rule.clientPublish) {
            throw ConfError("invalid parameter " + inQuotes(view(arguments[2])));
        }
        rule.clientPublishRate = *rate;
    }
}

// deliver log|broker. True: by a broker.
bool parseDelivery(std::string_view word)
{
    if (word != "log" && word != "broker") {
        throw ConfError("invalid value " + inQuotes(word) + " in \"deliver\": log or broker");
    }
    return word == "broker";
}

void notTwice(bool& seen, std::string_view directive)
{
    if (seen) {
        throw ConfError(inQuotes(directive) + " directive is duplicate");
    }
    seen = true;
}

// Which directives the innermost block has had.
struct Seen {
    bool history = false, clientPublish = false, broker = false, zone = false, deliver = false;
};
Seen seenInApp;
Seen seenInRule;

} // namespace

char* brokerBlock(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    auto& main = *static_cast<MainConf*>(data);
    char* result = reading(cf, [&] {
        auto broker = std::make_unique<BrokerConf>();
        broker->config.name = validName(argumentsOf(cf)[1], "broker name");
        broker->place = placeOf(cf);
        broker->config.node = nodeName();
        broker->config.queues.emplace_back();
        if (main.broker(broker->config.name) != nullptr) {
            throw ConfError("duplicate realtime_broker " + inQuotes(broker->config.name));
        }
        if (main.brokers.size() == 8) {
            throw ConfError("at most 8 realtime_broker blocks");
        }
        main.brokers.push_back(std::move(broker));
        main.block = main.brokers.back().get();
        defaultQueue = true;
    });
    if (result == NGX_CONF_OK) {
        result = readBlock(cf, InBroker);
    }
    if (result == NGX_CONF_OK) {
        result = reading(cf, [&] { checkBroker(main.block->config); });
    }
    main.block = nullptr;
    return result;
}

char* brokerDirective(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    BrokerConf& broker = *static_cast<MainConf*>(data)->block;
    auto arguments = argumentsOf(cf);
    return reading(cf, [&] {
        std::string_view name = view(arguments[0]);
        if (name == "server") {
            addServer(cf, broker.config, arguments[1]);
        } else if (name == "exchange") {
            setExchange(broker, arguments);
        } else if (name == "queue") {
            addQueue(broker, arguments, defaultQueue);
        } else if (name == "spool") {
            setSpool(cf, broker.config.spool, arguments);
        } else if (name == "confirm") {
            setConfirm(broker.config, arguments);
        } else if (name == "heartbeat") {
            setHeartbeat(broker.config, view(arguments[1]));
        } else if (name == "cluster") {
            setCluster(*static_cast<MainConf*>(data), broker.config, arguments);
        } else {
            setTls(cf, broker.config, arguments);
        }
    });
}

char* appBlock(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    auto& main = *static_cast<MainConf*>(data);
    char* result = reading(cf, [&] {
        std::string id = validName(argumentsOf(cf)[1], "app id");
        AppConf* app = main.app(id);
        if (app == nullptr) {
            main.apps.push_back(std::make_unique<AppConf>());
            app = main.apps.back().get();
            app->app.id = id;
        } else if (app->declared) {
            throw ConfError("duplicate realtime_app " + inQuotes(id));
        }
        app->declared = true;
        app->place = placeOf(cf);
        main.appBlock = app;
        seenInApp = {};
    });
    if (result == NGX_CONF_OK) {
        result = readBlock(cf, InApp);
    }
    if (result == NGX_CONF_OK) {
        result = reading(cf, [&] {
            const App& app = main.appBlock->app;
            const auto& credentials = app.pusher.credentials;
            if (!credentials.empty() && credentials.back().secret.empty()) {
                throw ConfError("\"key\" " + inQuotes(credentials.back().key) + " has no \"secret\"");
            }
            if (!app.pusher.webhooks.empty() && credentials.empty()) {
                throw ConfError("\"webhook\" needs a \"key\" and \"secret\" to sign with");
            }
        });
    }
    main.appBlock = nullptr;
    return result;
}

char* appDirective(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    auto& main = *static_cast<MainConf*>(data);
    App& app = main.appBlock->app;
    auto arguments = argumentsOf(cf);
    return reading(cf, [&] {
        std::string_view name = view(arguments[0]);
        std::string_view value = view(arguments[1]);
        if (name == "key") {
            addKey(main, app.pusher, std::string(value));
        } else if (name == "secret") {
            addSecret(app.pusher, std::string(value));
        } else if (name == "secret_file") {
            addSecret(app.pusher, firstLine(readableFile(cf, arguments[1])));
        } else if (name == "client_events") {
            setClientEvents(app.pusher, arguments);
        } else if (name == "max_connections") {
            app.pusher.maxConnections = parseCount(value, 100'000'000);
        } else if (name == "max_channels") {
            app.pusher.maxChannels = parseCount(value, 100'000);
        } else if (name == "origins") {
            addOrigins(app.pusher.origins, arguments);
        } else if (name == "webhook") {
            addWebhook(app.pusher, arguments);
        } else if (name == "activity_timeout") {
            app.pusher.activitySeconds = parseSeconds(value, 1);
        } else if (name == "authorized_connections") {
            app.pusher.authorizeSeconds = parseSeconds(value, 0);
        } else if (name == "presence_limits") {
            setPresenceLimits(app.pusher, arguments);
        } else if (name == "subscription_count") {
            app.pusher.subscriptionCount = parseFlag(name, value);
        } else if (name == "watchlist") {
            app.pusher.watchlist = parseFlag(name, value);
        } else if (name == "tls_only") {
            app.pusher.tlsOnly = parseFlag(name, value);
        } else {
            app.pusher.disabled = parseFlag(name, value);
        }
    });
}

char* channelsBlock(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    auto& main = *static_cast<MainConf*>(data);
    char* result = reading(cf, [&] {
        ChannelRule rule;
        rule.pattern.emplace(view(argumentsOf(cf)[1]));
        main.appBlock->app.rules.push_back(std::move(rule));
        main.ruleBlock = &main.appBlock->app.rules.back();
        seenInRule = {};
    });
    if (result == NGX_CONF_OK) {
        result = readBlock(cf, InChannels);
    }
    main.ruleBlock = nullptr;
    return result;
}

// `zone` and `broker` stand in an app and in a rule; the others in a rule only.
char* channelsDirective(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    auto& main = *static_cast<MainConf*>(data);
    AppConf& app = *main.appBlock;
    ChannelRule* rule = main.ruleBlock;
    Seen& seen = rule != nullptr ? seenInRule : seenInApp;
    auto arguments = argumentsOf(cf);

    return reading(cf, [&] {
        std::string_view name = view(arguments[0]);
        if (name == "zone") {
            notTwice(seen.zone, name);
            std::string zone(view(arguments[1]));
            app.zones.push_back({zone, {}, placeOf(cf)});
            (rule != nullptr ? rule->zone : app.app.zone) = zone;
        } else if (name == "broker") {
            notTwice(seen.broker, name);
            auto routes = parseRoutes(arguments, rule != nullptr ? &*rule->pattern : nullptr);
            for (const BrokerRoute& route : routes) {
                app.brokers.push_back({route.broker, route.exchange, placeOf(cf)});
            }
            if (rule != nullptr) {
                rule->brokersSet = true;
            }
            (rule != nullptr ? rule->brokers : app.app.brokers) = std::move(routes);
        } else if (name == "history") {
            notTwice(seen.history, name);
            rule->history = parseHistory(arguments);
        } else if (name == "deliver") {
            notTwice(seen.deliver, name);
            if (parseDelivery(view(arguments[1]))) {
                app.deliveries.push_back({app.app.rules.size() - 1, placeOf(cf)});
            }
        } else {
            notTwice(seen.clientPublish, name);
            setClientPublish(*rule, arguments);
        }
    });
}

// --- names ------------------------------------------------------------------------------------------------------

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
        if (!reference.exchange.empty() &&
            !hasExchange(conf.broker(reference.name)->config, reference.exchange)) {
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
                    numberApps(cf, conf) && countStreams(cf, conf);
        identifyEndpoints(conf);
        return good ? NGX_OK : NGX_ERROR;
    });
}

} // namespace realtime
