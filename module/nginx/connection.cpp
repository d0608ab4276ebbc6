#include "nginx/connection.hpp"

#include "nginx/guard.hpp"
#include "nginx/handover.hpp"
#include "nginx/request_context.hpp"
#include "nginx/stream_head.hpp"
#include "nginx/worker.hpp"
#include "node/pusher_channels.hpp"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

namespace realtime {

namespace {

constexpr int MaxWriteVector = 64;       // frames a writev()
constexpr ngx_msec_t SharedCheck = 1000; // is the request still in use?

Connection& connectionOf(ngx_event_t* event)
{
    return *static_cast<Connection*>(static_cast<ngx_connection_t*>(event->data)->data);
}

// Does some module want to hear of the request's end? Its own pool's cleanups and its http cleanups tell.
bool requestIsAwaited(const ngx_http_request_t* r)
{
    for (const ngx_http_cleanup_t* one = r->cleanup; one != nullptr; one = one->next) {
        if (one->handler != nullptr) {
            return true;
        }
    }
    for (const ngx_pool_cleanup_t* one = r->pool->cleanup; one != nullptr; one = one->next) {
        if (one->handler != nullptr) {
            return true;
        }
    }
    return false;
}

const ngx_http_core_loc_conf_t& coreConf(ngx_http_request_t* r)
{
    return *static_cast<ngx_http_core_loc_conf_t*>(ngx_http_get_module_loc_conf(r, ngx_http_core_module));
}

// Is somebody at work on the request, or will be: subrequests, which nginx runs through it, threads, a post_action, or
// whoever else holds a reference to it?
bool requestIsInUse(ngx_http_request_t* r)
{
    const ngx_connection_t* c = r->connection;
    return r->count != 1 || r->blocked != 0 || r->aio || r->posted_requests != nullptr || c->data != r ||
           r->postponed != nullptr || r->buffered != 0 || r->out != nullptr || c->buffered != 0 ||
           coreConf(r).post_action.data != nullptr;
}

// Our reference to the request, and all that is still at work on it. The caller has let go of it.
void endRequest(ngx_http_request_t* r)
{
    ngx_connection_t* c = r->connection;
    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_request_empty_handler;
    ngx_http_finalize_request(r, NGX_ERROR);
    ngx_http_run_posted_requests(c);
}

} // namespace

Connection::Connection(Encoding encoding, Endpoint& endpoint, Gauge gauge, Counter connected,
                       ngx_http_request_t* r)
    : Outlet(encoding, endpoint, gauge, connected), connection_(r->connection), request_(r)
{
}

Connection::Connection(Encoding encoding, Endpoint& endpoint, Gauge gauge, ngx_connection_t* c)
    : Outlet(encoding, endpoint, gauge), connection_(c), request_(nullptr), owned_(true)
{
    takeOver();
}

Connection::~Connection()
{
    Connection::leaveHub(); // what the subclass has not left
    if (!owned_) {          // nginx ends the request, which knows it no more
        for (ngx_http_cleanup_t* one = request_->cleanup; one != nullptr; one = one->next) {
            if (one->data == this) {
                one->handler = nullptr;
            }
        }
        return;
    }
    ngx_connection_t* c = connection_;
    if (request_ != nullptr) {
        ngx_http_free_request(request_, 0);
    }
    if (c->pool != nullptr) {
#if (NGX_SSL)
        if (c->ssl != nullptr) {
            c->ssl->shutdown_without_free = 0; // linger() may not have got through with it
        }
#endif
        ngx_http_close_connection(c); // with the TLS shutdown
        return;
    }
#if (NGX_STAT_STUB)
    (void)ngx_atomic_fetch_add(ngx_stat_active, -1);
#endif
    ngx_close_connection(c);
}

// --- detaching --------------------------------------------------------------------------------------------------

// A content handler cannot free its request: nginx finalizes it after the handler returns. So it returns NGX_DONE with
// a reference held, and the rest happens at the end of this turn of the event loop.
ngx_int_t Connection::detachAtTurnEnd(std::unique_ptr<Connection> connection)
{
    ngx_http_request_t* r = connection->request_;
    ngx_http_cleanup_t* cleanup = ngx_http_cleanup_add(r, 0);
    if (cleanup == nullptr) {
        return NGX_ERROR;
    }
    if (r->discard_body) { // whatever comes is discarded from now on
        r->discard_body = 0;
        r->count--;
    }
    r->count++;
    r->read_event_handler = ngx_http_test_reading; // notices a client that leaves
    r->write_event_handler = requestWriteHandler;
    ngx_post_event(r->connection->write, &ngx_posted_events);
    cleanup->handler = requestEnds;
    cleanup->data = connection.get();
    contextOf(r).outlet = connection.release();
    return NGX_DONE;
}

void Connection::requestWriteHandler(ngx_http_request_t* r)
{
    auto& self = outletOf<Connection>(r);
    if (!guardVoid(r->connection->log, [&] { self.proceed(); })) {
        self.destroy();
    }
}

// A cleanup handler of the request.
void Connection::requestEnds(void* self)
{
    auto* connection = static_cast<Connection*>(self);
    ngx_http_request_t* r = connection->request_;
    r->read_event_handler = ngx_http_block_reading; // a thread that is at work on it may keep it for a while
    r->write_event_handler = ngx_http_request_empty_handler;
    delete connection;
}

// From the one stage to the next, as far as it goes now.
void Connection::proceed()
{
    ngx_http_request_t* r = request_;
    const bool opening = !attached_;
    if (opening) {
        const Head head = sendHead();
        headWaits_ = head == Head::Waits;
        if (head == Head::Broken) {
            destroy();
        }
        if (head != Head::Out) {
            return;
        }
    }
    std::string rest;
    if (opening) {
        rest.assign(reinterpret_cast<char*>(r->header_in->pos),
                    static_cast<std::size_t>(r->header_in->last - r->header_in->pos));
    }
    if (requestIsInUse(r)) {
        share();
    } else {
        releaseRequest();
        takeOver();
    }
    if (opening) {
        onAttached(std::move(rest));
    } else {
        flush();
    }
}

Connection::Head Connection::sendHead()
{
    ngx_http_request_t* r = request_;
    ngx_connection_t* c = connection_;
    const ngx_http_core_loc_conf_t& core = coreConf(r);
    if (c->write->timedout) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT, "client timed out");
        c->timedout = 1;
        return Head::Broken;
    }
    if (writeStream(r, nullptr) == NGX_ERROR || c->error) {
        return Head::Broken;
    }
    if (c->data != r ||
        r->postponed != nullptr) { // what a subrequest says comes first; its end is the next event
        return Head::Waits;
    }
    if (r->out != nullptr || c->buffered != 0) {
        if (!c->write->delayed) {
            ngx_add_timer(c->write, core.send_timeout);
        }
        return ngx_handle_write_event(c->write, core.send_lowat) == NGX_OK ? Head::Waits : Head::Broken;
    }
    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }
    c->write->delayed = 0;
    // Events go out as they come: without this, one would wait until the client has acknowledged the one before, and
    // a client that only listens takes its time (up to 40 ms on Linux) for that.
    return core.tcp_nodelay && ngx_tcp_nodelay(c) != NGX_OK ? Head::Broken : Head::Out;
}

