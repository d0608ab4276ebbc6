#include "nginx/response.hpp"

#include "nginx/str.hpp"

#include "base/ascii.hpp"
#include "base/json_text.hpp"

#include <string>

namespace realtime {

void addHeader(ngx_http_request_t* r, std::string_view name, std::string_view value)
{
    auto* header = static_cast<ngx_table_elt_t*>(ngx_list_push(&r->headers_out.headers));
    if (header == nullptr) {
        throw std::bad_alloc();
    }
    *header = {}; // nginx 1.23 and later have a `next` in it
    header->hash = 1;
    header->key = borrow(name);
    header->value = borrow(value);
}

namespace {

// A body that nobody has read would be taken for the next request of the connection.
void discardBody(ngx_http_request_t* r)
{
    if (r == r->main && r->request_body == nullptr) {
        ngx_http_discard_request_body(r); // a failure closes the connection after the response
    }
}

} // namespace

ngx_int_t respond(ngx_http_request_t* r, ngx_uint_t status, std::string_view contentType,
                  std::string_view body)
{
    discardBody(r);
    ngx_buf_t* buffer = ngx_create_temp_buf(r->pool, body.empty() ? 1 : body.size());
    if (buffer == nullptr) {
        throw std::bad_alloc();
    }
    buffer->last = ngx_cpymem(buffer->pos, body.data(), body.size());
    buffer->last_buf = r == r->main ? 1 : 0;
    buffer->last_in_chain = 1;
    if (body.empty()) {
        buffer->temporary = 0;
    }

    r->headers_out.status = status;
    r->headers_out.content_length_n = static_cast<off_t>(body.size());
    r->headers_out.content_type = borrow(contentType);
    r->headers_out.content_type_len = contentType.size();
    r->headers_out.content_type_lowcase = nullptr;

    ngx_int_t rc = ngx_http_send_header(r);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }
    ngx_chain_t chain{buffer, nullptr};
    return ngx_http_output_filter(r, &chain);
}

ngx_int_t respondEmpty(ngx_http_request_t* r, ngx_uint_t status)
{
    discardBody(r);
    r->headers_out.status = status;
    r->headers_out.content_length_n = 0;
    r->header_only = 1;
    return ngx_http_send_header(r);
}

ngx_int_t respondError(ngx_http_request_t* r, ngx_uint_t status, std::string_view message)
{
    ngx_str_t text = borrow(message);
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0, "realtime: refused with %ui: %V", status, &text);

    std::string body = "{\"error\":";
    appendJsonString(body, message);
    body += "}\n";
    return respond(r, status, "application/json", body);
}

ngx_int_t refuseMethod(ngx_http_request_t* r, std::string_view allowed)
{
    addHeader(r, "Allow", allowed);
    return respondError(r, NGX_HTTP_NOT_ALLOWED, "method not allowed here");
}

namespace {

// Calls `take` with each header's value of that name until it says that it has seen enough.
template <class Take> void forEachHeader(ngx_http_request_t* r, std::string_view lowerCaseName, Take&& take)
{
    for (ngx_list_part_t* part = &r->headers_in.headers.part; part != nullptr; part = part->next) {
        auto* headers = static_cast<ngx_table_elt_t*>(part->elts);
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (headers[i].key.len == lowerCaseName.size() &&
                std::memcmp(headers[i].lowcase_key, lowerCaseName.data(), lowerCaseName.size()) == 0 &&
                take(trimmed(view(headers[i].value)))) {
                return;
            }
        }
    }
}

} // namespace

std::string_view requestHeader(ngx_http_request_t* r, std::string_view lowerCaseName)
{
    std::string_view found;
    forEachHeader(r, lowerCaseName, [&](std::string_view value) {
        found = value;
        return true;
    });
    return found;
}

std::string joinedHeader(ngx_http_request_t* r, std::string_view lowerCaseName)
{
    std::string joined;
    forEachHeader(r, lowerCaseName, [&](std::string_view value) {
        joined += joined.empty() ? "" : ", ";
        joined += value;
        return false;
    });
    return joined;
}

std::string_view queryArgument(ngx_http_request_t* r, std::string_view name, bool& found)
{
    ngx_str_t value;
    found = ngx_http_arg(r, reinterpret_cast<u_char*>(const_cast<char*>(name.data())), name.size(), &value) ==
            NGX_OK;
    if (!found || value.len == 0) {
        return {};
    }
    auto* decoded = static_cast<u_char*>(ngx_pnalloc(r->pool, value.len));
    if (decoded == nullptr) {
        throw std::bad_alloc();
    }
    u_char* to = decoded;
    u_char* from = value.data;
    ngx_unescape_uri(&to, &from, value.len, 0);
    return {reinterpret_cast<char*>(decoded), static_cast<std::size_t>(to - decoded)};
}

} // namespace realtime
