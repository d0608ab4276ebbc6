#include "node/ordered_channels.hpp"

#include "node/incoming.hpp"
#include "node/node.hpp"

#include "base/ascii.hpp"

#include <algorithm>
#include <set>
#include <unordered_set>

namespace realtime {

namespace {

constexpr std::size_t MostEvents = 256; // events
constexpr Msec SlowAfter = 1000;        // then subscribers hear of their other channels without it
constexpr std::int64_t ClocksMs = 2000; // RabbitMQ's may be so far ahead of ours
constexpr std::int64_t AheadMs =
    3'600'000; // the first event of no stream was published later than that from now

// Under which the log knows an event of a stream. Not one that a client can have sent: header values have no NUL.
std::string keyOf(std::string_view messageId)
{
    return messageId.empty() ? std::string() : std::string("stream").append(1, '\0').append(messageId);
}

} // namespace

OrderedChannels::OrderedChannels(Node& node, const StreamReaderFactory& readers)
    : node_(node), more_(node.loop().task([this] { take(); }))
{
    openStreams(readers);
    if (any()) {
        node_.hub().useHistory(*this);
    }
}

OrderedChannels::~OrderedChannels()
{
    letGo();
}

void OrderedChannels::openStreams(const StreamReaderFactory& readers)
{
    for (const App* app : node_.config().apps) {
        for (std::size_t i = 0; i < app->rules.size(); i++) {
            const auto& route = app->rules[i].stream;
            if (!route) {
                continue;
            }
            Stream* stream = find(route->identity);
            if (stream == nullptr) {
                auto made = std::make_unique<Stream>();
                made->identity = route->identity;
                made->queue = route->queue;
                for (const NamedBroker& one : node_.brokers()) { // of which one is it: resolveStreams()
                    made->broker = one.name == route->broker ? &one.broker->config() : made->broker;
                }
                made->reader = readers(*made->broker, route->queue, node_.threadEvents());
                streams_.push_back(std::move(made));
                stream = streams_.back().get();
            }
            const std::uint32_t log = app->ruleLogs[i];
            if (std::find(stream->logs.begin(), stream->logs.end(), log) == stream->logs.end()) {
                stream->logs.push_back(log);
            }
        }
    }
}

OrderedChannels::Stream* OrderedChannels::find(std::uint64_t identity)
{
    for (const auto& stream : streams_) {
        if (stream->identity == identity) {
            return stream.get();
        }
    }
    return nullptr;
}

// --- following ----------------------------------------------------------------------------------------------------

void OrderedChannels::tick()
{
    if (!any()) {
        return;
    }
    if (node_.loop().exiting()) {
        letGo(); // the next generation's workers take over at once
    } else {
        lead();
    }
    sendWaiting();
    postpone();
}

void OrderedChannels::lead()
{
    HubLog& log = node_.hub().log(0);
    const bool leads = log.slot != SharedLog::NoSlot && log.log.lead(log.slot);
    for (const auto& stream : streams_) {
        if (leads && !stream->follows) {
            follow(*stream);
        } else if (!leads && std::exchange(stream->follows, false)) {
            stream->reader->stopFollowing();
        }
    }
}

void OrderedChannels::letGo()
{
    if (letGo_) {
        return;
    }
    letGo_ = true;
    bool led = false;
    for (const auto& stream : streams_) {
        led |= stream->follows;
        if (std::exchange(stream->follows, false)) {
            stream->reader->stopFollowing();
        }
    }
    if (led) {
        node_.hub().log(0).log.giveUpLead(node_.hub().log(0).slot);
    }
}

// From where the log has stopped. A new one begins with what has been published since it is there; where that is, the last
// events tell.
void OrderedChannels::follow(Stream& stream)
{
    std::optional<std::uint64_t> from;
    stream.life = 0;
    stream.sinceMs = node_.now();
    for (std::uint32_t index : stream.logs) {
        SharedLog& log = node_.hub().log(index).log;
        if (const auto next = log.streamNext(stream.identity)) {
            from = std::min(from.value_or(*next), *next);
            stream.life = std::max(stream.life, log.streamLife(stream.identity));
        }
        stream.sinceMs = std::min(stream.sinceMs, log.streamSince(stream.identity, stream.sinceMs));
    }
    stream.follows = true;
    stream.renewal = Stream::Renewal::None;
    if (!from) {
        stream.reader->follow({StreamStart::Kind::Last, 0}, StreamReader::AnyLife);
        return;
    }
    const std::uint64_t number = *from - std::min(*from, stream.life);
    stream.reader->follow({StreamStart::Kind::Number, static_cast<std::int64_t>(number)}, stream.life);
}

void OrderedChannels::beginEmpty(Stream& stream)
{
    if (!stream.follows) {
        return;
    }
    for (std::uint32_t index : stream.logs) {
        SharedLog& log = node_.hub().log(index).log;
        if (!log.streamNext(stream.identity)) {
            log.beginStream(stream.identity, 0);
        }
    }
}

void OrderedChannels::take()
{
    for (const auto& stream : streams_) {
        takeEvents(*stream);
        std::vector<StreamAnswer> answers;
        stream->reader->takeAnswers(answers);
        for (const StreamAnswer& one : answers) {
            answer(one);
        }
    }
    sendWaiting();
}

// So many that the workers have read them before the log's ring comes around.
void OrderedChannels::takeEvents(Stream& stream)
{
    std::size_t room = ~std::size_t{0};
    for (std::uint32_t log : stream.logs) {
        room = std::min(room, node_.hub().log(log).log.maxRecordBytes());
    }
    std::unique_ptr<StreamEvent> last;
    std::size_t bytes = 0;
    for (std::size_t n = 0;; n++) {
        if (n == MostEvents || bytes >= room) {
            more_->inNextTurn();
            break;
        }
        auto event = stream.reader->take();
        if (event == nullptr) {
            break;
        }
        bytes += event->message.data.size();
        if (event->kind != StreamEvent::Kind::Event) {
            settle(stream, last);
        }
        if (handle(stream, *event)) {
            last = std::move(event);
        }
    }
    settle(stream, last);
}

// Now that it is in the log.
void OrderedChannels::settle(Stream& stream, std::unique_ptr<StreamEvent>& last)
{
    if (last == nullptr) {
        return;
    }
    const std::uint64_t next = last->message.number + 1;
    for (std::uint32_t log : stream.logs) {
        node_.hub().log(log).log.reachStream(stream.identity, stream.life + next);
    }
    stream.reader->done(last->receipt, next);
    last.reset();
}

// True: it is an event that is done with.
bool OrderedChannels::handle(Stream& stream, const StreamEvent& event)
{
    switch (event.kind) {
    case StreamEvent::Kind::Empty:
        beginEmpty(stream);
        return false;
    case StreamEvent::Kind::Found:
        found(stream, event.life);
        return false;
    case StreamEvent::Kind::Began:
        stream.began = true;
        stream.start = event.start;
        stream.restarts = false;
        return false;
    case StreamEvent::Kind::Event:
        break;
    }
    if (stream.restarts || (stream.began && !begins(stream, event.message))) {
        return false;
    }
    if (event.message.life > stream.life && event.message.life <= streamLifeOf(node_.now() + AheadMs)) {
        renew(stream, event.message); // others could see its first event, this node could not
    }
    append(stream, event.message);
    return true;
}

// It is not the stream that the log has followed, if it has followed one.
void OrderedChannels::found(Stream& stream, std::uint64_t life)
{
    std::optional<std::uint64_t> next;
    for (std::uint32_t index : stream.logs) {
        next = std::max(next, node_.hub().log(index).log.streamNext(stream.identity));
    }
    if (!next) {
        stream.life = life;
        stream.reader->follow({StreamStart::Kind::Last, 0}, life);
        return;
    }
    if (*next == stream.life) {
        stream.renewal = Stream::Renewal::WasEmpty;
        stream.life = life;
    } else {
        stream.renewal = Stream::Renewal::MadeAnew;
        stream.life = std::max(life, *next); // whatever the clocks say, ids grow
    }
    stream.reader->follow({StreamStart::Kind::Number, 0}, stream.life);
}

// The first event of a connection: is it the one that was asked for? False: it is not to be gone on with.
bool OrderedChannels::begins(Stream& stream, const IncomingMessage& message)
{
    const std::uint64_t number = message.number;
    const std::int64_t wantedMs = stream.sinceMs - ClocksMs;
    if (stream.start.kind == StreamStart::Kind::Last && message.timeMs + 1000 > wantedMs) {
        stream.restarts = true; // there may be more of them before
        stream.reader->follow({StreamStart::Kind::Time, wantedMs / 1000}, stream.life);
        return false;
    }
    stream.began = false;
    if (stream.renewal == Stream::Renewal::MadeAnew) {
        renew(stream, message);
        return true;
    }
    const bool byNumber = stream.start.kind == StreamStart::Kind::Number;
    const auto asked = static_cast<std::uint64_t>(stream.start.value);
    const bool lost = byNumber && number > asked;
    const bool wasEmpty = stream.renewal == Stream::Renewal::WasEmpty;
    stream.renewal = Stream::Renewal::None;
    for (std::uint32_t index : stream.logs) {
        SharedLog& log = node_.hub().log(index).log;
        if (lost || wasEmpty || !log.streamNext(stream.identity)) {
            log.beginStream(stream.identity, stream.life + number, stream.life);
        }
    }
    if (lost) {
        node_.loop().log({Note::Level::Warn, "the stream \"" + stream.queue + "\" has no events from " +
                                                 std::to_string(asked) + " to " + std::to_string(number - 1) +
                                                 " any more"});
        tear(stream);
    }
    return true;
}

// From this event on it is another stream.
void OrderedChannels::renew(Stream& stream, const IncomingMessage& first)
{
    if (stream.renewal == Stream::Renewal::None) {
        stream.life = first.life;
        stream.reader->expect(stream.life);
    }
    stream.renewal = Stream::Renewal::None;
    for (std::uint32_t index : stream.logs) {
        node_.hub().log(index).log.beginStream(stream.identity, stream.life + first.number, stream.life);
    }
    node_.loop().log(
        {Note::Level::Error,
         "the stream \"" + stream.queue +
             "\" was deleted and made anew: what it had is lost, subscribers are told of a gap"});
    tear(stream);
}

void OrderedChannels::tear(const Stream& stream)
{
    node_.tear([&](const App& app, std::string_view channel) {
        return app.policyOf(channel).stream.identity == stream.identity;
    });
}

void OrderedChannels::append(Stream& stream, const IncomingMessage& message)
{
    auto incoming = readIncoming(node_.config(), message);
    if (!incoming) {
        node_.counters().add(Counter::PeerIgnored);
        return;
    }
    if (incoming->app->policyOf(message.channel).stream.identity != stream.identity) {
        return; // of a channel that is not delivered by it
    }
    const std::string key = keyOf(message.messageId);
    Publication& publication = incoming->publication;
    publication.idempotencyKey = key;
    publication.keyOwner = Publisher::ownerOf(message.messageId);
    publication.timeMs = message.timeMs != 0 ? message.timeMs : node_.now();
    publication.number = stream.life + message.number;
    if (message.worker && message.node == stream.broker->node) {
        publication.publisherSlot = *message.worker;
    }
    node_.relay(*incoming->app, publication);
    node_.drainSoon(); // the publisher may be this one
}

// --- publishers -----------------------------------------------------------------------------------------------------

void OrderedChannels::expect(const App& app, std::string_view channel, const Published& published,
                             std::uint64_t token)
{
    expected_.push_back({app.id, std::string(channel), published.handBack, published.log, token});
    byToken_[token] = std::prev(expected_.end());
}

void OrderedChannels::forgetToken(std::uint64_t token)
{
    if (const auto found = byToken_.find(token); found != byToken_.end()) {
        expected_.erase(found->second);
        byToken_.erase(found);
    }
}

// In two steps: who is told may end others, which forgets their tokens.
void OrderedChannels::tellPublishers()
{
    std::vector<std::pair<std::uint64_t, AppendResult>> back;
    for (const Expected& one : expected_) {
        const std::string key = keyOf(one.messageId);
        NewRecord record;
        record.app = one.app;
        record.channel = one.channel;
        record.idempotencyKey = key;
        record.keyOwner = Publisher::ownerOf(one.messageId);
        record.timeMs = node_.now();
        if (const auto appended = node_.hub().log(one.log).log.appended(record)) {
            back.emplace_back(one.token, *appended);
        }
    }
    for (const auto& [token, appended] : back) {
        forgetToken(token);
        node_.handedBack(token, appended.id, appended.subscribers);
    }
}

// --- history --------------------------------------------------------------------------------------------------------

std::uint64_t OrderedChannels::ask(const HistoryRequest& request)
{
    Stream* stream = find(request.stream);
    if (stream == nullptr) {
        return 0;
    }
    Asked asked;
    asked.stream = stream;
    asked.app = request.app;
    asked.channel = request.channel;
    asked.after = request.after;
    asked.until = request.until;
    asked.ageMs = request.ageMs;
    asked.log = request.log;
    asked.since = node_.loop().ticks();
    const std::uint64_t ticket = ++lastTicket_;
    if (request.until == HistoryRequest::ToTheLog) {
        waiting_.push_back(ticket);
        more_->inNextTurn();
    } else {
        switch (send(ticket, asked)) {
        case Sending::Sent:
            break;
        case Sending::Nothing:
            return 0;
        case Sending::Full:
            waiting_.push_back(ticket);
        }
    }
    asked_.emplace(ticket, std::move(asked));
    return ticket;
}

void OrderedChannels::forget(std::uint64_t ticket)
{
    asked_.erase(ticket);
}

OrderedChannels::Sending OrderedChannels::send(std::uint64_t ticket, Asked& asked)
{
    asked.life = node_.hub().log(asked.log).log.streamLife(asked.stream->identity);
    const std::uint64_t first = streamNumber(asked.after) + 1; // 0: from the beginning
    asked.lost = asked.after >= streamOffset(0) && first < asked.life;
    if (asked.until < streamOffset(asked.life)) {
        return Sending::Nothing;
    }
    asked.lastRaw = streamNumber(asked.until) - asked.life;

    StreamQuestion question;
    question.ticket = ticket;
    question.app = asked.app;
    question.channel = asked.channel;
    question.until = asked.lastRaw;
    question.sinceMs = asked.ageMs != 0 ? node_.now() - asked.ageMs : 0;
    if (asked.after >= streamOffset(0)) {
        question.start = {StreamStart::Kind::Number,
                          static_cast<std::int64_t>(first - std::min(first, asked.life))};
    } else if (asked.ageMs != 0) {
        question.start = {StreamStart::Kind::Time, question.sinceMs / 1000};
    }
    return asked.stream->reader->ask(std::move(question)) ? Sending::Sent : Sending::Full;
}

// Those that were asked before the log had begun to follow, which may take as long as RabbitMQ is away, and those that the
// reader had no room for.
void OrderedChannels::sendWaiting()
{
    std::vector<std::pair<std::uint64_t, bool>> failed;
    std::erase_if(waiting_, [&](std::uint64_t ticket) {
        const auto found = asked_.find(ticket);
        if (found == asked_.end()) {
            return true; // who asked has left
        }
        Asked& asked = found->second;
        if (asked.until == HistoryRequest::ToTheLog) {
            const auto next = node_.hub().log(asked.log).log.streamNext(asked.stream->identity);
            if (!next) {
                return false;
            }
            asked.until = *next > 0 ? streamOffset(*next - 1) : 0;
        }
        if (asked.after >= asked.until) {
            failed.emplace_back(ticket, false);
            return true;
        }
        const Sending sending = send(ticket, asked);
        if (sending == Sending::Nothing) {
            failed.emplace_back(ticket, asked.lost);
        }
        return sending != Sending::Full;
    });
    for (const auto& [ticket, lost] : failed) {
        fail(ticket, lost);
    }
}

// A stream that has not answered for long: who waits for it need not wait with everything else. Postponing one question may
// bring the next one of its subscriber.
void OrderedChannels::postpone()
{
    std::unordered_set<const Stream*> slow;
    for (const auto& [ticket, asked] : asked_) {
        if (node_.loop().elapsed(asked.since, SlowAfter)) {
            slow.insert(asked.stream);
        }
    }
    std::vector<std::uint64_t> tickets;
    do {
        tickets.clear();
        for (auto& [ticket, asked] : asked_) {
            if (slow.contains(asked.stream) && !std::exchange(asked.postponed, true)) {
                tickets.push_back(ticket);
            }
        }
        for (const std::uint64_t ticket : tickets) {
            node_.hub().postpone(ticket, node_.now());
        }
    } while (!tickets.empty());
}

// There is nothing to be had. It is a gap only if something was, or may have been.
void OrderedChannels::fail(std::uint64_t ticket, bool lost)
{
    const auto found = asked_.find(ticket);
    if (found == asked_.end()) {
        return;
    }
    const Asked asked = std::move(found->second);
    asked_.erase(found);
    const auto next = node_.hub().log(asked.log).log.streamNext(asked.stream->identity);
    HistoryPart part;
    part.end = true;
    part.lost = lost || !next;
    part.reached = next ? streamOffset(*next) - 1 : 0;
    node_.hub().supply(ticket, part, node_.now());
}

void OrderedChannels::answer(const StreamAnswer& answer)
{
    const auto found = asked_.find(answer.ticket);
    if (found == asked_.end()) {
        return; // who asked has left
    }
    if (node_.hub().log(found->second.log).log.streamLife(found->second.stream->identity) !=
        found->second.life) {
        fail(answer.ticket, true); // it was made anew meanwhile
        return;
    }
    // The stream may have been made anew without the log's knowing it yet.
    const bool another =
        std::any_of(answer.events.begin(), answer.events.end(), [&](const IncomingMessage& message) {
            return message.life > found->second.life && message.life <= streamLifeOf(node_.now() + AheadMs);
        });
    if (another) {
        fail(answer.ticket, true);
        return;
    }
    const Asked asked = std::move(found->second);
    asked_.erase(found);

    HistoryPart part;
    std::set<std::string_view> seen; // what was sent twice is in the stream twice
    for (const IncomingMessage& message : answer.events) {
        auto incoming = readIncoming(node_.config(), message);
        if (!incoming || (!message.messageId.empty() && !seen.insert(message.messageId).second)) {
            continue;
        }
        const Publication& publication = incoming->publication;
        LogRecord record;
        record.id.offset = streamOffset(asked.life + message.number);
        record.timeMs = message.timeMs;
        record.flags = publication.flags;
        record.app = message.app;
        record.channel = publication.channel;
        record.event = publication.event;
        record.contentType = publication.contentType;
        record.data = publication.data;
        record.origin = publication.origin;
        record.userId = publication.userId;
        part.records.push_back(record);
    }
    part.reached = streamOffset(asked.life + answer.next) - 1;
    part.end = answer.next > asked.lastRaw;
    part.lost = answer.lost || asked.lost;
    node_.hub().supply(answer.ticket, part, node_.now());
}

void OrderedChannels::takeNotes(std::vector<Note>& out)
{
    for (const auto& stream : streams_) {
        stream->reader->takeNotes(out);
    }
}

} // namespace realtime
