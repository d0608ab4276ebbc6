// How a connection gets from one worker to another: a packet with its record and its descriptor, on a pair of sockets
// that the master makes before it forks, so that the workers of all configurations hold both ends.
//
// One queue for all: whichever of the new workers is idle reads next, so that the load spreads by itself, a reader that
// dies leaves the rest to the others, and who has written can read back what nobody takes.
//
// Thread     the event loop; nothing blocks.
// Limits     a record of more than InlineBytes travels in an anonymous file beside its connection: a packet is always
//            one connection, however many workers write and read.
#pragma once

#include "nginx/ngx.hpp"

#include "base/own_fd.hpp"
#include "log/shared_log.hpp"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace realtime {

// In the master: makes the pair, for `owner`, unless the log has one already.
ngx_int_t makeHandoverSockets(SharedLog& log, std::vector<OwnFd>& owner, ngx_log_t* cycleLog);

inline constexpr std::size_t InlineBytes = std::size_t{16} * 1024;

enum class Passed {
    Ok,
    Full,   // the queue, or what the kernel lets travel: try again
    Failed, // for good
};
// The descriptor stays open here, too.
Passed passConnection(int socket, std::string_view record, int descriptor);

struct Arrival {
    enum class Status {
        Came,
        None,   // the queue is empty
        Failed, // something came that cannot be used; it is gone
    };
    Status status = Status::None;
    int descriptor = -1; // the caller's to close
    std::string record;
};
// `buffer`: for the packet, at least PacketBytes; of use during the call.
inline constexpr std::size_t PacketBytes = InlineBytes + 1;
Arrival takeConnection(int socket, std::span<char> buffer);
// At the end where connections come out.
bool queueIsEmpty(int socket);

} // namespace realtime
