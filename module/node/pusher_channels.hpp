// What happens around a channel of the Pusher protocol when connections come and go: presence, subscription counts,
// webhooks. One a worker; in all workers together each change is told once.
//
// Thread     the event loop.
// Webhooks   are told of departures after Grace, and not at all if the channel or the user is back by then: a page that
//            is loaded anew leaves no trace. When presence events over WebSocket come: see PresenceAnnouncements.
// Crash      what a dead worker leaves is cleaned up by another, see reap().
#pragma once

#include "app/app.hpp"
#include "hub/hub.hpp"
#include "node/event_loop.hpp"
#include "node/presence_announcements.hpp"
#include "webhook/webhook_sender.hpp"

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace realtime {

class Node;

class PusherChannels final : private Reaper {
public:
    static constexpr Msec Grace = 3000;
    // A channel's count is told a little after it has changed, and not at all if nobody is left by then; then not again
    // for a pause, which is longer with more than ManySubscribers. So those who come and go fill no log.
    static constexpr Msec CountDelay = 50;
    static constexpr Msec CountPause = 1000;
    static constexpr std::uint32_t ManySubscribers = 100;
    static constexpr Msec LongCountPause = 5000;

    explicit PusherChannels(Node& node);
    ~PusherChannels();

    // A connection has subscribed, and is answered already; `left`: one has gone, and so many are left.
    void subscribed(const App& app, const Subscription& subscription);
    void left(const App& app, std::string_view channel, ChannelRef ref, std::uint32_t log,
              std::uint32_t subscribers);
    // A channel's last subscriber has gone, and was no client of the Pusher protocol.
    void channelVacated(std::string_view app, std::string_view channel) override;

    // Presence: what the subscription is to be answered with.
    MemberJoined join(const App& app, const Subscription& subscription, std::string_view userId,
                      std::string_view info);
    void leave(const App& app, std::string_view channel, ChannelRef ref, std::uint32_t index,
               std::string_view userId);

    // Takes one connection of a present user over from another worker. False: that one does not count it.
    bool move(const Subscription& subscription, std::string_view userId, const SlotOwner& from);

    void cacheMiss(const App& app, std::string_view channel);
    void clientEvent(const App& app, std::string_view channel, std::string_view event, std::string_view data,
                     std::string_view socketId, std::string_view userId);

    // A user's first connection has signed in, or the last one has gone: whoever watches it has a look.
    void userChanged(const App& app, std::string_view userId);
    // How many connections a user has signed in with.
    std::uint32_t userConnections(const App& app, std::string_view userId) const;

    // Closes the connections that a user has on this node.
    void terminate(const App& app, std::string_view userId);

    // Another node's subscribers or members of a channel have changed. The webhooks are that node's to send; here it is
    // only noted that they were told.
    void peerSubscribers(const App& app, std::string_view channel, std::uint32_t log,
                         const SharedLog::PeerChange& change);
    void peerMember(const App& app, std::uint32_t slot, std::uint32_t index, std::string_view channel,
                    ChannelRef ref, std::string_view userId, std::string_view info, bool present);
    // Another node is dead. `tells`: this one sends the webhooks about what was there only.
    void forgetPeer(std::string_view node, bool tells);

    // Cleans up after dead workers. Called now and then, as tick().
    void reap();
    void tick();

    const WebhookSender* webhooks() const { return sender_.get(); }
    void takeNotes(std::vector<Note>& out);
    void stop(); // tells the members and counts that wait, and sends what is queued, bounded

    static std::string userChannel(std::string_view userId);
    static std::string watchChannel(std::string_view userId);

private:
    struct Departure {
        Msec due;
        std::string app, channel, userId; // no user: the channel itself
        bool quiet;                       // another node sends the webhook
    };

    bool onMemberGone(std::string_view app, std::string_view channel, std::string_view userId,
                      NewRecord& announcement) override;
    void memberGone(std::string_view app, std::string_view channel, std::string_view userId) override;

    const App* appOf(std::string_view id) const;
    static bool hasWebhooks(const App& app) { return !app.pusher.webhooks.empty(); }
    void tell(const App& app, const pusher::WebhookEvent& event);
    void countChanged(const App& app, std::string_view channel, bool quiet = false);
    std::uint32_t announceCount(const App& app, std::string_view channel, bool quiet);
    void tellOccupied(const App& app, const LocalChannel& channel);
    void departLater(const App& app, std::string_view channel, std::string_view userId, bool quiet = false);
    void departDue();
    void depart(const Departure& departure);

    Node& node_;
    std::unique_ptr<WebhookSender> sender_;      // null: no app has webhooks
    std::deque<Departure> departures_;           // by `due`
    std::unique_ptr<EventLoop::Task> departing_; // runs while there are any
    // Channels whose count has changed, or was told a short time ago.
    struct Count {
        bool changed = true; // since it was told
        bool quiet = true;   // on other nodes only, which send the webhooks
    };
    using Counts = std::map<std::pair<std::string, std::string>, Count>; // by app and channel
    Counts counts_;
    // Each of them waits in one of these, whose times are all as long.
    struct CountQueue {
        Msec time;
        std::unique_ptr<EventLoop::Task> task;                   // runs while there are any
        std::deque<std::pair<Msec, Counts::iterator>> waiting{}; // since when
    };
    void countLater(CountQueue& queue, Counts::iterator count);
    void countDue(CountQueue& queue);
    CountQueue changed_, paused_, longPaused_;
    std::map<std::pair<std::string, std::string>, Msec> misses_;
    PresenceAnnouncements announcements_;
    bool adopted_ = false; // what was to be announced by workers that are dead
    bool quietReaping_ = false;
    std::optional<PresenceRecord> removal_; // what onMemberGone() hands out
};

} // namespace realtime
