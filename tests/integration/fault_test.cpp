// The promise of ack=stored and ack=broker under random faults: publishers note which events were acknowledged; RabbitMQ,
// the connection, single workers and the whole nginx are killed, stopped and cut meanwhile; in the end every
// acknowledged event must be in the queue. Beside them some publish to an ordered channel: what was acknowledged there must be
// in the stream, and subscribers on two nodes must have got all that the stream has, in its order. (A gap may be told where
// nothing is missing: while RabbitMQ is away, nobody can know.)
//
//     REALTIME_FAULT_SECONDS   how long (190 if unset); each three minutes the queue is read and compared
//     REALTIME_FAULT_SEED      for the same order of faults again
#include "support/check.hpp"
#include "support/files.hpp"
#include "support/http.hpp"
#include "support/json.hpp"
#include "support/nginx.hpp"
#include "support/proxy.hpp"
#include "support/rabbitmq.hpp"
#include "support/sse.hpp"

#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>

#include <algorithm>
#include <arpa/inet.h>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <map>
#include <mutex>
#include <poll.h>
#include <random>
#include <set>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "testing.hpp"

using namespace realtime::testing;

namespace {

constexpr const char* Queue = "fault.all";
constexpr const char* Exchange = "fault";
constexpr const char* Stream = "fault.stream";

// --- what is broken -------------------------------------------------------------------------------------------------

// An nginx that may be killed as a whole and started again with the same files, other than Nginx.
class Server {
public:
    Server(const std::string& brokerUrl, int workers) : port_(freePort())
    {
        const std::string dir = directory_.path();
        writeFile(
            directory_.path() / "nginx.conf",
            "load_module " + modulePath() + ";\nuser root;\ndaemon off;\nworker_processes " +
                std::to_string(workers) + ";\npid " + dir + "/nginx.pid;\nerror_log " + dir +
                "/error.log notice;\nevents { worker_connections 512; }\nhttp {\naccess_log off;\n"
                "client_body_temp_path " +
                dir + "/body;\nproxy_temp_path " + dir + "/proxy;\nfastcgi_temp_path " + dir +
                "/fastcgi;\nscgi_temp_path " + dir + "/scgi;\nuwsgi_temp_path " + dir +
                "/uwsgi;\nrealtime_zone main 8m;\nrealtime_broker events {\n server " + brokerUrl +
                ";\n exchange " + Exchange + " topic;\n queue " + Queue + " classic;\n spool " + dir +
                "/spool;\n}\nrealtime_broker ordered {\n server " + brokerUrl +
                ";\n exchange fault.ordered topic;\n queue " + Stream + " stream;\n spool " + dir +
                "/ordered;\n}\nrealtime_app default { channels ordered { broker ordered; deliver broker; "
                "history 1000000 1d; } broker events; }\nserver {\nlisten 127.0.0.1:" +
                std::to_string(port_) +
                ";\nrealtime_ping 1s; realtime_timeout 3s;\n"
                "location = /stored { realtime_publish room ack=stored; }\n"
                "location = /broker { realtime_publish room ack=broker; }\n"
                "location = /ordered { realtime_pubsub ordered; }\n"
                "location = /status { realtime_status; }\n}\n}\n");
        start();
    }
    ~Server()
    {
        try {
            killAll();
        } catch (const std::exception&) {
            // Nobody is left to be told.
        }
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    std::string url(const std::string& path) const
    {
        return "http://127.0.0.1:" + std::to_string(port_) + path;
    }
    std::filesystem::path spool() const { return directory_.path() / "spool"; }
    std::string errorLog() const { return readFile(directory_.path() / "error.log"); }

    void start()
    {
        const auto environment = [] {
            const char* preload = std::getenv("REALTIME_TEST_PRELOAD");
            return preload == nullptr ? Environment{} : Environment{{"LD_PRELOAD", preload}};
        }();
        master_ = spawn({"/usr/sbin/nginx", "-p", directory_.path(), "-c", directory_.path() / "nginx.conf",
                         "-e", directory_.path() / "error.log"},
                        directory_.path() / "output", environment);
        eventually([this] { return answers(); }, "nginx answers");
    }
    bool answers() const
    {
        try {
            return get(url("/status")).status == 200;
        } catch (const std::exception&) {
            return false;
        }
    }
    std::uint64_t waiting() const
    {
        const auto brokers = Json::parse(get(url("/status")).body).at("brokers");
        std::int64_t sum = 0;
        for (const char* name : {"events", "ordered"}) {
            sum += brokers.at(name).at("queued").number() + brokers.at(name).at("spool_events").number();
        }
        return static_cast<std::uint64_t>(sum);
    }
    void killWorker(std::minstd_rand& random) const
    {
        const auto all = workers();
        if (!all.empty()) {
            kill(all[random() % all.size()], SIGKILL);
        }
    }
    // The master first, so that it makes no successors.
    void killAll()
    {
        const auto all = workers();
        kill(master_, SIGKILL);
        waitFor(master_, Patience);
        for (const pid_t worker : all) {
            kill(worker, SIGKILL);
        }
        for (const pid_t worker : all) {
            eventually([worker] { return kill(worker, 0) != 0 || isZombie(worker); }, "a worker is dead");
        }
    }
    void stop()
    {
        kill(master_, SIGTERM);
        waitFor(master_, Patience);
    }
    void reload() const { kill(master_, SIGHUP); }

private:
    static bool isZombie(pid_t pid)
    {
        return readFile("/proc/" + std::to_string(pid) + "/stat").find(") Z ") != std::string::npos;
    }
    std::vector<pid_t> workers() const
    {
        std::vector<pid_t> out;
        const std::string id = std::to_string(master_);
        std::string text = readFile("/proc/" + id + "/task/" + id + "/children");
        for (const std::string& word : split(text, ' ')) {
            if (const int pid = toInt(word); pid > 0) {
                out.push_back(pid);
            }
        }
        return out;
    }

    TempDir directory_;
    std::uint16_t port_;
    pid_t master_ = 0;
};

// Takes the queue from its exchange, and binds it again: between, events come back as unroutable.
void bindQueue(const RabbitMq& server, bool bound)
{
    amqp_connection_state_t connection = amqp_new_connection();
    if (amqp_socket_open(amqp_tcp_socket_new(connection), "127.0.0.1", server.port()) == AMQP_STATUS_OK) {
        amqp_login(connection, "/", 0, 131'072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest");
        amqp_channel_open(connection, 1);
        const auto queue = amqp_cstring_bytes(Queue), exchange = amqp_cstring_bytes(Exchange),
                   key = amqp_cstring_bytes("#");
        if (bound) {
            amqp_queue_bind(connection, 1, queue, exchange, key, amqp_empty_table);
        } else {
            amqp_queue_unbind(connection, 1, queue, exchange, key, amqp_empty_table);
        }
    }
    amqp_destroy_connection(connection);
}

// A second queue that takes one message and refuses the rest, which makes RabbitMQ nack them, though the first queue has
// them. (A limit on that one would be no fault but a loss: RabbitMQ drops what is too much already.)
void bindFullQueue(const RabbitMq& server, bool there)
{
    amqp_connection_state_t connection = amqp_new_connection();
    if (amqp_socket_open(amqp_tcp_socket_new(connection), "127.0.0.1", server.port()) == AMQP_STATUS_OK) {
        amqp_login(connection, "/", 0, 131'072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest");
        amqp_channel_open(connection, 1);
        const auto queue = amqp_cstring_bytes("fault.full");
        if (there) {
            amqp_table_entry_t entries[2] = {};
            entries[0].key = amqp_cstring_bytes("x-max-length");
            entries[0].value.kind = AMQP_FIELD_KIND_I32;
            entries[0].value.value.i32 = 1;
            entries[1].key = amqp_cstring_bytes("x-overflow");
            entries[1].value.kind = AMQP_FIELD_KIND_UTF8;
            entries[1].value.value.bytes = amqp_cstring_bytes("reject-publish");
            amqp_queue_declare(connection, 1, queue, 0, 0, 0, 0, {2, entries});
            amqp_queue_bind(connection, 1, queue, amqp_cstring_bytes(Exchange), amqp_cstring_bytes("#"),
                            amqp_empty_table);
        } else {
            amqp_queue_delete(connection, 1, queue, 0, 0);
        }
    }
    amqp_destroy_connection(connection);
}

// Makes the next publish a channel exception; nginx declares the exchange again when it comes back.
void deleteExchange(const RabbitMq& server)
{
    amqp_connection_state_t connection = amqp_new_connection();
    if (amqp_socket_open(amqp_tcp_socket_new(connection), "127.0.0.1", server.port()) == AMQP_STATUS_OK) {
        amqp_login(connection, "/", 0, 131'072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest");
        amqp_channel_open(connection, 1);
        amqp_exchange_delete(connection, 1, amqp_cstring_bytes(Exchange), 0);
    }
    amqp_destroy_connection(connection);
}

// A RabbitMQ that has just come back may not be known to rabbitmqctl yet.
void control(const RabbitMq& server, const std::vector<std::string>& arguments)
{
    eventually(
        [&] {
            try {
                server.ctl(arguments);
                return true;
            } catch (const std::exception&) {
                return false;
            }
        },
        "rabbitmqctl " + arguments.front(), 90s);
}

struct Fault {
    const char* name;
    int weight;
    std::function<void()> happen;
};

class Faults {
public:
    Faults(RabbitMq& rabbit, Proxy& proxy, Server& nginx, Server& other, unsigned seed) : random_(seed)
    {
        const auto pause = [this](int most) {
            std::this_thread::sleep_for(std::chrono::milliseconds(random_() % static_cast<unsigned>(most)));
        };
        all_ = {
            {"RabbitMQ killed", 1,
             [&rabbit, pause] {
                 rabbit.kill();
                 pause(2'000);
                 rabbit.start();
             }},
            {"RabbitMQ stopped (SIGSTOP)", 3,
             [&rabbit, pause] {
                 rabbit.pause();
                 pause(3'000);
                 rabbit.resume();
             }},
            {"RabbitMQ restarted", 1,
             [&rabbit] {
                 rabbit.stop();
                 rabbit.start();
             }},
            {"connection cut", 6, [&proxy] { proxy.cut(); }},
            {"memory alarm", 2,
             [&rabbit, pause] {
                 control(rabbit, {"set_vm_memory_high_watermark", "absolute", "1MB"});
                 pause(2'000);
                 control(rabbit, {"set_vm_memory_high_watermark", "0.4"});
             }},
            {"refused (nack)", 2,
             [&rabbit, pause] {
                 bindFullQueue(rabbit, true);
                 pause(2'000);
                 bindFullQueue(rabbit, false);
             }},
            {"unroutable", 3,
             [&rabbit, pause] {
                 bindQueue(rabbit, false);
                 pause(2'000);
                 bindQueue(rabbit, true);
             }},
            {"channel exception", 3, [&rabbit] { deleteExchange(rabbit); }},
            {"worker killed", 6, [&nginx, this] { nginx.killWorker(random_); }},
            {"worker of the other node killed", 3, [&other, this] { other.killWorker(random_); }},
            {"nginx killed", 3,
             [&nginx, pause] {
                 nginx.killAll();
                 pause(500);
                 nginx.start();
             }},
            {"nginx stopped", 2,
             [&nginx] {
                 nginx.stop();
                 nginx.start();
             }},
            {"nginx reloaded", 3, [&nginx] { nginx.reload(); }},
            {"all killed", 1,
             [&rabbit, &nginx] {
                 std::thread killer([&rabbit] { rabbit.kill(); });
                 nginx.killAll();
                 killer.join();
                 nginx.start();
                 rabbit.start();
             }},
        };
        for (std::size_t i = 0; i < all_.size(); ++i) {
            bag_.insert(bag_.end(), static_cast<std::size_t>(all_[i].weight), i);
        }
    }

    // One of them, each kind once before any comes again by its weight.
    void next()
    {
        const std::size_t choice = count_ < all_.size() ? count_ : bag_[random_() % bag_.size()];
        ++count_;
        ++counts_[all_[choice].name];
        all_[choice].happen();
        std::this_thread::sleep_for(std::chrono::milliseconds(random_() % 1'500));
    }
    std::size_t count() const { return count_; }
    void print() const
    {
        for (const auto& [name, count] : counts_) {
            std::cout << "    " << count << " x " << name << "\n";
        }
    }

private:
    std::minstd_rand random_;
    std::vector<Fault> all_;
    std::vector<std::size_t> bag_;
    std::size_t count_ = 0;
    std::map<std::string, std::size_t> counts_;
};

// --- who publishes, and what came of it -------------------------------------------------------------------------------

class Publishers {
public:
    Publishers(const Server& nginx, int count)
    {
        for (int i = 0; i < count; ++i) {
            threads_.emplace_back([this, &nginx, i] { run(nginx, i % 3 == 2 ? "/broker" : "/stored"); });
        }
        for (int i = 0; i < 2; ++i) {
            threads_.emplace_back([this, &nginx] { runOrdered(nginx); });
        }
    }
    ~Publishers() { stop(); }
    Publishers(const Publishers&) = delete;
    Publishers& operator=(const Publishers&) = delete;

    void stop()
    {
        stop_ = true;
        for (auto& thread : threads_) {
            thread.join();
        }
        threads_.clear();
    }
    const std::set<std::string>& acknowledged() const { return acknowledged_; }    // after stop()
    const std::map<std::string, std::string>& ordered() const { return ordered_; } // likewise; ids by data
    std::size_t attempts() const { return attempts_; }

private:
    void run(const Server& nginx, const char* path)
    {
        HttpRequest request;
        request.method = "POST";
        request.url = nginx.url(path);
        request.body = std::string(300, 'x');
        auto client = std::make_unique<HttpClient>();
        while (!stop_) {
            ++attempts_;
            try {
                const auto answer = client->send(request);
                if (answer.status == 200) {
                    auto id = Json::parse(answer.body).at("id").text();
                    const std::lock_guard lock(mutex_);
                    acknowledged_.insert(std::move(id));
                }
            } catch (const std::exception&) {
                client = std::make_unique<HttpClient>();
            }
            std::this_thread::sleep_for(10ms); // leaves the machine to those that start
        }
    }

    void runOrdered(const Server& nginx)
    {
        static std::atomic<std::uint64_t> count{0};
        HttpRequest request;
        request.method = "POST";
        request.url = nginx.url("/ordered");
        auto client = std::make_unique<HttpClient>();
        while (!stop_) {
            request.body = std::to_string(++count);
            try {
                const auto answer = client->send(request);
                if (answer.status == 200) {
                    auto id = Json::parse(answer.body).at("id").text();
                    const std::lock_guard lock(mutex_);
                    ordered_.emplace(*request.body, std::move(id));
                }
            } catch (const std::exception&) {
                client = std::make_unique<HttpClient>();
            }
            std::this_thread::sleep_for(20ms);
        }
    }

    std::atomic<bool> stop_{false};
    std::atomic<std::size_t> attempts_{0};
    std::map<std::string, std::string> ordered_;
    std::mutex mutex_;
    std::set<std::string> acknowledged_;
    std::vector<std::thread> threads_;
};

struct Consumed {
    std::size_t messages = 0, duplicates = 0;
    std::set<std::string> missing;
};

// Reads the queue until it holds no more; while something is missing, with the patience for a RabbitMQ that has just
// come back on a busy machine.
Consumed compare(const RabbitMq& rabbit, const std::set<std::string>& acknowledged,
                 std::chrono::milliseconds patience = Patience)
{
    Consumed out;
    std::set<std::string> seen;
    AmqpConsumer consumer(rabbit, AmqpQueue{Queue});
    try {
        for (std::size_t found = 0;;) {
            const auto id = consumer.receive(found < acknowledged.size() ? patience : 3s).messageId;
            ++out.messages;
            if (!seen.insert(id).second) {
                ++out.duplicates;
            } else if (acknowledged.count(id) != 0) {
                ++found;
            }
        }
    } catch (const std::exception&) {
        // Nothing for so long.
    }
    std::set_difference(acknowledged.begin(), acknowledged.end(), seen.begin(), seen.end(),
                        std::inserter(out.missing, out.missing.end()));
    return out;
}

// Follows the ordered channel of a node from the beginning, and comes back whenever it is thrown out.
class OrderedSubscriber {
public:
    explicit OrderedSubscriber(const Server& nginx) : url_(nginx.url("/ordered?since="))
    {
        thread_ = std::thread([this] {
            while (!stop_) {
                try {
                    follow();
                } catch (const std::exception&) {
                    std::this_thread::sleep_for(100ms);
                }
            }
        });
    }
    ~OrderedSubscriber()
    {
        stop_ = true;
        thread_.join();
    }
    OrderedSubscriber(const OrderedSubscriber&) = delete;
    OrderedSubscriber& operator=(const OrderedSubscriber&) = delete;

    std::vector<std::pair<std::string, std::string>> got() const // data and id, each once
    {
        const std::lock_guard lock(mutex_);
        return got_;
    }
    std::size_t gaps() const { return gaps_; }
    std::size_t connections() const { return connections_; }

private:
    void follow()
    {
        SseClient client(url_ + last_);
        ++connections_;
        while (!stop_ && client.response().status == 200) {
            if (!client.pending()) {
                if (client.waitForEnd(20ms)) {
                    return;
                }
                continue;
            }
            const SseEvent event = client.receive();
            last_ = event.id.empty() ? last_ : event.id;
            const std::lock_guard lock(mutex_);
            if (event.event == "realtime:gap") {
                ++gaps_;
            } else if (seen_.insert(event.data).second) {
                got_.emplace_back(event.data, event.id);
            }
        }
        std::this_thread::sleep_for(100ms);
    }

    const std::string url_;
    std::string last_ = "earliest";
    std::atomic<bool> stop_{false};
    std::atomic<std::size_t> gaps_{0}, connections_{0};
    mutable std::mutex mutex_;
    std::set<std::string> seen_;
    std::vector<std::pair<std::string, std::string>> got_;
    std::thread thread_;
};

// What the stream has, each event once, and which of them it has twice.
struct StreamContent {
    std::vector<std::string> events;
    std::set<std::string> twice;
};

StreamContent streamContent(const RabbitMq& server)
{
    StreamContent out;
    std::set<std::string> seen;
    amqp_connection_state_t connection = amqp_new_connection();
    if (amqp_socket_open(amqp_tcp_socket_new(connection), "127.0.0.1", server.port()) == AMQP_STATUS_OK) {
        amqp_login(connection, "/", 0, 131'072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest");
        amqp_channel_open(connection, 1);
        amqp_basic_qos(connection, 1, 0, 100, 0);
        amqp_table_entry_t first{};
        first.key = amqp_cstring_bytes("x-stream-offset");
        first.value.kind = AMQP_FIELD_KIND_UTF8;
        first.value.value.bytes = amqp_cstring_bytes("first");
        amqp_basic_consume(connection, 1, amqp_cstring_bytes(Stream), amqp_empty_bytes, 0, 0, 0, {1, &first});
        timeval patience{3, 0};
        amqp_envelope_t envelope;
        while (amqp_maybe_release_buffers(connection),
               amqp_consume_message(connection, &envelope, &patience, 0).reply_type == AMQP_RESPONSE_NORMAL) {
            const auto& body = envelope.message.body;
            std::string data(static_cast<const char*>(body.bytes), body.len);
            if (seen.insert(data).second) {
                out.events.push_back(std::move(data));
            } else {
                out.twice.insert(std::move(data));
            }
            amqp_basic_ack(connection, 1, envelope.delivery_tag, 0);
            amqp_destroy_envelope(&envelope);
        }
    }
    amqp_destroy_connection(connection);
    return out;
}

// The stream, and what subscribers of both nodes have got of it, are the same; what was acknowledged is there under its id,
// or, if RabbitMQ has got it twice, under one of its ids.
void compareOrdered(const RabbitMq& rabbit, const std::map<std::string, std::string>& acknowledged,
                    const std::vector<OrderedSubscriber*>& subscribers)
{
    const StreamContent content = streamContent(rabbit);
    const auto& stream = content.events;
    std::size_t missing = 0;
    const std::set<std::string> there(stream.begin(), stream.end());
    for (const auto& [data, id] : acknowledged) {
        missing += there.contains(data) ? 0 : 1;
    }
    std::vector<std::vector<std::pair<std::string, std::string>>> got;
    for (OrderedSubscriber* subscriber : subscribers) {
        eventually([&] { return subscriber->got().size() >= stream.size(); },
                   "a subscriber has what the stream has", 60s);
        got.push_back(subscriber->got());
    }
    std::size_t otherIds = 0;
    for (const auto& [data, id] : got.front()) {
        const auto found = acknowledged.find(data);
        otherIds +=
            found != acknowledged.end() && found->second != id && !content.twice.contains(data) ? 1 : 0;
    }
    std::cout << "    ordered: " << acknowledged.size() << " acknowledged, " << stream.size()
              << " in the stream, " << content.twice.size() << " of them twice, " << missing << " missing, "
              << otherIds << " under another id; subscribers came back " << subscribers[0]->connections() - 1
              << " and " << subscribers[1]->connections() - 1 << " times and were told of "
              << subscribers[0]->gaps() + subscribers[1]->gaps() << " gaps" << std::endl;
    expectEqual(missing, 0U);
    expectEqual(otherIds, 0U);
    expect(got[0] == got[1], "both nodes tell the same under the same ids");
    std::vector<std::string> order;
    for (const auto& one : got[0]) {
        order.push_back(one.first);
    }
    expect(order == stream, "in the order of the stream");
    expect(acknowledged.size() > 100, "the faults leave room for ordered events");
}

std::chrono::seconds duration()
{
    const char* text = std::getenv("REALTIME_FAULT_SECONDS");
    return std::chrono::seconds(text == nullptr ? 190 : toInt(text));
}

unsigned seed()
{
    const char* text = std::getenv("REALTIME_FAULT_SEED");
    return text == nullptr ? std::random_device{}() : static_cast<unsigned>(std::stoul(text));
}

void awaitDrained(const Server& nginx)
{
    eventually(
        [&nginx] {
            try {
                return nginx.waiting() == 0;
            } catch (const std::exception&) {
                return false;
            }
        },
        "nothing waits for RabbitMQ any more", 120s);
}

// A server of its own: one that others use meanwhile must not be killed.
RabbitMq& ownRabbit()
{
    unsetenv("RABBITMQ_DIR");
    return RabbitMq::share();
}

// RabbitMQ 3.10 writes down some time later, or when it is stopped, what queues it has: killed within two seconds, it has lost a
// new one with all that it has confirmed; within three minutes, it knows its first stream by name and can never use it again
// ("home node ... is down or inaccessible").
void settleQueues(RabbitMq& rabbit, const Server& nginx)
{
    eventually([&nginx] { return post(nginx.url("/ordered"), "first").status == 200; },
               "the stream is there");
    rabbit.stop();
    rabbit.start();
}

} // namespace

TEST(every_acknowledged_event_reaches_the_queue_whatever_dies)
{
    RabbitMq& rabbit = ownRabbit();
    Proxy proxy(rabbit.port());
    Server nginx(proxy.url(), 2);
    Server other(proxy.url(), 2);
    settleQueues(rabbit, nginx);
    OrderedSubscriber here(nginx), there(other);
    std::map<std::string, std::string> ordered;
    const unsigned start = seed();
    Faults faults(rabbit, proxy, nginx, other, start);
    std::cout << "    seed " << start << std::endl;
    const auto end = Clock::now() + duration();
    std::size_t events = 0;
    while (Clock::now() < end) {
        Publishers publishers(nginx, 6);
        for (const auto roundEnd = std::min(end, Clock::now() + 180s); Clock::now() < roundEnd;) {
            faults.next();
        }
        publishers.stop();
        bindQueue(rabbit, true);
        bindFullQueue(rabbit, false);
        awaitDrained(nginx);
        const auto result = compare(rabbit, publishers.acknowledged());
        events += publishers.acknowledged().size();
        std::cout << "    " << faults.count() << " faults, " << events << " events acknowledged; this round "
                  << publishers.attempts() << " attempts, " << publishers.acknowledged().size()
                  << " acknowledged, " << result.messages << " consumed, " << result.duplicates
                  << " of them twice, " << result.missing.size() << " missing" << std::endl;
        if (!result.missing.empty()) {
            std::cout << nginx.errorLog();
        }
        expectEqual(result.missing.size(), 0U);
        ordered.insert(publishers.ordered().begin(), publishers.ordered().end());
        compareOrdered(rabbit, ordered, {&here, &there});
        expect(publishers.acknowledged().size() > 100, "the faults leave room for events");
    }
    faults.print();
}

// The checker itself: events that were acknowledged on the strength of a spool which then loses them.
TEST(the_comparison_notices_a_spool_that_forgets)
{
    RabbitMq& rabbit = ownRabbit();
    Proxy proxy(rabbit.port());
    Server nginx(proxy.url(), 1);
    awaitDrained(nginx);
    rabbit.pause();
    std::set<std::string> acknowledged;
    try {
        for (int i = 0; i < 20; ++i) {
            const auto answer = post(nginx.url("/stored"), "x");
            expectEqual(answer.status, 200L);
            acknowledged.insert(Json::parse(answer.body).at("id").text());
        }
        nginx.killAll();
        std::filesystem::remove_all(nginx.spool());
        proxy.cut();
    } catch (...) {
        rabbit.resume();
        throw;
    }
    rabbit.kill(); // with what it may have received while it was stopped
    rabbit.start();
    nginx.start();
    awaitDrained(nginx);
    expect(compare(rabbit, acknowledged, 5s).missing.size() >= 10, "the loss is noticed");
}

TEST_MAIN()
