// What one WebSocket connection is besides its descriptor, written down so that another worker can go on with it: of
// a later configuration, of another build even. Names and numbers, nothing that points into a process.
//
// Shape      magic, version, then fields in the order of the struct; integers little-endian, strings behind their
//            length. See handover_record.cpp.
// Errors     decodeHandover() takes nothing on trust: nullopt for anything that encodeHandover() of this version
//            would not have written.
#pragma once

#include "log/shared_log.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace realtime {

// Bump at any change of what the bytes mean: a worker only hands over to one that knows its words.
inline constexpr std::uint32_t HandoverVersion = 3;

// A connection whose record would be larger (much unsent, or half of a large message) is not handed over.
inline constexpr std::size_t MaxHandoverBytes = std::size_t{64} << 20;

struct HandoverRecord {
    enum class Kind : std::uint8_t { Raw, Json, Pusher };

    // Zones of the channels, by name, and the slot that the giving worker holds there.
    struct Zone {
        std::string name;
        std::uint32_t slot = 0;
        friend bool operator==(const Zone&, const Zone&) = default;
    };
    // A subscription: events up to `lastOffset` are delivered (or stand in `unsent`).
    struct Channel {
        std::string name;
        std::uint32_t zone = 0; // index in `zones`
        std::uint64_t epoch = 0;
        std::uint64_t lastOffset = 0;
        std::uint64_t historyUntil = 0; // up to there it is given history, see Hub::Position
        std::string memberId;           // presence: who it is there; empty: nobody
        friend bool operator==(const Channel&, const Channel&) = default;
    };
    // Who a Pusher connection has signed in as.
    struct User {
        std::string id;
        std::string info; // JSON; empty: none
        // Whom it watches, and whether it was told that they are online.
        std::map<std::string, bool, std::less<>> watched;
        bool channelAsked = false; // it has subscribed to its own channel by name
        bool watchPending = false; // somebody watched has come or gone
        bool terminated = false;
        friend bool operator==(const User&, const User&) = default;
    };
    // A token bucket: what is left (less than nothing, if it owes some), and how long ago that was.
    struct Rate {
        std::int64_t milliTokens = 0;
        std::uint32_t ageMs = 0; // 0: never used
        friend bool operator==(const Rate&, const Rate&) = default;
    };

    Kind kind = Kind::Raw;
    SlotOwner from; // its slot in the first zone; the process is the same in all
    std::string app;
    std::string location; // what identifies the endpoint in the configuration
    std::uint64_t connectionId = 0;
    std::uint32_t idleMs = 0; // since the client's last sign of life
    std::vector<Zone> zones;
    std::vector<Channel> channels; // oldest first
    std::string publishEvent;      // realtime_pubsub: the event's name
    bool deflate = false;          // permessage-deflate was negotiated
    std::string parser;            // ws::FrameParser::serialise()
    std::uint32_t partialMs = 0;   // since the first byte of what it holds
    std::string begun;             // the rest of a frame whose beginning is out
    std::string unsent;            // whole frames behind it
    std::uint32_t authorizeMs = 0; // Pusher: time left to authorize; 0: none needed
    Rate clientEvents;             // Pusher
    Rate publishes;                // of the channel's rule or the endpoint
    Rate allPublishes;             // of realtime_publish_rate
    Rate subscribes;               // of realtime_subscribe_rate
    Rate history;                  // of realtime_history_rate
    std::optional<User> user;

    friend bool operator==(const HandoverRecord&, const HandoverRecord&) = default;
};

std::string encodeHandover(const HandoverRecord& record);
std::optional<HandoverRecord> decodeHandover(std::string_view bytes);

} // namespace realtime
