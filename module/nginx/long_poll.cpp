// Long-poll: a GET that is answered with the events after `since` as a JSON array, as soon as there is one, or with
// 204 after realtime_timeout. `Realtime-Last-Id` is the `since` of the next.
#include "nginx/request_context.hpp"
#include "nginx/request_outlet.hpp"
#include "nginx/response.hpp"
#include "nginx/str.hpp"
#include "nginx/subscribe.hpp"
#include "nginx/worker.hpp"

#include <memory>
#include <string>

namespace realtime {

namespace {

struct Answer {
    std::string events; // a JSON array without its end; empty: none
    std::string position;

    ngx_int_t send(ngx_http_request_t* r)
    {
        forbidCaching(r);
        addHeader(r, "Realtime-Last-Id", view(copyTo(r->pool, position)));
        if (events.empty()) {
            return respondEmpty(r, NGX_HTTP_NO_CONTENT);
        }
        events.back() = ']'; // in place of the last comma
        Worker::current()->counters().add(Counter::DeliveredBytes, events.size());
        return respond(r, NGX_HTTP_OK, "application/json", events);
    }
};

class LongPoll final : public RequestOutlet {
public:
    LongPoll(Endpoint& endpoint, ngx_http_request_t* r)
        : RequestOutlet(Encoding::JsonList, endpoint, Gauge::LongPoll, Counter::ConnectedLongPoll, r)
    {
    }

    void start()
    {
        waiting_ = true;
        wait();
    }

    bool hasEvents() const { return !answer_.events.empty(); }
    Answer takeAnswer() { return std::move(answer_); }
    void notePosition() { answer_.position = Worker::current()->hub().positionOf(*this, reached_); }
    Reached& reached() { return reached_; }

    void enqueue(const FramePtr& frame, std::uint32_t) override
    {
        answer_.events += answer_.events.empty() ? "[" : "";
        answer_.events += frame->view();
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
    std::uint64_t connectionNumber() const override { return request()->connection->number; }

    void pingDue() override {}
    void timeoutDue() override { finish(); }
    void closeWaitOver() override { finish(); }
    void askToReconnect() override { finish(); }
    void processEnds() override { finish(); }

    // What comes from now on is for the next request.
    void finish() override
    {
        end([r = request(), answer = takeAnswer()]() mutable { return answer.send(r); });
    }

private:
    Answer answer_;
    Reached reached_;
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
    auto poll = std::make_unique<LongPoll>(Worker::current()->endpointOf(*request.conf), r);
    ngx_int_t rc = joinOrRefuse(r, request, *poll, poll->reached());
    if (rc != NGX_OK || !poll->subscribed()) {
        return rc;
    }
    poll->notePosition();
    if (poll->hasEvents()) {
        Answer answer = poll->takeAnswer();
        poll.reset(); // before it is answered, as always
        return answer.send(r);
    }
    poll.release()->start();
    return NGX_DONE;
}

} // namespace realtime
