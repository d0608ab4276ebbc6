// The headers of an answer that several have had a hand in: we, `add_header`, an application before us. Names count whatever
// their case.
#pragma once

#include "nginx/ngx.hpp"

#include <string_view>

namespace realtime {

// Names are literals; values must live as long as the request.
bool hasHeader(ngx_http_request_t* r, std::string_view name, std::string_view value);
void removeHeader(ngx_http_request_t* r, std::string_view name);
// Once, with this value, whatever was there.
void setHeader(ngx_http_request_t* r, std::string_view name, std::string_view value);
// Whichever comes first stays.
void keepFirstHeader(ngx_http_request_t* r, std::string_view name);
// Several lines become the one list that they mean (RFC 9110 5.3).
void mergeHeader(ngx_http_request_t* r, std::string_view name);
// The list has this item, too.
void addToList(ngx_http_request_t* r, std::string_view name, std::string_view item);

} // namespace realtime
