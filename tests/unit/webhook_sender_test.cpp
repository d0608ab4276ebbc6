#include "broker_testing.hpp"
#include "webhook/webhook_sender.hpp"
#include "webhook/webhook_url.hpp"
#include "webhook_receiver.hpp"

#include <array>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <openssl/hmac.h>
#include <sstream>
#include <string>
#include <vector>

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;
using namespace std::chrono_literals;
using pusher::WebhookName;

// A look-up that is still going on is left behind on purpose, see Resolver.
extern "C" const char* __lsan_default_suppressions() // NOLINT(bugprone-reserved-identifier)
{
    return "leak:realtime::Resolver\n";
}

namespace {

// ThreadSanitizer crashes in the threads that the C library makes for itself (getaddrinfo_a).
#ifdef __SANITIZE_THREAD__
constexpr bool NamesCanBeLookedUp = false;
#else
constexpr bool NamesCanBeLookedUp = true;
#endif

constexpr std::int64_t TimeMs = 1'700'000'000'123;

WebhookEndpoint endpointAt(std::string url)
{
    WebhookEndpoint endpoint;
    endpoint.app = "shop";
    endpoint.url = std::move(url);
    endpoint.key = "278d425bdf160c739803";
    endpoint.secret = "7ad3773142a6692b25b8";
    endpoint.batchWindow = 0ms;
    return endpoint;
}

// Each event a request of its own.
WebhookEndpoint singly(std::string url)
{
    auto endpoint = endpointAt(std::move(url));
    endpoint.maxBatchEvents = 1;
    return endpoint;
}

WebhookOptions quick()
{
    WebhookOptions options;
    options.timeout = 10s;
    options.firstRetry = 10ms;
    options.slowestRetry = 40ms;
    options.drain = 5s;
    return options;
}

pusher::WebhookEvent occupied(const std::string& channel)
{
    pusher::WebhookEvent event;
    event.channel = channel;
    return event;
}

// A sender with its event loop's side played by the test.
struct Hooks {
    explicit Hooks(const WebhookEndpoint& endpoint, const WebhookOptions& options = quick())
        : sender({endpoint}, wakeUp, options)
    {
    }

    void offer(const std::string& channel)
    {
        if (!sender.offer(0, occupied(channel), TimeMs)) {
            throw std::runtime_error("refused: " + channel);
        }
    }

    std::size_t notesWith(Note::Level level, const std::string& part)
    {
        sender.takeNotes(notes);
        std::size_t count = 0;
        for (const auto& note : notes) {
            count += note.level == level && note.text.find(part) != std::string::npos ? 1 : 0;
        }
        return count;
    }

    WebhookStats stats() const { return sender.stats(0); }

    CountingWakeUp wakeUp;
    std::vector<Note> notes;
    WebhookSender sender;
};

std::string signatureOf(const std::string& secret, const std::string& body)
{
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
         reinterpret_cast<const unsigned char*>(body.data()), body.size(), digest.data(), &size);
    std::string hex;
    for (unsigned i = 0; i < size; ++i) {
        constexpr std::string_view Digits = "0123456789abcdef";
        hex += Digits[digest[i] >> 4];
        hex += Digits[digest[i] & 15];
    }
    return hex;
}

std::size_t occurrences(const std::string& text, const std::string& part)
{
    std::size_t count = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
        ++count;
    }
    return count;
}

// The channels of all requests, in the order of arrival.
std::vector<std::string> channelsOf(const std::vector<HookRequest>& requests)
{
    const std::string mark = "\"channel\":\"";
    std::vector<std::string> channels;
    for (const auto& request : requests) {
        for (auto at = request.body.find(mark); at != std::string::npos; at = request.body.find(mark, at)) {
            at += mark.size();
            channels.push_back(request.body.substr(at, request.body.find('"', at) - at));
        }
    }
    return channels;
}

std::string bodyOf(const std::string& channel)
{
    return R"({"time_ms":1700000000123,"events":[{"name":"channel_occupied","channel":")" + channel + "\"}]}";
}

HookScript always(int status)
{
    return [status](const HookRequest&, std::size_t) { return answerWith(status); };
}

std::chrono::milliseconds timeOf(const std::function<void()>& body)
{
    const auto began = std::chrono::steady_clock::now();
    body();
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began);
}

} // namespace

// --- what is sent -----------------------------------------------------------------------------------------------

