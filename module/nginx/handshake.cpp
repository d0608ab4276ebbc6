#include "nginx/handshake.hpp"

#include "nginx/conf.hpp"
#include "nginx/response.hpp"
#include "nginx/str.hpp"
#include "nginx/stream_head.hpp"

#include "wire/accept.hpp"
#include "wire/websocket.hpp"

namespace realtime {

namespace {

bool hasBody(const ngx_http_request_t* r)
{
    const ngx_table_elt_t* length = r->headers_in.content_length;
    return r->headers_in.chunked || (length != nullptr && view(length->value) != "0");
}

} // namespace

bool wantsWebSocket(ngx_http_request_t* r)
{
    return listHasToken(joinedHeader(r, "upgrade"), "websocket");
}

ngx_int_t refuseUpgrade(ngx_http_request_t* r)
{
    addHeader(r, "Upgrade", "websocket");
    addHeader(r, "Sec-WebSocket-Version", "13");
    r->headers_out.status_line = ngx_string("426 Upgrade Required"); // nor for this one
    return respondError(r, 426, "a WebSocket handshake of version 13 is needed here");
}

Handshake checkHandshake(ngx_http_request_t* r)
{
    if (r->http_version != NGX_HTTP_VERSION_11 || !listHasToken(joinedHeader(r, "connection"), "upgrade")) {
        return {
            respondError(r, NGX_HTTP_BAD_REQUEST, "a WebSocket needs HTTP/1.1 and \"Connection: upgrade\""),
            {}};
    }
    if (hasBody(r)) { // what is not here yet would be taken for frames
        return {respondError(r, NGX_HTTP_BAD_REQUEST, "a WebSocket handshake has no body"), {}};
    }
    // Version and key may stand there once (RFC 6455 11.3): several are a list, which neither is.
    if (joinedHeader(r, "sec-websocket-version") != "13") {
        return {refuseUpgrade(r), {}};
    }
    if (!ws::validKey(joinedHeader(r, "sec-websocket-key"))) {
        return {respondError(r, NGX_HTTP_BAD_REQUEST, "Sec-WebSocket-Key is missing or malformed"), {}};
    }
    if (locConf(r).deflate == 0) {
        return {};
    }
    auto extension = chooseExtension(joinedHeader(r, "sec-websocket-extensions"));
    if (!extension) {
        return {respondError(r, NGX_HTTP_BAD_REQUEST, "Sec-WebSocket-Extensions is malformed"), {}};
    }
    return {std::nullopt, *extension};
}

std::optional<ngx_int_t> sendSwitchingProtocols(ngx_http_request_t* r, std::string_view subprotocol,
                                                std::string_view extension)
{
    std::string accept = ws::acceptKey(requestHeader(r, "sec-websocket-key"));
    addHeader(r, "Upgrade", "websocket");
    addHeader(r, "Sec-WebSocket-Accept", view(copyTo(r->pool, accept)));
    if (!subprotocol.empty()) {
        addHeader(r, "Sec-WebSocket-Protocol", subprotocol);
    }
    if (!extension.empty()) {
        addHeader(r, "Sec-WebSocket-Extensions", extension);
    }
    r->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS; // the header filter adds Connection: upgrade
    r->headers_out.status_line = ngx_string("101 Switching Protocols"); // nginx has no words for it
    r->headers_out.content_length_n = -1;
    return sendStreamHead(r);
}

} // namespace realtime
