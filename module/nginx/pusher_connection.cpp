// realtime_pusher websocket: a client of the Pusher protocol. The protocol's words are in wire/pusher_*, what its
// channels do in all workers together is in pusher_channels.
#include "nginx/framed_connection.hpp"
#include "nginx/guard.hpp"
#include "nginx/handshake.hpp"
#include "nginx/rate_limit.hpp"
#include "nginx/request_context.hpp"
#include "nginx/response.hpp"
#include "nginx/str.hpp"
#include "nginx/takeover.hpp"
#include "nginx/worker.hpp"
#include "node/pusher_channels.hpp"

#include "wire/accept.hpp"
#include "wire/pusher_auth.hpp"
#include "wire/pusher_channel.hpp"
#include "wire/pusher_frame.hpp"
#include "wire/pusher_message.hpp"
#include "wire/pusher_path.hpp"
#include "wire/pusher_rest.hpp"
#include "wire/websocket.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

namespace realtime {

namespace {

constexpr std::string_view SubprotocolPrefix = "pusher-channels-protocol-";

using Kind = pusher::ClientMessage::Kind;

constexpr auto TooFast = pusher::code::ClientEventRejected;

// Why a connection is not to be: told after the upgrade, since clients make nothing of HTTP errors.
struct Refusal {
    std::uint16_t code;
    std::string_view message;
};

using User = HandoverRecord::User;

// What most connections do not need.
struct Extras {
    std::optional<User> user;
    std::map<std::string, std::string, std::less<>> members; // presence channel -> own user id
    RateLimit clientEvents;
    RateLimit publishes;
    RateLimit allPublishes;
};

class PusherConnection final : public FramedConnection, private AckWaiter {
public:
    PusherConnection(Endpoint& endpoint, ngx_http_request_t* r, const App* app, bool deflate)
        : FramedConnection(Encoding::Pusher, endpoint, r, deflate), app_(app)
    {
        setSkips(drawConnectionId());
        if (app_ != nullptr) {
            Worker::current()->countAppConnection(*app_, 1);
        }
    }

    PusherConnection(Endpoint& endpoint, ngx_connection_t* c, const App* app, bool deflate)
        : FramedConnection(Encoding::Pusher, endpoint, c, deflate), app_(app)
    {
        if (app_ != nullptr) {
            Worker::current()->countAppConnection(*app_, 1);
        }
    }

    ~PusherConnection() override
    {
        leaveHub();
        for (const auto& [token, ref] : awaited_) {
            Worker::current()->forgetAck(token);
        }
        if (app_ != nullptr) {
            Worker::current()->countAppConnection(*app_, -1);
        }
    }

    void welcome()
    {
        FrameBuilder text;
        pusher::appendConnectionEstablished(text, toString(skips()), app_->pusher.activitySeconds);
        send(text);
        if (app_->pusher.authorizeSeconds != 0) {
            authorizeBy_ = ngx_current_msec + ngx_msec_t{app_->pusher.authorizeSeconds} * 1000;
            Worker::current()->expectAuthorization(*this, authorizeBy_);
        }
    }

    void refuse(const Refusal& refusal)
    {
        FrameBuilder text;
        pusher::appendError(text, refusal.code, refusal.message);
        send(text);
        const FramePtr last = ws::encodeClose(refusal.code, refusal.message);
        if (refusal.code == pusher::code::Reconnect) {
            close(last);
        } else {
            closeAtOnce(last);
        }
    }

    void timeoutDue() override
    {
        Worker::current()->counters().add(Counter::TimedOut);
        refuse({pusher::code::PongTimeout, "Pong reply not received in time"});
    }

    void authorizationDue() override
    {
        if (authorizeBy_ != 0) {
            authorizeBy_ = 0;
            refuse({pusher::code::Unauthorized, "Connection not authorized within timeout."});
        }
    }

    void askToReconnect() override { refuse({pusher::code::Reconnect, "Please reconnect"}); }

    // --- moving to another worker ---

    // The answer of a broker comes to the worker that has asked.
    Movable movable() const override
    {
        Movable movable = app_ == nullptr ? Movable::Never : FramedConnection::movable();
        return movable == Movable::Now && !awaited_.empty() ? Movable::Later : movable;
    }

