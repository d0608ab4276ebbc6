#include "nginx/handover.hpp"

#include "nginx/connection.hpp"
#include "nginx/handover_socket.hpp"
#include "nginx/takeover.hpp"
#include "nginx/worker.hpp"

#include "hub/handover_record.hpp"

namespace realtime {

HandOver::HandOver(Worker& worker) : worker_(worker), step_([this] { step(); }) {}

HandOver::~HandOver()
{
    for (IdleList* list : {&urgent_, &waiting_, &later_}) {
        while (IdleNode* node = list->first()) {
            static_cast<Outlet*>(node)->processEnds();
        }
    }
}

// A newer configuration was loaded: this is a reload, and not a quit.
bool HandOver::possible() const
{
    HubLog& first = worker_.hub().log(0);
    return state_ != State::GivenUp && first.slot != SharedLog::NoSlot && first.log.handoverIn() != -1 &&
           first.log.generation() > worker_.conf().generation;
}

bool HandOver::offer(Connection& connection)
{
    if (!possible() || connection.movable() == Connection::Movable::Never) {
        return false;
    }
    connection.offered_ = true;
    if (state_ == State::Idle) {
        state_ = State::Busy;
        begun_ = ngx_current_msec;
        noteProgress();
        step_.after(0, true); // when nginx has asked all
    }
    return true;
}

void HandOver::hurry(Connection& connection)
{
    urgent_.push(connection, connection.since());
}

Connection* HandOver::nextToGo()
{
    IdleNode* node = urgent_.empty() ? waiting_.first() : urgent_.first();
    return node == nullptr ? nullptr : static_cast<Connection*>(static_cast<Outlet*>(node));
}

void HandOver::step()
{
    collect();
    HubLog& first = worker_.hub().log(0);
    const bool successor = first.log.hasSuccessor(worker_.conf().generation, HandoverVersion);
    if (successor) {
        sendShare();
    }
    const std::uint64_t taken = first.log.taken(first.slot);
    if (taken != takenSeen_) {
        takenSeen_ = taken;
        noteProgress();
    }
    const ngx_msec_t idle = ngx_current_msec - progress_;
    const bool canGo = nextToGo() != nullptr;
    const bool allSent = !canGo && later_.empty();
    if (allSent && (taken >= sent_ || (idle >= LastPatience && queueIsEmpty(first.log.handoverOut())))) {
        done();
    } else if (idle >= Patience) {
        giveUp();
    } else {
        step_.after(successor && canGo ? ShortPause : Pause, true);
    }
}

// Those that were offered since. In the order of their last sign of life, which the taker keeps.
void HandOver::collect()
{
    for (const auto& endpoint : worker_.endpoints()) {
        collect(endpoint->pinged);
        collect(endpoint->adopted);
        collect(endpoint->active);
    }
    while (IdleNode* node = later_.first()) {
        waiting_.push(*node, node->since());
    }
}

void HandOver::collect(IdleList& list)
{
    for (IdleNode* node = list.first(); node != nullptr;) {
        auto* outlet = static_cast<Outlet*>(node);
        node = list.after(*node);
        if (outlet->offered_ && !outlet->leaving()) {
            outlet->setLeaving();
            waiting_.push(*outlet, outlet->since());
        }
    }
}

bool HandOver::mayGo() const
{
    return ngx_current_msec - begun_ >= StoringPatience || !worker_.storing();
}

void HandOver::sendShare()
{
    if (!mayGo()) {
        noteProgress();
        return;
    }
    for (int i = 0; i < Share; i++) {
        Connection* next = nextToGo();
        if (next == nullptr) {
            break;
        }
        Connection& connection = *next;
        switch (send(connection)) {
        case Sent::Yes:
            noteProgress();
            break;
        case Sent::Later:
            later_.push(connection, connection.since());
            break;
        case Sent::Full:
            return;
        case Sent::Never:
            drain(connection);
            break;
        }
    }
}

HandOver::Sent HandOver::send(Connection& connection)
{
    switch (connection.movable()) {
    case Connection::Movable::Now:
        break;
    case Connection::Movable::Later:
        return Sent::Later;
    case Connection::Movable::Never:
        return Sent::Never;
    }
    HubLog& first = worker_.hub().log(0);
    HandoverRecord record;
    record.from = first.log.owner(first.slot);
    connection.describe(record);
    const std::string bytes = encodeHandover(record);
    if (bytes.size() > MaxHandoverBytes) {
        return Sent::Never;
    }
    switch (passConnection(first.log.handoverIn(), bytes, connection.descriptor())) {
    case Passed::Ok:
        sent_++;
        connection.handedOver();
        return Sent::Yes;
    case Passed::Full:
        return Sent::Full;
    case Passed::Failed:
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, ngx_errno, "realtime: a connection cannot be handed over");
        return Sent::Never;
    }
    return Sent::Never;
}

void HandOver::drain(Connection& connection)
{
    drained_++;
    worker_.counters().add(Counter::HandOverFailed);
    connection.offered_ = false;
    connection.staysHere();
    worker_.drainLater(connection);
}

bool HandOver::lost() const
{
    const HubLog& first = worker_.hub().log(0);
    return sent_ > 0 && first.log.taken(first.slot) < sent_;
}

void HandOver::noteProgress()
{
    progress_ = ngx_current_msec;
}

void HandOver::giveUp()
{
    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "realtime: no worker takes connections over: they are asked to reconnect");
    state_ = State::GivenUp;
    worker_.takeover().takeBack();
    for (IdleList* list : {&urgent_, &waiting_, &later_}) {
        while (IdleNode* node = list->first()) {
            drain(*static_cast<Connection*>(static_cast<Outlet*>(node)));
        }
    }
}

void HandOver::done()
{
    state_ = State::Idle;
    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "realtime: %uL WebSockets handed over, %uL cannot be and are asked to reconnect", sent_,
                  drained_);
}

} // namespace realtime
