#include "publisher.hpp"

#include "errors.hpp"

#include "base/json_text.hpp"

namespace realtime::cli {

Publisher::Publisher(const Endpoint& endpoint, const Transport& transport, Credentials credentials)
    : endpoint_(endpoint), credentials_(std::move(credentials)), http_(transport)
{
    if (endpoint.kind == Endpoint::Kind::PusherSocket) {
        throw UsageError("/app/KEY is for subscribing; publish at /apps/ID, or at a location");
    }
    if (endpoint.kind == Endpoint::Kind::PusherApi) {
        if (!credentials_.complete()) {
            throw UsageError(
                "the REST API needs the app's key and secret: --key or $REALTIME_KEY, --secret-file or "
                "$REALTIME_SECRET");
        }
        endpoint_.path =
            endpoint.path.substr(0, endpoint.path.find("/apps/")) + "/apps/" + endpoint.name + "/events";
    }
}

HttpAnswer Publisher::publish(const Publication& publication)
{
    if (endpoint_.kind == Endpoint::Kind::PusherApi) {
        const std::string body =
            "{\"name\":" + jsonString(publication.event.empty() ? "message" : publication.event) +
            ",\"channel\":" + jsonString(publication.channel) + ",\"data\":" + jsonString(publication.data) +
            '}';
        Endpoint target = endpoint_;
        target.path = credentials_.signedPath("POST", endpoint_.path, body);
        return http_.post(target.httpUrl(), body, {"Content-Type: application/json"});
    }
    Endpoint target = endpoint_.of(publication.channel);
    if (!publication.event.empty()) {
        target = target.with("event", publication.event);
    }
    std::vector<std::string> headers{
        "Content-Type: " + (publication.contentType.empty() ? "text/plain" : publication.contentType)};
    if (!publication.key.empty()) {
        headers.push_back("Idempotency-Key: " + publication.key);
    }
    return http_.post(target.httpUrl(), publication.data, headers);
}

} // namespace realtime::cli
