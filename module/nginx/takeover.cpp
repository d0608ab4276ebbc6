#include "nginx/takeover.hpp"

#include "nginx/guard.hpp"
#include "nginx/handover_socket.hpp"
#include "nginx/worker.hpp"

#include "base/own_fd.hpp"

#include <algorithm>
#include <climits>
#include <fcntl.h>
#include <sys/resource.h>

namespace realtime {

namespace {

// A descriptor that does not fit is closed by the kernel, and its connection lost: so look before. The kernel gives
// the lowest free number, so that the last ones are free as long as there is room for as many.
bool descriptorsLeft()
{
    constexpr rlim_t Room = 64;
    static_assert(Room >= rlim_t{2} * Takeover::Share, "a connection may come with a file");
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) == -1 || limit.rlim_cur <= Room) {
        return false;
    }
    const rlim_t end = std::min<rlim_t>(limit.rlim_cur, INT_MAX);
    for (rlim_t fd : {end - Room, end - Room / 2, end - 1}) {
        if (fcntl(static_cast<int>(fd), F_GETFD) != -1) {
            return false;
        }
    }
    return true;
}

// Where nginx itself begins to close idle keep-alive connections, to have some for newcomers.
bool connectionsLeft()
{
    return ngx_cycle->free_connection_n > ngx_cycle->connection_n / 16;
}

} // namespace

Takeover::Takeover(Worker& worker) : worker_(worker), more_([this] { run(); }), retry_([this] { run(); })
{
    const LocConf& some = *worker.conf().endpoints.front();
    nowhere_.core = some.core;
    nowhere_.server = some.server;
    nowhere_.maxMessageBytes = some.maxMessageBytes;
    nowhere_.bufferBytes = some.bufferBytes;
    nowhere_.timeout = some.timeout;
    nowhere_.pingRate = some.pingRate;
}

Takeover::~Takeover()
{
    close();
}

void Takeover::open()
{
    HubLog& first = worker_.hub().log(0);
    if (isOpen() || ngx_exiting || first.log.handoverOut() == -1) {
        return;
    }
    source_ = std::make_unique<EventSource>(
        first.log.handoverOut(), [this] { run(); }, EventSource::Kind::Socket);
    first.log.offerTakeover(first.slot, worker_.conf().generation, HandoverVersion);
    more_.inNextTurn(); // what waited for a worker to come
}

void Takeover::close()
{
    if (isOpen()) {
        HubLog& first = worker_.hub().log(0);
        first.log.offerTakeover(first.slot, 0, 0);
        source_.reset();
    }
    more_.cancel();
    retry_.cancel();
}

void Takeover::run()
{
    HubLog& first = worker_.hub().log(0);
    // Those that come then are for the successors, also before this worker itself is told to go.
    if (ngx_exiting || first.log.generation() != worker_.conf().generation) {
        first.log.offerTakeover(first.slot, 0, 0);
        return;
    }
    if (takeShare()) {
        more_.inNextTurn();
    }
}

// Also where there is hardly room: what finds none is closed, and knows it.
void Takeover::takeBack()
{
    while (takeOne()) {
    }
}

bool Takeover::takeShare()
{
    if (!descriptorsLeft()) {
        retry_.after(RoomPause);
        return false;
    }
    for (int i = 0; i < Share; i++) {
        if (!connectionsLeft()) {
            retry_.after(RoomPause);
            return false;
        }
        if (!takeOne()) {
            return false;
        }
    }
    return true;
}

bool Takeover::takeOne()
{
    SharedLog& log = worker_.hub().log(0).log;
    Arrival arrival = takeConnection(log.handoverOut(), {worker_.readBuffer(), Worker::ReadBytes});
    if (arrival.status == Arrival::Status::None) {
        return false;
    }
    auto record = arrival.status == Arrival::Status::Came ? decodeHandover(arrival.record) : std::nullopt;
    if (!record) {
        OwnFd unusable(arrival.descriptor);
        worker_.counters().add(Counter::HandOverFailed);
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "realtime: a connection came without a usable record");
        return true;
    }
    guardVoid(ngx_cycle->log, [&] { adopt(*record, arrival.descriptor); });
    log.countTaken(record->from);
    return true;
}

Endpoint& Takeover::endpointOf(const HandoverRecord& record)
{
    const auto& known = worker_.conf().byIdentity;
    const auto found = known.find(record.location);
    return worker_.endpointOf(found != known.end() ? *found->second : nowhere_);
}

void Takeover::adopt(const HandoverRecord& record, int descriptor)
{
    Endpoint& endpoint = endpointOf(record);
    ngx_connection_t* c = Connection::openDescriptor(descriptor, endpoint);
    if (c == nullptr) {
        worker_.counters().add(Counter::HandOverFailed);
        return;
    }
    const AppConf* app = worker_.conf().app(record.app);
    auto owner = record.kind == HandoverRecord::Kind::Pusher
                     ? restorePusher(record, endpoint, c, app == nullptr ? nullptr : &app->app)
                     : restoreWebSocket(record, endpoint, c);
    Verdict verdict = resume(*owner, endpoint, record, app);
    FramedConnection& connection = *owner.release();
    if (verdict) {
        worker_.counters().add(Counter::HandOverFailed);
        connection.turnAway(*verdict);
    } else {
        worker_.counters().add(Counter::HandedOver);
    }
    connection.start();
}

// Those that are turned away get their subscriptions back as well: so they leave in an orderly manner.
Takeover::Verdict Takeover::resume(FramedConnection& connection, const Endpoint& endpoint,
                                   const HandoverRecord& record, const AppConf* app)
{
    bool good = connection.restore(record) && record.location == endpoint.conf->identity;
    if (app == nullptr) {
        return FramedConnection::TurnAway::NoSuchApp;
    }
    for (const HandoverRecord::Channel& channel : record.channels) {
        good = resume(connection, record, channel, app->app) && good;
    }
    bool pusher = record.kind == HandoverRecord::Kind::Pusher;
    good =
        good && (pusher || std::none_of(record.channels.begin(), record.channels.end(), [&](const auto& one) {
                     return app->app.reserves(one.name); // the app has got a key since
                 }));
    if (!good || (!pusher && record.channels.empty())) {
        return FramedConnection::TurnAway::Elsewhere;
    }
    connection.allResumed(record);
    return std::nullopt;
}

bool Takeover::resume(FramedConnection& connection, const HandoverRecord& record,
                      const HandoverRecord::Channel& channel, const App& app)
{
    const HandoverRecord::Zone& zone = record.zones[channel.zone];
    const std::uint32_t log = app.policyOf(channel.name).log;
    if (worker_.conf().zones[log]->name != zone.name) {
        return false; // it lives in another zone now: what has been there is not known here
    }
    SlotOwner from = record.from;
    from.slot = zone.slot;
    Position position{app.id,
                      channel.name,
                      log,
                      channel.epoch,
                      channel.lastOffset,
                      channel.historyUntil,
                      app.policyOf(channel.name).stream};
    JoinResult joined = worker_.hub().resume(connection, position, from, Worker::nowMs());
    return joined.status == Joined::Ok && connection.resumed(channel, *joined.subscription, from);
}

} // namespace realtime
