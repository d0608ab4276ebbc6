// This node among others (`cluster on`): what they publish comes to the subscribers here, and what they have of
// subscribers and members is part of all counts and lists.
//
// Thread     the event loop.
// Who        every worker has one. RabbitMQ hands what comes to one of them at a time (broker/amqp/peer_link.hpp); and one at a
//            time speaks for the node (SharedLog::lead()): it compares what the log says of the node with what it has
//            told, SweepPause apart, and tells the difference.
// Which      channels whose rule names the broker with `cluster on`; all other channels are this node's own.
// Death      the speaker says BeatPause apart that the node lives. A node from which nothing has come while MostSilence beats
//            of this one's own came back is dead. So a node that is cut off takes nobody for dead, and after it is
//            back, the others have as long as ever to be heard.
// Trust      whoever may publish to the broker's exchange may publish to these channels; what is malformed is ignored.
#pragma once

#include "app/app.hpp"
#include "broker/peer_feed.hpp"
#include "log/shared_log.hpp"
#include "node/event_loop.hpp"
#include "wire/cluster_message.hpp"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace realtime {

class Node;

class Cluster {
public:
    static constexpr Msec SweepPause = 100;
    static constexpr Msec BeatPause = 3000;
    static constexpr std::uint32_t MostSilence = 5; // beats

    Cluster(Node& node, const BrokerConfig& config, std::unique_ptr<PeerFeed> feed);
    ~Cluster();

    // Takes what has come from other nodes. Called when the thread has said that there is something.
    void take();
    void tick(); // now and then
    void takeNotes(std::vector<Note>& out) { feed_->takeNotes(out); }

    // On the other nodes.
    void terminate(const App& app, std::string_view userId);

private:
    // What the others were told of a channel, by its place in the directory.
    struct Told {
        std::uint64_t epoch = 0;
        bool covered = false;
        bool presence = false;
        std::uint32_t subscribers = 0, memberChanges = 0;
        std::string app, channel;
        std::set<std::string> members;
    };
    // What a node has mentioned in the round that it is telling.
    struct Round {
        std::uint64_t number = 0;
        std::set<std::string> mentioned; // APP NUL CHANNEL [NUL USER]
    };

    void handle(const PeerMessage& message);
    void relay(const PeerMessage& message);
    void opened(bool fresh);
    void tearAll();
    bool covers(const App& app, std::string_view channel) const;
    bool covers(const ChannelPolicy& policy) const;

    void hear(const PeerMessage& message);
    void takeState(const std::string& node, const cluster::Message& message);
    void takeRow(const std::string& node, const cluster::Row& row);
    void takeKept(const App& app, std::uint32_t index, const cluster::Row& row);
    void forgetUnmentioned(const std::string& node, const Round& round);
    void buryTheDead();
    bool firstOf(std::string_view but) const; // among the living nodes without `but`

    void speak();
    void sweep();
    void tellChannel(std::uint32_t index, Told& told, const SharedLog::LocalRow& row);
    void tellGone(std::uint32_t index, Told& told);
    bool readKept(std::uint32_t index, ChannelRef channel, cluster::Row& row);
    void add(const cluster::Row& row);
    void addPart(const cluster::Row& row);
    void flush(bool last);
    void startRound();
    void want();

    Node& node_;
    const BrokerConfig& config_;
    std::unique_ptr<PeerFeed> feed_;
    std::unique_ptr<EventLoop::Task> more_;  // takes the rest in the next turn of the event loop
    std::unique_ptr<EventLoop::Task> speak_; // while this worker leads
    bool letGo_ = false;

    std::map<std::string, Round> rounds_;
    Msec wantedAt_ = 0;
    bool wantedOnce_ = false;

    bool leads_ = false;
    std::vector<std::vector<Told>> told_; // by zone and place
    std::uint32_t sweepLog_ = 0, sweepFrom_ = 1;
    std::uint64_t round_ = 0; // the one being told; 0: changes only
    std::uint64_t lastRound_ = 0;
    bool roundFirst_ = false; // nothing of it was said yet
    bool roundDue_ = false;
    bool tellsKept_ = false;
    SharedLog::Asked heeded_;
    Msec roundAt_ = 0;
    Msec beatAt_ = 0;
    std::string rows_; // to be said
};

} // namespace realtime
