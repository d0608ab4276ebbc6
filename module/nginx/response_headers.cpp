#include "nginx/response_headers.hpp"

#include "nginx/response.hpp"
#include "nginx/str.hpp"

#include "base/ascii.hpp"
#include "wire/accept.hpp"

#include <algorithm>
#include <string>
#include <vector>

namespace realtime {

namespace {

std::vector<ngx_table_elt_t*> headersOf(ngx_http_request_t* r, std::string_view name)
{
    std::vector<ngx_table_elt_t*> found;
    for (ngx_list_part_t* part = &r->headers_out.headers.part; part != nullptr; part = part->next) {
        auto* headers = static_cast<ngx_table_elt_t*>(part->elts);
        for (ngx_uint_t i = 0; i < part->nelts; i++) {
            if (headers[i].hash != 0 && sameText(view(headers[i].key), name)) {
                found.push_back(&headers[i]);
            }
        }
    }
    return found;
}

} // namespace

bool hasHeader(ngx_http_request_t* r, std::string_view name, std::string_view value)
{
    const auto headers = headersOf(r, name);
    return std::any_of(headers.begin(), headers.end(),
                       [&](const ngx_table_elt_t* header) { return view(header->value) == value; });
}

void removeHeader(ngx_http_request_t* r, std::string_view name)
{
    for (ngx_table_elt_t* header : headersOf(r, name)) {
        header->hash = 0;
    }
}

void setHeader(ngx_http_request_t* r, std::string_view name, std::string_view value)
{
    removeHeader(r, name);
    addHeader(r, name, value);
}

void keepFirstHeader(ngx_http_request_t* r, std::string_view name)
{
    bool first = true;
    for (ngx_table_elt_t* header : headersOf(r, name)) {
        header->hash = first ? header->hash : 0;
        first = false;
    }
}

void mergeHeader(ngx_http_request_t* r, std::string_view name)
{
    const auto headers = headersOf(r, name);
    if (headers.size() < 2) {
        return;
    }
    std::string list;
    for (const ngx_table_elt_t* header : headers) {
        std::string_view rest = view(header->value);
        while (const auto item = nextListItem(rest)) {
            if (!listHasToken(list, *item)) {
                list.append(list.empty() ? "" : ", ").append(*item);
            }
        }
    }
    setHeader(r, name, view(copyTo(r->pool, list)));
}

void addToList(ngx_http_request_t* r, std::string_view name, std::string_view item)
{
    addHeader(r, name, item);
    mergeHeader(r, name);
}

} // namespace realtime
