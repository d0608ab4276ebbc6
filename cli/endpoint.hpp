// A URL of a server, and what is to be found there. The path tells: /app/KEY is the WebSocket of the Pusher protocol,
// /apps/ID its REST API, anything else a location with realtime_publish, realtime_subscribe or realtime_pubsub.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace realtime::cli {

struct Endpoint {
    enum class Kind : std::uint8_t { Location, PusherSocket, PusherApi };

    Kind kind = Kind::Location;
    bool tls = false;
    std::string host; // without brackets
    std::uint16_t port = 0;
    std::string path; // with its query, as it is sent
    std::string name; // the key or the app's id; empty at a location

    std::string hostAndPort() const; // as in the header Host
    std::string httpUrl() const;
    // Of one channel: {channel} in the path is replaced, or the name is put behind a final slash. A path without
    // either names its channel itself.
    Endpoint of(std::string_view channel) const;
    bool takesChannel() const;
    // With one more argument in the query.
    Endpoint with(std::string_view argument, std::string_view value) const;
};

// Throws UsageError for what is no http, https, ws or wss URL. Without a scheme it is http.
Endpoint parseEndpoint(const std::string& given);

std::string percentEncoded(std::string_view text);

} // namespace realtime::cli
