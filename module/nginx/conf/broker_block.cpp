// realtime_broker and what stands in it.
#include "nginx/conf/block.hpp"

#include "broker/amqp/tls_context.hpp"

#include <algorithm>
#include <optional>
#include <unistd.h>

namespace realtime {

namespace {

bool isSqlite(const BrokerServer& server)
{
    return server.scheme == BrokerServer::Scheme::Sqlite;
}

// server URL
void addServer(BrokerBlock& block, Arguments arguments)
{
    BrokerConfig& broker = block.broker.config;
    BrokerServer server = parseBrokerServer(view(arguments[1]));
    if (!broker.servers.empty() && (isSqlite(server) || isSqlite(broker.servers.front()))) {
        throw ConfError("a sqlite server stands alone: it is no failover for another");
    }
    if (isSqlite(server)) {
        server.path = fullPath(block.cf, server.path, false);
        block.broker.filesPlace = placeOf(block.cf);
    }
    for (const BrokerServer& other : broker.servers) {
        if (other.display() == server.display()) {
            throw ConfError("duplicate server " + inQuotes(server.display()));
        }
    }
    broker.servers.push_back(std::move(server));
}

constexpr Choice<const char*> ExchangeTypes[] = {
    {"topic", "topic"}, {"direct", "direct"}, {"fanout", "fanout"}, {"headers", "headers"}};

// exchange NAME [topic|direct|fanout|headers]; the first is where events go if their rule does not say
void addExchange(BrokerBlock& block, Arguments arguments)
{
    BrokerConf& broker = block.broker;
    std::string name = parseName(view(arguments[1]), "exchange");
    if (broker.exchangeSet && broker.hasExchange(name)) {
        throw ConfError("duplicate exchange " + inQuotes(name));
    }
    ExchangeConfig& exchange =
        broker.exchangeSet ? broker.config.moreExchanges.emplace_back() : broker.config.exchange;
    broker.exchangeSet = true;
    exchange.name = std::move(name);
    if (arguments.size() > 2) {
        const char* const* type = chosen(ExchangeTypes, view(arguments[2]));
        if (type == nullptr) {
            throw ConfError("invalid exchange type " + inQuotes(view(arguments[2])) +
                            ", exchange: " + listed(ExchangeTypes));
        }
        exchange.type = *type;
    }
}

constexpr Choice<bool> TrueFalse[] = {{"true", true}, {"false", false}};

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
    if (const bool* truth = chosen(TrueFalse, value)) {
        argument.value = *truth;
    } else if (const ngx_str_t number = borrow(value); !value.empty() && value.size() < 19) {
        if (const ngx_int_t n = ngx_atoi(number.data, number.len); n != NGX_ERROR) {
            argument.value = std::int64_t{n};
        }
    }
    return argument;
}

struct QueueReader {
    QueueConfig queue;
    std::vector<std::string> bindings;
    bool typeSet = false;
};

constexpr Choice<const char*> QueueTypes[] = {
    {"classic", "classic"}, {"quorum", "quorum"}, {"stream", "stream"}};

void addBinding(QueueReader& reader, std::string_view key)
{
    if (key.size() > 255) {
        throw ConfError("a binding key has at most 255 bytes");
    }
    reader.bindings.emplace_back(key);
}

void setQueueExchange(QueueReader& reader, std::string_view name)
{
    reader.queue.exchange = parseName(name, "exchange");
}

void addQueueArgument(QueueReader& reader, std::string_view text)
{
    reader.queue.arguments.push_back(parseQueueArgument(text));
}

constexpr Parameter<QueueReader> QueueParameters[] = {
    {"exchange=", setQueueExchange}, {"bind=", addBinding, true}, {"arg=", addQueueArgument, true}};

// queue NAME [classic|quorum|stream] [exchange=NAME] [bind=KEY…] [arg=NAME:VALUE…], or queue off
void addQueue(BrokerBlock& block, Arguments arguments)
{
    auto& queues = block.broker.config.queues;
    if (!block.queues) {
        queues.clear(); // the default one
        block.queues = true;
    }
    if (block.queuesOff || (view(arguments[1]) == "off" && arguments.size() == 2)) {
        if (block.queuesOff || !queues.empty()) {
            throw ConfError("\"queue off\" stands beside no other queue");
        }
        block.queuesOff = true;
        return;
    }

    QueueReader reader;
    reader.queue.name = parseName(view(arguments[1]), "queue");
    Parameters parameters(QueueParameters, reader);
    for (const ngx_str_t& argument : arguments.subspan(2)) {
        if (const char* const* type = chosen(QueueTypes, view(argument));
            type != nullptr && !reader.typeSet) {
            reader.queue.type = *type;
            reader.typeSet = true;
        } else if (!parameters.take(view(argument))) {
            parameters.refuse("queue", view(argument), {"classic", "quorum", "stream"});
        }
    }
    if (!reader.bindings.empty()) {
        reader.queue.bindings = std::move(reader.bindings);
    }
    for (const QueueConfig& other : queues) {
        if (other.name == reader.queue.name) {
            throw ConfError("duplicate queue " + inQuotes(other.name));
        }
    }
    queues.push_back(std::move(reader.queue));
}

void setSpoolMax(SpoolConfig& spool, std::string_view value)
{
    spool.maxBytes = parseSize(value, 1 << 20);
}

constexpr Parameter<SpoolConfig> SpoolParameters[] = {{"max=", setSpoolMax}};

// spool DIRECTORY [max=SIZE]
void setSpool(BrokerBlock& block, Arguments arguments)
{
    SpoolConfig& spool = block.broker.config.spool;
    std::string_view path = view(arguments[1]);
    while (path.size() > 1 && path.back() == '/') {
        path.remove_suffix(1);
    }
    if (path.empty()) {
        throw ConfError("\"spool\" needs a directory");
    }
    spool.directory = fullPath(block.cf, path, false);
    Parameters(SpoolParameters, spool).takeAll("spool", arguments.subspan(2));
    block.broker.filesPlace = placeOf(block.cf);
}

void setWindow(BrokerConfig& broker, std::string_view value)
{
    broker.window = parseCount(value, 65535);
}

constexpr Parameter<BrokerConfig> ConfirmParameters[] = {{"window=", setWindow}};

// confirm [TIME] [window=N]: how long a confirm may take, how many may be under way
void setConfirm(BrokerBlock& block, Arguments arguments)
{
    BrokerConfig& broker = block.broker.config;
    Parameters parameters(ConfirmParameters, broker);
    bool timeSet = false;
    for (const ngx_str_t& argument : arguments.subspan(1)) {
        std::string_view text = view(argument);
        if (parameters.take(text)) {
            continue;
        }
        if (timeSet) {
            parameters.refuse("confirm", text);
        }
        timeSet = true;
        broker.confirmTimeout = parseTime(text);
        if (broker.confirmTimeout < std::chrono::seconds(1)) {
            throw ConfError("invalid time " + inQuotes(text) + ": at least 1s");
        }
    }
}

void setClusterNode(BrokerConfig& broker, std::string_view name)
{
    constexpr std::string_view Allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_";
    if (!broker.cluster) {
        throw ConfError("invalid parameter " + inQuotes("node=" + std::string(name)) +
                        ": it belongs to \"cluster on\"");
    }
    if (name.empty() || name.size() > 64 || name.find_first_not_of(Allowed) != std::string_view::npos) {
        throw ConfError("invalid node name " + inQuotes(name) + ": 1 to 64 letters, digits, dots, - and _");
    }
    broker.clusterNode = name;
}

constexpr Parameter<BrokerConfig> ClusterParameters[] = {{"node=", setClusterNode}};

// cluster on|off [node=NAME]
void setCluster(BrokerBlock& block, Arguments arguments)
{
    BrokerConfig& broker = block.broker.config;
    broker.cluster = choose("cluster", view(arguments[1]), OnOff);
    Parameters(ClusterParameters, broker).takeAll("cluster", arguments.subspan(2));
    for (const auto& other : block.main.brokers) {
        if (broker.cluster && &other->config != &broker && other->config.cluster) {
            throw ConfError("\"cluster on\" stands in realtime_broker " + inQuotes(other->config.name) +
                            " already: a node is part of one cluster");
        }
    }
}

// tls_ca FILE
void setTlsCa(BrokerBlock& block, Arguments arguments)
{
    block.broker.config.tlsCa = readableFile(block.cf, view(arguments[1]));
    block.broker.tlsPlace = placeOf(block.cf);
}

// tls_cert FILE [KEY-FILE]
void setTlsCert(BrokerBlock& block, Arguments arguments)
{
    BrokerConfig& broker = block.broker.config;
    block.broker.tlsPlace = placeOf(block.cf);
    broker.tlsCert = readableFile(block.cf, view(arguments[1]));
    broker.tlsKey = arguments.size() > 2 ? readableFile(block.cf, view(arguments[2])) : broker.tlsCert;
}

// heartbeat TIME
void setHeartbeat(BrokerBlock& block, Arguments arguments)
{
    std::string_view text = view(arguments[1]);
    auto heartbeat = std::chrono::duration_cast<std::chrono::seconds>(parseTime(text));
    if (heartbeat < std::chrono::seconds(1) || heartbeat > std::chrono::seconds(600)) {
        throw ConfError("invalid time " + inQuotes(text) + ": 1s to 10m");
    }
    block.broker.config.heartbeat = heartbeat;
}

constexpr Directive<BrokerBlock> BrokerTable[] = {
    {"server", NGX_CONF_TAKE1, Occurs::Often, addServer},
    {"exchange", NGX_CONF_TAKE12, Occurs::Often, addExchange},
    {"queue", NGX_CONF_1MORE, Occurs::Often, addQueue},
    {"spool", NGX_CONF_TAKE12, Occurs::Once, setSpool},
    {"confirm", NGX_CONF_1MORE, Occurs::Once, setConfirm},
    {"cluster", NGX_CONF_TAKE12, Occurs::Once, setCluster},
    {"tls_ca", NGX_CONF_TAKE1, Occurs::Once, setTlsCa},
    {"tls_cert", NGX_CONF_TAKE12, Occurs::Once, setTlsCert},
    {"heartbeat", NGX_CONF_TAKE1, Occurs::Once, setHeartbeat},
};

// Its own queue must be able to get everything.
void checkCluster(const BrokerConfig& broker)
{
    if (!broker.cluster) {
        return;
    }
    const std::string block = "realtime_broker " + inQuotes(broker.name) + " with \"cluster on\" ";
    if (isSqlite(broker.servers.front())) {
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

// Read now, by root: the workers read them again.
void checkTls(const BrokerConf& conf)
{
    const BrokerConfig& broker = conf.config;
    const std::string block = "realtime_broker " + inQuotes(broker.name);
    const bool tls =
        std::any_of(broker.servers.begin(), broker.servers.end(),
                    [](const BrokerServer& server) { return server.scheme == BrokerServer::Scheme::Amqps; });
    if (tls && broker.tlsCa.empty()) {
        throw ConfError(block + " has an amqps server and needs \"tls_ca\"");
    }
    if (!tls && conf.tlsPlace.line != 0) {
        throw ConfErrorAt(block + " has certificates, but no server with TLS: it begins with amqps://",
                          conf.tlsPlace);
    }
    if (tls) {
        try {
            makeTlsContext(broker);
        } catch (const std::runtime_error& error) {
            throw ConfErrorAt(std::string(error.what()) + ", a PEM file is wanted", conf.tlsPlace);
        }
    }
}

// Directives that mean something to RabbitMQ only.
void checkSqlite(ngx_conf_t* cf, const BrokerConf& conf, bool queues)
{
    const std::string block = "realtime_broker " + inQuotes(conf.config.name) + " has a sqlite server";
    if (!conf.config.spool.directory.empty()) {
        throw ConfError(block + ", which is durable itself: it takes no \"spool\"");
    }
    if (conf.exchangeSet || queues) {
        warnAt(cf, block + ", to which \"exchange\" and \"queue\" mean nothing", conf.place);
    }
}

void checkBroker(const BrokerBlock& read)
{
    const BrokerConf& conf = read.broker;
    const BrokerConfig& broker = conf.config;
    const std::string block = "realtime_broker " + inQuotes(broker.name);
    if (broker.servers.empty()) {
        throw ConfError(block + " needs a \"server\"");
    }
    checkCluster(broker);
    for (const QueueConfig& queue : broker.queues) {
        if (!queue.exchange.empty() && !conf.hasExchange(queue.exchange)) {
            throw ConfError("queue " + inQuotes(queue.name) + " names an unknown exchange " +
                            inQuotes(queue.exchange));
        }
    }
    checkTls(conf);
    if (isSqlite(broker.servers.front())) {
        checkSqlite(read.cf, conf, read.queues);
    }
}

std::string nodeName()
{
    char name[256] = {};
    gethostname(name, sizeof(name) - 1);
    return name;
}

BrokerConf& addBroker(MainConf& main, ngx_conf_t* cf)
{
    auto broker = std::make_unique<BrokerConf>();
    broker->config.name = parseName(view(argumentsOf(cf)[1]), "broker name");
    broker->place = placeOf(cf);
    broker->config.node = nodeName();
    broker->config.queues.emplace_back();
    if (main.broker(broker->config.name) != nullptr) {
        throw ConfError("duplicate realtime_broker " + inQuotes(broker->config.name));
    }
    if (broker->config.name == "off") {
        throw ConfError("\"off\" is no name for a realtime_broker: \"broker off\" means none");
    }
    if (main.brokers.size() == 8) {
        throw ConfError("at most 8 realtime_broker blocks");
    }
    return *main.brokers.emplace_back(std::move(broker));
}

} // namespace

std::span<const Directive<BrokerBlock>> brokerDirectives()
{
    return BrokerTable;
}

char* brokerBlock(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    return reading(cf, [&] {
        auto& main = *static_cast<MainConf*>(data);
        BrokerBlock block(cf, main, addBroker(main, cf));
        readBlock(block);
        checkBroker(block);
    });
}

} // namespace realtime
