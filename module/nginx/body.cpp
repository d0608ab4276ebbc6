#include "nginx/body.hpp"

#include "nginx/response.hpp"

#include "base/ascii.hpp"
#include "wire/accept.hpp"

#include <stdexcept>

namespace realtime {

off_t bodySize(const ngx_http_request_t* r)
{
    off_t size = 0;
    for (ngx_chain_t* cl = r->request_body != nullptr ? r->request_body->bufs : nullptr; cl != nullptr;
         cl = cl->next) {
        size += ngx_buf_size(cl->buf);
    }
    return size;
}

bool bodyIsEncoded(ngx_http_request_t* r)
{
    const std::string encodings = joinedHeader(r, "content-encoding");
    std::string_view rest = encodings;
    while (const auto encoding = nextListItem(rest)) {
        if (!sameText(*encoding, "identity")) {
            return true;
        }
    }
    return false;
}

bool bodyIsWhole(const ngx_http_request_t* r)
{
    // Of a chunked body nginx adds up the length as it comes in.
    return !r->reading_body && !r->discard_body &&
           (r->headers_in.content_length_n < 0 || bodySize(r) == r->headers_in.content_length_n);
}

std::string_view gatherBody(ngx_http_request_t* r, std::string& buffer)
{
    ngx_chain_t* bufs = r->request_body != nullptr ? r->request_body->bufs : nullptr;
    if (bufs != nullptr && bufs->next == nullptr && ngx_buf_in_memory(bufs->buf)) {
        return {reinterpret_cast<char*>(bufs->buf->pos),
                static_cast<std::size_t>(bufs->buf->last - bufs->buf->pos)};
    }
    for (ngx_chain_t* cl = bufs; cl != nullptr; cl = cl->next) {
        ngx_buf_t* b = cl->buf;
        if (ngx_buf_in_memory(b)) {
            buffer.append(reinterpret_cast<char*>(b->pos), static_cast<std::size_t>(b->last - b->pos));
            continue;
        }
        if (!b->in_file) {
            continue; // an empty body is a buffer that only says "the last"
        }
        std::size_t size = static_cast<std::size_t>(b->file_last - b->file_pos);
        std::size_t at = buffer.size();
        buffer.resize(at + size);
        if (ngx_read_file(b->file, reinterpret_cast<u_char*>(buffer.data() + at), size, b->file_pos) !=
            static_cast<ssize_t>(size)) {
            throw std::runtime_error("cannot read the request body back from its file");
        }
    }
    return buffer;
}

} // namespace realtime
