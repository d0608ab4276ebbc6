// The `channels` rules of an app: which names they match, and what they say about a channel.
//
// Built from the configuration before workers fork, immutable afterwards; used by the event loop.
#pragma once

#include "log/shared_log.hpp"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace realtime {

// What matched: numbered captures ($1 is numbered[1], [0] the whole name) and named ones. Views into the name.
struct Captures {
    std::vector<std::string_view> numbered;
    std::vector<std::pair<std::string_view, std::string_view>> named;
};

// `orders.*` or `~regex`. In a pattern each `*` matches any run of bytes, also an empty one or one with dots, as
// short as it can be; it is a numbered capture. Everything else stands for itself. The match is of the whole name.
// A regex is PCRE2 (UTF, as nginx's own), unanchored like everywhere in nginx.
class ChannelPattern {
public:
    // Throws std::runtime_error with the position and the reason, fit for `nginx -t`.
    explicit ChannelPattern(std::string_view text);
    ~ChannelPattern();
    ChannelPattern(ChannelPattern&&) noexcept;
    ChannelPattern& operator=(ChannelPattern&&) noexcept;

    bool match(std::string_view channel, Captures& captures) const; // bounded in time also for hostile names
    bool hasCapture(std::string_view nameOrNumber) const;
    const std::string& text() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// `orders.$1.${tenant}`: literals and captures, plus $channel, $app, $event. "$$" is a dollar sign.
class RoutingKey {
public:
    // Throws std::runtime_error if the template is malformed or names a capture that `pattern` (null: none) lacks.
    RoutingKey(std::string_view text, const ChannelPattern* pattern);
    std::string expand(std::string_view app, std::string_view channel, std::string_view event,
                       const Captures& captures) const;

private:
    struct Part {
        enum class Kind { Literal, Number, Name, App, Channel, Event } kind;
        std::string text;
        std::size_t number = 0;
    };
    std::vector<Part> parts_;
};

struct BrokerRoute {
    std::string broker;                   // its name
    std::optional<RoutingKey> routingKey; // none: the channel's name
    std::string exchange = {};            // empty: the broker's first
};

// A rate such as 50r/s or 30r/m: at most so many a second on average, and `burst` at one time.
struct Rate {
    double perSecond = 0; // 0: unlimited
    double burst = 0;     // 0: one second's worth, at least one
};
std::optional<Rate> parseRate(std::string_view text);

// A stream of a broker that gives a rule's channels their order, ids and history (`deliver broker`).
struct StreamRoute {
    std::string broker;         // its name
    std::string queue;          // of type stream
    std::uint64_t identity = 0; // the same on every node
};

struct ChannelRule {
    std::optional<ChannelPattern> pattern; // none: the app's defaults, which match everything
    std::optional<HistoryLimit> history;   // none: the default, 1000 messages of 5 minutes
    std::vector<BrokerRoute> brokers;
    bool brokersSet = false; // `broker` was said here: the app's own does not apply
    bool clientPublish = false;
    Rate clientPublishRate;
    std::string zone;                  // empty: the app's
    std::optional<StreamRoute> stream; // `deliver broker`, once names are resolved
};

// First match wins; null if none does. `captures` is cleared first.
const ChannelRule* findRule(const std::vector<ChannelRule>& rules, std::string_view channel,
                            Captures& captures);

// 1 to 200 bytes of UTF-8 without control characters (C0, DEL, C1).
bool validChannelName(std::string_view name);

} // namespace realtime
