// The promise of ack=stored, ack=broker and realtime:ack under random faults: publishers note which events were acknowledged;
// RabbitMQ, the connection, single workers and the whole nginx are killed, stopped and cut meanwhile; in the end every
// acknowledged event must be in the queue, as an independent consumer reads it (support/drain.hpp). Beside them some publish
// to an ordered channel: what was acknowledged there must be in the stream, and subscribers on two nodes must have got all that
// the stream has, in its order, and not be told of a gap, since nothing is missing. The same with a spool that forgets: the
// comparison must notice.
//
//     REALTIME_FAULT_SECONDS   how long (190 if unset); each three minutes the queue is read and compared
//     REALTIME_FAULT_SEED      for the same order of faults again
#include "support/check.hpp"
#include "support/drain.hpp"
#include "support/files.hpp"
#include "support/http.hpp"
#include "support/json.hpp"
#include "support/nginx.hpp"
#include "support/proxy.hpp"
#include "support/pusher.hpp"
#include "support/rabbitmq.hpp"
#include "support/sse.hpp"

#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <mutex>
#include <numeric>
#include <random>
#include <set>
#include <sys/types.h>
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
    // `preload`: a library to be loaded first.
    Server(const std::string& brokerUrl, int workers, std::string preload = "")
        : port_(freePort()), preload_(std::move(preload))
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
                      "/spool;\n}\nrealtime_broker ordered {\n server " + brokerUrl +
                      ";\n exchange fault.ordered topic;\n queue " + Stream + " stream;\n spool " + dir +
                      "/ordered;\n}\nrealtime_app default { key k; secret s; broker events; channels ordered "
                      "{ broker ordered; "
                      "deliver broker; history 1000000 1d; } channels pushed { client_publish on; } }\n"
                      "server {\nlisten 127.0.0.1:" +
                      std::to_string(port_) +
                      ";\nrealtime_ping 1s; realtime_timeout 3s;\n"
                      "location = /stored { realtime_publish room ack=stored; }\n"
                      "location = /broker { realtime_publish room ack=broker; }\n"
                      "location = /ordered { realtime_pubsub ordered; }\n"
                      "location /app/ { realtime_pusher websocket; }\n"
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
    std::uint16_t port() const { return port_; }
    std::string errorLog() const { return readFile(directory_.path() / "error.log"); }

    void start()
    {
        Environment environment = sanitizerOptions();
        environment["LD_PRELOAD"] = preload_;
        master_ = spawn({nginxPath(), "-p", directory_.path(), "-c", directory_.path() / "nginx.conf", "-e",
                         directory_.path() / "error.log"},
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
    std::int64_t waiting() const
    {
        const auto brokers = Json::parse(get(url("/status")).body).at("brokers");
        std::int64_t sum = 0;
        for (const char* name : {"events", "ordered"}) {
            sum += brokers.at(name).at("queued").number() + brokers.at(name).at("spool_events").number();
        }
        return sum;
    }
    // Of the broker that has a queue.
    std::int64_t figure(const char* name) const
    {
        return Json::parse(get(url("/status")).body).at("brokers").at("events").at(name).number();
    }
    bool blocked() const
    {
        return Json::parse(get(url("/status")).body).at("brokers").at("events").at("state").text() ==
               "blocked";
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
    std::string preload_;
    pid_t master_ = 0;
};

void withChannel(const RabbitMq& server, const std::function<void(amqp_connection_state_t)>& use)
{
    amqp_connection_state_t connection = amqp_new_connection();
    if (amqp_socket_open(amqp_tcp_socket_new(connection), "127.0.0.1", server.port()) == AMQP_STATUS_OK) {
        amqp_login(connection, "/", 0, 131'072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest");
        amqp_channel_open(connection, 1);
        use(connection);
    }
    amqp_destroy_connection(connection);
}

// Takes the queue from its exchange, and binds it again: between, events come back as unroutable.
void bindQueue(const RabbitMq& server, bool bound)
{
    withChannel(server, [bound](amqp_connection_state_t connection) {
        const auto queue = amqp_cstring_bytes(Queue), exchange = amqp_cstring_bytes(Exchange),
                   key = amqp_cstring_bytes("#");
        if (bound) {
            amqp_queue_bind(connection, 1, queue, exchange, key, amqp_empty_table);
        } else {
            amqp_queue_unbind(connection, 1, queue, exchange, key, amqp_empty_table);
        }
    });
}

// A second queue that takes one message and refuses the rest, which makes RabbitMQ nack them, though the first queue has
// them. (A limit on that one would be no fault but a loss: RabbitMQ drops what is too much already.)
void bindFullQueue(const RabbitMq& server, bool there)
{
    withChannel(server, [there](amqp_connection_state_t connection) {
        const auto queue = amqp_cstring_bytes("fault.full");
        if (!there) {
            amqp_queue_delete(connection, 1, queue, 0, 0);
            return;
        }
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
    });
}

// Makes the next publish a channel exception; nginx declares the exchange again when it comes back.
void deleteExchange(const RabbitMq& server)
{
    withChannel(server, [](amqp_connection_state_t connection) {
        amqp_exchange_delete(connection, 1, amqp_cstring_bytes(Exchange), 0);
    });
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

constexpr const char* CutOffAndKilled = "RabbitMQ out of reach, nginx killed meanwhile";

struct Fault {
    const char* name;
    int weight;
    std::function<void()> happen;
    std::function<bool()> felt = {}; // does nginx show that it met it? Empty: it needs no asking
};

class Faults {
public:
    // `only`: of this name, and no other.
    Faults(RabbitMq& rabbit, Proxy& proxy, Server& nginx, Server& other, unsigned seed,
           const std::string& only = "")
        : random_(seed)
    {
        const auto pause = [this](int most) {
            std::this_thread::sleep_for(std::chrono::milliseconds(random_() % static_cast<unsigned>(most)));
        };
        const auto grows = [&nginx, this](const char* name) {
            return [&nginx, this, name] { return nginx.figure(name) > before_[name]; };
        };
        all_ = {
            {"RabbitMQ stopped (SIGSTOP)", 3,
             [&rabbit, pause] {
                 rabbit.pause();
                 pause(3'000);
                 rabbit.resume();
             }},
            {"connections cut in the middle of a frame", 6,
             [&proxy, this] {
                 cuts_ = proxy.cutInFrames();
                 for (int i = 0; i < 100 && proxy.cutInFrames() == cuts_; ++i) {
                     proxy.cut(); // none may be open yet
                     std::this_thread::sleep_for(100ms);
                 }
                 awaitFelt();
             },
             [&proxy, this] { return proxy.cutInFrames() > cuts_; }},
            {"memory alarm (connection.blocked)", 2,
             [&rabbit, pause, this] {
                 control(rabbit, {"set_vm_memory_high_watermark", "absolute", "1MB"});
                 awaitFelt();
                 pause(2'000);
                 control(rabbit, {"set_vm_memory_high_watermark", "0.4"});
             },
             [&nginx] { return nginx.blocked(); }},
            {"refused (nack)", 2,
             [&rabbit, pause, this] {
                 bindFullQueue(rabbit, true);
                 awaitFelt();
                 pause(2'000);
                 bindFullQueue(rabbit, false);
             },
             grows("failed_total")},
            {"unroutable", 3,
             [&rabbit, pause, this] {
                 bindQueue(rabbit, false);
                 awaitFelt();
                 pause(2'000);
                 bindQueue(rabbit, true);
             },
             grows("failed_total")},
            {"channel exception", 3,
             [&rabbit, this] {
                 deleteExchange(rabbit);
                 awaitFelt();
             },
             grows("reconnects_total")},
            {"worker killed", 6, [&nginx, this] { nginx.killWorker(random_); }},
            {"worker of the other node killed", 3, [&other, this] { other.killWorker(random_); }},
            {"RabbitMQ stopped (SIGSTOP), a worker killed meanwhile", 2,
             [&rabbit, &nginx, pause, this] {
                 rabbit.pause();
                 pause(2'000);
                 nginx.killWorker(random_);
                 pause(1'000);
                 rabbit.resume();
             }},
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
            // From here on, each takes the time of a start of RabbitMQ.
            {"RabbitMQ killed", 1,
             [&rabbit, pause] {
                 rabbit.kill();
                 pause(2'000);
                 rabbit.start();
             }},
            {"RabbitMQ restarted", 1,
             [&rabbit] {
                 rabbit.stop();
                 rabbit.start();
             }},
            {"all killed at once", 1,
             [&rabbit, &nginx] {
                 std::thread killer([&rabbit] { rabbit.kill(); });
                 nginx.killAll();
                 killer.join();
                 nginx.start();
                 rabbit.start();
             }},
            // What the spool has by then is there alone.
            {"RabbitMQ stopped (SIGSTOP), then all killed", 1,
             [&rabbit, &nginx, pause] {
                 rabbit.pause();
                 pause(2'000);
                 nginx.killAll();
                 rabbit.kill(); // with what it may have received meanwhile
                 nginx.start();
                 rabbit.start();
             }},
            {CutOffAndKilled, 2,
             [&proxy, &nginx, pause] {
                 proxy.block(true);
                 std::this_thread::sleep_for(500ms);
                 pause(1'500);
                 nginx.killAll();
                 proxy.block(false);
                 nginx.start();
             }},
        };
        std::erase_if(all_, [&only](const Fault& fault) { return !only.empty() && only != fault.name; });
        for (std::size_t i = 0; i < all_.size(); ++i) {
            bag_.insert(bag_.end(), static_cast<std::size_t>(all_[i].weight), i);
        }
        counts_.resize(all_.size());
        felt_.resize(all_.size());
        nginx_ = &nginx;
    }

    // One of them, each kind once before any comes again by its weight.
    void next()
    {
        current_ = count_ < all_.size() ? count_ : bag_[random_() % bag_.size()];
        ++count_;
        ++counts_[current_];
        for (const char* name : {"failed_total", "reconnects_total"}) {
            try {
                before_[name] = nginx_->figure(name);
            } catch (const std::exception&) { // it does not answer: what it had is still the same
            }
        }
        all_[current_].happen();
        std::this_thread::sleep_for(std::chrono::milliseconds(random_() % 1'500));
    }
    std::size_t count() const { return count_; }
    void print() const
    {
        for (std::size_t i = 0; i < all_.size(); ++i) {
            std::cout << "    " << counts_[i] << " x " << all_[i].name;
            if (all_[i].felt) {
                std::cout << ", met by nginx " << felt_[i] << " times";
            }
            std::cout << "\n";
        }
    }
    // Once each kind has happened: those that can be met or missed were met.
    bool allMet() const
    {
        bool all = true;
        for (std::size_t i = 0; i < all_.size(); ++i) {
            all = all && (!all_[i].felt || felt_[i] > 0);
        }
        return all || count_ < all_.size();
    }

private:
    void awaitFelt()
    {
        const Fault& fault = all_[current_];
        for (const auto end = Clock::now() + 5s; Clock::now() < end; std::this_thread::sleep_for(50ms)) {
            try {
                if (fault.felt()) {
                    ++felt_[current_];
                    return;
                }
            } catch (const std::exception&) { // it does not answer
            }
        }
    }

    std::minstd_rand random_;
    Server* nginx_ = nullptr;
    std::vector<Fault> all_;
    std::vector<std::size_t> bag_, counts_, felt_;
    std::size_t count_ = 0, current_ = 0;
    std::map<std::string, std::int64_t> before_;
    std::size_t cuts_ = 0;
};

// --- who publishes, and what came of it -------------------------------------------------------------------------------

enum class Ack { Stored, Broker, Realtime };
constexpr std::array Acks{Ack::Stored, Ack::Broker, Ack::Realtime};
constexpr std::array AckNames{"ack=stored", "ack=broker", "realtime:ack"};

using Acknowledged = std::map<std::string, Ack>; // by message id

class Publishers {
public:
    explicit Publishers(const Server& nginx)
    {
        for (const Ack ack : {Ack::Stored, Ack::Stored, Ack::Broker, Ack::Stored, Ack::Broker}) {
            threads_.emplace_back([this, &nginx, ack] { run(nginx, ack); });
        }
        threads_.emplace_back([this, &nginx] { runPusher(nginx); });
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
    const Acknowledged& acknowledged() const { return acknowledged_; }             // after stop()
    const std::map<std::string, std::string>& ordered() const { return ordered_; } // likewise; ids by data
    std::size_t attempts() const { return attempts_; }

private:
    void note(std::string id, Ack ack)
    {
        const std::lock_guard lock(mutex_);
        acknowledged_.emplace(std::move(id), ack);
    }

    void run(const Server& nginx, Ack ack)
    {
        HttpRequest request;
        request.method = "POST";
        request.url = nginx.url(ack == Ack::Stored ? "/stored" : "/broker");
        request.body = std::string(300, 'x');
        auto client = std::make_unique<HttpClient>();
        while (!stop_) {
            ++attempts_;
            try {
                const auto answer = client->send(request);
                if (answer.status == 200) {
                    note(Json::parse(answer.body).at("id").text(), ack);
                }
            } catch (const std::exception&) {
                client = std::make_unique<HttpClient>();
            }
            std::this_thread::sleep_for(10ms); // leaves the machine to those that start
        }
    }

    // By the Pusher protocol, one at a time. What is not answered for long was refused, or its connection is lost.
    void runPusher(const Server& nginx)
    {
        std::unique_ptr<PusherClient> client;
        while (!stop_) {
            try {
                if (client == nullptr) {
                    client = std::make_unique<PusherClient>(nginx.port(), "k", "s");
                }
                ++attempts_;
                client->socket().send(
                    {Text,
                     R"({"event":"realtime:publish","data":{"ref":1,"channel":"pushed","event":"e","data":"x"}})"});
                const auto end = Clock::now() + 5s; // pings come meanwhile
                while (!stop_ && !client->socket().pending()) {
                    expect(Clock::now() < end, "an answer comes");
                    std::this_thread::sleep_for(2ms);
                }
                if (stop_) {
                    return;
                }
                if (const Frame frame = client->socket().receive(5s); frame.opcode == Ping) {
                    client->socket().send({Pong, frame.payload});
                } else if (const Json answer = Json::parse(frame.payload);
                           answer.at("event").text() == "realtime:ack") {
                    note(Json::parse(answer.at("data").text()).at("id").text(), Ack::Realtime);
                }
            } catch (const std::exception&) {
                client.reset();
                std::this_thread::sleep_for(50ms);
            }
            std::this_thread::sleep_for(10ms);
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
    std::mutex mutex_;
    std::map<std::string, std::string> ordered_;
    Acknowledged acknowledged_;
    std::vector<std::thread> threads_;
};

struct Consumed {
    std::size_t messages = 0, duplicates = 0;
    std::array<std::size_t, Acks.size()> acknowledged{}, missing{}; // of each kind

    std::size_t lost() const { return std::accumulate(missing.begin(), missing.end(), std::size_t{0}); }
};

// Takes all that the queue has; while something is missing, with the patience for a RabbitMQ that has just come back on a
// busy machine.
Consumed compare(const RabbitMq& rabbit, const Acknowledged& acknowledged, std::chrono::seconds patience)
{
    Consumed out;
    std::set<std::string> seen;
    const auto isMissing = [&seen](const auto& one) { return !seen.contains(one.first); };
    const auto end = Clock::now() + patience;
    do {
        for (Delivery& one : drain(rabbit, Queue)) {
            ++out.messages;
            out.duplicates += seen.insert(std::move(one.messageId)).second ? 0 : 1;
        }
    } while (Clock::now() < end && std::any_of(acknowledged.begin(), acknowledged.end(), isMissing));
    for (const auto& one : acknowledged) {
        const auto kind = static_cast<std::size_t>(one.second);
        ++out.acknowledged.at(kind);
        out.missing.at(kind) += isMissing(one) ? 1 : 0;
    }
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
    for (Delivery& one : drain(server, Stream, Drain::Stream)) {
        if (seen.insert(one.body).second) {
            out.events.push_back(std::move(one.body));
        } else {
            out.twice.insert(std::move(one.body));
        }
    }
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
    expectEqual(subscribers[0]->gaps() + subscribers[1]->gaps(), 0U);
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

// When all faults are over, and all that waited has been sent.
Consumed recoverAndCompare(RabbitMq& rabbit, const Server& nginx, const Publishers& publishers,
                           std::size_t faults, std::chrono::seconds patience)
{
    bindQueue(rabbit, true);
    bindFullQueue(rabbit, false);
    awaitDrained(nginx);
    const Consumed result = compare(rabbit, publishers.acknowledged(), patience);
    std::cout << "    " << faults << " faults; this round " << publishers.attempts() << " attempts, "
              << publishers.acknowledged().size() << " acknowledged, " << result.messages << " consumed, "
              << result.duplicates << " of them twice, " << result.lost() << " missing\n";
    for (std::size_t i = 0; i < Acks.size(); ++i) {
        std::cout << "    " << AckNames.at(i) << ": " << result.acknowledged.at(i) << " acknowledged, "
                  << result.missing.at(i) << " missing" << std::endl;
    }
    return result;
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
    while (Clock::now() < end) {
        Publishers publishers(nginx);
        for (const auto roundEnd = std::min(end, Clock::now() + 180s); Clock::now() < roundEnd;) {
            faults.next();
        }
        publishers.stop();
        faults.print();
        const Consumed result = recoverAndCompare(rabbit, nginx, publishers, faults.count(), 60s);
        if (result.lost() > 0) {
            std::cout << nginx.errorLog();
        }
        expectEqual(result.lost(), 0U);
        expect(*std::min_element(result.acknowledged.begin(), result.acknowledged.end()) > 10,
               "the faults leave room for events of each kind");
        ordered.insert(publishers.ordered().begin(), publishers.ordered().end());
        compareOrdered(rabbit, ordered, {&here, &there});
    }
    expect(faults.allMet(), "each kind of fault was met");
    expectEqual(sanitizerReport(nginx.errorLog() + other.errorLog()), "");
}

// The checker itself: the same with a spool that is off, but acknowledged.
TEST(the_comparison_notices_a_spool_that_forgets)
{
    RabbitMq& rabbit = ownRabbit();
    Proxy proxy(rabbit.port());
    Server nginx(proxy.url(), 2, REALTIME_FORGETFUL_SPOOL);
    Faults faults(rabbit, proxy, nginx, nginx, seed(), CutOffAndKilled);
    Publishers publishers(nginx);
    for (int i = 0; i < 3; ++i) {
        std::this_thread::sleep_for(1s);
        faults.next();
    }
    publishers.stop();
    const Consumed result = recoverAndCompare(rabbit, nginx, publishers, faults.count(), 1s);
    faults.print();
    expect(result.missing.at(static_cast<std::size_t>(Ack::Stored)) > 0 &&
               result.missing.at(static_cast<std::size_t>(Ack::Realtime)) > 0,
           "what the spool has forgotten is missing");
    expect(result.acknowledged.at(static_cast<std::size_t>(Ack::Broker)) > 0 &&
               result.missing.at(static_cast<std::size_t>(Ack::Broker)) == 0,
           "and nothing of what did not rely on it");
}

TEST_MAIN()
