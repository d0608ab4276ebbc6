#include "broker/broker.hpp"

#include "base/ascii.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <optional>
#include <stdexcept>

namespace realtime {

namespace {

constexpr std::uint16_t AmqpPort = 5672, AmqpsPort = 5671;
constexpr std::size_t MaxName = 255; // AMQP short strings: user and vhost among them

// URLs hold passwords, so a complaint never repeats the URL.
[[noreturn]] void refuseServer(const std::string& why)
{
    throw std::runtime_error("the broker's server " + why);
}

std::string percentDecode(std::string_view text, const char* part)
{
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        char c = text[i];
        if (c == '%') {
            const int high = i + 2 < text.size() ? hexValue(text[i + 1]) : -1;
            const int low = i + 2 < text.size() ? hexValue(text[i + 2]) : -1;
            if (high < 0 || low < 0) {
                refuseServer(std::string("has a \"%\" without two hexadecimal digits in its ") + part);
            }
            c = static_cast<char>(high * 16 + low);
            i += 2;
        }
        if (c == '\0') {
            refuseServer(std::string("has a zero byte in its ") + part);
        }
        out.push_back(c);
    }
    if (out.size() > MaxName) {
        refuseServer(std::string("has more than 255 bytes in its ") + part);
    }
    return out;
}

// What RFC 3986 calls unreserved needs no percent sign.
std::string percentEncode(std::string_view text)
{
    constexpr std::string_view Digits = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (letter || (c >= '0' && c <= '9') || std::string_view("-._~").find(c) != std::string_view::npos) {
            out.push_back(c);
            continue;
        }
        const auto byte = static_cast<unsigned char>(c);
        out.push_back('%');
        out.push_back(Digits[byte >> 4]);
        out.push_back(Digits[byte & 15]);
    }
    return out;
}

bool hasBelow(std::string_view text, unsigned char least)
{
    return std::any_of(text.begin(), text.end(), [least](unsigned char c) { return c < least || c == 0x7f; });
}

// Splits `text` at its first `mark`; what follows the mark is returned and taken off `text`.
std::optional<std::string_view> cutAfter(std::string_view& text, char mark)
{
    const auto at = text.find(mark);
    if (at == std::string_view::npos) {
        return std::nullopt;
    }
    const auto rest = text.substr(at + 1);
    text = text.substr(0, at);
    return rest;
}

void parseUser(BrokerServer& server, std::string_view user)
{
    const auto password = cutAfter(user, ':');
    if (!password) {
        refuseServer("has a user but no password");
    }
    server.user = percentDecode(user, "user");
    server.password = percentDecode(*password, "password");
    if (server.user.empty()) {
        refuseServer("has a password but no user");
    }
}

void parsePort(BrokerServer& server, std::string_view text)
{
    unsigned port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc{} || end != text.data() + text.size() || port == 0 || port > 65'535) {
        refuseServer("has an invalid port: it must be 1 to 65535");
    }
    server.port = static_cast<std::uint16_t>(port);
}

void parseIp6(BrokerServer& server, std::string_view text)
{
    const auto rest = cutAfter(text, ']');
    server.host = text.substr(1);
    in6_addr address;
    if (!rest || inet_pton(AF_INET6, server.host.c_str(), &address) != 1) {
        refuseServer("has an invalid IPv6 address in brackets");
    }
    if (rest->empty()) {
        return;
    }
    if (rest->front() != ':') {
        refuseServer("has something other than a port after its IPv6 address");
    }
    parsePort(server, rest->substr(1));
}

void parseHost(BrokerServer& server, std::string_view text)
{
    if (!text.empty() && text.front() == '[') {
        parseIp6(server, text);
        return;
    }
    if (const auto port = cutAfter(text, ':')) {
        parsePort(server, *port);
    }
    const bool valid = std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
               c == '-' || c == '_';
    });
    if (text.empty() || text.size() > 253 || !valid) {
        refuseServer("has no valid host name");
    }
    server.host = text;
}

BrokerServer parseAmqp(BrokerServer::Scheme scheme, std::string_view rest)
{
    BrokerServer server;
    server.scheme = scheme;
    server.port = scheme == BrokerServer::Scheme::Amqps ? AmqpsPort : AmqpPort;
    server.user = "guest";
    server.password = "guest";
    if (rest.find_first_of("?#") != std::string_view::npos) {
        refuseServer("has parameters (\"?\" or \"#\"), which are not understood; in a name write %3F or %23");
    }
    const auto vhost = cutAfter(rest, '/');
    if (vhost && vhost->find('@') != std::string_view::npos && rest.find('@') == std::string_view::npos &&
        rest.find_first_not_of("0123456789", rest.find(':') + 1) != std::string_view::npos &&
        rest.find(':') != std::string_view::npos) {
        refuseServer("has a \"/\" in its user or password; write %2F for it");
    }
    if (vhost && vhost->find('/') != std::string_view::npos) {
        refuseServer("has a \"/\" within its virtual host; write %2F for it");
    }
    if (const auto at = rest.rfind('@'); at != std::string_view::npos) {
        if (rest.find('@') != at) {
            refuseServer("has a \"@\" in its user or password; write %40 for it");
        }
        parseUser(server, rest.substr(0, at));
        rest = rest.substr(at + 1);
    }
    parseHost(server, rest);
    server.vhost = vhost ? percentDecode(*vhost, "virtual host") : "";
    if (server.vhost.empty()) {
        server.vhost = "/"; // RabbitMQ has no virtual host without a name
    }
    return server;
}

BrokerServer parseSqlite(std::string_view path)
{
    if (path.starts_with("///")) { // as a URL has it, with an empty host
        path.remove_prefix(2);
    }
    if (path.empty() || path.front() != '/' || path.starts_with("//")) {
        refuseServer(
            "must name its file by an absolute path, as in sqlite:/var/lib/nginx-realtime/events.db");
    }
    if (path.back() == '/') {
        refuseServer("names a directory instead of a file");
    }
    BrokerServer server;
    server.scheme = BrokerServer::Scheme::Sqlite;
    server.path = path;
    return server;
}

bool isScheme(std::string_view text, std::string_view scheme)
{
    return std::equal(text.begin(), text.end(), scheme.begin(), scheme.end(), [](char a, char b) {
        return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
    });
}

} // namespace

BrokerServer parseBrokerServer(std::string_view url)
{
    if (hasBelow(url, ' ')) {
        refuseServer("has a control character in its URL");
    }
    auto scheme = url;
    const auto rest = cutAfter(scheme, ':');
    if (rest && isScheme(scheme, "sqlite")) {
        return parseSqlite(*rest);
    }
    if (hasBelow(url, '!')) {
        refuseServer("has a space in its URL");
    }
    const bool amqps = isScheme(scheme, "amqps");
    if (!rest || !(amqps || isScheme(scheme, "amqp")) || !rest->starts_with("//")) {
        refuseServer("must begin with amqp://, amqps:// or sqlite:/");
    }
    return parseAmqp(amqps ? BrokerServer::Scheme::Amqps : BrokerServer::Scheme::Amqp, rest->substr(2));
}

std::string BrokerServer::display() const
{
    if (scheme == Scheme::Sqlite) {
        return "sqlite:" + path;
    }
    const bool ip6 = host.find(':') != std::string::npos;
    return std::string(scheme == Scheme::Amqps ? "amqps" : "amqp") + "://" + (ip6 ? "[" + host + "]" : host) +
           ":" + std::to_string(port) + "/" + percentEncode(vhost);
}

} // namespace realtime
