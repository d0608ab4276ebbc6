#include "wire/cluster_message.hpp"

#include "base/json_scan.hpp"
#include "base/json_text.hpp"

#include <array>

namespace realtime::cluster {

namespace {

constexpr std::int64_t MostSubscribers = 10'000'000;
constexpr std::size_t Depth = 6;
constexpr std::size_t MaxLabelBytes = 255; // of events and content types, as AMQP has them

bool takeText(const json::Value& value, std::size_t most, std::string& out)
{
    auto text = json::asString(value);
    if (!text || text->size() > most) {
        return false;
    }
    out = std::move(*text);
    return true;
}

// The elements of an array one after the other; what is missing reads as absent.
json::Value nextOf(json::ArrayReader& reader)
{
    return reader.next().value_or(json::Value{});
}

bool readPresent(const json::Value& value, Row& row, std::size_t& budget)
{
    json::ArrayReader members(value);
    while (const auto member = members.next()) {
        json::ArrayReader parts(*member);
        std::string id, info;
        if (budget-- == 0 || !takeText(nextOf(parts), MaxMemberIdBytes, id) || id.empty() ||
            !takeText(nextOf(parts), MaxMemberInfoBytes, info) || parts.next() || !json::parse(info)) {
            return false;
        }
        row.present.emplace_back(std::move(id), std::move(info));
    }
    return value.isArray();
}

bool readGone(const json::Value& value, Row& row, std::size_t& budget)
{
    json::ArrayReader members(value);
    while (const auto member = members.next()) {
        std::string id;
        if (budget-- == 0 || !takeText(*member, MaxMemberIdBytes, id) || id.empty()) {
            return false;
        }
        row.gone.push_back(std::move(id));
    }
    return value.isArray();
}

bool readKept(const json::Value& value, Row& row)
{
    json::ArrayReader parts(value);
    Kept kept;
    const bool texts = takeText(nextOf(parts), MaxLabelBytes, kept.event) &&
                       takeText(nextOf(parts), MaxMessageBytes, kept.data) &&
                       takeText(nextOf(parts), MaxLabelBytes, kept.contentType);
    const auto age = json::asInteger(nextOf(parts));
    if (!texts || !age || *age < 0 || parts.next()) {
        return false;
    }
    kept.ageMs = *age;
    row.kept = std::move(kept);
    return true;
}

bool readRow(const json::Value& value, Row& row, std::size_t& budget)
{
    json::ArrayReader parts(value);
    if (!takeText(nextOf(parts), MaxAppBytes, row.app) || row.app.empty() ||
        !takeText(nextOf(parts), MaxChannelBytes, row.channel) || row.channel.empty()) {
        return false;
    }
    const auto subscribers = json::asInteger(nextOf(parts));
    if (!subscribers || *subscribers < 0 || *subscribers > MostSubscribers) {
        return false;
    }
    row.subscribers = static_cast<std::uint32_t>(*subscribers);
    if (!readPresent(nextOf(parts), row, budget) || !readGone(nextOf(parts), row, budget)) {
        return false;
    }
    const auto kept = parts.next();
    return !kept || (readKept(*kept, row) && !parts.next());
}

bool readState(const json::Value& object, Message& message)
{
    const std::array<std::string_view, 4> names{"round", "first", "last", "rows"};
    std::array<json::Value, 4> values;
    json::pick(object, names, values);
    const auto isFlag = [](const json::Value& value) {
        return value.type == json::Type::True || value.type == json::Type::False;
    };
    const auto round = json::asInteger(values[0]);
    if (!round || *round < 0 || !isFlag(values[1]) || !isFlag(values[2]) || !values[3].isArray()) {
        return false;
    }
    message.round = static_cast<std::uint64_t>(*round);
    message.first = values[1].type == json::Type::True;
    message.last = values[2].type == json::Type::True;
    std::size_t budget = MaxRows;
    json::ArrayReader rows(values[3]);
    while (const auto row = rows.next()) {
        if (budget-- == 0 || !readRow(*row, message.rows.emplace_back(), budget)) {
            return false;
        }
    }
    return true;
}

std::string head(std::string_view type)
{
    return R"({"v":1,"t":")" + std::string(type) + '"';
}

} // namespace

std::optional<Message> parse(std::string_view text)
{
    if (text.size() > MaxMessageBytes) {
        return std::nullopt;
    }
    const auto object = json::parse(text, Depth);
    if (!object || !object->isObject() || json::asInteger(json::find(*object, "v")) != 1) {
        return std::nullopt;
    }
    Message message;
    const auto type = json::asString(json::find(*object, "t"));
    if (type == "beat") {
        message.type = Message::Type::Beat;
    } else if (type == "want") {
        message.type = Message::Type::Want;
    } else if (type == "state") {
        message.type = Message::Type::State;
        if (!readState(*object, message)) {
            return std::nullopt;
        }
    } else if (type == "terminate") {
        message.type = Message::Type::Terminate;
        if (!takeText(json::find(*object, "app"), MaxAppBytes, message.app) ||
            !takeText(json::find(*object, "user"), MaxMemberIdBytes, message.user)) {
            return std::nullopt;
        }
    } else {
        return std::nullopt;
    }
    return message;
}

std::string beat()
{
    return head("beat") + '}';
}

std::string want()
{
    return head("want") + '}';
}

std::string terminate(std::string_view app, std::string_view user)
{
    return head("terminate") + ",\"app\":" + jsonString(app) + ",\"user\":" + jsonString(user) + '}';
}

std::string row(const Row& row)
{
    std::string text = "[" + jsonString(row.app) + ',' + jsonString(row.channel) + ',' +
                       std::to_string(row.subscribers) + ",[";
    for (const auto& [id, info] : row.present) {
        text += text.back() == '[' ? "[" : ",[";
        appendJsonString(text, id);
        text += ',';
        appendJsonString(text, info);
        text += ']';
    }
    text += "],[";
    for (const std::string& id : row.gone) {
        text += text.back() == '[' ? "" : ",";
        appendJsonString(text, id);
    }
    text += ']';
    if (row.kept) {
        text += ",[" + jsonString(row.kept->event) + ',' + jsonString(row.kept->data) + ',' +
                jsonString(row.kept->contentType) + ',' + std::to_string(row.kept->ageMs) + ']';
    }
    return text + ']';
}

std::string state(std::uint64_t round, bool first, bool last, std::string_view rows)
{
    return head("state") + ",\"round\":" + std::to_string(round) +
           ",\"first\":" + (first ? "true" : "false") + ",\"last\":" + (last ? "true" : "false") +
           ",\"rows\":[" + std::string(rows) + "]}";
}

} // namespace realtime::cluster
