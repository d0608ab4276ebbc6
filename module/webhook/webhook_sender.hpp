// Webhooks: tells the operator's own servers what happens in an application (channel occupied, member added, ...), as
// Pusher does: a signed POST with a batch of events. One thread, which owns all HTTP connections (libcurl), so that a
// slow or absent receiver never blocks the event loop.
//
// Thread     the constructor, the destructor and every member function belong to the event loop. The thread runs with
//            all signals blocked and touches only the two queues, atomics, and its own connections; it never logs, but
//            hands notes to the event loop.
// Lifetime   create after fork, destroy before the process ends: stop() or the destructor stops taking, gives the
//            thread WebhookOptions::drain to send what is queued, then cuts its connections and joins. No state of
//            the network or of a name server can hold that up. The endpoints are copied.
// Errors     the constructor throws std::runtime_error if an endpoint or the thread cannot be set up. Afterwards
//            nothing throws but std::bad_alloc.
// Memory     for each endpoint at most WebhookOptions::maxQueuedBytes of events, counted from offer() until they are
//            sent or dropped, strings and a fixed cost for each event included. What a receiver answers is read up to
//            64 KiB and forgotten.
// Delivery   for each endpoint in order, one request at a time; what comes meanwhile waits. Only a status of 2xx is a
//            success; anything else (redirects are not followed) is tried again, with the same bytes and the same
//            signature, after 1, 2, 4 ... seconds with jitter. So a receiver may see a batch twice. An event that is
//            not accepted within WebhookOptions::retryFor is dropped, counted, and noted. What waits is lost with the
//            process.
// Not here   which event happens when, and in which of several workers (the caller's).
#pragma once

#include "base/thread/note.hpp"
#include "wire/pusher_webhook.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace realtime {

struct WebhookEndpoint {
    std::string app;                 // its id, for notes
    std::string url;                 // see validateWebhookUrl()
    std::vector<std::string> events; // names, such as "channel_occupied"
    std::string key, secret;         // the app's
    std::string channelPrefix;       // of the channels whose events are wanted; empty: all
    std::string tlsCa;               // PEM file of the authorities that may have signed an https receiver's
                                     // certificate; empty: the system's
    std::chrono::milliseconds batchWindow{50}; // how long the first event of a batch waits for more; 0: none
    std::size_t maxBatchEvents = 100;          // 1: no batching
    std::size_t maxBatchBytes = 64 << 10;      // of the events' strings; one event may be larger

    // Is this event to be offered to this endpoint? Never one of a user's own channel (#server-to-user-...).
    bool wants(pusher::WebhookName event, std::string_view channel) const;
};

// Throws std::runtime_error with a sentence fit for `nginx -t` unless the URL is http or https, with a host, without
// user and password; see webhook_url.hpp. Never resolves names.
void validateWebhookUrl(std::string_view url);

struct WebhookOptions {
    std::size_t maxQueuedBytes = 8 << 20;           // for each endpoint
    std::chrono::milliseconds timeout{10'000};      // for one attempt, name look-up and TLS included
    std::chrono::milliseconds retryFor{300'000};    // how long an event is kept while the receiver fails
    std::chrono::milliseconds firstRetry{1'000};    // doubling from here ...
    std::chrono::milliseconds slowestRetry{60'000}; // ... to here; jitter takes off up to half
    std::chrono::milliseconds drain{1'000};         // for the destructor
};

// Of one endpoint, in events where nothing else is said.
struct WebhookStats {
    std::uint64_t queued = 0, queuedBytes = 0; // now, those being sent included
    std::uint64_t sent = 0;
    std::uint64_t refused = 0;        // by offer(): the queue was full
    std::uint64_t dropped = 0;        // not accepted in time, or left at the end
    std::uint64_t failedAttempts = 0; // requests
    int lastStatus = 0;               // HTTP; 0: the last attempt got no answer, or there was none
    bool failing = false;             // the last attempt failed
};

class WebhookSender {
public:
    // `wakeUp` is called on the thread when notes wait: once for all that wait at a time.
    WebhookSender(std::vector<WebhookEndpoint> endpoints, LoopWakeUp& wakeUp,
                  const WebhookOptions& options = {});
    ~WebhookSender();
    WebhookSender(const WebhookSender&) = delete;
    WebhookSender& operator=(const WebhookSender&) = delete;

    const std::vector<WebhookEndpoint>& endpoints() const { return endpoints_; }

    // `endpoint` is an index into endpoints(). False: its queue is full, or stop() was called; the event is counted as
    // refused and gone. `timeMs` is Unix time, of the event; a batch carries that of its last one.
    bool offer(std::size_t endpoint, pusher::WebhookEvent event, std::int64_t timeMs);

    // Appends what has come since the last call.
    void takeNotes(std::vector<Note>& out);

    // What the destructor does, with the chance to take the last notes afterwards. Blocks as said above.
    void stop();

    WebhookStats stats(std::size_t endpoint) const;

private:
    struct Shared;
    std::vector<WebhookEndpoint> endpoints_;
    WebhookOptions options_;
    std::unique_ptr<Shared> shared_;
};

} // namespace realtime
