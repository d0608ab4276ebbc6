// How many events a second a broker stores, from offer to completion, and how that compares with a bare publisher.
//
//     broker_bench sqlite FILE [EVENTS] [BYTES]
//     broker_bench latency FILE [EVENTS]           1,000 events a second: how long until each is stored
//     broker_bench amqp URL [EVENTS] [BYTES] [classic|quorum]
//     broker_bench spool URL DIRECTORY [EVENTS] [BYTES] [classic|quorum]
//                                                  fills a spool while RabbitMQ is away, then drains it
//
// The bare publisher is a plain rabbitmq-c loop with confirms, the same window, the same exchange, queue and messages;
// the two take turns, seven times each, and in turns first, since RabbitMQ's own pace changes from second to second by
// a factor of two. Purge the queue before: its pace depends on the queue's length too.

#include "broker/amqp_codec.hpp"
#include "broker/broker.hpp"

#if __has_include(<rabbitmq-c/tcp_socket.h>)
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp_tcp_socket.h>
#endif

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>
#include <sys/time.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace realtime;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::size_t Window = 1'024;

double secondsSince(Clock::time_point start)
{
    return std::chrono::duration<double>(Clock::now() - start).count();
}

// The event loop's side: sleeps until the broker has something to tell.
class Waiter final : public BrokerWakeUp {
public:
    void wake() override
    {
        const std::lock_guard lock(mutex_);
        told_ = true;
        changed_.notify_one();
    }
    void wait()
    {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, std::chrono::milliseconds(1), [this] { return told_; });
        told_ = false;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool told_ = false;
};

BrokerEvent makeEvent(std::size_t number, std::size_t bytes)
{
    static const std::string run = std::to_string(getpid()) + "r" + std::to_string(time(nullptr));
    static std::size_t serial = 0;
    BrokerEvent event;
    event.messageId = run + "-" + std::to_string(++serial);
    event.app = "shop";
    event.channel = "orders." + std::to_string(number % 50);
    event.event = "message";
    event.contentType = "application/json";
    event.data.assign(bytes, 'x');
    event.routingKey = event.channel;
    event.timeMs = 1'700'000'000'000 + static_cast<std::int64_t>(number);
    event.token = number + 1;
    return event;
}

void printNotes(Broker& broker)
{
    std::vector<BrokerNote> notes;
    broker.takeNotes(notes);
    for (const auto& note : notes) {
        if (note.level >= BrokerNote::Level::Warn) {
            std::fprintf(stderr, "%s\n", note.text.c_str());
        }
    }
}

