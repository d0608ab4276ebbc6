// Where a subscriber wants to start: the value of `since` or of Last-Event-ID.
#pragma once

#include "base/message_id.hpp"

#include <optional>
#include <string_view>
#include <vector>

namespace realtime {

struct Since {
    enum class Kind {
        Latest,   // from now on
        Earliest, // with all the history there is
        After,    // behind `ids`
    };
    static constexpr std::size_t MaxIds = 32;

    Kind kind = Kind::Latest;
    // One id is enough for several channels of one zone, since the log has one order: it is a cut through all of
    // them. More ids, separated by commas, give each channel a start of its own.
    std::vector<MessageId> ids;
};

// "latest", "earliest", or ids separated by commas; nullopt for anything else. Empty is Latest.
std::optional<Since> parseSince(std::string_view text);

} // namespace realtime
