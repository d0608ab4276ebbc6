#include "support/raw_socket.hpp"

#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace realtime::testing {

RawSocket::RawSocket(std::uint16_t port, int receiveBuffer)
    : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))
{
    if (receiveBuffer > 0) {
        setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receiveBuffer, sizeof(receiveBuffer));
    }
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    if (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
        const std::string reason = std::strerror(errno);
        close(fd_);
        throw std::runtime_error("connect to port " + std::to_string(port) + ": " + reason);
    }
}

RawSocket::~RawSocket()
{
    close(fd_);
}

void RawSocket::send(std::string_view bytes)
{
    while (!bytes.empty()) {
        const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent < 0) {
            throw PeerGone(std::string("send: ") + std::strerror(errno));
        }
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
}

void RawSocket::shutdownWriting()
{
    shutdown(fd_, SHUT_WR);
}

bool RawSocket::receiveMore(Clock::time_point deadline)
{
    pollfd waiting{fd_, POLLIN, 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    if (left <= 0ms || poll(&waiting, 1, static_cast<int>(left.count())) <= 0) {
        throw std::runtime_error("nothing more received in time after \"" + buffer_.substr(0, 500) + '"');
    }
    char bytes[16384];
    const auto got = recv(fd_, bytes, sizeof(bytes), 0);
    if (got <= 0) {
        reset_ = got < 0;
        return false;
    }
    buffer_.append(bytes, static_cast<std::size_t>(got));
    return true;
}

void RawSocket::receiveMoreOrThrow(Clock::time_point deadline)
{
    if (!receiveMore(deadline)) {
        throw PeerGone("closed after \"" + buffer_.substr(0, 500) + '"');
    }
}

bool RawSocket::pending() const
{
    pollfd waiting{fd_, POLLIN, 0};
    return !buffer_.empty() || poll(&waiting, 1, 0) > 0;
}

std::string RawSocket::receiveUntil(std::string_view end, std::chrono::milliseconds patience)
{
    const auto deadline = Clock::now() + patience;
    std::size_t at = 0;
    while ((at = buffer_.find(end)) == std::string::npos) {
        receiveMoreOrThrow(deadline);
    }
    std::string taken = buffer_.substr(0, at + end.size());
    buffer_.erase(0, at + end.size());
    return taken;
}

std::string RawSocket::receiveBytes(std::size_t count, std::chrono::milliseconds patience)
{
    const auto deadline = Clock::now() + patience;
    while (buffer_.size() < count) {
        receiveMoreOrThrow(deadline);
    }
    std::string taken = buffer_.substr(0, count);
    buffer_.erase(0, count);
    return taken;
}

std::string RawSocket::receiveUntilClosed(std::chrono::milliseconds patience)
{
    const auto deadline = Clock::now() + patience;
    while (receiveMore(deadline)) {
    }
    return std::exchange(buffer_, {});
}

std::uint16_t RawSocket::clientPort() const
{
    sockaddr_in address{};
    socklen_t size = sizeof(address);
    getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    return ntohs(address.sin_port);
}

std::string encode(const Frame& frame)
{
    std::string bytes;
    bytes += static_cast<char>((frame.final ? 0x80U : 0U) | frame.reserved << 4U | frame.opcode);
    const unsigned maskBit = frame.masked ? 0x80U : 0U;
    const std::size_t size = frame.payload.size();
    if (size < 126) {
        bytes += static_cast<char>(maskBit | size);
    } else {
        const int lengthBytes = size < 65536 ? 2 : 8;
        bytes += static_cast<char>(maskBit | (lengthBytes == 2 ? 126U : 127U));
        for (int shift = (lengthBytes - 1) * 8; shift >= 0; shift -= 8) {
            bytes += static_cast<char>(size >> shift & 0xFFU);
        }
    }
    if (!frame.masked) {
        return bytes + frame.payload;
    }
    const char mask[4] = {0x11, 0x22, 0x33, 0x44};
    bytes.append(mask, sizeof(mask));
    for (std::size_t i = 0; i < size; ++i) {
        bytes += static_cast<char>(frame.payload[i] ^ mask[i % 4]);
    }
    return bytes;
}

RawWebSocket::RawWebSocket(std::uint16_t port, std::string_view path, std::string_view headers,
                           int receiveBuffer)
    : socket_(port, receiveBuffer)
{
    std::string request = "GET ";
    request.append(path).append(
        " HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
    request.append(headers).append("\r\n");
    socket_.send(request);
    head_ = socket_.receiveUntil("\r\n\r\n");
    expect(head_.starts_with("HTTP/1.1 101 "), "handshake refused: " + head_);
}

Frame RawWebSocket::receive(std::chrono::milliseconds patience)
{
    const auto byte = [](char c) { return static_cast<unsigned char>(c); };
    const std::string start = socket_.receiveBytes(2, patience);
    Frame frame;
    frame.final = (byte(start[0]) & 0x80U) != 0;
    frame.reserved = byte(start[0]) >> 4U & 7U;
    frame.opcode = byte(start[0]) & 15U;
    frame.masked = (byte(start[1]) & 0x80U) != 0;
    expect(!frame.masked, "a masked frame from the server");
    std::size_t size = byte(start[1]) & 0x7FU;
    if (size >= 126) {
        const std::string length = socket_.receiveBytes(size == 126 ? 2 : 8, patience);
        size = 0;
        for (const char c : length) {
            size = size << 8U | byte(c);
        }
    }
    frame.payload = socket_.receiveBytes(size, patience);
    return frame;
}

int RawWebSocket::receiveClose(std::chrono::milliseconds patience)
{
    for (;;) {
        const Frame frame = receive(patience);
        if (frame.opcode == Close) {
            return frame.payload.size() < 2 ? 1005
                                            : static_cast<unsigned char>(frame.payload[0]) << 8 |
                                                  static_cast<unsigned char>(frame.payload[1]);
        }
    }
}

} // namespace realtime::testing
