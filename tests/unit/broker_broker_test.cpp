// The broker's loop against a store that the test plays.

#include "broker_testing.hpp"

#include <algorithm>
#include <csignal>
#include <dirent.h>
#include <fstream>
#include <random>
#include <utility>

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

// What all links of one test share; the test turns the knobs, the broker's thread looks at them each turn.
struct FakeStore {
    std::mutex mutex;
    bool reachable = true;
    bool connects = true; // false: stays Connecting
    bool confirms = true; // of itself; else confirm()
    bool blocked = false;
    bool breaks = false; // once
    bool throws = false; // once
    bool sleeps = false; // the link asks for no turn of itself
    bool lasting = false;
    std::size_t window = 1'000;
    std::set<std::string> away; // servers
    std::set<std::string> refused;
    std::set<std::string> toConfirm; // with `confirms` false

    std::vector<std::string> submitted, stored; // ids, over all links
    std::vector<std::string> attempts;          // servers
    std::size_t turns = 0;

    template <class Change> void with(Change change)
    {
        const std::lock_guard lock(mutex);
        change(*this);
    }
    template <class Look> auto get(Look look)
    {
        const std::lock_guard lock(mutex);
        return look(*this);
    }
    std::vector<std::string> submittedIds()
    {
        return get([](auto& s) { return s.submitted; });
    }
    std::vector<std::string> storedIds()
    {
        return get([](auto& s) { return s.stored; });
    }
    std::size_t attemptCount()
    {
        return get([](auto& s) { return s.attempts.size(); });
    }

    LinkFactory factory();
};

class FakeLink final : public Link {
public:
    FakeLink(FakeStore& store, std::string server, LinkOwner& owner)
        : store_(store), server_(std::move(server)), owner_(owner)
    {
    }

    LinkState turn(LinkClock::time_point) override
    {
        const std::lock_guard lock(store_.mutex);
        ++store_.turns;
        if (std::exchange(store_.throws, false)) {
            throw std::runtime_error("the store threw");
        }
        if (!store_.reachable || store_.away.contains(server_) || std::exchange(store_.breaks, false)) {
            fault_ = {"the store is away", store_.lasting};
            return LinkState::Broken;
        }
        if (!store_.connects) {
            return LinkState::Connecting;
        }
        std::erase_if(pending_, [this](const auto& item) {
            const auto& [handle, id] = item;
            if (store_.refused.contains(id)) {
                owner_.onFailed(handle);
                return true;
            }
            if (store_.confirms || store_.toConfirm.contains(id)) {
                store_.stored.push_back(id);
                owner_.onStored(handle);
                return true;
            }
            return false;
        });
        state_ = store_.blocked ? LinkState::Blocked : LinkState::Up;
        window_ = store_.window;
        return state_;
    }
    const LinkFault& fault() const override { return fault_; }
    LinkInterest interest() const override
    {
        const bool sleeps = store_.get([](auto& s) { return s.sleeps; });
        return {-1, 0, sleeps ? LinkClock::time_point::max() : LinkClock::now() + 1ms};
    }
    std::size_t room() const override
    {
        return state_ == LinkState::Up && pending_.size() < window_ ? window_ - pending_.size() : 0;
    }
    void submit(std::uint64_t handle, const BrokerEvent& event) override
    {
        const std::lock_guard lock(store_.mutex);
        store_.submitted.push_back(event.messageId);
        pending_.emplace_back(handle, event.messageId);
    }
    void close(LinkClock::time_point) override {}

private:
    FakeStore& store_;
    const std::string server_;
    LinkOwner& owner_;
    LinkFault fault_;
    LinkState state_ = LinkState::Connecting;
    std::size_t window_ = 0;
    std::vector<std::pair<std::uint64_t, std::string>> pending_;
};

LinkFactory FakeStore::factory()
{
    return [this](const BrokerConfig&, const BrokerServer& server, LinkOwner& owner) {
        with([&](auto& s) { s.attempts.push_back(server.host); });
        return std::make_unique<FakeLink>(*this, server.host, owner);
    };
}

