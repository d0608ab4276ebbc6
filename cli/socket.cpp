#include "socket.hpp"

#include "errors.hpp"

#include "base/utf8.hpp"

#include <array>
#include <libwebsockets.h>
#include <utility>

namespace realtime::cli {

namespace {

constexpr std::size_t ReadBytes = 65'536;

// Empty if it is not there.
std::string header(lws* wsi, std::string_view name)
{
    const int size = lws_hdr_custom_length(wsi, name.data(), static_cast<int>(name.size()));
    if (size <= 0) {
        return "";
    }
    std::string value(static_cast<std::size_t>(size) + 1, '\0');
    lws_hdr_custom_copy(wsi, value.data(), size + 1, name.data(), static_cast<int>(name.size()));
    value.pop_back();
    return value;
}

// The server pings first (realtime_ping), so this only finds out when it is gone.
const lws_retry_bo_t Liveness{nullptr, 0, 0, 40, 60, 0};

} // namespace

SocketLoop::SocketLoop(const Transport& transport, std::size_t sockets) : transport_(transport)
{
    lws_set_log_level(0, nullptr);
    static const std::array<lws_protocols, 2> protocols{
        lws_protocols{"realtime",
                      [](lws* wsi, lws_callback_reasons reason, void* user, void* in, std::size_t size) {
                          return Socket::callback(wsi, reason, user, in, size);
                      },
                      0, ReadBytes, 0, nullptr, 0},
        lws_protocols{nullptr, nullptr, 0, 0, 0, nullptr, 0},
    };
    lws_context_creation_info info{};
    info.port = CONTEXT_PORT_NO_LISTEN;
    info.protocols = protocols.data();
    info.fd_limit_per_thread = static_cast<unsigned>(sockets + 8);
    info.pt_serv_buf_size = ReadBytes;
    info.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
    info.timeout_secs = 10;
    if (!transport.caFile.empty()) {
        info.client_ssl_ca_filepath = transport_.caFile.c_str();
    }
    context_ = lws_create_context(&info);
    if (context_ == nullptr) {
        throw std::runtime_error("libwebsockets cannot start" +
                                 (transport.caFile.empty() ? "" : ", perhaps for " + transport.caFile));
    }
}

SocketLoop::~SocketLoop()
{
    lws_context_destroy(context_);
}

void SocketLoop::turn(std::chrono::milliseconds atMost)
{
    // lws_service() ignores its timeout: a timer ends the wait.
    lws_sorted_usec_list_t alarm{};
    lws_sul_schedule(
        context_, 0, &alarm, [](lws_sorted_usec_list_t*) {}, std::chrono::microseconds(atMost).count() + 1);
    lws_service(context_, 0);
    lws_sul_schedule(context_, 0, &alarm, nullptr, LWS_SET_TIMER_USEC_CANCEL);
    if (failure_) {
        std::rethrow_exception(std::exchange(failure_, nullptr));
    }
}

Socket::Socket(SocketLoop& loop, const Endpoint& endpoint, const char* subprotocol, SocketHandler& handler)
    : loop_(loop), handler_(handler)
{
    const std::string host = endpoint.hostAndPort();
    lws_client_connect_info info{};
    info.context = loop.context_;
    info.address = endpoint.host.c_str();
    info.port = endpoint.port;
    info.path = endpoint.path.c_str();
    info.host = host.c_str();
    info.protocol = subprotocol;
    info.local_protocol_name = "realtime";
    info.retry_and_idle_policy = &Liveness;
    info.pwsi = &wsi_;
    info.opaque_user_data = this;
    if (endpoint.tls) {
        info.ssl_connection = LCCSCF_USE_SSL;
        if (loop.transport_.insecure) {
            info.ssl_connection |= LCCSCF_ALLOW_SELFSIGNED | LCCSCF_ALLOW_EXPIRED | LCCSCF_ALLOW_INSECURE |
                                   LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK;
        }
    }
    lws_client_connect_via_info(&info); // a failure comes by the callback
}

Socket::~Socket()
{
    if (wsi_ != nullptr) {
        lws_set_opaque_user_data(wsi_, nullptr);
        lws_set_timeout(wsi_, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
    }
}

void Socket::send(std::string_view text)
{
    std::string room(LWS_PRE, '\0');
    room.append(text);
    outgoing_.push_back(std::move(room));
    if (opened_ && wsi_ != nullptr) {
        lws_callback_on_writable(wsi_);
    }
}

void Socket::close()
{
    closing_ = true;
    if (wsi_ != nullptr) {
        lws_callback_on_writable(wsi_);
    }
}

int Socket::callback(lws* wsi, int reason, void*, void* in, std::size_t size)
{
    auto* socket = static_cast<Socket*>(lws_get_opaque_user_data(wsi));
    if (socket == nullptr) {
        return 0;
    }
    SocketLoop& loop = socket->loop_;
    if (loop.failure_) { // it is all over
        lws_set_opaque_user_data(wsi, nullptr);
        socket->wsi_ = nullptr;
        return -1;
    }
    try {
        return socket->handle(wsi, reason, in, size);
    } catch (...) { // not through the frames of a C library
        loop.failure_ = std::current_exception();
        return -1;
    }
}

int Socket::handle(lws* wsi, int reason, void* in, std::size_t size)
{
    switch (reason) {
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
        return addHeaders(static_cast<unsigned char**>(in), size);
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        opened_ = true;
        if (!outgoing_.empty() || closing_) {
            lws_callback_on_writable(wsi_);
        }
        handler_.onOpen(position_);
        return 0;
    case LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH: // the last time that headers are there
        position_ = header(wsi, "realtime-last-id:");
        return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR: {
        const auto status = static_cast<int>(lws_http_client_http_response(wsi));
        end(wsi, status, in == nullptr ? "no connection" : std::string(static_cast<const char*>(in), size));
        return 0;
    }
    case LWS_CALLBACK_CLIENT_RECEIVE:
        return take(static_cast<const char*>(in), size);
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return writeOne();
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        if (size >= 2) {
            const auto* bytes = static_cast<const unsigned char*>(in);
            closeCode_ = bytes[0] << 8 | bytes[1];
            closeReason_.assign(static_cast<const char*>(in) + 2, size - 2);
        }
        return 0;
    case LWS_CALLBACK_CLIENT_CLOSED:
        end(wsi, closeCode_, closeReason_);
        return 0;
    default:
        return 0;
    }
}

int Socket::addHeaders(unsigned char** position, std::size_t room) const
{
    unsigned char* end = *position + room;
    for (const std::string& header : loop_.transport_.headers) {
        const std::size_t colon = header.find(':') + 1;
        const std::string name = header.substr(0, colon);
        const std::size_t begin = header.find_first_not_of(' ', colon);
        const std::string value = begin == std::string::npos ? "" : header.substr(begin);
        if (lws_add_http_header_by_name(wsi_, reinterpret_cast<const unsigned char*>(name.c_str()),
                                        reinterpret_cast<const unsigned char*>(value.data()),
                                        static_cast<int>(value.size()), position, end) != 0) {
            return -1;
        }
    }
    return 0;
}

int Socket::writeOne()
{
    if (outgoing_.empty()) {
        if (closing_) {
            lws_close_reason(wsi_, LWS_CLOSE_STATUS_NORMAL, nullptr, 0);
            return -1;
        }
        return 0;
    }
    std::string message = std::move(outgoing_.front());
    outgoing_.pop_front();
    const std::size_t size = message.size() - LWS_PRE;
    const bool text = validUtf8(std::string_view(message).substr(LWS_PRE));
    if (lws_write(wsi_, reinterpret_cast<unsigned char*>(message.data()) + LWS_PRE, size,
                  text ? LWS_WRITE_TEXT : LWS_WRITE_BINARY) < 0) {
        return -1;
    }
    if (!outgoing_.empty() || closing_) {
        lws_callback_on_writable(wsi_);
    }
    return 0;
}

int Socket::take(const char* bytes, std::size_t size)
{
    const bool last = lws_is_final_fragment(wsi_) != 0 && lws_remaining_packet_payload(wsi_) == 0;
    if (partial_.size() + size > MaxMessage) {
        closeReason_ = "a message is longer than 64 MiB";
        return -1;
    }
    if (last && partial_.empty()) { // the usual case
        handler_.onMessage({bytes, size});
        return 0;
    }
    partial_.append(bytes, size);
    if (last) {
        const std::string message = std::exchange(partial_, {});
        handler_.onMessage(message);
    }
    return 0;
}

void Socket::end(lws* wsi, int status, const std::string& why)
{
    lws_set_opaque_user_data(wsi, nullptr); // what else libwebsockets has to say of it is of no interest
    wsi_ = nullptr;
    handler_.onEnd(opened_, status, why);
}

} // namespace realtime::cli
