// Where the hub gets what the log no longer has: for channels whose history is a stream of a broker.
//
// Thread     the worker's event loop. ask() does not wait: the answer comes by Hub::supply() in a later turn.
#pragma once

#include "log/shared_log.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

namespace realtime {

struct HistoryRequest {
    static constexpr std::uint64_t ToTheLog = ~std::uint64_t{0};

    std::string_view app, channel;
    std::uint32_t log = 0;    // where the channel lives
    std::uint64_t stream = 0; // its identity
    std::uint64_t after = 0;  // offset; 0: from the beginning
    std::uint64_t until =
        0; // offset of the last that is wanted; ToTheLog: what the log does not have once it follows
    std::int64_t ageMs = 0; // older events are not wanted; 0: any
};

// The next part of an answer: some of the channel's events, oldest first.
struct HistoryPart {
    std::vector<LogRecord> records; // views and epochs as the caller has them; valid during the call
    std::uint64_t reached = 0;      // nothing up to this offset is left to come
    bool end = false;               // that was all
    bool lost = false;              // some behind `after` are gone, or cannot be had
};

class HistorySource {
public:
    // A ticket for Hub::supply(), called once with one part; 0: it cannot be asked now.
    virtual std::uint64_t ask(const HistoryRequest& request) = 0;
    // Nobody waits for it any more.
    virtual void forget(std::uint64_t ticket) = 0;

protected:
    ~HistorySource() = default;
};

} // namespace realtime
