// The only way in for an event, whoever publishes it: app -> channel rule -> log and brokers.
//
// Thread     the worker's event loop.
// Order      an event that a rule sends to brokers is first admitted by all of them, then broadcast, then queued:
//            what cannot be kept is not broadcast either.
// Streams    what a rule delivers by a stream (`deliver broker`) is only queued here; it is appended when the stream hands
//            it back, by relay().
// Repeats    one that asks for a completion (a token) is given to the brokers again, under the first one's id, since
//            the worker that took the first may have died in between. Consumers know it by its id.
#pragma once

#include "app/app.hpp"
#include "broker/broker.hpp"
#include "hub/hub.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace realtime {

// How long a cache channel keeps its last event.
inline constexpr std::int64_t KeptMs = std::int64_t{30} * 60 * 1000;

// Which way an event has come in. It decides on the names that it may bear.
enum class Door : std::uint8_t {
    Open,   // HTTP, WebSockets, clients, the dashboard
    Signed, // with the app's secret: may speak to the app's users
    Node,   // another one, which has let it in
};

// Limits (size, form of the name) are checked by the caller, who knows the words to refuse with.
struct Publication {
    std::string_view channel;
    std::string_view event; // empty: "message"
    std::string_view contentType;
    std::string_view data;
    std::string_view origin; // connection id of the publisher, skipped by delivery
    std::string_view userId;
    std::string_view idempotencyKey;
    KeyOwner keyOwner =
        KeyOwner::Publisher; // Client: what a subscriber sends, who may not touch a server's keys
    std::int64_t timeMs = 0;
    Door door = Door::Open;
    std::uint32_t flags = 0;   // record_flag
    std::uint64_t token = 0;   // not 0: each broker's completion is to come back with it
    bool needsConfirm = false; // and only when the broker itself has the event, not its spool
    // Of a stream: the token is for its handing it back; that of other brokers is not waited for.
    bool streamAlone = false;
    std::optional<std::uint64_t> number = {};        // relay(): it is this event of the channel's stream
    std::uint32_t publisherSlot = SharedLog::NoSlot; // relay(): the worker that waits for it
};

// May an event of this name go to that channel through its door? The one check of reserved names, which publish() and
// relay() make: nobody but the server speaks as the server.
bool mayPublish(const App& app, const Publication& publication);

enum class PublishStatus {
    Published,
    Reserved,     // the name of the channel or of the event, see mayPublish()
    Repeated,     // the idempotency key was seen; `id` is the first event's
    BrokerFull,   // a broker that the rule names has no room; nothing was broadcast
    BrokerAway,   // or cannot store anything now; nothing was broadcast
    TooLarge,     // for the zone, or for a broker's queue: it will never be taken, however often it is tried
    ChannelsFull, // no room in the zone for another channel of the app
};

struct Published {
    PublishStatus status = PublishStatus::Published;
    MessageId id;
    std::uint32_t subscribers = 0;
    std::uint32_t stores =
        0; // brokers that have taken it: so many completions come back, if there is a token
    // Not empty: it has no id yet, and nobody has been told; its stream will hand it back under this message id.
    std::string handBack;
    std::uint32_t log = 0; // where it will be then
};

// A broker of this worker and what it is called in the configuration.
struct NamedBroker {
    std::string name;
    std::unique_ptr<Broker> broker;
};

class Publisher {
public:
    Publisher(Hub& hub, const std::vector<NamedBroker>& brokers) : hub_(hub), brokers_(brokers) {}

    // The brokers' threads hear of it by Broker::rouse(), once for all that a turn of the event loop brings.
    Published publish(const App& app, const Publication& publication);
    // What another node has published and its brokers have got already: to the subscribers here. The key is the
    // peer's, see KeyOwner::Peer, or (if it says so) KeyOwner::PeerClient.
    Published relay(const App& app, const Publication& publication);
    // Else it is TooLarge.
    bool fits(const App& app, const Publication& publication) const;
    // Of an event of a stream: Peer or PeerClient.
    static KeyOwner ownerOf(std::string_view messageId);

private:
    bool fits(const App& app, const Publication& publication, const ChannelPolicy& policy) const;
    Published toStream(const App& app, const Publication& publication, const ChannelPolicy& policy);
    AppendResult append(const App& app, const Publication& publication, const ChannelPolicy& policy,
                        KeyOwner owner);
    Broker* find(std::string_view name) const;

    Hub& hub_;
    const std::vector<NamedBroker>& brokers_;
};

} // namespace realtime
