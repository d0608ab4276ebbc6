// What the nodes of a cluster tell each other: JSON, versioned. Pure functions, any thread.
//
//   {"v":1,"t":"beat"}                               I live
//   {"v":1,"t":"want"}                               tell me all that you have
//   {"v":1,"t":"state","round":N,"first":B,"last":B,"rows":[ROW…]}
//   {"v":1,"t":"terminate","app":"…","user":"…"}     close the user's connections
//
//   ROW: ["APP","CHANNEL",SUBSCRIBERS,[["USER","INFO"]…],["USER"…],KEPT?]
//
// A row says how many subscribers the node has of a channel, which users are there now, and which are not any more.
// INFO is JSON text in a string. KEPT is what a cache channel keeps: ["EVENT","DATA","CONTENT TYPE",AGE IN MS].
// Rounds tell all that the node has, from the message that is `first` to the one that is `last`: what was not mentioned is
// not there any more. Round 0 tells of changes only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace realtime::cluster {

inline constexpr std::size_t MaxMessageBytes = std::size_t{512} * 1024;
inline constexpr std::size_t MaxAppBytes = 64, MaxChannelBytes = 216;
inline constexpr std::size_t MaxMemberIdBytes = 512, MaxMemberInfoBytes = 8192;
inline constexpr std::size_t MaxRows = 8192; // and members of all its rows together

struct Kept {
    std::string event, data, contentType;
    std::int64_t ageMs = 0;
};

struct Row {
    std::string app, channel;
    std::uint32_t subscribers = 0;
    std::vector<std::pair<std::string, std::string>> present; // id, info
    std::vector<std::string> gone;
    std::optional<Kept> kept;
};

struct Message {
    enum class Type { Beat, Want, State, Terminate };
    Type type = Type::Beat;
    std::uint64_t round = 0; // State; 0: changes
    bool first = false, last = false;
    std::vector<Row> rows;
    std::string app, user; // Terminate
};

// Nothing if it is malformed, of another version or type, or beyond the bounds; names are checked for their length, and
// INFO for being JSON.
std::optional<Message> parse(std::string_view text);

std::string beat();
std::string want();
std::string terminate(std::string_view app, std::string_view user);
// One row's text, and a message of several of them, commas between.
std::string row(const Row& row);
std::string state(std::uint64_t round, bool first, bool last, std::string_view rows);

} // namespace realtime::cluster
