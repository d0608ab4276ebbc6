// An AMQP connection that can be cut.
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

// Where AMQP's frames begin and end in what one side sends.
class FrameWalk {
public:
    explicit FrameWalk(bool client) : left_(client ? ProtocolHeader : 0) {}

    // True: the frame that the byte is of goes on behind it.
    bool step(char byte)
    {
        if (left_ > 0) {
            return --left_ > 0;
        }
        header_[at_++] = byte;
        if (at_ == FrameHeader) {
            at_ = 0;
            left_ = 1; // the octet that ends a frame
            for (std::size_t i = 3; i < FrameHeader; ++i) {
                left_ += static_cast<std::size_t>(static_cast<unsigned char>(header_[i])) << 8 * (6 - i);
            }
        }
        return true;
    }

private:
    static constexpr std::size_t ProtocolHeader = 8, FrameHeader = 7; // type, channel, size
    char header_[FrameHeader] = {};
    std::size_t at_ = 0, left_;
};

// Stands between nginx and RabbitMQ. cut() ends all connections in the middle of the next frame that comes, from either
// side, or as they are, if none comes for a second. block() ends them at whatever byte they are at, and lets no new ones
// through until it is lifted.
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
    std::size_t cutInFrames() const { return cutInFrames_; } // connections
    void block(bool on) { blocked_ = on; }

private:
    struct Pair {
        int client, server;
        bool open = true;
        Clock::time_point cutAt = Clock::time_point::max(); // at the next frame, or then
        FrameWalk fromClient{true}, fromServer{false};
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
            const auto now = Clock::now();
            const bool cut = cut_.exchange(false);
            for (std::size_t i = 0; i < pairs.size(); ++i) {
                Pair& pair = pairs[i];
                pair.cutAt = cut ? now + 1s : pair.cutAt;
                pair.open = !blocked_ && now < pair.cutAt && forward(fds[1 + 2 * i], pair, pair.fromClient) &&
                            forward(fds[2 + 2 * i], pair, pair.fromServer);
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
        if (!blocked_ && ListeningSocket::connectTo(server, target_)) {
            pairs.push_back({client, server});
        } else {
            close(client);
            close(server);
        }
    }

    // Gives up on a side that takes nothing for two seconds, such as a RabbitMQ that is stopped.
    bool forward(const pollfd& from, const Pair& pair, FrameWalk& walk)
    {
        char bytes[1'733];
        if (from.revents == 0) {
            return true;
        }
        const auto count = recv(from.fd, bytes, sizeof(bytes), 0);
        const int to = from.fd == pair.client ? pair.server : pair.client;
        const timeval patience{2, 0};
        setsockopt(to, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
        std::vector<ssize_t> inFrames;
        for (ssize_t i = 0; i < count; ++i) {
            if (walk.step(bytes[i])) {
                inFrames.push_back(i + 1);
            }
        }
        const bool cut = pair.cutAt != Clock::time_point::max() && !inFrames.empty();
        const ssize_t part = cut ? inFrames[inFrames.size() / 2] : count;
        cutInFrames_ += cut ? 1 : 0;
        return count > 0 && send(to, bytes, static_cast<std::size_t>(part), MSG_NOSIGNAL) == count;
    }

    std::uint16_t target_;
    ListeningSocket listener_;
    std::atomic<bool> stop_{false}, cut_{false}, blocked_{false};
    std::atomic<std::size_t> cutInFrames_{0};
    std::thread thread_;
};

} // namespace realtime::testing
