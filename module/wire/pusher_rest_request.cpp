// Which endpoint a request is for, and whether it is signed.
#include "wire/pusher_rest.hpp"

#include "base/ascii.hpp"
#include "base/hmac.hpp"
#include "wire/pusher_path.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace realtime::pusher {

namespace {

constexpr std::size_t MaxParameters = 100;

std::string lowered(std::string text)
{
    for (char& c : text) {
        c = lower(c);
    }
    return text;
}

// Takes what is in front of the next `separator` off `text`, and the separator.
std::string_view takeUntil(std::string_view& text, char separator)
{
    const std::string_view taken = text.substr(0, text.find(separator));
    text.remove_prefix(std::min(taken.size() + 1, text.size()));
    return taken;
}

std::vector<Parameter> parseQuery(std::string_view text, bool plusIsSpace = false)
{
    std::vector<Parameter> query;
    while (!text.empty() && query.size() <= MaxParameters) {
        std::string_view value = takeUntil(text, '&');
        if (value.empty()) {
            continue;
        }
        const std::string_view name = takeUntil(value, '=');
        query.push_back({lowered(percentDecoded(name, plusIsSpace)), percentDecoded(value, plusIsSpace)});
    }
    return query;
}

// --- routes

constexpr std::size_t MaxSegments = 5;

struct Segments {
    std::array<std::string_view, MaxSegments> at;
    std::size_t count = 0; // MaxSegments + 1: too many
};

Segments split(std::string_view path) // begins with a slash
{
    Segments segments;
    path.remove_prefix(1);
    for (bool more = true; more; ++segments.count) {
        if (segments.count == MaxSegments) {
            ++segments.count;
            break;
        }
        const std::size_t slash = path.find('/');
        more = slash != std::string_view::npos;
        segments.at[segments.count] = takeUntil(path, '/');
    }
    return segments;
}

struct Route {
    std::string_view method;
    Endpoint endpoint;
    std::size_t count;                       // of segments
    std::array<std::string_view, 5> pattern; // empty: anything
};

constexpr std::array<Route, 7> Routes{{
    {"POST", Endpoint::Events, 3, {"apps", "", "events"}},
    {"POST", Endpoint::BatchEvents, 3, {"apps", "", "batch_events"}},
    {"GET", Endpoint::Channels, 3, {"apps", "", "channels"}},
    {"GET", Endpoint::Channel, 4, {"apps", "", "channels", ""}},
    {"GET", Endpoint::ChannelUsers, 5, {"apps", "", "channels", "", "users"}},
    {"POST", Endpoint::TerminateConnections, 5, {"apps", "", "users", "", "terminate_connections"}},
    {"POST", Endpoint::TerminateConnections, 3, {"users", "", "terminate_connections"}},
}};

bool matches(const Route& route, const Segments& segments)
{
    if (route.count != segments.count) {
        return false;
    }
    for (std::size_t i = 0; i < route.count; ++i) {
        const std::string_view expected = route.pattern[i];
        if (segments.at[i].empty() || (!expected.empty() && segments.at[i] != expected)) {
            return false;
        }
    }
    return true;
}

const Route* findRoute(const Segments& segments)
{
    const auto* found = std::find_if(Routes.begin(), Routes.end(),
                                     [&segments](const Route& route) { return matches(route, segments); });
    return found == Routes.end() ? nullptr : found;
}

void fillNames(Target& out, const Route& route, const Segments& segments)
{
    const bool appGiven = route.pattern[0] == "apps";
    if (appGiven) {
        out.appId = percentDecoded(segments.at[1]);
    }
    const std::size_t name = appGiven ? 3 : 1;
    if (name < route.count) {
        out.name = percentDecoded(segments.at[name]);
    }
}

// --- signature

struct Required {
    const std::string* key = nullptr;
    const std::string* timestamp = nullptr;
    const std::string* version = nullptr;
    const std::string* signature = nullptr;
    const std::string* bodyMd5 = nullptr; // may stay null
};

RestError unauthorized(std::string message)
{
    return {401, std::move(message)};
}

// A parameter that decides about access must be unambiguous.
std::optional<RestError> readRequired(const Target& target, Required& out)
{
    struct Slot {
        std::string_view name;
        const std::string** value;
        bool optional;
    };
    const std::array<Slot, 5> slots{{
        {"auth_key", &out.key, false},
        {"auth_timestamp", &out.timestamp, false},
        {"auth_version", &out.version, false},
        {"auth_signature", &out.signature, false},
        {"body_md5", &out.bodyMd5, true},
    }};
    for (const Slot& slot : slots) {
        for (const Parameter& parameter : target.query) {
            if (parameter.name != slot.name) {
                continue;
            }
            if (*slot.value != nullptr) {
                return unauthorized("Repeated parameter: " + std::string(slot.name));
            }
            *slot.value = &parameter.value;
        }
        if (*slot.value == nullptr && !slot.optional) {
            return unauthorized("Missing parameter: " + std::string(slot.name));
        }
    }
    return std::nullopt;
}

bool timely(std::string_view timestamp, std::int64_t now)
{
    std::int64_t time = 0;
    const char* end = timestamp.data() + timestamp.size();
    const auto [stop, error] = std::from_chars(timestamp.data(), end, time);
    if (error != std::errc() || stop != end || time < 0) {
        return false;
    }
    const std::int64_t apart = now > time ? now - time : time - now;
    return apart < TimestampTolerance;
}

std::optional<RestError> checkRequired(const Required& required, std::string_view body, std::int64_t now)
{
    if (*required.version != "1.0") {
        return unauthorized("Unsupported auth_version: expected 1.0");
    }
    if (!timely(*required.timestamp, now)) {
        return unauthorized(
            "Timestamp expired: auth_timestamp is not within 600 seconds of the server's time");
    }
    if (required.bodyMd5 == nullptr && !body.empty()) {
        return unauthorized("Missing parameter: body_md5");
    }
    if (required.bodyMd5 != nullptr && !equalInConstantTime(*required.bodyMd5, md5Hex(body))) {
        return unauthorized("Invalid body_md5: it is not the digest of the body");
    }
    return std::nullopt;
}

std::string signedQuery(std::vector<Parameter> query)
{
    std::stable_sort(query.begin(), query.end(),
                     [](const Parameter& a, const Parameter& b) { return a.name < b.name; });
    std::string out;
    for (const Parameter& parameter : query) {
        if (parameter.name == "auth_signature") {
            continue;
        }
        if (!out.empty()) {
            out += '&';
        }
        out.append(parameter.name).append("=").append(parameter.value);
    }
    return out;
}

// PHP signs k=a,b and sends k[0]=a&k[1]=b.
std::vector<Parameter> joinIndexed(const std::vector<Parameter>& query)
{
    std::vector<Parameter> out;
    for (const Parameter& parameter : query) {
        const std::size_t bracket = parameter.name.find('[');
        const std::string name = parameter.name.substr(0, bracket);
        if (bracket != std::string::npos && !out.empty() && out.back().name == name) {
            out.back().value += ',' + parameter.value;
        } else {
            out.push_back({name, parameter.value});
        }
    }
    return out;
}

void addDistinct(std::vector<std::string>& all, std::string text)
{
    if (std::find(all.begin(), all.end(), text) == all.end()) {
        all.push_back(std::move(text));
    }
}

// What SDKs may have signed: which of the forms it was can't be told from the request.
std::vector<std::string> pathForms(const Target& target)
{
    std::vector<std::string> forms;
    const std::string_view whole = target.path;
    for (const std::string_view path : {whole.substr(target.mounted), whole}) {
        addDistinct(forms, percentDecoded(path));
        addDistinct(forms, std::string(path));
    }
    return forms;
}

std::vector<std::string> queryForms(const Target& target)
{
    std::vector<std::string> forms{signedQuery(target.query)};
    addDistinct(forms, signedQuery(joinIndexed(target.query)));
    if (target.queryText.find('+') != std::string::npos) {
        addDistinct(forms, signedQuery(parseQuery(target.queryText, true)));
    }
    return forms;
}

bool signs(const Target& target, std::string_view method, const std::string& secret,
           std::string_view signature)
{
    const std::vector<std::string> queries = queryForms(target);
    for (const std::string& path : pathForms(target)) {
        for (const std::string& query : queries) {
            std::string text(method);
            text.append("\n").append(path).append("\n").append(query);
            if (equalInConstantTime(signature, hmacSha256Hex(secret, text))) {
                return true;
            }
        }
    }
    return false;
}

} // namespace

