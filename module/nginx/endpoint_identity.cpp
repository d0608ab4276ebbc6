#include "nginx/endpoint_identity.hpp"

#include "nginx/str.hpp"

namespace realtime {

namespace {

std::string textOf(const LocConf& endpoint)
{
    const ngx_http_core_loc_conf_t& location = *endpoint.core;
    std::string text(view(endpoint.server->server_name));
    text += location.exact_match ? "\n=" : "\n";
    text += view(location.name);
    text += '\n';
    text += view(endpoint.words);
    return text;
}

} // namespace

void identifyEndpoints(MainConf& conf)
{
    std::map<std::string, std::size_t> alike;
    for (LocConf* endpoint : conf.endpoints) {
        std::string text = textOf(*endpoint);
        const std::size_t before = alike[text]++;
        auto added = conf.byIdentity.emplace(text + std::to_string(before), endpoint);
        endpoint->identity = added.first->first;
    }
}

} // namespace realtime
