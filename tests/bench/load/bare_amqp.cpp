#include "load/bare_amqp.hpp"

#include "load/broker_load.hpp"

#if __has_include(<rabbitmq-c/tcp_socket.h>)
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp_tcp_socket.h>
#endif

#include <algorithm>
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

// One frame; false if there is none.
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

} // namespace realtime::bench