// The socket is ours, but its events still come through the request. Nobody tells when the last background subrequest
// has ended: so it looks from time to time.
void Connection::share()
{
    ngx_connection_t* c = connection_;
    attached_ = true;
    request_->read_event_handler = requestReadHandler;
    c->write->timedout = 0;
    ngx_add_timer(c->write, SharedCheck);
    if (ngx_exiting && !leaving()) {
        shutdownSeen_ = true;
        setLeaving();
        Worker::current()->drainLater(*this);
    }
}

void Connection::requestReadHandler(ngx_http_request_t* r)
{
    auto& self = outletOf<Connection>(r);
    guardVoid(r->connection->log, [&] {
        if (self.ending()) {
            self.readInput();
        } else {
            self.onReadable();
        }
    });
}

void Connection::releaseRequest()
{
    ngx_http_request_t* r = request_;
    ngx_connection_t* c = connection_;
    owned_ = true;
    for (ngx_http_cleanup_t* one = r->cleanup; one != nullptr; one = one->next) {
        one->handler = one->data == this ? nullptr : one->handler;
    }
    c->destroyed = 1; // the request only: whoever has called its handlers, touches it no more
    if (requestIsAwaited(r)) {
        return;
    }
    ngx_http_free_request(r, 0);
    request_ = nullptr;
    if (c->ssl == nullptr) {
        shrink();
    } else if (c->buffer != nullptr && ngx_pfree(c->pool, c->buffer->start) == NGX_OK) {
        c->buffer->pos = nullptr;
    }
}

