// realtime_pusher api: the REST API of the Pusher protocol. What is asked and how it is answered is in
// wire/pusher_rest; this carries it out.
#include "nginx/body.hpp"
#include "nginx/conf.hpp"
#include "nginx/guard.hpp"
#include "nginx/publish.hpp"
#include "nginx/request_context.hpp"
#include "nginx/response.hpp"
#include "nginx/str.hpp"
#include "nginx/worker.hpp"
#include "node/cluster.hpp"
#include "node/pusher_channels.hpp"

#include "wire/pusher_path.hpp"
#include "wire/pusher_rest.hpp"

#include <algorithm>
#include <variant>

namespace realtime {

namespace {

constexpr off_t MaxBodyBytes = 1 << 20; // ten events of 10 KiB, escaped at the worst

ngx_int_t refuse(ngx_http_request_t* r, const pusher::RestError& error)
{
    Worker::current()->counters().add(Counter::PublishInvalid);
    ngx_str_t message = borrow(error.message);
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0, "realtime: API call refused with %d: %V", error.status,
                  &message);
    if (!error.allow.empty()) {
        addHeader(r, "Allow", error.allow);
    }
    return respond(r, static_cast<ngx_uint_t>(error.status), "application/json", pusher::errorBody(error));
}

ngx_int_t refuseForNow(ngx_http_request_t* r)
{
    addHeader(r, "Retry-After", "1");
    Worker::current()->counters().add(Counter::PublishRefused);
    return respond(r, NGX_HTTP_SERVICE_UNAVAILABLE, "application/json",
                   pusher::errorBody({503, "The event cannot be stored now"}));
}

ngx_int_t succeed(ngx_http_request_t* r, std::string_view body)
{
    return respond(r, NGX_HTTP_OK, "application/json", body);
}

// One signed call on behalf of an app.
class Call {
public:
    Call(ngx_http_request_t* r, const App& app, const pusher::Target& target)
        : r_(r), app_(app), target_(target)
    {
    }

    ngx_int_t carryOut(std::string_view body)
    {
        switch (target_.endpoint) {
        case pusher::Endpoint::Events:
            return events(body);
        case pusher::Endpoint::BatchEvents:
            return batch(body);
        case pusher::Endpoint::Channels:
            return listChannels();
        case pusher::Endpoint::Channel:
            return oneChannel();
        case pusher::Endpoint::ChannelUsers:
            return users();
        case pusher::Endpoint::TerminateConnections:
            return terminate();
        }
        return NGX_ERROR;
    }

private:
    const SharedLog& logOf(std::string_view channel) const
    {
        return Worker::current()->hub().log(app_.policyOf(channel).log).log;
    }

    std::optional<ChannelInfo> infoOf(std::string_view channel) const
    {
        return logOf(channel).find(app_.id, channel);
    }

    static Publication publicationOf(const pusher::Trigger& trigger, std::string_view channel)
    {
        Publication publication;
        publication.channel = channel;
        publication.event = trigger.name;
        publication.contentType = "application/json";
        publication.data = trigger.data;
        publication.origin = trigger.socketId;
        publication.timeMs = Worker::nowMs();
        publication.door = Door::Signed;
        return publication;
    }

    // Asked of all before the first is published.
    bool fits(const pusher::Trigger& trigger) const
    {
        return std::all_of(trigger.channels.begin(), trigger.channels.end(), [&](const std::string& channel) {
            return Worker::current()->fits(app_, publicationOf(trigger, channel));
        });
    }

    ngx_int_t refuseTooLarge()
    {
        return refuse(r_, {413, "The event is larger than the zone or a broker can ever take"});
    }

    // Published, or why not all of it is.
    PublishStatus publish(const pusher::Trigger& trigger)
    {
        Worker& worker = *Worker::current();
        for (const std::string& channel : trigger.channels) {
            const Publication publication = publicationOf(trigger, channel);
            Published published = worker.publish(app_, publication);
            if (published.status != PublishStatus::Published) {
                return published.status;
            }
            worker.counters().add(Counter::PublishedHttp);
            worker.counters().add(Counter::PublishedBytes, trigger.data.size());
            RequestContext& context = contextOf(r_);
            context.channel = copyTo(r_->pool, channel);
            context.event = copyTo(r_->pool, trigger.name);
            if (published.handBack.empty()) {
                context.messageId = copyTo(r_->pool, toString(published.id));
            }
            context.subscribers = published.subscribers;
        }
        return PublishStatus::Published;
    }

