// Channels whose rule says `deliver broker`: what is published there goes into a stream of RabbitMQ, and what the stream
// hands back goes into the log, in the stream's order and under its ids, which are the same on every node. What the log no
// longer has is read from the stream.
//
// Thread     the event loop.
// Who        every worker reads streams for its own subscribers' history; one at a time (SharedLog::lead()) follows the end
//            of each for all workers of the node.
// Publishers a worker that waits for an event to come back is woken with it (NewRecord::publisher) and looks it up by its
//            message id.
// Trust      as in a cluster: whoever may publish to the exchange may publish to these channels.
#pragma once

#include "app/app.hpp"
#include "app/publisher.hpp"
#include "broker/stream_reader.hpp"
#include "hub/history_source.hpp"
#include "hub/hub.hpp"
#include "node/event_loop.hpp"

#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace realtime {

class Node;

class OrderedChannels final : public HistorySource {
public:
    OrderedChannels(Node& node, const StreamReaderFactory& readers);
    ~OrderedChannels();

    bool any() const { return !streams_.empty(); }

    // Takes what has come. Called when a thread has said that there is something.
    void take();
    void tick(); // now and then
    void takeNotes(std::vector<Note>& out);

    // The event was queued: AckWaiter::placed() and one AckWaiter::stored() follow for the token, when it is in the log.
    void expect(const App& app, std::string_view channel, const Published& published, std::uint64_t token);
    void forgetToken(std::uint64_t token);
    // After the hub has read: tells those whose events have come back.
    void tellPublishers();

    std::uint64_t ask(const HistoryRequest& request) override;
    void forget(std::uint64_t ticket) override;

private:
    struct Stream {
        std::uint64_t identity = 0;
        const BrokerConfig* broker = nullptr;
        std::string queue;
        std::vector<std::uint32_t> logs; // that have channels of it
        std::unique_ptr<StreamReader> reader;
        std::uint64_t life = 0; // its event n is number life + n here
        StreamStart start;
        std::int64_t sinceMs = 0; // a log that has not begun wants what was published since
        enum class Renewal { None, WasEmpty, MadeAnew } renewal = Renewal::None; // with the next event
        bool follows = false;
        bool began = false;    // the next event is the first of a reading, from `start` on
        bool restarts = false; // another reading was asked for: not yet
    };
    struct Asked {
        Stream* stream = nullptr;
        std::string app, channel;
        std::uint64_t after = 0, until = 0; // as in HistoryRequest
        std::int64_t ageMs = 0;
        std::uint32_t log = 0;
        Msec since = 0;
        std::uint64_t life = 0;    // of the stream when it was sent
        std::uint64_t lastRaw = 0; // the stream's number of the last that is wanted
        bool lost = false;         // what is wanted begins with what is gone
        bool postponed = false;    // the hub knows that it takes long
    };
    enum class Sending { Sent, Nothing, Full }; // Nothing: there is nothing to be had
    struct Expected {
        std::string app, channel, messageId;
        std::uint32_t log = 0;
        std::uint64_t token = 0;
    };

    void openStreams(const StreamReaderFactory& readers);
    Stream* find(std::uint64_t identity);
    void lead();
    void letGo();
    void follow(Stream& stream);
    void takeEvents(Stream& stream);
    void settle(Stream& stream, std::unique_ptr<StreamEvent>& last);
    void found(Stream& stream, std::uint64_t life);
    void renew(Stream& stream, const IncomingMessage& first);
    void tear(const Stream& stream);
    bool handle(Stream& stream, const StreamEvent& event);
    bool begins(Stream& stream, const IncomingMessage& message);
    void beginEmpty(Stream& stream);
    void append(Stream& stream, const IncomingMessage& message);
    void answer(const StreamAnswer& answer);
    Sending send(std::uint64_t ticket, Asked& asked);
    void sendWaiting();
    void postpone();
    void fail(std::uint64_t ticket, bool lost);

    Node& node_;
    std::vector<std::unique_ptr<Stream>> streams_;
    std::unique_ptr<EventLoop::Task> more_; // takes the rest in the next turn of the event loop
    bool letGo_ = false;

    std::unordered_map<std::uint64_t, Asked> asked_;
    std::uint64_t lastTicket_ = 0;
    std::vector<std::uint64_t>
        waiting_; // tickets of those that wait until the log follows, or the reader has room

    std::list<Expected> expected_;
    std::unordered_map<std::uint64_t, std::list<Expected>::iterator> byToken_;
};

} // namespace realtime