void Connection::takeOver()
{
    ngx_connection_t* c = connection_;
    c->data = this;
    c->read->handler = readHandler;
    c->write->handler = writeHandler;
    for (ngx_event_t* event : {c->read, c->write}) {
        if (event->timer_set) {
            ngx_del_timer(event);
        }
        event->timedout = 0;
    }
    c->idle = 1; // on shutdown nginx calls the read handler
    attached_ = true;
    if (ngx_exiting) { // it has called those that there were
        c->close = 1;
        ngx_post_event(c->read, &ngx_posted_events);
    }
}

// Without TLS nothing of nginx needs the connection's pool any more: it held the address, the log and the buffers of
// the HTTP connection. 512 bytes, which is most of what an idle subscriber would cost.
void Connection::shrink()
{
    ngx_connection_t* c = connection_;
    ngx_pool_t* pool = c->pool;

    c->log = &endpoint().log;
    c->read->log = c->log;
    c->write->log = c->log;
    c->pool = nullptr;
    c->buffer = nullptr;
    c->sockaddr = nullptr;
    c->socklen = 0;
    c->local_sockaddr = nullptr;
    c->local_socklen = 0;
    c->proxy_protocol = nullptr;
    ngx_str_null(&c->addr_text);
    ngx_destroy_pool(pool);
}

// --- reading ----------------------------------------------------------------------------------------------------

void Connection::readHandler(ngx_event_t* event)
{
    Connection& self = connectionOf(event);
    ngx_connection_t* c = self.connection_;
    guardVoid(c->log, [&] {
        if (c->error) { // worker_shutdown_timeout is over
            self.destroy();
            return;
        }
        if (c->close && !self.shutdownSeen_) {
            self.shutdownSeen_ = true;
            if (c->read->ready) { // this may have been the event for what is there
                ngx_post_event(c->read, &ngx_posted_next_events);
            }
            self.onShutdown();
            return;
        }
        if (self.ending()) {
            self.readInput();
        } else if (self.moving() && self.state_ == State::Open) {
            Worker::current()->handOver().hurry(self);
        } else {
            self.onReadable();
        }
    });
}

void Connection::onShutdown()
{
    if (state_ == State::Open && !Worker::current()->handOver().offer(*this)) {
        setLeaving();
        Worker::current()->drainLater(*this);
    }
}

ssize_t Connection::receive(char* buffer, std::size_t size)
{
    return connection_->recv(connection_, reinterpret_cast<u_char*>(buffer), size);
}

bool Connection::awaitRead()
{
    return ngx_handle_read_event(connection_->read, 0) == NGX_OK;
}

void Connection::readInput()
{
    Worker& worker = *Worker::current();
    ngx_event_t* read = connection_->read;
    for (int reads = 0; reads < MaxReads && read->ready; reads++) {
        const ssize_t n = receive(worker.readBuffer(), Worker::ReadBytes);
        if (n == NGX_AGAIN) {
            break;
        }
        if (n == 0 && state_ == State::Ending && waits()) {
            if (ngx_handle_read_event(read, NGX_CLOSE_EVENT) != NGX_OK) {
                destroy();
            }
            return; // who says nothing more may still listen to what waits
        }
        if (n <= 0) {
            destroy();
            return;
        }
        if (!ending()) {
            onInput({worker.readBuffer(), static_cast<std::size_t>(n)});
        }
    }
    if (read->ready) {
        ngx_post_event(read, &ngx_posted_next_events);
    } else if (!awaitRead()) {
        destroy();
    }
}

// --- writing ----------------------------------------------------------------------------------------------------

void Connection::enqueue(const FramePtr& frame, std::uint32_t)
{
    if (state_ != State::Open || gap_ || frame->size() == 0) {
        return;
    }
    if (queue_ == nullptr && !next_) {
        next_ = frame;
        return;
    }
    if (next_) {
        queue(std::exchange(next_, nullptr), 0);
    }
    queue(frame, 0);
}

void Connection::queue(const FramePtr& frame, std::size_t offset)
{
    if (queue_ == nullptr) {
        queue_ = std::make_unique<Queue>();
        queue_->offset = offset;
    }
    queue_->frames.push_back(frame);
    queue_->bytes += frame->size() - offset;
}

void Connection::flush()
{
    if (!attached_ || state_ >= State::Lingering) {
        if (headWaits_ && overfull()) {
            fail();
        }
        return;
    }
    if (connection_->write->ready && !writeOut()) {
        fail();
        return;
    }
    if (next_) {
        queue(std::exchange(next_, nullptr), 0);
    }
    if (queue_ == nullptr) {
        onWritten();
        return;
    }
    checkBuffer();
    if (ngx_handle_write_event(connection_->write, 0) != NGX_OK) {
        fail();
    }
}