    ngx_int_t notPublished(PublishStatus status)
    {
        return status == PublishStatus::Reserved ? refuse(r_, {400, std::string(ReservedName)})
                                                 : refuseForNow(r_);
    }

    pusher::Attributes attributesOf(const pusher::Info& asked, std::string_view channel) const
    {
        auto info = infoOf(channel);
        return pusher::select(asked, pusher::classify(channel), info ? info->members : 0,
                              info ? info->subscribers : 0);
    }

    ngx_int_t events(std::string_view body)
    {
        auto parsed = pusher::parseTrigger(body);
        if (const auto* error = std::get_if<pusher::RestError>(&parsed)) {
            return refuse(r_, *error);
        }
        const auto& trigger = std::get<pusher::Trigger>(parsed);
        if (!fits(trigger)) {
            return refuseTooLarge();
        }
        if (const PublishStatus status = publish(trigger); status != PublishStatus::Published) {
            return notPublished(status);
        }
        if (!trigger.info.asked) {
            return succeed(r_, pusher::EmptyBody);
        }
        std::vector<pusher::ChannelAttributes> channels;
        for (const std::string& channel : trigger.channels) {
            channels.push_back({channel, attributesOf(trigger.info, channel)});
        }
        return succeed(r_, pusher::channelsBody(channels));
    }

    ngx_int_t batch(std::string_view body)
    {
        auto parsed = pusher::parseBatch(body);
        if (const auto* error = std::get_if<pusher::RestError>(&parsed)) {
            return refuse(r_, *error);
        }
        const auto& triggers = std::get<std::vector<pusher::Trigger>>(parsed);
        if (!std::all_of(triggers.begin(), triggers.end(), [this](const auto& one) { return fits(one); })) {
            return refuseTooLarge();
        }
        for (const pusher::Trigger& trigger : triggers) {
            if (const PublishStatus status = publish(trigger); status != PublishStatus::Published) {
                return notPublished(status);
            }
        }
        bool asked =
            std::any_of(triggers.begin(), triggers.end(), [](const auto& one) { return one.info.asked; });
        if (!asked) {
            return succeed(r_, pusher::EmptyBody);
        }
        std::vector<pusher::Attributes> attributes;
        attributes.reserve(triggers.size());
        for (const pusher::Trigger& trigger : triggers) {
            attributes.push_back(attributesOf(trigger.info, trigger.channels.front()));
        }
        return succeed(r_, pusher::batchBody(attributes));
    }

    ngx_int_t listChannels()
    {
        auto parsed = pusher::parseChannelsQuery(target_);
        if (const auto* error = std::get_if<pusher::RestError>(&parsed)) {
            return refuse(r_, *error);
        }
        struct Occupied final : SharedLog::ChannelVisitor {
            std::string_view app, prefix;
            std::vector<std::pair<std::string, ChannelInfo>> found;
            bool visit(const SharedLog::ChannelRow& row) override
            {
                if (row.app == app && row.info.subscribers > 0 && row.channel.starts_with(prefix) &&
                    pusher::checkChannelName(row.channel) == pusher::NameCheck::Ok &&
                    !row.channel.starts_with('#')) {
                    found.emplace_back(row.channel, row.info);
                }
                return true;
            }
        };
        const auto& query = std::get<pusher::ChannelsQuery>(parsed);
        Occupied occupied;
        occupied.app = app_.id;
        occupied.prefix = query.prefix;
        Hub& hub = Worker::current()->hub();
        for (std::uint32_t i = 0; i < hub.logCount(); i++) {
            hub.log(i).log.forEachChannel(occupied);
        }
        std::vector<pusher::ChannelAttributes> channels;
        for (const auto& [channel, info] : occupied.found) {
            channels.push_back({channel, pusher::select(query.info, pusher::classify(channel), info.members,
                                                        info.subscribers)});
        }
        return succeed(r_, pusher::channelsBody(channels));
    }

    ngx_int_t oneChannel()
    {
        auto parsed = pusher::parseChannelQuery(target_);
        if (const auto* error = std::get_if<pusher::RestError>(&parsed)) {
            return refuse(r_, *error);
        }
        const auto& asked = std::get<pusher::Info>(parsed);
        auto info = infoOf(target_.name);
        pusher::ChannelState state;
        state.occupied = info && info->subscribers > 0;
        state.attributes = attributesOf(asked, target_.name);
        state.cacheAsked = asked.cache;
        RecordArena arena;
        LogRecord record;
        if (asked.cache && info &&
            Worker::current()->readKept(app_.policyOf(target_.name).log, info->channel, arena, record)) {
            auto left = (record.timeMs + Worker::KeptMs - Worker::nowMs()) / 1000;
            state.cache =
                pusher::CachedEvent{record.data, static_cast<std::uint64_t>(std::max<std::int64_t>(left, 0))};
        }
        return succeed(r_, pusher::channelBody(state));
    }

