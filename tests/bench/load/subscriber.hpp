// A WebSocket (or, on request, SSE) subscriber that checks what it gets.
#pragma once

#include "load/loop.hpp"
#include "load/message.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace realtime::bench {

// What a group of subscribers has received.
struct Tally {
    explicit Tally(std::size_t publishers) : received(publishers) {}
    std::vector<std::uint64_t> received; // by publisher, of all subscribers together
    std::uint64_t all = 0;
    std::uint64_t faults = 0; // lost, doubled, out of order, or not one of ours
    // Called for each message if set.
    std::function<void(const Message&)> each;
};

class Subscriber : public Socket {
public:
    // Sends the handshake; open() once it was answered.
    Subscriber(Loop& loop, std::uint16_t port, const std::string& path, Tally& tally, unsigned source = 0);

    bool open() const { return open_; }
    // The pid that the server names in the header "Worker"; 0: none.
    int worker() const { return worker_; }
    // Grows and changes with each message: equal at two subscribers that got the same messages in the same order.
    std::uint64_t digest() const { return digest_; }
    void publish(std::string_view text) { send(maskedFrame(text)); } // where the endpoint takes messages

protected:
    void received(std::span<char> bytes) override;
    virtual void takeMessage(std::string_view text);

private:
    std::size_t takeHead(std::string_view bytes);
    std::size_t takeFrame(std::string_view bytes); // 0: it is not complete

    Tally& tally_;
    bool open_ = false;
    int worker_ = 0;
    std::uint64_t digest_ = 0;
    std::vector<std::uint64_t> last_; // by publisher
    std::string rest_;                // an incomplete head or frame
};

// Opens `count` of them, in batches, each on `path`, in which % stands for its index.
std::vector<std::unique_ptr<Subscriber>> subscribe(Loop& loop, std::uint16_t port, const std::string& path,
                                                   std::size_t count, Tally& tally);

std::string numbered(std::string path, std::size_t number); // its % replaced

} // namespace realtime::bench
