// What depends on nginx's own directives, which may stand below ours, and on the machine.
#include "nginx/conf.hpp"

#include "nginx/conf/arguments.hpp"

#include "broker/event_files.hpp"

#include <grp.h>
#include <set>

namespace realtime {

namespace {

const ngx_core_conf_t& coreOf(const ngx_cycle_t* cycle)
{
    return *reinterpret_cast<ngx_core_conf_t*>(ngx_get_conf(cycle->conf_ctx, ngx_core_module));
}

FileUser workersUser(const ngx_core_conf_t& core)
{
    if (!core.master || core.user == static_cast<ngx_uid_t>(NGX_CONF_UNSET_UINT)) {
        return currentFileUser();
    }
    FileUser user;
    user.id = core.user;
    user.name = core.username;
    int count = 0;
    getgrouplist(core.username, core.group, nullptr, &count); // says how many
    user.groups.resize(static_cast<std::size_t>(count));
    getgrouplist(core.username, core.group, user.groups.data(), &count);
    user.groups.resize(static_cast<std::size_t>(count));
    return user;
}

class Preparation {
public:
    Preparation(FileUser user, ngx_log_t* log) : user_(std::move(user)), log_(log) {}

    bool prepare(const BrokerConf& broker)
    {
        try {
            const BrokerConfig& config = broker.config;
            if (!config.spool.directory.empty()) {
                const auto missing = ngx_test_config ? IfMissing::Leave : IfMissing::Make;
                warn(prepareSpoolDirectory(config.spool.directory, user_, missing), broker.filesPlace);
            }
            if (const BrokerServer& server = config.servers.front();
                server.scheme == BrokerServer::Scheme::Sqlite) {
                warn(examineStore(server.path, user_), broker.filesPlace);
            }
            for (const std::string& file : std::set{config.tlsCa, config.tlsCert, config.tlsKey}) {
                warn(examineReadable(file, user_), broker.tlsPlace);
            }
            return true;
        } catch (const FileRefusal& refusal) {
            logAt(NGX_LOG_EMERG, log_, refusal.what(), broker.filesPlace);
            return false;
        }
    }

private:
    void warn(const std::vector<std::string>& warnings, const ConfPlace& place)
    {
        for (const std::string& text : warnings) {
            logAt(NGX_LOG_WARN, log_, text, place);
        }
    }

    FileUser user_;
    ngx_log_t* log_;
};

std::string secondsText(ngx_msec_t time)
{
    return time % 1000 == 0 ? joined({std::to_string(time / 1000), "s"})
                            : joined({std::to_string(time), "ms"});
}

// nginx closes everything that is open by then, at once.
void checkDrain(const MainConf& conf, const ngx_core_conf_t& core, ngx_log_t* log)
{
    if (core.shutdown_timeout == 0 || core.shutdown_timeout == NGX_CONF_UNSET_MSEC ||
        core.shutdown_timeout >= conf.drain) {
        return;
    }
    const ConfPlace& place = conf.drainPlace.line != 0 ? conf.drainPlace : conf.zones.front()->place;
    logAt(NGX_LOG_WARN, log,
          "\"worker_shutdown_timeout\" " + secondsText(core.shutdown_timeout) +
              " ends workers before they have asked all subscribers to reconnect: \"realtime_drain\" is " +
              secondsText(conf.drain),
          place);
}

} // namespace

ngx_int_t checkSurroundings(const MainConf& conf, ngx_log_t* log)
{
    const ngx_core_conf_t& core = coreOf(conf.zones.front()->cycle);
    checkDrain(conf, core, log);
    Preparation preparation(workersUser(core), log);
    bool good = true;
    for (const auto& broker : conf.brokers) {
        good = preparation.prepare(*broker) && good;
    }
    return good ? NGX_OK : NGX_ERROR;
}

} // namespace realtime
