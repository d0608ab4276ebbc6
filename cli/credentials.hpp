// Signatures of the Pusher protocol, as an application's server makes them.
#pragma once

#include "arguments.hpp"
#include "endpoint.hpp"

#include <string>
#include <string_view>

namespace realtime::cli {

struct Credentials {
    std::string key, secret;

    bool complete() const { return !key.empty() && !secret.empty(); }
    // For a private or presence channel: "key:signature".
    std::string channelAuth(std::string_view socketId, std::string_view channel,
                            std::string_view channelData) const;
    // The request's path with the query that signs it.
    std::string signedPath(std::string_view method, const std::string& path, std::string_view body) const;
};

// From --key (or the /app/KEY of the URL, or REALTIME_KEY) and --secret-file (or REALTIME_SECRET): a secret on the command
// line would be seen by everybody on the machine.
Credentials credentialsOf(const Arguments& arguments, const Endpoint& endpoint);

inline constexpr Option CredentialOptions[] = {
    {"key", "KEY", "the app's key (default: that of /app/KEY, or $REALTIME_KEY)"},
    {"secret-file", "FILE", "the app's secret (default: $REALTIME_SECRET)"},
};

} // namespace realtime::cli