    void describe(HandoverRecord& record) override
    {
        FramedConnection::describe(record);
        record.kind = HandoverRecord::Kind::Pusher;
        record.app = app_->id;
        record.subscribes = subscribes_.save();
        if (authorizeBy_ != 0) {
            auto left = static_cast<ngx_msec_int_t>(authorizeBy_ - ngx_current_msec);
            record.authorizeMs = static_cast<std::uint32_t>(std::max<ngx_msec_int_t>(left, 1));
        }
        if (extras_ == nullptr) {
            return;
        }
        record.clientEvents = extras_->clientEvents.save();
        record.publishes = extras_->publishes.save();
        record.allPublishes = extras_->allPublishes.save();
        for (HandoverRecord::Channel& channel : record.channels) {
            if (auto member = extras_->members.find(channel.name); member != extras_->members.end()) {
                channel.memberId = member->second;
            }
        }
        record.user = extras_->user;
    }

    // The presence of a member moves as its subscription does: nobody sees it leave or join.
    bool resumed(const HandoverRecord::Channel& channel, const Subscription& subscription,
                 const SlotOwner& from) override
    {
        if (channel.memberId.empty()) {
            return true;
        }
        if (!channels().move(subscription, channel.memberId, from)) {
            return false;
        }
        extras().members[channel.name] = channel.memberId;
        return true;
    }

    void allResumed(const HandoverRecord& record) override
    {
        if (record.authorizeMs != 0) {
            authorizeBy_ = ngx_current_msec + record.authorizeMs;
            Worker::current()->expectAuthorization(*this, authorizeBy_);
        }
        subscribes_.restore(record.subscribes);
        if (record.clientEvents.ageMs != 0 || record.publishes.ageMs != 0 || record.allPublishes.ageMs != 0) {
            extras().clientEvents.restore(record.clientEvents);
            extras().publishes.restore(record.publishes);
            extras().allPublishes.restore(record.allPublishes);
        }
        if (!record.user) {
            return;
        }
        const User& user = extras().user.emplace(*record.user);
        if (user.watchPending || user.terminated) {
            Worker::current()->finishLater(*this);
        }
    }

    void turnAway(TurnAway why) override
    {
        if (why == TurnAway::NoSuchApp) {
            refuse({pusher::code::NoSuchApp, "Application does not exist"});
        } else {
            askToReconnect();
        }
    }

    void control(const LogRecord& record) override
    {
        if (extras_ == nullptr || !extras_->user) {
            return;
        }
        User& user = *extras_->user;
        user.terminated |= record.event == "terminate";
        user.watchPending |= record.event == "watch";
        Worker::current()->finishLater(*this);
    }

    bool isMember(std::string_view channel, std::string_view userId) const override
    {
        return memberIn(channel) == userId;
    }

    void finish() override
    {
        if (extras_ != nullptr && extras_->user && !closing()) {
            User& user = *extras_->user;
            if (user.terminated) {
                refuse({pusher::code::Unauthorized, "You got disconnected by the app."});
            } else if (user.watchPending) {
                user.watchPending = false;
                tellWatched();
                flush();
                return;
            }
        }
        Connection::finish();
    }

private:
    void send(FrameBuilder& text) { enqueue(ws::finishFrame(text, ws::Opcode::Text), 0); }

    void softError(std::string_view message, std::string_view channel = {},
                   std::optional<int> code = std::nullopt)
    {
        FrameBuilder text;
        pusher::appendError(text, code, message, channel);
        send(text);
    }

    FramePtr farewell(Why why) override
    {
        switch (why) {
        case Why::Slow:
        case Why::Gap:
            return ws::encodeClose(pusher::code::OverCapacity, "too slow");
        case Why::Busy:
            return ws::encodeClose(pusher::code::OverCapacity, "too many half messages");
        case Why::Restart:
            return ws::encodeClose(pusher::code::Reconnect, "Please reconnect");
        }
        return nullptr;
    }

    // --- messages ---

    Next message(ws::Opcode opcode, std::string_view payload) override
    {
        if (closing() || app_ == nullptr) {
            return Next::Continue;
        }
        if (opcode == ws::Opcode::Binary) {
            failWith(ws::close_code::Unsupported, "text messages only");
            return Next::Stop;
        }
        carryOut(pusher::parseClientMessage(payload));
        return Next::Continue;
    }

