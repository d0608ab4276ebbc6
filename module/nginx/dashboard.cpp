#include "nginx/dashboard.hpp"

#include "nginx/response.hpp"
#include "nginx/str.hpp"

#include "base/siphash.hpp"

#include <array>
#include <charconv>

// In dashboard_files.c.
#define REALTIME_FILE(symbol)                                                                                \
    extern "C" __attribute__((visibility("hidden"))) const char realtime_##symbol[];                         \
    extern "C" __attribute__((visibility("hidden"))) const char realtime_##symbol##_end[]
REALTIME_FILE(index_html);
REALTIME_FILE(dashboard_css);
REALTIME_FILE(dashboard_js);
REALTIME_FILE(uplot_css);
REALTIME_FILE(uplot_js);

namespace realtime {

namespace {

struct File {
    std::string_view name;
    std::string_view contentType;
    const char* begin;
    const char* end;
};

#define REALTIME_ENTRY(symbol) realtime_##symbol, realtime_##symbol##_end
const std::array<File, 5> Files{{
    {DashboardPage, "text/html; charset=utf-8", REALTIME_ENTRY(index_html)},
    {"dashboard.css", "text/css; charset=utf-8", REALTIME_ENTRY(dashboard_css)},
    {"dashboard.js", "text/javascript; charset=utf-8", REALTIME_ENTRY(dashboard_js)},
    {"uplot.css", "text/css; charset=utf-8", REALTIME_ENTRY(uplot_css)},
    {"uplot.js", "text/javascript; charset=utf-8", REALTIME_ENTRY(uplot_js)},
}};
#undef REALTIME_ENTRY

// No script or style in the page itself, no markup made by script (require-trusted-types-for), no other host, no frame
// around it. Styles that the chart library sets go through the style objects, which no policy concerns.
constexpr std::string_view Policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri "
    "'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

// The same in all workers and generations: the key is no secret, the hash no protection.
ngx_str_t entityTag(ngx_pool_t* pool, std::string_view bytes)
{
    char tag[20] = "\"";
    std::uint64_t hash = SipHash({0, 0}).add(bytes).finish();
    char* end = std::to_chars(tag + 1, tag + sizeof(tag) - 1, hash, 16).ptr;
    *end++ = '"';
    return copyTo(pool, {tag, static_cast<std::size_t>(end - tag)});
}

void addEntityTag(ngx_http_request_t* r, std::string_view bytes)
{
    ngx_str_t tag = entityTag(r->pool, bytes);
    addHeader(r, "ETag", view(tag));
    // nginx answers If-None-Match by this one.
    auto* part = r->headers_out.headers.last;
    r->headers_out.etag = static_cast<ngx_table_elt_t*>(part->elts) + part->nelts - 1;
}

} // namespace

ngx_int_t respondDashboardFile(ngx_http_request_t* r, std::string_view name)
{
    for (const File& file : Files) {
        if (file.name != name) {
            continue;
        }
        std::string_view bytes(file.begin, static_cast<std::size_t>(file.end - file.begin));
        addEntityTag(r, bytes);
        addHeader(r, "Cache-Control", "no-cache"); // asks each time, and mostly gets a 304
        addHeader(r, "Content-Security-Policy", Policy);
        addHeader(r, "X-Content-Type-Options", "nosniff");
        addHeader(r, "X-Frame-Options", "DENY");
        addHeader(r, "Referrer-Policy", "no-referrer");
        return respond(r, NGX_HTTP_OK, file.contentType, bytes);
    }
    return respondError(r, NGX_HTTP_NOT_FOUND, "no such file");
}

} // namespace realtime
