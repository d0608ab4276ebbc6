// A stream (a queue that keeps what was read) as a worker reads it: its end is followed if it is told to, and what is asked for
// is looked up.
//
// Thread     the event loop, which never waits but for the end of the reader's own thread, half a second at most.
// Bounds     of what is followed, a bounded number of events waits to be taken; of what is asked for, MaxAsked answers of
//            PartEvents events or PartBytes bytes each.
#pragma once

#include "broker/broker.hpp"
#include "broker/incoming_message.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace realtime {

// Where to begin. Last: with the last chunk of events. At a time: with the first chunk that was stored then or later.
struct StreamStart {
    enum class Kind { First, Last, Number, Time } kind = Kind::First;
    std::int64_t value = 0; // Number: of the event. Time: Unix seconds
};

struct StreamEvent {
    enum class Kind {
        Event,
        Empty, // it has no events, so which one it is cannot be found yet
        Found, // it is of this `life`, not the one that was expected: say again from where on
        Began, // what follows is of a new reading that begins at `start`
    };
    Kind kind = Kind::Event;
    StreamStart start;      // Began
    std::uint64_t life = 0; // Found
    IncomingMessage message;
    std::uint64_t receipt = 0; // for done()
};

// A stream is known by the time of its first event, of which each publisher writes down what it knows, so that it is known
// when that event is gone. Lives grow faster than a stream does.
constexpr std::uint64_t streamLifeOf(std::int64_t firstEventMs)
{
    constexpr std::int64_t FirstDay = 1'577'836'800; // 2020
    constexpr unsigned EventsPerSecondBits = 15;     // on average over the life of a stream
    return firstEventMs / 1000 > FirstDay
               ? static_cast<std::uint64_t>(firstEventMs / 1000 - FirstDay) << EventsPerSecondBits
               : 0;
}

struct StreamQuestion {
    std::uint64_t ticket = 0;
    std::string app, channel;
    StreamStart start;        // of an event that is wanted, or might be
    std::uint64_t until = 0;  // number of the last event that is wanted
    std::int64_t sinceMs = 0; // older events are not wanted
};

struct StreamAnswer {
    std::uint64_t ticket = 0;
    std::vector<IncomingMessage> events; // of the channel, in order
    std::uint64_t next = 0;              // the first that was not looked at
    bool lost = false;                   // some that were wanted are not in the stream any more
};

class StreamReader {
public:
    static constexpr std::size_t MaxAsked = 4096;
    static constexpr std::size_t PartEvents = 256, PartBytes = std::size_t{64} << 10, PartLook = 16384;

    virtual ~StreamReader() = default;

    // From there on; by number, once something was done(). If the stream is of a later life than this, or AnyLife: it is
    // Found, and not followed.
    static constexpr std::uint64_t AnyLife = ~std::uint64_t{0};
    virtual void follow(const StreamStart& start, std::uint64_t life) = 0;
    virtual void expect(std::uint64_t life) = 0; // from the next connection on
    virtual void stopFollowing() = 0;
    virtual std::unique_ptr<StreamEvent> take() = 0; // null: there is none now
    // What was taken up to this receipt is done, and the next event is `number`.
    virtual void done(std::uint64_t receipt, std::uint64_t number) = 0;

    // It is answered when the stream can be read, whenever that is. False: too many are under way.
    virtual bool ask(StreamQuestion question) = 0;
    virtual void takeAnswers(std::vector<StreamAnswer>& out) = 0;

    virtual void takeNotes(std::vector<Note>& out) = 0;
};

// `wakeUp` is called on another thread, once for all that waits to be taken.
using StreamReaderFactory = std::function<std::unique_ptr<StreamReader>(
    const BrokerConfig& config, std::string queue, LoopWakeUp& wakeUp)>;

} // namespace realtime
