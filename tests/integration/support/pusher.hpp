// A client of the Pusher protocol by hand, over a raw WebSocket: it sees every frame, also those that SDKs hide.
#pragma once

#include "support/json.hpp"
#include "support/raw_socket.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace realtime::testing {

struct PusherEvent {
    std::string event, channel, data; // `data` as it stands in the message, a string or JSON
    std::string id;                   // empty: none
};

class PusherClient {
public:
    // Connects to /app/KEY and waits for the socket id.
    PusherClient(std::uint16_t port, std::string key, std::string secret);

    // Waits until it has succeeded. `member`: channel_data, for presence channels.
    PusherEvent subscribe(const std::string& channel, const std::string& member = "");
    // Does not wait. `since`: the id of the last event that was received.
    void askToSubscribe(const std::string& channel, const std::string& member, const std::string& since);
    void signIn(const std::string& userData);
    void trigger(const std::string& event, const std::string& channel,
                 const std::string& data); // client event
    // Pings left out. Throws PeerGone at a close frame.
    PusherEvent receive(std::chrono::milliseconds patience = Patience);
    int receiveClose() { return socket_.receiveClose(); }
    const std::string& id() const { return id_; }
    RawWebSocket& socket() { return socket_; }

private:
    void send(const std::string& text) { socket_.send({Text, text}); }
    std::string signature(const std::string& text) const;

    std::string key_, secret_, id_;
    RawWebSocket socket_;
};

} // namespace realtime::testing
