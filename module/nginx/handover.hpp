// The giving side of a reload: a worker that is told to go passes its WebSockets to the workers of the newer
// configuration, through handover_socket. What cannot move drains, see Worker::drainLater().
//
// Order      a connection is written down and sent in one go, so that it is served by one worker at any time. Its counts
//            (subscribers, presence) stay with this worker's slot until the taker moves them to its own: nobody sees a
//            flicker. So this process waits until all that it has sent is taken.
// Turn       in the order of their last sign of life, but who says something now goes first: nothing more is read here, so
//            that an event which a client publishes need not wait for thousands that are silent.
// Brokers    what its connections have published goes first, since the taker has a way of its own to the brokers: nothing more
//            is read, and a broker that is there has StoringPatience to take what waits for it.
// Failing    nobody takes for Patience: what is in the queue is read back, and all drain. A taker that dies may have read
//            one that it has not counted yet: LastPatience after the queue is empty that one is lost(), and what this
//            worker's slot still counts of it is left to whoever reclaims the slots of the dead.
// Thread     the event loop.
#pragma once

#include "nginx/event_source.hpp"
#include "nginx/idle_list.hpp"
#include "nginx/ngx.hpp"

#include "log/shared_log.hpp"

#include <cstdint>

namespace realtime {

class Connection;
class Worker;

class HandOver {
public:
    static constexpr ngx_msec_t Patience = 5000;
    static constexpr ngx_msec_t StoringPatience = 2000;
    static constexpr ngx_msec_t LastPatience = 500;

    explicit HandOver(Worker& worker);
    ~HandOver(); // ends what has not gone

    // nginx wants to go. True: the connection is taken care of; false: it must drain.
    bool offer(Connection& connection);
    // One that moving() has something to read.
    void hurry(Connection& connection);
    // Was something sent that nobody has counted as taken? At the end of the process it has gone with its taker.
    bool lost() const;

private:
    static constexpr int Share = 256; // connections a step
    static constexpr ngx_msec_t ShortPause =
        1; // not 0: nginx would call again within the same turn of its loop
    static constexpr ngx_msec_t Pause = 10;
    enum class State : std::uint8_t { Idle, Busy, GivenUp };
    enum class Sent : std::uint8_t { Yes, Later, Full, Never };

    bool possible() const;
    void step();
    void collect();
    void collect(IdleList& list);
    Connection* nextToGo(); // null: all have gone, but those that cannot yet
    bool mayGo() const;
    void sendShare(); // as far as the queue takes it, if it is not too early
    Sent send(Connection& connection);
    void drain(Connection& connection);
    void noteProgress();
    void giveUp();
    void done();

    Worker& worker_;
    State state_ = State::Idle;
    IdleList waiting_; // in the order of their last sign of life
    IdleList urgent_;  // the same, but before them
    IdleList later_;   // could not be written down yet
    std::uint64_t sent_ = 0;
    std::uint64_t drained_ = 0;
    std::uint64_t takenSeen_ = 0;
    ngx_msec_t begun_ = 0;
    ngx_msec_t progress_ = 0; // when something was sent or taken last
    Callback step_;
};

} // namespace realtime
