// A TCP connection that can be cut.
#pragma once

#include "support/listener.hpp"

#include <atomic>
#include <cstdint>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <sys/time.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace realtime::testing {

// Stands between nginx and RabbitMQ. cut() ends all connections at whatever byte they are at: what is read in small
// pieces of odd length is forwarded, the rest is not. block() does so too, and lets no new ones through until it is lifted.
class Proxy {
public:
    explicit Proxy(std::uint16_t target) : target_(target)
    {
        thread_ = std::thread([this] { run(); });
    }
    ~Proxy()
    {
        stop_ = true;
        thread_.join();
    }
    Proxy(const Proxy&) = delete;
    Proxy& operator=(const Proxy&) = delete;

    std::string url() const // of RabbitMQ behind it
    {
        return "amqp://guest:guest@127.0.0.1:" + std::to_string(listener_.port()) + "/%2F";
    }
    void cut() { cut_ = true; }
    void block(bool on) { blocked_ = on; }

private:
    struct Pair {
        int client, server;
        bool open = true;
    };

    void run()
    {
        std::vector<Pair> pairs;
        while (!stop_) {
            std::vector<pollfd> fds{{listener_.fd(), POLLIN, 0}};
            for (const Pair& pair : pairs) {
                fds.push_back({pair.client, POLLIN, 0});
                fds.push_back({pair.server, POLLIN, 0});
            }
            poll(fds.data(), fds.size(), 20);
            const bool cut = cut_.exchange(false) || blocked_;
            for (std::size_t i = 0; i < pairs.size(); ++i) {
                Pair& pair = pairs[i];
                pair.open =
                    !cut && forward(fds[1 + 2 * i], pair.server) && forward(fds[2 + 2 * i], pair.client);
                if (!pair.open) {
                    close(pair.client);
                    close(pair.server);
                }
            }
            std::erase_if(pairs, [](const Pair& pair) { return !pair.open; });
            if (fds[0].revents != 0) {
                accept(pairs);
            }
        }
        for (const Pair& pair : pairs) {
            close(pair.client);
            close(pair.server);
        }
    }

    void accept(std::vector<Pair>& pairs) const
    {
        const int client = listener_.accept();
        const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (!blocked_ && Listener::connectTo(server, target_)) {
            pairs.push_back({client, server});
        } else {
            close(client);
            close(server);
        }
    }

    // Gives up on a side that takes nothing for two seconds, such as a RabbitMQ that is stopped.
    static bool forward(const pollfd& from, int to)
    {
        char bytes[1'733];
        if (from.revents == 0) {
            return true;
        }
        const auto count = recv(from.fd, bytes, sizeof(bytes), 0);
        const timeval patience{2, 0};
        setsockopt(to, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
        return count > 0 && send(to, bytes, static_cast<std::size_t>(count), MSG_NOSIGNAL) == count;
    }

    std::uint16_t target_;
    Listener listener_;
    std::atomic<bool> stop_{false}, cut_{false}, blocked_{false};
    std::thread thread_;
};

} // namespace realtime::testing