    void carryOut(const pusher::ClientMessage& message)
    {
        if (message.kind == Kind::Publish) {
            publish(message);
            return;
        }
        if (!message.error.empty()) {
            softError(message.error, message.kind == Kind::ClientEvent ? message.channel : std::string());
            return;
        }
        switch (message.kind) {
        case Kind::Subscribe:
            subscribe(message);
            break;
        case Kind::Unsubscribe:
            unsubscribe(message.channel);
            break;
        case Kind::Ping: {
            FrameBuilder text;
            pusher::appendPong(text);
            send(text);
            break;
        }
        case Kind::Pong:
            break;
        case Kind::SignIn:
            signIn(message);
            break;
        case Kind::ClientEvent:
            clientEvent(message);
            break;
        default:
            softError("Unsupported event");
            break;
        }
    }

    // --- subscribing ---

    PusherChannels& channels() { return Worker::current()->pusherChannels(); }

    Extras& extras()
    {
        if (extras_ == nullptr) {
            extras_ = std::make_unique<Extras>();
        }
        return *extras_;
    }

    const User* user() const { return extras_ != nullptr && extras_->user ? &*extras_->user : nullptr; }

    void refuseSubscription(std::string_view channel, std::string_view type, std::string_view error,
                            int status)
    {
        FrameBuilder text;
        pusher::appendSubscriptionError(text, channel, {type, error, status});
        send(text);
        FrameBuilder internal; // pusher-dotnet-client waits for this name; others ignore it
        pusher::appendInternalSubscriptionError(internal, channel, {type, error, status});
        send(internal);
    }

    const Rate& subscribeRate() { return endpoint().conf->subscribeRate; }

    // Who asks for what has a long answer may ask less often. It was admitted as one already.
    void chargeAnswer(std::size_t bytes) { subscribes_.charge(subscribeRate(), costOf(bytes) - 1); }

    void subscribe(const pusher::ClientMessage& message)
    {
        const std::string& channel = message.channel;
        if (!subscribes_.admit(subscribeRate())) {
            tooFast("subscription");
            refuseSubscription(channel, "LimitReached", "Too many subscriptions in a short time", TooFast);
            return;
        }
        pusher::NameCheck check = pusher::checkChannelName(channel);
        if (check != pusher::NameCheck::Ok) {
            bool tooLong = check == pusher::NameCheck::TooLong;
            refuseSubscription(channel, tooLong ? "LimitReached" : "InvalidChannel",
                               tooLong ? "The channel name is too long" : "The channel name is invalid",
                               tooLong ? 4009 : 400);
            return;
        }
        pusher::ChannelKind kind = pusher::classify(channel);
        if (kind.serverToUser) {
            subscribeToUser(channel);
            return;
        }
        std::optional<pusher::PresenceMember> member;
        if (kind.needsSignature() && !authorized(message, kind, member)) {
            return;
        }
        if (follows(app_->id, channel) != nullptr) {
            softError("Existing subscription to channel " + channel);
            return;
        }
        if (channelCount() >= app_->pusher.maxChannels) {
            refuseSubscription(channel, "LimitReached", "This connection has too many channels",
                               pusher::code::OverCapacity);
            return;
        }
        commit(message, kind, parseSince(message.since.value_or("")), member);
    }

    // Those that it has subscribed to: what stands for its user, or for others that it watches, begins with '#'.
    std::size_t channelCount() const
    {
        std::size_t count = 0;
        for (const Subscription* one = subscriptions(); one != nullptr; one = one->next) {
            count += one->channel->name.starts_with('#') ? 0 : 1;
        }
        return count;
    }

