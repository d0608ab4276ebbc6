// Origins as operators write them: realtime_origins, and `origins` of an app.
#include "nginx/conf/arguments.hpp"

#include "base/ascii.hpp"
#include "wire/accept.hpp"

#include <algorithm>

namespace realtime {

namespace {

constexpr std::string_view Separator = "://";

std::string lowerCase(std::string_view text)
{
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(), [](char c) { return lower(c); });
    return out;
}

// Apps have schemes of their own (capacitor://localhost, chrome-extension://…), so any other one passes.
std::string schemeAdvice(std::string_view origin)
{
    const auto at = origin.find(Separator);
    const std::string scheme = at == std::string_view::npos ? "" : lowerCase(origin.substr(0, at));
    if (scheme.empty() || scheme == "http" || scheme == "https") {
        return "";
    }
    const bool socket = scheme == "ws" || scheme == "wss";
    if (!socket && editDistance(scheme, "http") > 2 && editDistance(scheme, "https") > 2) {
        return "";
    }
    const bool plain =
        socket ? scheme == "ws" : editDistance(scheme, "http") <= editDistance(scheme, "https");
    return std::string("a page has ") + (plain ? "http" : "https") + std::string(origin.substr(at)) +
           (socket ? ", also one that opens a WebSocket" : "");
}

bool portIsTooLarge(std::string_view origin)
{
    const auto colon = origin.rfind(':');
    const std::string_view port = origin.substr(colon + 1);
    return colon != std::string_view::npos && port.size() == 5 &&
           std::all_of(port.begin(), port.end(), isDigit) && port > "65535";
}

// What is wrong with one that is not understood, as far as it can be told.
std::string advice(std::string_view origin)
{
    const auto is = [](const std::string& text) { return validOriginPattern(text) && text != "*"; };
    const auto at = origin.find(Separator);
    const bool hasHost = origin.find_first_of(".:") != std::string_view::npos || origin == "localhost";
    if (const std::string with = "https://" + std::string(origin);
        at == std::string_view::npos && hasHost && is(with)) {
        return "it begins with a scheme, as in " + with;
    }
    if (origin.ends_with(',') || origin.find(',') != std::string_view::npos) {
        return "several are separated by spaces";
    }
    if (at != std::string_view::npos) {
        const auto path = origin.find('/', at + Separator.size());
        const std::string without(origin.substr(0, path));
        if (path != std::string_view::npos && is(without)) {
            return std::string("without ") + (path + 1 == origin.size() ? "\"/\" at its end" : "a path") +
                   ", as in " + without;
        }
        if (origin.find('@', at) != std::string_view::npos) {
            return "without user and password";
        }
    }
    if (origin.find('*') != std::string_view::npos) {
        return "* stands for all origins, or for whole subdomains as in https://*.example.com";
    }
    return "as in https://www.example.com, https://*.example.com, null, or * for all";
}

} // namespace

void addOrigins(ngx_conf_t* cf, std::vector<std::string>& origins, Arguments arguments)
{
    for (const ngx_str_t& argument : arguments) {
        const std::string_view origin = view(argument);
        if (portIsTooLarge(origin)) {
            throw ConfError("invalid origin " + inQuotes(origin) + ": a port is at most 65535");
        }
        if (!validOriginPattern(origin)) {
            throw ConfError("invalid origin " + inQuotes(origin) + ": " + advice(origin));
        }
        if (const std::string text = schemeAdvice(origin); !text.empty()) {
            throw ConfError("invalid origin " + inQuotes(origin) + ": " + text);
        }
        origins.emplace_back(origin);
    }
    if (origins.size() > 1 && std::find(origins.begin(), origins.end(), "*") != origins.end()) {
        warn(cf, "* allows all origins: the others beside it have no effect");
    }
}

} // namespace realtime
