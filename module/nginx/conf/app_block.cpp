// realtime_app and what stands in it.
#include "nginx/conf/block.hpp"
#include "nginx/conf/channel_settings.hpp"

#include "base/own_fd.hpp"
#include "webhook/webhook_sender.hpp"
#include "wire/accept.hpp"

#include <algorithm>
#include <fcntl.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

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
        throw ConfError("invalid \"key\" " + inQuotes(key) +
                        ": at least one character, none of :/?& and space");
    }
    credentials.push_back({std::move(key), {}});
}

void addSecret(AppBlock& block, std::string secret)
{
    PusherSettings& pusher = block.app.app.pusher;
    if (pusher.credentials.empty() || !pusher.credentials.back().secret.empty()) {
        throw ConfError("\"secret\" follows the \"key\" that it is for");
    }
    if (secret.empty()) {
        throw ConfError("empty \"secret\"");
    }
    if (secret == pusher.credentials.back().key) {
        warn(block.cf, "the \"secret\" is the same as its \"key\", which everybody knows");
    }
    pusher.credentials.back().secret = std::move(secret);
}

void setSecret(AppBlock& block, Arguments arguments)
{
    addSecret(block, std::string(view(arguments[1])));
}

constexpr std::size_t MaxSecretFileBytes = 4096;

OwnFd openSecret(ngx_conf_t* cf, const std::string& path)
{
    OwnFd fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)); // it may be a pipe
    struct stat info {};
    if (fd.get() < 0 || fstat(fd.get(), &info) != 0) {
        throw ConfError("cannot read " + inQuotes(path) + ": " + std::generic_category().message(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        throw ConfError("cannot read " + inQuotes(path) + ": it is no regular file");
    }
    // A group is somebody's choice: the application's, say, which needs the secret too.
    if ((info.st_mode & (S_IROTH | S_IWOTH)) != 0) {
        warn(cf,
             "the secret in " + inQuotes(path) + " can be " +
                 ((info.st_mode & S_IROTH) != 0 ? "read" : "written") +
                 " by every user of this machine: chmod 600 is wanted, since only nginx's master reads it");
    }
    return fd;
}

// The first line of a file.
std::string readSecret(ngx_conf_t* cf, const std::string& path)
{
    const OwnFd fd = openSecret(cf, path);
    std::string text(MaxSecretFileBytes, '\0');
    const ssize_t length = ::read(fd.get(), text.data(), text.size());
    text.resize(static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
    const auto end = text.find('\n');
    if (end == std::string::npos && text.size() == MaxSecretFileBytes) {
        throw ConfError("no secret in " + inQuotes(path) + ": its first line is too long");
    }
    text.resize(std::min(end, text.size()));
    while (!text.empty() && (text.back() == '\r' || text.back() == ' ')) {
        text.pop_back();
    }
    if (text.empty()) {
        throw ConfError("no secret in " + inQuotes(path) + ": its first line is empty");
    }
    return text;
}

// secret_file FILE
void setSecretFile(AppBlock& block, Arguments arguments)
{
    addSecret(block, readSecret(block.cf, fullPath(block.cf, view(arguments[1]), true)));
}

void setClientEventRate(PusherSettings& pusher, std::string_view value)
{
    if (!pusher.clientEvents) {
        throw ConfError("invalid parameter " + inQuotes("rate=" + std::string(value)) +
                        ": it belongs to \"client_events on\"");
    }
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
    addOrigins(block.cf, block.app.app.pusher.origins, arguments.subspan(1));
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
    {"channels", NGX_CONF_BLOCK | NGX_CONF_1MORE, Occurs::Often, channelsBlock},
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

void checkApp(ngx_conf_t* cf, const AppConf& conf)
{
    const App& app = conf.app;
    const auto& credentials = app.pusher.credentials;
    if (!credentials.empty() && credentials.back().secret.empty()) {
        throw ConfError("\"key\" " + inQuotes(credentials.back().key) + " has no \"secret\"");
    }
    if (!app.pusher.webhooks.empty() && credentials.empty()) {
        throw ConfError("\"webhook\" needs a \"key\" and \"secret\" to sign with");
    }
    if (!credentials.empty() && app.id.find_first_of("/?#%") != std::string::npos) {
        warnAt(cf,
               "the id of realtime_app " + inQuotes(app.id) +
                   " stands in the path /apps/ID/ of the Pusher protocol: choose one without /?#%",
               conf.place);
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
        checkApp(cf, block.app);
    });
}

} // namespace realtime
