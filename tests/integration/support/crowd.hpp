// Clients of all kinds, many at a time, over the channel private-load of a shop(). Its events are numbers, and each
// client throws unless it gets every one, once and in order, from the first that it has seen on.
#pragma once

#include "support/http.hpp"
#include "support/pusher.hpp"
#include "support/shop.hpp"
#include "support/sse.hpp"

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace realtime::testing {

// A shop() with room for so many of them, where nobody is pinged, since who waits for its turn does not answer.
NginxOptions crowded(int clients, int workers = 2);

// May connections break, or do they end in an orderly manner?
enum class Fate { Orderly, Violent };

class Sequence {
public:
    void see(const std::string& who, const std::string& number);
    int last() const { return last_; }

private:
    int last_ = -1;
};

// A client of one of six kinds that a reload moves. It never comes back.
class Mover {
public:
    Mover(const Nginx& nginx, int index);

    void readTo(int end);                     // up to this number; what follows is not read
    bool reads() const { return kind_ != 2; } // the others read nothing before the end
    void finishMessage();
    void expectText(const std::string& text);

private:
    std::string who_;
    int kind_;
    std::unique_ptr<RawWebSocket> raw_;
    std::unique_ptr<PusherClient> pusher_;
    Sequence sequence_;
    bool quiet_ = false;
};

// One that takes what is there when it is asked, and comes back when it was disconnected.
class Visitor {
public:
    virtual ~Visitor() = default;
    virtual void read() = 0;
    virtual bool here() const = 0; // connected, and subscribed
    int last() const { return sequence_.last(); }
    int visits() const { return visits_; } // how many times it has come

protected:
    explicit Visitor(std::string who) : who_(std::move(who)) {}
    std::string who_;
    Sequence sequence_;
    int visits_ = 0;
};

class Stream : public Visitor {
public:
    Stream(const Nginx& nginx, int index);
    void read() override;
    bool here() const override { return client_->response().status == 200; }

private:
    void connect();
    std::string url_, lastId_;
    std::unique_ptr<SseClient> client_;
};

class Poll : public Visitor {
public:
    Poll(const Nginx& nginx, int index, Fate fate = Fate::Orderly);
    void read() override;
    bool here() const override { return exchange_ != nullptr; }

private:
    std::string url_, since_ = "latest";
    Fate fate_;
    std::unique_ptr<HttpExchange> exchange_;
};

// A WebSocket with the JSON subprotocol.
class Follower : public Visitor {
public:
    Follower(const Nginx& nginx, int index);
    void read() override;
    bool here() const override { return socket_ != nullptr; }

private:
    void connect();
    void take(const Json& message);
    std::uint16_t port_;
    std::string lastId_;
    std::unique_ptr<RawWebSocket> socket_; // null: it could not connect yet
};

// A Pusher client, present in presence-load. It throws if somebody comes who is there, or goes who is not.
class Member : public Visitor {
public:
    Member(const Nginx& nginx, int index);
    void read() override;
    bool here() const override { return client_ != nullptr && present_.contains(user_); }
    const std::set<std::string>& present() const { return present_; } // who it knows to be there

private:
    void connect();
    void take(const PusherEvent& event);
    std::uint16_t port_;
    std::string user_, lastId_;
    std::unique_ptr<PusherClient> client_; // null: it could not connect yet
    std::set<std::string> present_;
};

// Publishes numbers from 0 on in a thread of its own, a few hundred a second.
class NumberPublisher {
public:
    explicit NumberPublisher(const Nginx& nginx, Fate fate = Fate::Orderly);
    ~NumberPublisher();
    NumberPublisher(const NumberPublisher&) = delete;
    NumberPublisher& operator=(const NumberPublisher&) = delete;

    void start();
    int stop(); // the last number; throws if one could not be published
    // It runs no further than up to this number until it is told another. Clients that come back have all of what they
    // missed to read: if that grew faster than they read, they would never be done.
    void runUpTo(int number) { most_ = number; }
    // While it is stopped: how many subscribers the next number finds.
    std::int64_t publishOne();
    int last() const { return number_ - 1; } // the same

private:
    void run();

    const Nginx& nginx_;
    Fate fate_;
    int number_ = 0; // the thread's while it runs
    std::atomic<bool> running_{false};
    std::atomic<int> most_{std::numeric_limits<int>::max()};
    std::string trouble_;
    std::thread thread_;
};

} // namespace realtime::testing
