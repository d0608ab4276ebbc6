#include "nginx/stream_head.hpp"

#include "nginx/request_context.hpp"
#include "nginx/str.hpp"

namespace realtime {

namespace {

// What is below the filters that alter bodies: chunks, HTTP/2 and later, the socket.
ngx_http_output_header_filter_pt nextHeaderFilter = nullptr;
ngx_http_output_body_filter_pt nextBodyFilter = nullptr;

constexpr std::string_view ContentEncoding = "Content-Encoding";
constexpr std::string_view Utf8 = "utf-8"; // event streams are nothing else

bool sameHeader(const ngx_str_t& key, std::string_view name)
{
    return key.len == name.size() && ngx_strncasecmp(key.data, borrow(name).data, name.size()) == 0;
}

void removeHeader(ngx_http_request_t* r, std::string_view name)
{
    for (ngx_list_part_t* part = &r->headers_out.headers.part; part != nullptr; part = part->next) {
        auto* headers = static_cast<ngx_table_elt_t*>(part->elts);
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (sameHeader(headers[i].key, name)) {
                headers[i].hash = 0;
            }
        }
    }
}

// Takes back what filters of bodies have announced.
void describeStream(ngx_http_request_t* r)
{
    removeHeader(r, ContentEncoding);
    ngx_http_clear_content_length(r);
    ngx_http_clear_accept_ranges(r);
    if (r->headers_out.charset.len != 0 && !sameHeader(r->headers_out.charset, Utf8)) {
        r->headers_out.charset = borrow(Utf8);
    }
#if (NGX_HTTP_GZIP)
    r->gzip_vary = 0;
#endif
    // With HTTP/1.x nothing follows as far as nginx knows, so that it sends the head at once.
    r->header_only = r->http_version < NGX_HTTP_VERSION_20 ? 1 : 0;
}

ngx_int_t streamHeaderFilter(ngx_http_request_t* r)
{
    const RequestContext* context = existingContext(r);
    if (context != nullptr && context->streamStatus != 0 && !r->header_sent) {
        r->headers_out.content_encoding = nullptr;
        if (r->headers_out.status == context->streamStatus) {
            describeStream(r);
        }
    }
    return nextHeaderFilter(r);
}

// Compressors, charset and the like leave a body alone that is encoded already. Not in the list of headers, so that
// it is never sent.
ngx_table_elt_t* encodedAlready()
{
    static ngx_table_elt_t header;
    header = {};
    header.hash = 1;
    header.key = borrow(ContentEncoding);
    header.value = borrow("identity");
    return &header;
}

} // namespace

void registerStreamFilter()
{
    nextHeaderFilter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = streamHeaderFilter;
    nextBodyFilter = ngx_http_top_body_filter;
}

std::optional<ngx_int_t> sendStreamHead(ngx_http_request_t* r)
{
    if (r != r->main || r->post_action || r->header_sent) {
        return NGX_ERROR;
    }
    const ngx_uint_t status = r->headers_out.status;
    contextOf(r).streamStatus = status;
    r->headers_out.content_encoding = encodedAlready();
    r->err_status = 0; // an error_page without "=" would have it instead of ours
    r->keepalive = 0;
    r->limit_rate = 0;
    r->limit_rate_set = 1;

    ngx_int_t rc = ngx_http_send_header(r);
    if (rc == NGX_OK && !r->header_sent) { // xslt and image_filter keep a head until they have the whole body
        rc = streamHeaderFilter(r);
    }
    if (rc == NGX_ERROR || rc > NGX_OK) {
        return rc;
    }
    if (r->headers_out.status == status) {
        return std::nullopt;
    }
    return r->header_only ? rc : endStream(r);
}

ngx_int_t writeStream(ngx_http_request_t* r, ngx_chain_t* chain)
{
    ngx_connection_t* c = r->connection;
    if (chain == nullptr && r->out == nullptr && (c->buffered & NGX_LOWLEVEL_BUFFERED) == 0) {
        return NGX_OK; // else nginx says in an alert that there is nothing to send
    }
    ngx_int_t rc = nextBodyFilter(r, chain);
    if (rc == NGX_ERROR) {
        c->error = 1;
    }
    return rc;
}

ngx_int_t endStream(ngx_http_request_t* r)
{
    auto* last = static_cast<ngx_buf_t*>(ngx_calloc_buf(r->pool));
    if (last == nullptr) {
        return NGX_ERROR;
    }
    last->last_buf = 1;
    ngx_chain_t chain{last, nullptr};
    return writeStream(r, &chain);
}

} // namespace realtime