    bool authorized(const pusher::ClientMessage& message, const pusher::ChannelKind& kind,
                    std::optional<pusher::PresenceMember>& member)
    {
        if (message.channelDataUnusable) {
            refuseSubscription(message.channel, "AuthError", "channel_data must be a string", 401);
            return false;
        }
        auto result = pusher::verifyChannelAuth(app_->pusher.credentials, toString(skips()), message.channel,
                                                message.channelData, message.auth.value_or(""));
        if (result != pusher::AuthResult::Ok) {
            refuseSubscription(message.channel, "AuthError", pusher::describe(result), 401);
            return false;
        }
        if (!kind.presence) {
            return true;
        }
        pusher::PresenceLimits limits;
        limits.maxUserInfoBytes = app_->pusher.presenceInfoBytes;
        pusher::PresenceFault fault = pusher::PresenceFault::None;
        if (message.channelData && !message.channelData->empty()) {
            pusher::PresenceData data = pusher::parsePresenceData(*message.channelData, limits);
            fault = data.fault;
            member = std::move(data.member);
        } else if (const User* signedIn = user()) {
            member = pusher::PresenceMember{signedIn->id, signedIn->info.empty() ? "{}" : signedIn->info};
            fault = pusher::checkMember(*member, limits);
        } else {
            fault = pusher::PresenceFault::Malformed;
        }
        if (fault == pusher::PresenceFault::None) {
            return true;
        }
        bool limit = fault != pusher::PresenceFault::Malformed;
        refuseSubscription(message.channel, limit ? "LimitReached" : "AuthError", pusher::describe(fault),
                           limit ? 4301 : 401);
        return false;
    }

    void commit(const pusher::ClientMessage& message, const pusher::ChannelKind& kind, const Since& since,
                const std::optional<pusher::PresenceMember>& member)
    {
        Worker& worker = *Worker::current();
        std::string_view name = message.channel;
        JoinResult joined = worker.join(*this, *app_, {&name, 1}, since);
        if (joined.status != Joined::Ok) {
            refuseForLackOfRoom(name);
            return;
        }
        std::string data(pusher::NoData);
        if (member) {
            MemberJoined presence =
                channels().join(*app_, *joined.subscription, member->userId, member->userInfo);
            if (presence.status != MemberStatus::Ok) {
                worker.hub().leave(*this, *joined.subscription);
                if (presence.status == MemberStatus::LimitReached) {
                    refuseSubscription(name, "LimitReached", "The presence channel is full", 4100);
                } else {
                    refuseForLackOfRoom(name);
                }
                return;
            }
            if (since.kind == Since::Kind::Latest) { // else what came meanwhile is part of what is resumed
                Hub::startBehind(*joined.subscription, presence.lastOffset);
            }
            extras().members[message.channel] = member->userId;
            data = snapshot(presence.members);
            chargeAnswer(data.size());
        }

        FrameBuilder text;
        std::string start;
        std::optional<pusher::Resumed> resumed;
        if (message.since) {
            start =
                toString(MessageId{joined.subscription->channel->ref.epoch, joined.subscription->lastOffset});
            resumed = pusher::Resumed{joined.recovered, start};
        }
        pusher::appendSubscriptionSucceeded(text, name, data, resumed);
        send(text);
        // The last event is not to come before older ones that are to be replayed, nor again.
        bool knowsLast = since.kind == Since::Kind::After && joined.recovered;
        bool older = since.kind != Since::Kind::Latest && replaying();
        if (kind.cache && !knowsLast && !older) {
            sendCached(*joined.subscription);
        }
        if (kind.needsSignature()) {
            authorizeBy_ = 0;
        }
        channels().subscribed(*app_, *joined.subscription);
        worker.pump(*this);
    }

    // The one subscription: whoever has others keeps them.
    void refuseForLackOfRoom(std::string_view channel)
    {
        refuseSubscription(channel, "LimitReached", "The server has no room for this channel",
                           pusher::code::OverCapacity);
    }

    void refuseForNow() { refuse({pusher::code::OverCapacity, "Over capacity"}); }

    static std::string snapshot(const std::vector<Member>& members)
    {
        std::vector<pusher::PresenceEntry> entries;
        entries.reserve(members.size());
        for (const Member& member : members) {
            entries.push_back({member.userId, member.info});
        }
        return pusher::presenceData(entries);
    }

    void sendCached(const Subscription& subscription)
    {
        Worker& worker = *Worker::current();
        RecordArena arena;
        LogRecord record;
        FrameBuilder text;
        if (worker.readKept(subscription.channel->log, subscription.channel->ref, arena, record)) {
            pusher::appendEvent(text, {.event = record.event,
                                       .channel = record.channel,
                                       .data = record.data,
                                       .id = toString(record.id),
                                       .userId = {}});
            chargeAnswer(record.data.size());
        } else {
            pusher::appendCacheMiss(text, subscription.channel->name);
            channels().cacheMiss(*app_, subscription.channel->name);
        }
        send(text);
    }

