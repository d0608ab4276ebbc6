#include "endpoint.hpp"

#include "errors.hpp"

#include "base/ascii.hpp"

#include <charconv>
#include <curl/curl.h>
#include <memory>

namespace realtime::cli {

namespace {

constexpr std::string_view Braced = "{channel}", Placeholder = "%7Bchannel%7D";

struct UrlFree {
    void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

// Empty: the URL has no such part.
std::string part(CURLU* url, CURLUPart which, unsigned flags = 0)
{
    char* text = nullptr;
    if (curl_url_get(url, which, &text, flags) != CURLUE_OK) {
        return {};
    }
    std::string out(text);
    curl_free(text);
    return out;
}

// What stands behind `prefix` up to the next slash or the query; empty: it does not begin so.
std::string segmentBehind(std::string_view path, std::string_view prefix)
{
    const std::size_t at = path.find(prefix);
    if (at == std::string_view::npos) {
        return {};
    }
    path.remove_prefix(at + prefix.size());
    return std::string(path.substr(0, path.find_first_of("/?")));
}

} // namespace

std::string percentEncoded(std::string_view text)
{
    constexpr std::string_view Digits = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        if (isAlnum(c) || std::string_view("-._~").find(c) != std::string_view::npos) {
            out += c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            out += {'%', Digits[byte >> 4], Digits[byte & 15]};
        }
    }
    return out;
}

Endpoint parseEndpoint(const std::string& given)
{
    std::string url = given.find("://") == std::string::npos ? "http://" + given : given;
    const std::size_t schemeEnd = url.find("://");
    const std::string scheme = url.substr(0, schemeEnd);
    Endpoint out;
    out.tls = scheme == "https" || scheme == "wss";
    if (!out.tls && scheme != "http" && scheme != "ws") {
        throw UsageError("\"" + given + "\" is no http, https, ws or wss URL");
    }
    url.replace(0, schemeEnd,
                out.tls ? "https" : "http"); // libcurl 7.88 knows ws only where it was built with it
    // Braces are no characters of a URL, but of ours.
    for (std::size_t at; (at = url.find(Braced)) != std::string::npos;) {
        url.replace(at, Braced.size(), Placeholder);
    }
    const std::unique_ptr<CURLU, UrlFree> parsed(curl_url());
    if (!parsed || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) {
        throw UsageError("\"" + given + "\" is no URL");
    }
    if (!part(parsed.get(), CURLUPART_USER).empty()) {
        throw UsageError("a user in the URL is not understood: use --header 'Authorization: …'");
    }
    out.host = part(parsed.get(), CURLUPART_HOST);
    if (out.host.size() > 1 && out.host.front() == '[') {
        out.host = out.host.substr(1, out.host.size() - 2);
    }
    const std::string port = part(parsed.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
    std::from_chars(port.data(), port.data() + port.size(), out.port);
    out.path = part(parsed.get(), CURLUPART_PATH);
    if (const std::string query = part(parsed.get(), CURLUPART_QUERY); !query.empty()) {
        out.path += '?' + query;
    }
    if (out.name = segmentBehind(out.path, "/apps/"); !out.name.empty()) {
        out.kind = Endpoint::Kind::PusherApi;
    } else if (out.name = segmentBehind(out.path, "/app/"); !out.name.empty()) {
        out.kind = Endpoint::Kind::PusherSocket;
    }
    return out;
}

std::string Endpoint::hostAndPort() const
{
    const std::string bracketed = host.find(':') == std::string::npos ? host : '[' + host + ']';
    return port == (tls ? 443 : 80) ? bracketed : bracketed + ':' + std::to_string(port);
}

std::string Endpoint::httpUrl() const
{
    return (tls ? "https://" : "http://") + hostAndPort() + path;
}

bool Endpoint::takesChannel() const
{
    return path.find(Placeholder) != std::string::npos || path.substr(0, path.find('?')).ends_with('/');
}

Endpoint Endpoint::of(std::string_view channel) const
{
    Endpoint out = *this;
    const std::string encoded = percentEncoded(channel);
    if (const std::size_t at = path.find(Placeholder); at != std::string::npos) {
        out.path.replace(at, Placeholder.size(), encoded);
    } else if (takesChannel()) {
        out.path.insert(std::min(path.find('?'), path.size()), encoded);
    }
    return out;
}

Endpoint Endpoint::with(std::string_view argument, std::string_view value) const
{
    Endpoint out = *this;
    out.path += path.find('?') == std::string::npos ? '?' : '&';
    out.path += std::string(argument) + '=' + percentEncoded(value);
    return out;
}

} // namespace realtime::cli
