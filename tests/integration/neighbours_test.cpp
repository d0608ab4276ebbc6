// Other modules around our endpoints: those that nginx is built with, each that Debian packages, and all at once. They
// hold text back, rewrite it, compress it, begin subrequests and keep requests. Streams pass none of that.
#include "support/listener.hpp"
#include "support/pusher.hpp"
#include "support/realtime.hpp"
#include "support/sse.hpp"
#include "support/websocket.hpp"

#include <algorithm>
#include <filesystem>
#include <iostream>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

const std::string Modules = "/usr/lib/nginx/modules/"; // where Debian installs them

struct Neighbour {
    std::vector<std::string> packages = {}; // libnginx-mod-…
    std::vector<std::string> files = {};    // without .so, in the order in which they are to be loaded
    std::string http = {};
    std::string server = {};
    std::string streams = {};    // in the locations of subscribers
    std::string publishers = {}; // in that of publishers
    bool documents = true;       // an answer that ends gets through as well
};

// Files that some of them name.
struct Files : TempDir {
    Files()
    {
        writeFile(path() / "identity.xslt",
                  "<xsl:stylesheet version=\"1.0\" xmlns:xsl=\"http://www.w3.org/1999/XSL/Transform\">"
                  "<xsl:template match=\"/\"><x/></xsl:template></xsl:stylesheet>");
        writeFile(
            path() / "neighbour.js",
            "function head(r) { r.headersOut['X-Js'] = 'yes'; }\n"
            "function body(r, data, flags) { r.sendBuffer(String(data).toUpperCase(), flags); }\n"
            "function redirect(r) { r.subrequest('/slow', {detached: true}); r.internalRedirect('@room'); }\n"
            "export default { head, body, redirect };\n");
    }
};

const std::string& directoryOfFiles()
{
    static const Files files;
    static const std::string path = files.path();
    return path;
}

// What waits for a server that does not answer at once: the connection is taken by the kernel, and by nobody else.
const ListeningSocket& silentServer()
{
    static const ListeningSocket socket;
    return socket;
}

NginxOptions beside(const Neighbour& neighbour)
{
    NginxOptions options;
    options.http2 = true;
    for (const std::string& file : neighbour.files) {
        options.main += "load_module " + Modules + file + ".so;\n";
    }
    options.http = neighbour.http + "\nrealtime_app default { key k; secret s; }\n";
    options.server =
        "location ~ ^/sub/(?<ch>.*)$ { " + neighbour.streams + " realtime_subscribe $ch; %LAST% }\n" +
        "location ~ ^/pub/(?<ch>.*)$ { " + neighbour.publishers + " realtime_publish $ch; %LAST% }\n" +
        "location /app/ { " + neighbour.streams + " realtime_pusher websocket; }\n" + "location /figures { " +
        neighbour.streams + " realtime_status; }\n" +
        "location = /slow { internal; proxy_pass http://127.0.0.1:" + std::to_string(silentServer().port()) +
        "; }\n" + "location = /refused { internal; proxy_pass http://127.0.0.1:1; }\n" + neighbour.server;
    replaceAll(options.server, "%LAST%",
               neighbour.http.find("upload_progress") == std::string::npos ? "" : "track_uploads up 5s;");
    replaceAll(options.http, "%FILES%", directoryOfFiles());
    replaceAll(options.server, "%FILES%", directoryOfFiles());
    return options;
}

// One that would be found, rewritten and recoded if a filter saw it.
const std::string Text = "foo <!--# echo var=\"uri\" --> \xe2\x82\xac </body>";

void expectPlainStream(SseClient& stream)
{
    expectEqual(stream.response().status, 200L);
    expectEqual(stream.response().header("content-encoding"), "");
    expectEqual(stream.response().header("content-length"), "");
    const std::string type = stream.response().header("content-type");
    expect(type == "text/event-stream" || type == "text/event-stream; charset=utf-8", type);
}

