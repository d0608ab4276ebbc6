// Server-Sent Events: over HTTP/1.1 on a detached connection, over HTTP/2 and later through nginx's filters.
#include "nginx/connection.hpp"
#include "nginx/guard.hpp"
#include "nginx/request_context.hpp"
#include "nginx/response.hpp"
#include "nginx/status_feed.hpp"
#include "nginx/str.hpp"
#include "nginx/stream_head.hpp"
#include "nginx/subscribe.hpp"
#include "nginx/worker.hpp"

#include "wire/sse.hpp"

#include <deque>
#include <functional>
#include <optional>

extern "C" void ngx_http_test_reading(ngx_http_request_t* r);

namespace realtime {

namespace {

FramePtr encodeForStream(Encoding encoding, FrameBuilder& text)
{
    return encoding == Encoding::SseChunked ? finishChunk(text) : text.finish();
}

FramePtr heartbeat(Encoding encoding)
{
    FrameBuilder text;
    appendSseComment(text);
    return encodeForStream(encoding, text);
}

// An id without data, behind what history there is: EventSource dispatches nothing but remembers it, so that a client
// that has not seen any event yet can resume too.
FramePtr startingPoint(const Subscriber& subscriber, const Reached& reached)
{
    FrameBuilder text;
    text.append("id: ");
    text.append(Worker::current()->hub().positionOf(subscriber, reached));
    text.append("\n\n");
    return encodeForStream(subscriber.encoding(), text);
}

// --- HTTP/1.x ---------------------------------------------------------------------------------------------------

class EventStream final : public Connection {
public:
    EventStream(Encoding encoding, Endpoint& endpoint, ngx_http_request_t* r)
        : Connection(encoding, endpoint, Gauge::Sse, Counter::ConnectedSse, r)
    {
    }

    void pingDue() override
    {
        enqueue(heartbeat(encoding()), 0);
        touch();
        flush();
    }

private:
    void onAttached(std::string) override
    {
        flush();
        onReadable();
    }

    // The client has nothing to say; it is read only to notice that it leaves.
    void onReadable() override
    {
        Worker& worker = *Worker::current();
        while (connection()->read->ready) {
            ssize_t n = receive(worker.readBuffer(), Worker::ReadBytes);
            if (n == NGX_AGAIN) {
                break;
            }
            if (n <= 0) {
                destroy();
                return;
            }
        }
        if (!awaitRead()) {
            destroy();
        }
    }

    FramePtr farewell(Why) override
    {
        return encoding() == Encoding::SseChunked ? Frame::copy(LastChunk) : nullptr;
    }

    // The end of the response is the end of the connection: there is no good-bye to wait for.
    void finish() override
    {
        if (closing()) {
            endSoon();
        }
        Connection::finish();
    }
};

// What a stream is for: gives it its first events. A refusal is answered, and is what the content handler is to return.
using Begin = std::function<std::optional<ngx_int_t>(Outlet& stream)>;

ngx_int_t openDetached(ngx_http_request_t* r, const LocConf& conf, const Begin& begin)
{
    auto* core =
        static_cast<ngx_http_core_loc_conf_t*>(ngx_http_get_module_loc_conf(r, ngx_http_core_module));
    // As the chunked filter will decide: it writes the header, and we the chunks.
    bool chunked = r->http_version == NGX_HTTP_VERSION_11 && core->chunked_transfer_encoding;
    auto stream = std::make_unique<EventStream>(chunked ? Encoding::SseChunked : Encoding::Sse,
                                                Worker::current()->endpointOf(conf), r);
    if (auto refused = begin(*stream)) {
        return *refused;
    }
    setEventStreamHeaders(r);
    if (auto answered = sendStreamHead(r)) {
        return *answered;
    }
    return Connection::detachAtTurnEnd(std::move(stream));
}

// --- HTTP/2 and later -------------------------------------------------------------------------------------------

// The request stays, since its stream is nginx's. It owns this object.
class RequestStream final : public Outlet {
public:
    RequestStream(Endpoint& endpoint, ngx_http_request_t* r)
        : Outlet(Encoding::Sse, endpoint, Gauge::Sse, Counter::ConnectedSse), request_(r)
    {
    }

    void start()
    {
        started_ = true;
        request_->read_event_handler = ngx_http_test_reading;
        request_->write_event_handler = [](ngx_http_request_t* r) {
            auto& self = outletOf<RequestStream>(r);
            guardVoid(r->connection->log, [&] { self.flush(); });
        };
        flush();
    }

    void enqueue(const FramePtr& frame, std::uint32_t) override
    {
        if (!ending_) {
            waiting_.push_back(frame);
        }
    }

    void flush() override
    {
        if (!started_) {
            return;
        }
        ngx_int_t rc = send();
        if (rc == NGX_ERROR) {
            broken_ = true;
            Worker::current()->finishLater(*this);
            return;
        }
        if (pendingBytes_ > endpoint().conf->bufferBytes && !ending_) {
            ngx_log_error(NGX_LOG_INFO, request_->connection->log, 0,
                          "realtime: subscriber does not read, %uz bytes wait: closed", pendingBytes_);
            Worker::current()->counters().add(Counter::SlowClosed);
            broken_ = true;
            Worker::current()->finishLater(*this);
        } else if (pendingBytes_ == 0 && replaying()) {
            Worker::current()->pumpLater(*this);
        }
    }