    // Events for the user come from sign-in on; this only answers.
    void subscribeToUser(const std::string& channel)
    {
        User* signedIn = extras_ != nullptr && extras_->user ? &*extras_->user : nullptr;
        if (signedIn == nullptr || pusher::serverToUserId(channel) != signedIn->id) {
            refuseSubscription(channel, "AuthError", "Not signed in as this user", 401);
        } else if (std::exchange(signedIn->channelAsked, true)) {
            softError("Existing subscription to channel " + channel);
        } else {
            FrameBuilder text;
            pusher::appendSubscriptionSucceeded(text, channel);
            send(text);
        }
    }

    void unsubscribe(const std::string& channel)
    {
        if (channel.starts_with('#')) {
            return; // a user hears of what is for it as long as it is signed in
        }
        if (Subscription* subscription = follows(app_->id, channel)) {
            subscribes_.charge(subscribeRate(), 1); // never refused: the client takes it for granted
            leaveChannel(*subscription);
        }
    }

    void leaveChannel(Subscription& subscription)
    {
        std::string channel = subscription.channel->name;
        ChannelRef ref = subscription.channel->ref;
        std::uint32_t log = subscription.channel->log;
        // Before the subscription goes, since the channel's entry must not be another's yet.
        if (extras_ != nullptr) {
            if (auto member = extras_->members.find(channel); member != extras_->members.end()) {
                channels().leave(*app_, channel, ref, log, member->second);
                extras_->members.erase(member);
            }
        }
        std::uint32_t rest = Worker::current()->hub().leave(*this, subscription);
        channels().left(*app_, channel, ref, log, rest);
        if (rest == 0 && user() != nullptr && channel == PusherChannels::userChannel(user()->id)) {
            channels().userChanged(*app_, user()->id);
        }
    }

    void leaveHub() override
    {
        while (subscribed()) {
            leaveChannel(*const_cast<Subscription*>(subscriptions()));
        }
        Connection::leaveHub();
    }

    // --- users ---

    void signIn(const pusher::ClientMessage& message)
    {
        if (!subscribes_.admit(subscribeRate())) {
            tooFast("sign-in");
            softError("Too many sign-ins in a short time", {}, TooFast);
            return;
        }
        std::string userData = message.userData.value_or("");
        auto result = pusher::verifyUserAuth(app_->pusher.credentials, toString(skips()), userData,
                                             message.auth.value_or(""));
        if (result != pusher::AuthResult::Ok) {
            softError(pusher::describe(result), {}, pusher::code::Unauthorized);
            return;
        }
        pusher::UserData data = pusher::parseUserData(userData);
        if (!data.error.empty()) {
            softError(data.error, {}, pusher::code::Unauthorized);
            return;
        }
        if (const User* before = user(); before != nullptr && before->id != data.id) {
            softError("Already signed in as another user", {}, pusher::code::Unauthorized);
            return;
        }
        if (user() == nullptr && !becomeUser(data)) {
            refuseForNow();
            return;
        }
        authorizeBy_ = 0;
        FrameBuilder text;
        pusher::appendSigninSuccess(text, userData);
        send(text);
        if (data.watchlistTooLong && app_->pusher.watchlist) {
            softError("Watchlist too long, first 100 ids accepted", {}, pusher::code::WatchlistTooLong);
        }
        tellWatched(true);
    }

    bool becomeUser(const pusher::UserData& data)
    {
        Worker& worker = *Worker::current();
        std::string own = PusherChannels::userChannel(data.id);
        std::string_view name = own;
        JoinResult joined = worker.join(*this, *app_, {&name, 1}, {});
        if (joined.status != Joined::Ok) {
            return false;
        }
        User& signedIn = extras().user.emplace(User{});
        signedIn.id = data.id;
        signedIn.info = data.userInfo.value_or("");
        if (app_->pusher.watchlist) {
            for (const std::string& id : data.watchlist) {
                std::string watch = PusherChannels::watchChannel(id);
                std::string_view watchName = watch;
                if (worker.join(*this, *app_, {&watchName, 1}, {}).status == Joined::Ok) {
                    signedIn.watched.emplace(id, false);
                }
            }
        }
        if (joined.subscribers == 1) {
            channels().userChanged(*app_, data.id);
        }
        return true;
    }