void servesStreams(const Nginx& nginx)
{
    for (const bool http2 : {false, true}) {
        HttpRequest request;
        request.version = http2 ? HttpVersion::Http2Cleartext : HttpVersion::Http11;
        request.url = http2 ? nginx.http2Url("/sub/room") : nginx.url("/sub/room");
        request.headers = {"Accept-Encoding: gzip, br"};
        SseClient stream(request);
        expectPlainStream(stream);
        const std::string id = publish(nginx, "room", Text);
        const SseEvent event = stream.receive();
        expectEqual(event.data, Text);
        expectEqual(event.id, id);
        publish(nginx, "room", "second");
        expectEqual(stream.receive().data, "second");

        request.url = http2 ? nginx.http2Url("/figures?format=events") : nginx.url("/figures?format=events");
        SseClient figures(request);
        expectPlainStream(figures);
        expect(figures.receive().data.starts_with('{'), "figures come");
    }
    RawSocket old(nginx.port());
    old.send("GET /sub/room HTTP/1.0\r\nAccept: text/event-stream\r\nAccept-Encoding: gzip, br\r\n\r\n");
    expectLacks(old.receiveUntil("\r\n\r\n"), "Content-Encoding");
    publish(nginx, "room", Text);
    expectContains(old.receiveUntil("data: " + Text + "\n\n"), "id: ");
}

void servesSockets(const Nginx& nginx)
{
    WebSocketOptions options;
    options.port = nginx.port();
    options.path = "/sub/room";
    options.headers = {{"Accept-Encoding:", "gzip, br"}};
    WebSocket socket(options);
    PusherClient pusher(nginx.port(), "k", "s");
    pusher.subscribe("room");
    publish(nginx, "room", Text);
    expectEqual(socket.receiveText(), Text);
    expectEqual(pusher.receive().data, Text);
}

void servesDocuments(const Nginx& nginx)
{
    const auto poll = get(nginx.url("/sub/room?since=earliest"));
    expectEqual(poll.status, 200L);
    expectContains(poll.body, "second");
    HttpRequest head;
    head.method = "HEAD";
    head.url = nginx.url("/sub/room");
    expectEqual(send(head).status, 200L);
}

void serves(const NginxOptions& options, bool documents)
{
    const Nginx nginx(options); // which looks for alerts when it ends
    const auto workers = nginx.workers();
    servesStreams(nginx);
    servesSockets(nginx);
    if (documents) {
        servesDocuments(nginx);
    }
    HttpRequest head;
    head.method = "HEAD";
    head.url = nginx.url("/sub/room");
    head.headers = {"Accept: text/event-stream"};
    const auto answer = send(head);
    expectEqual(answer.status, 200L);
    expectContains(answer.header("content-type"), "text/event-stream");
    eventually([&] { return probe(nginx, "room") == 0; }, "whoever has left is counted off");
    expect(nginx.workers() == workers, "no worker has died");
}

// Empty: everything is here.
std::string missing(const Neighbour& neighbour)
{
    std::string packages;
    for (const std::string& file : neighbour.files) {
        if (!std::filesystem::exists(Modules + file + ".so")) {
            for (const std::string& package : neighbour.packages) {
                packages += " libnginx-mod-http-" + package;
            }
            break;
        }
    }
    return packages;
}

bool cannotBeTried(const Neighbour& neighbour)
{
    const std::string packages = missing(neighbour);
    if (!packages.empty()) {
        std::cout << "    SKIPPED: not installed:" << packages << std::endl;
    }
    return !packages.empty();
}

void works(const Neighbour& neighbour)
{
    if (cannotBeTried(neighbour)) {
        skip();
    }
    serves(beside(neighbour), neighbour.documents);
}

// --- who they are -----------------------------------------------------------------------------------------------

const Neighbour Gzip{.http = "gzip on; gzip_types *; gzip_min_length 0; gunzip on;"};
const Neighbour Substitution{.http = "sub_filter foo bar; sub_filter_types *; sub_filter_once off;"};
const Neighbour Includes{.http = "ssi on; ssi_types *;"};
const Neighbour Charset{.http = "charset koi8-r; source_charset utf-8; override_charset on; charset_types *;"
                                "charset_map koi8-r utf-8 { 80 E282AC; }"};
