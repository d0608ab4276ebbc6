// Whatever comes as another node's message: it is understood within its bounds or refused, and what was understood is
// understood the same when it is said again.
#include "base/json_scan.hpp"
#include "base/utf8.hpp"
#include "wire/cluster_message.hpp"

#include "fuzz.hpp"

using namespace realtime;
using namespace realtime::cluster;

namespace {

bool sameKept(const Row& a, const Row& b)
{
    if (!a.kept || !b.kept) {
        return !a.kept && !b.kept;
    }
    return a.kept->event == b.kept->event && a.kept->data == b.kept->data &&
           a.kept->contentType == b.kept->contentType && a.kept->ageMs == b.kept->ageMs;
}

bool same(const Row& a, const Row& b)
{
    return a.app == b.app && a.channel == b.channel && a.subscribers == b.subscribers &&
           a.present == b.present && a.gone == b.gone && sameKept(a, b);
}

void checkRow(const Row& row)
{
    CHECK(!row.app.empty() && row.app.size() <= cluster::MaxAppBytes && validUtf8(row.app));
    CHECK(!row.channel.empty() && row.channel.size() <= cluster::MaxChannelBytes && validUtf8(row.channel));
    for (const auto& [id, info] : row.present) {
        CHECK(!id.empty() && id.size() <= cluster::MaxMemberIdBytes && validUtf8(id));
        CHECK(info.size() <= cluster::MaxMemberInfoBytes && json::parse(info));
    }
    for (const std::string& id : row.gone) {
        CHECK(!id.empty() && id.size() <= cluster::MaxMemberIdBytes);
    }
    CHECK(!row.kept || (row.kept->ageMs >= 0 && validUtf8(row.kept->data)));
}

void checkState(const Message& message)
{
    CHECK(message.rows.size() <= MaxRows);
    std::string rows;
    for (const Row& one : message.rows) {
        checkRow(one);
        rows += (rows.empty() ? "" : ",") + row(one);
    }
    const auto again = parse(state(message.round, message.first, message.last, rows));
    CHECK(again && again->type == Message::Type::State);
    CHECK(again->round == message.round && again->first == message.first && again->last == message.last);
    CHECK(again->rows.size() == message.rows.size());
    for (std::size_t i = 0; i < message.rows.size(); ++i) {
        CHECK(same(again->rows[i], message.rows[i]));
    }
}

} // namespace

std::vector<std::string> seeds()
{
    Row room;
    room.app = "shop";
    room.channel = "presence-room";
    room.subscribers = 2;
    room.present = {{"u-1", R"({"name":"Zo\u00eb"})"}, {"u-2", "7"}};
    room.gone = {"u-3"};
    Row cache;
    cache.app = "a";
    cache.channel = "cache-b";
    cache.kept = Kept{"price", "{\"eur\":1}\n", "application/json", 1000};
    return {beat(),
            want(),
            terminate("shop", "u-1"),
            state(0, false, false, row(room)),
            state(12, true, true, row(room) + ',' + row(cache)),
            R"({"v":1,"t":"state","round":1,"first":true,"last":false,"rows":[["a","\ud800",0,[],[]]]})",
            ""};
}

FUZZ_TARGET(cluster_message)(const std::uint8_t* data, std::size_t size)
{
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto message = parse(text);
    if (!message) {
        return 0;
    }
    CHECK(text.size() <= MaxMessageBytes);
    CHECK(message->rows.empty() || message->type == Message::Type::State);
    switch (message->type) {
    case Message::Type::Beat:
        CHECK(parse(beat())->type == message->type);
        break;
    case Message::Type::Want:
        CHECK(parse(want())->type == message->type);
        break;
    case Message::Type::State:
        checkState(*message);
        break;
    case Message::Type::Terminate: {
        const auto again = parse(terminate(message->app, message->user));
        CHECK(again && again->app == message->app && again->user == message->user);
    }
    }
    return 0;
}
