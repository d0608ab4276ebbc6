// Long-poll: a GET that is answered with the events after `since` as a JSON array, as soon as there is one, or with
// 204 after realtime_timeout. `Realtime-Last-Id` is the `since` of the next.
#include "nginx/guard.hpp"
#include "nginx/outlet.hpp"
#include "nginx/request_context.hpp"
#include "nginx/response.hpp"
#include "nginx/str.hpp"
#include "nginx/subscribe.hpp"
#include "nginx/worker.hpp"

extern "C" void ngx_http_test_reading(ngx_http_request_t* r);

namespace realtime {

namespace {

// The request owns it.
class LongPoll final : public Outlet {
public:
    LongPoll(Endpoint& endpoint, ngx_http_request_t* r)
        : Outlet(Encoding::JsonList, endpoint, Gauge::LongPoll, Counter::ConnectedLongPoll), request_(r)
    {
    }

    bool hasEvents() const { return !events_.empty(); }

    void wait()
    {
        waiting_ = true;
        request_->read_event_handler = ngx_http_test_reading; // notices a client that leaves
        request_->write_event_handler = ngx_http_request_empty_handler;
    }

    ngx_int_t answer()
    {
        Worker::current()->hub().leave(*this); // what comes now is for the next request
        forbidCaching(request_);
        addHeader(request_, "Realtime-Last-Id", view(copyTo(request_->pool, position_)));
        if (events_.empty()) {
            return respondEmpty(request_, NGX_HTTP_NO_CONTENT);
        }
        events_.back() = ']'; // in place of the last comma
        Worker::current()->counters().add(Counter::DeliveredBytes, events_.size());
        return respond(request_, NGX_HTTP_OK, "application/json", events_);
    }

    void notePosition() { position_ = Worker::current()->hub().positionOf(*this, reached_); }
    Reached& reached() { return reached_; }

    void enqueue(const FramePtr& frame, std::uint32_t) override
    {
        events_ += events_.empty() ? "[" : "";
        events_ += frame->view();
    }
    // The hub is at work, or the handler has not got so far.
    void flush() override
    {
        notePosition();
        if (waiting_) {
            Worker::current()->finishLater(*this);
        }
    }
    void cutOff(std::string_view) override {} // this encoding announces gaps

    void pingDue() override {}
    void timeoutDue() override { finish(); }
    void closeWaitOver() override { finish(); }
    void askToReconnect() override { finish(); }
    void processEnds() override { finish(); }

    // The request's cleanup destroys this.
    void finish() override
    {
        ngx_http_request_t* r = request_;
        ngx_connection_t* c = r->connection;
        ngx_int_t rc = guard<ngx_int_t>(c->log, NGX_ERROR, [&] { return answer(); });
        ngx_http_finalize_request(r, rc);
        ngx_http_run_posted_requests(c);
    }

private:
    ngx_http_request_t* request_;
    std::string events_;
    Reached reached_;
    std::string position_;
    bool waiting_ = false;
};

} // namespace

ngx_int_t openLongPoll(ngx_http_request_t* r, const SubscribeRequest& request)
{
    contextOf(r).transport = ngx_string("longpoll");
    if (r->method == NGX_HTTP_HEAD) {
        forbidCaching(r);
        return respondHead(r, "application/json");
    }
    ngx_http_cleanup_t* cleanup = ngx_http_cleanup_add(r, 0);
    if (cleanup == nullptr) {
        return NGX_ERROR;
    }
    auto* poll = new LongPoll(Worker::current()->endpointOf(*request.conf), r);
    cleanup->data = poll;
    cleanup->handler = [](void* self) { delete static_cast<LongPoll*>(self); };
    contextOf(r).outlet = poll;

    ngx_int_t rc = joinOrRefuse(r, request, *poll, poll->reached());
    if (rc != NGX_OK || !poll->subscribed()) {
        return rc;
    }
    poll->notePosition();
    if (poll->hasEvents()) {
        return poll->answer();
    }
    r->main->count++;
    poll->wait();
    return NGX_DONE;
}

} // namespace realtime
