// The hub over a real log in anonymous memory: who gets what, in which order, and once.
#include "hub/hub.hpp"
#include "log_testing.hpp"
#include "wire/envelope.hpp"

#include <random>

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

constexpr std::int64_t Now = 1'000'000;

struct NoWakeUp final : WakeUp {
    void wake(std::uint32_t) override {}
};

// A subscriber that keeps what it is sent. Long-poll's form: envelopes, each followed by a comma.
class Inbox final : public Subscriber {
public:
    explicit Inbox(Encoding encoding = Encoding::JsonList) : Subscriber(encoding) {}

    void enqueue(const FramePtr& frame, std::uint32_t count) override
    {
        waiting += frame->view();
        frames.push_back(frame);
        events += count;
    }
    void flush() override
    {
        flushes++;
        text += waiting;
        waiting.clear();
    }
    void cutOff(std::string_view) override { cuts++; }
    void control(const LogRecord& record) override { controls.emplace_back(record.event); }
    void hearNotOf(ConnectionId id) { setSkips(id); }
    bool isMember(std::string_view channel, std::string_view userId) const override
    {
        return channel == "room" && userId == user;
    }
    std::size_t historyAllowance() override { return allowance; }
    void historySent(std::size_t bytes) override
    {
        history += bytes;
        allowance -= std::min(bytes, allowance);
    }

    // "data" of each envelope, in order; "!" for a gap.
    std::string seen() const
    {
        std::string all;
        for (std::size_t at = 0; (at = text.find("{\"", at)) != std::string::npos; ++at) {
            const std::size_t data = text.find("\"data\":\"", at) + 8;
            const bool gap = text.compare(at, 24, "{\"event\":\"realtime:gap\",") == 0;
            all += gap ? "!" : text.substr(data, text.find('"', data) - data);
        }
        return all;
    }

    std::string waiting, text;
    std::vector<FramePtr> frames;
    std::vector<std::string> controls;
    std::string user; // who it is in the channel `room`
    std::size_t allowance = ~std::size_t{0}, history = 0;
    int flushes = 0, cuts = 0;
    std::uint32_t events = 0;
};

struct Stage {
    explicit Stage(std::size_t bytes = 4 << 20) : mapping(bytes), log(SharedLog::create(mapping.span(), {8}))
    {
        slot = log.claimSlot();
        hub = std::make_unique<Hub>(std::vector<HubLog>{{log, SharedLog::NoSlot, &wakeUp}});
        hub->openSlot(0, slot);
    }

    MessageId publish(std::string_view channel, std::string_view data, std::uint32_t flags = 0,
                      std::string_view origin = {}, std::string_view event = {})
    {
        NewRecord record;
        record.app = "app";
        record.channel = channel;
        record.data = data;
        record.timeMs = Now;
        record.flags = flags;
        record.origin = origin;
        record.event = event;
        return log.append(record, slot, wakeUp).id;
    }

    JoinResult join(Subscriber& subscriber, std::vector<std::string_view> channels,
                    std::string_view since = {}, HistoryLimit history = {})
    {
        std::vector<ChannelRequest> requests;
        for (std::string_view channel : channels) {
            requests.push_back({"app", channel, 0, history});
        }
        JoinResult result = hub->join(subscriber, requests, parseSince(since), Now);
        hub->pump(subscriber, Now);
        return result;
    }

    void drain()
    {
        for (int i = 0; i < 100 && hub->drain(); ++i) {
        }
    }

    SharedMapping mapping;
    SharedLog log;
    NoWakeUp wakeUp;
    std::uint32_t slot;
    std::unique_ptr<Hub> hub;
};

std::uint32_t subscribers(Stage& stage, std::string_view channel)
{
    auto info = stage.log.find("app", channel);
    return info ? info->subscribers : 0;
}

} // namespace

