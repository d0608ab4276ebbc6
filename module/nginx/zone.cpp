// Shared memory zones: where the logs are, and the descriptors that wake their readers.
#include "nginx/conf.hpp"

#include "nginx/guard.hpp"
#include "nginx/handover_socket.hpp"
#include "nginx/str.hpp"

#include "log/shared_log.hpp"

#include <sys/eventfd.h>
#include <unistd.h>
#include <utility>

namespace realtime {

namespace {

// nginx keeps its slab header at the start of a zone and looks at it when a worker dies: the log begins behind it.
std::span<std::byte> logMemory(const ngx_shm_zone_t* zone)
{
    constexpr std::size_t Alignment = 64;
    std::size_t offset = (sizeof(ngx_slab_pool_t) + ngx_pagesize - 1) / ngx_pagesize * ngx_pagesize;
    static_assert(Alignment <= 4096);
    return {reinterpret_cast<std::byte*>(zone->shm.addr) + offset, zone->shm.size - offset};
}

ngx_int_t makeWakeDescriptors(ZoneConf& zone, SharedLog& shared, ngx_log_t* log)
{
    for (std::uint32_t slot = 0; slot < shared.slots(); slot++) {
        if (shared.wakeFd(slot) != -1) {
            continue; // made for the generation before: workers of both hold it
        }
        OwnFd fd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
        if (fd.get() == -1) {
            ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                          "realtime: eventfd() failed for zone \"%s\", which needs %uD descriptors",
                          zone.name.c_str(), shared.slots());
            return NGX_ERROR;
        }
        shared.setWakeFd(slot, fd.get());
        zone.descriptors->push_back(std::move(fd));
    }
    return NGX_OK;
}

// Made by the master, for all workers that it forks. Here, since here a configuration can still be refused.
ngx_int_t makeDescriptors(ZoneConf& zone, SharedLog& shared, ngx_log_t* log)
{
    const MainConf* conf = mainConf(zone.cycle);
    if (ngx_test_config || conf == nullptr || conf->endpoints.empty()) {
        return NGX_OK;
    }
    if (makeWakeDescriptors(zone, shared, log) != NGX_OK) {
        return NGX_ERROR;
    }
    return conf->zones.front().get() == &zone ? makeHandoverSockets(shared, *zone.descriptors, log) : NGX_OK;
}

std::uint32_t slotsOf(const ZoneConf& zone)
{
    auto* core = reinterpret_cast<ngx_core_conf_t*>(ngx_get_conf(zone.cycle->conf_ctx, ngx_core_module));
    // Several generations live side by side after reloads.
    const auto slots = std::max(64U, 4 * static_cast<std::uint32_t>(core->worker_processes));
    return std::min(slots, SharedLog::MaxSlots);
}

std::size_t logBytes(std::size_t zoneBytes)
{
    return zoneBytes + ngx_pagesize -
           (sizeof(ngx_slab_pool_t) + ngx_pagesize - 1) / ngx_pagesize * ngx_pagesize;
}

// May an event that is published there be of this zone? A channel with variables can be any.
bool reaches(const LocConf& endpoint, const MainConf& conf, const ZoneConf& zone)
{
    const auto isThis = [&](std::uint32_t log) { return conf.zones[log].get() == &zone; };
    if ((endpoint.kind & Publish) == 0) {
        return false;
    }
    const App& app = endpoint.app->app;
    const auto& channel = *static_cast<ngx_http_complex_value_t*>(endpoint.channels->elts);
    if (channel.lengths == nullptr) {
        return isThis(app.policyOf(view(channel.value)).log);
    }
    return isThis(app.log) || std::any_of(app.ruleLogs.begin(), app.ruleLogs.end(), isThis);
}

// Advice: how large the zone must be for such messages. Empty if none can be large enough.
std::string largerZone(const ZoneConf& zone, std::size_t messageBytes)
{
    constexpr std::size_t M = std::size_t{1} << 20;
    constexpr std::size_t Most = std::size_t{64} << 10; // of M
    for (std::size_t size = zone.size / M + 1; size <= Most; size++) {
        if (SharedLog::maxDataBytes(logBytes(size * M), slotsOf(zone)) >= messageBytes) {
            return ", or make the zone " + std::to_string(size) + "m";
        }
    }
    return {};
}

// An event that realtime_max_message_size lets in and the zone can never take would be refused for no reason that its
// publisher could see.
bool messagesFit(const ZoneConf& zone, const SharedLog& log, ngx_log_t* errorLog)
{
    const MainConf* conf = mainConf(zone.cycle);
    if (conf == nullptr) {
        return true;
    }
    const std::size_t most = log.maxDataBytes();
    for (const LocConf* endpoint : conf->endpoints) {
        const ConfPlace& place = endpoint->maxMessagePlace;
        if (place.file.len == 0 || endpoint->maxMessageBytes <= most || !reaches(*endpoint, *conf, zone)) {
            continue;
        }
        ngx_log_error(
            NGX_LOG_EMERG, errorLog, 0,
            "\"realtime_max_message_size\" is more than realtime_zone \"%s\" takes from the endpoint in "
            "%V:%ui: write at most %uzk%s in %V:%ui",
            zone.name.c_str(), &endpoint->place.file, endpoint->place.line, most / 1024,
            largerZone(zone, endpoint->maxMessageBytes).c_str(), &place.file, place.line);
        return false;
    }
    return true;
}

ngx_int_t initZone(ngx_shm_zone_t* zone, void* oldData)
{
    auto* conf = static_cast<ZoneConf*>(zone->data);
    return guard<ngx_int_t>(zone->shm.log, NGX_ERROR, [&]() -> ngx_int_t {
        const MainConf* main = mainConf(conf->cycle);
        if (main != nullptr && main->zones.front().get() == conf &&
            checkSurroundings(*main, zone->shm.log) != NGX_OK) {
            return NGX_ERROR;
        }
        auto memory = logMemory(zone);
        if (oldData != nullptr) {
            if (auto known = SharedLog::attach(memory)) { // a reload: both generations go on in the same log
                conf->descriptors = static_cast<const ZoneConf*>(oldData)->descriptors;
                return messagesFit(*conf, *known, zone->shm.log)
                           ? makeDescriptors(*conf, *known, zone->shm.log)
                           : NGX_ERROR;
            }
        }
        if (oldData != nullptr) {
            ngx_log_error(NGX_LOG_WARN, zone->shm.log, 0,
                          "realtime_zone \"%s\" was laid out by another build of the module: history is lost",
                          conf->name.c_str());
        }
        SharedLog::Options options;
        options.slots = slotsOf(*conf);
        SharedLog fresh = SharedLog::create(memory, options);
        return messagesFit(*conf, fresh, zone->shm.log) ? makeDescriptors(*conf, fresh, zone->shm.log)
                                                        : NGX_ERROR;
    });
}

} // namespace

