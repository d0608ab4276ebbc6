// Server-Sent Events: over HTTP/1.1 on a detached connection, over HTTP/2 and later through nginx's filters.
#include "nginx/connection.hpp"
#include "nginx/guard.hpp"
#include "nginx/request_context.hpp"
#include "nginx/request_outlet.hpp"
#include "nginx/request_output.hpp"
#include "nginx/response.hpp"
#include "nginx/status_feed.hpp"
#include "nginx/str.hpp"
#include "nginx/stream_head.hpp"
#include "nginx/subscribe.hpp"
#include "nginx/worker.hpp"

#include "wire/sse.hpp"

#include <functional>
#include <memory>
#include <optional>

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

// The request stays, since its stream is nginx's.
class RequestStream final : public RequestOutlet {
public:
    RequestStream(Endpoint& endpoint, ngx_http_request_t* r)
        : RequestOutlet(Encoding::Sse, endpoint, Gauge::Sse, Counter::ConnectedSse, r),
          output_(RequestOutput::of(r))
    {
    }
    ~RequestStream() override { output_.drop(); }

    void start()
    {
        started_ = true;
        contextOf(request()).outlet = this;
        wait([](ngx_http_request_t* r) {
            auto& self = outletOf<RequestStream>(r);
            guardVoid(r->connection->log, [&] { self.onWritable(); });
        });
        flush();
    }

    void enqueue(const FramePtr& frame, std::uint32_t) override { output_.add(frame); }

    void flush() override
    {
        if (started_ && !broken_) {
            handedOver(output_.send());
        }
    }

    std::size_t waitingBytes() const override { return output_.waitingBytes(); }
    std::uint64_t connectionNumber() const override { return request()->connection->number; }
    void cutOff(std::string_view) override {} // this encoding announces gaps

    void pingDue() override
    {
        enqueue(heartbeat(encoding()), 0);
        touch();
        flush();
    }
    void timeoutDue() override { close(); }
    void closeWaitOver() override { close(); }
    // Behind what nginx has begun with, and so between two events.
    void askToReconnect() override
    {
        end([r = request()] { return endStream(r); });
    }
    void processEnds() override { close(); }
    void finish() override
    {
        if (broken_) {
            close();
        }
    }

private:
    void close()
    {
        end([] { return NGX_HTTP_CLOSE; });
    }

    // nginx calls: the client has taken something, or has not for too long.
    void onWritable()
    {
        ngx_connection_t* c = request()->connection;
        if (c->write->error) {
            WaitingRequest::checkPeer(request());
        } else if (c->write->timedout) {
            ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT, "client timed out");
            c->timedout = 1;
            end([] { return NGX_HTTP_REQUEST_TIME_OUT; });
        } else if (!broken_) {
            handedOver(output_.resume());
        }
    }

    // The hub may be at work: ends nothing here.
    void handedOver(ngx_int_t rc)
    {
        if (rc == NGX_ERROR) {
            breakOff();
        } else if (output_.waitingCost() > endpoint().conf->bufferBytes) {
            ngx_log_error(NGX_LOG_INFO, request()->connection->log, 0,
                          "realtime: subscriber does not read, %uz bytes wait and take %uz: closed",
                          waitingBytes(), output_.waitingCost());
            Worker::current()->counters().add(Counter::SlowClosed);
            breakOff();
        } else if (rc == NGX_OK && replaying()) {
            Worker::current()->pumpLater(*this);
        }
    }

    void breakOff()
    {
        broken_ = true;
        Worker::current()->finishLater(*this);
    }

    RequestOutput& output_; // lives in the request's pool, and longer than this
    bool started_ = false;
    bool broken_ = false;
};

ngx_int_t openThroughFilters(ngx_http_request_t* r, const LocConf& conf, const Begin& begin)
{
    auto stream = std::make_unique<RequestStream>(Worker::current()->endpointOf(conf), r);
    if (auto refused = begin(*stream)) {
        return *refused;
    }
    setEventStreamHeaders(r);
    if (auto answered = sendStreamHead(r)) {
        return *answered;
    }
    stream.release()->start();
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