    // Tells what has changed since it was told last; at first (`all`) how it stands with everybody.
    void tellWatched(bool all = false)
    {
        std::vector<std::string_view> online;
        std::vector<std::string_view> offline;
        for (auto& [id, told] : extras().user->watched) {
            bool now = channels().userConnections(*app_, id) > 0;
            if (all || now != told) {
                (now ? online : offline).push_back(id);
            }
            told = now;
        }
        FrameBuilder text;
        if (pusher::appendWatchlistEvents(text, online, offline)) {
            send(text);
        }
    }

    // --- publishing ---

    void clientEvent(const pusher::ClientMessage& message)
    {
        const std::string& channel = message.channel;
        if (!app_->pusher.clientEvents) {
            softError("The app does not have client messaging enabled.", channel,
                      pusher::code::ClientEventRejected);
            return;
        }
        if (!pusher::classify(channel).allowsClientEvents()) {
            softError("Client events are for private and presence channels", channel);
            return;
        }
        if (follows(app_->id, channel) == nullptr) {
            softError("Cannot broadcast client event (connection not subscribed to channel " + channel + ")",
                      channel);
            return;
        }
        if (!pusher::validEventName(message.event)) {
            softError("The event name is too long", channel);
            return;
        }
        if (message.data.size() > pusher::TriggerLimits{}.maxDataBytes) {
            softError("The data of a client event has at most 10240 bytes", channel);
            return;
        }
        if (!extras().clientEvents.admit({app_->pusher.clientEventsPerSecond})) {
            tooFast("client event");
            softError("Client event rate limit exceeded", channel, TooFast);
            return;
        }
        relay(message);
    }

    // Who this connection is in a presence channel; empty if it is not, or in another channel.
    std::string_view memberIn(std::string_view channel) const
    {
        if (extras_ == nullptr) {
            return {};
        }
        auto member = extras_->members.find(channel);
        return member == extras_->members.end() ? std::string_view() : std::string_view(member->second);
    }

    void relay(const pusher::ClientMessage& message)
    {
        std::string self = toString(skips());
        Publication publication;
        publication.channel = message.channel;
        publication.event = message.event;
        publication.data = message.data;
        publication.origin = self;
        publication.userId = memberIn(message.channel);
        publication.timeMs = Worker::nowMs();
        publication.flags = record_flag::Transient;
        publication.keyOwner = KeyOwner::Client;
        Worker& worker = *Worker::current();
        const PublishStatus status = worker.publish(*app_, publication).status;
        if (status != PublishStatus::Published) {
            const bool tooLarge = status == PublishStatus::TooLarge;
            worker.counters().add(tooLarge ? Counter::PublishInvalid : Counter::PublishRefused);
            softError(tooLarge ? "The event is larger than the zone or a broker can ever take"
                               : "The event could not be stored",
                      message.channel);
            return;
        }
        worker.counters().add(Counter::PublishedWebSocket);
        worker.counters().add(Counter::PublishedBytes, message.data.size());
        channels().clientEvent(*app_, message.channel, message.event, message.data, self, publication.userId);
    }

    void publishError(const pusher::ClientMessage& message, int code, std::string_view text)
    {
        FrameBuilder frame;
        pusher::appendPublishError(frame, message.ref, code, text);
        send(frame);
    }

