// A broker: the place that stores events, RabbitMQ or SQLite, behind a bounded queue and a thread of its own, so
// that a slow or absent one never blocks the event loop.
//
// Thread     the constructor, the destructor and every member function belong to the event loop. The thread runs
//            with all signals blocked and touches only the two queues, atomics, and its own connection; it never
//            logs, but hands notes to the event loop.
// Lifetime   create after fork, destroy before the process ends: stop() or the destructor stops taking, gives the
//            thread BrokerConfig::drain to store what is queued, then cuts its connection and joins, half a second
//            later at most. No state of the network can hold that up, since nothing on the thread waits for it; only
//            a disk on which the kernel itself hangs can (SQLite).
// Errors     the constructor throws std::runtime_error if the thread cannot start. Afterwards nothing throws.
// Memory     at most BrokerConfig::maxQueuedBytes of events (and one event's names), counted from offer() until they
//            are stored or spooled, the strings and a fixed cost for each event included; what is being read back
//            from the spool, twice Spool::MaxBatchBytes at most; and some 2 MB of small events to be filled again.
// Delivery   at least once while the process lives, with a spool whatever dies: what the broker did not confirm is sent
//            again after a reconnect, with the same message id, so that consumers can discard duplicates. In order,
//            but: an event that the broker refused or returned as unroutable is sent again later; and what was
//            spooled is sent in its own order beside what comes new, taking turns.
// Spool      an event is written there as soon as the broker is away, blocked, or owes every confirm for
//            BrokerLoop::StalledAfter; when its own confirm is late (StoredPatience if a completion waits for it,
//            else LogPatience); when memory is half full; and when the process stops. It is erased after its confirm.
#pragma once

#include "base/thread/note.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
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

// As RabbitMQ names it ("x-max-length"); integers and truth values are told from texts.
struct QueueArgument {
    std::string name;
    std::variant<std::string, std::int64_t, bool> value;
};

struct QueueConfig {
    std::string name = "realtime.events";
    std::string type = "classic"; // classic, quorum, stream
    std::vector<std::string> bindings{
        "#"};                  // headers exchange: "NAME:VALUE,...", all of which must match; "#": any
    std::string exchange = {}; // that it is bound to; empty: BrokerConfig::exchange
    std::vector<QueueArgument> arguments = {};
};

// Where events wait durably while the broker is away (broker/spool/spool.hpp).
struct SpoolConfig {
    std::string directory;               // absolute; empty: none
    std::uint64_t maxBytes = 1ULL << 30; // of events, this process's share
};

