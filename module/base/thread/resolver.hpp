// Turns a host name into addresses without anyone having to wait for the name server.
//
// The C library looks names up on a thread of its own (getaddrinfo_a); a numeric address takes no look-up at all.
// A look-up that hangs can't be stopped, so whoever loses interest leaves it behind: its memory is then given up on
// purpose, and the thread that still writes to it runs the C library's code only, so that the module may be unloaded.
//
// Thread     any one thread. Cost: a thread of the C library's while a look-up lasts.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

struct addrinfo;

namespace realtime {

class Resolver {
public:
    enum class State { Pending, Done, Failed };

    static constexpr std::chrono::milliseconds Pause{5}; // before state() is asked again

    Resolver(const std::string& host, std::uint16_t port);
    ~Resolver();
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;

    State state();                                      // Pending: ask again after Pause
    const addrinfo* addresses() const;                  // when Done; they live as long as the resolver
    const std::string& error() const { return error_; } // when Failed

private:
    struct Request;

    std::unique_ptr<Request> request_;
    State state_ = State::Pending;
    std::string error_;
};

} // namespace realtime
