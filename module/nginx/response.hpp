// Answers of our endpoints.
#pragma once

#include "nginx/ngx.hpp"

#include <string>
#include <string_view>

namespace realtime {

// Adds a response header; `name` is a literal, `value` must live as long as the request (see copyTo()).
void addHeader(ngx_http_request_t* r, std::string_view name, std::string_view value);

// What we answer is of this moment and for this client: no condition or range of the request makes a 304, 412 or 206 of
// it, and what an application said of its own answer (X-Accel-Redirect) is not true of it. Before the header is sent;
// respond() and respondEmpty() do it.
void beginAnswer(ngx_http_request_t* r);
// And nobody keeps it, whatever `expires` or an application says.
void forbidCaching(ngx_http_request_t* r);

// Throws away a request's body that nobody has read, so that it is not taken for the next request. One that the client
// would send after a `100 Continue` is not asked for: then the connection ends with the answer.
// NGX_OK, or what a content handler is to return.
ngx_int_t discardBody(ngx_http_request_t* r);

// Sends a whole response, finished; returns what a content handler is to return. `body` is copied into the request's pool,
// which nginx keeps until all of it is out. HEAD gets no body.
ngx_int_t respond(ngx_http_request_t* r, ngx_uint_t status, std::string_view contentType,
                  std::string_view body);
ngx_int_t respondEmpty(ngx_http_request_t* r, ngx_uint_t status);

// {"error":"…"}, with a line at level info in the error log.
ngx_int_t respondError(ngx_http_request_t* r, ngx_uint_t status, std::string_view message);

// The answer to HEAD where a GET would not end: the header alone.
ngx_int_t respondHead(ngx_http_request_t* r, std::string_view contentType);

// 405 with `Allow`.
ngx_int_t refuseMethod(ngx_http_request_t* r, std::string_view allowed);

// The value of a request header, looked up by its lower-case name, without white space around it (nginx leaves tabs);
// empty if there is none.
std::string_view requestHeader(ngx_http_request_t* r, std::string_view lowerCaseName);

// All of that name, as the one list that they are (RFC 9110 5.3).
std::string joinedHeader(ngx_http_request_t* r, std::string_view lowerCaseName);

// A parameter of the query string, percent-decoded into the request's pool; `found` tells empty from absent.
std::string_view queryArgument(ngx_http_request_t* r, std::string_view name, bool& found);

// The last parameter that is not empty and whose decoded name `matches`: clients append to URLs that have one already.
std::string_view lastQueryArgument(ngx_http_request_t* r, bool (*matches)(std::string_view name));

} // namespace realtime
