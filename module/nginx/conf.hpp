// The configuration as the directives leave it. Lives in the cycle's pool; workers read it.
#pragma once

#include "nginx/ngx.hpp"

#include "app/app.hpp"
#include "base/own_fd.hpp"
#include "broker/broker.hpp"

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

extern ngx_module_t ngx_http_realtime_module;

namespace realtime {

// Where a name was written that can only be looked up when everything has been read.
struct ConfPlace {
    ngx_str_t file = ngx_null_string;
    ngx_uint_t line = 0;
};

struct ZoneConf {
    std::string name;
    ConfPlace place;
    std::size_t size = 0;
    ngx_shm_zone_t* shared = nullptr; // `data` points to the log's memory once it is laid out
    ngx_cycle_t* cycle = nullptr;     // of this configuration
    std::vector<AppQuotas> quotas;    // of all apps that may have channels there
    // What its log has the numbers of. All configurations that use the same memory own them together, so that the
    // master closes its own when the last of these goes; workers of an older one have theirs.
    std::shared_ptr<std::vector<OwnFd>> descriptors = std::make_shared<std::vector<OwnFd>>();

    std::span<std::byte> memory() const; // of its log, once the zone is mapped
};

struct BrokerConf {
    BrokerConfig config;
    ConfPlace place;
    ConfPlace filesPlace; // of the `server` with a file, or of `spool`
    ConfPlace tlsPlace;   // of `tls_ca` or `tls_cert`
    bool exchangeSet = false;
    bool used = false; // an app or its channels send events there

    bool hasExchange(std::string_view name) const;
};

struct AppConf {
    App app;
    ConfPlace place;
    bool declared = false; // by a block: the app `default` is there without one
    // Names in it, and where they stand.
    struct Reference {
        std::string name;
        std::string exchange; // of a broker, if one is named
        ConfPlace place;
    };
    std::vector<Reference> brokers;
    std::vector<Reference> zones;
    struct Delivery {
        std::size_t rule; // that says `deliver broker`
        ConfPlace place;
    };
    std::vector<Delivery> deliveries;
    std::vector<ConfPlace> rulePlaces; // beside app.rules
};

struct MainConf {
    std::vector<std::unique_ptr<ZoneConf>> zones; // the first is the default, and holds the counters
    std::vector<std::unique_ptr<BrokerConf>> brokers;
    std::vector<std::unique_ptr<AppConf>> apps;
    ngx_msec_t drain = NGX_CONF_UNSET_MSEC;
    ConfPlace drainPlace;
    std::size_t partialBytes = NGX_CONF_UNSET_SIZE; // realtime_partial
    std::vector<ngx_http_variable_t*> variables;    // ours
    std::uint64_t generation = 0; // how many configurations its first zone has seen, this one included
    std::vector<struct LocConf*> endpoints;                         // all locations of ours
    std::map<std::string, struct LocConf*, std::less<>> byIdentity; // the same, see endpoint_identity.hpp

    ZoneConf* zone(std::string_view name) const;
    BrokerConf* broker(std::string_view name) const;
    AppConf* app(std::string_view id) const;
};

enum EndpointKind : ngx_uint_t {
    Publish = 1,
    Subscribe = 2,
    PubSub = Publish | Subscribe,
    Status = 4,
    PusherWebSocket = 8,
    PusherApi = 16,
};
enum class Ack : ngx_uint_t { Log, Stored, Broker };

// Plain, since the directive table uses offsetof().
struct LocConf {
    ngx_uint_t kind;       // EndpointKind; 0: not ours
    ngx_array_t* channels; // of ngx_http_complex_value_t
    ngx_http_complex_value_t* event;
    ngx_str_t appId;
    ConfPlace place;           // of the endpoint directive
    ngx_str_t words;           // of that directive, a line each
    std::string_view identity; // in MainConf::byIdentity
    AppConf* app;
    Ack ack;
    bool echo;
    Rate rate;      // realtime_pubsub: of messages of one WebSocket
    bool watch;     // realtime_status: also what is in channels
    bool publishes; // realtime_status: test events
    ngx_http_handler_pt handler;
    bool displaced; // another directive's handler

    std::size_t maxMessageBytes;
    ConfPlace maxMessagePlace; // where that is said; no file: nowhere
    std::size_t bufferBytes;
    ngx_msec_t ping;
    double pingRate; // pongs a second
    ngx_msec_t timeout;
    ngx_flag_t deflate;
    Rate subscribeRate; // of one connection, as the next two
    Rate publishRate;
    std::size_t historyRate;           // bytes a second; 0: no limit
    std::vector<std::string>* origins; // null: the endpoint's default
    ConfPlace keepAlivePlace;          // where `ping` or `timeout` stands; line 0: nowhere

    ngx_http_core_loc_conf_t* core; // of this location
    ngx_http_core_srv_conf_t* server;
};

inline MainConf& mainConf(ngx_http_request_t* r)
{
    return *static_cast<MainConf*>(ngx_http_get_module_main_conf(r, ngx_http_realtime_module));
}

inline LocConf& locConf(ngx_http_request_t* r)
{
    return *static_cast<LocConf*>(ngx_http_get_module_loc_conf(r, ngx_http_realtime_module));
}

// Null if the cycle has no http block.
MainConf* mainConf(ngx_cycle_t* cycle);

ConfPlace placeOf(ngx_conf_t* cf);

// --- how it is read: conf/ ---------------------------------------------------------------------------------------

// realtime_broker and realtime_app, see conf/block.hpp
char* brokerBlock(ngx_conf_t* cf, ngx_command_t* cmd, void* data);
char* appBlock(ngx_conf_t* cf, ngx_command_t* cmd, void* data);
// What can be looked at only when all of nginx's configuration is known, since `user` and others may stand below our
// directives: the files of brokers as the workers will see them. What cannot be used is refused, what is missing made (but
// not by `nginx -t`). In the master; logs.
ngx_int_t checkSurroundings(const MainConf& conf, ngx_log_t* log);

// endpoints' content handlers
ngx_int_t publishHandler(ngx_http_request_t* r);
ngx_int_t subscribeHandler(ngx_http_request_t* r);
ngx_int_t pubsubHandler(ngx_http_request_t* r);
ngx_int_t statusHandler(ngx_http_request_t* r);
ngx_int_t pusherWebSocketHandler(ngx_http_request_t* r);
ngx_int_t pusherApiHandler(ngx_http_request_t* r);

// variables.cpp
ngx_int_t addVariables(ngx_conf_t* cf);
ngx_int_t installVariables(ngx_conf_t* cf);

// origins.cpp: see answerPreflight()
ngx_int_t installPreflights(ngx_conf_t* cf);

// zone.cpp
char* zoneDirective(ngx_conf_t* cf, ngx_command_t* cmd, void* data);
// In the master, before it forks the workers of a configuration: gives it its number.
ngx_int_t beginGeneration(MainConf& conf, ngx_log_t* log);

// for the module's table
ngx_command_t* allCommands();
void* createMainConf(ngx_conf_t* cf);
char* initMainConf(ngx_conf_t* cf, void* data);
void* createLocConf(ngx_conf_t* cf);
char* mergeLocConf(ngx_conf_t* cf, void* parent, void* child);
ngx_int_t postconfiguration(ngx_conf_t* cf);

} // namespace realtime
