// The hub with a history source: channels of a stream, of which the log has the end.
#include "hub/hub.hpp"
#include "log_testing.hpp"

#include <map>

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

constexpr std::int64_t Now = 1'000'000;
constexpr std::uint64_t Identity = 77, Floor = 100; // the log has the stream from there on

// Data of events in order; "!" for a gap.
class Inbox final : public Subscriber {
public:
    Inbox() : Subscriber(Encoding::JsonList) {}

    void enqueue(const FramePtr& frame, std::uint32_t) override { waiting_ += frame->view(); }
    void flush() override { text_ += std::exchange(waiting_, {}); }
    void cutOff(std::string_view) override {}

    std::string seen() const
    {
        std::string all;
        for (std::size_t at = 0; (at = text_.find("{\"", at)) != std::string::npos; ++at) {
            const std::size_t data = text_.find("\"data\":\"", at) + 8;
            const bool gap = text_.compare(at, 24, "{\"event\":\"realtime:gap\",") == 0;
            all += gap ? "!" : text_.substr(data, text_.find('"', data) - data);
        }
        return all;
    }

private:
    std::string waiting_, text_;
};

// Answers when the test does.
class Source final : public HistorySource {
public:
    std::uint64_t ask(const HistoryRequest& request) override
    {
        open[++last] = {std::string(request.channel), request.after, request.until};
        return last;
    }
    void forget(std::uint64_t ticket) override { open.erase(ticket); }

    struct Question {
        std::string channel;
        std::uint64_t after, until;
    };
    std::map<std::uint64_t, Question> open;
    std::uint64_t last = 0;
};

struct Stage {
    Stage()
        : mapping(1 << 20), log(SharedLog::create(mapping.span(), {8})), slot(log.claimSlot()),
          hub(newHub(slot))
    {
        hub->useHistory(source);
        log.beginStream(Identity, Floor);
    }

    std::unique_ptr<Hub> newHub(std::uint32_t slotOfIt)
    {
        auto made = std::make_unique<Hub>(std::vector<HubLog>{{log, SharedLog::NoSlot, &wakes}});
        made->openSlot(0, slotOfIt);
        return made;
    }
    static StreamKey keyOf(std::string_view channel)
    {
        return channel == "plain" ? StreamKey{} : StreamKey{Identity, channel == "one" ? 1U : 2U};
    }
    // `number`: of the event in the stream; 0 for "plain".
    void append(std::string_view channel, std::uint64_t number, std::string_view data)
    {
        NewRecord record = makeRecord(channel, data, Now);
        record.stream = keyOf(channel);
        if (number != 0) {
            record.number = number;
            record.keyOwner = KeyOwner::Peer;
        }
        log.append(record, slot, wakes);
        log.reachStream(Identity, number + 1);
        while (hub->drain()) {
        }
    }
    // `after`: number of an event of the stream; 0: from now on.
    void join(Subscriber& subscriber, std::string_view channel, std::uint64_t after = 0)
    {
        const ChannelRequest request{"app", channel, 0, {}, keyOf(channel)};
        Since since;
        if (after != 0) {
            since = {Since::Kind::After, {{keyOf(channel).epoch, streamOffset(after)}}};
        }
        assert_int_equal(hub->join(subscriber, {&request, 1}, since, Now).status, Joined::Ok);
        hub->pump(subscriber, Now);
    }
    // An event of the question's channel, and that is all up to there.
    void supply(std::uint64_t ticket, std::uint64_t number, std::string_view data, bool end = true,
                bool lost = false)
    {
        source.open.erase(ticket);
        HistoryPart part;
        LogRecord record;
        record.id.offset = streamOffset(number);
        record.data = data;
        part.records.push_back(record);
        part.reached = end ? streamOffset(Floor) - 1 : record.id.offset;
        part.end = end;
        part.lost = lost;
        hub->supply(ticket, part, Now);
    }

    SharedMapping mapping;
    SharedLog log;
    Wakes wakes;
    Source source;
    std::uint32_t slot;
    std::unique_ptr<Hub> hub;
};

} // namespace

TEST(what_the_log_does_not_have_is_asked_for_and_comes_before_what_it_has)
{
    Stage stage;
    Inbox inbox;
    stage.append("one", 105, "c");
    stage.join(inbox, "one", 50);
    assert_int_equal(stage.source.open.at(1).after, streamOffset(50));
    stage.append("one", 106, "d");
    assert_text_equal(inbox.seen(), "");
    stage.supply(1, 60, "a", false);
    assert_text_equal(inbox.seen(), "a");
    stage.hub->pump(inbox, Now); // its socket has taken that
    assert_int_equal(stage.source.open.at(2).after, streamOffset(60));
    stage.supply(2, 70, "b");
    stage.hub->pump(inbox, Now);
    assert_text_equal(inbox.seen(), "abcd");
    stage.append("one", 107, "e");
    assert_text_equal(inbox.seen(), "abcde");
    stage.hub->leave(inbox);
}

