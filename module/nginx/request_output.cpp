#include "nginx/request_output.hpp"

#include "nginx/pool.hpp"
#include "nginx/request_context.hpp"
#include "nginx/stream_head.hpp"
#include "nginx/worker.hpp"

namespace realtime {

RequestOutput& RequestOutput::of(ngx_http_request_t* r)
{
    return poolNew<RequestOutput>(r->pool, r);
}

void RequestOutput::add(const FramePtr& frame)
{
    if (frame->size() != 0) { // nginx takes an empty buffer for a mistake
        frames_.push_back(frame);
        waitingBytes_ += frame->size();
    }
}

ngx_int_t RequestOutput::send()
{
    return watch(give(), false);
}

ngx_int_t RequestOutput::resume()
{
    return pass(nullptr) == NGX_ERROR ? NGX_ERROR : watch(give(), true);
}

void RequestOutput::drop()
{
    frames_.resize(first_ + given_);
    waitingBytes_ = 0;
}

// While the connection has something to send, nginx calls back.
ngx_int_t RequestOutput::give()
{
    ngx_connection_t* c = request_->connection;
    while (c->buffered == 0 && first_ + given_ < frames_.size() && !full()) {
        ngx_chain_t* out = nullptr;
        if (!take(out) || pass(out) == NGX_ERROR) {
            return NGX_ERROR;
        }
    }
    return c->buffered == 0 ? NGX_OK : NGX_AGAIN;
}

// A chain of the next frames. False: there is no memory.
bool RequestOutput::take(ngx_chain_t*& out)
{
    ngx_chain_t** last = &out;
    while (first_ + given_ < frames_.size() && !full()) {
        ngx_chain_t* link = ngx_chain_get_free_buf(request_->pool, &free_);
        if (link == nullptr) {
            return false;
        }
        Frame& frame = *frames_[first_ + given_];
        auto* bytes = reinterpret_cast<u_char*>(frame.data());
        *link->buf = {};
        link->buf->tag = &ngx_http_realtime_module;
        link->buf->start = link->buf->pos = bytes;
        link->buf->end = link->buf->last = bytes + frame.size();
        link->buf->memory = 1; // and not `temporary`: shared with others, nobody may change it
        link->buf->flush = 1;
        link->next = nullptr;
        *last = link;
        last = &link->next;
        given_++;
        givenBytes_ += frame.size();
        waitingBytes_ -= frame.size();
    }
    return true;
}

ngx_int_t RequestOutput::pass(ngx_chain_t* out)
{
    ngx_int_t rc = writeStream(request_, out);
    ngx_chain_update_chains(request_->pool, &free_, &busy_, &out, &ngx_http_realtime_module);
    letGo();
    return rc;
}

// What is no longer in `busy_`, which is in our order.
void RequestOutput::letGo()
{
    std::size_t busy = 0;
    std::size_t bytes = 0;
    for (ngx_chain_t* link = busy_; link != nullptr; link = link->next) {
        busy++;
        bytes += static_cast<std::size_t>(link->buf->last - link->buf->pos);
    }
    Worker::current()->counters().add(Counter::DeliveredBytes, givenBytes_ - bytes);
    givenBytes_ = bytes;
    for (; given_ > busy; given_--) {
        frames_[first_++] = nullptr;
    }
    if (first_ == frames_.size()) {
        frames_.clear();
        first_ = 0;
        if (frames_.capacity() > KeptCapacity) {
            frames_.shrink_to_fit();
        }
    } else if (first_ > frames_.size() / 2) {
        frames_.erase(frames_.begin(), frames_.begin() + static_cast<std::ptrdiff_t>(first_));
        first_ = 0;
    }
}

// The time starts anew with each sign that the client reads.
ngx_int_t RequestOutput::watch(ngx_int_t rc, bool progress)
{
    ngx_connection_t* c = request_->connection;
    ngx_event_t* wev = c->write;
    if (rc == NGX_ERROR) {
        return rc;
    }
    if (c->buffered == 0) {
        if (wev->timer_set) {
            ngx_del_timer(wev);
        }
        return rc;
    }
    auto* core =
        static_cast<ngx_http_core_loc_conf_t*>(ngx_http_get_module_loc_conf(request_, ngx_http_core_module));
    if (progress || !wev->timer_set) {
        ngx_add_timer(wev, core->send_timeout);
    }
    return ngx_handle_write_event(wev, core->send_lowat) == NGX_OK ? rc : NGX_ERROR;
}

} // namespace realtime
