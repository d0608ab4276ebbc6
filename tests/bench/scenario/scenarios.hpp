// The scenarios. Each starts the servers that it needs, measures, and adds its rows to the report.
#pragma once

#include "report.hpp"

namespace realtime::bench {

// CPU time per delivered message.
void fanOut(const Options& options,
            Report& report); // one channel, 1,000 subscribers: 1 and 16 publishes in flight
void deflate(const Options& options,
             Report& report); // the same, 1 KB of JSON: with compression, beside without
void channels(const Options& options, Report& report); // 10,000 channels of one subscriber each
void workers(const Options& options, Report& report);  // two workers: nothing lost, doubled or out of order

void memory(const Options& options, Report& report);    // bytes an idle connection
void handshake(const Options& options, Report& report); // CPU time, beside a GET on a new connection
void publish(const Options& options, Report& report);   // CPU time without subscribers, beside `return 204`
// One worker hands all its connections to one: how long, what for each, and who waits meanwhile.
void reload(const Options& options, Report& report);
void latency(const Options& options, Report& report); // with a broker that runs, and with one that is stopped

// What stores events. Times of one event, where many are in flight.
void sqlite(const Options& options, Report& report); // beside bare SQLite; and how soon `ack=stored` answers
void confirms(const Options& options, Report& report); // through HTTP, beside a bare rabbitmq-c publisher
void spool(const Options& options, Report& report);    // filled and drained, beside the same
// Two nodes: from a publish on one to the delivery on the other.
void cluster(const Options& options, Report& report);

// The Pusher protocol beside plain WebSockets: fan-out, subscribing (HMAC, presence), memory.
void pusher(const Options& options, Report& report);

} // namespace realtime::bench
