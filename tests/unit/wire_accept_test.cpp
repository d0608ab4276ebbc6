#include "wire/accept.hpp"

#include "testing.hpp"

using namespace realtime;

namespace {

std::string items(std::string_view list)
{
    std::string all;
    while (const auto item = nextListItem(list)) {
        all += "<" + std::string(*item) + ">";
    }
    return all;
}

} // namespace

TEST(lists_are_split_at_commas)
{
    assert_text_equal(items(""), "");
    assert_text_equal(items(" , ,\t,"), "");
    assert_text_equal(items("one"), "<one>");
    assert_text_equal(items("one,two"), "<one><two>");
    assert_text_equal(items(" one ,\ttwo\t, three four"), "<one><two><three four>");
    assert_text_equal(items("a;x=\"1,2\",b"), "<a;x=\"1,2\"><b>");
    assert_text_equal(items("a;x=\"1\\\",2\",b"), "<a;x=\"1\\\",2\"><b>");
    assert_text_equal(items("a;x=\"open,b"), "<a;x=\"open,b>");
    assert_text_equal(items("a;x=\"open\\"), "<a;x=\"open\\>");
}

TEST(tokens_match_whole_and_in_any_case)
{
    assert_true(listHasToken("keep-alive, Upgrade", "upgrade"));
    assert_true(listHasToken("UPGRADE", "upgrade"));
    assert_true(listHasToken("WebSocket", "websocket"));
    assert_false(listHasToken("keep-alive, no-upgrade", "upgrade"));
    assert_false(listHasToken("upgrade2", "upgrade"));
    assert_false(listHasToken("up grade", "upgrade"));
    assert_false(listHasToken("", "upgrade"));
}

TEST(the_first_known_subprotocol_is_chosen)
{
    const std::string_view ours[] = {"realtime.json", "other"};
    assert_true(chooseSubprotocol("x, other , realtime.json", ours) == "other");
    assert_true(chooseSubprotocol("realtime.json", ours) == "realtime.json");
    assert_false(chooseSubprotocol("Realtime.JSON", ours).has_value());
    assert_false(chooseSubprotocol("", ours).has_value());
}

TEST(an_event_stream_is_asked_for_by_name)
{
    for (const char* accept :
         {"text/event-stream", "Text/Event-Stream", "text/html, text/event-stream;q=0.5",
          "text/event-stream; q=1", "text/event-stream;charset=\"a;q=0\";q=1", "text/event-stream ; Q=0.001",
          "text/event-stream;q=", "text/event-stream;q=x", "*/*;q=0, text/event-stream"}) {
        if (!acceptsEventStream(accept)) {
            fail_msg("%s is no", accept);
        }
    }
    for (const char* accept :
         {"", "*/*", "text/*", "text/event-streams", "text/event-stream;q=0", "text/event-stream ;\tq=0.000",
          "text/event-stream;charset=utf-8;Q=0.", "text/html;x=\",text/event-stream,\"",
          "application/json, text/event-stream;q=0.0"}) {
        if (acceptsEventStream(accept)) {
            fail_msg("%s is yes", accept);
        }
    }
}

TEST(origins_have_scheme_host_and_port)
{
    for (const char* origin :
         {"http://a", "https://example.com", "https://example.com:8443", "HTTP://EXAMPLE.com",
          "http://127.0.0.1:3000", "http://[::1]", "http://[::ffff:1.2.3.4]:80", "null",
          "chrome-extension://abcdefgh", "http://my_host", "capacitor://localhost"}) {
        if (!validOrigin(origin)) {
            fail_msg("%s was refused", origin);
        }
    }
    for (const char* origin : {"",
                               "example.com",
                               "http://",
                               "http:///",
                               "http://a/",
                               "http://a/b",
                               "://a",
                               "1http://a",
                               "http://a:",
                               "http://a:port",
                               "http://a:123456",
                               "http://a b",
                               "http://user@a",
                               "Null",
                               "http://a?x",
                               "http://a#x",
                               "http://[::1",
                               "http://[]",
                               "http://[::1]x",
                               "http://*.a",
                               "http://a\n",
                               "http://a,http://b",
                               "http://a\xc3\xa9",
                               "http://a:80:80"}) {
        if (validOrigin(origin)) {
            fail_msg("%s was taken", origin);
        }
    }
    assert_false(validOrigin(std::string_view("http://a\0", 9)));
}

