// realtime_app and what stands in it.
#include "nginx/conf/block.hpp"
#include "nginx/conf/channel_settings.hpp"

#include "webhook/webhook_sender.hpp"
#include "wire/accept.hpp"

#include <fstream>

namespace realtime {

namespace {

// `key` and then its `secret`; several pairs, so that they can be changed while both are in use.
void addKey(AppBlock& block, Arguments arguments)
{
    auto& credentials = block.app.app.pusher.credentials;
    std::string key(view(arguments[1]));
    for (const auto& one : block.main.apps) {
        if (pusher::findKey(one->app.pusher.credentials, key) != nullptr) {
            throw ConfError("duplicate \"key\" " + inQuotes(key));
        }
    }
    if (!credentials.empty() && credentials.back().secret.empty()) {
        throw ConfError("\"key\" " + inQuotes(credentials.back().key) + " has no \"secret\"");
    }
    if (key.empty() || key.find_first_of(":/?& ") != std::string::npos) {
        throw ConfError("invalid \"key\" " + inQuotes(key));
    }
    credentials.push_back({std::move(key), {}});
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

void setSecret(AppBlock& block, Arguments arguments)
{
    addSecret(block.app.app.pusher, std::string(view(arguments[1])));
}

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

void setSecretFile(AppBlock& block, Arguments arguments)
{
    addSecret(block.app.app.pusher, firstLine(readableFile(block.cf, view(arguments[1]))));
}

void setClientEventRate(PusherSettings& pusher, std::string_view value)
{
    pusher.clientEventsPerSecond = parseRateParameter(value).perSecond;
}

constexpr Parameter<PusherSettings> ClientEventsParameters[] = {{"rate=", setClientEventRate}};

// client_events on|off [rate=Nr/s]
void setClientEvents(AppBlock& block, Arguments arguments)
{
    PusherSettings& pusher = block.app.app.pusher;
    pusher.clientEvents = choose("client_events", view(arguments[1]), OnOff);
    Parameters(ClientEventsParameters, pusher).takeAll("client_events", arguments.subspan(2));
}

// A directive that is a number from 1 to Most.
template <std::uint32_t PusherSettings::*Setting, std::uint32_t Most>
void setCount(AppBlock& block, Arguments arguments)
{
    block.app.app.pusher.*Setting = parseCount(view(arguments[1]), Most);
}

// NUMBER | PERCENT%, of each zone that the app has channels in.
template <std::optional<Quota> AppShares::*Setting> void setQuota(AppBlock& block, Arguments arguments)
{
    std::string_view text = view(arguments[1]);
    Quota quota;
    if (text.ends_with('%')) {
        text.remove_suffix(1);
        quota.percent = parseCount(text, 100);
    } else {
        quota.count = parseCount(text, 100'000'000);
    }
    block.app.app.shares.*Setting = quota;
}

// One that is a time in whole seconds; "off" if Least is 0.
template <std::uint32_t PusherSettings::*Setting, std::uint32_t Least>
void setSeconds(AppBlock& block, Arguments arguments)
{
    block.app.app.pusher.*Setting = parseSeconds(view(arguments[1]), Least);
}

// One that is on or off.
template <bool PusherSettings::*Setting> void setFlag(AppBlock& block, Arguments arguments)
{
    block.app.app.pusher.*Setting = choose(view(arguments[0]), view(arguments[1]), OnOff);
}

// presence_limits MEMBERS [INFO-SIZE]
void setPresenceLimits(AppBlock& block, Arguments arguments)
{
    PusherSettings& pusher = block.app.app.pusher;
    pusher.presenceMembers = parseCount(view(arguments[1]), 100'000);
    if (arguments.size() > 2) {
        ssize_t size = ngx_parse_size(&arguments[2]);
        if (size < 0 || size > static_cast<ssize_t>(MaxMemberInfoBytes)) {
            throw ConfError("invalid size " + inQuotes(view(arguments[2])) + ": at most 8k");
        }
        pusher.presenceInfoBytes = static_cast<std::uint32_t>(size);
    }
}

// origins * | ORIGIN…
void setOrigins(AppBlock& block, Arguments arguments)
{
    addOrigins(block.app.app.pusher.origins, arguments.subspan(1));
}

// Groups as in Pusher's own settings: their events, with a comma between.
constexpr Choice<std::string_view> WebhookGroups[] = {
    {"channel_existence", "channel_occupied,channel_vacated"},
    {"presence", "member_added,member_removed"},
    {"client_events", "client_event"},
    {"cache_channels", "cache_miss"},
    {"subscription_count", "subscription_count"},
};

void setWebhookEvents(WebhookTarget& target, std::string_view list)
{
    while (auto word = nextListItem(list)) {
        const std::string_view* group = chosen(WebhookGroups, *word);
        if (group == nullptr) {
            throw ConfError("unknown webhook events " + inQuotes(*word) +
                            ", events: " + listed(WebhookGroups));
        }
        std::string_view events = *group;
        while (auto event = nextListItem(events)) {
            target.events.emplace_back(*event);
        }
    }
    if (target.events.empty()) {
        throw ConfError("\"events=\" names no events: " + listed(WebhookGroups));
    }
}

constexpr Parameter<WebhookTarget> WebhookParameters[] = {{"events=", setWebhookEvents}};

// webhook URL [events=GROUP,GROUP…]
void addWebhook(AppBlock& block, Arguments arguments)
{
    WebhookTarget target;
    target.url = view(arguments[1]);
    validateWebhookUrl(target.url);
    Parameters(WebhookParameters, target).takeAll("webhook", arguments.subspan(2));
    if (target.events.empty()) {
        setWebhookEvents(target, "channel_existence,presence");
    }
    block.app.app.pusher.webhooks.push_back(std::move(target));
}

void setAppZone(AppBlock& block, Arguments arguments)
{
    block.app.app.zone = zoneName(block.cf, block.app, arguments);
}

void setAppBroker(AppBlock& block, Arguments arguments)
{
    block.app.app.brokers = brokerRoutes(block.cf, block.app, arguments, nullptr);
}

constexpr Directive<AppBlock> AppTable[] = {
    {"key", NGX_CONF_TAKE1, Occurs::Often, addKey},
    {"secret", NGX_CONF_TAKE1, Occurs::Often, setSecret},
    {"secret_file", NGX_CONF_TAKE1, Occurs::Often, setSecretFile},
    {"client_events", NGX_CONF_TAKE12, Occurs::Once, setClientEvents},
    {"max_connections", NGX_CONF_TAKE1, Occurs::Once, setCount<&PusherSettings::maxConnections, 100'000'000>},
    {"max_channels", NGX_CONF_TAKE1, Occurs::Once, setCount<&PusherSettings::maxChannels, 100'000>},
    {"channels_quota", NGX_CONF_TAKE1, Occurs::Once, setQuota<&AppShares::channels>},
    {"presence_quota", NGX_CONF_TAKE1, Occurs::Once, setQuota<&AppShares::presence>},
    {"repeat_quota", NGX_CONF_TAKE1, Occurs::Once, setQuota<&AppShares::repeats>},
    {"origins", NGX_CONF_1MORE, Occurs::Once, setOrigins},
    {"webhook", NGX_CONF_TAKE12, Occurs::Often, addWebhook},
    {"activity_timeout", NGX_CONF_TAKE1, Occurs::Once, setSeconds<&PusherSettings::activitySeconds, 1>},
    {"authorized_connections", NGX_CONF_TAKE1, Occurs::Once,
     setSeconds<&PusherSettings::authorizeSeconds, 0>},
    {"presence_limits", NGX_CONF_TAKE12, Occurs::Once, setPresenceLimits},
    {"subscription_count", NGX_CONF_TAKE1, Occurs::Once, setFlag<&PusherSettings::subscriptionCount>},
    {"watchlist", NGX_CONF_TAKE1, Occurs::Once, setFlag<&PusherSettings::watchlist>},
    {"tls_only", NGX_CONF_TAKE1, Occurs::Once, setFlag<&PusherSettings::tlsOnly>},
    {"disabled", NGX_CONF_TAKE1, Occurs::Once, setFlag<&PusherSettings::disabled>},
    {"zone", NGX_CONF_TAKE1, Occurs::Once, setAppZone},
    {"broker", NGX_CONF_1MORE, Occurs::Once, setAppBroker},
    {"channels", NGX_CONF_BLOCK | NGX_CONF_TAKE1, Occurs::Often, channelsBlock},
};

AppConf& declareApp(MainConf& main, ngx_conf_t* cf)
{
    std::string id = parseName(view(argumentsOf(cf)[1]), "app id");
    AppConf* app = main.app(id);
    if (app == nullptr) {
        app = main.apps.emplace_back(std::make_unique<AppConf>()).get();
        app->app.id = id;
    } else if (app->declared) {
        throw ConfError("duplicate realtime_app " + inQuotes(id));
    }
    app->declared = true;
    app->place = placeOf(cf);
    return *app;
}

void checkApp(const App& app)
{
    const auto& credentials = app.pusher.credentials;
    if (!credentials.empty() && credentials.back().secret.empty()) {
        throw ConfError("\"key\" " + inQuotes(credentials.back().key) + " has no \"secret\"");
    }
    if (!app.pusher.webhooks.empty() && credentials.empty()) {
        throw ConfError("\"webhook\" needs a \"key\" and \"secret\" to sign with");
    }
}

} // namespace

std::span<const Directive<AppBlock>> appDirectives()
{
    return AppTable;
}

char* appBlock(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    return reading(cf, [&] {
        auto& main = *static_cast<MainConf*>(data);
        AppBlock block(cf, main, declareApp(main, cf));
        readBlock(block);
        checkApp(block.app.app);
    });
}

} // namespace realtime
