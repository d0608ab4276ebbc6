// A connection that is detached from its HTTP request: WebSocket, and SSE over HTTP/1.1.
//
// The request has served its purpose once the response header is out. Its pool (4 KiB and more) and the header
// buffer are freed, the access log line is written, and what stays is nginx's connection slot and this object, much
// as nginx itself keeps idle keep-alive connections. Without TLS the connection's own pool goes as well. Where
// another module still needs the request (it left a cleanup handler there, as limit_conn does), the request is kept
// until the end.
//
// Three stages. The head is on its way: the request is nginx's, and owns this object. Shared: the head is out and the
// socket is ours, but somebody is still at work on the request (a mirror's subrequest, say), so that it stays nginx's
// and goes on owning this object. Detached: nobody else is, and the object owns itself and the connection.
//
// Memory     waiting frames are shared; past `realtime_buffer` of them, with what keeping them takes, the connection
//            is closed.
// Closing    TCP is ended by the server (RFC 6455 7.1.1): once the last words are out it sends its FIN, and reads on for a
//            while, since closing a socket with something unread would reset the connection, and the peer might lose
//            those words.
#pragma once

#include "nginx/outlet.hpp"

#include "hub/handover_record.hpp"

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace realtime {

class Connection : public Outlet {
public:
    Connection(Encoding encoding, Endpoint& endpoint, Gauge gauge, Counter connected, ngx_http_request_t* r);
    // Of a descriptor that came from another worker, see openDescriptor(). The object owns itself from start() on.
    Connection(Encoding encoding, Endpoint& endpoint, Gauge gauge, ngx_connection_t* c);
    ~Connection() override;

    // Gives a descriptor its place in nginx's tables. Null, and closed, if there is none.
    static ngx_connection_t* openDescriptor(int fd, Endpoint& endpoint);

    // For a content handler, after the header was sent: returns what the handler is to return. onAttached() is called
    // when the header is out and the socket is the object's.
    static ngx_int_t detachAtTurnEnd(std::unique_ptr<Connection> connection);

    void enqueue(const FramePtr& frame, std::uint32_t events) override;
    void flush() override;
    std::size_t waitingBytes() const override
    {
        return (queue_ ? queue_->bytes : 0) + (next_ ? next_->size() : 0);
    }

    void cutOff(std::string_view channel) override;

    void timeoutDue() override { destroy(); }
    void closeWaitOver() override { destroy(); }
    void lingerWaitOver() override;
    void askToReconnect() override { close(farewell(Why::Restart)); }
    void processEnds() override;
    void finish() override;

    // --- moving to another worker, see handover.hpp ---
    enum class Movable : std::uint8_t { Now, Later, Never };
    virtual Movable movable() const { return Movable::Never; }
    // Writes down what it is. Only when it is movable now.
    virtual void describe(HandoverRecord& record);
    int descriptor() const { return connection_->fd; }
    std::uint64_t connectionNumber() const override { return connection_->number; }
    // One that came from another worker is served from now on, and owns itself.
    void start();
    // It is another worker's: ends here, without a word to the peer or to the log, and destroys it.
    void handedOver();
    // It cannot be passed on after all: takes what has come meanwhile.
    void staysHere();

protected:
    // Ends what it has in the hub. Overridden where more than the hub has to know.
    virtual void leaveHub();
    // The connection is ours now; `rest` is what the client has sent behind its request.
    virtual void onAttached(std::string rest) = 0;
    // The socket has something to read, or is at its end.
    virtual void onReadable() = 0;
    // What is said last, in the transport's words; null: nothing.
    enum class Why : std::uint8_t { Slow, Gap, Busy, Restart };
    virtual FramePtr farewell(Why why) = 0;

    ngx_connection_t* connection() { return connection_; }
    bool closing() const { return state_ != State::Open; }
    // Whatever still comes is of no interest.
    bool ending() const { return state_ >= State::Ending; }
    // What waits takes so much memory, but for a single frame.
    std::size_t waitingCost() const { return queue_ ? queue_->cost() : 0; }
    // The socket would take something now, as far as is known.
    bool writable() const { return connection_->write->ready != 0; }
    // As far as the socket is concerned.
    Movable socketMovable() const;
    // What waited to be sent in the worker it comes from: the rest of a frame that has begun, and what follows.
    void restoreOutput(std::string_view begun, std::string_view unsent);

    // Reads at most `size` bytes: their number, NGX_AGAIN, 0 at the end, or NGX_ERROR.
    ssize_t receive(char* buffer, std::size_t size);
    // Waits for the next event of the socket. False: it is broken.
    bool awaitRead();
    // Reads what there is, for onInput(), or for nobody if it is ending(). At the peer's end destroys the connection.
    void readInput();
    virtual void onInput(std::span<char>) {}
    // The socket takes something again.
    virtual void onWritable() { flush(); }

    // Says good-bye, delivers nothing more, and waits at most CloseWait for it to get out and for the peer to close.
    // May be called while the hub is at work.
    void close(const FramePtr& farewell);
    // The same without waiting for the peer: it has broken the rules, or is too slow.
    void closeAtOnce(const FramePtr& farewell);
    // Ends the connection once what waits has been handed to the socket, which may take CloseWait.
    void endSoon();
    // Destroys it now, and ends the connection. Not while the hub is at work.
    void destroy();

    // It has published something that it is to hear itself, before any good-bye; it may have heard it meanwhile. Of a
    // FramedConnection; where there is room for it.
    void setEchoDue(bool due) { echoDue_ = due; }
    bool echoDue() const { return echoDue_; }

private:
    enum class State : std::uint8_t {
        Open,
        Closing,   // good-bye is queued or sent; the peer's is awaited
        Ending,    // good-bye is queued or sent, and nothing more is awaited
        Lingering, // it is out, and so is the FIN
        Dead,      // the socket is broken
    };
    static constexpr int MaxReads = 16; // of one connection before the others have their turn
    // Frames that the socket has not taken yet.
    struct Queue {
        std::vector<FramePtr> frames;
        std::size_t first = 0;  // index of the oldest
        std::size_t offset = 0; // of it, so much is out
        std::size_t bytes = 0;  // all in all

        // Memory, shared or not: many small frames are mostly overhead.
        std::size_t cost() const
        {
            return bytes + (frames.size() - first) * FrameOverhead + frames.capacity() * sizeof(FramePtr);
        }
        void forgetSent();
    };

    static void readHandler(ngx_event_t* event);
    static void writeHandler(ngx_event_t* event);
    enum class Head : std::uint8_t { Out, Waits, Broken };

    static void requestWriteHandler(ngx_http_request_t* r);
    static void requestReadHandler(ngx_http_request_t* r);
    static void requestEnds(void* self);
    void proceed();
    Head sendHead();
    void share();
    void releaseRequest();
    void takeOver(); // the socket's events
    void shrink();
    void onShutdown();
    void sayGoodbye(const FramePtr& farewell, State then);
    void linger();
    void halfClose();
    bool unacknowledged() const;

    bool waits() const { return queue_ != nullptr || next_; }
    void queue(const FramePtr& frame, std::size_t offset);
    bool writeOut();
    ssize_t writeSome();
    void written(std::size_t bytes);
    void dropQueue();
    void onWritten();
    void fail();
    bool overfull();
    void checkBuffer();

    ngx_connection_t* connection_;
    ngx_http_request_t* request_; // until it is released
    std::unique_ptr<Queue> queue_;
    FramePtr next_; // one frame that waits for this turn's flush: no Queue for the usual case
    State state_ = State::Open;
    bool headWaits_ = false; // for the socket, which may never take it
    bool owned_ = false;     // it ends the connection when it dies; else the request owns it
    bool attached_ = false;  // the socket is its own
    bool shutdownSeen_ = false;
    bool gap_ = false; // it has missed something and cannot be told but by closing
    bool echoDue_ = false;
};

} // namespace realtime
