// Exchanges, queues, bindings and dead letters as the configuration declares them: told by rabbitmqctl, and messages read
// with amqp-tools. And what is said of those that are there already and are not as configured.
#include "support/rabbitmq.hpp"
#include "support/realtime.hpp"

#include <algorithm>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

// Answered by RabbitMQ itself, with a queue that has it.
constexpr const char* Confirmed =
    "location ~ ^/confirmed/(?<to>.*)$ { realtime_ping 500ms; realtime_timeout 1s; "
    "realtime_publish $to ack=broker; }\n";

void confirm(const Nginx& nginx, const std::string& channel, const std::string& data)
{
    expectEqual(post(nginx.url("/confirmed/" + channel), data).status, 200L);
}

void expectNext(const RabbitMq& server, const std::string& queue, const std::string& data)
{
    CommandResult got;
    eventually( // a dead letter is on its way
        [&] {
            got = run({"amqp-get", "--url=" + server.url(), "-q", queue});
            return got.status == 0;
        },
        "a message in " + queue);
    expectEqual(got.output, data);
}

void expectEmpty(const RabbitMq& server, const std::string& queue)
{
    expect(run({"amqp-get", "--url=" + server.url(), "-q", queue}).status != 0, queue + " is empty");
}

} // namespace

TEST(exchanges_queues_bindings_and_dead_letters_are_declared_as_configured_and_route)
{
    auto& server = RabbitMq::share();
    auto options = endpoints();
    options.server += Confirmed;
    options.http = "realtime_broker events { server " + server.url() + R"(;
        exchange t.topic topic;
        exchange t.direct direct;
        exchange t.fanout fanout;
        exchange t.headers headers;
        exchange t.dead fanout;
        queue t.classic bind=orders.# bind=refunds.*.eu
              arg=x-max-length:3 arg=x-message-ttl:3600000 arg=x-dead-letter-exchange:t.dead;
        queue t.quorum quorum exchange=t.direct bind=eu bind=us arg=x-delivery-limit:7;
        queue t.stream stream exchange=t.fanout arg=x-max-age:7D arg=x-max-length-bytes:10000000;
        queue t.headers exchange=t.headers bind=channel:headers.room arg=x-single-active-consumer:true;
        queue t.letters exchange=t.dead;
    }
    realtime_app default {
        channels topic.*   { broker events routing_key=$1; }
        channels direct.*  { broker events exchange=t.direct routing_key=$1; }
        channels fanout.*  { broker events exchange=t.fanout; }
        channels headers.* { broker events exchange=t.headers; }
    }
    )";
    const Nginx nginx(options);
    for (int i = 1; i <= 5; ++i) {
        confirm(nginx, "topic.orders.new", std::to_string(i));
    }
    confirm(nginx, "topic.refunds.7.eu", "6");
    confirm(nginx, "direct.us", "direct");
    for (int i = 0; i < 3; ++i) {
        confirm(nginx, "fanout.any", "fanout");
    }
    confirm(nginx, "headers.room", "headers");
    // No queue takes these.
    for (const char* channel : {"topic.refunds.7.us", "direct.asia", "headers.hall"}) {
        expectEqual(post(nginx.url(std::string("/confirmed/") + channel), "nowhere").status, 504L);
    }

    const auto exchanges = server.ctl(
        {"-q", "list_exchanges", "name", "type", "durable", "auto_delete", "internal", "arguments"});
    for (const char* type : {"topic", "direct", "fanout", "headers"}) {
        expectContains(exchanges, std::string("t.") + type + '\t' + type + "\ttrue\tfalse\tfalse\t[]");
    }
    const auto queues = server.ctl(
        {"-q", "list_queues", "--formatter", "json", "name", "type", "durable", "auto_delete", "arguments"});
    const auto expectQueue = [&](const std::string& name, const std::string& type,
                                 const std::string& arguments) {
        expectContains(queues, R"({"name":")" + name + R"(","type":")" + type +
                                   R"(","durable":true,"auto_delete":false,"arguments":[)" +
                                   R"(["x-queue-type","longstr",")" + type + "\"]" + arguments + "]}");
    };
    expectQueue("t.classic", "classic",
                R"(,["x-max-length","long",3],["x-message-ttl","long",3600000],)"
                R"(["x-dead-letter-exchange","longstr","t.dead"])");
    expectQueue("t.quorum", "quorum", R"(,["x-delivery-limit","long",7])");
    expectQueue("t.stream", "stream",
                R"(,["x-max-age","longstr","7D"],["x-max-length-bytes","long",10000000])");
    expectQueue("t.headers", "classic", R"(,["x-single-active-consumer","bool",true])");
    expectQueue("t.letters", "classic", "");
    const auto bindings =
        server.ctl({"-q", "list_bindings", "source_name", "destination_name", "routing_key", "arguments"});
    for (const char* row :
         {"t.topic\tt.classic\torders.#\t[]", "t.topic\tt.classic\trefunds.*.eu\t[]",
          "t.direct\tt.quorum\teu\t[]", "t.direct\tt.quorum\tus\t[]", "t.fanout\tt.stream\t#\t[]",
          "t.dead\tt.letters\t#\t[]",
          "t.headers\tt.headers\t\t[{\"channel\",\"headers.room\"},{\"x-match\",\"all\"}]"}) {
        expectContains(bindings, row);
    }

    for (const char* data : {"1", "2", "3"}) { // which made room for the others
        expectNext(server, "t.letters", data);
    }
    for (const char* data : {"4", "5", "6"}) {
        expectNext(server, "t.classic", data);
    }
    expectNext(server, "t.quorum", "direct");
    expectNext(server, "t.headers", "headers");
    for (const char* queue : {"t.letters", "t.classic", "t.quorum", "t.headers"}) {
        expectEmpty(server, queue);
    }
    eventually( // which RabbitMQ counts every few seconds
        [&] {
            return server.ctl({"-q", "list_queues", "name", "messages"}).find("t.stream\t3\n") !=
                   std::string::npos;
        },
        "three messages are in the stream");
}

