// A stream as a worker reads it: a thread that follows its end if it is told to, and looks back for what is asked.
//
// Thread     as Broker: the constructor, the destructor and every member function belong to the event loop, which never
//            waits but for the thread's end, half a second at most.
// Bounds     of what is followed, StreamLink::Prefetch messages wait to be taken; of what is asked for, MaxAsked answers of
//            PartEvents events or PartBytes bytes each.
#pragma once

#include "broker/amqp/stream_link.hpp"
#include "broker/broker.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace realtime {

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

    // Throws std::runtime_error if the thread cannot start. `wakeUp` is called on the thread, once for all that waits.
    StreamReader(BrokerConfig config, std::string queue, LoopWakeUp& wakeUp);
    ~StreamReader();
    StreamReader(const StreamReader&) = delete;
    StreamReader& operator=(const StreamReader&) = delete;

    // From there on; by number, once something was done(). If the stream is of a later life than this, or AnyLife: it is
    // Found, and not followed.
    static constexpr std::uint64_t AnyLife = ~std::uint64_t{0};
    void follow(const StreamStart& start, std::uint64_t life);
    void expect(std::uint64_t life); // from the next connection on
    void stopFollowing();
    std::unique_ptr<StreamEvent> take(); // null: there is none now
    // What was taken up to this receipt is done, and the next event is `number`.
    void done(std::uint64_t receipt, std::uint64_t number);

    // It is answered when the stream can be read, whenever that is. False: too many are under way.
    bool ask(StreamQuestion question);
    void takeAnswers(std::vector<StreamAnswer>& out);

    void takeNotes(std::vector<Note>& out);

private:
    class Loop;
    BrokerConfig config_;
    std::unique_ptr<Loop> loop_;
};

} // namespace realtime
