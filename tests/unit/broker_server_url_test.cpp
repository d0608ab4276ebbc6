#include "broker/broker.hpp"

#include <stdexcept>

#include "testing.hpp"

using realtime::BrokerServer;
using realtime::parseBrokerServer;

namespace {

struct Good {
    const char* url;
    const char* host;
    int port;
    const char* user;
    const char* password;
    const char* vhost;
    const char* display;
};

std::string complaint(const std::string& url)
{
    try {
        parseBrokerServer(url);
    } catch (const std::runtime_error& e) {
        return e.what();
    }
    return "accepted";
}

bool contains(const std::string& text, const std::string& part)
{
    return text.find(part) != std::string::npos;
}

} // namespace

TEST(amqp_urls_are_taken_apart_and_decoded)
{
    const Good table[] = {
        {"amqp://guest:guest@127.0.0.1:5672/%2F", "127.0.0.1", 5672, "guest", "guest", "/",
         "amqp://127.0.0.1:5672/%2F"},
        {"amqp://h", "h", 5672, "guest", "guest", "/", "amqp://h:5672/%2F"},
        {"amqp://h/", "h", 5672, "guest", "guest", "/", "amqp://h:5672/%2F"},
        {"amqps://h", "h", 5671, "guest", "guest", "/", "amqps://h:5671/%2F"},
        {"AMQP://H:1/v", "H", 1, "guest", "guest", "v", "amqp://H:1/v"},
        {"amqp://u%3Aser:p%40ss%2F%25@host.example:65535/a%20b", "host.example", 65535, "u:ser", "p@ss/%",
         "a b", "amqp://host.example:65535/a%20b"},
        {"amqp://u:@h", "h", 5672, "u", "", "/", "amqp://h:5672/%2F"},
        {"amqp://u:p:q@h", "h", 5672, "u", "p:q", "/", "amqp://h:5672/%2F"},
        {"amqp://[::1]", "::1", 5672, "guest", "guest", "/", "amqp://[::1]:5672/%2F"},
        {"amqp://u:p@[fe80::1]:7/x", "fe80::1", 7, "u", "p", "x", "amqp://[fe80::1]:7/x"},
        {"amqp://h/%c3%a4", "h", 5672, "guest", "guest", "\xc3\xa4", "amqp://h:5672/%C3%A4"},
    };
    for (const auto& good : table) {
        const auto server = parseBrokerServer(good.url);
        assert_text_equal(server.host, good.host);
        assert_int_equal(server.port, good.port);
        assert_text_equal(server.user, good.user);
        assert_text_equal(server.password, good.password);
        assert_text_equal(server.vhost, good.vhost);
        assert_text_equal(server.display(), good.display);
        assert_true(server.scheme != BrokerServer::Scheme::Sqlite);
    }
}

TEST(sqlite_urls_name_a_file_as_it_is)
{
    const auto server = parseBrokerServer("sqlite:/var/lib/my events%20.db");
    assert_true(server.scheme == BrokerServer::Scheme::Sqlite);
    assert_text_equal(server.path, "/var/lib/my events%20.db");
    assert_text_equal(server.display(), "sqlite:/var/lib/my events%20.db");
}

TEST(what_is_not_understood_is_refused_with_a_reason)
{
    const struct {
        std::string url, reason;
    } table[] = {
        {"", "must begin with"},
        {"amqp", "must begin with"},
        {"amqp:h", "must begin with"},
        {"http://h", "must begin with"},
        {"amqpx://h", "must begin with"},
        {"amqp://", "host name"},
        {"amqp:///v", "host name"},
        {"amqp://u:p@", "host name"},
        {"amqp://h_/ok/no", "%2F"},
        {"amqp://h!", "host name"},
        {"amqp://" + std::string(254, 'h'), "host name"},
        {"amqp://h:", "port"},
        {"amqp://h:0", "port"},
        {"amqp://h:65536", "port"},
        {"amqp://h:99999999999999999999", "port"},
        {"amqp://h:5672x", "port"},
        {"amqp://h:-1", "port"},
        {"amqp://::1", "port"},
        {"amqp://[::1", "IPv6"},
        {"amqp://[1.2.3.4]", "IPv6"},
        {"amqp://[::1]5672", "IPv6"},
        {"amqp://u@h", "no password"},
        {"amqp://:p@h", "no user"},
        {"amqp://u:p@h/%2", "hexadecimal"},
        {"amqp://u:p@h/%", "hexadecimal"},
        {"amqp://u:%zz@h", "hexadecimal"},
        {"amqp://u:p%00@h", "zero byte"},
        {"amqp://u:p@q@h", "%40"},
        {"amqp://u@v:p@h", "%40"},
        {"amqp://h/" + std::string(256, 'v'), "255"},
        {"amqp://h?heartbeat=5", "parameters"},
        {"amqp://h/v#x", "parameters"},
        {"amqp://h h", "space"},
        {"amqp://h\n", "control"},
        {"sqlite:", "absolute"},
        {"sqlite:events.db", "absolute"},
        {"sqlite://var/x", "absolute"},
        {"sqlite:////var/x", "absolute"},
        {"sqlite:/var/", "directory"},
        {"sqlite:/var/a\nb", "control"},
    };
    for (const auto& bad : table) {
        const auto why = complaint(bad.url);
        if (!contains(why, bad.reason)) {
            fail_msg("%s: got \"%s\"", bad.url.c_str(), why.c_str());
        }
    }
}

TEST(complaints_never_repeat_the_password)
{
    for (const char* url : {"amqp://u:hunter2@h:x", "amqp://u:hunter2@h/%z", "amqp://u:hunter2@",
                            "amp://u:hunter2@h", "amqp://u:hunter2%@h", "amqp://hunter2/hunter2/x@h"}) {
        assert_false(contains(complaint(url), "hunter2"));
        assert_false(contains(complaint(url), "accepted"));
    }
}

TEST_MAIN()