TEST(subscribers_of_a_channel_share_one_frame_and_are_flushed_once_a_turn)
{
    Stage stage;
    Inbox alice, bob, carol;
    stage.join(alice, {"room"});
    stage.join(bob, {"room"});
    stage.join(carol, {"other"});
    stage.publish("room", "a");
    stage.publish("room", "b");
    stage.publish("room", "c");
    stage.drain();
    assert_text_equal(alice.seen(), "abc");
    assert_text_equal(bob.seen(), "abc");
    assert_text_equal(carol.seen(), "");
    assert_int_equal(alice.flushes, 1);
    assert_int_equal(alice.events, 3);
    assert_int_equal(alice.frames.size(), 1);
    assert_true(alice.frames[0] == bob.frames[0]);
    assert_int_equal(stage.hub->stats().delivered, 6);
    for (Inbox* one : {&alice, &bob, &carol}) {
        stage.hub->leave(*one);
    }
}

TEST(what_was_published_before_the_subscription_is_not_delivered_even_if_it_was_not_drained)
{
    Stage stage;
    Inbox early, late;
    stage.join(early, {"room"});
    stage.publish("room", "a");
    stage.join(late, {"room"});
    stage.publish("room", "b");
    stage.drain();
    assert_text_equal(early.seen(), "ab");
    assert_text_equal(late.seen(), "b");
    stage.hub->leave(early);
    stage.hub->leave(late);
}

TEST(a_publisher_is_skipped_by_its_own_events_only)
{
    Stage stage;
    Inbox self, other;
    const ConnectionId id = *parseConnectionId("12.34");
    self.hearNotOf(id);
    stage.join(self, {"room"});
    stage.join(other, {"room"});
    stage.publish("room", "a");
    stage.publish("room", "b", 0, "12.34");
    stage.publish("room", "c", 0, "99.99");
    stage.drain();
    assert_text_equal(self.seen(), "ac");
    assert_text_equal(other.seen(), "abc");
    stage.hub->leave(self);
    stage.hub->leave(other);
}

TEST(nobody_is_told_that_it_has_come_or_gone_itself)
{
    Stage stage;
    Inbox alice, bob, both, elsewhere;
    alice.user = both.user = elsewhere.user = "alice";
    bob.user = "bob";
    stage.join(alice, {"room"});
    stage.join(bob, {"room"});
    stage.join(both, {"room", "other"});
    stage.join(elsewhere, {"other"});
    const auto tell = [&](const char* data, const char* user, const char* channel = "room") {
        NewRecord record = makeRecord(channel, data, Now);
        record.userId = user;
        record.flags = record_flag::Presence;
        stage.log.append(record, stage.slot, stage.wakeUp);
    };
    stage.publish("room", "1");
    tell("a", "alice");
    tell("b", "bob");
    stage.publish("room", "2");
    tell("c", "alice", "other"); // where it is somebody else
    stage.drain();
    assert_text_equal(alice.seen(), "1b2");
    assert_text_equal(bob.seen(), "1a2");
    assert_text_equal(both.seen(), "1b2c");
    assert_text_equal(elsewhere.seen(), "c");
    tell("d", "alice");
    stage.drain();
    assert_text_equal(alice.seen(), "1b2");
    assert_text_equal(bob.seen(), "1a2d");
    for (Inbox* one : {&alice, &bob, &both, &elsewhere}) {
        stage.hub->leave(*one);
    }
}

