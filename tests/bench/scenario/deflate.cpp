#include "scenario/scenarios.hpp"

#include "load/publisher.hpp"
#include "serve/nginx_server.hpp"

#include "wire/deflate.hpp"

#include <algorithm>
#include <random>
#include <stdexcept>

namespace realtime::bench {

namespace {

constexpr std::size_t Subscribers = 1000;
constexpr std::size_t MessageBytes = 1000;

// Orders with numbers that are never the same twice.
std::string order(std::mt19937& random)
{
    static constexpr const char* States[] = {"pending", "shipped", "delivered", "cancelled"};
    const auto below = [&](unsigned end) { return static_cast<unsigned>(random()) % end; };
    std::string text = R"({"order":)" + std::to_string(below(10'000'000)) + R"(,"items":[)";
    for (;;) {
        char item[160];
        const int size = std::snprintf(
            item, sizeof(item),
            R"({"sku":"%08x","state":"%s","price":%u.%02u,"quantity":%u,"updated":"2026-11-%02uT%02u:%02u:%02uZ"})",
            static_cast<unsigned>(random()), States[below(4)], below(500), below(100), 1 + below(9),
            1 + below(28), below(24), below(60), below(60));
        if (text.size() + static_cast<std::size_t>(size) + 3 > MessageBytes) {
            return text + "]}";
        }
        text += (text.back() == '[' ? "" : ",") + std::string(item, static_cast<std::size_t>(size));
    }
}

// What all subscribers get at the moment: the first one's frame is checked, those of the others are to be the same.
struct Current {
    std::string message, frame;
    std::uint64_t received = 0, bytes = 0;
    ws::Inflater inflater;
};

class Reader final : public Socket {
public:
    Reader(Loop& loop, std::uint16_t port, Current& current) : Socket(loop, port), current_(current)
    {
        send("GET /sub/all HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
             "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n");
    }
    bool open() const { return open_; }

private:
    void received(std::span<char> bytes) override
    {
        rest_.append(bytes.data(), bytes.size());
        if (!open_) {
            const std::size_t end = rest_.find("\r\n\r\n");
            if (end == std::string::npos) {
                return;
            }
            open_ = true;
            rest_.erase(0, end + 4);
        }
        // Its frames have a length of two bytes, or (compressed to less than 126) of one.
        while (rest_.size() >= 4) {
            const std::size_t head = (rest_[1] & 0x7f) == 126 ? 4 : 2;
            const std::size_t size =
                head == 2 ? static_cast<std::size_t>(rest_[1])
                          : static_cast<std::size_t>(static_cast<unsigned char>(rest_[2])) << 8 |
                                static_cast<unsigned char>(rest_[3]);
            if (rest_.size() < head + size) {
                return;
            }
            take(std::string_view(rest_).substr(0, head + size), head);
            rest_.erase(0, head + size);
        }
    }

    void take(std::string_view frame, std::size_t head)
    {
        if (current_.frame.empty()) {
            std::string_view payload = frame.substr(head);
            const bool compressed = (frame[0] & 0x40) != 0;
            const ws::Inflater::Result result =
                compressed ? current_.inflater.decompress(payload, MessageBytes) : ws::Inflater::Result{};
            if (result.error || (compressed ? result.message : payload) != current_.message) {
                throw std::runtime_error("another message than was published");
            }
            current_.frame = frame;
        } else if (current_.frame != frame) {
            throw std::runtime_error("a subscriber has got other bytes than the others");
        }
        current_.received++;
        current_.bytes += frame.size();
    }

    Current& current_;
    bool open_ = false;
    std::string rest_;
};

class Audience {
public:
    Audience(const Server& server, std::size_t subscribers)
        : server_(server), publisher_(loop_, server.port())
    {
        while (readers_.size() < subscribers) {
            readers_.push_back(std::make_unique<Reader>(loop_, server.port(), current_));
            loop_.until("a subscriber is connected", [&] { return readers_.back()->open(); });
        }
    }

    // Server's CPU time in us for each delivery.
    double run(std::size_t count)
    {
        const auto cpu = server_.cpu();
        const std::uint64_t before = current_.received;
        for (std::size_t i = 0; i < count; i++) {
            const std::uint64_t all = current_.received + readers_.size();
            current_.message = order(random_);
            current_.frame.clear();
            publisher_.post("/pub/all", current_.message);
            loop_.until("a message is delivered",
                        [&] { return publisher_.idle() && current_.received == all; });
        }
        const std::chrono::duration<double, std::micro> spent = server_.cpu() - cpu;
        return spent.count() / static_cast<double>(current_.received - before);
    }
    double bytesEach() const
    {
        return static_cast<double>(current_.bytes) / static_cast<double>(current_.received);
    }

private:
    const Server& server_;
    std::mt19937 random_{1}; // the same messages for all servers
    Loop loop_;
    Current current_;
    Publisher publisher_;
    std::vector<std::unique_ptr<Reader>> readers_;
};

} // namespace

void deflate(const Options& options, Report& report)
{
    NginxSetup setup = realtimeSetup(options.module);
    setup.name = "plain";
    const NginxServer plain(setup);
    setup.name = "compressed";
    setup.http += "realtime_deflate on;\n";
    const NginxServer compressed(setup);

    const std::size_t subscribers = options.scaled(Subscribers);
    Audience without(plain, subscribers);
    Audience with(compressed, subscribers);
    std::vector<Contender> contenders{{plain.name(), [&] { return without.run(100); }},
                                      {compressed.name(), [&] { return with.run(100); }}};
    alternate(contenders, options.rounds());
    report.add("deflate, a delivery", "us", contenders, {});
    const double size = without.bytesEach();
    const double less = with.bytesEach();
    report.add({"deflate, a delivery", plain.name(), size, "bytes", {}, {}, {}, {}});
    report.add({"deflate, a delivery", compressed.name(), less, "bytes", {}, {}, less / size, 0.5});
}

} // namespace realtime::bench