TEST(the_same_origin_has_the_scheme_the_hosts_name_and_the_port)
{
    const struct {
        const char *origin, *scheme, *authority;
        bool same;
    } cases[]{
        {"http://example.com", "http", "example.com", true},
        {"http://example.com", "http", "EXAMPLE.com", true},
        {"HTTP://Example.COM", "http", "example.com", true},
        {"https://example.com", "https", "example.com", true},
        {"http://example.com:80", "http", "example.com", true},
        {"http://example.com", "http", "example.com:80", true},
        {"https://example.com", "https", "example.com:443", true},
        {"https://example.com:443", "https", "example.com", true},
        {"http://example.com:8080", "http", "example.com:8080", true},
        {"http://[::1]:8080", "http", "[::1]:8080", true},
        {"http://[::1]", "http", "[::1]", true},
        {"https://[2001:DB8::1]", "https", "[2001:db8::1]:443", true},
        {"http://[::1]", "http", "[::2]", false},
        {"http://[::1]:8080", "http", "[::1]", false},
        {"http://example.com", "https", "example.com", false},
        {"https://example.com", "http", "example.com", false},
        {"http://example.com:443", "https", "example.com", false},
        {"https://example.com:80", "http", "example.com", false},
        {"http://example.com:443", "https", "example.com:443", false},
        {"ws://example.com", "http", "example.com", false},
        {"https://example.com", "https", "example.com:80", false},
        {"http://example.com", "http", "example.com:443", false},
        {"http://example.com", "http", "example.com:8080", false},
        {"http://example.com:8080", "http", "example.com", false},
        {"http://example.com:8080", "http", "example.com:8081", false},
        {"http://example.com", "http", "example.org", false},
        {"http://evil-example.com", "http", "example.com", false},
        {"http://example.com.evil.org", "http", "example.com", false},
        {"http://example.com", "http", "user@example.com", false},
        {"http://example.com, http://evil.org", "http", "example.com", false},
        {"http://example.com", "http", "", false},
        {"http://example.com", "http", "example.com:", false},
        {"http://example.com/", "http", "example.com/", false},
        {"null", "http", "null", false},
        {"", "http", "", false},
        {"http://", "http", "", false},
    };
    for (const auto& c : cases) {
        if (sameOrigin(c.origin, c.scheme, c.authority) != c.same) {
            fail_msg("%s and %s://%s", c.origin, c.scheme, c.authority);
        }
    }
}

TEST(a_request_line_in_absolute_form_names_the_host)
{
    const struct {
        const char *line, *authority;
    } cases[]{
        {"GET http://example.com/sub/a HTTP/1.1", "example.com"},
        {"GET http://example.com:8080/ HTTP/1.1", "example.com:8080"},
        {"GET http://[::1]:8080?x=1 HTTP/1.1", "[::1]:8080"},
        {"GET HTTP://example.com HTTP/1.1", "example.com"},
        {"POST https://example.com/pub?u=http://other.com/ HTTP/1.1", "example.com"},
        {"GET /sub/a HTTP/1.1", ""},
        {"GET /sub/http://other.com/a HTTP/1.1", ""},
        {"GET /sub/a?to=http://other.com/ HTTP/1.1", ""},
        {"GET /?://other.com/ HTTP/1.1", ""},
        {"OPTIONS * HTTP/1.1", ""},
        {"GET ://other.com/ HTTP/1.1", "other.com"}, // nginx refuses it
        {"GET", ""},
        {"", ""},
    };
    for (const auto& c : cases) {
        assert_text_equal(absoluteAuthority(c.line), c.authority);
    }
}

TEST(a_page_asks_for_headers_by_name_only)
{
    const char* known = "content-type, last-event-id";
    assert_text_equal(requestedHeaders("", known), "");
    assert_text_equal(requestedHeaders("content-type,Last-Event-Id", known), "");
    assert_text_equal(requestedHeaders("X-CSRF-Token, content-type ,x-a", known), "x-csrf-token, x-a");
    assert_text_equal(requestedHeaders("x-a,X-A,,x-b, x-a", known), "x-a, x-b");
    assert_text_equal(requestedHeaders("x a, x\x01, \"q\", x:b, *, x-c", known), "*, x-c");
    std::string many;
    for (int i = 0; i < 1000; ++i) {
        many += "x-" + std::to_string(i) + ",";
    }
    assert_true(requestedHeaders(many, known).size() < 1000);
}