    // realtime:publish (design 1.4), as the rule of the channel allows.
    void publish(const pusher::ClientMessage& message)
    {
        if (!message.error.empty()) {
            publishError(message, 400, message.error);
            return;
        }
        if (pusher::checkChannelName(message.channel) != pusher::NameCheck::Ok ||
            message.channel.starts_with('#')) {
            publishError(message, 400, "The channel name is invalid");
            return;
        }
        if (!pusher::validEventName(message.event) || pusher::clientEvent(message.event)) {
            publishError(message, 400, "The event name is invalid");
            return;
        }
        ChannelPolicy policy = app_->policyOf(message.channel);
        bool signedChannel = pusher::classify(message.channel).needsSignature();
        if (policy.rule == nullptr || !policy.rule->clientPublish ||
            (signedChannel && follows(app_->id, message.channel) == nullptr)) {
            publishError(message, 403, "Clients may not publish here");
            return;
        }
        if (!extras().publishes.admit(policy.rule->clientPublishRate) ||
            !admitPublish(extras().allPublishes, message.data.size())) {
            tooFast("event");
            publishError(message, 429, "Too many events");
            return;
        }
        Worker& worker = *Worker::current();
        std::uint64_t token = policy.brokers->empty() ? 0 : worker.expectAck(*this);
        Publication publication;
        publication.channel = message.channel;
        publication.event = message.event;
        publication.data = message.data;
        publication.userId = memberIn(message.channel);
        if (publication.userId.empty() && user() != nullptr) {
            publication.userId = user()->id;
        }
        publication.idempotencyKey = message.key;
        publication.keyOwner = KeyOwner::Client;
        publication.timeMs = Worker::nowMs();
        publication.token = token;
        Published published = worker.publish(*app_, publication);
        const bool repeated = published.status == PublishStatus::Repeated;
        if (published.status == PublishStatus::Reserved) {
            worker.forgetAck(token);
            publishError(message, 400, "The event name is reserved");
            return;
        }
        if (!repeated && published.status != PublishStatus::Published) {
            worker.forgetAck(token);
            const bool tooLarge = published.status == PublishStatus::TooLarge;
            worker.counters().add(tooLarge ? Counter::PublishInvalid : Counter::PublishRefused);
            publishError(message, tooLarge ? 413 : 503,
                         tooLarge ? "The event is larger than the zone or a broker can ever take"
                                  : "The event could not be stored");
            return;
        }
        worker.counters().add(repeated ? Counter::PublishRepeated : Counter::PublishedWebSocket);
        worker.counters().add(Counter::PublishedBytes, repeated ? 0 : message.data.size());
        std::string id = toString(published.id);
        if (token == 0) {
            acknowledge(message.ref, id);
        } else {
            awaited_.emplace(token, Awaited{message.ref, id, published.stores});
        }
    }

    void acknowledge(std::string_view ref, std::string_view id)
    {
        FrameBuilder text;
        pusher::appendAck(text, ref, id);
        send(text);
    }

    // AckWaiter: a stream has given an event of ours its id.
    void placed(std::uint64_t token, const MessageId& id, std::uint32_t) override
    {
        if (auto awaited = awaited_.find(token); awaited != awaited_.end()) {
            awaited->second.id = toString(id);
        }
    }

    // AckWaiter: a broker has stored an event of ours, or never will.
    void stored(std::uint64_t token, bool good) override
    {
        auto awaited = awaited_.find(token);
        if (awaited == awaited_.end() || (good && --awaited->second.stores > 0)) {
            return;
        }
        if (good) {
            acknowledge(awaited->second.ref, awaited->second.id);
        } else {
            FrameBuilder text;
            pusher::appendPublishError(text, awaited->second.ref, 502,
                                       "The event was broadcast, but not stored");
            send(text);
        }
        awaited_.erase(awaited);
        Worker::current()->forgetAck(token);
        flush();
    }

    struct Awaited {
        std::string ref;
        std::string id;
        std::uint32_t stores;
    };