BrokerConfig amqpConfig()
{
    BrokerConfig config;
    config.name = "events";
    config.servers = {parseBrokerServer("amqp://one")};
    config.drain = 500ms;
    return config;
}

BrokerConfig sqliteConfig()
{
    BrokerConfig config = amqpConfig();
    config.servers = {parseBrokerServer("sqlite:/none/events.db")};
    return config;
}

std::vector<std::string> ids(int first, int last)
{
    std::vector<std::string> out;
    for (int i = first; i <= last; ++i) {
        out.push_back(std::to_string(i));
    }
    return out;
}

std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b)
{
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

std::chrono::milliseconds timeToStop(Broker& broker)
{
    const auto start = std::chrono::steady_clock::now();
    broker.stop();
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start);
}

} // namespace

TEST(events_are_stored_in_order_and_complete_in_order)
{
    FakeStore store;
    Loop loop(amqpConfig(), store.factory());
    for (int i = 1; i <= 100; ++i) {
        loop.offer(std::to_string(i), static_cast<std::uint64_t>(i));
    }
    loop.awaitCompletions(100);
    for (std::size_t i = 0; i < 100; ++i) {
        assert_int_equal(loop.completions[i].token, i + 1);
        assert_true(loop.completions[i].stored);
    }
    assert_true(store.storedIds() == ids(1, 100));
    assert_true(store.submittedIds() == ids(1, 100));
    assert_true(loop.broker.stats().state == BrokerState::Up);
    assert_int_equal(loop.broker.stats().confirmed, 100);
    assert_int_equal(loop.broker.stats().offered, 100);
    assert_int_equal(loop.broker.stats().queuedEvents, 0);
    assert_int_equal(loop.broker.stats().queuedBytes, 0);
}

// It has been broadcast by then, and its publisher is told that it will be stored.
TEST(what_was_admitted_is_taken_also_if_the_store_has_failed_since)
{
    FakeStore store;
    Loop loop(sqliteConfig(), store.factory());
    eventually("up", [&] { return loop.broker.stats().state == BrokerState::Up; });
    loop.broker.next() = makeEvent("1", 1);
    assert_true(loop.broker.admits(10) == Offer::Queued);
    store.with([](auto& s) { s.reachable = false; });
    eventually("unavailable", [&] { return loop.broker.admits(10) == Offer::Unavailable; });
    assert_true(loop.broker.offerNext());
    loop.broker.rouse();
    store.with([](auto& s) { s.reachable = true; });
    loop.awaitCompletions(1);
    assert_true(loop.completions[0].stored);
    assert_true(store.storedIds() == ids(1, 1));
}

TEST(the_thread_sleeps_until_it_is_roused_for_all_that_was_offered)
{
    FakeStore store;
    Loop loop(amqpConfig(), store.factory());
    eventually("up", [&] { return loop.broker.stats().state == BrokerState::Up; });
    store.with([](auto& s) { s.sleeps = true; });
    std::this_thread::sleep_for(20ms);
    const auto turns = [&] { return store.get([](auto& s) { return s.turns; }); };
    const std::size_t before = turns();
    for (int i = 1; i <= 10; ++i) {
        loop.broker.next() = makeEvent(std::to_string(i), static_cast<std::uint64_t>(i));
        assert_true(loop.broker.offerNext());
        std::this_thread::sleep_for(1ms);
    }
    assert_int_equal(turns(), before);
    loop.broker.rouse();
    loop.awaitCompletions(10);
    assert_true(store.storedIds() == ids(1, 10));
}

