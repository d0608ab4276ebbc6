// An nginx for tests of reloads and crashes: an app with everything that moves, and what is to be seen of it.
#pragma once

#include "support/nginx.hpp"
#include "support/raw_socket.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <sys/types.h>
#include <utility>

namespace realtime::testing {

extern const std::string ShopKey;
extern const std::string ShopSecret;
// Parts of what shop() makes, to be replaced.
extern const std::string ShopApp;
extern const std::string ShopPusherLocation;
extern const std::string ShopLocations; // /shop/pub/CHANNEL, /shop/sub/CHANNEL; /hooks takes webhooks

// Also /pub, /sub, /ws and /status as endpoints(). It drains for so long that a test which waits for it fails.
NginxOptions shop(int workers = 1);

void shopPublish(const Nginx& nginx, const std::string& channel, const std::string& data);

std::int64_t status(const Nginx& nginx, const std::string& name);
std::size_t hooks(const Nginx& nginx); // webhooks that have come
Frame next(RawWebSocket& socket);      // pings left out

std::size_t openFiles(pid_t pid);
// Of the master, and of all workers together.
std::pair<std::size_t, std::size_t> openFiles(const Nginx& nginx);

// Makes a test larger or smaller.
int fromEnvironment(const char* name, int otherwise);

} // namespace realtime::testing
