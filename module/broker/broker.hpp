// A broker: the place that stores events, RabbitMQ or SQLite, behind a bounded queue and a thread of its own, so
// that a slow or absent one never blocks the event loop.
//
// Thread     the constructor, the destructor and every member function belong to the event loop. The thread runs
//            with all signals blocked and touches only the two queues, atomics, and its own connection; it never
//            logs, but hands notes to the event loop.
// Lifetime   create after fork, destroy before the process ends: the destructor stops taking, gives the thread
//            Options::drain to store what is queued, then cuts its connection and joins.
// Errors     the constructor throws std::runtime_error if the thread cannot start. Afterwards nothing throws.
// Memory     at most Options::maxQueuedBytes of events, counted from offer() until they are stored.
// Delivery   in order and at least once while the process lives: what the broker did not confirm is sent again
//            after a reconnect, with the same message id, so that consumers can discard duplicates.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace realtime {

// One `server` line. For amqp(s): everything but the scheme as RFC 3986 and the AMQP URI specification say, user,
// password and vhost percent-decoded. For sqlite: `path` only.
struct BrokerServer {
    enum class Scheme { Amqp, Amqps, Sqlite };
    Scheme scheme = Scheme::Amqp;
    std::string host, user, password, vhost;
    std::uint16_t port = 0;
    std::string path;

    std::string display() const; // for logs and status: no user, no password
};

// Throws std::runtime_error with a sentence fit for `nginx -t` if the URL is not understood; never resolves names.
BrokerServer parseBrokerServer(std::string_view url);

struct ExchangeConfig {
    std::string name = "realtime";
    std::string type = "topic"; // topic, direct, fanout, headers
};

struct QueueConfig {
    std::string name = "realtime.events";
    std::string type = "classic"; // classic, quorum, stream
    std::vector<std::string> bindings{"#"};
};

struct BrokerConfig {
    std::string name;
    std::vector<BrokerServer> servers; // all of one kind (amqp and amqps may mix); failover in order
    ExchangeConfig exchange;
    std::vector<QueueConfig> queues; // declared; empty: the operator made them
    std::string tlsCa, tlsCert, tlsKey; // PEM files; tlsCert may hold the key too
    std::chrono::seconds heartbeat{20};
    std::chrono::milliseconds confirmTimeout{10'000}; // no confirm for so long: reconnect
    std::size_t maxQueuedBytes = 64 << 20;
    std::size_t maxQueuedEvents = 1 << 17;
    std::uint32_t window = 1024;                 // unconfirmed messages in flight
    std::chrono::milliseconds drain{2'000};      // for the destructor
    std::string node;                            // header `node`: host name and the like
};

// What a broker gets of one event (design 1.5).
struct BrokerEvent {
    std::string messageId, app, channel, event, contentType, data, routingKey, userId, socketId;
    std::int64_t timeMs = 0;
    std::uint64_t token = 0; // not 0: a completion is wanted
};

enum class Offer {
    Queued,
    Full,        // the queue's bound is reached
    Unavailable, // the store cannot take events now (disk full, read-only, never reachable) and nothing can hold them
};

struct Completion {
    std::uint64_t token = 0;
    bool stored = false; // false: refused for good (only at shutdown)
};

// For the error log: how bad, and a sentence. Repeats are counted and summarised by the thread, not repeated.
struct BrokerNote {
    enum class Level { Info, Notice, Warn, Error };
    Level level = Level::Info;
    std::string text;
};

enum class BrokerState : std::uint32_t { Connecting, Up, Blocked, Down };
const char* toString(BrokerState state);

struct BrokerStats {
    BrokerState state = BrokerState::Connecting;
    std::uint64_t queuedEvents = 0, queuedBytes = 0; // now, unconfirmed ones included
    std::uint64_t offered = 0, confirmed = 0, refused = 0;
    std::uint64_t failed = 0;   // nacked or returned by the broker (they are sent again)
    std::uint64_t reconnects = 0;
};

// How the thread tells the event loop that completions or notes wait. Called on the broker's thread.
class BrokerWakeUp {
public:
    virtual void wake() = 0;

protected:
    ~BrokerWakeUp() = default;
};

class Broker {
public:
    Broker(BrokerConfig config, BrokerWakeUp& wakeUp);
    ~Broker();
    Broker(const Broker&) = delete;
    Broker& operator=(const Broker&) = delete;

    // Would offer() of an event of so many bytes be taken now? Asked before an event is broadcast, since one that
    // can be neither stored nor queued must not be. The event loop is the only one to fill the queue, so a yes
    // holds until its next offer().
    Offer admits(std::size_t bytes) const;
    [[nodiscard]] Offer offer(BrokerEvent event);

    // Appends what has come back since the last call; in the order of completion.
    void takeCompletions(std::vector<Completion>& out);
    void takeNotes(std::vector<BrokerNote>& out);

    BrokerStats stats() const;
    const BrokerConfig& config() const { return config_; }

private:
    struct Shared;
    BrokerConfig config_;
    std::unique_ptr<Shared> shared_;
};

} // namespace realtime
