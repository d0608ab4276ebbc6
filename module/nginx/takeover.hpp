// The taking side of a reload: a worker of the new configuration reads connections from handover_socket, finds their
// endpoint, app and channels by name, and goes on where the old worker has stopped.
//
// Changed    what the configuration does not have any more is told to the client: 4001 where the app is gone, else 1012
//            or 4200 (reconnect, and see what there is now).
// Room       a worker that is short of worker_connections or descriptors leaves them to the others; if none has room,
//            the old worker reads them back and lets them drain.
// Thread     the event loop.
#pragma once

#include "nginx/conf.hpp"
#include "nginx/event_source.hpp"
#include "nginx/framed_connection.hpp"
#include "nginx/ngx.hpp"

#include "hub/handover_record.hpp"

#include <memory>
#include <optional>

namespace realtime {

struct App;
class Worker;

// Not started, and without subscriptions. `app` is null if it is not there any more.
std::unique_ptr<FramedConnection> restoreWebSocket(const HandoverRecord& record, Endpoint& endpoint,
                                                   ngx_connection_t* c);
std::unique_ptr<FramedConnection> restorePusher(const HandoverRecord& record, Endpoint& endpoint,
                                                ngx_connection_t* c, const App* app);

class Takeover {
public:
    static constexpr int Share = 16; // connections a turn: the other workers want some, too

    explicit Takeover(Worker& worker);
    ~Takeover();

    // From now on connections are taken. Throws std::runtime_error like EventSource.
    void open();
    bool isOpen() const { return source_ != nullptr; }
    // Reads what nobody has taken, in a worker that is told to go.
    void takeBack();

private:
    static constexpr ngx_msec_t RoomPause = 100;
    using Verdict = std::optional<FramedConnection::TurnAway>; // null: it is welcome

    void close();
    void run();
    bool takeShare(); // true: there may be more, and room for it
    bool takeOne();   // false: there is none
    void adopt(const HandoverRecord& record, int descriptor);
    Verdict resume(FramedConnection& connection, const Endpoint& endpoint, const HandoverRecord& record,
                   const AppConf* app);
    bool resume(FramedConnection& connection, const HandoverRecord& record,
                const HandoverRecord::Channel& channel, const App& app);
    Endpoint& endpointOf(const HandoverRecord& record);

    Worker& worker_;
    LocConf nowhere_{}; // of connections whose endpoint is gone
    std::unique_ptr<EventSource> source_;
    Callback more_;
    Callback retry_;
};

} // namespace realtime
