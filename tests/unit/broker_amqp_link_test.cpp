// The AMQP store against peers that RabbitMQ never is: silent, rude, wrong; and against a scripted broker that refuses,
// returns, blocks, falls silent. What a real RabbitMQ does is tests/integration/broker_amqp_test.cpp's.

#include "broker/amqp/amqp_codec.hpp"
#include "broker_testing.hpp"

#include <arpa/inet.h>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

constexpr amqp_channel_t Channel = 1;

// Listens on a free loopback port; `serve` runs for one connection after another on a thread.
class Server {
public:
    explicit Server(std::function<void(int)> serve) : serve_(std::move(serve))
    {
        listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof(address);
        auto* raw = reinterpret_cast<sockaddr*>(&address);
        if (bind(listener_, raw, size) != 0 || listen(listener_, 16) != 0 ||
            getsockname(listener_, raw, &size) != 0) {
            throw std::runtime_error("cannot listen");
        }
        port_ = ntohs(address.sin_port);
        thread_ = std::thread([this] { run(); });
    }
    ~Server()
    {
        stop_ = true;
        thread_.join();
        close(listener_);
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    bool stopping() const { return stop_; }
    int connections() const { return connections_; }
    std::string url() const { return "amqp://guest:guest@127.0.0.1:" + std::to_string(port_); }

private:
    void run()
    {
        while (!stop_) {
            pollfd ready{listener_, POLLIN, 0};
            if (poll(&ready, 1, 10) != 1) {
                continue;
            }
            const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            ++connections_;
            serve_(fd);
            close(fd);
        }
    }

    std::function<void(int)> serve_;
    int listener_ = -1;
    std::uint16_t port_ = 0;
    std::atomic<bool> stop_{false};
    std::atomic<int> connections_{0};
    std::thread thread_;
};

// A broker that logs anybody in, accepts all declarations, notes what is published and settles it as told.
class ScriptedBroker {
public:
    struct Message {
        std::uint64_t tag;
        std::string id, body;
    };

    ScriptedBroker() : server_([this](int fd) { serve(fd); }) {}

    std::string url() const { return server_.url(); }
    int connections() const { return server_.connections(); }

    // Frames to be sent as soon as possible on the present connection, in order.
    void send(std::function<void(AmqpEncoder&, std::string&)> write)
    {
        const std::lock_guard lock(mutex_);
        orders_.push_back(std::move(write));
    }
    void ack(std::uint64_t tag, bool multiple = false)
    {
        send([=](AmqpEncoder& encoder, std::string& out) {
            amqp_basic_ack_t method{tag, multiple ? 1 : 0};
            (void)encoder.method(out, Channel, AMQP_BASIC_ACK_METHOD, &method);
        });
    }
    void nack(std::uint64_t tag)
    {
        send([=](AmqpEncoder& encoder, std::string& out) {
            amqp_basic_nack_t method{tag, 0, 0};
            (void)encoder.method(out, Channel, AMQP_BASIC_NACK_METHOD, &method);
        });
    }
    void giveBack(std::string id, std::string body)
    {
        send([id = std::move(id), body = std::move(body)](AmqpEncoder& encoder, std::string& out) {
            amqp_basic_return_t method{312, amqp_cstring_bytes("NO_ROUTE"), amqp_cstring_bytes("realtime"),
                                       amqp_cstring_bytes("key")};
            (void)encoder.method(out, Channel, AMQP_BASIC_RETURN_METHOD, &method);
            amqp_basic_properties_t properties{};
            properties._flags = AMQP_BASIC_MESSAGE_ID_FLAG;
            properties.message_id = amqpBytes(id);
            (void)encoder.header(out, Channel, properties, body.size());
            encoder.body(out, Channel, body, MinFrameSize);
        });
    }
    void hangUp() { hangUp_ = true; }
    void answerNothing() { mute_ = true; } // not even heartbeats

