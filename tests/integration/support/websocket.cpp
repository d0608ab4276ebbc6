#include "support/websocket.hpp"

#include <array>
#include <deque>

#include <libwebsockets.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

namespace realtime::testing {

struct WebSocket::Impl {
    struct Outgoing {
        std::string data;
        bool binary;
    };

    WebSocketOptions options;
    lws_context* context = nullptr;
    lws* wsi = nullptr;
    bool established = false;
    bool ended = false;
    std::string error;
    std::string partial;
    std::deque<WebSocketMessage> incoming;
    std::deque<Outgoing> outgoing;
    std::string written; // what libwebsockets compresses, which goes on behind lws_write()
    bool closing = false;
    int closeCode = 1000;
    std::string closeReason;
    WebSocketClose closed{1006, ""};
    std::string subprotocol;
    std::string extensions;

    ~Impl()
    {
        if (context != nullptr) {
            lws_context_destroy(context);
        }
    }

    static int callback(lws* wsi, lws_callback_reasons reason, void*, void* in, std::size_t size)
    {
        auto* impl = static_cast<Impl*>(lws_get_opaque_user_data(wsi));
        return impl == nullptr ? 0 : impl->handle(reason, in, size);
    }

    void connect();
    void pump(std::chrono::milliseconds atMost);
    int handle(lws_callback_reasons reason, void* in, std::size_t size);
    int appendHeaders(unsigned char** position, const unsigned char* end) const;
    int write();
    void take(const char* data, std::size_t size);
    void takeClose(const unsigned char* data, std::size_t size);
};

void WebSocket::Impl::connect()
{
    lws_set_log_level(0, nullptr);
    static const std::array<lws_protocols, 2> protocols{
        lws_protocols{"test", callback, 0, 65536, 0, nullptr, 0},
        lws_protocols{nullptr, nullptr, 0, 0, 0, nullptr, 0},
    };
    lws_context_creation_info info{};
    info.port = CONTEXT_PORT_NO_LISTEN;
    info.protocols = protocols.data();
    info.fd_limit_per_thread = 16;
    info.pt_serv_buf_size = 65536;
    info.options = LWS_SERVER_OPTION_VALIDATE_UTF8;
    static const std::array<lws_extension, 2> offers{
        lws_extension{"permessage-deflate", lws_extension_callback_pm_deflate,
                      "permessage-deflate; client_no_context_takeover; client_max_window_bits"},
        lws_extension{nullptr, nullptr, nullptr},
    };
    if (options.deflate) {
        info.extensions = offers.data();
    }
    if (!options.certificate.empty()) {
        info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
        info.client_ssl_ca_filepath = options.certificate.c_str();
    }
    context = lws_create_context(&info);
    expect(context != nullptr, "lws_create_context failed");

    const std::string host =
        (options.certificate.empty() ? "127.0.0.1:" : "localhost:") + std::to_string(options.port);
    lws_client_connect_info connection{};
    connection.context = context;
    connection.address = options.certificate.empty() ? "127.0.0.1" : "localhost";
    connection.port = options.port;
    connection.path = options.path.c_str();
    connection.host = host.c_str();
    connection.protocol = options.subprotocol.empty() ? nullptr : options.subprotocol.c_str();
    connection.local_protocol_name = "test";
    connection.ssl_connection = options.certificate.empty() ? 0 : LCCSCF_USE_SSL;
    connection.pwsi = &wsi;
    connection.opaque_user_data = this;
    lws_client_connect_via_info(&connection);

    const auto deadline = Clock::now() + Patience;
    while (!established) {
        if (ended) {
            throw std::runtime_error("WebSocket handshake failed: " + error);
        }
        expect(Clock::now() < deadline, "no WebSocket handshake in time");
        pump(10ms);
    }
}

// lws_service() with a timeout of -1 serves what is ready and returns; with any other it ignores the number.
void WebSocket::Impl::pump(std::chrono::milliseconds atMost)
{
    lws_service(context, -1);
    if (atMost <= 0ms || ended || !incoming.empty()) {
        return;
    }
    pollfd waiting{established && wsi != nullptr ? lws_get_socket_fd(wsi) : -1, POLLIN, 0};
    poll(&waiting, 1, waiting.fd == -1 ? 1 : static_cast<int>(atMost.count()));
    lws_service(context, -1);
}

int WebSocket::Impl::appendHeaders(unsigned char** position, const unsigned char* end) const
{
    for (const auto& [name, value] : options.headers) {
        const std::string colon = name + ":";
        if (lws_add_http_header_by_name(wsi, reinterpret_cast<const unsigned char*>(colon.c_str()),
                                        reinterpret_cast<const unsigned char*>(value.data()),
                                        static_cast<int>(value.size()), position,
                                        const_cast<unsigned char*>(end)) != 0) {
            return -1;
        }
    }
    return 0;
}

int WebSocket::Impl::write()
{
    if (outgoing.empty()) {
        if (closing) {
            lws_close_reason(wsi, static_cast<lws_close_status>(closeCode),
                             reinterpret_cast<unsigned char*>(closeReason.data()), closeReason.size());
            return -1;
        }
        return 0;
    }
    const Outgoing next = outgoing.front();
    outgoing.pop_front();
    written.assign(LWS_PRE, '\0');
    written += next.data;
    if (lws_write(wsi, reinterpret_cast<unsigned char*>(written.data() + LWS_PRE), next.data.size(),
                  next.binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT) < 0) {
        return -1;
    }
    if (!outgoing.empty() || closing) {
        lws_callback_on_writable(wsi);
    }
    return 0;
}

void WebSocket::Impl::take(const char* data, std::size_t size)
{
    partial.append(data, size);
    if (lws_is_final_fragment(wsi) != 0 && lws_remaining_packet_payload(wsi) == 0) {
        incoming.push_back({std::move(partial), lws_frame_is_binary(wsi) != 0});
        partial.clear();
    }
}

void WebSocket::Impl::takeClose(const unsigned char* data, std::size_t size)
{
    closed.code = size < 2 ? 1005 : data[0] << 8 | data[1];
    closed.reason = size < 2 ? "" : std::string(reinterpret_cast<const char*>(data) + 2, size - 2);
}

int WebSocket::Impl::handle(lws_callback_reasons reason, void* in, std::size_t size)
{
    switch (reason) {
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER: {
        auto** position = static_cast<unsigned char**>(in);
        return appendHeaders(position, *position + size);
    }
    case LWS_CALLBACK_CLIENT_FILTER_PRE_ESTABLISH: {
        char name[64] = "";
        lws_hdr_copy(wsi, name, sizeof(name), WSI_TOKEN_PROTOCOL);
        subprotocol = name;
        char list[256] = "";
        lws_hdr_copy(wsi, list, sizeof(list), WSI_TOKEN_EXTENSIONS);
        extensions = list;
        return 0;
    }
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        established = true;
        return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        error = in == nullptr ? "?" : std::string(static_cast<const char*>(in), size);
        ended = true;
        wsi = nullptr;
        return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        take(static_cast<const char*>(in), size);
        return 0;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return write();
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        takeClose(static_cast<const unsigned char*>(in), size);
        return 0;
    case LWS_CALLBACK_CLIENT_CLOSED:
        ended = true;
        wsi = nullptr;
        return 0;
    default:
        return 0;
    }
}

WebSocket::WebSocket(const WebSocketOptions& options) : impl_(std::make_unique<Impl>())
{
    impl_->options = options;
    impl_->connect();
}

WebSocket::WebSocket(std::uint16_t port, const std::string& path, const std::string& subprotocol)
    : WebSocket(WebSocketOptions{port, path, subprotocol, {}, {}, false})
{
}

WebSocket::~WebSocket() = default;
WebSocket::WebSocket(WebSocket&&) noexcept = default;
WebSocket& WebSocket::operator=(WebSocket&&) noexcept = default;

void WebSocket::send(std::string_view text)
{
    expect(open(), "send on a closed WebSocket");
    impl_->outgoing.push_back({std::string(text), false});
    lws_callback_on_writable(impl_->wsi);
    while (!impl_->outgoing.empty() && open()) {
        impl_->pump(1ms);
    }
}

void WebSocket::sendBinary(std::string_view data)
{
    expect(open(), "send on a closed WebSocket");
    impl_->outgoing.push_back({std::string(data), true});
    lws_callback_on_writable(impl_->wsi);
    while (!impl_->outgoing.empty() && open()) {
        impl_->pump(1ms);
    }
}

WebSocketMessage WebSocket::receive(std::chrono::milliseconds patience)
{
    const auto deadline = Clock::now() + patience;
    while (impl_->incoming.empty()) {
        expect(!impl_->ended, "the WebSocket has been closed with " + std::to_string(impl_->closed.code));
        expect(Clock::now() < deadline, "no WebSocket message in time");
        impl_->pump(20ms);
    }
    WebSocketMessage message = std::move(impl_->incoming.front());
    impl_->incoming.pop_front();
    return message;
}

std::string WebSocket::receiveText(std::chrono::milliseconds patience)
{
    WebSocketMessage message = receive(patience);
    expect(!message.binary, "a binary message where text was expected");
    return message.data;
}

bool WebSocket::pending()
{
    impl_->pump(0ms);
    return !impl_->incoming.empty();
}

void WebSocket::expectSilence(std::chrono::milliseconds duration)
{
    const auto deadline = Clock::now() + duration;
    while (Clock::now() < deadline) {
        impl_->pump(10ms);
        expect(impl_->incoming.empty(),
               "unexpected message: " + (impl_->incoming.empty() ? "" : impl_->incoming.front().data));
        expect(!impl_->ended, "the WebSocket has been closed with " + std::to_string(impl_->closed.code));
    }
}

void WebSocket::close(int code, std::string_view reason)
{
    impl_->closing = true;
    impl_->closeCode = code;
    impl_->closeReason = reason;
    if (impl_->wsi != nullptr) {
        lws_callback_on_writable(impl_->wsi);
    }
    waitForClose();
}

WebSocketClose WebSocket::waitForClose(std::chrono::milliseconds patience)
{
    const auto deadline = Clock::now() + patience;
    while (!impl_->ended) {
        expect(Clock::now() < deadline, "the WebSocket stays open");
        impl_->incoming.clear();
        impl_->pump(20ms);
    }
    return impl_->closed;
}

bool WebSocket::open() const
{
    return impl_->established && !impl_->ended;
}

std::string WebSocket::acceptedSubprotocol() const
{
    return impl_->subprotocol;
}

std::string WebSocket::acceptedExtensions() const
{
    return impl_->extensions;
}

std::uint16_t WebSocket::clientPort() const
{
    expect(open(), "a closed WebSocket has no port");
    sockaddr_in address{};
    socklen_t size = sizeof(address);
    getsockname(lws_get_socket_fd(impl_->wsi), reinterpret_cast<sockaddr*>(&address), &size);
    return ntohs(address.sin_port);
}

} // namespace realtime::testing