TEST(history_waits_for_its_allowance_and_live_events_for_the_history)
{
    Stage stage;
    std::string all;
    for (int i = 0; i < 500; ++i) {
        const std::string data(1000, static_cast<char>('a' + i % 26));
        all += data;
        stage.publish("room", data);
    }
    Inbox inbox;
    inbox.allowance = 0;
    stage.join(inbox, {"room"}, "earliest");
    assert_text_equal(inbox.seen(), "");
    assert_true(inbox.replaying());
    stage.publish("room", "live");
    stage.drain();
    assert_text_equal(inbox.seen(), "");
    std::size_t before = 0;
    int rounds = 0;
    while (inbox.replaying()) {
        inbox.allowance = 20'000;
        stage.hub->pump(inbox, Now);
        assert_true(inbox.history - before <= 20'000 + 1200); // the last one may be a little more
        before = inbox.history;
        assert_true(++rounds < 100);
    }
    assert_true(rounds > 25);
    assert_text_equal(inbox.seen(), all + "live");
    // What came since it subscribed is not history.
    assert_true(inbox.history > all.size());
    const std::size_t history = inbox.history;
    stage.publish("room", "more");
    stage.drain();
    assert_int_equal(inbox.history, history);
    stage.hub->leave(inbox);
}

TEST(who_follows_several_channels_sees_them_in_the_order_of_the_log)
{
    Stage stage;
    Inbox both, one;
    stage.join(both, {"x", "y"});
    stage.join(one, {"x"});
    for (const char* data : {"1", "3", "5"}) {
        stage.publish("x", data);
        stage.publish("y", std::string(1, static_cast<char>(data[0] + 1)));
    }
    stage.drain();
    assert_text_equal(both.seen(), "123456");
    assert_text_equal(one.seen(), "135");
    stage.hub->leave(both);
    stage.hub->leave(one);
}

TEST(channels_may_be_joined_and_left_one_by_one)
{
    Stage stage;
    Inbox inbox;
    stage.join(inbox, {"x"});
    stage.join(inbox, {"y"});
    stage.join(inbox, {"z", "x"}); // x counts once
    assert_int_equal(subscribers(stage, "x"), 1);
    stage.publish("x", "1");
    stage.publish("y", "2");
    stage.publish("z", "3");
    stage.drain();
    assert_text_equal(inbox.seen(), "123");
    assert_int_equal(stage.hub->leave(inbox, *inbox.follows("app", "y")), 0);
    assert_int_equal(subscribers(stage, "y"), 0);
    assert_int_equal(stage.hub->leave(inbox, *inbox.follows("app", "z")), 0);
    stage.publish("x", "4");
    stage.publish("y", "5");
    stage.publish("x", "6");
    stage.drain();
    assert_text_equal(inbox.seen(), "12346");
    stage.hub->leave(inbox);
    assert_false(inbox.subscribed());
    assert_int_equal(subscribers(stage, "x"), 0);
    assert_int_equal(stage.hub->stats().channels, 0);
}

TEST(since_an_id_brings_what_came_after_it_and_then_goes_on_live)
{
    Stage stage;
    Inbox inbox;
    stage.publish("room", "a");
    const MessageId id = stage.publish("room", "b");
    stage.publish("room", "c");
    stage.publish("room", "d");
    assert_true(stage.join(inbox, {"room"}, toString(id)).recovered);
    stage.publish("room", "e");
    stage.drain();
    assert_text_equal(inbox.seen(), "cde");
    stage.hub->leave(inbox);
}

TEST(one_id_is_a_cut_through_all_channels_of_the_zone)
{
    Stage stage;
    Inbox inbox;
    stage.publish("x", "1");
    stage.publish("y", "2");
    const MessageId cut = stage.publish("x", "3");
    stage.publish("y", "4");
    stage.publish("x", "5");
    assert_true(stage.join(inbox, {"x", "y"}, toString(cut)).recovered);
    assert_text_equal(inbox.seen(), "45");
    stage.hub->leave(inbox);
}

TEST(earliest_brings_the_history_that_the_limit_allows_and_announces_nothing)
{
    Stage stage;
    Inbox inbox;
    for (const char* data : {"a", "b", "c", "d"}) {
        stage.publish("room", data);
    }
    assert_true(stage.join(inbox, {"room"}, "earliest", {2, 0}).recovered);
    assert_text_equal(inbox.seen(), "cd");
    stage.hub->leave(inbox);
}

TEST(a_gap_that_history_cannot_fill_is_announced_before_what_it_has)
{
    Stage stage;
    Inbox limited, none, foreign, future;
    const MessageId first = stage.publish("room", "a");
    for (const char* data : {"b", "c", "d"}) {
        stage.publish("room", data);
    }
    assert_false(stage.join(limited, {"room"}, toString(first), {2, 0}).recovered);
    assert_text_equal(limited.seen(), "!cd");
    stage.join(none, {"room"}, toString(first), {0, 0});
    assert_text_equal(none.seen(), "!");
    stage.join(foreign, {"room"}, toString(MessageId{first.epoch + 1, 1}));
    assert_text_equal(foreign.seen(), "!abcd");
    stage.join(future, {"room"}, toString(MessageId{first.epoch, 99}));
    assert_text_equal(future.seen(), "!abcd");
    stage.publish("room", "e");
    stage.drain();
    assert_text_equal(none.seen(), "!e");
    assert_text_equal(future.seen(), "!abcde");
    for (Inbox* one : {&limited, &none, &foreign, &future}) {
        stage.hub->leave(*one);
    }
}

TEST(a_gap_cuts_off_whose_encoding_has_no_word_for_it)
{
    Stage stage;
    Inbox raw(Encoding::WebSocketRaw);
    const MessageId first = stage.publish("room", "a");
    stage.publish("room", "b");
    stage.join(raw, {"room"}, toString(first), {0, 0});
    assert_int_equal(raw.cuts, 1);
    stage.hub->leave(raw);
}

TEST(a_long_history_comes_piece_by_piece_and_misses_nothing_that_is_published_meanwhile)
{
    Stage stage;
    Inbox inbox;
    const std::string big(20'000, 'x');
    stage.publish("room", "first");
    for (int i = 0; i < 20; ++i) {
        stage.publish("room", big);
    }
    stage.join(inbox, {"room"}, "earliest");
    assert_true(inbox.replaying());
    const std::size_t afterOne = inbox.text.size();
    assert_true(afterOne < 5 * big.size());
    stage.publish("room", "live");
    stage.drain();
    assert_int_equal(inbox.text.size(), afterOne); // it waits in the log
    for (int i = 0; i < 50 && inbox.replaying(); ++i) {
        stage.hub->pump(inbox, Now);
    }
    assert_false(inbox.replaying());
    stage.publish("room", "after");
    stage.drain();
    assert_int_equal(inbox.events, 23);
    assert_true(inbox.text.find("\"live\"") < inbox.text.find("\"after\""));
    stage.hub->leave(inbox);
}

TEST(a_worker_that_the_ring_overran_announces_the_gap_and_goes_on)
{
    Stage stage(SharedLog::MinimumBytes);
    Inbox inbox, quiet;
    stage.join(inbox, {"room"});
    stage.join(quiet, {"quiet"});
    stage.publish("room", "a");
    stage.publish("quiet", "q");
    const std::string big(50'000, 'x');
    for (int i = 0; i < 40; ++i) {
        stage.publish("noise", big);
    }
    stage.publish("room", "b");
    stage.drain();
    assert_text_equal(inbox.seen(), "!b");
    assert_text_equal(quiet.seen(), "!"); // though nothing follows that would show the hole
    assert_true(stage.hub->stats().overtaken > 0);
    stage.publish("quiet", "r");
    stage.drain();
    assert_text_equal(quiet.seen(), "!r");
    stage.hub->leave(inbox);
    stage.hub->leave(quiet);
}

TEST(noise_on_other_channels_is_no_gap)
{
    Stage stage(SharedLog::MinimumBytes);
    Inbox inbox;
    stage.join(inbox, {"room"});
    stage.drain();
    const std::string big(50'000, 'x');
    for (int i = 0; i < 100; ++i) {
        stage.publish("noise", big);
    }
    stage.publish("room", "a");
    stage.drain();
    assert_text_equal(inbox.seen(), "a");
    stage.hub->leave(inbox);
}

TEST(internal_records_are_for_the_pusher_protocol_and_never_replayed)
{
    Stage stage;
    Inbox pusher(Encoding::Pusher), sse, late(Encoding::Pusher);
    stage.join(pusher, {"room"});
    stage.join(sse, {"room"});
    stage.publish("room", "{}", record_flag::Internal, {}, "pusher_internal:member_added");
    stage.publish("room", "a");
    stage.drain();
    assert_true(pusher.text.find("member_added") != std::string::npos);
    assert_text_equal(sse.seen(), "a");
    stage.join(late, {"room"}, "earliest");
    assert_true(late.text.find("member_added") == std::string::npos);
    assert_int_equal(late.events, 1);
    for (Inbox* one : {&pusher, &sse, &late}) {
        stage.hub->leave(*one);
    }
}

TEST(control_records_go_to_connections_and_not_to_clients)
{
    Stage stage;
    Inbox inbox(Encoding::Pusher);
    stage.join(inbox, {"room"});
    stage.publish("room", {}, record_flag::Internal | record_flag::Control, {}, "terminate");
    stage.publish("room", "a");
    stage.drain();
    assert_int_equal(inbox.controls.size(), 1);
    assert_text_equal(inbox.controls[0], "terminate");
    assert_int_equal(inbox.events, 1);
    stage.hub->leave(inbox);
}

TEST(a_join_that_finds_no_room_joins_nothing)
{
    Stage stage(SharedLog::MinimumBytes);
    std::vector<std::unique_ptr<Inbox>> inboxes;
    JoinResult result;
    for (int i = 0; i < 100'000 && result.status == Joined::Ok; ++i) {
        inboxes.push_back(std::make_unique<Inbox>());
        result = stage.join(*inboxes.back(), {"a" + std::to_string(i), "b" + std::to_string(i)});
    }
    assert_true(result.status == Joined::ChannelsFull);
    assert_false(inboxes.back()->subscribed());
    for (auto& inbox : inboxes) {
        stage.hub->leave(*inbox);
    }
    assert_int_equal(stage.log.stats().subscribers, 0);
}

TEST(since_takes_whatever_clients_have_been_told)
{
    for (const char* latest : {"", " ", "\t ", "latest"}) {
        assert_true(parseSince(latest).kind == Since::Kind::Latest);
    }
    assert_true(parseSince("earliest").kind == Since::Kind::Earliest);
    for (const char* two : {"a1-5,b2-7", "b2-7,a1-5", " b2-7 ,\ta1-5,", ",a1-5,,b2-7", "a1-5,nothing,b2-7"}) {
        const Since since = parseSince(two);
        assert_true(since.kind == Since::Kind::After);
        assert_int_equal(since.ids.size(), 2);
        assert_int_equal(since.of(parseMessageId("a1-0")->epoch)->offset, 5);
        assert_int_equal(since.of(parseMessageId("b2-0")->epoch)->offset, 7);
        assert_null(since.of(parseMessageId("c3-0")->epoch));
    }
    assert_int_equal(parseSince("a1-5,a1-3").of(parseMessageId("a1-0")->epoch)->offset, 5);
    for (const char* other :
         {"x", "-", ",", "a1-", "-5", "A1-5", "a1-05", "a1--5", "a1-5x", "yesterday", "1450755280:0",
          "1450755280:0,[1],-", "urn:uuid:36d883aa-4015-4241-aaae-bde887c2662e", "\xc3\xa9"}) {
        const Since since = parseSince(other);
        assert_true(since.kind == Since::Kind::After);
        assert_int_equal(since.ids.size(), 0);
    }
    assert_int_equal(parseSince("a1-18446744073709551616").ids.front().offset, Since::BeyondAll);
    std::string many = "a-1";
    for (std::size_t i = 0; i < 2 * Since::MaxIds; ++i) {
        many += ",a-1";
    }
    assert_int_equal(parseSince(many).ids.size(), Since::MaxIds);
}

TEST(an_id_of_another_server_is_a_gap_and_then_it_goes_on)
{
    Stage stage;
    Inbox inbox, beyond;
    const MessageId id = stage.publish("room", "a");
    assert_false(stage.join(inbox, {"room", "empty"}, "1450755280:0").recovered);
    assert_text_equal(inbox.seen(), "!!a");
    stage.join(beyond, {"room"}, toString(id) + "0000000000000000000000");
    assert_text_equal(beyond.seen(), "!"); // it says that it has seen all
    stage.publish("room", "b");
    stage.drain();
    assert_text_equal(inbox.seen(), "!!ab");
    assert_text_equal(beyond.seen(), "!b");
    stage.hub->leave(inbox);
    stage.hub->leave(beyond);
}

// --- positions ----------------------------------------------------------------------------------------------------

namespace {

// A subscriber of several channels that comes back again and again with the position that it was given, while events are
// published, drained and replayed in any order.
class Wanderer {
public:
    Wanderer(Stage& stage, unsigned seed) : stage_(stage), random_(seed) { come(""); }
    ~Wanderer() { stage_.hub->leave(*inbox_); }
    Wanderer(const Wanderer&) = delete;
    Wanderer& operator=(const Wanderer&) = delete;

    void step()
    {
        switch (random_() % 8) {
        case 0:
            stage_.publish("noise", std::string(random_() % 30'000, 'n'));
            break;
        case 1:
        case 2:
        case 3:
            publish();
            break;
        case 4:
            stage_.hub->drain();
            break;
        case 5:
            stage_.hub->pump(*inbox_, Now);
            break;
        case 6:
            if (random_() % 4 == 0) {
                comeBack();
            }
            break;
        default:
            break;
        }
    }
    void finish()
    {
        do {
            stage_.drain();
            stage_.hub->pump(*inbox_, Now);
        } while (inbox_->replaying());
        stage_.drain();
        take();
        assert_int_equal(seen_, published_);
    }

private:
    static constexpr const char* Channels[] = {"a", "b", "c", "d"};

    void come(const std::string& since)
    {
        inbox_ = std::make_unique<Inbox>();
        reached_ = stage_.join(*inbox_, {std::begin(Channels), std::end(Channels)}, since).reached;
        taken_ = 0;
    }
    void comeBack()
    {
        take();
        const std::string position = stage_.hub->positionOf(*inbox_, reached_);
        stage_.hub->leave(*inbox_);
        come(position);
    }
    void publish()
    {
        std::string data = std::to_string(published_++);
        data.resize(random_() % 3 == 0 ? 20'000 : 10, ' ');
        stage_.publish(Channels[random_() % std::size(Channels)], data);
    }
    // Numbers come in order, each once.
    void take()
    {
        const std::string text = inbox_->text + inbox_->waiting;
        assert_true(text.find(GapEvent) == std::string::npos);
        while ((taken_ = text.find("\"data\":\"", taken_)) != std::string::npos) {
            taken_ += 8;
            assert_int_equal(std::atoi(text.c_str() + taken_), seen_);
            ++seen_;
        }
        taken_ = text.size();
    }

    Stage& stage_;
    std::mt19937 random_;
    std::unique_ptr<Inbox> inbox_;
    Reached reached_;
    std::size_t taken_ = 0;
    int published_ = 0, seen_ = 0;
};

} // namespace

TEST(whoever_comes_back_with_its_position_gets_the_rest_and_nothing_twice)
{
    for (unsigned seed = 1; seed <= 100; ++seed) {
        Stage stage(16 << 20);
        Wanderer one(stage, seed);
        for (int i = 0; i < 200; ++i) {
            one.step();
        }
        one.finish();
    }
}

TEST(a_position_in_many_channels_is_short_and_outlives_their_events)
{
    Stage stage;
    std::vector<std::string> names;
    for (int i = 0; i < 400; ++i) {
        names.push_back("c" + std::to_string(i));
    }
    const std::vector<std::string_view> channels(names.begin(), names.end());
    Inbox first, second, third, elsewhere;
    stage.publish("c7", "old");
    const Reached reached = stage.join(first, channels).reached;
    const std::string position = stage.hub->positionOf(first, reached);
    assert_true(position.size() <= MaxMessageIdBytes);
    stage.hub->leave(first);

    const std::string filler(60'000, 'f'); // until the event before is gone
    for (int i = 0; i < 200; ++i) {
        stage.publish("filler", filler);
    }
    stage.publish("c399", "1");
    stage.publish("c0", "2");
    assert_true(stage.join(second, channels, position).recovered);
    assert_text_equal(second.seen(), "12");
    stage.hub->leave(second);
    // Not in a log that it is not of.
    Stage other;
    other.publish("c0", "3");
    assert_false(other.join(elsewhere, {"c0", "c1"}, position).recovered);
    assert_text_equal(elsewhere.seen(), "!!3");
    other.hub->leave(elsewhere);
    // What is lost behind it is a gap where it is lost.
    for (int i = 0; i < 200; ++i) {
        stage.publish("filler", filler);
    }
    assert_false(stage.join(third, {"c0", "c1"}, position).recovered);
    assert_text_equal(third.seen(), "!");
    stage.hub->leave(third);
}

TEST(a_channel_that_has_had_no_event_has_a_position_too)
{
    Stage stage;
    Inbox first, second;
    const Reached reached = stage.join(first, {"room"}).reached;
    const std::string position = stage.hub->positionOf(first, reached);
    stage.hub->leave(first);
    stage.publish("room", "1");
    assert_true(stage.join(second, {"room"}, position).recovered);
    assert_text_equal(second.seen(), "1");
    assert_text_equal(stage.hub->positionOf(second, {}),
                      toString(MessageId{stage.log.find("app", "room")->channel.epoch, 1}));
    stage.hub->leave(second);
}

// --- moving to another worker -------------------------------------------------------------------------------------

namespace {

// The hub of another worker at the same log.
struct Successor {
    explicit Successor(Stage& stage) : first(stage), slot(stage.log.claimSlot())
    {
        hub = std::make_unique<Hub>(std::vector<HubLog>{{stage.log, SharedLog::NoSlot, &stage.wakeUp}});
        hub->openSlot(0, slot);
    }

    // Takes over what the first worker's hub has of `from`; what `between` publishes finds it in neither.
    template <class Between> void takeOver(Subscriber& from, Subscriber& to, Between between)
    {
        std::vector<std::pair<std::string, Position>> positions;
        for (const Position& position : first.hub->positions(from)) {
            positions.emplace_back(position.channel, position);
        }
        const SlotOwner owner = first.log.owner(first.slot);
        first.hub->release(from);
        between();
        for (auto& [channel, position] : positions) {
            position.app = "app";
            position.channel = channel;
            assert_true(hub->resume(to, position, owner, Now).moved);
        }
        hub->pump(to, Now);
    }
    void drain()
    {
        for (int i = 0; i < 100 && hub->drain(); ++i) {
        }
    }

    Stage& first;
    std::uint32_t slot;
    std::unique_ptr<Hub> hub;
};

} // namespace

TEST(a_subscriber_that_moves_hears_everything_once_and_is_counted_once)
{
    Stage stage;
    Successor successor(stage);
    Inbox before, after;
    stage.join(before, {"room", "other"});
    stage.publish("room", "a");
    stage.drain();
    stage.publish("room", "b"); // in the log, not through the first hub
    successor.takeOver(before, after, [&] {
        assert_int_equal(subscribers(stage, "room"), 1);
        stage.publish("other", "c");
        stage.publish("room", "d", record_flag::Transient);
    });
    assert_int_equal(subscribers(stage, "room"), 1);
    assert_int_equal(subscribers(stage, "other"), 1);
    stage.publish("room", "e");
    stage.drain();
    successor.drain();
    assert_text_equal(before.seen(), "a");
    assert_text_equal(after.seen(), "bcde");
    successor.hub->leave(after);
    assert_int_equal(subscribers(stage, "room"), 0);
    assert_int_equal(stage.hub->stats().channels, 0);
}

TEST(a_control_record_of_the_meantime_is_heard)
{
    Stage stage;
    Successor successor(stage);
    Inbox before, after;
    stage.join(before, {"#user"});
    successor.takeOver(before, after,
                       [&] { stage.publish("#user", "", record_flag::Control, {}, "terminate"); });
    assert_int_equal(after.controls.size(), 1);
    successor.hub->leave(after);
}

TEST(a_replay_goes_on_in_the_other_worker_with_what_is_history_and_what_is_not)
{
    Stage stage;
    Successor successor(stage);
    const std::string large(Hub::ReplayBytes, 'x');
    for (std::string_view data : {"1", "2", "3"}) {
        stage.publish("room", std::string(data) + large);
    }
    stage.publish("room", "old", record_flag::Transient);
    Inbox before, after;
    stage.join(before, {"room"}, "earliest"); // gets the first only: more when the socket has taken it
    assert_true(before.replaying());
    successor.takeOver(before, after, [&] { stage.publish("room", "new", record_flag::Transient); });
    while (after.replaying()) {
        successor.hub->pump(after, Now);
    }
    const std::string seen = after.seen();
    assert_true(seen.find("2x") != std::string::npos && seen.find("3x") != std::string::npos);
    assert_true(seen.find("1x") == std::string::npos && seen.find("!") == std::string::npos);
    assert_true(seen.ends_with("new"));
    successor.hub->leave(after);
}

TEST(what_is_lost_on_the_way_is_announced)
{
    Stage stage(1 << 20);
    Successor successor(stage);
    Inbox before, after;
    stage.join(before, {"room"});
    stage.publish("room", "a");
    stage.drain();
    successor.takeOver(before, after, [&] {
        stage.publish("room", "lost");
        for (int i = 0; i < 1000; ++i) {
            stage.publish("noise", std::string(4096, 'n'));
        }
        stage.publish("room", "z");
    });
    assert_text_equal(after.seen(), "!z");
    successor.hub->leave(after);
}

TEST(who_has_no_count_to_take_over_is_counted_anew)
{
    Stage stage;
    Successor successor(stage);
    Inbox after;
    stage.publish("room", "a");
    auto info = stage.log.find("app", "room");
    const Position position{"app", "room", 0, info->channel.epoch, 0, 0};
    const JoinResult joined = successor.hub->resume(after, position, {stage.slot, 1, 1}, Now);
    successor.hub->pump(after, Now);
    assert_false(joined.moved);
    assert_int_equal(joined.subscribers, 1);
    assert_text_equal(after.seen(), "a");
    successor.hub->leave(after);
}

TEST(compressed_frames_are_shared_and_history_goes_plain)
{
    Stage stage;
    const std::string large(1000, 'x');
    const std::string first = toString(stage.publish("room", large));
    Inbox alice(Encoding::WebSocketRawDeflated), bob(Encoding::WebSocketRawDeflated),
        plain(Encoding::WebSocketRaw), late(Encoding::WebSocketRawDeflated),
        several(Encoding::PusherDeflated), twin(Encoding::PusherDeflated);
    stage.join(alice, {"room"});
    stage.join(bob, {"room"});
    stage.join(plain, {"room"});
    stage.join(several, {"room", "other"});
    stage.join(twin, {"room", "other"});
    stage.publish("room", large);
    stage.drain();
    assert_int_equal(alice.frames.size(), 1);
    assert_true(alice.frames[0] == bob.frames[0]);
    assert_true(alice.frames[0]->size() < 100);
    assert_int_equal(alice.text[0] & 0xff, 0xc1); // FIN, RSV1, text
    assert_int_equal(plain.text[0] & 0xff, 0x81);
    assert_true(plain.text.ends_with(large));
    assert_true(several.frames.at(0) == twin.frames.at(0));
    assert_int_equal(several.text[0] & 0xff, 0xc1);
    const DeflateStats once = stage.hub->stats().deflated; // one message in two forms, for four subscribers
    assert_in_range(once.in, 2000, 2500);
    assert_in_range(once.out, 1, 300);

    stage.join(late, {"room"}, "earliest");
    assert_int_equal(late.events, 2);
    assert_int_equal(late.text[0] & 0xff, 0x81);
    assert_int_equal(stage.hub->stats().deflated.in, once.in);
    for (Inbox* one : {&alice, &bob, &plain, &late, &several, &twin}) {
        stage.hub->leave(*one);
    }
}

// A long-poll has no subscription between two polls, and a channel without events is not kept for it.
TEST(who_polls_a_silent_channel_is_told_of_no_gap)
{
    Stage stage;
    Inbox first, second, third;
    const JoinResult joined = stage.join(first, {"silent"});
    const std::string since = toString(MessageId{joined.subscription->channel->ref.epoch, 0});
    stage.hub->leave(first);
    assert_false(stage.log.find("app", "silent").has_value());
    assert_true(stage.join(second, {"silent"}, since).recovered);
    stage.hub->leave(second);
    stage.publish("silent", "a");
    assert_true(stage.join(third, {"silent"}, since).recovered);
    assert_text_equal(second.seen(), "");
    assert_text_equal(third.seen(), "a");
    stage.hub->leave(third);
}

TEST_MAIN()
