// What is right by itself and makes no sense as a whole.
#include "nginx/conf/arguments.hpp"
#include "nginx/conf/endpoints.hpp"
#include "nginx/conf/names.hpp"

#include "base/ascii.hpp"

#include <algorithm>

namespace realtime {

namespace {

std::string at(const ConfPlace& place)
{
    return std::string(view(place.file)) + ':' + std::to_string(place.line);
}

std::string sizeText(std::uint64_t bytes)
{
    return bytes % (1 << 20) == 0   ? std::to_string(bytes >> 20) + 'm'
           : bytes % (1 << 10) == 0 ? std::to_string(bytes >> 10) + 'k'
                                    : std::to_string(bytes);
}

// --- rules ------------------------------------------------------------------------------------------------------

bool isRegex(const ChannelPattern& pattern)
{
    return pattern.text().starts_with('~');
}

bool matchesEverything(const ChannelPattern& pattern)
{
    constexpr std::string_view Texts[] = {"*",       "~",       "~^",    "~.",   "~.*",   "~.+",
                                          "~.*$",    "~^.",     "~^.*",  "~^.+", "~^.*$", "~^.+$",
                                          "~^(.*)$", "~^(.+)$", "~(.*)", "~(.+)"};
    return std::find(std::begin(Texts), std::end(Texts), pattern.text()) != std::end(Texts);
}

// Does `above` surely match all that `below` does? The text of a pattern with * is a name to match: only a * matches its
// *, and so whatever that stands for.
bool hides(const ChannelPattern& above, const ChannelPattern& below)
{
    if (above.text() == below.text() || matchesEverything(above)) {
        return true;
    }
    if (isRegex(below) || (isRegex(above) && below.text().find('*') != std::string::npos)) {
        return false;
    }
    Captures captures;
    return above.match(below.text(), captures);
}

void checkRules(ngx_conf_t* cf, const AppConf& app)
{
    const auto& rules = app.app.rules;
    for (std::size_t i = 1; i < rules.size(); i++) {
        for (std::size_t above = 0; above < i; above++) {
            if (!hides(*rules[above].pattern, *rules[i].pattern)) {
                continue;
            }
            const std::string& text = rules[i].pattern->text();
            const std::string& by = rules[above].pattern->text();
            const std::string where = at(app.rulePlaces[above]);
            warnAt(cf,
                   by == text
                       ? joined({"\"channels ", text, "\" is never used: it stands in ", where, " already"})
                       : joined({"\"channels ", text, "\" is never used: \"channels ", by, "\" in ", where,
                                 " takes all of its channels, and the first that matches counts"}),
                   app.rulePlaces[i]);
            break;
        }
    }
}

// --- variables --------------------------------------------------------------------------------------------------

// Calls found() with each $name, ${name} and $1 of a text that nginx has compiled.
template <class Found> void forEachVariable(std::string_view text, Found&& found)
{
    for (auto dollar = text.find('$'); dollar != std::string_view::npos; dollar = text.find('$', dollar)) {
        std::size_t begin = dollar + 1;
        if (begin < text.size() && text[begin] >= '1' && text[begin] <= '9') { // one digit, to nginx
            found(text.substr(begin, 1));
            dollar = begin + 1;
            continue;
        }
        begin += begin < text.size() && text[begin] == '{' ? 1 : 0;
        std::size_t end = begin;
        while (end < text.size() && (isAlnum(text[end]) || text[end] == '_')) {
            end++;
        }
        found(text.substr(begin, end - begin));
        dollar = end;
    }
}

bool variableExists(const ngx_http_core_main_conf_t& core, std::string_view name)
{
    std::string lowerName(name);
    std::transform(lowerName.begin(), lowerName.end(), lowerName.begin(), [](char c) { return lower(c); });
    const auto* keys = static_cast<const ngx_hash_key_t*>(core.variables_keys->keys.elts);
    const auto* prefixes = static_cast<const ngx_http_variable_t*>(core.prefix_variables.elts);
    return std::any_of(keys, keys + core.variables_keys->keys.nelts,
                       [&](const ngx_hash_key_t& one) { return view(one.key) == lowerName; }) ||
           std::any_of(prefixes, prefixes + core.prefix_variables.nelts,
                       [&](const ngx_http_variable_t& one) { return lowerName.starts_with(view(one.name)); });
}

bool serverNameIsRegex(const ngx_http_core_srv_conf_t& server)
{
    const auto* names = static_cast<const ngx_http_server_name_t*>(server.server_names.elts);
#if (NGX_PCRE)
    return std::any_of(names, names + server.server_names.nelts,
                       [](const ngx_http_server_name_t& one) { return one.regex != nullptr; });
#else
    return names == nullptr;
#endif
}

void checkCapture(ngx_conf_t* cf, const LocConf& endpoint, std::string_view number)
{
    std::size_t captures = 0;
    bool regex = false;
#if (NGX_PCRE)
    regex = endpoint.core->regex != nullptr;
    captures = regex ? endpoint.core->regex->ncaptures : 0;
#endif
    if (static_cast<std::size_t>(number[0] - '0') <= captures ||
        (!regex && serverNameIsRegex(*endpoint.server))) {
        return;
    }
    const std::string has = captures == 0 ? "no captures, as in location ~ ^/pub/(.+)$"
                                          : joined({"captures up to $", std::to_string(captures)});
    warnAt(cf,
           joined({"$", number, " is empty, unless a \"rewrite\" or an \"if\" sets it: the location \"",
                   view(endpoint.core->name), "\" has ", has}),
           endpoint.place);
}

void checkVariables(ngx_conf_t* cf, const LocConf& endpoint)
{
    const auto* core =
        static_cast<ngx_http_core_main_conf_t*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module));
    const auto check = [&](const ngx_http_complex_value_t& value) {
        forEachVariable(view(value.value), [&](std::string_view name) {
            if (name.size() == 1 && name[0] >= '1' && name[0] <= '9') {
                checkCapture(cf, endpoint, name);
            } else if (!variableExists(*core, name)) {
                throw ConfErrorAt("unknown " + inQuotes(name) + " variable", endpoint.place);
            }
        });
    };
    for (const auto& channel : channelsOf(endpoint)) {
        check(channel);
    }
    if (endpoint.event != nullptr) {
        check(*endpoint.event);
    }
}

