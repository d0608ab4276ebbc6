// What the broker's thread needs of a store: one connection (or one open database), from the attempt to make it until
// it breaks. A broken link is thrown away and a new one is made, so that there is one clean-up path.
//
// Thread     everything on the broker's thread. Nothing here waits for the network; a database may take as long as its
//            disk does.
// Ownership  the loop owns the events. One that was submitted stays where it is, unchanged, until the link has reported
//            it stored or failed, or is destroyed.
// Delivery   whatever was submitted and not reported when the link breaks is submitted again, in the old order, to the
//            next link; so a link need not know whether the store has taken it.
#pragma once

#include "broker/broker.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace realtime {

using LinkClock = std::chrono::steady_clock;

// Implemented by the loop; called by a link from within turn() and close().
class LinkOwner {
public:
    virtual void onStored(std::uint64_t handle) = 0; // durable in the store; once for each handle
    virtual void onFailed(std::uint64_t handle) = 0; // refused by the store; to be sent again later
    // Notes of one `kind` (empty: of one text) are summarised if they come often.
    virtual void onNote(Note::Level level, std::string text, std::string_view kind = {}) = 0;

protected:
    ~LinkOwner() = default;
};

enum class LinkState {
    Connecting,
    Up,
    Blocked, // the store asks to hold back; connected all the same
    Broken,  // see fault(); nothing may be called any more but the destructor
};

struct LinkFault {
    std::string text;     // a sentence without the server's name; the same text for the same cause
    bool lasting = false; // nothing but a change by the operator will mend it: retry slowly
};

// What to sleep on: until `fd` (-1: none) has `events` (as for poll()), or until `wakeAt`.
struct LinkInterest {
    int fd = -1;
    short events = 0;
    LinkClock::time_point wakeAt = LinkClock::time_point::max();
};

class Link {
public:
    virtual ~Link() = default;

    // Goes on with whatever can be done at `now`: connecting, reading, writing, timers.
    virtual LinkState turn(LinkClock::time_point now) = 0;
    virtual const LinkFault& fault() const = 0;
    virtual LinkInterest interest() const = 0;

    // How many more events may be submitted now; 0 unless Up.
    virtual std::size_t room() const = 0;
    virtual void submit(std::uint64_t handle, const BrokerEvent& event) = 0;

    // Says goodbye; called once, after the last turn() of a link that is not broken; returns by `deadline`.
    virtual void close(LinkClock::time_point deadline) = 0;
};

// The LinkFactory of the real ones, by the server's scheme.
std::unique_ptr<Link> makeLink(const BrokerConfig& config, const BrokerServer& server, LinkOwner& owner);

} // namespace realtime
