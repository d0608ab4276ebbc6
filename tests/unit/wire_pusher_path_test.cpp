// What a location says of where the protocol's path begins, and that nothing else has a say in it.
#include "wire/pusher_path.hpp"

#include "testing.hpp"

using namespace realtime::pusher;

namespace {

constexpr int None = -1;

int mounted(std::string_view location, std::string_view uri)
{
    const auto at = mountedAt(location, uri, {"apps", "users"});
    return at ? static_cast<int>(*at) : None;
}

int undecoded(std::string_view path, std::string_view decoded)
{
    const auto at = undecodedAt(path, decoded);
    return at ? static_cast<int>(*at) : None;
}

std::string_view keyAt(std::string_view location, std::string_view uri)
{
    const auto at = mountedAt(location, uri, {"app"});
    return at ? keyOfPath(uri.substr(*at)) : std::string_view("(nowhere)");
}

} // namespace

TEST(a_prefix_location_says_where_the_path_begins)
{
    const struct {
        std::string_view location, uri;
        int at;
    } cases[] = {
        {"/apps/", "/apps/731/events", 0},
        {"/apps", "/apps/731/events", 0},
        {"/", "/apps/731/events", 0},
        {"/ap", "/apps/731/events", 0},
        {"/apps/731/", "/apps/731/events", 0},
        {"/apps/731/events", "/apps/731/events", 0},
        {"/realtime/", "/realtime/apps/731/events", 9},
        {"/realtime", "/realtime/apps/731/events", 9},
        {"/realtime/a", "/realtime/apps/731/events", 9},
        {"/realtime/apps/", "/realtime/apps/731/events", 9},
        {"/realtime/apps/731/", "/realtime/apps/731/events", 9},
        {"/apps/v1/apps/", "/apps/v1/apps/731/events", 8}, // mounted below another `apps`
        {"/apps/731/users/", "/apps/731/users/u/terminate_connections", 0},
        {"/users/", "/users/u/terminate_connections", 0},
        {"/users/", "/users/apps/terminate_connections", 0},
        {"/realtime/", "/realtime/users/u/terminate_connections", 9},
    };
    for (const auto& each : cases) {
        assert_int_equal(mounted(each.location, each.uri), each.at);
    }
}

TEST(what_a_client_puts_in_front_is_part_of_the_path)
{
    // The path begins where the location says, so that none of these is one of the protocol.
    for (const std::string_view uri :
         {"/apps/other/apps/shop/events", "/apps/apps/shop/events", "/apps/users/apps/shop/events",
          "/apps//apps/shop/events", "/apps/other/x/apps/shop/events"}) {
        assert_int_equal(mounted("/apps/", uri), 0);
        assert_int_equal(mounted("/", uri), 0);
    }
    assert_int_equal(mounted("/", "/x/apps/shop/events"), 0);
    assert_int_equal(mounted("/apps", "/appsx/apps/shop/events"), 0);
    assert_int_equal(mounted("/pre", "/prefix/apps/shop/events"), 0);
    assert_int_equal(mounted("/pre/", "/pre/fix/apps/shop/events"), 4);
    assert_int_equal(mounted("/apps/other/", "/apps/other/apps/shop/events"), 0);
    assert_int_equal(mounted("/users/", "/users/x/apps/shop/events"), 0);
}

TEST(where_the_location_is_no_prefix_the_first_segment_that_counts_decides)
{
    assert_int_equal(mounted("", "/apps/731/events"), 0);
    assert_int_equal(mounted("", "/a/apps/731/events"), 2);
    assert_int_equal(mounted("", "/a/apps/other/apps/shop/events"), 2);
    assert_int_equal(mounted("", "/users/x/apps/shop/events"), 0);
    assert_int_equal(mounted("@named", "/rt/apps/731/events"), 3);
    assert_int_equal(mounted("^/apps/", "/apps/731/events"), 0); // an `if` in a regex location has its text
    assert_int_equal(mounted("/rt/", "/apps/731/events"), 0);    // `rewrite … break`
    assert_int_equal(mounted("", "/webapps/731/events"), None);
    assert_int_equal(mounted("", "/Apps/731/events"), None);
    assert_int_equal(mounted("", "/"), None);
    assert_int_equal(mounted("", ""), None);
}

TEST(the_path_as_it_came_is_found_by_what_it_decodes_to)
{
    assert_int_equal(undecoded("/apps/731/events", "/apps/731/events"), 0);
    assert_int_equal(undecoded("/p%20q/apps/731/users/a%2Fb/x", "/apps/731/users/a/b/x"), 6);
    assert_int_equal(undecoded("//apps/731/events", "/apps/731/events"), 1);
    assert_int_equal(undecoded("/%61pps/731/events", "/apps/731/events"), 0);
    assert_int_equal(undecoded("/a%zz/%", "/%"), 5); // no escapes
    assert_int_equal(undecoded("/a", "/a"), 0);
    // Dots, doubled slashes and escaped ones that nginx has resolved.
    assert_int_equal(undecoded("/apps/731/./events", "/apps/731/events"), None);
    assert_int_equal(undecoded("/apps/x/../731/events", "/apps/731/events"), None);
    assert_int_equal(undecoded("/apps/731//events", "/apps/731/events"), None);
    assert_int_equal(undecoded("/apps/other/..%2f..%2fapps/shop/events", "/apps/shop/events"), None);
    assert_int_equal(undecoded("/x%2Fapps/731/events", "/apps/731/events"), None); // not at a slash
    assert_int_equal(undecoded("/short", "/much/longer"), None);
    assert_int_equal(undecoded("", "/"), None);
    assert_int_equal(undecoded("/", ""), None);
}

TEST(a_key_is_all_that_follows)
{
    assert_text_equal(keyAt("/app/", "/app/k1"), "k1");
    assert_text_equal(keyAt("/realtime/app/", "/realtime/app/k1"), "k1");
    assert_text_equal(keyAt("/realtime/", "/realtime/app/k1"), "k1");
    assert_text_equal(keyAt("/app/k1", "/app/k1"), "k1");
    assert_text_equal(keyAt("", "/x/app/k1"), "k1");
    for (const std::string_view uri :
         {"/app/", "/app/k1/", "/app/k1/x", "/app/x/app/k1", "/app/app/k1", "/app//app/k1", "/app/x/k1"}) {
        assert_text_equal(keyAt("/app/", uri), "");
    }
    assert_text_equal(keyAt("", "/application/k1"), "(nowhere)");
}

TEST_MAIN()