// --- channels ---------------------------------------------------------------------------------------------------

// Those that are known without a request.
std::vector<std::string_view> literalChannels(const LocConf& endpoint)
{
    std::vector<std::string_view> names;
    for (const auto& channel : channelsOf(endpoint)) {
        if (channel.lengths == nullptr) {
            names.push_back(view(channel.value));
        }
    }
    return names;
}

void checkZones(const LocConf& endpoint, const std::vector<std::string_view>& channels)
{
    for (const std::string_view channel : channels) {
        if (endpoint.app->app.policyOf(channel).log != endpoint.app->app.policyOf(channels.front()).log) {
            throw ConfErrorAt("channels " + inQuotes(channels.front()) + " and " + inQuotes(channel) +
                                  " are in different zones: a connection reads one",
                              endpoint.place);
        }
    }
}

bool storesAnything(const LocConf& endpoint, const std::vector<std::string_view>& channels)
{
    const App& app = endpoint.app->app;
    if (!channels.empty()) {
        return !app.policyOf(channels.front()).brokers->empty();
    }
    return !app.brokers.empty() || std::any_of(app.rules.begin(), app.rules.end(),
                                               [](const ChannelRule& rule) { return !rule.brokers.empty(); });
}

void checkChannels(ngx_conf_t* cf, const LocConf& endpoint)
{
    const auto channels = literalChannels(endpoint);
    checkZones(endpoint, channels);
    for (std::size_t i = 1; i < channels.size(); i++) {
        if (std::find(channels.begin(), channels.begin() + static_cast<std::ptrdiff_t>(i), channels[i]) !=
            channels.begin() + static_cast<std::ptrdiff_t>(i)) {
            warnAt(cf, "channel " + inQuotes(channels[i]) + " stands twice", endpoint.place);
        }
    }
    if (endpoint.kind == Publish && endpoint.ack != Ack::Log && !storesAnything(endpoint, channels)) {
        warnAt(
            cf,
            joined({"\"ack=", endpoint.ack == Ack::Stored ? "stored" : "broker",
                    "\" is answered as \"ack=log\": nothing sends these events to a broker, as \"broker\" in "
                    "realtime_app \"",
                    endpoint.app->app.id, "\" would"}),
            endpoint.place);
    }
}

// --- other directives of the location ---------------------------------------------------------------------------

void checkHandler(ngx_conf_t* cf, const LocConf& endpoint)
{
    const std::string directive(view(endpoint.words).substr(0, view(endpoint.words).find('\n')));
    if (endpoint.core->handler != endpoint.handler) {
        warnAt(cf,
               inQuotes(directive) +
                   " is never reached: another directive of this location answers, such as proxy_pass",
               endpoint.place);
    } else if (endpoint.displaced) {
        warnAt(cf,
               inQuotes(directive) +
                   " takes the place of another directive of this location that answers, such as proxy_pass",
               endpoint.place);
    }
}