TEST(while_history_is_postponed_the_other_channels_go_on_and_then_nothing_is_missing)
{
    Stage stage;
    Inbox inbox;
    stage.append("one", 105, "B");
    stage.join(inbox, "plain");
    stage.join(inbox, "one", 50);
    stage.append("plain", 0, "1");
    assert_text_equal(inbox.seen(), ""); // in the order of the log
    stage.hub->postpone(1, Now);
    stage.hub->postpone(1, Now);
    assert_text_equal(inbox.seen(), "1");
    stage.append("one", 106, "C");
    stage.append("plain", 0, "2");
    stage.append("one", 107, "D");
    assert_text_equal(inbox.seen(), "12");
    stage.supply(1, 60, "A");
    stage.hub->pump(inbox, Now);
    assert_text_equal(inbox.seen(), "12ABCD");
    stage.append("one", 108, "E");
    stage.append("plain", 0, "3");
    assert_text_equal(inbox.seen(), "12ABCDE3");
    assert_int_equal(stage.hub->stats().gaps, 0);
    stage.hub->leave(inbox);
    assert_true(stage.source.open.empty());
}

TEST(what_was_lost_meanwhile_is_told_when_it_is_known)
{
    Stage stage;
    Inbox inbox;
    stage.join(inbox, "plain");
    stage.join(inbox, "one", 50);
    stage.append("one", 105, "B");
    stage.hub->postpone(1, Now);
    stage.append("plain", 0, "1");
    assert_text_equal(inbox.seen(), "1");
    stage.supply(1, 60, "A", true, true);
    stage.hub->pump(inbox, Now);
    assert_text_equal(inbox.seen(), "1!AB");
    stage.hub->leave(inbox);
}

TEST(several_questions_of_a_subscriber_may_be_postponed_and_answered_in_any_order)
{
    Stage stage;
    Inbox inbox;
    stage.join(inbox, "plain");
    stage.join(inbox, "one", 50);
    stage.join(inbox, "two", 40);
    assert_int_equal(stage.source.open.size(), 1); // one at a time
    stage.hub->postpone(1, Now);
    assert_text_equal(stage.source.open.at(2).channel, "two");
    stage.append("two", 103, "y");
    stage.append("one", 104, "b");
    stage.supply(1, 60, "a"); // while the other is under way
    assert_text_equal(inbox.seen(), "a");
    stage.hub->pump(inbox, Now);
    stage.hub->postpone(2, Now);
    assert_text_equal(inbox.seen(), "ab");
    stage.append("plain", 0, "1");
    stage.supply(2, 45, "x");
    stage.hub->pump(inbox, Now);
    assert_text_equal(inbox.seen(), "ab1xy");
    stage.hub->leave(inbox);
}

TEST(who_leaves_is_waited_for_no_more)
{
    Stage stage;
    Inbox all, one;
    for (Inbox* inbox : {&all, &one}) {
        stage.join(*inbox, "plain");
        stage.join(*inbox, "one", 50);
    }
    stage.hub->postpone(1, Now);
    stage.hub->postpone(2, Now);
    stage.hub->leave(all);
    assert_int_equal(stage.source.open.size(), 1);
    stage.hub->leave(one, *one.follows("app", "one"));
    assert_true(stage.source.open.empty());
    stage.supply(2, 60, "a");
    stage.append("plain", 0, "1");
    assert_text_equal(one.seen(), "1");
    stage.hub->leave(one);
}

TEST(who_moves_to_another_worker_while_it_waits_asks_again_there)
{
    Stage stage;
    Inbox before, after;
    stage.join(before, "plain");
    stage.join(before, "one", 50);
    stage.append("one", 105, "b");
    stage.hub->postpone(1, Now);
    stage.append("plain", 0, "1");
    assert_text_equal(before.seen(), "1");
    std::vector<Position> positions = stage.hub->positions(before);
    const SlotOwner owner = stage.log.owner(stage.slot);
    const std::vector<std::string> names{std::string(positions[0].channel),
                                         std::string(positions[1].channel)};
    stage.hub->release(before);
    assert_true(stage.source.open.empty());
    const auto old = std::exchange(stage.hub, stage.newHub(stage.log.claimSlot()));
    stage.hub->useHistory(stage.source);
    for (std::size_t i = 0; i < positions.size(); ++i) {
        positions[i].app = "app";
        positions[i].channel = names[i];
        positions[i].stream = Stage::keyOf(names[i]);
        assert_true(stage.hub->resume(after, positions[i], owner, Now).moved);
    }
    stage.hub->pump(after, Now);
    assert_int_equal(stage.source.open.at(2).after, streamOffset(50));
    stage.supply(2, 60, "a");
    stage.hub->pump(after, Now);
    assert_text_equal(after.seen(), "ab");
    stage.hub->leave(after);
}

TEST_MAIN()
