#include "node/cluster.hpp"

#include "node/incoming.hpp"
#include "node/node.hpp"
#include "node/pusher_channels.hpp"

#include "base/utf8.hpp"
#include "wire/pusher_channel.hpp"

#include <algorithm>

namespace realtime {

namespace {

constexpr std::size_t MostInTurn = 256;                   // messages
constexpr std::uint32_t SweepStep = 4096;                 // entries of a directory
constexpr std::size_t RowsBytes = std::size_t{48} * 1024; // of one message
constexpr std::size_t PartBytes =
    std::size_t{16} * 1024; // of members: a channel with more is told in several rows
constexpr std::size_t KeptBytes =
    std::size_t{32} * 1024; // larger events are not handed on to nodes that come later
constexpr Msec WantPause = 1000;
constexpr Msec RoundPause = 1000;

static_assert(cluster::MaxAppBytes == MaxAppBytes && cluster::MaxChannelBytes == MaxChannelBytes &&
              cluster::MaxMemberIdBytes == MaxMemberIdBytes &&
              cluster::MaxMemberInfoBytes == MaxMemberInfoBytes);
// JSON in a string doubles at the most, other text may become six times as long.
static_assert(RowsBytes + 2 * (PartBytes + MaxMemberInfoBytes) + 6 * (MaxMemberIdBytes + KeptBytes) <
              cluster::MaxMessageBytes);

// Not one that a client can have sent: header values have no NUL.
std::string peerKey(const PeerMessage& message)
{
    std::string key;
    if (!message.messageId.empty()) {
        key.append(message.node).append(1, '\0').append(message.messageId);
    }
    return key;
}

std::string mention(std::string_view app, std::string_view channel)
{
    return std::string(app).append(1, '\0').append(channel);
}

std::string mention(std::string_view app, std::string_view channel, std::string_view user)
{
    return mention(app, channel).append(1, '\0').append(user);
}

} // namespace

Cluster::Cluster(Node& node, const BrokerConfig& config, std::unique_ptr<PeerFeed> feed)
    : node_(node), config_(config), feed_(std::move(feed)), more_(node.loop().task([this] { take(); })),
      speak_(node.loop().task([this] { speak(); })), told_(node.hub().logCount())
{
}

Cluster::~Cluster()
{
    if (leads_) {
        node_.hub().log(0).log.giveUpLead(node_.hub().log(0).slot);
    }
}

bool Cluster::covers(const App& app, std::string_view channel) const
{
    return covers(app.policyOf(channel));
}

bool Cluster::covers(const ChannelPolicy& policy) const
{
    return std::any_of(policy.brokers->begin(), policy.brokers->end(),
                       [this](const BrokerRoute& route) { return route.broker == config_.name; });
}

void Cluster::take()
{
    std::vector<std::unique_ptr<PeerMessage>> messages;
    if (feed_->take(messages, MostInTurn)) {
        more_->inNextTurn();
    }
    std::uint64_t receipt = 0;
    for (const auto& message : messages) {
        handle(*message);
        receipt = message->receipt != 0 ? message->receipt : receipt;
    }
    if (receipt != 0) {
        feed_->done(receipt); // now that it is in the log
    }
}

void Cluster::tick()
{
    // The next generation's workers take over at once, rather than when the last client has left this one.
    HubLog& log = node_.hub().log(0);
    if (node_.loop().exiting() && !letGo_) {
        letGo_ = true;
        if (leads_) {
            leads_ = false;
            log.log.giveUpLead(log.slot);
        }
        feed_->stop();
    }
    if (!letGo_ && log.slot != SharedLog::NoSlot) {
        const bool led = std::exchange(leads_, log.log.lead(log.slot));
        if (leads_ && !led) {
            roundDue_ = true;
            want();
            speak_->after(SweepPause);
        }
        node_.counters().set(word(Gauge::ClusterNodes), leads_ ? log.log.peers().size() + 1 : 0);
    }
}

void Cluster::terminate(const App& app, std::string_view userId)
{
    feed_->say(cluster::terminate(app.id, userId));
}

void Cluster::handle(const PeerMessage& message)
{
    switch (message.kind) {
    case PeerMessage::Kind::Event:
        if (message.node != config_.node) {
            relay(message);
        }
        break;
    case PeerMessage::Kind::Control:
        hear(message);
        break;
    case PeerMessage::Kind::Opened:
        opened(message.fresh);
        break;
    case PeerMessage::Kind::Overflown:
        tearAll();
        break;
    }
}

// --- events -----------------------------------------------------------------------------------------------------

void Cluster::relay(const PeerMessage& message)
{
    auto incoming = readIncoming(node_.config(), message);
    if (!incoming || !covers(*incoming->app, message.channel)) {
        node_.counters().add(Counter::PeerIgnored);
        return;
    }
    if (incoming->app->ordered(message.channel)) {
        return; // its stream brings it
    }
    const std::string key = peerKey(message);
    incoming->publication.idempotencyKey = key;
    incoming->publication.timeMs = node_.now();
    switch (node_.relay(*incoming->app, incoming->publication).status) {
    case PublishStatus::Published:
        node_.counters().add(Counter::PeerReceived);
        break;
    case PublishStatus::Repeated:
        node_.counters().add(Counter::PeerRepeated);
        break;
    default:
        node_.counters().add(Counter::PeerIgnored);
        break;
    }
}

// --- gaps -------------------------------------------------------------------------------------------------------

void Cluster::opened(bool fresh)
{
    if (node_.hub().log(0).log.followSource(fresh, node_.now())) {
        node_.loop().log(
            {Note::Level::Warn,
             "cluster: the node's queue was gone: what other nodes published meanwhile is lost to "
             "this one's subscribers"});
        tearAll();
    }
    roundDue_ = true; // what was said before may be lost
    if (fresh || leads_) {
        want();
    }
}

// Nobody can say what is missing where: so wherever something may be.
void Cluster::tearAll()
{
    node_.tear([this](const App& app, std::string_view channel) {
        return covers(app, channel) && !app.ordered(channel);
    });
}

// --- hearing ----------------------------------------------------------------------------------------------------

void Cluster::hear(const PeerMessage& message)
{
    const std::string& node = message.node;
    auto parsed =
        node.empty() || !plainText(node, MaxPeerBytes) ? std::nullopt : cluster::parse(message.data);
    if (!parsed) {
        node_.counters().add(Counter::PeerIgnored);
        return;
    }
    if (node == config_.node) {
        if (parsed->type == cluster::Message::Type::Beat) {
            buryTheDead();
        }
        return;
    }
    bool fresh = false;
    const SharedLog& known = node_.hub().log(0).log;
    const std::uint32_t slot = node_.hub().log(0).log.claimPeer(node, fresh);
    if (slot == SharedLog::NoSlot) {
        node_.counters().add(Counter::PeerIgnored); // more nodes and workers than the zone has slots
        return;
    }
    node_.hub().log(0).log.hearPeer(slot);
    if (fresh) {
        node_.loop().log({Note::Level::Notice, "cluster: node \"" + node + "\" is there, " +
                                                   std::to_string(known.peers().size() + 1) + " in all"});
    }
    switch (parsed->type) {
    case cluster::Message::Type::Beat:
        break;
    case cluster::Message::Type::Want:
        node_.hub().log(0).log.askForRound(firstOf(node));
        break;
    case cluster::Message::Type::State:
        takeState(node, *parsed);
        break;
    case cluster::Message::Type::Terminate:
        if (const App* app = node_.config().app(parsed->app);
            app != nullptr && pusher::validUserId(parsed->user)) {
            node_.pusherChannels().terminate(*app, parsed->user);
        }
        break;
    }
    if (fresh && parsed->round == 0) {
        want(); // all that it has
    }
}

void Cluster::takeState(const std::string& node, const cluster::Message& message)
{
    Round& round = rounds_[node];
    if (message.first) {
        round = {message.round, {}};
    }
    const bool whole = message.round != 0 && round.number == message.round;
    if (message.round != 0 && !whole) {
        want(); // its beginning went to another worker
    }
    for (const cluster::Row& row : message.rows) {
        takeRow(node, row);
        if (whole) {
            round.mentioned.insert(mention(row.app, row.channel));
            for (const auto& [user, info] : row.present) {
                round.mentioned.insert(mention(row.app, row.channel, user));
            }
        }
    }
    if (message.last && whole) {
        forgetUnmentioned(node, round);
        rounds_.erase(node);
    }
}

void Cluster::takeRow(const std::string& node, const cluster::Row& row)
{
    const App* found = node_.config().app(row.app);
    const bool known =
        found != nullptr && (validChannelName(row.channel) || pusher::serverToUserId(row.channel));
    if (!known) {
        node_.counters().add(Counter::PeerIgnored);
        return;
    }
    const App& app = *found;
    const ChannelPolicy policy = app.policyOf(row.channel);
    if (!covers(policy)) {
        node_.counters().add(Counter::PeerIgnored);
        return;
    }
    HubLog& log = node_.hub().log(policy.log);
    bool fresh = false;
    const std::uint32_t slot = log.log.claimPeer(node, fresh);
    if (slot == SharedLog::NoSlot) {
        return;
    }
    PusherChannels& channels = node_.pusherChannels();
    // Members first if they go with the last subscriber: a channel without any may be given to another.
    const auto info = log.log.find(row.app, row.channel);
    for (const std::string& user : row.gone) {
        if (info) {
            channels.peerMember(app, slot, policy.log, row.channel, info->channel, user, {}, false);
        }
    }
    const auto change =
        log.log.setPeerSubscribers(slot, row.app, row.channel, row.subscribers, policy.stream, node_.now());
    if (!change) {
        node_.counters().add(Counter::PeerIgnored); // no room for the channel
        return;
    }
    channels.peerSubscribers(app, row.channel, policy.log, *change);
    if (row.subscribers > 0) {
        for (const auto& [user, data] : row.present) {
            channels.peerMember(app, slot, policy.log, row.channel, change->channel, user, data, true);
        }
    }
    if (row.kept) {
        takeKept(app, policy.log, row);
    }
}

// A cache channel's last event, from before this node was there. What came since is newer.
void Cluster::takeKept(const App& app, std::uint32_t index, const cluster::Row& row)
{
    const HubLog& log = node_.hub().log(index);
    const auto info = log.log.find(row.app, row.channel);
    if ((info && info->keptPosition != 0) || row.kept->ageMs >= Node::KeptMs ||
        !plainText(row.kept->event, 255) || !plainText(row.kept->contentType, 255)) {
        return;
    }
    Publication publication;
    publication.channel = row.channel;
    publication.event = row.kept->event;
    publication.contentType = row.kept->contentType;
    publication.data = row.kept->data;
    publication.door = Door::Node;
    publication.timeMs = node_.now() - row.kept->ageMs;
    node_.relay(app, publication);
}

void Cluster::forgetUnmentioned(const std::string& node, const Round& round)
{
    for (std::uint32_t i = 0; i < node_.hub().logCount(); i++) {
        const SharedLog& log = node_.hub().log(i).log;
        const std::uint32_t slot = log.findPeer(node);
        for (const auto& row :
             slot == SharedLog::NoSlot ? std::vector<SharedLog::PeerRow>() : log.peerRows(slot)) {
            const bool there = round.mentioned.contains(mention(row.app, row.channel));
            cluster::Row lost;
            lost.app = row.app;
            lost.channel = row.channel;
            for (const std::string& user : row.members) {
                if (!round.mentioned.contains(mention(row.app, row.channel, user))) {
                    lost.gone.push_back(user);
                }
            }
            if (!there || !lost.gone.empty()) {
                lost.subscribers = there ? row.subscribers : 0;
                takeRow(node, lost);
            }
        }
    }
}

// A beat of this node has come back, by the way that the others' come.
void Cluster::buryTheDead()
{
    for (const std::string& node : node_.hub().log(0).log.countBeat(MostSilence)) {
        node_.loop().log({Note::Level::Warn, "cluster: nothing was heard of node \"" + node + "\" for " +
                                                 std::to_string(MostSilence * BeatPause) +
                                                 "ms: its members are gone"});
        rounds_.erase(node);
        node_.pusherChannels().forgetPeer(node, firstOf(node));
    }
}

bool Cluster::firstOf(std::string_view but) const
{
    const auto peers = node_.hub().log(0).log.peers();
    return std::all_of(peers.begin(), peers.end(),
                       [&](const std::string& peer) { return peer == but || peer > config_.node; });
}

// --- speaking ---------------------------------------------------------------------------------------------------

void Cluster::want()
{
    if (!wantedOnce_ || node_.loop().elapsed(wantedAt_, WantPause)) {
        wantedOnce_ = true;
        wantedAt_ = node_.loop().ticks();
        feed_->say(cluster::want());
    }
}

void Cluster::speak()
{
    if (!leads_) {
        return;
    }
    speak_->after(SweepPause);
    if (!feed_->up()) {
        return;
    }
    if (node_.loop().elapsed(beatAt_, BeatPause)) {
        beatAt_ = node_.loop().ticks();
        feed_->say(cluster::beat());
    }
    sweep();
}

void Cluster::startRound()
{
    roundDue_ = false;
    roundAt_ = node_.loop().ticks();
    round_ = lastRound_ = std::max(lastRound_ + 1, static_cast<std::uint64_t>(node_.now()));
    roundFirst_ = true;
    sweepLog_ = 0;
    sweepFrom_ = 1;
}

void Cluster::sweep()
{
    const SharedLog::Asked asked = node_.hub().log(0).log.asked();
    if ((roundDue_ || asked.rounds != heeded_.rounds) && round_ == 0 &&
        node_.loop().elapsed(roundAt_, RoundPause)) {
        tellsKept_ = asked.kept != heeded_.kept;
        heeded_ = asked;
        startRound();
    }
    const SharedLog& log = node_.hub().log(sweepLog_).log;
    const auto rows = log.localRows(sweepFrom_, SweepStep);
    auto& told = told_[sweepLog_];
    if (told.size() < sweepFrom_ + rows.size()) {
        told.resize(sweepFrom_ + rows.size());
    }
    for (const auto& row : rows) {
        tellChannel(sweepLog_, told[row.channel.index], row);
    }
    sweepFrom_ += SweepStep;
    bool all = false;
    if (rows.size() < SweepStep) {
        sweepFrom_ = 1;
        sweepLog_ = (sweepLog_ + 1) % static_cast<std::uint32_t>(told_.size());
        all = sweepLog_ == 0;
    }
    if (!rows_.empty() || (round_ != 0 && all)) {
        flush(all);
    }
    if (all) {
        round_ = 0;
    }
}

// Its place is another channel's by now. It may have one elsewhere: then who is there has not gone, whichever place was
// looked at first.
void Cluster::tellGone(std::uint32_t index, Told& told)
{
    if (told.covered && (told.subscribers > 0 || !told.members.empty())) {
        const SharedLog& log = node_.hub().log(index).log;
        cluster::Row row;
        row.app = told.app;
        row.channel = told.channel;
        if (const auto elsewhere = log.find(told.app, told.channel)) {
            row.subscribers = log.localSubscribers(elsewhere->channel);
            for (const Member& member : log.localMembers(elsewhere->channel)) {
                told.members.erase(member.userId);
            }
        }
        row.gone.assign(told.members.begin(), told.members.end());
        add(row);
    }
    told = {};
}

void Cluster::tellChannel(std::uint32_t index, Told& told, const SharedLog::LocalRow& row)
{
    const SharedLog& log = node_.hub().log(index).log;
    if (told.epoch != row.channel.epoch) {
        tellGone(index, told);
    }
    if (row.subscribers == 0 && told.subscribers == 0 && told.members.empty() &&
        !(tellsKept_ && round_ != 0)) {
        return;
    }
    if (told.epoch == 0) {
        if (row.channel.epoch == 0 || !log.channelName(row.channel, told.app, told.channel)) {
            return;
        }
        const App* app = node_.config().app(told.app);
        told.epoch = row.channel.epoch;
        told.covered = app != nullptr && covers(*app, told.channel);
        told.presence = pusher::classify(told.channel).presence;
    }
    const bool changed = row.subscribers != told.subscribers || row.memberChanges != told.memberChanges;
    if (!told.covered || (!changed && round_ == 0)) {
        return;
    }
    cluster::Row out;
    out.app = told.app;
    out.channel = told.channel;
    out.subscribers = row.subscribers;
    const bool fewer = row.subscribers != told.subscribers;
    told.subscribers = row.subscribers;
    if (told.presence) {
        told.memberChanges = row.memberChanges;
        std::set<std::string> gone;
        gone.swap(told.members);
        for (Member& member : log.localMembers(row.channel)) {
            const bool known = gone.erase(member.userId) != 0;
            told.members.insert(member.userId);
            if (!known || round_ != 0) {
                out.present.emplace_back(std::move(member.userId), std::move(member.info));
            }
        }
        out.gone.assign(gone.begin(), gone.end());
    }
    const bool hasKept = tellsKept_ && round_ != 0 && readKept(index, row.channel, out);
    if (fewer || hasKept || (round_ != 0 && row.subscribers > 0) || !out.present.empty() ||
        !out.gone.empty()) {
        add(out);
    }
}

bool Cluster::readKept(std::uint32_t index, ChannelRef channel, cluster::Row& row)
{
    RecordArena arena;
    LogRecord record;
    if (!pusher::classify(row.channel).cache || !node_.readKept(index, channel, arena, record) ||
        record.data.size() > KeptBytes || !validUtf8(record.data)) {
        return false;
    }
    row.kept =
        cluster::Kept{std::string(record.event), std::string(record.data), std::string(record.contentType),
                      std::max<std::int64_t>(node_.now() - record.timeMs, 0)};
    return true;
}

void Cluster::add(const cluster::Row& row)
{
    cluster::Row part;
    part.app = row.app;
    part.channel = row.channel;
    part.subscribers = row.subscribers;
    std::size_t bytes = 0;
    const auto count = [&](std::size_t more) {
        bytes += more;
        if (bytes >= PartBytes) {
            addPart(part);
            part.present.clear();
            part.gone.clear();
            bytes = 0;
        }
    };
    for (const std::string& user : row.gone) {
        part.gone.push_back(user);
        count(user.size());
    }
    for (const auto& member : row.present) {
        part.present.push_back(member);
        count(member.first.size() + member.second.size());
    }
    part.kept = row.kept;
    addPart(part);
}

void Cluster::addPart(const cluster::Row& row)
{
    rows_ += rows_.empty() ? "" : ",";
    rows_ += cluster::row(row);
    if (rows_.size() >= RowsBytes) {
        flush(false);
    }
}

void Cluster::flush(bool last)
{
    const bool said = feed_->say(cluster::state(round_, std::exchange(roundFirst_, false), last, rows_));
    rows_.clear();
    roundDue_ |= !said; // all of it anew
}

} // namespace realtime
