#include "consumer.hpp"

#include "errors.hpp"

#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>

#include <algorithm>

namespace realtime::cli {

namespace {

constexpr amqp_channel_t Channel = 1;
constexpr int HeartbeatSeconds = 30;

timeval toTimeval(std::chrono::milliseconds time)
{
    return {time.count() / 1000, static_cast<suseconds_t>(time.count() % 1000 * 1000)};
}

std::string text(const amqp_bytes_t& bytes)
{
    return {static_cast<const char*>(bytes.bytes), bytes.len};
}

amqp_bytes_t bytes(const std::string& text)
{
    return {text.size(), const_cast<char*>(text.data())};
}

// The words of a refusal, or of what broke the connection.
std::string words(const amqp_rpc_reply_t& reply)
{
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) {
        return amqp_error_string2(reply.library_error);
    }
    if (reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
        return text(static_cast<amqp_channel_close_t*>(reply.reply.decoded)->reply_text);
    }
    if (reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
        return text(static_cast<amqp_connection_close_t*>(reply.reply.decoded)->reply_text);
    }
    return "the server has ended it";
}

void check(const amqp_rpc_reply_t& reply, const std::string& what)
{
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
        return;
    }
    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION) {
        throw std::runtime_error(what + ": " + words(reply));
    }
    throw UnreachableError(what + ": " + words(reply));
}

std::string headerText(const amqp_basic_properties_t& properties, std::string_view name)
{
    if ((properties._flags & AMQP_BASIC_HEADERS_FLAG) != 0) {
        for (int i = 0; i < properties.headers.num_entries; ++i) {
            const amqp_table_entry_t& entry = properties.headers.entries[i];
            if (text(entry.key) == name && entry.value.kind == AMQP_FIELD_KIND_UTF8) {
                return text(entry.value.value.bytes);
            }
        }
    }
    return {};
}

BrokerEvent eventOf(const amqp_envelope_t& envelope)
{
    const amqp_basic_properties_t& properties = envelope.message.properties;
    const auto property = [&](amqp_flags_t flag, const amqp_bytes_t& value) {
        return (properties._flags & flag) != 0 ? text(value) : std::string();
    };
    BrokerEvent event;
    event.messageId = property(AMQP_BASIC_MESSAGE_ID_FLAG, properties.message_id);
    event.app = property(AMQP_BASIC_APP_ID_FLAG, properties.app_id);
    event.event = property(AMQP_BASIC_TYPE_FLAG, properties.type);
    event.contentType = property(AMQP_BASIC_CONTENT_TYPE_FLAG, properties.content_type);
    event.channel = headerText(properties, "channel");
    event.node = headerText(properties, "node");
    event.userId = headerText(properties, "user_id");
    event.socketId = headerText(properties, "socket_id");
    event.routingKey = text(envelope.routing_key);
    event.data = text(envelope.message.body);
    if ((properties._flags & AMQP_BASIC_TIMESTAMP_FLAG) != 0) {
        event.timeMs =
            static_cast<std::int64_t>(std::min<std::uint64_t>(properties.timestamp, 1ULL << 40)) * 1000;
    }
    return event;
}

} // namespace

struct Consumer::Impl {
    Impl() : connection(amqp_new_connection())
    {
        if (connection == nullptr) {
            throw std::bad_alloc();
        }
    }
    ~Impl()
    {
        if (open) {
            amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
        }
        amqp_destroy_connection(connection);
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    void connect(const BrokerServer& server, const std::string& caFile)
    {
        amqp_socket_t* socket = nullptr;
        if (server.scheme == BrokerServer::Scheme::Amqps) {
            socket = amqp_ssl_socket_new(connection);
            const char* authorities = caFile.empty() ? "/etc/ssl/certs/ca-certificates.crt" : caFile.c_str();
            if (socket == nullptr || amqp_ssl_socket_set_cacert(socket, authorities) != AMQP_STATUS_OK) {
                throw std::runtime_error(std::string("cannot read ") + authorities);
            }
        } else {
            socket = amqp_tcp_socket_new(connection);
        }
        const timeval patience{10, 0};
        if (const int status = amqp_socket_open_noblock(socket, server.host.c_str(), server.port, &patience);
            status != AMQP_STATUS_OK) {
            throw UnreachableError(server.display() + ": " + amqp_error_string2(status));
        }
        amqp_set_rpc_timeout(connection, &patience);
        check(amqp_login(connection, server.vhost.c_str(), AMQP_DEFAULT_MAX_CHANNELS, AMQP_DEFAULT_FRAME_SIZE,
                         HeartbeatSeconds, AMQP_SASL_METHOD_PLAIN, server.user.c_str(),
                         server.password.c_str()),
              server.display());
        open = true;
    }

    void consume(const std::string& queue) const
    {
        amqp_channel_open(connection, Channel);
        check(amqp_get_rpc_reply(connection), "channel");
        amqp_basic_qos(connection, Channel, 0, Prefetch, 0);
        check(amqp_get_rpc_reply(connection), "prefetch");
        amqp_basic_consume(connection, Channel, bytes(queue), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
        check(amqp_get_rpc_reply(connection), "queue " + queue);
    }

    amqp_connection_state_t connection;
    bool open = false;
};

Consumer::Consumer(const BrokerServer& server, const std::string& queue, const std::string& caFile)
    : impl_(std::make_unique<Impl>())
{
    impl_->connect(server, caFile);
    impl_->consume(queue);
}

Consumer::~Consumer() = default;

std::optional<Delivery> Consumer::receive(std::chrono::milliseconds atMost)
{
    amqp_connection_state_t connection = impl_->connection;
    amqp_maybe_release_buffers(connection);
    const timeval wait = toTimeval(atMost);
    amqp_envelope_t envelope;
    const amqp_rpc_reply_t reply = amqp_consume_message(connection, &envelope, &wait, 0);
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
        Delivery delivery{envelope.delivery_tag, eventOf(envelope)};
        amqp_destroy_envelope(&envelope);
        return delivery;
    }
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION && reply.library_error == AMQP_STATUS_TIMEOUT) {
        return std::nullopt;
    }
    impl_->open = false;
    // An unexpected method is the end of the channel or of the connection, or the queue was deleted.
    throw UnreachableError(words(reply));
}

void Consumer::acknowledge(std::uint64_t tag)
{
    if (const int status = amqp_basic_ack(impl_->connection, Channel, tag, 1); status != AMQP_STATUS_OK) {
        impl_->open = false;
        throw UnreachableError(amqp_error_string2(status));
    }
}

} // namespace realtime::cli
