#include "broker/amqp/byte_stream.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <climits>
#include <cstring>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <poll.h>
#include <stdexcept>
#include <sys/socket.h>

namespace realtime {

namespace {

using namespace std::chrono_literals;

constexpr auto ConnectPatience = 4s; // for each address

std::string systemError(const char* doing, int code)
{
    return std::string(doing) + ": " + std::strerror(code);
}

bool isAddress(const std::string& host)
{
    in6_addr space;
    return inet_pton(AF_INET, host.c_str(), &space) == 1 || inet_pton(AF_INET6, host.c_str(), &space) == 1;
}

} // namespace

void ByteStream::FreeSsl::operator()(ssl_st* ssl) const
{
    SSL_free(ssl);
}

ByteStream::ByteStream(const BrokerConfig& config, const BrokerServer& server)
    : config_(config), server_(server)
{
}

ByteStream::~ByteStream() = default;

ByteStream::Io ByteStream::connect(LinkClock::time_point now)
{
    for (;;) {
        Io io = Io::Done;
        switch (stage_) {
        case Stage::Resolve:
            io = resolve(now);
            break;
        case Stage::NextAddress:
            io = startConnect(now);
            break;
        case Stage::Connect:
            io = finishConnect(now);
            break;
        case Stage::Handshake:
            io = handshake();
            break;
        case Stage::Open:
            return Io::Done;
        }
        if (io != Io::Done) {
            return io;
        }
    }
}

ByteStream::Io ByteStream::resolve(LinkClock::time_point now)
{
    if (!resolver_) {
        resolver_.emplace(server_.host, server_.port);
    }
    switch (resolver_->state()) {
    case Resolver::State::Pending:
        wakeAt_ = now + Resolver::Pause;
        return Io::Again;
    case Resolver::State::Failed:
        return fail("cannot find the address: " + resolver_->error());
    case Resolver::State::Done:
        break;
    }
    address_ = resolver_->addresses();
    stage_ = Stage::NextAddress;
    return Io::Done;
}

ByteStream::Io ByteStream::startConnect(LinkClock::time_point now)
{
    if (address_ == nullptr) {
        return fail(error_.empty() ? "cannot connect" : error_);
    }
    const addrinfo& address = *std::exchange(address_, address_->ai_next);
    fd_ = OwnFd(socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (fd_.get() < 0) {
        error_ = systemError("cannot open a socket", errno);
        return Io::Done; // the next address, if there is one
    }
    const int one = 1;
    setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (::connect(fd_.get(), address.ai_addr, address.ai_addrlen) != 0 && errno != EINPROGRESS) {
        error_ = systemError("cannot connect", errno);
        return Io::Done;
    }
    stage_ = Stage::Connect;
    wakeAt_ = now + ConnectPatience;
    return Io::Done;
}

ByteStream::Io ByteStream::finishConnect(LinkClock::time_point now)
{
    pollfd pending{fd_.get(), POLLOUT, 0};
    int code = 0;
    if (poll(&pending, 1, 0) == 0) {
        if (now < wakeAt_) {
            return Io::Again;
        }
        code = ETIMEDOUT;
    } else {
        socklen_t size = sizeof(code);
        getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &code, &size);
    }
    if (code != 0) {
        error_ = systemError("cannot connect", code);
        stage_ = Stage::NextAddress;
        return Io::Done;
    }
    wakeAt_ = LinkClock::time_point::max();
    readWaitsFor_ = POLLIN;
    writeWaitsFor_ = POLLOUT;
    if (server_.scheme == BrokerServer::Scheme::Amqps) {
        return startTls();
    }
    stage_ = Stage::Open;
    return Io::Done;
}

ByteStream::Io ByteStream::startTls()
{
    try {
        context_ = makeTlsContext(config_);
    } catch (const std::runtime_error& error) {
        return fail(error.what(), true);
    }
    ssl_.reset(SSL_new(context_.get()));
    if (!ssl_ || SSL_set_fd(ssl_.get(), fd_.get()) != 1) {
        return fail("cannot begin TLS: " + takeTlsError());
    }
    const bool numeric = isAddress(server_.host);
    const int named = numeric
                          ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), server_.host.c_str())
                          : SSL_set1_host(ssl_.get(), server_.host.c_str());
    if (named != 1 || (!numeric && SSL_set_tlsext_host_name(ssl_.get(), server_.host.c_str()) != 1)) {
        return fail("cannot ask for the server's name: " + takeTlsError());
    }
    SSL_set_connect_state(ssl_.get());
    stage_ = Stage::Handshake;
    return Io::Done;
}