const Neighbour Addition{.http = "add_before_body /before; add_after_body /after; addition_types *;",
                         .server = "location = /before { return 200 before; }"
                                   "location = /after { return 200 after; }"};
const Neighbour Mirror{.streams = "mirror /slow; mirror /refused; mirror /sub/room;",
                       .publishers = "mirror /refused;"};
const Neighbour Rates{.http = "limit_rate 30; postpone_output 100000; output_buffers 1 10;",
                      .publishers = "limit_rate 0;",
                      .documents = false}; // at 30 bytes a second
const Neighbour AuthRequest{.server = "location = /auth { internal; return 204; }",
                            .streams = "auth_request /auth;",
                            .publishers = "auth_request /auth;"};
const Neighbour Brotli{.packages = {"brotli-filter", "brotli-static"},
                       .files = {"ngx_http_brotli_filter_module", "ngx_http_brotli_static_module"},
                       .http = "brotli on; brotli_types *; brotli_min_length 0; brotli_static on;"};
const Neighbour SubsFilter{.packages = {"subs-filter"},
                           .files = {"ngx_http_subs_filter_module"},
                           .http = "subs_filter_types *; subs_filter foo bar;"};
const Neighbour HeadersMore{
    .packages = {"headers-more-filter"},
    .files = {"ngx_http_headers_more_filter_module"},
    .http = "more_set_headers 'X-A: b' 'Cache-Control: public'; more_clear_headers Server;"
            "more_set_input_headers 'X-B: c';"};
const Neighbour UploadProgress{.packages = {"uploadprogress"},
                               .files = {"ngx_http_uploadprogress_module"},
                               .http = "upload_progress up 1m;",
                               .server = "location = /progress { report_uploads up; }"};
const Neighbour Echo{.packages = {"echo"},
                     .files = {"ngx_http_echo_module"},
                     .streams = "echo_before_body before; echo_after_body after;"};
const Neighbour Lua{.packages = {"ndk", "lua"},
                    .files = {"ndk_http_module", "ngx_http_lua_module"},
                    .http = "lua_package_path '/usr/share/lua/5.1/?.lua;;';",
                    .server = "location = /quick { internal; return 204; }",
                    .streams = "access_by_lua_block { if ngx.req.http_version() < 2 then"
                               " ngx.location.capture('/quick') end ngx.sleep(0.001) }"
                               "header_filter_by_lua_block { ngx.header['X-Lua'] = 'yes' }"
                               "body_filter_by_lua_block { ngx.arg[1] = string.upper(ngx.arg[1] or '') }"
                               "log_by_lua_block { local status = ngx.status }",
                    .publishers = "access_by_lua_block { ngx.sleep(0.001) }",
                    .documents = false}; // in capitals
const Neighbour SetMisc{.packages = {"ndk", "set-misc"},
                        .files = {"ndk_http_module", "ngx_http_set_misc_module"},
                        .streams = "set_md5 $digest foo; add_header X-Digest $digest;"};
const Neighbour Js{.packages = {"js"},
                   .files = {"ngx_http_js_module"},
                   .http = "js_path %FILES%; js_import neighbour from neighbour.js;",
                   .server = "location = /redirected { js_content neighbour.redirect; }"
                             "location @room { realtime_subscribe room; }",
                   .streams = "js_header_filter neighbour.head; js_body_filter neighbour.body;",
                   .documents = false}; // in capitals
const Neighbour Perl{.packages = {"perl"},
                     .files = {"ngx_http_perl_module"},
                     .http = "perl_set $said 'sub { return \"so\"; }';",
                     .streams = "add_header X-Said $said;"};
const Neighbour Geo{.packages = {"geoip", "geoip2"},
                    .files = {"ngx_http_geoip_module", "ngx_http_geoip2_module"}};
