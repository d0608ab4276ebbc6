#include "support/rabbitmq.hpp"

#include <cstdlib>
#include <optional>

#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_tcp_socket.h>
#endif

namespace realtime::testing {
namespace {

constexpr amqp_channel_t Channel = 1;

std::string text(const amqp_bytes_t& bytes)
{
    return {static_cast<const char*>(bytes.bytes), bytes.len};
}

void check(const amqp_rpc_reply_t& reply, const char* what)
{
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) {
        throw std::runtime_error(std::string("AMQP ") + what + " failed");
    }
}

AmqpMessage messageOf(const amqp_envelope_t& envelope)
{
    const amqp_basic_properties_t& properties = envelope.message.properties;
    AmqpMessage message;
    message.body = text(envelope.message.body);
    message.routingKey = text(envelope.routing_key);
    message.exchange = text(envelope.exchange);
    const auto read = [&](amqp_flags_t flag, const amqp_bytes_t& bytes) {
        return (properties._flags & flag) != 0 ? text(bytes) : std::string();
    };
    message.contentType = read(AMQP_BASIC_CONTENT_TYPE_FLAG, properties.content_type);
    message.messageId = read(AMQP_BASIC_MESSAGE_ID_FLAG, properties.message_id);
    message.appId = read(AMQP_BASIC_APP_ID_FLAG, properties.app_id);
    message.type = read(AMQP_BASIC_TYPE_FLAG, properties.type);
    message.deliveryMode =
        (properties._flags & AMQP_BASIC_DELIVERY_MODE_FLAG) != 0 ? properties.delivery_mode : 0;
    message.timestamp = (properties._flags & AMQP_BASIC_TIMESTAMP_FLAG) != 0 ? properties.timestamp : 0;
    if ((properties._flags & AMQP_BASIC_HEADERS_FLAG) != 0) {
        for (int i = 0; i < properties.headers.num_entries; ++i) {
            const amqp_table_entry_t& entry = properties.headers.entries[i];
            if (entry.value.kind == AMQP_FIELD_KIND_UTF8 || entry.value.kind == AMQP_FIELD_KIND_BYTES) {
                message.headers[text(entry.key)] = text(entry.value.value.bytes);
            }
        }
    }
    return message;
}

} // namespace

RabbitMq& RabbitMq::share(const std::string& settings)
{
    static RabbitMq server(settings);
    return server;
}

RabbitMq::RabbitMq(const std::string& settings)
{
    if (const char* running = std::getenv("RABBITMQ_DIR"); running != nullptr) {
        place_ = running;
        ours_ = false;
        readPort("port");
        return;
    }
    place_ = directory_.path();
    writeFile(directory_.path() / "extra.conf", settings);
    start();
}

void RabbitMq::start()
{
    readPort("start");
}

// Both `start` and `port` print it, in a line of its own.
void RabbitMq::readPort(const char* command)
{
    const auto done = run({REALTIME_RABBITMQ_SCRIPT, command, place_}, {}, 120s);
    for (const auto& line : split(done.output, '\n')) {
        const int port = toInt(line);
        if (port > 0) {
            port_ = static_cast<std::uint16_t>(port);
        }
    }
    if (done.status != 0 || port_ == 0) {
        throw std::runtime_error(std::string("rabbitmq.sh ") + command + ": " + done.output);
    }
}

void RabbitMq::stop()
{
    script("stop");
}

RabbitMq::~RabbitMq()
{
    try {
        if (ours_) {
            script("stop");
        }
    } catch (const std::exception&) {
        // Nobody is left to be told.
    }
}

std::string RabbitMq::url(const std::string& credentials) const
{
    return "amqp://" + credentials + "@127.0.0.1:" + std::to_string(port_) + "/%2F";
}

void RabbitMq::script(const char* command) const
{
    const auto done = run({REALTIME_RABBITMQ_SCRIPT, command, place_});
    if (done.status != 0) {
        throw std::runtime_error(std::string("rabbitmq.sh ") + command + ": " + done.output);
    }
}

void RabbitMq::pause()
{
    script("pause");
}

void RabbitMq::resume()
{
    script("resume");
}

void RabbitMq::kill()
{
    script("kill");
}

