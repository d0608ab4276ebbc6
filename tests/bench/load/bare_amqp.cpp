#include "load/bare_amqp.hpp"

#include "load/broker_load.hpp"

#include "broker/amqp/peer_link.hpp"

#if __has_include(<rabbitmq-c/tcp_socket.h>)
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp_tcp_socket.h>
#endif

#include <algorithm>
#include <array>
#include <poll.h>
#include <stdexcept>
#include <sys/time.h>

namespace realtime::bench {

namespace {

constexpr int ConfirmSeconds = 60; // it may be stopped by its own flow control for a while

[[noreturn]] void fail(const std::string& what)
{
    throw std::runtime_error("bare rabbitmq-c: " + what);
}

void check(const amqp_rpc_reply_t& reply, const char* what)
{
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) {
        fail(std::string(what) + " failed");
    }
}

} // namespace

void BareAmqp::Close::operator()(amqp_connection_state_t connection) const noexcept
{
    amqp_destroy_connection(connection);
}

BareAmqp::BareAmqp(const BrokerConfig& config) : config_(config), connection_(amqp_new_connection())
{
    const BrokerServer& server = config.servers.at(0);
    if (amqp_socket_open(amqp_tcp_socket_new(connection_.get()), server.host.c_str(), server.port) !=
        AMQP_STATUS_OK) {
        fail("cannot connect");
    }
    check(amqp_login(connection_.get(), server.vhost.c_str(), 0, 131'072, 0, AMQP_SASL_METHOD_PLAIN,
                     server.user.c_str(), server.password.c_str()),
          "log-in");
    amqp_channel_open(connection_.get(), 1);
    check(amqp_get_rpc_reply(connection_.get()), "channel.open");
    amqp_confirm_select(connection_.get(), 1);
    check(amqp_get_rpc_reply(connection_.get()), "confirm.select");
}

void BareAmqp::purge(const std::string& queue)
{
    amqp_queue_purge(connection_.get(), 1, amqpBytes(queue));
    check(amqp_get_rpc_reply(connection_.get()), "queue.purge");
}

double BareAmqp::publish(std::size_t events, std::size_t bytes)
{
    const auto start = Clock::now();
    std::size_t sent = 0;
    confirmed_ = 0;
    for (; confirmed_ < events; amqp_maybe_release_buffers(connection_.get())) {
        while (sent < events && sent - confirmed_ < config_.window) {
            send(makeEvent(sent, bytes));
            ++sent;
        }
        for (bool wait = true; pump(wait) && confirmed_ < events; wait = false) {
        }
    }
    base_ += events;
    return static_cast<double>(events) / secondsSince(start);
}

void BareAmqp::send(const BrokerEvent& event)
{
    amqp_table_entry_t headers[2];
    const std::pair<const char*, const std::string*> texts[] = {{"channel", &event.channel},
                                                                {"node", &config_.node}};
    for (int i = 0; i < 2; ++i) {
        headers[i].key = amqp_cstring_bytes(texts[i].first);
        headers[i].value.kind = AMQP_FIELD_KIND_UTF8;
        headers[i].value.value.bytes = amqpBytes(*texts[i].second);
    }
    amqp_basic_properties_t properties{};
    properties._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG |
                        AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_TIMESTAMP_FLAG | AMQP_BASIC_APP_ID_FLAG |
                        AMQP_BASIC_TYPE_FLAG | AMQP_BASIC_HEADERS_FLAG;
    properties.content_type = amqpBytes(event.contentType);
    properties.delivery_mode = AMQP_DELIVERY_PERSISTENT;
    properties.message_id = amqpBytes(event.messageId);
    properties.timestamp = static_cast<std::uint64_t>(event.timeMs) / 1'000;
    properties.app_id = amqpBytes(event.app);
    properties.type = amqpBytes(event.event);
    properties.headers = {2, headers};
    if (amqp_basic_publish(connection_.get(), 1, amqpBytes(config_.exchange.name),
                           amqpBytes(event.routingKey), 1, 0, &properties,
                           amqpBytes(event.data)) != AMQP_STATUS_OK) {
        fail("basic.publish failed");
    }
}