const Neighbour CachePurge{.packages = {"cache-purge"}, .files = {"ngx_http_cache_purge_module"}};
const Neighbour Dav{.packages = {"dav-ext"},
                    .files = {"ngx_http_dav_ext_module"},
                    .streams = "dav_methods PUT DELETE; dav_ext_methods PROPFIND OPTIONS;"};
const Neighbour FancyIndex{
    .packages = {"fancyindex"}, .files = {"ngx_http_fancyindex_module"}, .http = "fancyindex on;"};
const Neighbour AuthPam{.packages = {"auth-pam"},
                        .files = {"ngx_http_auth_pam_module"},
                        .streams = "satisfy any; allow all; auth_pam realm; auth_pam_service_name nginx;"};
const Neighbour Fair{.packages = {"upstream-fair"},
                     .files = {"ngx_http_upstream_fair_module"},
                     .http = "upstream fair { fair; server 127.0.0.1:1; }"};
const Neighbour Srcache{
    .packages = {"srcache-filter", "memc"},
    .files = {"ngx_http_srcache_filter_module", "ngx_http_memc_module"},
    .server = "location = /miss { internal; return 404; } location = /store { internal; return 201; }",
    .streams = "srcache_fetch GET /miss; srcache_store PUT /store;"};
// Both are for whole documents of another kind, and may well refuse JSON.
const Neighbour ImageFilter{.packages = {"image-filter"},
                            .files = {"ngx_http_image_filter_module"},
                            .streams = "image_filter test;",
                            .documents = false};
const Neighbour Xslt{.packages = {"xslt-filter"},
                     .files = {"ngx_http_xslt_filter_module"},
                     .http = "xslt_types *;",
                     .streams = "xslt_stylesheet %FILES%/identity.xslt;",
                     .documents = false};

// Those that are here.
Neighbour together(const std::vector<const Neighbour*>& all)
{
    Neighbour sum;
    for (const Neighbour* one : all) {
        if (!missing(*one).empty()) {
            continue;
        }
        for (const std::string& file : one->files) {
            if (std::find(sum.files.begin(), sum.files.end(), file) == sum.files.end()) {
                sum.files.push_back(file);
            }
        }
        sum.http += one->http;
        sum.server += one->server;
        sum.streams += one->streams;
        sum.publishers += one->publishers;
        sum.documents = sum.documents && one->documents;
    }
    return sum;
}

} // namespace

TEST(compression_leaves_streams_alone)
{
    works(Gzip);
}
TEST(substitution_leaves_streams_alone)
{
    works(Substitution);
}
TEST(server_side_includes_leave_streams_alone)
{
    works(Includes);
}
TEST(streams_are_utf8_whatever_the_charset)
{
    works(Charset);
}
TEST(nothing_is_put_before_or_behind_a_stream)
{
    works(Addition);
}
TEST(mirrors_are_no_obstacle)
{
    works(Mirror);
}
TEST(streams_are_no_downloads_to_be_slowed_down)
{
    works(Rates);
}
TEST(subrequests_for_access_are_no_obstacle)
{
    works(AuthRequest);
}
TEST(brotli_is_a_good_neighbour)
{
    works(Brotli);
}
TEST(subs_filter_is_a_good_neighbour)
{
    works(SubsFilter);
}
TEST(headers_more_is_a_good_neighbour)
{
    works(HeadersMore);
}
TEST(uploadprogress_is_a_good_neighbour)
{
    works(UploadProgress);
}
TEST(echo_is_a_good_neighbour)
{
    works(Echo);
}
TEST(lua_is_a_good_neighbour)
{
    works(Lua);
}
TEST(set_misc_is_a_good_neighbour)
{
    works(SetMisc);
}
TEST(perl_is_a_good_neighbour)
{
    works(Perl);
}
TEST(geoip_and_geoip2_are_good_neighbours)
{
    works(Geo);
}
TEST(cache_purge_is_a_good_neighbour)
{
    works(CachePurge);
}
TEST(dav_ext_is_a_good_neighbour)
{
    works(Dav);
}
TEST(fancyindex_is_a_good_neighbour)
{
    works(FancyIndex);
}
TEST(auth_pam_is_a_good_neighbour)
{
    works(AuthPam);
}
TEST(upstream_fair_is_a_good_neighbour)
{
    works(Fair);
}
TEST(srcache_is_a_good_neighbour)
{
    works(Srcache);
}
TEST(image_filter_is_a_good_neighbour)
{
    works(ImageFilter);
}
TEST(xslt_is_a_good_neighbour)
{
    works(Xslt);
}

