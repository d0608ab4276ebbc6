// The promise of ack=stored and ack=broker under random faults: publishers note which events were acknowledged; RabbitMQ,
// the connection, single workers and the whole nginx are killed, stopped and cut meanwhile; in the end every
// acknowledged event must be in the queue.
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

// --- what is broken -------------------------------------------------------------------------------------------------

// An nginx that may be killed as a whole and started again with the same files, other than Nginx.
class Server {
public:
    Server(const std::string& brokerUrl, int workers) : port_(freePort())
    {
        const std::string dir = directory_.path();
        writeFile(directory_.path() / "nginx.conf",
                  "load_module " + modulePath() + ";\nuser root;\ndaemon off;\nworker_processes " +
                      std::to_string(workers) + ";\npid " + dir + "/nginx.pid;\nerror_log " + dir +
                      "/error.log notice;\nevents { worker_connections 512; }\nhttp {\naccess_log off;\n"
                      "client_body_temp_path " +
                      dir + "/body;\nproxy_temp_path " + dir + "/proxy;\nfastcgi_temp_path " + dir +
                      "/fastcgi;\nscgi_temp_path " + dir + "/scgi;\nuwsgi_temp_path " + dir +
                      "/uwsgi;\nrealtime_zone main 8m;\nrealtime_broker events {\n server " + brokerUrl +
                      ";\n exchange " + Exchange + " topic;\n queue " + Queue + " classic;\n spool " + dir +
                      "/spool;\n}\nrealtime_app default { broker events; }\nserver {\nlisten 127.0.0.1:" +
                      std::to_string(port_) +
                      ";\nrealtime_ping 1s; realtime_timeout 3s;\n"
                      "location = /stored { realtime_publish room ack=stored; }\n"
                      "location = /broker { realtime_publish room ack=broker; }\n"
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
        const auto broker = Json::parse(get(url("/status")).body).at("brokers").at("events");
        return static_cast<std::uint64_t>(broker.at("queued").number() + broker.at("spool_events").number());
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
    Faults(RabbitMq& rabbit, Proxy& proxy, Server& nginx, unsigned seed) : random_(seed)
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
                 std::thread other([&rabbit] { rabbit.kill(); });
                 nginx.killAll();
                 other.join();
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
    const std::set<std::string>& acknowledged() const { return acknowledged_; } // after stop()
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

    std::atomic<bool> stop_{false};
    std::atomic<std::size_t> attempts_{0};
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

std::chrono::seconds duration()
{
    const char* text = std::getenv("REALTIME_FAULT_SECONDS");
    return std::chrono::seconds(text == nullptr ? 190 : toInt(text));
}

unsigned seed()
{
    const char* text = std::getenv("REALTIME_FAULT_SEED");
    return text == nullptr ? std::random_device{}() : static_cast<unsigned>(toInt(text));
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

} // namespace

TEST(every_acknowledged_event_reaches_the_queue_whatever_dies)
{
    RabbitMq& rabbit = ownRabbit();
    Proxy proxy(rabbit.port());
    Server nginx(proxy.url(), 2);
    const unsigned start = seed();
    Faults faults(rabbit, proxy, nginx, start);
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