const std::string* Target::find(std::string_view lowerCaseName) const
{
    const auto found = std::find_if(query.begin(), query.end(), [lowerCaseName](const Parameter& parameter) {
        return parameter.name == lowerCaseName;
    });
    return found == query.end() ? nullptr : &found->value;
}

std::variant<Target, RestError> parseTarget(std::string_view method, std::string_view target,
                                            std::size_t mounted)
{
    Target out;
    const std::string_view path = takeUntil(target, '?');
    if (mounted >= path.size() || path[mounted] != '/') {
        return RestError{404, "Not found"};
    }
    const Segments segments = split(path.substr(mounted));
    const Route* route = findRoute(segments);
    if (route == nullptr) {
        return RestError{404, "Not found"};
    }
    if (method != route->method) {
        return RestError{405, "Method not allowed", route->method};
    }
    out.endpoint = route->endpoint;
    out.path = path;
    out.mounted = mounted;
    out.queryText = target;
    out.query = parseQuery(target);
    fillNames(out, *route, segments);
    if (out.query.size() > MaxParameters) {
        return RestError{400, "Too many parameters"};
    }
    return out;
}

std::variant<const Credentials*, RestError> verifySignature(const Target& target, std::string_view method,
                                                            std::string_view body,
                                                            std::span<const Credentials> credentials,
                                                            std::int64_t nowSeconds)
{
    Required required;
    if (auto error = readRequired(target, required)) {
        return *std::move(error);
    }
    const Credentials* pair = findKey(credentials, *required.key);
    if (pair == nullptr) {
        return unauthorized("Unknown auth_key");
    }
    if (auto error = checkRequired(required, body, nowSeconds)) {
        return *std::move(error);
    }
    if (!signs(target, method, pair->secret, *required.signature)) {
        return unauthorized("Invalid signature");
    }
    return pair;
}

} // namespace realtime::pusher
