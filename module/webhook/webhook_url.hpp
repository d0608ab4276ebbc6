// Where a webhook goes to. Pure function, any thread; no name is looked up.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace realtime {

struct WebhookUrl {
    std::string host; // as libcurl will look it up: lower case, IPv6 without brackets
    std::uint16_t port = 0;
    bool numeric = false; // the host is an address
    std::string display;  // for logs and status: without the query, which may hold a token
};

// Takes http and https with a host name or address, port, path and query. Refuses a user and password (the signature
// says who sends), a fragment (it would never be sent), and what libcurl would guess at or convert: a missing scheme,
// fewer slashes, other than printable ASCII. Throws std::runtime_error with a sentence for `nginx -t`, which never
// repeats the URL.
WebhookUrl parseWebhookUrl(std::string_view url);

} // namespace realtime
