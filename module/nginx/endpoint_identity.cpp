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

std::string identityOf(const MainConf& conf, const LocConf& endpoint)
{
    std::string text = textOf(endpoint);
    std::size_t before = 0;
    for (const LocConf* one : conf.endpoints) {
        if (one == &endpoint) {
            break;
        }
        before += textOf(*one) == text ? 1 : 0;
    }
    return text + std::to_string(before);
}

const LocConf* findEndpoint(const MainConf& conf, std::string_view identity)
{
    for (const LocConf* one : conf.endpoints) {
        if (identityOf(conf, *one) == identity) {
            return one;
        }
    }
    return nullptr;
}

} // namespace realtime
