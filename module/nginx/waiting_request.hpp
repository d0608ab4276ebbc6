// A request that is answered later, and what waits to answer it: a long-poll, an event stream over HTTP/2, a publish that
// wants a confirm.
//
// Ownership  the owner (which this is a member of) belongs to itself, and dies in one of two ways. Nginx ends the request: the
//            peer has gone, the connection is broken; then nginx calls us and the owner is deleted. Or there is an answer:
//            then the owner first deletes itself, and so leaves every list that it is in, and the request is
//            answered by finishRequest(), without it. An answer may take long to get out, and the request lives until it
//            is: nobody must be left who answers it again.
// Thread     the event loop.
#pragma once

#include "nginx/guard.hpp"
#include "nginx/ngx.hpp"

#include <new>

// In no header of nginx, but of its core for ever: notices a client that leaves.
extern "C" void ngx_http_test_reading(ngx_http_request_t* r);

namespace realtime {

class WaitingRequest {
public:
    // Throws std::bad_alloc. From now on nginx may delete `owner`.
    template <class Owner>
    WaitingRequest(ngx_http_request_t* r, Owner* owner) : request_(r), cleanup_(ngx_http_cleanup_add(r, 0))
    {
        if (cleanup_ == nullptr) {
            throw std::bad_alloc();
        }
        cleanup_->data = owner;
        cleanup_->handler = [](void* self) { delete static_cast<Owner*>(self); };
    }
    // Lets go of the request.
    ~WaitingRequest()
    {
        cleanup_->handler = nullptr;
        request_->write_event_handler = ngx_http_request_empty_handler;
    }
    WaitingRequest(const WaitingRequest&) = delete;
    WaitingRequest& operator=(const WaitingRequest&) = delete;

    ngx_http_request_t* operator->() const { return request_; }
    ngx_http_request_t* get() const { return request_; }

    // The content handler returns, and the request stays. It must hold a reference for that (`count`).
    void wait(ngx_http_event_handler_pt onWritable = checkPeer)
    {
        request_->read_event_handler = ngx_http_test_reading;
        request_->write_event_handler = onWritable;
        // The client may have left already: the event that told so was for the request's head.
        ngx_post_event(request_->connection->read, &ngx_posted_events);
    }

    // For write handlers: over QUIC, a client that no longer wants the answer is told of there.
    static void checkPeer(ngx_http_request_t* r)
    {
        if (r->connection->write->error) {
            ngx_http_finalize_request(r, NGX_HTTP_CLIENT_CLOSED_REQUEST);
        }
    }

private:
    ngx_http_request_t* request_;
    ngx_http_cleanup_t* cleanup_;
};

// Ends a request that nobody waits with any more: `answer` sends the rest and returns what a content handler would.
template <class Answer> void finishRequest(ngx_http_request_t* r, Answer&& answer)
{
    ngx_connection_t* c = r->connection;
    ngx_http_finalize_request(r, guard<ngx_int_t>(c->log, NGX_ERROR, answer));
    ngx_http_run_posted_requests(c);
}

} // namespace realtime