    std::vector<Message> received()
    {
        const std::lock_guard lock(mutex_);
        return messages_;
    }
    std::vector<std::string> ids()
    {
        std::vector<std::string> out;
        for (const auto& message : received()) {
            out.push_back(message.id);
        }
        return out;
    }
    int heartbeats() const { return heartbeats_; }

private:
    void serve(int fd)
    {
        AmqpDecoder decoder;
        AmqpEncoder encoder;
        std::string out;
        bool greeted = false;
        std::uint64_t tag = 0;
        hangUp_ = false;
        while (!server_.stopping() && !hangUp_) {
            {
                const std::lock_guard lock(mutex_);
                for (; tag > 0 && !orders_.empty(); orders_.pop_front()) {
                    orders_.front()(encoder, out);
                }
            }
            if (!mute_ && !out.empty()) {
                // One byte first, so that the peer sees frames in pieces.
                (void)::send(fd, out.data(), 1, MSG_NOSIGNAL);
                (void)::send(fd, out.data() + 1, out.size() - 1, MSG_NOSIGNAL);
            }
            out.clear();
            pollfd ready{fd, POLLIN, 0};
            if (poll(&ready, 1, 2) != 1) {
                continue;
            }
            char bytes[65'536];
            const auto count = recv(fd, bytes, sizeof(bytes), 0);
            if (count <= 0) {
                return;
            }
            std::string_view input(bytes, static_cast<std::size_t>(count));
            if (!greeted) {
                input.remove_prefix(8); // the protocol header
                greeted = true;
                start(encoder, out);
            }
            amqp_frame_t frame;
            while (decoder.next(input, frame) == AmqpDecoder::Result::Frame) {
                handle(frame, decoder, encoder, out, tag);
            }
        }
    }

    static void start(AmqpEncoder& encoder, std::string& out)
    {
        amqp_connection_start_t method{0, 9, amqp_empty_table, amqp_cstring_bytes("AMQPLAIN PLAIN"),
                                       amqp_cstring_bytes("en_US")};
        (void)encoder.method(out, 0, AMQP_CONNECTION_START_METHOD, &method);
    }

    void handle(const amqp_frame_t& frame, AmqpDecoder& decoder, AmqpEncoder& encoder, std::string& out,
                std::uint64_t& tag)
    {
        const std::lock_guard lock(mutex_);
        if (frame.frame_type == AMQP_FRAME_HEARTBEAT) {
            ++heartbeats_;
            encoder.heartbeat(out);
        } else if (frame.frame_type == AMQP_FRAME_HEADER) {
            const auto& properties = *static_cast<amqp_basic_properties_t*>(frame.payload.properties.decoded);
            messages_.push_back({++tag, std::string(toView(properties.message_id)), {}});
        } else if (frame.frame_type == AMQP_FRAME_BODY) {
            messages_.back().body += toView(frame.payload.body_fragment);
        } else if (frame.frame_type == AMQP_FRAME_METHOD) {
            answer(frame, decoder, encoder, out);
        }
    }

    static void answer(const amqp_frame_t& frame, AmqpDecoder& decoder, AmqpEncoder& encoder,
                       std::string& out)
    {
        const auto reply = [&](amqp_method_number_t id, auto method) {
            (void)encoder.method(out, frame.channel, id, &method);
        };
        switch (frame.payload.method.id) {
        case AMQP_CONNECTION_START_OK_METHOD:
            reply(AMQP_CONNECTION_TUNE_METHOD, amqp_connection_tune_t{2'047, MinFrameSize, 60});
            break;
        case AMQP_CONNECTION_TUNE_OK_METHOD:
            decoder.setFrameMax(MinFrameSize);
            break;
        case AMQP_CONNECTION_OPEN_METHOD:
            reply(AMQP_CONNECTION_OPEN_OK_METHOD, amqp_connection_open_ok_t{});
            break;
        case AMQP_CHANNEL_OPEN_METHOD:
            reply(AMQP_CHANNEL_OPEN_OK_METHOD, amqp_channel_open_ok_t{});
            break;
        case AMQP_EXCHANGE_DECLARE_METHOD:
            reply(AMQP_EXCHANGE_DECLARE_OK_METHOD, amqp_exchange_declare_ok_t{});
            break;
        case AMQP_QUEUE_DECLARE_METHOD:
            reply(AMQP_QUEUE_DECLARE_OK_METHOD, amqp_queue_declare_ok_t{});
            break;
        case AMQP_QUEUE_BIND_METHOD:
            reply(AMQP_QUEUE_BIND_OK_METHOD, amqp_queue_bind_ok_t{});
            break;
        case AMQP_CONFIRM_SELECT_METHOD:
            reply(AMQP_CONFIRM_SELECT_OK_METHOD, amqp_confirm_select_ok_t{});
            break;
        case AMQP_CONNECTION_CLOSE_METHOD:
            reply(AMQP_CONNECTION_CLOSE_OK_METHOD, amqp_connection_close_ok_t{});
            break;
        default:
            break;
        }
    }

    std::mutex mutex_;
    std::deque<std::function<void(AmqpEncoder&, std::string&)>> orders_;
    std::vector<Message> messages_;
    std::atomic<bool> hangUp_{false}, mute_{false};
    std::atomic<int> heartbeats_{0};
    Server server_; // last: its thread uses the others
};

BrokerConfig configFor(const std::string& url)
{
    BrokerConfig config;
    config.name = "events";
    config.node = "node1";
    config.queues.emplace_back();
    config.servers = {parseBrokerServer(url)};
    config.drain = 300ms;
    return config;
}

void awaitNote(Loop& loop, const char* part, std::chrono::milliseconds patience = 20s)
{
    eventually(
        part,
        [&] {
            loop.take();
            return loop.notesWith(part) > 0;
        },
        patience);
}

void awaitReceived(ScriptedBroker& broker, std::size_t count)
{
    eventually("messages", [&] { return broker.received().size() >= count; });
}

using Ids = std::vector<std::string>;

} // namespace

TEST(frames_survive_being_cut_anywhere)
{
    AmqpEncoder encoder;
    std::string bytes;
    amqp_basic_ack_t ack{77, 1};
    assert_true(encoder.method(bytes, 3, AMQP_BASIC_ACK_METHOD, &ack));
    amqp_basic_properties_t properties{};
    properties._flags = AMQP_BASIC_MESSAGE_ID_FLAG;
    properties.message_id = amqp_cstring_bytes("id-1");
    assert_true(encoder.header(bytes, 3, properties, 10'000));
    encoder.body(bytes, 3, std::string(10'000, 'x'), MinFrameSize);
    encoder.heartbeat(bytes);
    for (std::size_t cut = 0; cut <= std::min<std::size_t>(bytes.size(), 200); ++cut) {
        AmqpDecoder decoder;
        std::size_t body = 0, frames = 0;
        const auto feed = [&](std::string_view input) {
            amqp_frame_t frame;
            for (;;) {
                const auto result = decoder.next(input, frame);
                assert_true(result != AmqpDecoder::Result::Bad);
                if (result == AmqpDecoder::Result::More) {
                    return;
                }
                ++frames;
                if (frames == 1) {
                    const auto& got = *static_cast<amqp_basic_ack_t*>(frame.payload.method.decoded);
                    assert_int_equal(got.delivery_tag, 77);
                    assert_int_equal(frame.channel, 3);
                } else if (frames == 2) {
                    const auto& got =
                        *static_cast<amqp_basic_properties_t*>(frame.payload.properties.decoded);
                    assert_text_equal(std::string(toView(got.message_id)), "id-1");
                } else if (frame.frame_type == AMQP_FRAME_BODY) {
                    body += frame.payload.body_fragment.len;
                }
            }
        };
        feed(std::string_view(bytes).substr(0, cut));
        feed(std::string_view(bytes).substr(cut));
        assert_int_equal(frames, 2 + 3 + 1); // 4,088 bytes a body frame
        assert_int_equal(body, 10'000);
    }
}

TEST(frames_longer_than_agreed_are_bad)
{
    AmqpDecoder decoder;
    assert_true(decoder.setFrameMax(MinFrameSize));
    const char head[] = {3, 0, 1, 0, 0, 0x0f, static_cast<char>(0xf9)}; // 4,089 + 8 bytes
    std::string_view input(head, sizeof(head));
    amqp_frame_t frame;
    assert_true(decoder.next(input, frame) == AmqpDecoder::Result::Bad);
}

TEST(names_that_do_not_fit_into_a_frame_append_nothing)
{
    AmqpEncoder encoder;
    std::string out;
    const std::string reason(MinFrameSize, 'x');
    amqp_table_entry_t entry{amqp_cstring_bytes("key"), {}};
    entry.value.kind = AMQP_FIELD_KIND_UTF8;
    entry.value.value.bytes = amqpBytes(reason);
    amqp_basic_properties_t properties{};
    properties._flags = AMQP_BASIC_HEADERS_FLAG;
    properties.headers = {1, &entry};
    assert_false(encoder.header(out, 1, properties, 0));
    assert_true(out.empty());
}

TEST(peers_that_do_not_speak_amqp_are_told_in_one_line)
{
    const std::pair<std::string, const char*> table[] = {
        {"HTTP/1.1 400 Bad Request\r\n\r\n", "not AMQP"},
        {std::string("AMQP\0\0\x09\x02", 8), "does not speak AMQP 0-9-1"},
        {std::string("\x01\0\0\xff\xff\xff\xff", 7), "not AMQP"},
        {std::string("\x01\0\0\0\0\0\x04\0\x0a\0\x28\xce", 12), ""}, // connection.open-ok's method, cut short
        {"", "closed the connection during the log-in"},
    };
    for (const auto& [answer, reason] : table) {
        Server server([&answer = answer](int fd) {
            char bytes[8];
            (void)recv(fd, bytes, sizeof(bytes), MSG_WAITALL);
            (void)::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
            shutdown(fd, SHUT_WR);
            pollfd gone{fd, POLLIN, 0};
            poll(&gone, 1, 1'000);
        });
        Loop loop(configFor(server.url()));
        awaitNote(loop, reason);
        eventually("down", [&] { return loop.broker.stats().state == BrokerState::Down; });
    }
}

TEST(a_peer_that_accepts_and_stays_silent_does_not_hold_up_stopping)
{
    std::atomic<bool> done{false};
    Server server([&](int) {
        while (!done) {
            std::this_thread::sleep_for(1ms);
        }
    });
    Loop loop(configFor(server.url()));
    loop.offer("1", 1);
    eventually("connected", [&] { return server.connections() == 1; });
    const auto start = std::chrono::steady_clock::now();
    loop.broker.stop();
    assert_true(std::chrono::steady_clock::now() - start < 300ms + 2s);
    done = true;
}

TEST(names_that_nobody_knows_are_looked_up_without_holding_up_stopping)
{
#ifdef __SANITIZE_THREAD__
    print_message("skipped: ThreadSanitizer hangs in threads that the C library starts (getaddrinfo_a)\n");
    skip();
#endif
    Loop loop(configFor("amqp://no-such-host.invalid"));
    loop.offer("1", 1);
    loop.take();
    const auto start = std::chrono::steady_clock::now();
    loop.broker.stop();
    assert_true(std::chrono::steady_clock::now() - start < 300ms + 2s);
    loop.take();
    assert_int_equal(loop.completions.size(), 1);
}

TEST(a_refused_connection_is_told)
{
    std::string url;
    {
        const Server server([](int) {});
        url = server.url();
    }
    Loop loop(configFor(url));
    awaitNote(loop, "Connection refused");
}

TEST(acks_settle_one_or_all_up_to_a_tag)
{
    ScriptedBroker broker;
    Loop loop(configFor(broker.url()));
    for (std::uint64_t i = 1; i <= 6; ++i) {
        loop.offer(std::to_string(i), i);
    }
    awaitReceived(broker, 6);
    broker.ack(2);
    loop.awaitCompletions(1);
    broker.ack(4, true);
    loop.awaitCompletions(4);
    broker.ack(4, true); // again: nothing
    broker.ack(0, true); // all
    loop.awaitCompletions(6);
    std::vector<std::uint64_t> tokens;
    for (const auto& completion : loop.completions) {
        tokens.push_back(completion.token);
    }
    assert_true((tokens == std::vector<std::uint64_t>{2, 1, 3, 4, 5, 6}));
    assert_int_equal(broker.connections(), 1);
}

TEST(an_ack_of_what_was_never_sent_is_a_fault)
{
    ScriptedBroker broker;
    Loop loop(configFor(broker.url()));
    loop.offer("1", 1);
    awaitReceived(broker, 1);
    broker.ack(2);
    awaitNote(loop, "confirmed a message that was not sent");
    awaitReceived(broker, 2); // on a new connection
    broker.ack(1);
    loop.awaitCompletions(1);
}

TEST(bodies_of_any_size_arrive_as_they_are)
{
    ScriptedBroker broker;
    Loop loop(configFor(broker.url()));
    std::vector<std::string> bodies;
    for (const std::size_t size : {0, 1, 4'087, 4'088, 4'089, 8'176, 8'177, 300'000, 5'000'000}) {
        auto event = makeEvent(std::to_string(size), bodies.size() + 1);
        event.data.assign(size, static_cast<char>('a' + bodies.size()));
        bodies.push_back(event.data);
        assert_true(loop.broker.offer(std::move(event)) == Offer::Queued);
    }
    awaitReceived(broker, bodies.size());
    eventually("the last body", [&] { return broker.received().back().body.size() == 5'000'000; });
    const auto messages = broker.received();
    for (std::size_t i = 0; i < bodies.size(); ++i) {
        assert_true(messages[i].body == bodies[i]);
    }
    broker.ack(bodies.size(), true);
    loop.awaitCompletions(bodies.size());
}

TEST(a_nack_is_counted_and_the_event_sent_again)
{
    ScriptedBroker broker;
    Loop loop(configFor(broker.url()));
    loop.offer("1", 1);
    awaitReceived(broker, 1);
    broker.nack(1);
    awaitNote(loop, "basic.nack");
    assert_int_equal(loop.broker.stats().failed, 1);
    awaitReceived(broker, 2);
    assert_true((broker.ids() == Ids{"1", "1"}));
    assert_true(loop.completions.empty());
    broker.ack(2);
    loop.awaitCompletions(1);
    assert_true(loop.completions[0].stored);
}

TEST(a_returned_message_is_not_stored_though_it_is_acked)
{
    ScriptedBroker broker;
    Loop loop(configFor(broker.url()));
    for (std::uint64_t i = 1; i <= 3; ++i) {
        loop.offer(std::to_string(i), i);
    }
    awaitReceived(broker, 3);
    broker.giveBack("2", std::string(9'000, 'x')); // a body in several frames
    broker.ack(3, true);
    loop.awaitCompletions(2);
    awaitNote(loop, "312 NO_ROUTE");
    assert_int_equal(loop.broker.stats().failed, 1);
    awaitReceived(broker, 4);
    assert_text_equal(broker.ids().back(), "2");
    broker.ack(4);
    loop.awaitCompletions(3);
    assert_int_equal(loop.completions[2].token, 2);
    assert_int_equal(broker.connections(), 1);
}

TEST(what_was_not_confirmed_when_the_peer_hung_up_is_sent_again)
{
    ScriptedBroker broker;
    Loop loop(configFor(broker.url()));
    for (std::uint64_t i = 1; i <= 4; ++i) {
        loop.offer(std::to_string(i), i);
    }
    awaitReceived(broker, 4);
    broker.ack(2);
    loop.awaitCompletions(1);
    broker.hangUp();
    awaitReceived(broker, 7);
    assert_true((broker.ids() == Ids{"1", "2", "3", "4", "1", "3", "4"}));
    broker.ack(3, true);
    loop.awaitCompletions(4);
}

TEST(without_confirms_the_connection_is_made_anew)
{
    ScriptedBroker broker;
    auto config = configFor(broker.url());
    config.confirmTimeout = 300ms;
    Loop loop(config);
    loop.offer("1", 1);
    awaitNote(loop, "no confirm for 300 ms");
    awaitReceived(broker, 2);
    assert_true((broker.ids() == Ids{"1", "1"}));
    broker.ack(1);
    loop.awaitCompletions(1);
    // An idle connection owes no confirms.
    const int connections = broker.connections();
    std::this_thread::sleep_for(500ms);
    assert_int_equal(broker.connections(), connections);
}

TEST(a_blocked_broker_is_not_sent_anything_and_owes_no_confirm)
{
    ScriptedBroker broker;
    auto config = configFor(broker.url());
    config.confirmTimeout = 300ms;
    Loop loop(config);
    loop.offer("1", 1);
    awaitReceived(broker, 1);
    broker.send([](AmqpEncoder& encoder, std::string& out) {
        amqp_connection_blocked_t method{amqp_cstring_bytes("low on\x01memory")};
        (void)encoder.method(out, 0, AMQP_CONNECTION_BLOCKED_METHOD, &method);
    });
    awaitNote(loop, "blocks publishers (low on memory)");
    eventually("blocked", [&] { return loop.broker.stats().state == BrokerState::Blocked; });
    loop.offer("2", 2);
    std::this_thread::sleep_for(600ms); // longer than confirmTimeout
    assert_true((broker.ids() == Ids{"1"}));
    assert_int_equal(broker.connections(), 1);
    broker.send([](AmqpEncoder& encoder, std::string& out) {
        amqp_connection_unblocked_t method{};
        (void)encoder.method(out, 0, AMQP_CONNECTION_UNBLOCKED_METHOD, &method);
    });
    awaitReceived(broker, 2);
    broker.ack(2, true);
    loop.awaitCompletions(2);
    awaitNote(loop, "no longer blocks");
}

TEST(heartbeats_are_sent_in_time_and_their_absence_is_noticed)
{
    ScriptedBroker broker;
    auto config = configFor(broker.url());
    config.heartbeat = 1s;
    Loop loop(config);
    loop.offer("1", 1);
    awaitReceived(broker, 1);
    broker.ack(1);
    loop.awaitCompletions(1);
    eventually("two heartbeats", [&] { return broker.heartbeats() >= 2; });
    assert_int_equal(broker.connections(), 1);
    broker.answerNothing();
    awaitNote(loop, "no sign of life for 2 s");
}

TEST(a_closed_channel_or_connection_is_told_in_the_peer_s_words_and_made_anew)
{
    ScriptedBroker broker;
    Loop loop(configFor(broker.url()));
    loop.offer("1", 1);
    awaitReceived(broker, 1);
    broker.send([](AmqpEncoder& encoder, std::string& out) {
        amqp_channel_close_t method{404, amqp_cstring_bytes("NOT_FOUND - no exchange 'realtime'"), 60, 40};
        (void)encoder.method(out, Channel, AMQP_CHANNEL_CLOSE_METHOD, &method);
    });
    awaitNote(loop, "closed the channel: 404 NOT_FOUND - no exchange 'realtime'");
    awaitReceived(broker, 2);
    broker.send([](AmqpEncoder& encoder, std::string& out) {
        amqp_connection_close_t method{320, amqp_cstring_bytes("CONNECTION_FORCED - shutdown"), 0, 0};
        (void)encoder.method(out, 0, AMQP_CONNECTION_CLOSE_METHOD, &method);
    });
    awaitNote(loop, "closed the connection: 320 CONNECTION_FORCED - shutdown");
    awaitReceived(broker, 3);
    broker.ack(1);
    loop.awaitCompletions(1);
}

TEST(names_too_long_for_amqp_are_cut_at_a_whole_character)
{
    ScriptedBroker broker;
    Loop loop(configFor(broker.url()));
    auto event = makeEvent(std::string(254, 'i') + "\xc3\xa4", 1);
    for (auto* name : {&event.app, &event.channel, &event.event, &event.contentType, &event.routingKey,
                       &event.userId, &event.socketId}) {
        name->assign(3'000, 'n');
    }
    assert_true(loop.broker.offer(event) == Offer::Queued);
    awaitReceived(broker, 1);
    assert_text_equal(broker.received()[0].id, std::string(254, 'i'));
    broker.giveBack(std::string(254, 'i'), ""); // it is found by its cut id
    broker.ack(1);
    awaitReceived(broker, 2);
    broker.ack(2);
    loop.awaitCompletions(1);
    awaitNote(loop, "routing key is longer than 255 bytes and was cut");
}

TEST(stopping_waits_for_the_last_confirm_and_no_longer)
{
    ScriptedBroker broker;
    auto config = configFor(broker.url());
    config.drain = 10s;
    Loop loop(config);
    loop.offer("1", 1);
    awaitReceived(broker, 1);
    std::thread confirming([&] {
        std::this_thread::sleep_for(50ms);
        broker.ack(1);
    });
    const auto start = std::chrono::steady_clock::now();
    loop.broker.stop();
    assert_true(std::chrono::steady_clock::now() - start < 5s);
    confirming.join();
    loop.take();
    assert_int_equal(loop.storedTokens(), 1);
    assert_int_equal(loop.notesWith("lost"), 0);
}

TEST_MAIN()