TEST(small_events_that_were_stored_are_filled_again)
{
    FakeStore store;
    Loop loop(amqpConfig(), store.factory());
    for (const std::size_t bytes : {1'000, 100'000}) {
        BrokerEvent event = makeEvent(std::to_string(bytes), bytes);
        event.data.assign(bytes, 'x');
        assert_true(loop.broker.offer(std::move(event)) == Offer::Queued);
        eventually("stored and forgotten", [&] {
            loop.take();
            return loop.broker.stats().confirmed > 0 && loop.broker.stats().queuedEvents == 0;
        });
        std::this_thread::sleep_for(20ms); // until it is back
        const std::size_t kept = loop.broker.next().data.capacity();
        assert_true(bytes == 1'000 ? kept >= bytes : kept < bytes);
    }
    // It counts anew.
    for (int round = 1; round <= 3; ++round) {
        loop.offer(std::to_string(round), static_cast<std::uint64_t>(round));
        loop.awaitCompletions(2 + static_cast<std::size_t>(round));
        eventually("released", [&] { return loop.broker.stats().queuedBytes == 0; });
    }
    assert_true(loop.storedTokens() == 5);
}

TEST(with_many_in_flight_the_thread_does_not_wake_up_for_each)
{
    constexpr std::size_t InFlight = 500, More = 100;
    std::size_t turns = More;
    for (int attempt = 0; attempt < 50 && turns >= More / 2; ++attempt) {
        FakeStore store;
        store.confirms = false;
        store.sleeps = true;
        store.window = InFlight;
        BrokerConfig config = amqpConfig();
        config.drain = 0ms;
        Loop loop(config, store.factory());
        eventually("up", [&] { return loop.broker.stats().state == BrokerState::Up; });
        for (std::size_t i = 0; i < InFlight; ++i) {
            loop.offer("a" + std::to_string(i));
        }
        eventually("submitted", [&] { return store.submittedIds().size() == InFlight; });
        turns = store.get([](auto& s) { return s.turns; });
        for (std::size_t i = 0; i < More; ++i) { // each would find it asleep
            loop.offer("b" + std::to_string(i));
            std::this_thread::sleep_for(100us);
        }
        turns = store.get([&](auto& s) { return s.turns - turns; });
    }
    // On a machine that is so busy that nothing is confirmed in time, it is right to look at each: hence the attempts.
    assert_true(turns < More / 2);
}

TEST(events_without_a_token_complete_silently)
{
    FakeStore store;
    Loop loop(amqpConfig(), store.factory());
    eventually("up", [&] { return loop.broker.stats().state == BrokerState::Up; });
    loop.take(); // the note that it is connected
    const int before = loop.wakeUp.count;
    loop.offer("1");
    eventually("stored", [&] { return store.storedIds().size() == 1; });
    eventually("released", [&] { return loop.broker.stats().queuedEvents == 0; });
    loop.take();
    assert_true(loop.completions.empty());
    assert_int_equal(loop.wakeUp.count, before);
    loop.offer("2", 7);
    loop.awaitCompletions(1);
    assert_true(loop.wakeUp.count > before);
}

TEST(what_was_not_confirmed_is_sent_again_in_order_after_a_reconnect)
{
    FakeStore store;
    store.confirms = false;
    Loop loop(amqpConfig(), store.factory());
    for (int i = 1; i <= 5; ++i) {
        loop.offer(std::to_string(i), static_cast<std::uint64_t>(i));
    }
    eventually("submitted", [&] { return store.submittedIds().size() == 5; });
    store.with([](auto& s) { s.toConfirm = {"2", "4"}; }); // out of order, as a broker may
    loop.awaitCompletions(2);
    store.with([](auto& s) { s.breaks = true; });
    eventually("sent again", [&] { return store.submittedIds().size() == 8; });
    assert_true(store.submittedIds() == (ids(1, 5) + std::vector<std::string>{"1", "3", "5"}));
    loop.offer("6", 6);
    store.with([](auto& s) { s.confirms = true; });
    loop.awaitCompletions(6);
    assert_true(store.storedIds() == (std::vector<std::string>{"2", "4", "1", "3", "5", "6"}));
    eventually("counted", [&] { return loop.broker.stats().reconnects == 1; });
}

TEST(the_window_bounds_what_is_in_flight)
{
    FakeStore store;
    store.confirms = false;
    store.window = 3;
    Loop loop(amqpConfig(), store.factory());
    for (int i = 1; i <= 10; ++i) {
        loop.offer(std::to_string(i));
    }
    eventually("three", [&] { return store.submittedIds().size() == 3; });
    store.with([](auto& s) { s.toConfirm = {"1"}; });
    eventually("a fourth", [&] { return store.submittedIds().size() == 4; });
    store.with([](auto& s) { s.confirms = true; });
    eventually("all", [&] { return store.storedIds().size() == 10; });
}

TEST(an_absent_broker_s_events_wait_until_the_queue_is_full)
{
    FakeStore store;
    store.reachable = false;
    auto config = amqpConfig();
    config.maxQueuedEvents = 3;
    Loop loop(config, store.factory());
    eventually("down", [&] { return loop.broker.stats().state == BrokerState::Down; });
    for (int i = 1; i <= 3; ++i) {
        assert_true(loop.broker.admits(10) == Offer::Queued);
        loop.offer(std::to_string(i));
    }
    assert_true(loop.broker.admits(0) == Offer::Full);
    assert_true(loop.broker.offer(makeEvent("4")) == Offer::Full);
    assert_int_equal(loop.broker.stats().refused, 1);
    assert_int_equal(loop.broker.stats().queuedEvents, 3);

    store.with([](auto& s) { s.reachable = true; });
    eventually("stored", [&] { return store.storedIds() == ids(1, 3); });
    eventually("room again", [&] { return loop.broker.admits(10) == Offer::Queued; });
}

TEST(bytes_are_bounded_from_the_offer_until_the_confirm)
{
    FakeStore store;
    store.confirms = false;
    auto config = amqpConfig();
    config.maxQueuedBytes = 10'000;
    Loop loop(config, store.factory());
    auto big = makeEvent("1");
    big.data.assign(9'000, 'x');
    assert_true(loop.broker.admits(10'001) == Offer::Full); // never
    assert_true(loop.broker.offer(big) == Offer::Queued);
    assert_true(loop.broker.stats().queuedBytes > 9'000);
    assert_true(loop.broker.admits(1'000) == Offer::Full);
    eventually("in flight", [&] { return store.submittedIds().size() == 1; });
    assert_true(loop.broker.offer(big) == Offer::Full);
    store.with([](auto& s) { s.confirms = true; });
    eventually("room again", [&] { return loop.broker.admits(9'000) == Offer::Queued; });
    assert_int_equal(loop.broker.stats().queuedBytes, 0);
}

TEST(completions_that_nobody_takes_are_bounded_too)
{
    FakeStore store;
    auto config = amqpConfig();
    config.maxQueuedEvents = 4;
    Loop loop(config, store.factory());
    for (std::uint64_t i = 1; i <= 4; ++i) {
        loop.offer(std::to_string(i), i);
    }
    eventually("stored", [&] { return loop.broker.stats().queuedEvents == 0; });
    assert_true(loop.broker.admits(1) == Offer::Full);
    loop.take();
    assert_int_equal(loop.completions.size(), 4);
    assert_true(loop.broker.admits(1) == Offer::Queued);
}

TEST(a_file_that_cannot_be_written_is_unavailable_until_a_write_succeeds)
{
    FakeStore store;
    Loop loop(sqliteConfig(), store.factory());
    loop.offer("1", 1);
    loop.awaitCompletions(1);

    store.with([](auto& s) { s.confirms = false; });
    loop.offer("2", 2);
    eventually("submitted", [&] { return store.submittedIds().size() == 2; });
    store.with([](auto& s) { s.reachable = false; });
    eventually("unavailable", [&] { return loop.broker.admits(1) == Offer::Unavailable; });
    assert_true(loop.broker.offer(makeEvent("3")) == Offer::Unavailable);
    assert_true(loop.broker.stats().state == BrokerState::Down);

    // Opened again, but "2" has not been written yet: that is not enough.
    store.with([](auto& s) { s.reachable = true; });
    eventually("tried again", [&] { return store.submittedIds().size() == 3; });
    assert_true(loop.broker.admits(1) == Offer::Unavailable);
    assert_true(loop.broker.stats().state == BrokerState::Down);

    store.with([](auto& s) { s.confirms = true; });
    loop.awaitCompletions(2);
    eventually("available", [&] { return loop.broker.admits(1) == Offer::Queued; });
    assert_true(store.storedIds() == ids(1, 2));
}

TEST(a_file_that_can_be_opened_again_is_available_if_nothing_waits)
{
    FakeStore store;
    store.reachable = false;
    Loop loop(sqliteConfig(), store.factory());
    eventually("unavailable", [&] { return loop.broker.admits(1) == Offer::Unavailable; });
    store.with([](auto& s) { s.reachable = true; });
    eventually("available", [&] { return loop.broker.admits(1) == Offer::Queued; });
    eventually("up", [&] { return loop.broker.stats().state == BrokerState::Up; });
}

TEST(a_refused_event_is_sent_again_later_and_holds_up_nobody)
{
    FakeStore store;
    store.refused = {"2"};
    Loop loop(amqpConfig(), store.factory());
    for (int i = 1; i <= 4; ++i) {
        loop.offer(std::to_string(i), static_cast<std::uint64_t>(i));
    }
    loop.awaitCompletions(3);
    assert_true(store.storedIds() == (std::vector<std::string>{"1", "3", "4"}));
    assert_int_equal(loop.broker.stats().failed, 1);
    assert_int_equal(loop.broker.stats().queuedEvents, 1); // it still counts
    eventually("retried", [&] { return loop.broker.stats().failed == 2; });
    const auto submissions = store.submittedIds();
    assert_int_equal(std::count(submissions.begin(), submissions.end(), "2"), 2); // no spinning

    store.with([](auto& s) { s.refused.clear(); });
    loop.awaitCompletions(4);
    assert_int_equal(loop.completions.back().token, 2);
    assert_true(loop.completions.back().stored);
}

TEST(many_refused_events_are_tried_a_few_at_a_time_and_drain_once_one_gets_through)
{
    FakeStore store;
    for (int i = 1; i <= 2'000; ++i) {
        store.refused.insert(std::to_string(i));
    }
    Loop loop(amqpConfig(), store.factory());
    for (std::uint64_t i = 1; i <= 2'000; ++i) {
        loop.offer(std::to_string(i), i);
    }
    eventually("all refused", [&] { return loop.broker.stats().failed >= 2'000; });
    eventually("a round", [&] { return loop.broker.stats().failed > 2'000; });
    assert_true(store.submittedIds().size() <= 2'000 + 512);
    store.with([](auto& s) { s.refused.clear(); });
    loop.awaitCompletions(2'000);
    assert_int_equal(store.storedIds().size(), 2'000);
}

TEST(refused_events_survive_a_broken_link)
{
    FakeStore store;
    store.refused = {"1"};
    Loop loop(amqpConfig(), store.factory());
    loop.offer("1", 1);
    eventually("refused", [&] { return loop.broker.stats().failed == 1; });
    store.with([](auto& s) {
        s.breaks = true;
        s.refused.clear();
    });
    loop.awaitCompletions(1);
    assert_true(store.storedIds() == ids(1, 1));
}

TEST(servers_are_tried_in_order_and_the_first_again_after_a_success)
{
    FakeStore store;
    store.away = {"one", "two", "three"};
    auto config = amqpConfig();
    config.servers = {parseBrokerServer("amqp://one"), parseBrokerServer("amqp://two"),
                      parseBrokerServer("amqp://three")};
    Loop loop(config, store.factory());
    const std::vector<std::string> round{"one", "two", "three"};
    eventually("two rounds", [&] { return store.attemptCount() >= 6; });
    auto attempts = store.get([](auto& s) { return s.attempts; });
    attempts.resize(6);
    assert_true(attempts == (round + round));

    store.with([](auto& s) { s.away = {"one", "three"}; });
    loop.offer("1", 1);
    loop.awaitCompletions(1);
    assert_text_equal(store.get([](auto& s) { return s.attempts.back(); }), "two");
    const auto soFar = store.attemptCount();
    store.with([](auto& s) { s.breaks = true; });
    eventually("the first, then the second", [&] { return store.attemptCount() >= soFar + 2; });
    attempts = store.get([](auto& s) { return s.attempts; });
    assert_text_equal(attempts.at(soFar), "one");
    assert_text_equal(attempts.at(soFar + 1), "two");
}

TEST(attempts_back_off_and_are_noted_once)
{
    FakeStore store;
    store.reachable = false;
    Loop loop(amqpConfig(), store.factory());
    std::this_thread::sleep_for(1s); // the time that is measured
    const auto attempts = store.attemptCount();
    assert_true(attempts >= 2 && attempts <= 6); // waits of 50-100, 100-200, 200-400, 400-800 ms
    loop.take();
    assert_int_equal(loop.notes.size(), 1);
    assert_int_equal(loop.notesWith("broker \"events\", amqp://one:5672/%2F: the store is away"), 1);

    store.with([](auto& s) { s.reachable = true; });
    loop.offer("1", 1);
    loop.awaitCompletions(1);
    loop.take();
    assert_int_equal(loop.notesWith("connected"), 1);
    assert_int_equal(loop.notesWith("more times"), 1);
}

TEST(faults_that_only_the_operator_can_mend_are_retried_slowly)
{
    FakeStore store;
    store.reachable = false;
    store.lasting = true;
    Loop loop(amqpConfig(), store.factory());
    std::this_thread::sleep_for(500ms); // the time that is measured
    assert_int_equal(store.attemptCount(), 1);
}

TEST(a_blocked_store_is_left_alone)
{
    FakeStore store;
    store.blocked = true;
    Loop loop(amqpConfig(), store.factory());
    eventually("blocked", [&] { return loop.broker.stats().state == BrokerState::Blocked; });
    loop.offer("1", 1);
    std::this_thread::sleep_for(50ms); // that nothing happens
    assert_true(store.submittedIds().empty());
    store.with([](auto& s) { s.blocked = false; });
    loop.awaitCompletions(1);
    assert_true(loop.broker.stats().state == BrokerState::Up);
}

TEST(an_exception_in_a_link_costs_that_link_and_nothing_else)
{
    FakeStore store;
    store.confirms = false;
    Loop loop(amqpConfig(), store.factory());
    loop.offer("1", 1);
    eventually("submitted", [&] { return store.submittedIds().size() == 1; });
    store.with([](auto& s) {
        s.throws = true;
        s.confirms = true;
    });
    loop.awaitCompletions(1);
    loop.take();
    assert_int_equal(loop.notesWith("the store threw"), 1);
    assert_int_equal(store.attemptCount(), 2);
}

TEST(stopping_stores_what_is_queued_and_is_quick)
{
    FakeStore store;
    auto config = amqpConfig();
    config.drain = 5s;
    Loop loop(config, store.factory());
    eventually("up", [&] { return loop.broker.stats().state == BrokerState::Up; });
    for (std::uint64_t i = 1; i <= 5'000; ++i) {
        loop.offer(std::to_string(i), i);
    }
    assert_true(timeToStop(loop.broker) < 4s);
    loop.take();
    assert_int_equal(loop.storedTokens(), 5'000);
    assert_true(store.storedIds() == ids(1, 5'000));
    assert_true(loop.broker.offer(makeEvent("x")) == Offer::Unavailable);
    assert_true(loop.broker.admits(1) == Offer::Unavailable);
    loop.broker.stop(); // again: nothing
}

TEST(stopping_without_events_waits_for_nobody)
{
    FakeStore store;
    store.connects = false;
    auto config = amqpConfig();
    config.drain = 5s;
    Loop loop(config, store.factory());
    assert_true(timeToStop(loop.broker) < 4s);
}

TEST(stopping_with_an_absent_store_gives_up_in_time_and_says_what_is_lost)
{
    for (const bool hangs : {false, true}) {
        FakeStore store;
        store.reachable = hangs;
        store.connects = !hangs;
        Loop loop(amqpConfig(), store.factory());
        loop.offer("1", 1);
        loop.offer("2");
        loop.offer("3", 3);
        const auto took = timeToStop(loop.broker);
        assert_true(took >= 450ms && took < 3s); // drain is 500 ms
        loop.take();
        assert_int_equal(loop.completions.size(), 2);
        assert_int_equal(loop.completions[0].token, 1);
        assert_int_equal(loop.completions[1].token, 3);
        assert_int_equal(loop.storedTokens(), 0);
        assert_int_equal(loop.notesWith("3 events could not be stored"), 1);
        assert_int_equal(loop.broker.stats().queuedEvents, 0);
    }
}

TEST(stopping_does_not_wait_for_the_back_off)
{
    FakeStore store;
    store.reachable = false;
    auto config = amqpConfig();
    config.drain = 450ms; // shorter than the wait after five attempts, 800 ms at least
    Loop loop(config, store.factory());
    loop.offer("1", 1);
    eventually("a long back-off", [&] { return store.attemptCount() == 5; });
    store.with([](auto& s) { s.reachable = true; });
    const auto attempts = store.attemptCount();
    loop.broker.stop();
    loop.take();
    assert_int_equal(loop.storedTokens(), 1);
    assert_int_equal(store.attemptCount(), attempts + 1);
}

TEST(the_thread_is_named_and_takes_no_signals)
{
    FakeStore store;
    Loop loop(amqpConfig(), store.factory());
    sigset_t mine;
    pthread_sigmask(SIG_SETMASK, nullptr, &mine);
    assert_int_equal(sigismember(&mine, SIGTERM), 0); // the creator's mask is as before

    unsigned long long blocked = 0;
    eventually("named", [&] {
        DIR* tasks = opendir("/proc/self/task");
        bool found = false;
        while (const dirent* entry = readdir(tasks)) {
            const std::string folder = std::string("/proc/self/task/") + entry->d_name;
            std::string name, line;
            std::getline(std::ifstream(folder + "/comm") >> std::ws, name);
            if (name != "rt-broker") {
                continue;
            }
            found = true;
            for (std::ifstream status(folder + "/status"); std::getline(status, line);) {
                if (line.starts_with("SigBlk:")) {
                    blocked = std::stoull(line.substr(7), nullptr, 16);
                }
            }
        }
        closedir(tasks);
        return found;
    });
    for (const int signal : {SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGCHLD, SIGALRM, SIGPIPE, SIGIO}) {
        assert_true((blocked >> (signal - 1) & 1) == 1);
    }
    for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
        assert_true((blocked >> (signal - 1) & 1) == 0);
    }
}

TEST(without_servers_there_is_no_broker)
{
    CountingWakeUp wakeUp;
    BrokerConfig config;
    config.name = "events";
    std::string why;
    try {
        const Broker broker(config, wakeUp);
    } catch (const std::runtime_error& e) {
        why = e.what();
    }
    assert_text_equal(why, "broker \"events\" has no server");
}

TEST(every_event_is_stored_and_completed_once_while_the_link_keeps_breaking)
{
    constexpr std::uint64_t Events = 50'000;
    FakeStore store;
    auto config = amqpConfig();
    config.maxQueuedEvents = 4'096;
    config.drain = 20s;
    Loop loop(config, store.factory());
    std::minstd_rand random(7);
    for (std::uint64_t i = 1; i <= Events;) {
        if (loop.broker.offer(makeEvent(std::to_string(i), i)) == Offer::Queued) {
            if (++i % 2'500 == 0) {
                store.with([](auto& s) { s.breaks = true; });
            }
        } else {
            std::this_thread::yield();
        }
        if (random() % 64 == 0) {
            loop.take();
        }
    }
    loop.broker.stop();
    loop.take();
    assert_int_equal(loop.completions.size(), Events);
    for (std::uint64_t i = 0; i < Events; ++i) {
        assert_int_equal(loop.completions[i].token, i + 1);
        assert_true(loop.completions[i].stored);
    }
    assert_true(loop.broker.stats().reconnects > 0);
}

TEST_MAIN()
