// The head of a response that stays open: the 101 of a WebSocket, the 200 of an event stream.
//
// Other modules see such a head as any other (add_header, headers-more, Lua …). But those that alter bodies (gzip,
// brotli, sub_filter, ssi, charset, xslt …) get nothing to alter, since they hold text back until it is whole, and a
// stream never is. What follows the head goes past them, and the head says nothing of what they would have done. Nor is
// a stream a download, which limit_rate is for.
#pragma once

#include "nginx/ngx.hpp"

#include <optional>

namespace realtime {

// For postconfiguration, before those filters come in: see ngx_module_order.
void registerStreamFilter();

// Sends what is in r->headers_out. nullopt: it is out, or on its way (r->out). Else there is no stream, since another
// module has answered in our place or something is broken: the value is what the content handler is to return.
std::optional<ngx_int_t> sendStreamHead(ngx_http_request_t* r);

// As ngx_http_output_filter(), for what follows the head: past the filters that alter bodies. An HTTP/1.1 stream brings
// its own chunks. Null: goes on with what has not got out yet.
ngx_int_t writeStream(ngx_http_request_t* r, ngx_chain_t* chain);

// The end of a response that nginx frames: what the request is to be finalized with.
ngx_int_t endStream(ngx_http_request_t* r);

} // namespace realtime