struct BrokerConfig {
    std::string name;
    std::vector<BrokerServer> servers;         // all of one kind (amqp and amqps may mix); failover in order
    ExchangeConfig exchange;                   // where events go if they do not say
    std::vector<ExchangeConfig> moreExchanges; // declared too
    std::vector<QueueConfig> queues;           // declared; empty: the operator made them
    std::string tlsCa, tlsCert, tlsKey;        // PEM files; tlsCert may hold the key too
    std::chrono::seconds heartbeat{20};
    std::chrono::milliseconds confirmTimeout{10'000}; // no confirm for so long: reconnect
    std::size_t maxQueuedBytes = 64 << 20;
    std::size_t maxQueuedEvents = 1 << 17;
    std::uint32_t window = 1024;            // unconfirmed messages in flight
    std::chrono::milliseconds drain{1'000}; // for the destructor
    std::string node;                       // header `node`: host name and the like
    SpoolConfig spool;
    bool cluster = false;    // nodes that share the exchange act as one: see broker/peer_feed.hpp
    std::string clusterNode; // this one's name; empty: one is made of `node`
};

// What a broker gets of one event (design 1.5).
struct BrokerEvent {
    std::string messageId, app, channel, event, contentType, data, routingKey, userId, socketId;
    std::string exchange; // empty: BrokerConfig::exchange
    std::string node;     // empty: BrokerConfig::node
    std::string worker;   // the slot of the worker that waits for its stream to hand it back; empty: none
    std::string life; // of its stream, as its publisher knows it; empty: it does not. Not kept in the spool
    std::int64_t timeMs = 0;
    std::uint64_t token = 0;   // not 0: a completion is wanted
    bool needsConfirm = false; // and only the broker's own confirm counts, not that the spool has it
};

enum class Offer {
    Queued,
    Full,        // the bound of the queue or of the spool is reached
    Unavailable, // SQLite: the last attempt to open or write it failed (disk full, read-only) and none has succeeded
    // since. AMQP: the spool failed in this way, and the broker is away too. Without a spool, an absent broker's
    // events wait in the queue up to its bound.
};

struct Completion {
    std::uint64_t token = 0;
    bool stored = false; // false: not by the time of shutdown, or its spool file was lost
};

// From good to bad.
enum class BrokerState : std::uint32_t { Up, Connecting, Blocked, Down };
const char* toString(BrokerState state);

struct BrokerStats {
    BrokerState state = BrokerState::Connecting;
    std::uint64_t queuedEvents = 0, queuedBytes = 0; // now, unconfirmed ones included
    std::uint64_t offered = 0, confirmed = 0, refused = 0;
    std::uint64_t failed = 0;                      // nacked or returned by the broker (they are sent again)
    std::uint64_t reconnects = 0;                  // times a lost connection was made again
    std::uint64_t spoolEvents = 0, spoolBytes = 0; // now, in this process's file
    bool spoolFailed = false;                      // it cannot be used now
};

class Link;
class LinkOwner;
using LinkFactory =
    std::function<std::unique_ptr<Link>(const BrokerConfig&, const BrokerServer&, LinkOwner&)>;

class Broker {
public:
    Broker(BrokerConfig config, LoopWakeUp& wakeUp);
    Broker(BrokerConfig config, LoopWakeUp& wakeUp,
           LinkFactory links); // another store than the servers' (tests)
    ~Broker();
    Broker(const Broker&) = delete;
    Broker& operator=(const Broker&) = delete;

    // Would offer() of an event with so many bytes of data be taken now? Asked before an event is broadcast, since one that
    // can be neither stored nor queued must not be. The event loop is the only one to fill the queue, so a yes holds for
    // the next event, whatever becomes of the store meanwhile.
    Offer admits(std::size_t bytes) const;
    // Could it ever, if nothing else waited?
    bool everAdmits(std::size_t bytes) const;
    [[nodiscard]] Offer offer(BrokerEvent event);
    // The same for many, without memory to be taken for each: next() is an event to be filled, every field of it, since
    // it may be one that was stored; offerNext(), after admits() has said yes, queues it (false: there is no place, which
    // cannot be). The thread sleeps on until rouse(), to be called after the last.
    BrokerEvent& next();
    [[nodiscard]] bool offerNext();
    void rouse();

    // To be told of an answer of admits() that kept an event from being offered: it is counted, and noted once until
    // events are taken again.
    void refused(Offer answer);

    // Appends what has come back since the last call; in the order of completion. Completions that nobody takes
    // count against maxQueuedEvents too. LoopWakeUp::wake() is called once for all that waits at a time: take both
    // after it.
    void takeCompletions(std::vector<Completion>& out);
    void takeNotes(std::vector<Note>& out);

    // Begins what stop() does without waiting, so that several brokers can drain at the same time.
    void beginStop();
    // What the destructor does, with the chance to take the last completions and notes afterwards. Blocks as said
    // above under Lifetime. Every event that a completion was wanted for and that is not stored completes with
    // `stored` false. Afterwards offers are Unavailable.
    void stop();

    BrokerStats stats() const;
    // The last error that takeNotes() has brought, until it is mended; else empty.
    const std::string& lastError() const;
    const BrokerConfig& config() const { return config_; }

private:
    struct Shared;
    void noteAdmitted();

    BrokerConfig config_;
    std::unique_ptr<Shared> shared_;
};

} // namespace realtime
