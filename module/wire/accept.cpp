#include "wire/accept.hpp"

#include "base/ascii.hpp"
#include "wire/deflate.hpp"

#include <algorithm>
#include <iterator>

namespace realtime {

namespace {

constexpr std::string_view WhiteSpace = " \t"; // RFC 9110 5.6.3, OWS

// Takes what stands before the next `separator` outside of quoted strings (RFC 9110 5.6.4) off `text`.
std::string_view takeUntil(std::string_view& text, char separator)
{
    bool quoted = false;
    std::size_t at = 0;
    for (; at < text.size() && (quoted || text[at] != separator); ++at) {
        if (text[at] == '"') {
            quoted = !quoted;
        } else if (quoted && text[at] == '\\' && at + 1 < text.size()) {
            ++at;
        }
    }
    const std::string_view taken = text.substr(0, at);
    text.remove_prefix(std::min(at + 1, text.size()));
    return taken;
}

// RFC 9110 12.4.2: 0, 0., 0.0, 0.00, 0.000. What is no number at all does not refuse.
bool isZeroWeight(std::string_view value)
{
    return !value.empty() && value[0] == '0' && value.find_first_not_of("0.", 1) == std::string_view::npos;
}

// The parameters behind a media range.
bool refused(std::string_view parameters)
{
    while (!parameters.empty()) {
        const std::string_view parameter = trimmed(takeUntil(parameters, ';'));
        if (parameter.size() > 2 && lower(parameter[0]) == 'q' && parameter[1] == '=') {
            return isZeroWeight(parameter.substr(2));
        }
    }
    return false;
}

// --- extensions
// -----------------------------------------------------------------------------------------------

bool isTokenCharacter(char c) // RFC 9110 5.6.2
{
    return isAlnum(c) || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

// Reads extension-list. After the first mistake ok() is false.
class ExtensionReader {
public:
    explicit ExtensionReader(std::string_view text) : rest_(text) { skipSpace(); }

    bool ok() const { return ok_; }
    bool atEnd() const { return rest_.empty() || !ok_; }
    bool take(char c)
    {
        if (rest_.empty() || rest_[0] != c) {
            return false;
        }
        rest_.remove_prefix(1);
        skipSpace();
        return true;
    }
    std::string_view token()
    {
        const auto end = std::find_if_not(rest_.begin(), rest_.end(), isTokenCharacter);
        const std::string_view taken = rest_.substr(0, static_cast<std::size_t>(end - rest_.begin()));
        rest_.remove_prefix(taken.size());
        ok_ = ok_ && !taken.empty();
        skipSpace();
        return taken;
    }
    // A token, as it is or within quotes. There each character may have a backslash, which is not part of it.
    std::string value()
    {
        if (rest_.empty() || rest_[0] != '"') {
            return std::string(token());
        }
        rest_.remove_prefix(1);
        std::string value;
        while (!rest_.empty() && rest_[0] != '"') {
            rest_.remove_prefix(rest_[0] == '\\' && rest_.size() > 1 ? 1 : 0);
            ok_ = ok_ && isTokenCharacter(rest_[0]);
            value += rest_[0];
            rest_.remove_prefix(1);
        }
        ok_ = ok_ && !value.empty() && take('"');
        return value;
    }
    void require(bool condition) { ok_ = ok_ && condition; }

private:
    void skipSpace() { rest_.remove_prefix(std::min(rest_.find_first_not_of(WhiteSpace), rest_.size())); }

    std::string_view rest_;
    bool ok_ = true;
};

// 8 to 15, without leading zeros; else 0.
int windowBits(std::string_view value)
{
    if (value.size() == 1 && (value[0] == '8' || value[0] == '9')) {
        return value[0] - '0';
    }
    return value.size() == 2 && value[0] == '1' && value[1] >= '0' && value[1] <= '5' ? 10 + value[1] - '0'
                                                                                      : 0;
}

// One offer of permessage-deflate.
class DeflateOffer {
public:
    void parameter(std::string_view name, const std::optional<std::string>& value)
    {
        if (name == "server_no_context_takeover") {
            note(ServerNoContext, !value);
        } else if (name == "client_no_context_takeover") {
            note(ClientNoContext, !value);
        } else if (name == "client_max_window_bits") { // without a value: it could keep to one
            note(ClientWindow, !value || windowBits(*value) != 0);
        } else if (name == "server_max_window_bits") {
            note(ServerWindow, value && windowBits(*value) >= ws::Deflater::WindowBits);
        } else {
            good_ = false;
        }
    }
    // Empty: it is declined.
    std::string_view answer() const
    {
        static_assert(ws::Deflater::WindowBits == 12);
        if (!good_) {
            return {};
        }
        return (seen_ & ServerWindow) != 0
                   ? "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
                     "server_max_window_bits=12"
                   : "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    }

private:
    enum Parameter : unsigned {
        ServerNoContext = 1,
        ClientNoContext = 2,
        ClientWindow = 4,
        ServerWindow = 8
    };

    void note(Parameter parameter, bool valid)
    {
        good_ = good_ && valid && (seen_ & parameter) == 0;
        seen_ |= parameter;
    }

    bool good_ = true;
    unsigned seen_ = 0;
};

// --- origins
// --------------------------------------------------------------------------------------------------

struct Origin {
    std::string_view scheme, host, port; // the port is empty if it is the scheme's own
};

std::string_view impliedPort(std::string_view scheme)
{
    if (sameText(scheme, "http") || sameText(scheme, "ws")) {
        return "80";
    }
    if (sameText(scheme, "https") || sameText(scheme, "wss")) {
        return "443";
    }
    return {};
}

bool validScheme(std::string_view scheme) // RFC 3986 3.1
{
    return !scheme.empty() && isAlnum(scheme[0]) && !isDigit(scheme[0]) &&
           std::all_of(scheme.begin(), scheme.end(),
                       [](char c) { return isAlnum(c) || c == '+' || c == '-' || c == '.'; });
}

bool validHost(std::string_view host)
{
    if (host.starts_with('[')) { // an IPv6 address; whether it is one is the browser's business
        return host.size() > 2 && host.ends_with(']') &&
               std::all_of(host.begin() + 1, host.end() - 1, [](char c) {
                   return isDigit(c) || (lower(c) >= 'a' && lower(c) <= 'f') || c == ':' || c == '.';
               });
    }
    return !host.empty() && std::all_of(host.begin(), host.end(), [](char c) {
        return isAlnum(c) || c == '-' || c == '.' || c == '_';
    });
}

bool validPort(std::string_view port)
{
    return !port.empty() && port.size() <= 5 && std::all_of(port.begin(), port.end(), isDigit);
}

// Splits `host[:port]`, and drops the port that the scheme implies. False if it is malformed.
bool splitAuthority(std::string_view authority, Origin& out)
{
    const std::size_t bracket = authority.starts_with('[') ? authority.find(']') : 0;
    if (bracket == std::string_view::npos) {
        return false;
    }
    const std::size_t colon = authority.find(':', bracket);
    out.host = authority.substr(0, colon);
    out.port = {};
    if (colon != std::string_view::npos) {
        out.port = authority.substr(colon + 1);
        if (!validPort(out.port)) {
            return false;
        }
    }
    if (out.port == impliedPort(out.scheme)) {
        out.port = {};
    }
    return true;
}

std::optional<Origin> parseOrigin(std::string_view text)
{
    constexpr std::string_view Separator = "://";
    const std::size_t at = text.find(Separator);
    if (at == std::string_view::npos) {
        return std::nullopt;
    }
    Origin origin;
    origin.scheme = text.substr(0, at);
    if (!validScheme(origin.scheme) || !splitAuthority(text.substr(at + Separator.size()), origin)) {
        return std::nullopt;
    }
    return origin;
}

constexpr std::string_view AnyLabels = "*.";

// `host` is known to be valid: does it have one or more labels in front of `suffix`, which begins with a dot?
bool isBelow(std::string_view host, std::string_view suffix)
{
    return host.size() > suffix.size() && host[0] != '.' &&
           sameText(host.substr(host.size() - suffix.size()), suffix);
}

bool matches(std::string_view pattern, std::string_view text)
{
    if (pattern == "*" || (pattern == "null" && text == "null")) {
        return true;
    }
    const auto wanted = parseOrigin(pattern);
    const auto origin = parseOrigin(text);
    if (!wanted || !origin || !validHost(origin->host) || !sameText(wanted->scheme, origin->scheme) ||
        wanted->port != origin->port) {
        return false;
    }
    if (wanted->host.starts_with(AnyLabels)) {
        return isBelow(origin->host, wanted->host.substr(1));
    }
    return sameText(wanted->host, origin->host);
}

} // namespace

std::optional<std::string_view> nextListItem(std::string_view& list)
{
    while (!list.empty()) {
        const std::string_view item = trimmed(takeUntil(list, ','));
        if (!item.empty()) {
            return item;
        }
    }
    return std::nullopt;
}

bool listHasToken(std::string_view list, std::string_view token)
{
    while (const auto item = nextListItem(list)) {
        if (sameText(*item, token)) {
            return true;
        }
    }
    return false;
}

std::optional<std::string_view> chooseSubprotocol(std::string_view offered,
                                                  std::span<const std::string_view> supported)
{
    while (const auto item = nextListItem(offered)) {
        if (const auto ours = std::find(supported.begin(), supported.end(), *item); ours != supported.end()) {
            return *ours;
        }
    }
    return std::nullopt;
}

std::optional<std::string_view> chooseExtension(std::string_view offered)
{
    ExtensionReader in(offered);
    std::string_view chosen;
    while (!in.atEnd()) {
        if (in.take(',')) { // an empty element
            continue;
        }
        const bool known = in.token() == "permessage-deflate";
        DeflateOffer offer;
        while (in.take(';')) {
            const std::string_view name = in.token();
            offer.parameter(name, in.take('=') ? std::optional(in.value()) : std::nullopt);
        }
        in.require(in.atEnd() || in.take(','));
        if (known && chosen.empty()) {
            chosen = offer.answer();
        }
    }
    return in.ok() ? std::optional(chosen) : std::nullopt;
}

namespace {

bool acceptsByName(std::string_view accept, std::string_view type)
{
    while (const auto item = nextListItem(accept)) {
        std::string_view parameters = *item;
        const std::string_view range = trimmed(takeUntil(parameters, ';'));
        if (sameText(range, type)) {
            return !refused(parameters);
        }
    }
    return false;
}

} // namespace

bool acceptsEventStream(std::string_view accept)
{
    return acceptsByName(accept, "text/event-stream");
}

bool acceptsHtml(std::string_view accept)
{
    return acceptsByName(accept, "text/html");
}

bool validOrigin(std::string_view origin)
{
    const auto parsed = parseOrigin(origin);
    return origin == "null" || (parsed && validHost(parsed->host));
}

bool sameOrigin(std::string_view origin, std::string_view scheme, std::string_view authority)
{
    const auto page = parseOrigin(origin);
    if (!page || !validHost(page->host) || !sameText(page->scheme, scheme)) {
        return false;
    }
    Origin here;
    here.scheme = scheme;
    return splitAuthority(authority, here) && sameText(here.host, page->host) && here.port == page->port;
}

std::string_view absoluteAuthority(std::string_view requestLine)
{
    constexpr std::string_view Separator = "://";
    requestLine.remove_prefix(std::min(requestLine.find(' ') + 1, requestLine.size()));
    const std::size_t end = requestLine.find_first_of("/?# ");
    if (end == std::string_view::npos || end == 0 || !requestLine.substr(end - 1).starts_with(Separator)) {
        return {};
    }
    requestLine.remove_prefix(end - 1 + Separator.size());
    return requestLine.substr(0, requestLine.find_first_of("/?# "));
}

std::string requestedHeaders(std::string_view asked, std::string_view known)
{
    constexpr int MaxNames = 64; // the work grows with their square
    std::string names;
    for (int i = 0; i < MaxNames; ++i) {
        const auto item = nextListItem(asked);
        if (!item) {
            break;
        }
        const bool valid = std::all_of(item->begin(), item->end(), isTokenCharacter);
        if (valid && !listHasToken(known, *item) && !listHasToken(names, *item)) {
            names += names.empty() ? "" : ", ";
            std::transform(item->begin(), item->end(), std::back_inserter(names), lower);
        }
    }
    return names;
}

bool validOriginPattern(std::string_view pattern)
{
    if (pattern == "*" || validOrigin(pattern)) {
        return true;
    }
    const auto parsed = parseOrigin(pattern);
    return parsed && parsed->host.starts_with(AnyLabels) && parsed->host.size() > AnyLabels.size() &&
           parsed->host[AnyLabels.size()] != '.' && validHost(parsed->host.substr(AnyLabels.size()));
}

bool originAllowed(std::span<const std::string> patterns, std::string_view origin)
{
    return std::any_of(patterns.begin(), patterns.end(),
                       [origin](const std::string& pattern) { return matches(pattern, origin); });
}

} // namespace realtime