std::string RabbitMq::ctl(const std::vector<std::string>& arguments) const
{
    std::vector<std::string> command{REALTIME_RABBITMQ_SCRIPT, "ctl", place_};
    command.insert(command.end(), arguments.begin(), arguments.end());
    auto done = run(command);
    if (done.status != 0) {
        throw std::runtime_error("rabbitmqctl " + arguments.at(0) + ": " + done.output);
    }
    return done.output;
}

struct AmqpConsumer::Impl {
    amqp_connection_state_t connection = amqp_new_connection();
    ~Impl() { amqp_destroy_connection(connection); }
    void open(const RabbitMq& server) const;
    void consume(const std::string& queue) const;
    std::optional<AmqpMessage> next(std::chrono::milliseconds patience) const;
};

void AmqpConsumer::Impl::open(const RabbitMq& server) const
{
    amqp_socket_t* socket = amqp_tcp_socket_new(connection);
    if (amqp_socket_open(socket, "127.0.0.1", server.port()) != AMQP_STATUS_OK) {
        throw std::runtime_error("cannot connect to RabbitMQ");
    }
    check(amqp_login(connection, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest"), "login");
    amqp_channel_open(connection, Channel);
    check(amqp_get_rpc_reply(connection), "channel.open");
}

void AmqpConsumer::Impl::consume(const std::string& queue) const
{
    amqp_basic_consume(connection, Channel, amqp_cstring_bytes(queue.c_str()), amqp_empty_bytes, 0, 1, 0,
                       amqp_empty_table);
    check(amqp_get_rpc_reply(connection), "basic.consume");
}

AmqpConsumer::AmqpConsumer(const RabbitMq& server, const std::string& exchange, const std::string& binding)
    : impl_(std::make_unique<Impl>())
{
    impl_->open(server);
    amqp_connection_state_t connection = impl_->connection;
    const amqp_bytes_t name = amqp_cstring_bytes(exchange.c_str());
    amqp_exchange_declare(connection, Channel, name, amqp_cstring_bytes("topic"), 0, 1, 0, 0,
                          amqp_empty_table);
    check(amqp_get_rpc_reply(connection), "exchange.declare");
    const auto* queue =
        amqp_queue_declare(connection, Channel, amqp_empty_bytes, 0, 0, 1, 1, amqp_empty_table);
    check(amqp_get_rpc_reply(connection), "queue.declare");
    const std::string queueName = text(queue->queue);
    amqp_queue_bind(connection, Channel, amqp_cstring_bytes(queueName.c_str()), name,
                    amqp_cstring_bytes(binding.c_str()), amqp_empty_table);
    check(amqp_get_rpc_reply(connection), "queue.bind");
    impl_->consume(queueName);
}

AmqpConsumer::AmqpConsumer(const RabbitMq& server, const AmqpQueue& queue) : impl_(std::make_unique<Impl>())
{
    impl_->open(server);
    impl_->consume(queue.name);
}

AmqpConsumer::~AmqpConsumer() = default;

std::optional<AmqpMessage> AmqpConsumer::Impl::next(std::chrono::milliseconds patience) const
{
    amqp_maybe_release_buffers(connection);
    timeval timeout{};
    timeout.tv_sec = patience.count() / 1000;
    timeout.tv_usec = patience.count() % 1000 * 1000;
    amqp_envelope_t envelope;
    const amqp_rpc_reply_t reply = amqp_consume_message(connection, &envelope, &timeout, 0);
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
        AmqpMessage message = messageOf(envelope);
        amqp_destroy_envelope(&envelope);
        return message;
    }
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION && reply.library_error == AMQP_STATUS_TIMEOUT) {
        return std::nullopt;
    }
    throw std::runtime_error("the AMQP consumer lost its connection");
}

AmqpMessage AmqpConsumer::receive(std::chrono::milliseconds patience)
{
    auto message = impl_->next(patience);
    expect(message.has_value(), "no message from RabbitMQ in time");
    return *message;
}

void AmqpConsumer::expectSilence(std::chrono::milliseconds duration)
{
    expect(!impl_->next(duration).has_value(), "an unexpected message from RabbitMQ");
}

} // namespace realtime::testing
