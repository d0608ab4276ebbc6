// The opening handshake of a WebSocket (RFC 6455 section 4.2), whoever speaks over it afterwards.
#pragma once

#include "nginx/ngx.hpp"

#include <optional>
#include <string_view>

namespace realtime {

bool wantsWebSocket(ngx_http_request_t* r);

// 426 for a request that should have been a handshake.
ngx_int_t refuseUpgrade(ngx_http_request_t* r);

struct Handshake {
    // One that is not right is answered (400, 426): the value is what the content handler is to return.
    std::optional<ngx_int_t> answered;
    std::string_view extension; // what has been negotiated: permessage-deflate, or empty
};
Handshake checkHandshake(ngx_http_request_t* r);

// 101. `subprotocol`: empty, or one of those that were offered. Returns what sendStreamHead() does.
std::optional<ngx_int_t> sendSwitchingProtocols(ngx_http_request_t* r, std::string_view subprotocol,
                                                std::string_view extension);

} // namespace realtime
