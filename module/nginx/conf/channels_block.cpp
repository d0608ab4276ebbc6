// channels and what stands in it.
#include "nginx/conf/channel_settings.hpp"

#include <cctype>

namespace realtime {

namespace {

// history off | MESSAGES [AGE]
void setHistory(ChannelsBlock& block, Arguments arguments)
{
    HistoryLimit& limit = block.rule.history.emplace();
    if (view(arguments[1]) == "off") {
        if (arguments.size() > 2) {
            throw ConfError("\"history off\" takes no age");
        }
        limit.messages = 0;
        return;
    }
    limit.messages = parseCount(view(arguments[1]), 1'000'000);
    if (arguments.size() > 2) {
        limit.ageMs = parseTime(view(arguments[2])).count();
    }
}

void setClientPublishRate(ChannelRule& rule, std::string_view value)
{
    if (!rule.clientPublish) {
        throw ConfError("invalid parameter " + inQuotes("rate=" + std::string(value)) +
                        ": it belongs to \"client_publish on\"");
    }
    rule.clientPublishRate = parseRateParameter(value);
}

constexpr Parameter<ChannelRule> ClientPublishParameters[] = {{"rate=", setClientPublishRate}};

// client_publish on|off [rate=Nr/s]
void setClientPublish(ChannelsBlock& block, Arguments arguments)
{
    block.rule.clientPublish = choose("client_publish", view(arguments[1]), OnOff);
    Parameters(ClientPublishParameters, block.rule).takeAll("client_publish", arguments.subspan(2));
}

enum class Delivery { Log, Broker };
constexpr Choice<Delivery> Deliveries[] = {{"log", Delivery::Log}, {"broker", Delivery::Broker}};

// deliver log|broker
void setDelivery(ChannelsBlock& block, Arguments arguments)
{
    if (choose("deliver", view(arguments[1]), Deliveries) == Delivery::Broker) {
        block.app.deliveries.push_back({block.app.app.rules.size() - 1, placeOf(block.cf)});
    }
}

void setRuleZone(ChannelsBlock& block, Arguments arguments)
{
    block.rule.zone = zoneName(block.cf, block.app, arguments);
}

void setRuleBroker(ChannelsBlock& block, Arguments arguments)
{
    block.rule.brokers = brokerRoutes(block.cf, block.app, arguments, &*block.rule.pattern);
    block.rule.brokersSet = true;
}

constexpr Directive<ChannelsBlock> ChannelsTable[] = {
    {"history", NGX_CONF_TAKE12, Occurs::Once, setHistory},
    {"client_publish", NGX_CONF_TAKE12, Occurs::Once, setClientPublish},
    {"deliver", NGX_CONF_TAKE1, Occurs::Once, setDelivery},
    {"zone", NGX_CONF_TAKE1, Occurs::Once, setRuleZone},
    {"broker", NGX_CONF_1MORE, Occurs::Once, setRuleBroker},
};

void setRoutingKey(std::vector<BrokerRoute>& routes, std::string_view text, const ChannelPattern* pattern)
{
    if (routes.empty() || routes.back().routingKey) {
        throw ConfError("\"routing_key=\" follows the broker that it is for");
    }
    routes.back().routingKey.emplace(text, pattern);
}

void setRouteExchange(std::vector<BrokerRoute>& routes, std::string_view name)
{
    if (routes.empty() || !routes.back().exchange.empty()) {
        throw ConfError("\"exchange=\" follows the broker that it is for");
    }
    routes.back().exchange = parseName(name, "exchange");
}

void addRoute(std::vector<BrokerRoute>& routes, std::string_view broker)
{
    if (broker.find('=') != std::string_view::npos) {
        throw ConfError("invalid parameter " + inQuotes(broker) + ", broker: routing_key= or exchange=");
    }
    for (const BrokerRoute& other : routes) {
        if (other.broker == broker) {
            throw ConfError("duplicate broker " + inQuotes(broker));
        }
    }
    routes.push_back({std::string(broker), std::nullopt});
}

} // namespace

std::span<const Directive<ChannelsBlock>> channelsDirectives()
{
    return ChannelsTable;
}

std::string zoneName(ngx_conf_t* cf, AppConf& app, Arguments arguments)
{
    std::string name(view(arguments[1]));
    app.zones.push_back({name, {}, placeOf(cf)});
    return name;
}

std::vector<BrokerRoute> brokerRoutes(ngx_conf_t* cf, AppConf& app, Arguments arguments,
                                      const ChannelPattern* pattern)
{
    std::vector<BrokerRoute> routes;
    if (arguments.size() == 2 && view(arguments[1]) == "off") {
        return routes;
    }
    for (const ngx_str_t& argument : arguments.subspan(1)) {
        std::string_view text = view(argument);
        if (takePrefix(text, "routing_key=")) {
            setRoutingKey(routes, text, pattern);
        } else if (takePrefix(text, "exchange=")) {
            setRouteExchange(routes, text);
        } else {
            addRoute(routes, text);
        }
    }
    for (const BrokerRoute& route : routes) {
        app.brokers.push_back({route.broker, route.exchange, placeOf(cf)});
    }
    return routes;
}

namespace {

// nginx ends a word at "{", and so a regex like ~^x{2}$, if it is not quoted.
void refuseCutPattern(ngx_conf_t* cf, std::string_view pattern)
{
    const ngx_buf_t& buffer = *cf->conf_file->buffer; // read up to the "{"
    if (buffer.pos - buffer.start < 2 || std::isspace(buffer.pos[-2]) != 0) {
        return;
    }
    const std::string_view rest(reinterpret_cast<const char*>(buffer.pos),
                                static_cast<std::size_t>(buffer.last - buffer.pos));
    const auto end = rest.find_first_not_of("0123456789,");
    if (end != 0 && end != std::string_view::npos && rest[end] == '}') {
        throw ConfError("the pattern ends at its \"{\": put it in quotes, as in channels \"" +
                        std::string(pattern) + '{' + std::string(rest.substr(0, end)) + "}\" { … }");
    }
}

// Patterns that are right and hardly meant.
void warnOfPattern(ngx_conf_t* cf, std::string_view pattern)
{
    if (!pattern.starts_with('~') && (pattern.starts_with('^') || pattern.ends_with('$') ||
                                      pattern.find('\\') != std::string_view::npos)) {
        warn(cf, "the pattern " + inQuotes(pattern) + " is no regex: one begins with \"~\", as in " +
                     inQuotes('~' + std::string(pattern)));
    }
}

std::string_view patternOf(Arguments arguments)
{
    const std::string_view pattern = view(arguments[1]);
    if (arguments.size() > 2 || pattern == "~*" || pattern == "~") {
        throw ConfError(pattern == "~" || pattern == "~*"
                            ? "the \"~\" and the regex are one word, as in channels ~^orders"
                            : "\"channels\" takes one pattern: each has a block of its own");
    }
    if (pattern.starts_with("~*")) {
        throw ConfError("invalid pattern " + inQuotes(pattern) +
                        ": case does not count in a regex that begins with (?i), as in " +
                        inQuotes("~(?i)" + std::string(pattern.substr(2))));
    }
    return pattern;
}

} // namespace

void channelsBlock(AppBlock& around, Arguments arguments)
{
    AppConf& app = around.app;
    const std::string_view pattern = patternOf(arguments);
    refuseCutPattern(around.cf, pattern);
    ChannelRule rule;
    rule.pattern.emplace(pattern);
    warnOfPattern(around.cf, pattern);
    app.rulePlaces.push_back(placeOf(around.cf));
    app.app.rules.push_back(std::move(rule));
    ChannelsBlock block(around, app.app.rules.back());
    readBlock(block);
}

} // namespace realtime
