// The part of a connection that lets it go to another worker, and starts it where it comes in.
#include "nginx/connection.hpp"
#include "nginx/worker.hpp"

#include <unistd.h>

namespace realtime {

// --- leaving ----------------------------------------------------------------------------------------------------

// TLS lives in OpenSSL's memory. A request that is kept lives in nginx's, and whoever left a cleanup there (limit_conn)
// is to be told only when the connection ends.
Connection::Movable Connection::socketMovable() const
{
    if (!attached_ || state_ != State::Open || request_ != nullptr || connection_->pool != nullptr) {
        return Movable::Never;
    }
    return gap_ ? Movable::Later : Movable::Now;
}

void Connection::describe(HandoverRecord& record)
{
    if (queue_ == nullptr) {
        if (next_) {
            record.unsent = next_->view();
        }
        return;
    }
    std::size_t offset = queue_->offset;
    for (std::size_t i = queue_->first; i < queue_->frames.size(); i++) {
        std::string_view bytes = queue_->frames[i]->view().substr(offset);
        (offset > 0 ? record.begun : record.unsent) += bytes;
        offset = 0;
    }
}

void Connection::staysHere()
{
    ngx_post_event(connection_->read, &ngx_posted_events);
}

void Connection::handedOver()
{
    Worker::current()->hub().release(*this);
    state_ = State::Dead;
    // Closing a descriptor that another process also holds does not take it out of this one's epoll set.
    bool watched = connection_->read->active || connection_->write->active;
    if (ngx_del_conn != nullptr && watched) {
        ngx_del_conn(connection_, 0);
    }
    destroy();
}

// --- coming in --------------------------------------------------------------------------------------------------

// As ngx_event_accept() makes one, and shrink() leaves it.
ngx_connection_t* Connection::openDescriptor(int fd, Endpoint& endpoint)
{
    ngx_connection_t* c = ngx_get_connection(fd, &endpoint.log);
    if (c == nullptr) {
        ::close(fd);
        return nullptr;
    }
    c->type = SOCK_STREAM;
    c->recv = ngx_recv;
    c->send = ngx_send;
    c->recv_chain = ngx_recv_chain;
    c->send_chain = ngx_send_chain;
    c->read->log = c->log;
    c->write->log = c->log;
    c->write->ready = 1; // until a send says otherwise
    c->log_error = NGX_ERROR_INFO;
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->start_time = ngx_current_msec;
#if (NGX_STAT_STUB)
    (void)ngx_atomic_fetch_add(ngx_stat_active, 1);
#endif
    return c;
}

void Connection::restoreOutput(std::string_view begun, std::string_view unsent)
{
    if (!begun.empty()) {
        // A byte in front stands for what is out already: the frame must be sent to its end whatever happens.
        FramePtr rest = Frame::make(begun.size() + 1);
        begun.copy(reinterpret_cast<char*>(rest->data()) + 1, begun.size());
        queue(rest, 1);
    }
    if (!unsent.empty()) {
        queue(Frame::copy(unsent), 0);
    }
}

void Connection::start()
{
    if (!awaitRead()) {
        destroy();
        return;
    }
    Worker::current()->pump(*this);
    flush();
}

} // namespace realtime
