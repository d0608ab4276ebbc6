// What a request asks, and the bodies that answer it.
#include "wire/pusher_rest.hpp"

#include "base/json_scan.hpp"
#include "base/json_text.hpp"
#include "base/utf8.hpp"

#include <algorithm>
#include <array>

namespace realtime::pusher {

namespace {

using Fault = std::optional<RestError>;

RestError badRequest(std::string message)
{
    return {400, std::move(message)};
}

RestError invalidChannel(std::string_view name)
{
    constexpr std::size_t Shown = 100;
    std::string message = "Invalid channel name: ";
    message += name.substr(0, utf8Prefix(name, Shown));
    return badRequest(std::move(message));
}

// --- info

std::string_view trim(std::string_view text)
{
    const std::size_t from = text.find_first_not_of(' ');
    return from == std::string_view::npos ? std::string_view()
                                          : text.substr(from, text.find_last_not_of(' ') - from + 1);
}

// Adds the attributes of a comma list. False if one of them is not known.
bool addInfo(std::string_view list, Info& info)
{
    info.asked = true;
    bool known = true;
    while (!list.empty()) {
        const std::size_t comma = std::min(list.find(','), list.size());
        const std::string_view name = trim(list.substr(0, comma));
        list.remove_prefix(std::min(comma + 1, list.size()));
        if (name == "user_count") {
            info.userCount = true;
        } else if (name == "subscription_count") {
            info.subscriptionCount = true;
        } else if (name == "cache") {
            info.cache = true;
        } else if (!name.empty()) {
            known = false;
        }
    }
    return known;
}

// `info`, and what SDKs make of a list: `info[]`, `info[0]`.
Fault readInfo(const Target& target, Info& info)
{
    for (const Parameter& parameter : target.query) {
        const bool isInfo = parameter.name == "info" || parameter.name.starts_with("info[");
        if (isInfo && !addInfo(parameter.value, info)) {
            return badRequest("Unknown attribute in info");
        }
    }
    return std::nullopt;
}

// --- events

Fault readName(const json::Value& name, Trigger& out)
{
    if (!name.isString()) {
        return badRequest("Expected name parameter to be a string");
    }
    out.name = json::unescape(name.raw);
    if (!validEventName(out.name)) {
        return badRequest("Expected name parameter to have 1 to 200 characters");
    }
    if (reservedEvent(out.name)) {
        return badRequest("The event name is reserved: " + out.name);
    }
    return std::nullopt;
}

Fault readData(const json::Value& data, const TriggerLimits& limits, Trigger& out)
{
    if (data.isNull()) {
        return badRequest("Expected data parameter to be a string");
    }
    out.data = data.isString() ? json::unescape(data.raw) : std::string(data.raw);
    if (out.data.size() > limits.maxDataBytes) {
        return RestError{413, "The data content of this event exceeds the allowed maximum (" +
                                  std::to_string(limits.maxDataBytes) + " bytes)"};
    }
    return std::nullopt;
}

Fault addChannel(const json::Value& channel, const TriggerLimits& limits, Trigger& out)
{
    if (!channel.isString()) {
        return badRequest("Expected channel names to be strings");
    }
    std::string name = json::unescape(channel.raw);
    if (checkChannelName(name, limits.maxChannelBytes) != NameCheck::Ok) {
        return invalidChannel(name);
    }
    if (std::find(out.channels.begin(), out.channels.end(), name) == out.channels.end()) {
        out.channels.push_back(std::move(name));
    }
    return std::nullopt;
}

Fault readChannels(const json::Value& channels, const TriggerLimits& limits, Trigger& out)
{
    if (!channels.isArray()) {
        return badRequest("Expected channels parameter to be an array of strings");
    }
    json::ArrayReader names(channels);
    std::size_t count = 0;
    while (const auto name = names.next()) {
        if (++count > limits.maxChannels) {
            return badRequest("Cannot publish to more than " + std::to_string(limits.maxChannels) +
                              " channels");
        }
        if (auto fault = addChannel(*name, limits, out)) {
            return fault;
        }
    }
    return count == 0 ? Fault(badRequest("Missing parameter: channels")) : std::nullopt;
}

Fault readSocketId(const json::Value& socketId, Trigger& out)
{
    if (socketId.isNull()) {
        return std::nullopt;
    }
    out.socketId = json::asString(socketId).value_or("");
    return validSocketId(out.socketId) ? std::nullopt : Fault(badRequest("Invalid socket id"));
}

Fault readInfo(const json::Value& info, Trigger& out)
{
    if (info.isNull()) {
        return std::nullopt;
    }
    if (!info.isString()) {
        return badRequest("Expected info parameter to be a string");
    }
    addInfo(json::unescape(info.raw), out.info);
    return std::nullopt;
}

enum class Form : std::uint8_t { Single, BatchItem };

Fault readTrigger(const json::Value& object, Form form, const TriggerLimits& limits, Trigger& out)
{
    if (!object.isObject()) {
        return badRequest("Expected a JSON object");
    }
    constexpr std::array<std::string_view, 6> Names{"name",    "data",      "channels",
                                                    "channel", "socket_id", "info"};
    std::array<json::Value, Names.size()> values;
    json::pick(object, Names, values);
    const auto& [name, data, channels, channel, socketId, info] = values;
    if (auto fault = readName(name, out)) {
        return fault;
    }
    const bool several = form == Form::Single && !channels.isNull();
    if (!several && channel.isNull()) {
        return badRequest(form == Form::Single ? "Missing parameter: channels"
                                               : "Missing parameter: channel");
    }
    if (auto fault = several ? readChannels(channels, limits, out) : addChannel(channel, limits, out)) {
        return fault;
    }
    if (auto fault = readSocketId(socketId, out)) {
        return fault;
    }
    if (auto fault = readInfo(info, out)) {
        return fault;
    }
    return readData(data, limits, out);
}

std::optional<json::Value> parseObject(std::string_view body)
{
    const auto value = json::parse(body);
    return value && value->isObject() ? value : std::nullopt;
}

// --- channels

Fault checkChannel(std::string_view name, std::size_t maxBytes)
{
    if (serverToUserId(name) || checkChannelName(name, maxBytes) != NameCheck::Ok) {
        return invalidChannel(name);
    }
    return std::nullopt;
}

// The members, without braces.
std::string members(const Attributes& attributes)
{
    std::string out;
    if (attributes.userCount) {
        out += "\"user_count\":" + std::to_string(*attributes.userCount);
    }
    if (attributes.subscriptionCount) {
        out += out.empty() ? "" : ",";
        out += "\"subscription_count\":" + std::to_string(*attributes.subscriptionCount);
    }
    return out;
}

} // namespace

std::string errorBody(const RestError& error)
{
    return "{\"error\":" + jsonString(error.message) + ",\"code\":" + std::to_string(error.status) + '}';
}

std::variant<Trigger, RestError> parseTrigger(std::string_view body, const TriggerLimits& limits)
{
    const auto object = parseObject(body);
    if (!object) {
        return badRequest("Invalid body: expected a JSON object");
    }
    Trigger trigger;
    if (auto fault = readTrigger(*object, Form::Single, limits, trigger)) {
        return *std::move(fault);
    }
    return trigger;
}

std::variant<std::vector<Trigger>, RestError> parseBatch(std::string_view body, const TriggerLimits& limits)
{
    const auto object = parseObject(body);
    if (!object) {
        return badRequest("Invalid body: expected a JSON object");
    }
    const json::Value batch = json::find(*object, "batch");
    if (!batch.isArray()) {
        return badRequest("Expected batch parameter to be an array");
    }
    std::vector<Trigger> triggers;
    json::ArrayReader items(batch);
    while (const auto item = items.next()) {
        if (triggers.size() == limits.maxBatch) {
            return badRequest("Cannot publish more than " + std::to_string(limits.maxBatch) +
                              " events in a batch");
        }
        if (auto fault = readTrigger(*item, Form::BatchItem, limits, triggers.emplace_back())) {
            return *std::move(fault);
        }
    }
    return triggers;
}

std::variant<ChannelsQuery, RestError> parseChannelsQuery(const Target& target)
{
    ChannelsQuery query;
    if (const std::string* prefix = target.find("filter_by_prefix")) {
        query.prefix = *prefix;
    }
    if (auto fault = readInfo(target, query.info)) {
        return *std::move(fault);
    }
    if (query.info.userCount && !query.prefix.starts_with("presence-")) {
        return badRequest(
            "user_count may only be requested for presence channels: filter_by_prefix must begin with "
            "presence-");
    }
    if (query.info.cache) {
        return badRequest("cache may only be requested for one channel");
    }
    return query;
}

std::variant<Info, RestError> parseChannelQuery(const Target& target, std::size_t maxChannelBytes)
{
    if (auto fault = checkChannel(target.name, maxChannelBytes)) {
        return *std::move(fault);
    }
    Info info;
    if (auto fault = readInfo(target, info)) {
        return *std::move(fault);
    }
    const ChannelKind kind = classify(target.name);
    if (info.userCount && !kind.presence) {
        return badRequest("user_count may only be requested for presence channels");
    }
    if (info.cache && !kind.cache) {
        return badRequest("cache may only be requested for cache channels");
    }
    return info;
}

std::optional<RestError> checkUsersQuery(const Target& target, std::size_t maxChannelBytes)
{
    if (auto fault = checkChannel(target.name, maxChannelBytes)) {
        return fault;
    }
    return classify(target.name).presence
               ? std::nullopt
               : Fault(badRequest("Users can only be retrieved for presence channels"));
}

std::optional<RestError> checkTerminate(const Target& target)
{
    return validUserId(target.name) ? std::nullopt : Fault(badRequest("Invalid user id"));
}

Attributes select(const Info& info, const ChannelKind& kind, std::uint64_t userCount,
                  std::uint64_t subscriptionCount)
{
    Attributes attributes;
    if (info.userCount && kind.presence) {
        attributes.userCount = userCount;
    }
    if (info.subscriptionCount) {
        attributes.subscriptionCount = subscriptionCount;
    }
    return attributes;
}

std::string channelsBody(std::span<const ChannelAttributes> channels)
{
    std::string out = "{\"channels\":{";
    for (std::size_t i = 0; i < channels.size(); ++i) {
        out += i > 0 ? "," : "";
        out += jsonString(channels[i].channel) + ":{" + members(channels[i].attributes) + '}';
    }
    return out + "}}";
}

std::string batchBody(std::span<const Attributes> events)
{
    std::string out = "{\"batch\":[";
    for (std::size_t i = 0; i < events.size(); ++i) {
        out += i > 0 ? "," : "";
        out += '{' + members(events[i]) + '}';
    }
    return out + "]}";
}

std::string channelBody(const ChannelState& state)
{
    std::string out = state.occupied ? "{\"occupied\":true" : "{\"occupied\":false";
    if (const std::string counts = members(state.attributes); !counts.empty()) {
        out += ',' + counts;
    }
    if (state.cacheAsked && state.cache) {
        out += ",\"cache\":{\"data\":" + jsonString(state.cache->data) +
               ",\"ttl\":" + std::to_string(state.cache->secondsLeft) + '}';
    } else if (state.cacheAsked) {
        out += ",\"cache\":null";
    }
    return out + '}';
}

std::string usersBody(std::span<const std::string_view> ids)
{
    std::string out = "{\"users\":[";
    for (std::size_t i = 0; i < ids.size(); ++i) {
        out += i > 0 ? "," : "";
        out += "{\"id\":" + jsonString(ids[i]) + '}';
    }
    return out + "]}";
}

} // namespace realtime::pusher
