// The module: what nginx calls, and when.
#include "nginx/conf.hpp"
#include "nginx/guard.hpp"
#include "nginx/worker.hpp"

namespace realtime {

namespace {

// Unconfigured, the module does nothing: no descriptors, no threads, no slots.
bool inUse(const MainConf* conf)
{
    return conf != nullptr && !conf->endpoints.empty();
}

ngx_int_t initModule(ngx_cycle_t* cycle)
{
    MainConf* conf = mainConf(cycle);
    if (ngx_test_config || !inUse(conf)) {
        return NGX_OK;
    }
    return guard<ngx_int_t>(cycle->log, NGX_ERROR, [&] { return beginGeneration(*conf, cycle->log); });
}

ngx_int_t initProcess(ngx_cycle_t* cycle)
{
    MainConf* conf = mainConf(cycle);
    bool serves =
        ngx_process == NGX_PROCESS_WORKER || ngx_process == NGX_PROCESS_SINGLE; // not the cache processes
    if (!serves || !inUse(conf)) {
        return NGX_OK;
    }
    return guard<ngx_int_t>(cycle->log, NGX_ERROR, [&]() -> ngx_int_t {
        new Worker(cycle, *conf); // it is Worker::current() from now on
        return NGX_OK;
    });
}

void exitProcess(ngx_cycle_t* cycle)
{
    guardVoid(cycle->log, [] { delete Worker::current(); });
}

ngx_http_module_t moduleContext = {
    addVariables,      /* preconfiguration */
    postconfiguration, /* postconfiguration */
    createMainConf,    /* create main configuration */
    initMainConf,      /* init main configuration */
    nullptr,           /* create server configuration */
    nullptr,           /* merge server configuration */
    createLocConf,     /* create location configuration */
    mergeLocConf,      /* merge location configuration */
};

} // namespace

} // namespace realtime

ngx_module_t ngx_http_realtime_module = {
    NGX_MODULE_V1,
    &realtime::moduleContext, /* module context */
    realtime::allCommands(),  /* module directives */
    NGX_HTTP_MODULE,          /* module type */
    nullptr,                  /* init master */
    realtime::initModule,     /* init module */
    realtime::initProcess,    /* init process */
    nullptr,                  /* init thread */
    nullptr,                  /* exit thread */
    realtime::exitProcess,    /* exit process */
    nullptr,                  /* exit master */
    NGX_MODULE_V1_PADDING,
};
