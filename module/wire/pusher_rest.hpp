// The REST API of the Pusher protocol: which endpoint a request is for, whether it is signed, what it asks, and the bodies
// that answer it. All bodies are JSON; success is always status 200.
//
// Thread     pure functions, any thread. The clock is the caller's.
// Ownership  results own their text, unless they are views as declared.
// Errors     RestError, to be sent as it is. Failures of OpenSSL are std::runtime_error.
// Order      parseTarget, then the app of its appId (404 "Unknown app", 403), verifySignature, then the endpoint's parser.
#pragma once

#include "wire/pusher_auth.hpp"
#include "wire/pusher_channel.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace realtime::pusher {

struct RestError {
    int status = 0;
    std::string message;
    std::string_view allow = {}; // of 405: the `Allow` header; a literal
};
// {"error":"…","code":<status>}
std::string errorBody(const RestError& error);

// --- target

enum class Endpoint : std::uint8_t {
    Events,               // POST /apps/{app}/events
    BatchEvents,          // POST /apps/{app}/batch_events
    Channels,             // GET  /apps/{app}/channels
    Channel,              // GET  /apps/{app}/channels/{name}
    ChannelUsers,         // GET  /apps/{app}/channels/{name}/users
    TerminateConnections, // POST /apps/{app}/users/{name}/terminate_connections
};

struct Parameter {
    std::string name; // percent-decoded, then lower-cased (ASCII)
    std::string value;
};

struct Target {
    Endpoint endpoint = Endpoint::Events;
    // Percent-decoded. Empty: python's terminate_connections, which leaves `/apps/{app}` out: the app is the one whose
    // key `auth_key` is.
    std::string appId;
    std::string name; // the channel or the user; percent-decoded, not checked

    std::string path;             // as it came, without the query
    std::size_t mounted = 0;      // where in `path` the endpoint's own path begins
    std::string queryText;        // as it came
    std::vector<Parameter> query; // in order, repeated ones too

    // The first of that name; null if there is none.
    const std::string* find(std::string_view lowerCaseName) const;
};

// `target` is the request line's, before nginx rewrote or decoded anything: `/prefix/apps/731/events?auth_key=…`. The
// endpoint's path is exactly what follows from `mounted` on, see pusher_path.hpp.
// 404: no such endpoint; 405: another method; 400: more than 100 parameters.
std::variant<Target, RestError> parseTarget(std::string_view method, std::string_view target,
                                            std::size_t mounted = 0);

// --- signature

inline constexpr std::int64_t TimestampTolerance = 600; // seconds; so much is too much

// Who signed the request, or why it is refused (401). `nowSeconds`: Unix time. Accepts what each SDK does: decoded or
// raw path, with or without the prefix, `+` for a space, PHP's arrays.
std::variant<const Credentials*, RestError> verifySignature(const Target& target, std::string_view method,
                                                            std::string_view body,
                                                            std::span<const Credentials> credentials,
                                                            std::int64_t nowSeconds);

// --- what is asked

// Attributes of channels.
struct Info {
    bool asked = false; // there was an `info`, maybe an empty one
    bool userCount = false;
    bool subscriptionCount = false;
    bool cache = false;
};

struct TriggerLimits {
    std::size_t maxDataBytes = 10240; // past it: 413
    std::size_t maxChannels = 100;
    std::size_t maxBatch = 10;
    std::size_t maxChannelBytes = MaxChannelBytes;
};

// One event, to be published on each of its channels. All is checked.
struct Trigger {
    std::string name;
    std::string data;
    std::vector<std::string> channels; // distinct, in order; just one in a batch
    std::string socketId;              // who is not to get it; empty: nobody. Perhaps not of our form.
    Info info;                         // names that are not known are left out
};

// POST events
std::variant<Trigger, RestError> parseTrigger(std::string_view body, const TriggerLimits& limits = {});
// POST batch_events. All or nothing; may be empty.
std::variant<std::vector<Trigger>, RestError> parseBatch(std::string_view body,
                                                         const TriggerLimits& limits = {});

// GET channels
struct ChannelsQuery {
    std::string prefix; // empty: all
    Info info;
};
std::variant<ChannelsQuery, RestError> parseChannelsQuery(const Target& target);

// GET channel: the attributes asked for apply to it. `#server-to-user-` channels are no business of the API: 400.
std::variant<Info, RestError> parseChannelQuery(const Target& target,
                                                std::size_t maxChannelBytes = MaxChannelBytes);
// GET users: is it a presence channel?
std::optional<RestError> checkUsersQuery(const Target& target, std::size_t maxChannelBytes = MaxChannelBytes);
// POST terminate_connections: is it an id that somebody can have? The body does not matter.
std::optional<RestError> checkTerminate(const Target& target);

// --- answers

struct Attributes {
    std::optional<std::uint64_t> userCount, subscriptionCount;
};
// What of both counts `info` asks for and the channel has.
Attributes select(const Info& info, const ChannelKind& kind, std::uint64_t userCount,
                  std::uint64_t subscriptionCount);

struct ChannelAttributes {
    std::string_view channel;
    Attributes attributes;
};

inline constexpr std::string_view EmptyBody = "{}"; // events and batch without info, terminate_connections

// {"channels":{"a":{…},"b":{}}}: the list of channels, and a trigger's answer if it asked for info.
std::string channelsBody(std::span<const ChannelAttributes> channels);

// {"batch":[{…},{}]}: as many as events, if one of them asked for info.
std::string batchBody(std::span<const Attributes> events);

struct CachedEvent {
    std::string_view data;
    std::uint64_t secondsLeft;
};
struct ChannelState {
    bool occupied = false;
    Attributes attributes;
    bool cacheAsked = false;
    std::optional<CachedEvent> cache; // null: nothing is cached
};
// {"occupied":true,"user_count":…,"subscription_count":…,"cache":{"data":"…","ttl":…}|null}
std::string channelBody(const ChannelState& state);

// {"users":[{"id":"…"}]}
std::string usersBody(std::span<const std::string_view> ids);

} // namespace realtime::pusher