// Hands over as much as the socket takes. False: it is broken.
bool Connection::writeOut()
{
    ngx_connection_t* c = connection_;
    if (next_) { // the usual case: one frame, and the socket takes it
        ssize_t n = c->send(c, reinterpret_cast<u_char*>(next_->data()), next_->size());
        if (n == NGX_ERROR) {
            return false;
        }
        std::size_t sent = n > 0 ? static_cast<std::size_t>(n) : 0;
        Worker::current()->counters().add(Counter::DeliveredBytes, sent);
        FramePtr frame = std::exchange(next_, nullptr);
        if (sent < frame->size()) {
            queue(frame, sent);
        }
        return true;
    }
    while (queue_ != nullptr && c->write->ready) {
        ssize_t n = writeSome();
        if (n == NGX_ERROR) {
            return false;
        }
        if (n == NGX_AGAIN) {
            break;
        }
        written(static_cast<std::size_t>(n));
    }
    return true;
}

ssize_t Connection::writeSome()
{
    ngx_connection_t* c = connection_;
    if (c->ssl != nullptr || queue_->frames.size() - queue_->first == 1) {
        Frame& frame = *queue_->frames[queue_->first];
        return c->send(c, reinterpret_cast<u_char*>(frame.data()) + queue_->offset,
                       frame.size() - queue_->offset);
    }

    iovec vector[MaxWriteVector];
    int count = 0;
    std::size_t offset = queue_->offset;
    for (std::size_t i = queue_->first; i < queue_->frames.size() && count < MaxWriteVector; i++) {
        Frame& frame = *queue_->frames[i];
        vector[count++] = {frame.data() + offset, frame.size() - offset};
        offset = 0;
    }
    ssize_t n = 0;
    do {
        n = writev(c->fd, vector, count);
    } while (n == -1 && ngx_errno == NGX_EINTR);
    if (n >= 0) {
        return n;
    }
    if (ngx_errno == NGX_EAGAIN) {
        c->write->ready = 0;
        return NGX_AGAIN;
    }
    c->write->error = 1;
    return NGX_ERROR;
}

void Connection::written(std::size_t bytes)
{
    Worker::current()->counters().add(Counter::DeliveredBytes, bytes);
    queue_->bytes -= bytes;
    while (bytes > 0) {
        FramePtr& frame = queue_->frames[queue_->first];
        std::size_t left = frame->size() - queue_->offset;
        if (bytes < left) {
            queue_->offset += bytes;
            break;
        }
        bytes -= left;
        frame = nullptr;
        queue_->first++;
        queue_->offset = 0;
    }
    if (queue_->first == queue_->frames.size()) {
        queue_.reset();
    } else {
        queue_->forgetSent();
    }
}

// A subscriber that is always a little behind never has an empty queue: what was sent must not stay in it.
void Connection::Queue::forgetSent()
{
    constexpr std::size_t Worthwhile = 64;
    if (first < Worthwhile || first < frames.size() / 2) {
        return;
    }
    auto begin = frames.begin() + static_cast<std::ptrdiff_t>(first);
    frames = std::vector<FramePtr>(std::make_move_iterator(begin), std::make_move_iterator(frames.end()));
    first = 0;
}

void Connection::writeHandler(ngx_event_t* event)
{
    Connection& self = connectionOf(event);
    guardVoid(self.connection_->log, [&] { self.onWritable(); });
}

void Connection::onWritten()
{
    if (state_ == State::Ending) {
        Worker::current()->finishLater(*this);
    } else if (replaying()) {
        Worker::current()->pumpLater(*this);
    }
}

// --- ending -----------------------------------------------------------------------------------------------------

void Connection::destroy()
{
    ngx_http_request_t* r = owned_ ? nullptr : request_;
    delete this;
    if (r != nullptr) {
        endRequest(r);
    }
}

// Says so as well: whoever asks closes it.
bool Connection::overfull()
{
    const std::size_t cost = queue_ != nullptr ? queue_->cost() : waitingBytes();
    if (state_ != State::Open || cost <= endpoint().conf->bufferBytes) {
        return false;
    }
    ngx_log_error(NGX_LOG_INFO, connection_->log, 0,
                  "realtime: subscriber does not read, %uz bytes wait and take %uz: closed", waitingBytes(),
                  cost);
    Worker::current()->counters().add(Counter::SlowClosed);
    return true;
}

void Connection::checkBuffer()
{
    if (overfull()) {
        dropQueue();
        closeAtOnce(farewell(Why::Slow));
    }
}

