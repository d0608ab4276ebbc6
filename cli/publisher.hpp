// Publishing, whatever the URL stands for: a location with realtime_publish, or the REST API of the Pusher protocol.
#pragma once

#include "credentials.hpp"
#include "endpoint.hpp"
#include "http.hpp"

#include <string>
#include <string_view>

namespace realtime::cli {

struct Publication {
    std::string channel, event, data;
    std::string contentType; // empty: text/plain
    std::string key;         // Idempotency-Key; empty: none
};

class Publisher {
public:
    // Throws UsageError if the endpoint is no place to publish, or wants a secret that is not there.
    Publisher(const Endpoint& endpoint, const Transport& transport, Credentials credentials);

    // Throws UnreachableError; a refusal is an answer.
    HttpAnswer publish(const Publication& publication);

private:
    Endpoint endpoint_;
    Credentials credentials_;
    HttpClient http_;
};

} // namespace realtime::cli
