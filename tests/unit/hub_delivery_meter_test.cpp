// How long deliveries take: the meter by itself, and in a hub over a real log.
#include "hub/delivery_meter.hpp"
#include "hub/hub.hpp"
#include "log_testing.hpp"

#include <numeric>

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

struct Histogram {
    std::array<std::atomic<std::uint64_t>, LatencyHistogram::Words> words{};

    std::uint64_t count() const
    {
        return std::accumulate(words.begin(), words.end() - 1, std::uint64_t{0},
                               [](std::uint64_t sum, const auto& word) { return sum + word.load(); });
    }
    // Latencies of at least so many microseconds.
    std::uint64_t atLeast(std::uint32_t micros) const
    {
        std::uint64_t sum = 0;
        for (std::size_t i = LatencyBuckets::of(micros); i < LatencyBuckets::Count; ++i) {
            sum += words[i].load();
        }
        return sum;
    }
};

struct NoWakeUp final : WakeUp {
    void wake(std::uint32_t) override {}
};

// Its socket takes everything, or nothing.
class Socket final : public Subscriber {
public:
    Socket() : Subscriber(Encoding::JsonList) {}
    void enqueue(const FramePtr& frame, std::uint32_t) override { waiting += frame->size(); }
    void flush() override { waiting = full ? waiting : 0; }
    void cutOff(std::string_view) override {}
    std::size_t waitingBytes() const override { return waiting; }

    std::size_t waiting = 0;
    bool full = false;
};

struct Stage {
    Stage() : mapping(4 << 20), log(SharedLog::create(mapping.span(), {8}))
    {
        hub = std::make_unique<Hub>(std::vector<HubLog>{{log, SharedLog::NoSlot, &wakeUp}});
        hub->openSlot(0, log.claimSlot());
        hub->measureInto(LatencyHistogram(histogram.words));
    }
    void publish(std::string_view channel)
    {
        NewRecord record;
        record.app = "app";
        record.channel = channel;
        record.data = "x";
        log.append(record, 0, wakeUp);
    }
    void join(Subscriber& subscriber, std::string_view channel, Since::Kind since = Since::Kind::Latest)
    {
        const ChannelRequest request{"app", channel, 0, {}};
        hub->join(subscriber, {&request, 1}, {since, {}}, 0);
        hub->pump(subscriber, 0);
    }

    SharedMapping mapping;
    SharedLog log;
    NoWakeUp wakeUp;
    Histogram histogram;
    std::unique_ptr<Hub> hub;
};

} // namespace

TEST(each_event_counts_once_for_each_subscriber_with_its_own_age)
{
    Histogram histogram;
    DeliveryMeter meter;
    meter.measureInto(LatencyHistogram(histogram.words));
    const std::uint32_t now = monotonicMicros();
    const std::uint32_t old = meter.event(now - 5'000'000);
    meter.event(now);
    const std::size_t subscribers = 3 * DeliveryMeter::ChunkFlushes + 1;
    for (std::size_t i = 0; i < subscribers; ++i) {
        meter.delivered(i, old, 2);
    }
    for (std::size_t i = 0; i < subscribers; ++i) {
        meter.flushed(true);
    }
    assert_int_equal(meter.finish(), 0);
    assert_int_equal(histogram.count(), 2 * subscribers);
    assert_int_equal(histogram.atLeast(4'000'000), subscribers);
}

TEST(what_a_socket_does_not_take_is_not_measured)
{
    Histogram histogram;
    DeliveryMeter meter;
    meter.measureInto(LatencyHistogram(histogram.words));
    const std::uint32_t event = meter.event(monotonicMicros());
    meter.delivered(0, event, 1);
    meter.delivered(1, event, 1);
    meter.flushed(false);
    meter.flushed(true);
    assert_int_equal(meter.finish(), 1);
    assert_int_equal(histogram.count(), 1);
}

TEST(a_hub_measures_what_it_delivers)
{
    Stage stage;
    Socket one, two, both;
    stage.join(one, "a");
    stage.join(two, "b");
    stage.join(both, "a");
    stage.join(both, "b");
    for (int i = 0; i < 5; ++i) {
        stage.publish("a");
        stage.publish("b");
    }
    stage.publish("nobody");
    stage.hub->drain();
    assert_int_equal(stage.histogram.count(), 20);
    assert_int_equal(stage.hub->stats().delivered, 20);
    assert_int_equal(stage.hub->stats().waited, 0);
    assert_int_equal(stage.histogram.atLeast(5'000'000), 0);
    for (Socket* socket : {&one, &two, &both}) {
        stage.hub->leave(*socket);
    }
}

TEST(history_is_not_measured)
{
    Stage stage;
    stage.publish("a");
    Socket late;
    stage.join(late, "a", Since::Kind::Earliest);
    assert_int_equal(stage.hub->stats().delivered, 1);
    assert_int_equal(stage.histogram.count(), 0);
    stage.publish("a");
    stage.hub->drain();
    assert_int_equal(stage.histogram.count(), 1);
    stage.hub->leave(late);
}

TEST(a_subscriber_whose_socket_stays_full_is_told_of_until_it_is_not)
{
    Stage stage;
    Socket slow, quick;
    stage.join(slow, "a");
    stage.join(quick, "a");
    slow.full = true;
    stage.publish("a");
    stage.hub->drain();
    assert_int_equal(stage.hub->stats().waited, 1);
    assert_true(stage.hub->waiting(1000).empty()); // for how long is not known yet
    auto waiting = stage.hub->waiting(2000);
    assert_int_equal(waiting.size(), 1);
    assert_ptr_equal(waiting[0].subscriber, &slow);
    assert_int_equal(waiting[0].sinceMs, 1000);
    slow.full = false;
    stage.publish("a");
    stage.hub->drain();
    assert_true(stage.hub->waiting(3000).empty());
    stage.hub->leave(slow);
    stage.hub->leave(quick);
}

TEST(a_subscriber_that_leaves_while_its_socket_is_full_is_forgotten)
{
    Stage stage;
    Socket slow;
    stage.join(slow, "a");
    slow.full = true;
    stage.publish("a");
    stage.hub->drain();
    stage.hub->waiting(1000);
    stage.hub->leave(slow);
    assert_true(stage.hub->waiting(2000).empty());
}

TEST_MAIN()