TEST(a_star_allows_every_origin)
{
    const std::string patterns[] = {"*"};
    assert_true(originAllowed(patterns, "https://example.com"));
    assert_true(originAllowed(patterns, "null"));
    assert_false(originAllowed({}, "https://example.com"));
    const std::string null[] = {"null"};
    assert_true(originAllowed(null, "null"));
    assert_false(originAllowed(null, "https://example.com"));
}

TEST(origins_are_compared_whole)
{
    const std::string patterns[] = {"https://example.com", "http://localhost:3000", "http://plain:80"};
    for (const char* origin : {"https://example.com", "https://EXAMPLE.com", "https://example.com:443",
                               "http://localhost:3000", "http://plain"}) {
        if (!originAllowed(patterns, origin)) {
            fail_msg("%s was refused", origin);
        }
    }
    for (const char* origin : {"http://example.com", "https://example.com:8443", "https://www.example.com",
                               "https://example.com.evil.org", "https://evilexample.com", "http://localhost",
                               "null", "", "https://example.com/"}) {
        if (originAllowed(patterns, origin)) {
            fail_msg("%s was allowed", origin);
        }
    }
}

TEST(a_wildcard_stands_for_one_or_more_labels)
{
    const std::string patterns[] = {"https://*.example.com", "http://*.test:8080"};
    for (const char* origin : {"https://a.example.com", "https://a.b.c.example.com",
                               "https://A.EXAMPLE.COM:443", "http://a.test:8080"}) {
        if (!originAllowed(patterns, origin)) {
            fail_msg("%s was refused", origin);
        }
    }
    for (const char* origin :
         {"https://example.com", "https://.example.com", "https://..example.com", "https://evilexample.com",
          "http://a.example.com", "https://a.example.com:8443", "https://a.example.com.evil.org",
          "https://evil.org/.example.com", "https://evil.org#.example.com", "https://evil.org\\.example.com",
          "https://user@a.example.com", "null", "http://a.test", "https://*.example.com",
          "https://*.example.com.x"}) {
        if (originAllowed(patterns, origin)) {
            fail_msg("%s was allowed", origin);
        }
    }
}

TEST(patterns_are_checked_when_they_are_configured)
{
    for (const char* pattern :
         {"*", "null", "https://example.com", "https://*.example.com", "http://*.test:8080"}) {
        if (!validOriginPattern(pattern)) {
            fail_msg("%s was refused", pattern);
        }
    }
    for (const char* pattern :
         {"", "**", "example.com", "*.example.com", "https://*", "https://*.", "https://*..a",
          "https://a.*.example.com", "https://*example.com", "https://*.a/", "*://a"}) {
        if (validOriginPattern(pattern)) {
            fail_msg("%s was taken", pattern);
        }
    }
}

