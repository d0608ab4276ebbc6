#include "serve/bare_server.hpp"

#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdexcept>
#include <string_view>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace realtime::bench {

namespace {

constexpr int MaxEvents = 512;
constexpr int Backlog = 4096;
constexpr std::size_t ReadBytes = std::size_t{64} * 1024;
constexpr std::size_t MaskedHead = 8; // 2, 16 bits of length, 4 of mask

constexpr std::string_view Handshake =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
// As long as the answer of the module.
constexpr std::string_view Accepted =
    "HTTP/1.1 202 Accepted\r\nServer: nginx/1.22.1\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
    "Content-Type: application/json\r\nContent-Length: 71\r\nConnection: keep-alive\r\n\r\n"
    "{\"id\":\"0123456789abcdef-123456\",\"channel\":\"fan\",\"subscribers\":  1000}\n ";

void sendAll(int fd, std::string_view bytes)
{
    while (!bytes.empty()) {
        const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (n == -1 && errno != EAGAIN && errno != EINTR) {
            return; // the load generator is gone
        }
        bytes.remove_prefix(n > 0 ? static_cast<std::size_t>(n) : 0);
    }
}

// An unmasked text frame of up to 64 KiB.
std::string_view frame(std::string_view text, std::array<char, ReadBytes>& room)
{
    room[0] = '\x81';
    room[1] = 126;
    room[2] = static_cast<char>(text.size() >> 8);
    room[3] = static_cast<char>(text.size() & 0xff);
    std::memcpy(room.data() + 4, text.data(), text.size());
    return {room.data(), text.size() + 4};
}

class BareLoop {
public:
    explicit BareLoop(int listener) : epoll_(epoll_create1(0)), listener_(listener)
    {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = listener;
        epoll_ctl(epoll_, EPOLL_CTL_ADD, listener, &event);
    }

    [[noreturn]] void run()
    {
        std::array<epoll_event, MaxEvents> events;
        while (true) {
            const int count = epoll_wait(epoll_, events.data(), MaxEvents, -1);
            for (int i = 0; i < count; i++) {
                const int fd = events[static_cast<std::size_t>(i)].data.fd;
                fd == listener_ ? take() : serve(fd);
            }
        }
    }

private:
    void take()
    {
        int fd = -1;
        while ((fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK)) != -1) {
            const int on = 1;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
            epoll_event event{};
            event.events = EPOLLIN | EPOLLET;
            event.data.fd = fd;
            epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
        }
    }

    void serve(int fd)
    {
        const ssize_t n = recv(fd, input_.data(), input_.size(), 0);
        if (n <= 0) {
            close(fd); // subscribers of the load generator leave all at once, with this process
            return;
        }
        const std::string_view bytes(input_.data(), static_cast<std::size_t>(n));
        if (bytes.starts_with("GET ")) {
            sendAll(fd, Handshake);
            subscribers_.push_back(fd);
        } else if (bytes.starts_with("POST ")) {
            sendAll(fd, Accepted);
            publish(bytes);
        } else {
            echo(fd, bytes);
        }
    }

    void publish(std::string_view request)
    {
        const std::string_view bytes = frame(request.substr(request.find("\r\n\r\n") + 4), output_);
        const std::string_view name = request.substr(std::string_view("POST /pub/").size());
        std::size_t index = 0;
        if (std::from_chars(name.data(), name.data() + name.size(), index).ec == std::errc()) {
            sendAll(subscribers_[index], bytes);
            return;
        }
        for (const int subscriber : subscribers_) {
            sendAll(subscriber, bytes);
        }
    }

    void echo(int fd, std::string_view masked)
    {
        std::array<char, ReadBytes> text;
        const std::size_t size = masked.size() - MaskedHead;
        for (std::size_t i = 0; i < size; i++) {
            text[i] = static_cast<char>(masked[MaskedHead + i] ^ masked[MaskedHead - 4 + i % 4]);
        }
        sendAll(fd, frame({text.data(), size}, output_));
    }

    int epoll_;
    int listener_;
    std::vector<int> subscribers_;
    std::array<char, ReadBytes> input_;
    std::array<char, ReadBytes> output_;
};

} // namespace

BareServer::BareServer()
{
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (listener == -1 || bind(listener, generic, size) == -1 || listen(listener, Backlog) == -1 ||
        getsockname(listener, generic, &size) == -1) {
        throw std::runtime_error(std::string("cannot listen: ") + std::strerror(errno));
    }
    port_ = ntohs(address.sin_port);

    pid_ = fork();
    if (pid_ == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pinTo(serverCore());
        BareLoop(listener).run();
    }
    close(listener);
    if (pid_ == -1) {
        throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
    }
}

BareServer::~BareServer()
{
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
}

} // namespace realtime::bench
