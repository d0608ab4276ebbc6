#include "load/subscriber.hpp"

#include <algorithm>
#include <charconv>
#include <stdexcept>

namespace realtime::bench {

namespace {

constexpr std::size_t Batch = 64; // handshakes at once
constexpr std::uint64_t Prime = 1099511628211ULL;

} // namespace

Subscriber::Subscriber(Loop& loop, std::uint16_t port, const std::string& path, Tally& tally, unsigned source)
    : Socket(loop, port, source), tally_(tally), last_(tally.received.size())
{
    send("GET " + path +
         " HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
}

void Subscriber::received(std::span<char> bytes)
{
    std::string_view view(bytes.data(), bytes.size());
    std::string joined;
    if (!rest_.empty()) {
        joined = rest_ + std::string(view);
        view = joined;
    }
    while (!view.empty()) {
        const std::size_t taken = open_ ? takeFrame(view) : takeHead(view);
        if (taken == 0) {
            break;
        }
        view.remove_prefix(taken);
    }
    rest_ = view;
}

std::size_t Subscriber::takeHead(std::string_view bytes)
{
    const std::size_t end = bytes.find("\r\n\r\n");
    if (end == std::string_view::npos) {
        return 0;
    }
    if (!bytes.starts_with("HTTP/1.1 101 ")) {
        throw std::runtime_error("handshake refused: " + std::string(bytes.substr(0, bytes.find('\r'))));
    }
    constexpr std::string_view Worker = "\r\nWorker: ";
    if (const std::size_t at = bytes.substr(0, end).find(Worker); at != std::string_view::npos) {
        std::from_chars(bytes.data() + at + Worker.size(), bytes.data() + end, worker_);
    }
    open_ = true;
    return end + 4;
}

std::size_t Subscriber::takeFrame(std::string_view bytes)
{
    if (bytes.size() < 4) {
        return 0;
    }
    std::size_t head = 2;
    std::size_t size = static_cast<unsigned char>(bytes[1]);
    if (size == 126) {
        head = 4;
        size = static_cast<std::size_t>(static_cast<unsigned char>(bytes[2])) << 8 |
               static_cast<unsigned char>(bytes[3]);
    }
    if (size > 0xffff || head + size > bytes.size()) {
        return 0;
    }
    const int opcode = bytes[0] & 0x0f;
    if (opcode == 8) {
        throw std::runtime_error("the server has said good-bye");
    }
    if (opcode < 3) {
        takeMessage(bytes.substr(head, size));
    }
    return head + size;
}

void Subscriber::takeMessage(std::string_view text)
{
    const auto message = decode(text);
    if (!message || message->publisher >= last_.size()) {
        tally_.faults++;
        return;
    }
    std::uint64_t& last = last_[message->publisher];
    tally_.faults += message->number != last + 1 ? 1 : 0;
    last = message->number;
    digest_ = (digest_ ^ (message->number * last_.size() + message->publisher)) * Prime;
    tally_.received[message->publisher]++;
    tally_.all++;
    if (tally_.each) {
        tally_.each(*message);
    }
}

std::vector<std::unique_ptr<Subscriber>> subscribe(Loop& loop, std::uint16_t port, const std::string& path,
                                                   std::size_t count, Tally& tally)
{
    std::vector<std::unique_ptr<Subscriber>> subscribers;
    subscribers.reserve(count);
    while (subscribers.size() < count) {
        const std::size_t first = subscribers.size();
        for (std::size_t i = first; i < std::min(count, first + Batch); i++) {
            subscribers.push_back(std::make_unique<Subscriber>(loop, port, numbered(path, i), tally));
        }
        loop.until("subscribers are connected", [&] {
            return std::all_of(subscribers.begin() + static_cast<std::ptrdiff_t>(first), subscribers.end(),
                               [](const auto& subscriber) { return subscriber->open(); });
        });
    }
    return subscribers;
}

std::string numbered(std::string path, std::size_t number)
{
    if (const std::size_t at = path.find('%'); at != std::string::npos) {
        path.replace(at, 1, std::to_string(number));
    }
    return path;
}

} // namespace realtime::bench