TEST(a_browser_accepts_html_and_a_wildcard_does_not_ask_for_it)
{
    assert_true(acceptsHtml("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
    assert_true(acceptsHtml("application/json, Text/HTML;q=0.5"));
    assert_false(acceptsHtml("*/*"));
    assert_false(acceptsHtml("text/*"));
    assert_false(acceptsHtml("text/html;q=0, */*"));
    assert_false(acceptsHtml(""));
}

namespace {

constexpr std::string_view Accepted =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
constexpr std::string_view AcceptedWindow =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12";

std::string extension(std::string_view offered)
{
    const auto chosen = chooseExtension(offered);
    return chosen ? std::string(*chosen) : "malformed";
}

} // namespace

// Those of RFC 7692, section 7.1 and 5.1.
TEST(offers_of_the_specification)
{
    const std::string d = "permessage-deflate";
    assert_text_equal(extension(d), Accepted);
    assert_text_equal(extension(d + "; client_max_window_bits"), Accepted);
    assert_text_equal(extension(d + "; client_max_window_bits=10"), Accepted);
    assert_text_equal(extension(d + "; server_no_context_takeover"), Accepted);
    assert_text_equal(extension(d + "; client_no_context_takeover"), Accepted);
    assert_text_equal(extension(d + "; server_no_context_takeover; client_max_window_bits"), Accepted);
    // A window that is smaller than ours cannot be kept to: the fallback is taken, where there is one.
    assert_text_equal(extension(d + "; server_max_window_bits=10"), "");
    assert_text_equal(extension(d + "; client_max_window_bits; server_max_window_bits=10"), "");
    assert_text_equal(extension(d + "; client_max_window_bits; server_max_window_bits=10, " + d +
                                "; client_max_window_bits"),
                      Accepted);
    assert_text_equal(extension(d + "; server_max_window_bits=10, " + d), Accepted);
    assert_text_equal(extension("permessage-foo, permessage-bar"), "");
    assert_text_equal(extension("permessage-foo; use_y, permessage-foo"), "");
}

TEST(the_windows_that_can_be_kept_to)
{
    const std::string server = "permessage-deflate; server_max_window_bits=";
    for (const char* value : {"12", "13", "14", "15", "\"12\"", "\"1\\5\""}) {
        assert_text_equal(extension(server + value), AcceptedWindow);
    }
    for (const char* value :
         {"8", "9", "10", "11", "16", "7", "0", "012", "1", "112", "-9", "+12", "x", "12x"}) {
        assert_text_equal(extension(server + value), "");
    }
    const std::string client = "permessage-deflate; client_max_window_bits=";
    for (const char* value : {"8", "9", "10", "15", "\"8\""}) {
        assert_text_equal(extension(client + value), Accepted);
    }
    for (const char* value : {"7", "16", "08", "0", "1", "x", "8.5"}) {
        assert_text_equal(extension(client + value), "");
    }
    assert_text_equal(extension(server + "15; client_max_window_bits=8; client_no_context_takeover"),
                      AcceptedWindow);
}

TEST(an_offer_with_what_we_do_not_know_is_declined)
{
    const std::string d = "permessage-deflate";
    for (const char* parameters :
         {"; unknown", "; unknown=1", "; server_no_context_takeover; server_no_context_takeover",
          "; client_no_context_takeover; client_no_context_takeover",
          "; client_max_window_bits; client_max_window_bits=9",
          "; server_max_window_bits=12; server_max_window_bits=12", "; server_max_window_bits",
          "; server_no_context_takeover=1", "; client_no_context_takeover=true",
          "; Client_Max_Window_Bits"}) {
        assert_text_equal(extension(d + parameters), "");
        assert_text_equal(extension(d + parameters + ", " + d), Accepted);
        assert_text_equal(extension("x-webkit-deflate-frame" + std::string(parameters) + ", " + d), Accepted);
    }
    assert_text_equal(extension(""), "");
    assert_text_equal(extension("Permessage-Deflate"), "");
    assert_text_equal(extension("permessage-deflate2"), "");
    assert_text_equal(extension("x-webkit-deflate-frame"), "");
}

TEST(the_first_offer_that_is_good_counts)
{
    assert_text_equal(extension("permessage-deflate; server_max_window_bits=15, permessage-deflate"),
                      AcceptedWindow);
    assert_text_equal(extension("permessage-deflate, permessage-deflate; server_max_window_bits=15"),
                      Accepted);
    assert_text_equal(
        extension(" , ,\tfoo;a=b;c=\"d\" ,,permessage-deflate\t; client_max_window_bits = \"9\" , "),
        Accepted);
}

TEST(a_malformed_list_of_extensions_is_no_list)
{
    for (const char* offered :
         {";", "=", "permessage-deflate;", "permessage-deflate; ;client_max_window_bits",
          "permessage-deflate client_max_window_bits", "permessage-deflate; client_max_window_bits=",
          "permessage-deflate; client_max_window_bits=\"", "permessage-deflate; client_max_window_bits=\"9",
          "permessage-deflate; client_max_window_bits=\"9\\",
          "permessage-deflate; client_max_window_bits=\"\"",
          "permessage-deflate; client_max_window_bits=\"9\"9",
          "permessage-deflate; client_max_window_bits==9", "permessage-deflate; x=\"a b\"",
          "permessage-deflate, (", "permessage-deflate/1", "permessage-deflate; =9",
          "foo; x=@, permessage-deflate", "permessage-deflate\r\n", "\xc3\xa9"}) {
        assert_text_equal(extension(offered), "malformed");
    }
    assert_text_equal(extension(std::string_view("permessage-deflate\0", 19)), "malformed");
}

TEST_MAIN()