// realtime_zone NAME SIZE   http
char* zoneDirective(ngx_conf_t* cf, ngx_command_t*, void* data)
{
    auto& conf = *static_cast<MainConf*>(data);
    auto* arguments = static_cast<ngx_str_t*>(cf->args->elts);
    ssize_t size = ngx_parse_size(&arguments[2]);

    if (arguments[1].len == 0) {
        return const_cast<char*>("has an empty name");
    }
    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size \"%V\": name and size are wanted, as in \"main 32m\"",
                           &arguments[2]);
        return static_cast<char*>(NGX_CONF_ERROR);
    }
    if (size < static_cast<ssize_t>(SharedLog::MinimumBytes)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "realtime_zone \"%V\" is too small: at least 1m",
                           &arguments[1]);
        return static_cast<char*>(NGX_CONF_ERROR);
    }
    return guard<char*>(cf->log, static_cast<char*>(NGX_CONF_ERROR), [&]() -> char* {
        auto zone = std::make_unique<ZoneConf>();
        zone->name = view(arguments[1]);
        zone->place = placeOf(cf);
        zone->size = static_cast<std::size_t>(size);
        for (const auto& other : conf.zones) {
            if (other->name == zone->name) {
                return const_cast<char*>("is duplicate");
            }
        }
        // Its own name, so that it meets no zone of another module, and room for nginx's slab header.
        ngx_str_t shmName = copyTo(cf->pool, "realtime:" + zone->name);
        zone->cycle = cf->cycle;
        zone->shared =
            ngx_shared_memory_add(cf, &shmName, zone->size + ngx_pagesize, &ngx_http_realtime_module);
        if (zone->shared == nullptr) {
            return static_cast<char*>(NGX_CONF_ERROR);
        }
        zone->shared->init = initZone;
        zone->shared->data = zone.get();
        conf.zones.push_back(std::move(zone));
        return NGX_CONF_OK;
    });
}

std::span<std::byte> ZoneConf::memory() const
{
    return logMemory(shared);
}

ngx_int_t beginGeneration(MainConf& conf, ngx_log_t* log)
{
    if (conf.zones.empty()) {
        return NGX_OK;
    }
    auto first = SharedLog::attach(conf.zones.front()->memory());
    if (!first) {
        ngx_log_error(NGX_LOG_EMERG, log, 0, "realtime_zone \"%s\" holds no log",
                      conf.zones.front()->name.c_str());
        return NGX_ERROR;
    }
    conf.generation = first->nextGeneration();
    return NGX_OK;
}

} // namespace realtime