ByteStream::Io ByteStream::handshake()
{
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_.get());
    if (result == 1) {
        stage_ = Stage::Open;
        readWaitsFor_ = POLLIN;
        return Io::Done;
    }
    if (const long verdict = SSL_get_verify_result(ssl_.get()); verdict != X509_V_OK) {
        return fail(std::string("the server's certificate is not accepted: ") +
                        X509_verify_cert_error_string(verdict),
                    true);
    }
    const Io io = sslResult(result, "TLS handshake", readWaitsFor_);
    return io == Io::Closed ? fail("the server closed the connection during the TLS handshake") : io;
}

ByteStream::Io ByteStream::read(std::span<char> into, std::size_t& moved)
{
    moved = 0;
    if (ssl_) {
        ERR_clear_error();
        const int got =
            SSL_read(ssl_.get(), into.data(), static_cast<int>(std::min<std::size_t>(into.size(), INT_MAX)));
        readWaitsFor_ = POLLIN;
        if (got <= 0) {
            return sslResult(got, "reading", readWaitsFor_);
        }
        moved = static_cast<std::size_t>(got);
        return Io::Done;
    }
    const auto got = recv(fd_.get(), into.data(), into.size(), 0);
    if (got > 0) {
        moved = static_cast<std::size_t>(got);
        return Io::Done;
    }
    if (got == 0) {
        return Io::Closed;
    }
    return errno == EAGAIN || errno == EINTR ? Io::Again : fail(systemError("connection lost", errno));
}

ByteStream::Io ByteStream::write(std::string_view from, std::size_t& moved)
{
    moved = 0;
    if (ssl_) {
        ERR_clear_error();
        const int sent =
            SSL_write(ssl_.get(), from.data(), static_cast<int>(std::min<std::size_t>(from.size(), INT_MAX)));
        writeWaitsFor_ = POLLOUT;
        if (sent <= 0) {
            return sslResult(sent, "writing", writeWaitsFor_);
        }
        moved = static_cast<std::size_t>(sent);
        return Io::Done;
    }
    const auto sent = send(fd_.get(), from.data(), from.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
        moved = static_cast<std::size_t>(sent);
        return Io::Done;
    }
    return errno == EAGAIN || errno == EINTR ? Io::Again : fail(systemError("connection lost", errno));
}

LinkInterest ByteStream::interest(bool writing) const
{
    switch (stage_) {
    case Stage::Resolve:
    case Stage::NextAddress:
        return {-1, 0, wakeAt_};
    case Stage::Connect:
        return {fd_.get(), POLLOUT, wakeAt_};
    case Stage::Handshake:
        return {fd_.get(), readWaitsFor_};
    case Stage::Open:
        break;
    }
    return {fd_.get(), static_cast<short>(readWaitsFor_ | (writing ? writeWaitsFor_ : 0))};
}

ByteStream::Io ByteStream::sslResult(int result, const char* doing, short& waitFor)
{
    const int systemCode = errno;
    switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
        waitFor = POLLIN;
        return Io::Again;
    case SSL_ERROR_WANT_WRITE:
        waitFor = POLLOUT;
        return Io::Again;
    case SSL_ERROR_ZERO_RETURN:
        return Io::Closed;
    case SSL_ERROR_SYSCALL:
        return fail(systemError("connection lost", systemCode == 0 ? ECONNRESET : systemCode));
    default:
        return fail(std::string(doing) + " failed: " + takeTlsError());
    }
}

ByteStream::Io ByteStream::fail(std::string text, bool lasts)
{
    error_ = std::move(text);
    errorLasts_ = lasts;
    return Io::Failed;
}

} // namespace realtime