    ngx_int_t users()
    {
        if (auto error = pusher::checkUsersQuery(target_)) {
            return refuse(r_, *error);
        }
        std::vector<Member> members;
        if (auto info = infoOf(target_.name)) {
            members = logOf(target_.name).members(info->channel);
        }
        std::vector<std::string_view> ids;
        ids.reserve(members.size());
        for (const Member& member : members) {
            ids.push_back(member.userId);
        }
        return succeed(r_, pusher::usersBody(ids));
    }

    ngx_int_t terminate()
    {
        if (auto error = pusher::checkTerminate(target_)) {
            return refuse(r_, *error);
        }
        Worker& worker = *Worker::current();
        worker.pusherChannels().terminate(app_, target_.name);
        if (worker.cluster() != nullptr) {
            worker.cluster()->terminate(app_, target_.name);
        }
        return succeed(r_, pusher::EmptyBody);
    }

    ngx_http_request_t* r_;
    const App& app_;
    const pusher::Target& target_;
};

const App* appOf(const MainConf& conf, const pusher::Target& target)
{
    const std::string* key = target.find("auth_key");
    for (const auto& one : conf.apps) {
        const PusherSettings& settings = one->app.pusher;
        bool named = !target.appId.empty()
                         ? one->app.id == target.appId
                         : key != nullptr && pusher::findKey(settings.credentials, *key) != nullptr;
        if (named && !settings.credentials.empty()) {
            return &one->app;
        }
    }
    return nullptr;
}

// What nginx has matched with its locations says which app is asked for, the path as it came what was signed and where names
// begin and end. A path in which the two do not agree, because dots or slashes were resolved in it, is none.
std::variant<pusher::Target, pusher::RestError> targetOf(ngx_http_request_t* r)
{
    const std::string_view uri = view(r->uri);
    std::string_view given = view(r->unparsed_uri);
    const std::string_view path = given.substr(0, given.find('?'));
    const auto mounted = pusher::mountedAt(prefixOf(r), uri, {"apps", "users"});
    const auto begins = mounted ? pusher::undecodedAt(path, uri.substr(*mounted)) : std::nullopt;
    if (!begins) {
        return pusher::RestError{404, "Not found"};
    }
    return pusher::parseTarget(view(r->method_name), given, *begins);
}

ngx_int_t answer(ngx_http_request_t* r)
{
    if (bodySize(r) > MaxBodyBytes) {
        return refuse(r, {413, "The request is too large"});
    }
    auto parsed = targetOf(r);
    if (const auto* error = std::get_if<pusher::RestError>(&parsed)) {
        return refuse(r, *error);
    }
    const auto& target = std::get<pusher::Target>(parsed);
    const App* app = appOf(Worker::current()->conf(), target);
    if (app == nullptr) {
        return refuse(r, {404, "Unknown app"});
    }
    contextOf(r).app = borrow(app->id);
    if (app->pusher.disabled) {
        return refuse(r, {403, "Application disabled"});
    }
    std::string buffer;
    std::string_view body = gatherBody(r, buffer);
    auto signer =
        pusher::verifySignature(target, view(r->method_name), body, app->pusher.credentials, ngx_time());
    if (const auto* error = std::get_if<pusher::RestError>(&signer)) {
        return refuse(r, *error);
    }
    return Call(r, *app, target).carryOut(body);
}

void onApiBody(ngx_http_request_t* r)
{
    ngx_http_finalize_request(
        r, guard<ngx_int_t>(r->connection->log, NGX_HTTP_INTERNAL_SERVER_ERROR, [&] { return answer(r); }));
}

} // namespace

ngx_int_t pusherApiHandler(ngx_http_request_t* r)
{
    return guard<ngx_int_t>(r->connection->log, NGX_HTTP_INTERNAL_SERVER_ERROR, [&]() -> ngx_int_t {
        contextOf(r).transport = ngx_string("http");
        if (r->headers_in.content_length_n > MaxBodyBytes) {
            return refuse(r, {413, "The request is too large"});
        }
        ngx_int_t rc = ngx_http_read_client_request_body(r, onApiBody);
        return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
    });
}

} // namespace realtime