    std::size_t waitingBytes() const override { return pendingBytes_; }
    void cutOff(std::string_view) override {} // this encoding announces gaps

    void pingDue() override
    {
        enqueue(heartbeat(encoding()), 0);
        touch();
        flush();
    }
    void timeoutDue() override { end(NGX_HTTP_CLOSE); }
    void closeWaitOver() override { end(NGX_HTTP_CLOSE); }
    void askToReconnect() override { end(endStream(request_)); }
    void processEnds() override { end(NGX_HTTP_CLOSE); }
    void finish() override
    {
        if (broken_) {
            end(NGX_HTTP_CLOSE);
        }
    }

private:
    // The request's cleanup destroys this.
    void end(ngx_int_t rc)
    {
        ending_ = true;
        ngx_connection_t* c = request_->connection;
        ngx_http_finalize_request(request_, rc);
        ngx_http_run_posted_requests(c);
    }

    ngx_int_t send()
    {
        ngx_chain_t* out = nullptr;
        ngx_chain_t** last = &out;
        for (const FramePtr& frame : waiting_) {
            ngx_chain_t* link = ngx_chain_get_free_buf(request_->pool, &free_);
            if (link == nullptr) {
                return NGX_ERROR;
            }
            auto* bytes = reinterpret_cast<u_char*>(frame->data());
            *link->buf = {};
            link->buf->tag = &ngx_http_realtime_module;
            link->buf->start = link->buf->pos = bytes;
            link->buf->end = link->buf->last = bytes + frame->size();
            link->buf->memory = 1;
            link->buf->flush = 1;
            *last = link;
            last = &link->next;
            pendingBytes_ += frame->size();
        }
        *last = nullptr;
        inFlight_.insert(inFlight_.end(), waiting_.begin(), waiting_.end());
        waiting_.clear();

        ngx_int_t rc = writeStream(request_, out);
        ngx_chain_update_chains(request_->pool, &free_, &busy_, &out, &ngx_http_realtime_module);
        releaseSent();
        return rc;
    }

    // The filters have let go of all but what is in `busy_`, which is in our order.
    void releaseSent()
    {
        std::size_t busy = 0;
        std::size_t bytes = 0;
        for (ngx_chain_t* link = busy_; link != nullptr; link = link->next) {
            busy++;
            bytes += static_cast<std::size_t>(link->buf->last - link->buf->pos);
        }
        Worker::current()->counters().add(Counter::DeliveredBytes, pendingBytes_ - bytes);
        pendingBytes_ = bytes;
        while (inFlight_.size() > busy) {
            inFlight_.pop_front();
        }
    }

    ngx_http_request_t* request_;
    std::deque<FramePtr> waiting_;  // not given to the filters yet
    std::deque<FramePtr> inFlight_; // those that the filters hold
    ngx_chain_t* free_ = nullptr;
    ngx_chain_t* busy_ = nullptr;
    std::size_t pendingBytes_ = 0;
    bool started_ = false;
    bool ending_ = false;
    bool broken_ = false;
};

ngx_int_t openThroughFilters(ngx_http_request_t* r, const LocConf& conf, const Begin& begin)
{
    ngx_http_cleanup_t* cleanup = ngx_http_cleanup_add(r, 0);
    if (cleanup == nullptr) {
        return NGX_ERROR;
    }
    auto* stream = new RequestStream(Worker::current()->endpointOf(conf), r);
    cleanup->data = stream;
    cleanup->handler = [](void* self) { delete static_cast<RequestStream*>(self); };
    contextOf(r).outlet = stream;

    if (auto refused = begin(*stream)) {
        return *refused;
    }
    setEventStreamHeaders(r);
    if (auto answered = sendStreamHead(r)) {
        return *answered;
    }
    r->main->count++;
    stream->start();
    return NGX_DONE;
}

ngx_int_t open(ngx_http_request_t* r, const LocConf& conf, const Begin& begin)
{
    contextOf(r).transport = ngx_string("sse");
    if (r->method == NGX_HTTP_HEAD) {
        setEventStreamHeaders(r);
        return sendStreamHead(r).value_or(NGX_OK);
    }
    return r->http_version < NGX_HTTP_VERSION_20 ? openDetached(r, conf, begin)
                                                 : openThroughFilters(r, conf, begin);
}

} // namespace

void setEventStreamHeaders(ngx_http_request_t* r)
{
    beginAnswer(r);
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_type = ngx_string("text/event-stream");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = nullptr;
    r->headers_out.content_length_n = -1;
    forbidCaching(r);
    addHeader(r, "X-Accel-Buffering", "no"); // for an nginx in front of this one
}

ngx_int_t openEventStream(ngx_http_request_t* r, const SubscribeRequest& request)
{
    return open(r, *request.conf, [&](Outlet& stream) -> std::optional<ngx_int_t> {
        Reached reached;
        ngx_int_t rc = joinOrRefuse(r, request, stream, reached);
        if (rc != NGX_OK || !stream.subscribed()) {
            return rc;
        }
        stream.enqueue(startingPoint(stream, reached), 0);
        return std::nullopt;
    });
}

ngx_int_t openStatusStream(ngx_http_request_t* r, const LocConf& conf, std::string_view greeting)
{
    return open(r, conf, [&](Outlet& stream) -> std::optional<ngx_int_t> {
        Worker::current()->statusFeed().add(stream, greeting);
        return std::nullopt;
    });
}

} // namespace realtime
