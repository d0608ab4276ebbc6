#include "credentials.hpp"

#include "errors.hpp"

#include "base/hmac.hpp"

#include <cstdlib>
#include <ctime>
#include <fstream>

namespace realtime::cli {

namespace {

std::string fromEnvironment(const char* name)
{
    const char* text = std::getenv(name);
    return text != nullptr ? text : "";
}

std::string readSecret(const std::string& path)
{
    std::ifstream file(path);
    std::string line;
    if (!std::getline(file, line) || line.empty()) {
        throw UsageError("no secret in " + path);
    }
    return line;
}

} // namespace

std::string Credentials::channelAuth(std::string_view socketId, std::string_view channel,
                                     std::string_view channelData) const
{
    std::string text = std::string(socketId) + ':' + std::string(channel);
    if (!channelData.empty()) {
        text += ':' + std::string(channelData);
    }
    return key + ':' + hmacSha256Hex(secret, text);
}

std::string Credentials::signedPath(std::string_view method, const std::string& path,
                                    std::string_view body) const
{
    std::string query =
        "auth_key=" + key + "&auth_timestamp=" + std::to_string(std::time(nullptr)) + "&auth_version=1.0";
    if (!body.empty()) {
        query += "&body_md5=" + md5Hex(body);
    }
    const std::string text = std::string(method) + '\n' + path + '\n' + query;
    return path + '?' + query + "&auth_signature=" + hmacSha256Hex(secret, text);
}

Credentials credentialsOf(const Arguments& arguments, const Endpoint& endpoint)
{
    Credentials out;
    out.key = arguments.text("key").value_or(
        endpoint.kind == Endpoint::Kind::PusherSocket ? endpoint.name : fromEnvironment("REALTIME_KEY"));
    const auto file = arguments.text("secret-file");
    out.secret = file ? readSecret(*file) : fromEnvironment("REALTIME_SECRET");
    return out;
}

} // namespace realtime::cli