// Forgets what has not begun to go out.
void Connection::dropQueue()
{
    next_ = nullptr;
    if (queue_ == nullptr) {
        return;
    }
    // OpenSSL may hold a part of the first frame even if it has taken nothing yet, and insists on getting the rest.
    std::size_t begun = queue_->offset > 0 || connection_->ssl != nullptr ? 1 : 0;
    queue_->frames.erase(queue_->frames.begin() + static_cast<std::ptrdiff_t>(queue_->first + begun),
                         queue_->frames.end());
    queue_->bytes = begun != 0 ? queue_->frames.back()->size() - queue_->offset : 0;
    if (begun == 0) {
        queue_.reset();
    }
}

void Connection::close(const FramePtr& farewell)
{
    sayGoodbye(farewell, State::Closing);
}

void Connection::closeAtOnce(const FramePtr& farewell)
{
    sayGoodbye(farewell, State::Ending);
}

void Connection::sayGoodbye(const FramePtr& farewell, State then)
{
    if (state_ != State::Open) {
        return;
    }
    if (farewell) {
        enqueue(farewell, 0);
    }
    state_ = then;
    setLeaving();
    Worker::current()->closing().push(*this, ngx_current_msec);
    Worker::current()->finishLater(*this); // leaves the hub there
    flush();
}

void Connection::endSoon()
{
    if (ending()) {
        return;
    }
    state_ = State::Ending;
    setLeaving();
    Worker::current()->closing().push(*this, ngx_current_msec);
    flush();
}

void Connection::fail()
{
    state_ = State::Dead;
    Worker::current()->finishLater(*this);
}

void Connection::finish()
{
    if (gap_) {
        gap_ = false;
        closeAtOnce(farewell(Why::Gap));
    }
    leaveHub();
    if (state_ == State::Dead) {
        destroy();
    } else if (state_ == State::Ending && attached_ && !waits()) {
        linger();
    }
}

void Connection::linger()
{
    state_ = State::Lingering;
    Worker::current()->lingering().push(*this, ngx_current_msec);
#if (NGX_SSL)
    ngx_connection_t* c = connection_;
    if (c->ssl != nullptr) {
        c->ssl->shutdown_without_free = 1; // as nginx's own lingering close has it
        const ngx_int_t rc = ngx_ssl_shutdown(c);
        if (rc == NGX_ERROR ||
            (rc == NGX_AGAIN && !owned_)) { // while it is shared, its events are the request's
            c->ssl->shutdown_without_free = 0;
            destroy();
            return;
        }
        if (rc == NGX_AGAIN) {
            c->ssl->handler = [](ngx_connection_t* ready) {
                guardVoid(ready->log, [&] { static_cast<Connection*>(ready->data)->halfClose(); });
            };
            return;
        }
    }
#endif
    halfClose();
}

void Connection::halfClose()
{
    ngx_connection_t* c = connection_;
    if (owned_) { // those of the TLS shutdown were there, and its timer
        c->read->handler = readHandler;
        c->write->handler = writeHandler;
        if (c->read->timer_set) {
            ngx_del_timer(c->read);
        }
    }
    // Reset by the peer, or broken.
    if (ngx_shutdown_socket(c->fd, NGX_WRITE_SHUTDOWN) == -1 ||
        ngx_handle_write_event(c->write, 0) != NGX_OK) {
        destroy();
        return;
    }
    readInput();
}

// Has the peer's kernel not got all of it? A socket that is closed then is reset by whatever the peer sends.
bool Connection::unacknowledged() const
{
    int bytes = 0;
    return ioctl(connection_->fd, SIOCOUTQ, &bytes) == 0 && bytes > 0;
}

void Connection::lingerWaitOver()
{
    if (unacknowledged()) {
        Worker::current()->closing().push(*this, ngx_current_msec);
    } else {
        destroy();
    }
}

void Connection::leaveHub()
{
    Worker& worker = *Worker::current();
    while (subscribed()) {
        auto& subscription = *const_cast<Subscription*>(subscriptions());
        std::string app = subscription.channel->app;
        std::string channel = subscription.channel->name;
        if (worker.hub().leave(*this, subscription) == 0) {
            worker.pusherChannels().channelVacated(app, channel);
        }
    }
    worker.hub().leave(*this);
}

void Connection::cutOff(std::string_view)
{
    gap_ = true;
    Worker::current()->finishLater(*this);
}

void Connection::processEnds()
{
    if (attached_ && connection_->write->ready) {
        if (FramePtr last = farewell(Why::Restart)) {
            enqueue(last, 0);
            writeOut();
        }
    }
    destroy();
}

} // namespace realtime
