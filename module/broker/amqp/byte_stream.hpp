// A connection to one server as a stream of bytes: TCP, and TLS on top of it for amqps. Nothing here blocks.
//
// Thread     any one thread, which must have SIGPIPE blocked or ignored.
// TLS        1.2 or later; the server's certificate must be signed by `tlsCa` (empty: by an authority that the system
//            trusts) and be for the host name or address of the URL.
// Errors     error() is a sentence; a stream that has failed stays so.
#pragma once

#include "base/own_fd.hpp"
#include "base/thread/resolver.hpp"
#include "broker/amqp/tls_context.hpp"
#include "broker/broker.hpp"
#include "broker/link.hpp"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

struct addrinfo;
struct ssl_st;

namespace realtime {

class ByteStream {
public:
    enum class Io { Done, Again, Closed, Failed };

    ByteStream(const BrokerConfig& config, const BrokerServer& server);
    ~ByteStream();
    ByteStream(const ByteStream&) = delete;
    ByteStream& operator=(const ByteStream&) = delete;

    // Goes on connecting: Done once bytes may flow, Again for later.
    Io connect(LinkClock::time_point now);

    // Once connected. `moved` is how many bytes were read or written; Done: at least one.
    Io read(std::span<char> into, std::size_t& moved);
    Io write(std::string_view from, std::size_t& moved);

    // What to sleep on before the next connect(), or read() and, if `writing`, write().
    LinkInterest interest(bool writing) const;

    const std::string& error() const { return error_; }
    bool errorLasts() const { return errorLasts_; } // only the operator can mend it (certificates)

private:
    struct FreeSsl {
        void operator()(ssl_st* ssl) const;
    };
    enum class Stage { Resolve, NextAddress, Connect, Handshake, Open };

    Io resolve(LinkClock::time_point now);
    Io startConnect(LinkClock::time_point now);
    Io finishConnect(LinkClock::time_point now);
    Io startTls();
    Io handshake();
    Io sslResult(int result, const char* doing, short& waitFor);
    Io fail(std::string text, bool lasts = false);

    const BrokerConfig& config_;
    const BrokerServer& server_;
    Stage stage_ = Stage::Resolve;
    std::optional<Resolver> resolver_;
    const addrinfo* address_ = nullptr; // the one to try next
    LinkClock::time_point wakeAt_ = LinkClock::time_point::max();
    OwnFd fd_;
    TlsContext context_;
    std::unique_ptr<ssl_st, FreeSsl> ssl_;       // freed before the descriptor is closed
    short readWaitsFor_ = 0, writeWaitsFor_ = 0; // as for poll(); TLS may want the other direction
    std::string error_;
    bool errorLasts_ = false;
};

} // namespace realtime