TEST(an_event_is_posted_with_exactly_the_headers_of_the_specification)
{
    HookReceiver receiver;
    Hooks hooks(endpointAt(receiver.url("/hooks/a?token=t%20k")));
    hooks.offer("private-orders-42");
    eventually("sent", [&] { return hooks.stats().sent == 1; });

    const auto requests = receiver.requests();
    assert_int_equal(requests.size(), 1);
    const auto& request = requests[0];
    assert_text_equal(request.head.substr(0, request.head.find("\r\n")),
                      "POST /hooks/a?token=t%20k HTTP/1.1");
    assert_text_equal(request.body, bodyOf("private-orders-42"));
    assert_text_equal(request.header("Content-Type"), "application/json");
    assert_text_equal(request.header("X-Pusher-Key"), "278d425bdf160c739803");
    assert_text_equal(request.header("X-Pusher-Signature"),
                      signatureOf("7ad3773142a6692b25b8", request.body));
    assert_text_equal(request.header("Host"), "127.0.0.1:" + std::to_string(receiver.port()));
    assert_text_equal(request.header("Content-Length"), std::to_string(request.body.size()));
    assert_text_equal(request.header("Expect"), "");
    assert_text_equal(request.header("Transfer-Encoding"), "");
}

TEST(every_member_of_an_event_arrives_and_the_signature_covers_the_bytes)
{
    HookReceiver receiver;
    Hooks hooks(endpointAt(receiver.url()));
    pusher::WebhookEvent event;
    event.name = WebhookName::ClientEvent;
    event.channel = "presence-room-7";
    event.userId = "u-17";
    event.event = "client-typing";
    event.data = R"({"on":true,"who":"Zoë"})";
    event.socketId = "310462.91724455";
    assert_true(hooks.sender.offer(0, event, TimeMs));
    eventually("sent", [&] { return hooks.stats().sent == 1; });

    const auto request = receiver.requests().at(0);
    assert_int_not_equal(request.body.find(R"("data":"{\"on\":true,\"who\":\"Zoë\"}")"), std::string::npos);
    assert_int_not_equal(request.body.find(R"("event":"client-typing")"), std::string::npos);
    assert_int_not_equal(request.body.find(R"("socket_id":"310462.91724455")"), std::string::npos);
    assert_int_not_equal(request.body.find(R"("user_id":"u-17")"), std::string::npos);
    assert_text_equal(request.header("X-Pusher-Signature"),
                      signatureOf("7ad3773142a6692b25b8", request.body));
}

TEST(a_body_larger_than_a_megabyte_is_sent_without_asking_first)
{
    HookReceiver receiver;
    Hooks hooks(endpointAt(receiver.url()));
    pusher::WebhookEvent event;
    event.name = WebhookName::ClientEvent;
    event.channel = "private-x";
    event.data = std::string(std::size_t{3} << 20, 'x');
    assert_true(hooks.sender.offer(0, event, TimeMs));
    eventually("sent", [&] { return hooks.stats().sent == 1; });
    assert_int_equal(occurrences(receiver.requests().at(0).head, "100-continue"), 0);
}

TEST(an_endpoint_wants_its_events_of_its_channels_and_none_of_a_users_own_channel)
{
    WebhookEndpoint endpoint;
    endpoint.events = {"channel_occupied", "cache_miss"};
    assert_true(endpoint.wants(WebhookName::ChannelOccupied, "anything"));
    assert_false(endpoint.wants(WebhookName::ChannelVacated, "anything"));
    assert_false(endpoint.wants(WebhookName::ChannelOccupied, "#server-to-user-17"));
    endpoint.channelPrefix = "cache-";
    assert_true(endpoint.wants(WebhookName::CacheMiss, "cache-btc"));
    assert_false(endpoint.wants(WebhookName::CacheMiss, "private-cache-btc"));
}

// --- batches and order ------------------------------------------------------------------------------------------

TEST(events_within_the_window_share_a_request)
{
    HookReceiver receiver;
    auto endpoint = endpointAt(receiver.url());
    endpoint.batchWindow = 500ms;
    Hooks hooks(endpoint);
    const auto began = std::chrono::steady_clock::now();
    hooks.offer("a");
    assert_true(hooks.sender.offer(0, occupied("b"), TimeMs + 7));
    eventually("sent", [&] { return hooks.stats().sent == 2; });
    assert_true(std::chrono::steady_clock::now() - began >= 500ms);
    assert_int_equal(receiver.count(), 1);
    assert_text_equal(receiver.requests()[0].body,
                      R"({"time_ms":1700000000130,"events":[{"name":"channel_occupied","channel":"a"},)"
                      R"({"name":"channel_occupied","channel":"b"}]})");
}

TEST(a_full_batch_does_not_wait_for_the_window)
{
    HookReceiver receiver;
    auto endpoint = endpointAt(receiver.url());
    endpoint.batchWindow = 1h;
    endpoint.maxBatchEvents = 3;
    Hooks hooks(endpoint);
    for (const auto* channel : {"a", "b", "c", "d", "e", "f"}) {
        hooks.offer(channel);
    }
    eventually("two batches", [&] { return hooks.stats().sent == 6; });
    assert_int_equal(receiver.count(), 2);
    assert_int_equal(occurrences(receiver.requests()[0].body, "\"name\""), 3);
}

TEST(a_batch_ends_at_its_bytes_and_a_larger_event_goes_alone)
{
    HookReceiver receiver;
    auto endpoint = endpointAt(receiver.url());
    endpoint.batchWindow = 1h;
    endpoint.maxBatchBytes = 100;
    Hooks hooks(endpoint);
    hooks.offer(std::string(60, 'a'));
    hooks.offer(std::string(60, 'b'));
    hooks.offer(std::string(150, 'c'));
    eventually("three batches", [&] { return hooks.stats().sent == 3; });
    assert_int_equal(receiver.count(), 3);
}

TEST(many_events_arrive_once_in_order_and_one_request_at_a_time)
{
    HookReceiver receiver;
    auto endpoint = endpointAt(receiver.url());
    endpoint.maxBatchEvents = 7;
    Hooks hooks(endpoint);
    std::vector<std::string> expected;
    for (int i = 0; i < 2'000; ++i) {
        expected.push_back("c-" + std::to_string(i));
        hooks.offer(expected.back());
    }
    eventually("sent", [&] { return hooks.stats().sent == 2'000; });
    assert_true(channelsOf(receiver.requests()) == expected);
    assert_int_equal(receiver.mostAtOnce(), 1);
    assert_int_equal(receiver.connections(), 1);
    assert_int_equal(hooks.stats().queued, 0);
    assert_int_equal(hooks.stats().queuedBytes, 0);
}

TEST(a_connection_that_the_receiver_closed_meanwhile_is_not_a_failure)
{
    HookReceiver receiver(
        [](const HookRequest&, std::size_t) { return answerWith(200, "Connection: close\r\n"); });
    Hooks hooks(singly(receiver.url()));
    for (int i = 0; i < 5; ++i) {
        hooks.offer("c");
    }
    eventually("sent", [&] { return hooks.stats().sent == 5; });
    assert_int_equal(hooks.stats().failedAttempts, 0);
}

// --- failures ---------------------------------------------------------------------------------------------------

TEST(a_refused_batch_is_sent_again_byte_for_byte_before_what_came_later)
{
    HookReceiver receiver(
        [](const HookRequest&, std::size_t number) { return answerWith(number < 3 ? 500 : 200); });
    Hooks hooks(endpointAt(receiver.url()));
    hooks.offer("first");
    eventually("a failure", [&] { return hooks.stats().failedAttempts > 0; });
    hooks.offer("second");
    eventually("sent", [&] { return hooks.stats().sent == 2; });

    const auto requests = receiver.requests();
    assert_int_equal(requests.size(), 5);
    for (std::size_t i = 0; i < 4; ++i) {
        assert_text_equal(requests[i].body, bodyOf("first"));
        assert_text_equal(requests[i].head, requests[0].head);
    }
    assert_text_equal(requests[4].body, bodyOf("second"));
    const auto stats = hooks.stats();
    assert_int_equal(stats.failedAttempts, 3);
    assert_int_equal(stats.lastStatus, 200);
    assert_false(stats.failing);
    assert_int_equal(hooks.notesWith(Note::Level::Warn, "answered 500"), 1); // not three
    assert_int_equal(hooks.notesWith(Note::Level::Notice, "accepts events again"), 1);
    assert_true(hooks.wakeUp.count > 0);
}

TEST(only_2xx_is_a_success)
{
    for (const int status : {200, 201, 202, 204, 299}) {
        HookReceiver receiver(always(status));
        Hooks hooks(endpointAt(receiver.url()));
        hooks.offer("c");
        eventually("sent", [&] { return hooks.stats().sent == 1; });
        assert_int_equal(hooks.stats().failedAttempts, 0);
        assert_int_equal(hooks.stats().lastStatus, status);
    }
    for (const int status : {300, 304, 400, 401, 404, 410, 429, 500, 503}) {
        HookReceiver receiver(always(status));
        auto options = quick();
        options.drain = 0ms;
        Hooks hooks(endpointAt(receiver.url()), options);
        hooks.offer("c");
        eventually("failed twice", [&] { return hooks.stats().failedAttempts >= 2; });
        assert_int_equal(hooks.stats().sent, 0);
        assert_int_equal(hooks.stats().lastStatus, status);
        assert_true(hooks.stats().failing);
    }
}

TEST(the_pause_between_attempts_doubles)
{
    using Clock = std::chrono::steady_clock;
    std::mutex mutex;
    std::vector<Clock::time_point> times;
    HookReceiver receiver([&](const HookRequest&, std::size_t number) {
        const std::lock_guard lock(mutex);
        times.push_back(Clock::now());
        return answerWith(number < 4 ? 500 : 200);
    });
    auto options = quick();
    options.firstRetry = 40ms;
    options.slowestRetry = 10s;
    Hooks hooks(endpointAt(receiver.url()), options);
    hooks.offer("c");
    eventually("sent", [&] { return hooks.stats().sent == 1; });
    const std::lock_guard lock(mutex);
    for (std::size_t i = 1; i < times.size(); ++i) {
        const auto least = 40ms * (1 << (i - 1)) / 2; // jitter takes off up to half
        assert_true(times[i] - times[i - 1] >= least - 5ms);
    }
}

TEST(an_unreachable_receiver_gets_its_events_when_it_is_back)
{
    HookReceiver receiver(always(200), HookReceiver::Begin::Closed);
    Hooks hooks(endpointAt(receiver.url()));
    hooks.offer("a");
    eventually("three failures", [&] { return hooks.stats().failedAttempts >= 3; });
    assert_int_equal(hooks.stats().lastStatus, 0);
    assert_int_equal(hooks.notesWith(Note::Level::Warn, "onnect"), 1);
    receiver.open();
    eventually("sent", [&] { return hooks.stats().sent == 1; });
    assert_int_equal(receiver.count(), 1);
}

TEST(a_receiver_that_goes_away_after_a_success_is_a_failure)
{
    auto receiver = std::make_unique<HookReceiver>();
    Hooks hooks(singly(receiver->url()), [] {
        auto options = quick();
        options.drain = 0ms;
        return options;
    }());
    hooks.offer("a");
    eventually("sent", [&] { return hooks.stats().sent == 1; });
    receiver.reset();
    hooks.offer("b");
    eventually("failed", [&] { return hooks.stats().failedAttempts >= 2; });
    assert_int_equal(hooks.stats().sent, 1);
    assert_int_equal(hooks.stats().lastStatus, 0);
}

TEST(a_receiver_that_does_not_answer_in_time_is_hung_up_on_and_tried_again)
{
    HookReceiver receiver([](const HookRequest&, std::size_t number) {
        return number == 0 ? std::nullopt : std::optional(answerWith(200));
    });
    auto options = quick();
    options.timeout = 200ms;
    Hooks hooks(endpointAt(receiver.url()), options);
    hooks.offer("a");
    eventually("sent", [&] { return hooks.stats().sent == 1; });
    assert_int_equal(hooks.stats().failedAttempts, 1);
    eventually("hung up", [&] { return receiver.hangUps() == 1; });
    assert_text_equal(receiver.requests().at(0).body, receiver.requests().at(1).body);
    assert_int_equal(hooks.notesWith(Note::Level::Warn, "timed out"), 1);
}

TEST(a_redirect_is_not_followed)
{
    HookReceiver elsewhere;
    HookReceiver receiver([&](const HookRequest&, std::size_t) {
        return answerWith(302, "Location: " + elsewhere.url("/stolen") + "\r\n");
    });
    auto options = quick();
    options.drain = 0ms;
    Hooks hooks(endpointAt(receiver.url()), options);
    hooks.offer("a");
    eventually("failed twice", [&] { return hooks.stats().failedAttempts >= 2; });
    assert_int_equal(hooks.stats().lastStatus, 302);
    assert_int_equal(hooks.notesWith(Note::Level::Warn, "redirects are not followed"), 1);
    assert_int_equal(elsewhere.connections(), 0);
    for (const auto& request : receiver.requests()) {
        assert_int_equal(request.head.find("POST /hooks "), 0);
    }
}

TEST(an_answer_without_end_is_cut_and_its_status_counts)
{
    HookReceiver receiver([](const HookRequest&, std::size_t) {
        return answerWith(200, "", std::string(std::size_t{8} << 20, 'x'));
    });
    Hooks hooks(singly(receiver.url()));
    hooks.offer("a");
    hooks.offer("b");
    eventually("sent", [&] { return hooks.stats().sent == 2; });
    assert_int_equal(receiver.connections(), 2); // neither was read to its end
    assert_int_equal(hooks.stats().failedAttempts, 0);
}

TEST(what_is_not_http_is_a_failure)
{
    for (const std::string answer : {"", "nonsense\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n"}) {
        HookReceiver receiver([&](const HookRequest&, std::size_t number) {
            return number == 0 ? answer + std::string(answer.empty() ? "\n" : "") : answerWith(200);
        });
        auto options = quick();
        options.timeout = 300ms;
        Hooks hooks(endpointAt(receiver.url()), options);
        hooks.offer("a");
        eventually("sent", [&] { return hooks.stats().sent == 1; });
        assert_int_equal(hooks.stats().failedAttempts, 1);
    }
}

TEST(what_is_not_accepted_in_time_is_dropped_and_counted)
{
    std::atomic<bool> fails{true};
    HookReceiver receiver([&](const HookRequest&, std::size_t) { return answerWith(fails ? 500 : 200); });
    auto options = quick();
    options.retryFor = 300ms;
    Hooks hooks(singly(receiver.url()), options);
    const auto began = std::chrono::steady_clock::now();
    hooks.offer("old-1");
    hooks.offer("old-2");
    eventually("dropped", [&] { return hooks.stats().dropped == 2; });
    assert_true(std::chrono::steady_clock::now() - began >= 300ms);
    assert_int_equal(hooks.stats().queuedBytes, 0);
    assert_int_equal(hooks.notesWith(Note::Level::Error, "dropped"), 1);
    fails = false;
    hooks.offer("new");
    eventually("sent", [&] { return hooks.stats().sent == 1; });
    const auto channels = channelsOf(receiver.requests());
    assert_text_equal(channels.front(), "old-1");
    assert_text_equal(channels.back(), "new");
}

// --- bounds -----------------------------------------------------------------------------------------------------

TEST(a_full_queue_refuses_and_does_not_touch_another_endpoints)
{
    HookReceiver bad([](const HookRequest&, std::size_t) { return std::nullopt; });
    HookReceiver good;
    auto options = quick();
    options.maxQueuedBytes = 64 << 10;
    options.drain = 0ms;
    CountingWakeUp wakeUp;
    WebhookSender sender({endpointAt(bad.url()), endpointAt(good.url())}, wakeUp, options);

    std::size_t taken = 0;
    while (taken < 1'000 && sender.offer(0, occupied(std::string(100, 'x')), TimeMs)) {
        ++taken;
    }
    assert_in_range(taken, 50, 650);
    assert_int_equal(sender.stats(0).refused, 1);
    assert_int_equal(sender.stats(0).queued, taken);
    assert_true(sender.stats(0).queuedBytes <= options.maxQueuedBytes);

    assert_true(sender.offer(1, occupied("c"), TimeMs));
    eventually("the other's is sent", [&] { return sender.stats(1).sent == 1; });
    assert_int_equal(sender.stats(1).refused, 0);
    assert_int_equal(sender.stats(0).sent, 0);

    std::vector<Note> notes;
    eventually("a note", [&] {
        sender.takeNotes(notes);
        return !notes.empty();
    });
    assert_int_not_equal(notes[0].text.find("queue is full"), std::string::npos);
}

TEST(notes_name_the_receiver_but_no_secret)
{
    HookReceiver receiver(always(403));
    auto options = quick();
    options.retryFor = 100ms;
    options.drain = 0ms;
    Hooks hooks(endpointAt(receiver.url("/hooks?token=swordfish")), options);
    hooks.offer("a");
    eventually("dropped", [&] { return hooks.stats().dropped == 1; });
    hooks.sender.stop();
    assert_true(hooks.notesWith(Note::Level::Warn,
                                "webhook of app \"shop\" to " + receiver.url() + ": answered 403") > 0);
    for (const auto& note : hooks.notes) {
        assert_int_equal(note.text.find("swordfish"), std::string::npos);
        assert_int_equal(note.text.find("7ad3773142a6692b25b8"), std::string::npos);
    }
}

// --- stopping ---------------------------------------------------------------------------------------------------

TEST(stopping_sends_what_still_waits_for_its_window)
{
    HookReceiver receiver;
    auto endpoint = endpointAt(receiver.url());
    endpoint.batchWindow = 1h;
    Hooks hooks(endpoint);
    hooks.offer("a");
    hooks.offer("b");
    assert_true(timeOf([&] { hooks.sender.stop(); }) < 4s);
    assert_true(channelsOf(receiver.requests()) == (std::vector<std::string>{"a", "b"}));
    assert_int_equal(hooks.stats().sent, 2);
    assert_int_equal(hooks.stats().dropped, 0);
    assert_false(hooks.sender.offer(0, occupied("late"), TimeMs));
    assert_int_equal(hooks.stats().refused, 1);
}

TEST(stopping_tries_a_failing_receiver_once_more_without_waiting_for_the_back_off)
{
    HookReceiver receiver(
        [](const HookRequest&, std::size_t number) { return answerWith(number == 0 ? 500 : 200); });
    auto options = quick();
    options.firstRetry = 1h;
    options.slowestRetry = 1h;
    Hooks hooks(endpointAt(receiver.url()), options);
    hooks.offer("a");
    eventually("a failure", [&] { return hooks.stats().failedAttempts == 1; });
    assert_true(timeOf([&] { hooks.sender.stop(); }) < 4s);
    assert_int_equal(hooks.stats().sent, 1);
}

TEST(stopping_does_not_wait_for_a_back_off_that_outlasts_it)
{
    HookReceiver receiver(always(500));
    auto options = quick();
    options.firstRetry = 1h;
    options.slowestRetry = 1h;
    options.drain = 10s;
    Hooks hooks(endpointAt(receiver.url()), options);
    hooks.offer("a");
    eventually("a failure", [&] { return hooks.stats().failedAttempts == 1; });
    assert_true(timeOf([&] { hooks.sender.stop(); }) < 5s);
    assert_int_equal(hooks.stats().dropped, 1);
    assert_int_equal(hooks.notesWith(Note::Level::Error, "1 events could not be sent"), 1);
}

TEST(stopping_while_a_request_hangs_cuts_it_after_the_drain)
{
    HookReceiver receiver([](const HookRequest&, std::size_t) { return std::nullopt; });
    auto options = quick();
    options.drain = 200ms;
    Hooks hooks(singly(receiver.url()), options);
    hooks.offer("a");
    hooks.offer("b");
    eventually("the request", [&] { return receiver.count() == 1; });
    const auto took = timeOf([&] { hooks.sender.stop(); });
    assert_true(took >= 200ms);
    assert_true(took < 2s);
    assert_int_equal(hooks.stats().dropped, 2);
    assert_int_equal(hooks.stats().queuedBytes, 0);
    assert_int_equal(hooks.notesWith(Note::Level::Error, "2 events could not be sent"), 1);
}

TEST(stopping_while_a_name_is_looked_up_is_bounded)
{
    if (!NamesCanBeLookedUp) {
        return;
    }
    auto options = quick();
    options.drain = 100ms;
    Hooks hooks(endpointAt("http://no-such-host.invalid:1/"), options);
    hooks.offer("a");
    assert_true(timeOf([&] { hooks.sender.stop(); }) < 2s);
    assert_int_equal(hooks.stats().dropped, 1);
}

// --- names, proxies, TLS ----------------------------------------------------------------------------------------

TEST(a_receiver_can_be_named)
{
    if (!NamesCanBeLookedUp) {
        return;
    }
    HookReceiver receiver;
    Hooks hooks(singly(receiver.url("/hooks", "LocalHost")));
    hooks.offer("a");
    hooks.offer("b");
    eventually("sent", [&] { return hooks.stats().sent == 2; });
    assert_int_equal(receiver.connections(), 1);
    assert_int_equal(receiver.requests()[0].header("Host").find_first_of("Ll"), 0);
}

TEST(proxies_of_the_environment_are_ignored)
{
    HookReceiver receiver;
    setenv("http_proxy", "http://127.0.0.1:1/", 1);
    setenv("all_proxy", "http://127.0.0.1:1/", 1);
    {
        Hooks hooks(endpointAt(receiver.url()));
        hooks.offer("a");
        eventually("sent", [&] { return hooks.stats().sent == 1; });
        assert_int_equal(hooks.stats().failedAttempts, 0);
    }
    unsetenv("http_proxy");
    unsetenv("all_proxy");
}

TEST(a_certificate_is_verified)
{
    const HookTls tls;
    HookReceiver receiver(always(200), HookReceiver::Begin::Listening, tls.context());
    const auto path =
        std::filesystem::temp_directory_path() / ("realtime-webhook-" + std::to_string(getpid()) + ".pem");
    tls.writeCertificate(path);
    auto options = quick();
    options.drain = 0ms;
    {
        Hooks hooks(endpointAt(receiver.url()), options); // the system's authorities have not signed it
        hooks.offer("a");
        // With a sanitizer on a busy machine, reading some hundred authorities takes a while.
        eventually(
            "refused", [&] { return hooks.notesWith(Note::Level::Warn, "certificate") == 1; }, 60s);
        assert_int_equal(receiver.count(), 0);
    }
    if (NamesCanBeLookedUp) {
        auto endpoint = endpointAt(receiver.url("/", "localhost")); // it is for 127.0.0.1
        endpoint.tlsCa = path;
        Hooks hooks(endpoint, options);
        hooks.offer("a");
        eventually("failed", [&] { return hooks.stats().failedAttempts >= 1; });
        assert_int_equal(receiver.count(), 0);
    }
    auto endpoint = endpointAt(receiver.url());
    endpoint.tlsCa = path;
    Hooks hooks(endpoint);
    hooks.offer("a");
    eventually("sent", [&] { return hooks.stats().sent == 1; });
    assert_int_equal(receiver.count(), 1);
    hooks.sender.stop();
    std::filesystem::remove(path);
}

// --- the URL ----------------------------------------------------------------------------------------------------

TEST(urls_of_receivers_are_understood)
{
    struct Case {
        const char* url;
        const char* host;
        int port;
        bool numeric;
        const char* display;
    };
    for (const Case& c : {
             Case{"http://127.0.0.1:8080/hooks", "127.0.0.1", 8080, true, "http://127.0.0.1:8080/hooks"},
             Case{"https://Hooks.Example.com", "hooks.example.com", 443, false, "https://Hooks.Example.com"},
             Case{"HTTP://a/b?token=x", "a", 80, false, "HTTP://a/b"},
             Case{"http://[::1]:1/", "::1", 1, true, "http://[::1]:1/"},
             Case{"http://a_b.c-d:65535/?x", "a_b.c-d", 65'535, false, "http://a_b.c-d:65535/"},
         }) {
        const auto url = parseWebhookUrl(c.url);
        assert_text_equal(url.host, c.host);
        assert_int_equal(url.port, c.port);
        assert_int_equal(url.numeric, c.numeric);
        assert_text_equal(url.display, c.display);
    }
}

TEST(urls_that_cannot_be_meant_are_refused_with_a_sentence)
{
    for (const std::string& url : std::vector<std::string>{"",
                                                           "http",
                                                           "http://",
                                                           "http:///x",
                                                           "https://:80/",
                                                           "http:/a",
                                                           "a.example/hooks",
                                                           "//a/",
                                                           "ftp://a/",
                                                           "file:///etc/passwd",
                                                           "httpx://a/",
                                                           "http://user:swordfish@a/",
                                                           "http://user@a/",
                                                           "http://@a/#",
                                                           "http://a:0/",
                                                           "http://a:65536/",
                                                           "http://a:x/",
                                                           "http://a b/",
                                                           "http://a/ b",
                                                           "http://a/\n",
                                                           "http://a/\x7f",
                                                           "http://\xc3\xa4/",
                                                           "http://a/#part",
                                                           "http://a./",
                                                           "http://.a/",
                                                           "http://[::1/",
                                                           "http://[x]/",
                                                           "http://a,b/",
                                                           "http://%00/",
                                                           "http://a/" + std::string(2'000, 'x')}) {
        try {
            validateWebhookUrl(url);
            fail_msg("accepted: %s", url.c_str());
        } catch (const std::runtime_error& e) {
            assert_int_equal(std::string(e.what()).find("the webhook's URL "), 0);
            assert_int_equal(std::string(e.what()).find("swordfish"), std::string::npos);
        }
    }
}

TEST_MAIN()
