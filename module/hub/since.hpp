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
        After,    // behind `ids`; none of them known: with a gap
    };
    static constexpr std::size_t MaxIds = 1024;
    static constexpr std::uint64_t BeyondAll = ~std::uint64_t{0}; // an offset that is too great for one

    Kind kind = Kind::Latest;
    // One id is enough for several channels of one zone, since the log has one order: it is a cut through all of
    // them. More ids, separated by commas, give each channel a start of its own. By epoch; of one epoch, the first given
    // comes first.
    std::vector<MessageId> ids;

    const MessageId* of(std::uint64_t epoch) const; // null: there is none
};

// "latest", "earliest", or ids separated by commas. Empty is Latest. Anything else is an id of another server's, or was
// never given out: After, without an id. EventSource repeats whatever it was told last, and gives up for ever if it is
// refused.
Since parseSince(std::string_view text);

} // namespace realtime