TEST(js_is_a_good_neighbour)
{
    works(Js);
    // And may send a request to us, with a subrequest of its own still under way.
    const Nginx nginx(beside(Js));
    WebSocket socket(nginx.port(), "/redirected");
    SseClient stream(nginx.url("/redirected"));
    publish(nginx, "room", "hello");
    expectEqual(socket.receiveText(), "hello");
    expectEqual(stream.receive().data, "hello");
}

TEST(lua_publishes_by_a_subrequest)
{
    if (cannotBeTried(Lua)) {
        skip();
    }
    auto options = beside(Lua);
    options.server +=
        "location = /capture { content_by_lua_block {"
        " local answer = ngx.location.capture(ngx.var.arg_to, {method = ngx.HTTP_POST, body = 'by lua'})"
        " ngx.say(answer.status) } }";
    const Nginx nginx(options);
    WebSocket socket(nginx.port(), "/sub/room");
    expectEqual(get(nginx.url("/capture?to=/pub/room")).body, "202\n");
    expectEqual(socket.receiveText(), "by lua");
    expectEqual(get(nginx.url("/capture?to=/sub/room")).body, "405\n");
}

// By a redirect, from whatever phase.
TEST(whoever_redirects_may_redirect_to_us)
{
    const Neighbour redirecting = together({&Lua, &Echo, &Perl, &Js});
    auto options = beside(redirecting);
    std::vector<std::string> paths;
    const auto add = [&](const Neighbour& neighbour, const std::string& path, const std::string& how) {
        if (missing(neighbour).empty()) {
            options.server += "location = " + path + " { " + how + " }\n";
            paths.push_back(path);
        }
    };
    add(Lua, "/lua-content", "content_by_lua_block { ngx.exec('@lua') }");
    add(Lua, "/lua-sleepy", "content_by_lua_block { ngx.sleep(0.001) ngx.exec('/sub/room') }");
    add(Lua, "/lua-access", "access_by_lua_block { ngx.sleep(0.001) ngx.exec('@lua') }");
    add(Lua, "/lua-rewrite", "rewrite_by_lua_block { ngx.exec('/sub/room') }");
    add(Lua, "/lua-thread",
        "access_by_lua_block { ngx.thread.spawn(function() ngx.sleep(0.002) end) } realtime_subscribe room;");
    add(Echo, "/echo", "echo_exec /sub/room;");
    add(Js, "/js", "js_content neighbour.redirect;");
    add(Perl, "/perl", "perl 'sub { my $r = shift; $r->internal_redirect(\"/sub/room\"); return OK; }';");
    options.server += "location @lua { realtime_subscribe room; }\n";
    const Nginx nginx(options);
    for (const std::string& path : paths) {
        WebSocket socket(nginx.port(), path);
        SseClient stream(nginx.url(path));
        publish(nginx, "room", path);
        expectEqual(socket.receiveText(), path);
        expectEqual(stream.receive().data, path);
    }
    eventually([&] { return probe(nginx, "room") == 0; }, "whoever has left is counted off");
}

TEST(all_of_them_together)
{
    const auto everybody = together(
        {&Gzip,       &Substitution, &Includes,       &Charset, &Addition, &Mirror,  &AuthRequest, &Brotli,
         &SubsFilter, &HeadersMore,  &UploadProgress, &Lua,     &SetMisc,  &Js,      &Perl,        &Geo,
         &CachePurge, &Dav,          &FancyIndex,     &AuthPam, &Fair,     &Srcache, &ImageFilter, &Xslt});
    serves(beside(everybody), everybody.documents);
}

TEST_MAIN()
