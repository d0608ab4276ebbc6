// A subscriber whose request stays with nginx until it is answered: a long-poll, an event stream over HTTP/2 and later.
//
// Ownership  itself, as waiting_request.hpp says: it dies with the request, or before the request is answered.
// Reload     nginx tells connections that they are to go, but leaves a request the time that it needs; and a worker ends as soon
//            as no timer is left, whatever still waits. So the worker asks these itself, see Worker::drainLater().
#pragma once

#include "nginx/outlet.hpp"
#include "nginx/waiting_request.hpp"
#include "nginx/worker.hpp"

namespace realtime {

class RequestOutlet : public Outlet {
public:
    RequestOutlet(Encoding encoding, Endpoint& endpoint, Gauge gauge, Counter connected,
                  ngx_http_request_t* r)
        : Outlet(encoding, endpoint, gauge, connected), request_(r, this)
    {
    }

    bool waitsInRequest() const override { return true; }

protected:
    ngx_http_request_t* request() const { return request_.get(); }

    // From now on it belongs to itself. The content handler returns NGX_DONE.
    void wait(ngx_http_event_handler_pt onWritable = WaitingRequest::checkPeer)
    {
        request_->main->count++;
        request_.wait(onWritable);
        if (ngx_exiting) { // those that there were have been asked
            setLeaving();
            Worker::current()->drainLater(*this);
        }
    }
    // Destroys it and ends the request with what `answer` returns. Not while the hub is at work.
    template <class Answer> void end(Answer&& answer)
    {
        ngx_http_request_t* r = request();
        delete this;
        finishRequest(r, std::forward<Answer>(answer));
    }

private:
    WaitingRequest request_;
};

} // namespace realtime
