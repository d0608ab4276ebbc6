// What most tests need of the module: locations for each endpoint, and short forms for common steps.
#pragma once

#include "support/http.hpp"
#include "support/json.hpp"
#include "support/nginx.hpp"

#include <map>
#include <memory>
#include <string>
#include <sys/types.h>

namespace realtime::testing {

// /pub/CHANNEL, /sub/CHANNEL, /ws/CHANNEL (as fast as a test can send) and /status, with ?event= for the event's name.
extern const std::string Endpoints;

NginxOptions endpoints(int workers = 1);

// Publishes over HTTP, expects 202, returns the id.
std::string publish(const Nginx& nginx, const std::string& channel, const std::string& data,
                    const std::string& event = "");

// How many subscribers the channel has now, as a publisher is told (and so it publishes "probe").
std::int64_t probe(const Nginx& nginx, const std::string& channel);

// A client with a kept connection to each worker. Needs NginxOptions::reuseport.
std::map<pid_t, std::unique_ptr<HttpClient>> clientOnEachWorker(const Nginx& nginx);

bool gone(pid_t process);
// Returns when the old workers have ended, which they do when everybody on them has moved.
void reloadAndWait(Nginx& nginx);

} // namespace realtime::testing