bool BareAmqp::pump(bool wait)
{
    amqp_frame_t frame;
    timeval patience{wait ? ConfirmSeconds : 0, 0};
    const int status = amqp_simple_wait_frame_noblock(connection_.get(), &frame, &patience);
    if (status == AMQP_STATUS_TIMEOUT && !wait) {
        return false;
    }
    if (status != AMQP_STATUS_OK || frame.frame_type != AMQP_FRAME_METHOD ||
        frame.payload.method.id != AMQP_BASIC_ACK_METHOD) {
        fail("something other than a confirm came");
    }
    const auto& ack = *static_cast<amqp_basic_ack_t*>(frame.payload.method.decoded);
    // Good enough for one queue, whose confirms come in order.
    confirmed_ = std::max<std::size_t>(confirmed_, ack.delivery_tag - base_);
    return true;
}

void BareAmqp::consume(const std::string& queue, std::uint16_t prefetch)
{
    amqp_connection_state_t connection = connection_.get();
    const amqp_bytes_t exchange = amqpBytes(config_.exchange.name), name = amqpBytes(queue);
    std::array<amqp_table_entry_t, 3> arguments{
        trueEntry("x-single-active-consumer"),
        tableEntry("x-expires", std::int64_t{PeerLink::QueueExpiry.count()}),
        tableEntry("x-max-length", PeerLink::QueueLength),
    };
    amqp_exchange_declare(connection, 1, exchange, amqpBytes(config_.exchange.type), 0, 1, 0, 0,
                          amqp_empty_table);
    check(amqp_get_rpc_reply(connection), "exchange.declare");
    amqp_queue_declare(connection, 1, name, 0, 1, 0, 0,
                       {static_cast<int>(arguments.size()), arguments.data()});
    check(amqp_get_rpc_reply(connection), "queue.declare");
    amqp_queue_bind(connection, 1, name, exchange, amqp_cstring_bytes("#"), amqp_empty_table);
    check(amqp_get_rpc_reply(connection), "queue.bind");
    amqp_basic_qos(connection, 1, 0, prefetch, 0);
    check(amqp_get_rpc_reply(connection), "basic.qos");
    amqp_basic_consume(connection, 1, name, amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
    check(amqp_get_rpc_reply(connection), "basic.consume");
}

bool BareAmqp::take()
{
    amqp_envelope_t envelope;
    const timeval none{0, 0};
    amqp_maybe_release_buffers(connection_.get());
    const amqp_rpc_reply_t reply = amqp_consume_message(connection_.get(), &envelope, &none, 0);
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION && reply.library_error == AMQP_STATUS_TIMEOUT) {
        return false;
    }
    check(reply, "a delivery");
    const int acked = amqp_basic_ack(connection_.get(), 1, envelope.delivery_tag, 0);
    amqp_destroy_envelope(&envelope);
    if (acked != AMQP_STATUS_OK) {
        fail("basic.ack failed");
    }
    return true;
}

int BareAmqp::fd() const
{
    return amqp_get_sockfd(connection_.get());
}

std::vector<double> bareHop(const BrokerConfig& config, std::size_t count, std::size_t bytes,
                            std::chrono::nanoseconds interval, std::chrono::nanoseconds nap)
{
    BareAmqp publisher(config), here(config), there(config);
    here.consume(config.exchange.name + ".here", PeerLink::Prefetch);
    there.consume(config.exchange.name + ".there", PeerLink::Prefetch);
    const timespec patience{0, static_cast<long>(nap.count())};
    std::vector<double> latencies;
    const auto start = Clock::now();
    for (std::size_t sent = 0; latencies.size() < count;) {
        Loop::checkInterrupted();
        pollfd fds[] = {{publisher.fd(), POLLIN, 0}, {here.fd(), POLLIN, 0}, {there.fd(), POLLIN, 0}};
        ppoll(fds, std::size(fds), &patience, nullptr);
        while (there.take()) { // all of one publisher, and so in its order
            const auto planned = start + latencies.size() * interval;
            latencies.push_back(std::chrono::duration<double, std::milli>(Clock::now() - planned).count());
        }
        while (here.take()) {
        }
        while (publisher.pump(false)) {
        }
        for (; sent < count && Clock::now() >= start + sent * interval; ++sent) {
            publisher.send(makeEvent(sent, bytes));
        }
    }
    return latencies;
}

} // namespace realtime::bench
