#include "nginx/event_source.hpp"

#include "nginx/guard.hpp"

#include <array>
#include <stdexcept>
#include <unistd.h>

namespace realtime {

Callback::Callback(std::function<void()> body) : body_(std::move(body))
{
    connection_.fd = static_cast<ngx_socket_t>(-1);
    connection_.data = this;
    event_.handler = run;
    event_.data = &connection_;
    event_.log = ngx_cycle->log;
}

Callback::~Callback()
{
    cancel();
}

void Callback::after(ngx_msec_t delay, bool holdsExit)
{
    event_.cancelable = holdsExit ? 0 : 1;
    ngx_add_timer(&event_, delay);
}

void Callback::atTurnEnd()
{
    ngx_post_event(&event_, &ngx_posted_events);
}

void Callback::inNextTurn()
{
    ngx_post_event(&event_, &ngx_posted_next_events);
}

void Callback::cancel()
{
    if (event_.timer_set) {
        ngx_del_timer(&event_);
    }
    if (event_.posted) {
        ngx_delete_posted_event(&event_);
    }
}

void Callback::run(ngx_event_t* event)
{
    auto* self = static_cast<Callback*>(static_cast<ngx_connection_t*>(event->data)->data);
    guardVoid(ngx_cycle->log, self->body_);
}

EventSource::EventSource(int fd, std::function<void()> body, Kind kind) : body_(std::move(body)), kind_(kind)
{
    connection_ = ngx_get_connection(fd, ngx_cycle->log);
    if (connection_ == nullptr) {
        throw std::runtime_error("no free worker_connections for a descriptor of the module");
    }
    connection_->idle = kind == Kind::Socket ? 1 : 0; // on shutdown nginx calls the read handler
    connection_->data = this;
    connection_->read->handler = run;
    connection_->read->log = ngx_cycle->log;
    connection_->write->log = ngx_cycle->log;

    ngx_uint_t flags = NGX_LEVEL_EVENT;
    if ((ngx_event_flags & NGX_USE_CLEAR_EVENT) != 0) {
        flags = NGX_CLEAR_EVENT;
    }
    if (ngx_add_event(connection_->read, NGX_READ_EVENT, flags) != NGX_OK) {
        ngx_free_connection(connection_);
        connection_->fd = static_cast<ngx_socket_t>(-1);
        throw std::runtime_error("cannot watch a descriptor of the module");
    }
}

EventSource::~EventSource()
{
    // Not ngx_close_connection(): the descriptor is not ours to close.
    if (ngx_del_conn != nullptr) {
        ngx_del_conn(connection_, 0);
    } else {
        ngx_del_event(connection_->read, NGX_READ_EVENT, 0);
    }
    if (connection_->read->posted) {
        ngx_delete_posted_event(connection_->read);
    }
    ngx_free_connection(connection_);
    connection_->fd = static_cast<ngx_socket_t>(-1);
}

void EventSource::run(ngx_event_t* event)
{
    auto* connection = static_cast<ngx_connection_t*>(event->data);
    auto* self = static_cast<EventSource*>(connection->data);
    // With edge-triggered events each write to an eventfd is an edge of its own, so that its count may stand: one
    // system call less for each wake-up.
    if (self->kind_ == Kind::Counter && (ngx_event_flags & NGX_USE_CLEAR_EVENT) == 0) {
        std::uint64_t count = 0;
        if (read(connection->fd, &count, sizeof(count)) == -1 && ngx_errno != NGX_EAGAIN) {
            ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno, "realtime: read() of an eventfd failed");
        }
    }
    guardVoid(ngx_cycle->log, self->body_);
}

std::int64_t NginxEventLoop::nowMs() const
{
    ngx_time_t* now = ngx_timeofday();
    return static_cast<std::int64_t>(now->sec) * 1000 + static_cast<std::int64_t>(now->msec);
}

void NginxEventLoop::log(const Note& note)
{
    constexpr std::array<ngx_uint_t, 4> Levels{NGX_LOG_INFO, NGX_LOG_NOTICE, NGX_LOG_WARN, NGX_LOG_ERR};
    ngx_log_error(Levels[static_cast<std::size_t>(note.level)], ngx_cycle->log, 0, "realtime: %s",
                  note.text.c_str());
}

std::unique_ptr<EventLoop::Task> NginxEventLoop::task(std::function<void()> body)
{
    return std::make_unique<Callback>(std::move(body));
}

std::unique_ptr<EventLoop::Watch> NginxEventLoop::watch(int fd, std::function<void()> body)
{
    return std::make_unique<EventSource>(fd, std::move(body));
}

} // namespace realtime