void awaitUp(Broker& broker)
{
    for (int i = 0; i < 10'000 && broker.stats().state != BrokerState::Up; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    printNotes(broker);
    if (broker.stats().state != BrokerState::Up) {
        throw std::runtime_error("the broker is not up after 10 s");
    }
}

// Events a second through offer() until the last completion.
double measureBroker(const BrokerConfig& config, std::size_t events, std::size_t bytes, bool up = true)
{
    Waiter waiter;
    Broker broker(config, waiter);
    if (up) {
        awaitUp(broker);
    }
    std::vector<Completion> done;
    done.reserve(events);
    const auto start = Clock::now();
    for (std::size_t offered = 0; done.size() < events;) {
        if (offered < events && broker.admits(bytes) == Offer::Queued) {
            if (broker.offer(makeEvent(offered, bytes)) == Offer::Queued) {
                ++offered;
            }
            if (offered % 64 != 0) {
                continue;
            }
        } else {
            waiter.wait();
        }
        broker.takeCompletions(done);
    }
    const double rate = static_cast<double>(events) / secondsSince(start);
    printNotes(broker);
    if (!std::all_of(done.begin(), done.end(), [](const Completion& c) { return c.stored; })) {
        throw std::runtime_error("not everything was stored");
    }
    return rate;
}

void measureLatency(const BrokerConfig& config, std::size_t events)
{
    Waiter waiter;
    Broker broker(config, waiter);
    awaitUp(broker);
    std::vector<Clock::time_point> offeredAt(events);
    std::vector<double> milliseconds;
    std::vector<Completion> done;
    const auto start = Clock::now();
    for (std::size_t offered = 0; milliseconds.size() < events;) {
        const auto now = Clock::now();
        if (offered < events && now >= start + std::chrono::milliseconds(offered)) {
            offeredAt[offered] = now;
            if (broker.offer(makeEvent(offered, 200)) != Offer::Queued) {
                throw std::runtime_error("an offer was refused");
            }
            ++offered;
            continue;
        }
        waiter.wait();
        done.clear();
        broker.takeCompletions(done);
        for (const auto& completion : done) {
            milliseconds.push_back(1'000 * secondsSince(offeredAt[completion.token - 1]));
        }
    }
    std::sort(milliseconds.begin(), milliseconds.end());
    const auto at = [&](double part) {
        return milliseconds[static_cast<std::size_t>(part * static_cast<double>(events - 1))];
    };
    std::printf("stored after: p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, most %.2f ms\n", at(0.5), at(0.99),
                at(0.999), milliseconds.back());
}

// --- the bare publisher -----------------------------------------------------------------------------------------

void check(const amqp_rpc_reply_t& reply, const char* what)
{
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) {
        throw std::runtime_error(std::string("bare publisher: ") + what + " failed");
    }
}

class BarePublisher {
public:
    explicit BarePublisher(const BrokerServer& server) : connection_(amqp_new_connection())
    {
        if (amqp_socket_open(amqp_tcp_socket_new(connection_), server.host.c_str(), server.port) !=
            AMQP_STATUS_OK) {
            throw std::runtime_error("bare publisher: cannot connect");
        }
        check(amqp_login(connection_, server.vhost.c_str(), 0, 131'072, 20, AMQP_SASL_METHOD_PLAIN,
                         server.user.c_str(), server.password.c_str()),
              "log-in");
        amqp_channel_open(connection_, 1);
        check(amqp_get_rpc_reply(connection_), "channel.open");
        amqp_confirm_select(connection_, 1);
        check(amqp_get_rpc_reply(connection_), "confirm.select");
    }
    ~BarePublisher() { amqp_destroy_connection(connection_); }
    BarePublisher(const BarePublisher&) = delete;
    BarePublisher& operator=(const BarePublisher&) = delete;

    double measure(const BrokerConfig& config, std::size_t events, std::size_t bytes)
    {
        const auto start = Clock::now();
        std::size_t sent = 0;
        confirmed_ = 0;
        for (; confirmed_ < events; amqp_maybe_release_buffers(connection_)) {
            while (sent < events && sent - confirmed_ < Window) {
                publish(config, makeEvent(sent, bytes));
                ++sent;
            }
            for (bool wait = true; pump(wait) && confirmed_ < events; wait = false) {
            }
        }
        base_ += events;
        return static_cast<double>(events) / secondsSince(start);
    }

private:
    void publish(const BrokerConfig& config, const BrokerEvent& event)
    {
        amqp_table_entry_t headers[2];
        const std::pair<const char*, const std::string*> texts[] = {{"channel", &event.channel},
                                                                    {"node", &config.node}};
        for (int i = 0; i < 2; ++i) {
            headers[i].key = amqp_cstring_bytes(texts[i].first);
            headers[i].value.kind = AMQP_FIELD_KIND_UTF8;
            headers[i].value.value.bytes = amqpBytes(*texts[i].second);
        }
        amqp_basic_properties_t properties{};
        properties._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG |
                            AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_APP_ID_FLAG |
                            AMQP_BASIC_TYPE_FLAG | AMQP_BASIC_HEADERS_FLAG;
        properties.content_type = amqpBytes(event.contentType);
        properties.delivery_mode = AMQP_DELIVERY_PERSISTENT;
        properties.message_id = amqpBytes(event.messageId);
        properties.timestamp = static_cast<std::uint64_t>(event.timeMs) / 1'000;
        properties.app_id = amqpBytes(event.app);
        properties.type = amqpBytes(event.event);
        properties.headers = {2, headers};
        if (amqp_basic_publish(connection_, 1, amqpBytes(config.exchange.name), amqpBytes(event.routingKey),
                               1, 0, &properties, amqpBytes(event.data)) != AMQP_STATUS_OK) {
            throw std::runtime_error("bare publisher: basic.publish failed");
        }
    }

    // One frame; false if there is none.
    bool pump(bool wait)
    {
        amqp_frame_t frame;
        timeval patience{wait ? 10 : 0, 0};
        const int status = amqp_simple_wait_frame_noblock(connection_, &frame, &patience);
        if (status == AMQP_STATUS_TIMEOUT && !wait) {
            return false;
        }
        if (status != AMQP_STATUS_OK || frame.frame_type != AMQP_FRAME_METHOD ||
            frame.payload.method.id != AMQP_BASIC_ACK_METHOD) {
            throw std::runtime_error("bare publisher: something other than a confirm came");
        }
        const auto& ack = *static_cast<amqp_basic_ack_t*>(frame.payload.method.decoded);
        // Good enough for one queue, whose confirms come in order.
        confirmed_ = std::max<std::size_t>(confirmed_, ack.delivery_tag - base_);
        return true;
    }

    amqp_connection_state_t connection_;
    std::size_t base_ = 0, confirmed_ = 0;
};

double median(std::vector<double> values)
{
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

void benchAmqp(BrokerConfig config, std::size_t events, std::size_t bytes)
{
    std::vector<double> ours, bare;
    for (int round = 0; round < 7; ++round) {
        for (const bool first : {true, false}) {
            if (first == (round % 2 == 0)) { // the very first declares exchange and queue
                ours.push_back(measureBroker(config, events, bytes));
            } else {
                bare.push_back(BarePublisher(config.servers[0]).measure(config, events, bytes));
            }
        }
        std::printf("amqp %s, %zu bytes: broker %.0f/s, bare rabbitmq-c %.0f/s\n",
                    config.queues[0].type.c_str(), bytes, ours.back(), bare.back());
    }
    std::printf("median: broker %.0f/s, bare %.0f/s, ratio %.2f\n", median(ours), median(bare),
                median(ours) / median(bare));
}

double measureFilling(BrokerConfig config, std::size_t events, std::size_t bytes)
{
    config.servers = {parseBrokerServer("amqp://127.0.0.1:1")}; // nobody listens there
    return measureBroker(config, events, bytes, false);
}

double measureDraining(const BrokerConfig& config, std::size_t events)
{
    Waiter waiter;
    Broker broker(config, waiter);
    awaitUp(broker);
    const auto start = Clock::now();
    while (broker.stats().confirmed < events) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    const double rate = static_cast<double>(events) / secondsSince(start);
    printNotes(broker);
    return rate;
}

void benchSpool(BrokerConfig config, std::size_t events, std::size_t bytes)
{
    measureBroker(config, 1, bytes); // declares exchange and queue
    const double filling = measureFilling(config, events, bytes);
    std::printf("spool, %zu bytes: filled with %zu events at %.0f/s\n", bytes, events, filling);
    const double draining = measureDraining(config, events);
    const double bare = BarePublisher(config.servers[0]).measure(config, events, bytes);
    std::printf("drained at %.0f/s, bare rabbitmq-c %.0f/s, ratio %.2f\n", draining, bare, draining / bare);
}

} // namespace

int main(int argc, char** argv)
try {
    const std::string mode = argc > 2 ? argv[1] : "";
    const auto number = [&](int at, std::size_t otherwise) {
        return argc > at ? std::strtoull(argv[at], nullptr, 10) : otherwise;
    };
    BrokerConfig config;
    config.name = "bench";
    config.node = "node1";
    config.window = Window;
    config.exchange.name = "bench";
    if (mode == "sqlite") {
        config.servers = {parseBrokerServer(std::string("sqlite:") + argv[2])};
        const auto events = number(3, 300'000), bytes = number(4, 200);
        std::printf("sqlite, %zu bytes: %.0f events/s\n", static_cast<std::size_t>(bytes),
                    measureBroker(config, events, bytes));
    } else if (mode == "latency") {
        config.servers = {parseBrokerServer(std::string("sqlite:") + argv[2])};
        measureLatency(config, number(3, 5'000));
    } else if (mode == "amqp") {
        config.servers = {parseBrokerServer(argv[2])};
        const std::string type = argc > 5 ? argv[5] : "classic";
        config.queues = {{"bench." + type, type, {"#"}}};
        config.exchange.name = "bench." + type;
        benchAmqp(config, number(3, 20'000), number(4, 200));
    } else if (mode == "spool" && argc > 3) {
        config.servers = {parseBrokerServer(argv[2])};
        const std::string type = argc > 6 ? argv[6] : "classic";
        config.exchange.name = "bench." + type;
        config.queues = {{config.exchange.name, type, {"#"}}};
        config.spool = {argv[3], 8ULL << 30};
        benchSpool(config, number(4, 1'000'000), number(5, 200));
    } else {
        std::fprintf(stderr, "usage: broker_bench sqlite|latency FILE ... | amqp|spool URL ...\n");
        return 2;
    }
    return 0;
} catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
