// Frames on their way out through what is below a request's filters (writeStream()), for what stays a request of nginx: event
// streams over HTTP/2 and HTTP/3. (Detached connections write to the socket themselves, see connection.hpp. Everything else is answered by respond(),
// which copies the body into the request's pool.)
//
// Ownership  What nginx was given, it keeps until it says that it is out, and that can be long after the request was reset,
//            has timed out or was closed by us: a half-sent DATA frame stays in the queue of the HTTP/2 connection, and the
//            write filter keeps what is behind it. The one thing that lives as long is the request's pool:
//            nginx's own buffers are in it, so that it is destroyed only when no queue has any of them
//            (ngx_http_v2_close_stream() comes back until `queued` is 0; QUIC has copied what it took; for HTTP/1.x the
//            write filter's chain ends with the pool). So this object, which owns the frames, lives in the pool. The cleanup
//            handlers of the request (ngx_http_cleanup_add) run earlier and are no place for it. While the request
//            lives, a frame is let go when its buffer is empty: then its last byte was taken.
// Memory     nginx holds at most MaxBytes (or one frame) and MaxFrames; what is behind them waits here. Nothing more is
//            given while the connection waits for its client. So a slow reader costs the pool no more buffers than a
//            quick one, and what nginx has not begun with can be dropped.
// Time       what waits for the client is watched by `send_timeout`, as all of nginx's output is.
// Thread     the event loop.
#pragma once

#include "nginx/ngx.hpp"

#include "base/frame.hpp"

#include <cstddef>
#include <vector>

namespace realtime {

class RequestOutput {
public:
    // In the request's pool. Throws std::bad_alloc.
    static RequestOutput& of(ngx_http_request_t* r);
    explicit RequestOutput(ngx_http_request_t* r) : request_(r) {}
    RequestOutput(const RequestOutput&) = delete;
    RequestOutput& operator=(const RequestOutput&) = delete;

    void add(const FramePtr& frame);
    // Hands over what can be taken. NGX_OK: nothing waits for the client. NGX_AGAIN: it does, and nginx will call the
    // request's write handler. NGX_ERROR: the connection or the stream is broken. Does not end the request.
    ngx_int_t send();
    // The same for that write handler: the client has taken something.
    ngx_int_t resume();
    // Forgets what nginx was not given.
    void drop();

    // What the client has not taken, as far as nginx tells.
    std::size_t waitingBytes() const { return givenBytes_ + waitingBytes_; }
    // The memory that it takes, shared or not: many small frames are mostly overhead.
    std::size_t waitingCost() const
    {
        return waitingBytes() + (frames_.size() - first_) * FrameOverhead +
               frames_.capacity() * sizeof(FramePtr);
    }

private:
    static constexpr std::size_t MaxBytes = std::size_t{64} << 10;
    static constexpr std::size_t MaxFrames = 128;
    static constexpr std::size_t KeptCapacity = 64;

    ngx_int_t give();
    bool take(ngx_chain_t*& out);
    ngx_int_t pass(ngx_chain_t* out);
    void letGo();
    bool full() const { return given_ >= MaxFrames || givenBytes_ >= MaxBytes; }
    ngx_int_t watch(ngx_int_t rc, bool progress);

    ngx_http_request_t* request_;
    // From `first_` on: `given_` frames that nginx has, in its order, then those that wait.
    std::vector<FramePtr> frames_;
    std::size_t first_ = 0;
    std::size_t given_ = 0;
    std::size_t givenBytes_ = 0; // not out
    std::size_t waitingBytes_ = 0;
    ngx_chain_t* free_ = nullptr; // links and buffers, in the pool
    ngx_chain_t* busy_ = nullptr; // those of the frames that nginx has
};

} // namespace realtime