    const App* app_;       // null: it is refused
    RateLimit subscribes_; // and unsubscribes, and sign-ins
    std::unique_ptr<Extras> extras_;
    std::map<std::uint64_t, Awaited> awaited_; // publishes that brokers have not stored yet, by token
    ngx_msec_t authorizeBy_ = 0;               // 0: it need not, or has
};

// --- the handshake ----------------------------------------------------------------------------------------------

// Of `/app/KEY` below what the location is mounted at.
std::string_view keyOf(ngx_http_request_t* r)
{
    const std::string_view uri = view(r->uri);
    const auto mounted = pusher::mountedAt(prefixOf(r), uri, {"app"});
    return mounted ? pusher::keyOfPath(uri.substr(*mounted)) : std::string_view();
}

const App* appOfKey(const MainConf& conf, std::string_view key)
{
    for (const auto& one : conf.apps) {
        if (pusher::findKey(one->app.pusher.credentials, key) != nullptr) {
            return &one->app;
        }
    }
    return nullptr;
}

bool protocolSupported(std::string_view text)
{
    int version = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
    return error == std::errc() && end == text.data() + text.size() && version >= 4 && version <= 7;
}

std::optional<Refusal> findRefusal(ngx_http_request_t* r, std::string_view key, const App* app)
{
    if (key.empty()) {
        return Refusal{pusher::code::PathNotFound, "Path not found"};
    }
    if (app == nullptr) {
        return Refusal{pusher::code::NoSuchApp, "Application does not exist"};
    }
    const PusherSettings& settings = app->pusher;
    if (settings.disabled) {
        return Refusal{pusher::code::AppDisabled, "Application disabled"};
    }
#if (NGX_HTTP_SSL)
    bool tls = r->connection->ssl != nullptr;
#else
    bool tls = false;
#endif
    if (settings.tlsOnly && !tls) {
        return Refusal{pusher::code::TlsOnly, "Application only accepts TLS connections"};
    }
    bool given = false;
    std::string_view protocol = queryArgument(r, "protocol", given);
    if (given && !protocolSupported(protocol)) {
        return Refusal{pusher::code::UnsupportedProtocol, "Unsupported protocol version"};
    }
    std::string_view origin = requestHeader(r, "origin");
    const std::vector<std::string>* origins = locConf(r).origins;
    if (origins == nullptr && !settings.origins.empty()) {
        origins = &settings.origins;
    }
    if (!origin.empty() && origins != nullptr && !originAllowed(*origins, origin)) {
        Worker::current()->counters().add(Counter::OriginRefused);
        return Refusal{pusher::code::Unauthorized, "Origin not allowed"};
    }
    if (settings.maxConnections != 0 && Worker::current()->appConnections(*app) >= settings.maxConnections) {
        return Refusal{pusher::code::OverQuota, "Account over quota"};
    }
    return std::nullopt;
}

std::string_view subprotocolOf(ngx_http_request_t* r)
{
    const std::string all = joinedHeader(r, "sec-websocket-protocol");
    std::string_view offered = all;
    while (auto one = nextListItem(offered)) {
        std::string_view rest = *one;
        if (takePrefix(rest, SubprotocolPrefix) && !rest.empty() &&
            std::all_of(rest.begin(), rest.end(), [](char c) { return c >= '0' && c <= '9'; })) {
            return view(copyTo(r->pool, *one));
        }
    }
    return {};
}

ngx_int_t openPusher(ngx_http_request_t* r)
{
    const LocConf& conf = locConf(r);
    Worker& worker = *Worker::current();
    if (r->method != NGX_HTTP_GET || r != r->main) {
        return refuseMethod(r, "GET");
    }
    ngx_int_t rc = discardBody(r);
    if (rc != NGX_OK) {
        return rc;
    }
    std::string_view key = keyOf(r);
    const App* app = appOfKey(worker.conf(), key);
    RequestContext& context = contextOf(r);
    context.transport = ngx_string("websocket");
    context.app = app == nullptr ? ngx_str_t ngx_null_string : borrow(app->id);

    if (!wantsWebSocket(r)) {
        return refuseUpgrade(r);
    }
    const Handshake handshake = checkHandshake(r);
    if (handshake.answered) {
        return *handshake.answered;
    }
    auto refusal = findRefusal(r, key, app);
    auto connection = std::make_unique<PusherConnection>(worker.endpointOf(conf), r, refusal ? nullptr : app,
                                                         !handshake.extension.empty());
    if (auto answered = sendSwitchingProtocols(r, subprotocolOf(r), handshake.extension)) {
        return *answered;
    }
    if (refusal) {
        ngx_str_t message = borrow(refusal->message);
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0, "realtime: Pusher client refused with %ui: %V",
                      static_cast<ngx_uint_t>(refusal->code), &message);
        connection->refuse(*refusal);
    } else {
        connection->welcome();
    }
    return Connection::detachAtTurnEnd(std::move(connection));
}

} // namespace

std::unique_ptr<FramedConnection> restorePusher(const HandoverRecord& record, Endpoint& endpoint,
                                                ngx_connection_t* c, const App* app)
{
    return std::make_unique<PusherConnection>(endpoint, c, app, record.deflate);
}

ngx_int_t pusherWebSocketHandler(ngx_http_request_t* r)
{
    return guard<ngx_int_t>(r->connection->log, NGX_HTTP_INTERNAL_SERVER_ERROR,
                            [&] { return openPusher(r); });
}

} // namespace realtime
