#include "nginx/response.hpp"

#include "nginx/request_context.hpp"
#include "nginx/str.hpp"

#include "base/ascii.hpp"
#include "base/json_text.hpp"

#include <algorithm>
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

void beginAnswer(ngx_http_request_t* r)
{
    r->disable_not_modified = r->headers_out.etag == nullptr ? 1 : 0; // the dashboard's files have one
    r->allow_ranges = 0;
    ngx_http_clear_accept_ranges(r);
    ngx_http_clear_last_modified(r);
}

void forbidCaching(ngx_http_request_t* r)
{
    contextOf(r).uncached = true; // see answer_filter.cpp
}

namespace {

bool awaitsContinue(const ngx_http_request_t* r)
{
    return r->headers_in.expect != nullptr && !r->expect_tested && r->http_version == NGX_HTTP_VERSION_11;
}

} // namespace

ngx_int_t discardBody(ngx_http_request_t* r)
{
    if (r != r->main || r->request_body != nullptr) {
        return NGX_OK;
    }
    if (!awaitsContinue(r)) {
        return ngx_http_discard_request_body(r);
    }
    // It may come all the same, or not: nobody can tell it from the next request.
    r->expect_tested = 1;
    r->keepalive = 0;
    r->lingering_close = 1;
    return NGX_OK;
}

ngx_int_t respond(ngx_http_request_t* r, ngx_uint_t status, std::string_view contentType,
                  std::string_view body)
{
    discardBody(r); // a failure closes the connection after the response
    beginAnswer(r);
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
    beginAnswer(r);
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

ngx_int_t respondHead(ngx_http_request_t* r, std::string_view contentType)
{
    beginAnswer(r);
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_type = borrow(contentType);
    r->headers_out.content_type_len = contentType.size();
    r->headers_out.content_type_lowcase = nullptr;
    return ngx_http_send_header(r);
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

namespace {

std::string_view decoded(ngx_http_request_t* r, std::string_view text)
{
    if (text.find('%') == std::string_view::npos) {
        return text;
    }
    auto* bytes = static_cast<u_char*>(ngx_pnalloc(r->pool, text.size()));
    if (bytes == nullptr) {
        throw std::bad_alloc();
    }
    u_char* to = bytes;
    u_char* from = borrow(text).data;
    ngx_unescape_uri(&to, &from, text.size(), 0);
    return {reinterpret_cast<char*>(bytes), static_cast<std::size_t>(to - bytes)};
}

} // namespace

std::string_view queryArgument(ngx_http_request_t* r, std::string_view name, bool& found)
{
    ngx_str_t value;
    found = ngx_http_arg(r, borrow(name).data, name.size(), &value) == NGX_OK;
    return found ? decoded(r, view(value)) : std::string_view();
}

std::string_view lastQueryArgument(ngx_http_request_t* r, bool (*matches)(std::string_view name))
{
    std::string_view last;
    std::string_view rest = view(r->args);
    while (!rest.empty()) {
        const std::string_view one = rest.substr(0, rest.find('&'));
        rest.remove_prefix(std::min(one.size() + 1, rest.size()));
        const std::size_t equals = one.find('=');
        if (equals != std::string_view::npos && equals + 1 < one.size() &&
            matches(decoded(r, one.substr(0, equals)))) {
            last = one.substr(equals + 1);
        }
    }
    return decoded(r, last);
}

} // namespace realtime
