// What the headers of a subscriber's request ask for, and whose pages may ask. Pure functions, any thread;
// views are of the arguments.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace realtime {

// --- lists (RFC 9110 section 5.6.1)
// ----------------------------------------------------------------------------- Takes the next element off a
// comma-separated list, without the white space around it; empty ones are skipped. Null at the end. A comma
// within a quoted string does not separate.
std::optional<std::string_view> nextListItem(std::string_view& list);

// Is `token` in the list, whatever its case? For `Connection: keep-alive, Upgrade` and `Upgrade: websocket`.
bool listHasToken(std::string_view list, std::string_view token);

// The first of the subprotocols that a client offers (Sec-WebSocket-Protocol) that is one of ours, as it stands in
// `supported`; null if none. Case counts (RFC 6455 11.5).
std::optional<std::string_view> chooseSubprotocol(std::string_view offered,
                                                  std::span<const std::string_view> supported);

// Does an `Accept` header ask for text/event-stream by name? `q=0` means no; a wildcard does not ask for it.
bool acceptsEventStream(std::string_view accept);
// Likewise text/html, as browsers do when they show a page.
bool acceptsHtml(std::string_view accept);

// --- extensions (RFC 6455 9.1, RFC 7692 7.1)
// What is answered to the extensions that a client offers (Sec-WebSocket-Extensions): permessage-deflate, as the first
// of its offers that we can keep to has it, without context takeover in either direction. Empty: without extension.
// Null: the header is malformed, and so the handshake.
std::optional<std::string_view> chooseExtension(std::string_view offered);

// --- origins (RFC 6454, Fetch)
// ---------------------------------------------------------------------------------- `scheme://host[:port]`
// as browsers send it, or "null".
bool validOrigin(std::string_view origin);

// Is the page from where it talks to? `scheme` is http or https, `authority` the host and port as the request names them.
// Case does not count, and the scheme's own port may be written or not. "null" is never the same.
bool sameOrigin(std::string_view origin, std::string_view scheme, std::string_view authority);

// The host and port that a request line names in absolute form, which take the place of the `Host` header (RFC 9112
// 3.2.2); empty: it does not.
std::string_view absoluteAuthority(std::string_view requestLine);

// Which of the headers that a page asks for (Access-Control-Request-Headers) are no more than names, in lower case and
// each once, separated by commas; without those of `known`, a list of names in lower case.
std::string requestedHeaders(std::string_view asked, std::string_view known);

// What an operator may write in `realtime_origins`: `*`, "null", an origin, or one whose host begins with
// `*.`.
bool validOriginPattern(std::string_view pattern);

// `*` allows every origin, whatever it is; `https://*.example.com` one or more labels in front of example.com
// (not example.com itself) with that scheme and port; others are compared whole. Case does not count, and the
// scheme's own port may be written or not.
bool originAllowed(std::span<const std::string> patterns, std::string_view origin);

} // namespace realtime