void checkSizes(ngx_conf_t* cf, const LocConf& endpoint)
{
    const auto body = endpoint.core->client_max_body_size;
    if ((endpoint.kind & Publish) != 0 && endpoint.kind <= PubSub && body > 0 &&
        static_cast<std::uint64_t>(body) < endpoint.maxMessageBytes) {
        warnAt(cf,
               "\"realtime_max_message_size\" " + sizeText(endpoint.maxMessageBytes) +
                   " is not reached: nginx refuses a body above \"client_max_body_size\", which is " +
                   sizeText(static_cast<std::uint64_t>(body)),
               endpoint.place);
    }
    if (endpoint.kind == PubSub && endpoint.bufferBytes < endpoint.maxMessageBytes) {
        warnAt(cf,
               "\"realtime_buffer\" " + sizeText(endpoint.bufferBytes) +
                   " is below \"realtime_max_message_size\", which is " + sizeText(endpoint.maxMessageBytes) +
                   ": a message that large closes its subscribers",
               endpoint.place);
    }
}

// --- the Pusher protocol ----------------------------------------------------------------------------------------

std::vector<std::string_view> pusherNames(const MainConf& conf, EndpointKind side)
{
    std::vector<std::string_view> names;
    for (const auto& app : conf.apps) {
        const auto& credentials = app->app.pusher.credentials;
        if (side == PusherApi && !credentials.empty()) {
            names.emplace_back(app->app.id);
        }
        for (const auto& one : credentials) {
            if (side == PusherWebSocket) {
                names.emplace_back(one.key);
            }
        }
    }
    return names;
}

// Can a path that begins with `location` (or is that, if `exact`) go on to /app/KEY, or to what is below /apps/ID/?
bool canReach(std::string_view location, bool exact, std::string_view base, bool below,
              const std::vector<std::string_view>& names)
{
    const auto begin = location.rfind(base);
    if (begin == std::string_view::npos) {
        return !exact;
    }
    const std::string_view rest = location.substr(begin + base.size());
    return std::any_of(names.begin(), names.end(), [&](std::string_view name) {
        if (exact || rest.size() > name.size()) {
            return below ? rest.starts_with(std::string(name) + '/') : rest == name;
        }
        return name.starts_with(rest);
    });
}

void checkPusher(ngx_conf_t* cf, const MainConf& conf, const LocConf& endpoint)
{
    const bool api = endpoint.kind == PusherApi;
    const auto names = pusherNames(conf, api ? PusherApi : PusherWebSocket);
    if (names.empty()) {
        warnAt(cf,
               "\"realtime_pusher\" reaches no app: none has a \"key\" and a \"secret\", as in realtime_app "
               "1 { key k; secret s; }",
               endpoint.place);
        return;
    }
    bool regex = false;
#if (NGX_PCRE)
    regex = endpoint.core->regex != nullptr;
#endif
    const std::string_view location = view(endpoint.core->name);
    const std::string_view base = api ? "/apps/" : "/app/", other = api ? "/app/" : "/apps/";
    if (regex || endpoint.core->named) {
        return;
    }
    if (!canReach(location, endpoint.core->exact_match, base, api, names) || location.ends_with(other)) {
        warnAt(cf,
               joined({"\"realtime_pusher ", api ? "api" : "websocket", "\" in the location \"", location,
                       "\" can be reached by no app: ",
                       api ? "its paths begin with /apps/ID/, as in location /apps/"
                           : "its path is /app/KEY, as in location /app/"}),
               endpoint.place);
    }
}

} // namespace

void checkWhole(ngx_conf_t* cf, const MainConf& conf)
{
    for (const LocConf* endpoint : conf.endpoints) {
        if (endpoint->core->noname) { // what an `if` has taken over was looked at where it stands
            continue;
        }
        checkHandler(cf, *endpoint);
        if (endpoint->kind <= PubSub) {
            checkVariables(cf, *endpoint);
            checkChannels(cf, *endpoint);
            checkSizes(cf, *endpoint);
        } else if (endpoint->kind != Status) {
            checkPusher(cf, conf, *endpoint);
        }
    }
    for (const auto& app : conf.apps) {
        checkRules(cf, *app);
    }
    for (const auto& broker : conf.brokers) {
        if (!broker->used && !broker->config.cluster) {
            warnAt(cf,
                   "realtime_broker " + inQuotes(broker->config.name) + " is not used: \"broker " +
                       broker->config.name + ";\" in a realtime_app or its channels sends events there",
                   broker->place);
        }
    }
}

} // namespace realtime
