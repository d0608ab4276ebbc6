// A switch with a few machines on it, in network namespaces of the test's own: the test, with all that it starts, is on a
// machine of its own at HomeAddress, and visits the others. Nothing of it can be seen from outside, and it ends with the
// process.
#pragma once

#include "base/own_fd.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace realtime::testing {

class Network {
public:
    static constexpr const char* HomeAddress = "10.77.0.254";

    // Why there can be none here; empty: there can.
    static std::string whyNot();

    // Moves the calling thread, which must be the only one, to its machine.
    explicit Network(std::size_t machines);
    Network(const Network&) = delete;
    Network& operator=(const Network&) = delete;

    // What opens sockets or starts programs in `body` does so there. On any thread.
    template <class Body> auto on(std::size_t machine, Body body) const
    {
        const Visit visit(*this, machines_[machine].get());
        return body();
    }
    // Takes its cable out of the switch: both ends think it is still there, and nothing arrives any more.
    static void unplug(std::size_t machine);
    static void plug(std::size_t machine);

private:
    class Visit {
    public:
        Visit(const Network& network, int machine);
        ~Visit();
        Visit(const Visit&) = delete;
        Visit& operator=(const Visit&) = delete;

    private:
        const Network& network_;
    };

    OwnFd home_;
    std::vector<OwnFd> machines_;
};

} // namespace realtime::testing