TEST(what_is_there_already_with_other_properties_is_told_by_the_property_s_name)
{
    auto& server = RabbitMq::share();
    const auto exchange = [](const char* name, const char* properties) {
        return "rabbit_exchange:declare({resource, <<\"/\">>, exchange, <<\"" + std::string(name) +
               "\">>}, " + properties + ", false, [], <<\"test\">>), ";
    };
    const auto queue = [](const char* name, const char* properties) {
        return "rabbit_amqqueue:declare({resource, <<\"/\">>, queue, <<\"" + std::string(name) + "\">>}, " +
               properties + ", none, <<\"test\">>), ";
    };
    server.ctl(
        {"eval", exchange("p.type", "topic, true, false") + exchange("p.transient", "topic, false, false") +
                     exchange("p.deleted", "topic, true, true") + queue("q.transient", "false, false, []") +
                     queue("q.type", "true, false, [{<<\"x-queue-type\">>, longstr, <<\"classic\">>}]") +
                     queue("q.number", "true, false, [{<<\"x-max-length\">>, long, 5}]") +
                     queue("q.text", "true, false, [{<<\"x-dead-letter-exchange\">>, longstr, <<\"a\">>}]") +
                     queue("q.missing", "true, false, []") + "ok."});
    struct Case {
        const char *lines, *complaint;
    };
    const std::vector<Case> cases{
        {"exchange p.type fanout;", "declaring exchange \"p.type\" (fanout, durable) was refused: "
                                    "406 PRECONDITION_FAILED - inequivalent arg 'type'"},
        {"exchange p.transient;", "declaring exchange \"p.transient\" (topic, durable) was refused: "
                                  "406 PRECONDITION_FAILED - inequivalent arg 'durable'"},
        {"exchange p.deleted;", "declaring exchange \"p.deleted\" (topic, durable) was refused: "
                                "406 PRECONDITION_FAILED - inequivalent arg 'auto_delete'"},
        {"queue q.transient;", "declaring queue \"q.transient\" (classic, durable) was refused: "
                               "406 PRECONDITION_FAILED - inequivalent arg 'durable'"},
        {"queue q.type stream;", "declaring queue \"q.type\" (stream, durable) was refused: "
                                 "406 PRECONDITION_FAILED - inequivalent arg 'x-queue-type'"},
        {"queue q.number classic arg=x-max-length:6;",
         "declaring queue \"q.number\" (classic, durable) was refused: "
         "406 PRECONDITION_FAILED - inequivalent arg 'x-max-length'"},
        {"queue q.text classic arg=x-dead-letter-exchange:b;",
         "declaring queue \"q.text\" (classic, durable) was refused: "
         "406 PRECONDITION_FAILED - inequivalent arg 'x-dead-letter-exchange'"},
        {"queue q.missing classic arg=x-message-ttl:60000;",
         "declaring queue \"q.missing\" (classic, durable) was refused: "
         "406 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl'"},
    };
    auto options = endpoints();
    std::string rules;
    for (std::size_t i = 0; i < cases.size(); ++i) {
        const std::string name = "b" + std::to_string(i);
        options.http +=
            "realtime_broker " + name + " { server " + server.url() + "; " + cases[i].lines + " }\n";
        rules += "channels " + name + " { broker " + name + "; }\n";
    }
    options.http += "realtime_app default {\n" + rules + "}\n";
    const Nginx nginx(options);
    for (std::size_t i = 0; i < cases.size(); ++i) {
        const std::string line = "broker \"b" + std::to_string(i) + "\", amqp://";
        eventually(
            [&] {
                const auto log = split(nginx.errorLog(), '\n');
                return std::any_of(log.begin(), log.end(), [&](const std::string& text) {
                    return text.find("[error]") != std::string::npos &&
                           text.find(line) != std::string::npos &&
                           text.find(cases[i].complaint) != std::string::npos;
                });
            },
            cases[i].complaint, 30s);
    }
    // They are left as they were.
    expectContains(server.ctl({"-q", "list_exchanges", "name", "type", "durable"}), "p.type\ttopic\ttrue");
    const auto status = Json::parse(get(nginx.url("/status?format=json")).body).at("brokers");
    for (std::size_t i = 0; i < cases.size(); ++i) {
        expectEqual(status.at("b" + std::to_string(i)).at("state").text(), "down");
    }
}

TEST_MAIN()
