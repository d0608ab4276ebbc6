// What the nodes of a cluster tell each other comes back as it was said, and what no node says is refused.
#include "wire/cluster_message.hpp"

#include "base/json_text.hpp"

#include <stdexcept>

#include "testing.hpp"

using namespace realtime;
using namespace realtime::cluster;
using Type = Message::Type;

namespace {

Message accepted(std::string_view text)
{
    auto message = parse(text);
    if (!message) {
        throw std::runtime_error("refused: " + std::string(text.substr(0, 200)));
    }
    return std::move(*message);
}

void refused(std::string_view text)
{
    if (parse(text)) {
        throw std::runtime_error("accepted: " + std::string(text.substr(0, 200)));
    }
}

Row presenceRow()
{
    Row row;
    row.app = "shop";
    row.channel = "presence-room";
    row.subscribers = 3;
    row.present = {{"u-1", R"({"name":"Zo\u00eb \"Z\""})"}, {"u-2", "{}"}};
    row.gone = {"u-3", "u-4"};
    return row;
}

// A state with these rows, of a round's only message.
std::string stateOf(std::string_view rows)
{
    return state(1, true, true, rows);
}

// A row in which all is right but for what is given.
std::string rowText(std::string_view app = R"("shop")", std::string_view channel = R"("room")",
                    std::string_view subscribers = "1", std::string_view present = "[]",
                    std::string_view gone = "[]", std::string_view more = "")
{
    std::string text = "[";
    for (const std::string_view part : {app, channel, subscribers, present, gone}) {
        text.append(text.size() == 1 ? "" : ",").append(part);
    }
    return text.append(more) + ']';
}

std::string quoted(std::size_t bytes)
{
    return '"' + std::string(bytes, 'x') + '"';
}

} // namespace

// --- what is said is understood

TEST(beats_and_wants_come_back)
{
    assert_true(accepted(beat()).type == Type::Beat);
    assert_true(accepted(want()).type == Type::Want);
}

TEST(a_termination_comes_back_with_its_names)
{
    const Message message = accepted(terminate("shop", "Zo\xc3\xab \"\\\n"));
    assert_true(message.type == Type::Terminate);
    assert_text_equal(message.app, "shop");
    assert_text_equal(message.user, "Zo\xc3\xab \"\\\n");
}

TEST(a_state_comes_back_row_by_row)
{
    Row counted;
    counted.app = "default";
    counted.channel = "a \"room\" \xe2\x82\xac";
    counted.subscribers = 10'000'000;
    const Message message =
        accepted(state(1700000000000, true, false, row(presenceRow()) + ',' + row(counted)));
    assert_true(message.type == Type::State);
    assert_int_equal(message.round, 1700000000000);
    assert_true(message.first);
    assert_false(message.last);
    assert_int_equal(message.rows.size(), 2);
    const Row& room = message.rows[0];
    assert_text_equal(room.app, "shop");
    assert_text_equal(room.channel, "presence-room");
    assert_int_equal(room.subscribers, 3);
    assert_true(room.present == presenceRow().present);
    assert_true(room.gone == presenceRow().gone);
    assert_false(room.kept.has_value());
    assert_text_equal(message.rows[1].channel, counted.channel);
    assert_int_equal(message.rows[1].subscribers, 10'000'000);
    assert_true(message.rows[1].present.empty() && message.rows[1].gone.empty());
}

TEST(what_a_cache_channel_keeps_comes_back)
{
    Row row = presenceRow();
    row.kept = Kept{"price", "{\"eur\":1}\n\x01", "application/json", 86'400'000};
    const Message message = accepted(stateOf(cluster::row(row)));
    const Kept& kept = message.rows.at(0).kept.value();
    assert_text_equal(kept.event, "price");
    assert_text_equal(kept.data, "{\"eur\":1}\n\x01");
    assert_text_equal(kept.contentType, "application/json");
    assert_int_equal(kept.ageMs, 86'400'000);
}

TEST(a_round_may_have_nothing_to_tell)
{
    const Message message = accepted(state(7, false, true, ""));
    assert_true(message.rows.empty());
    assert_false(message.first);
    assert_true(message.last);
    assert_int_equal(accepted(state(0, false, false, "")).round, 0);
}

TEST(what_a_later_version_adds_to_a_message_is_ignored)
{
    assert_true(accepted(R"({"t":"beat","more":[{}],"v":1})").type == Type::Beat);
}

// --- what nobody says is refused

TEST(other_versions_and_types_are_refused)
{
    for (const std::string_view text :
         {"", "{", "null", "[]", "1", R"("beat")", "{}", R"({"v":1})", R"({"t":"beat"})",
          R"({"v":2,"t":"beat"})", R"({"v":"1","t":"beat"})", R"({"v":1,"t":"Beat"})", R"({"v":1,"t":null})",
          R"({"v":1,"t":"beat"} x)", "{\"v\":1,\"t\":\"beat\xff\"}"}) {
        refused(text);
    }
}

TEST(a_state_without_its_frame_is_refused)
{
    for (const std::string_view text :
         {R"({"v":1,"t":"state"})", R"({"v":1,"t":"state","round":1,"first":true,"last":true})",
          R"({"v":1,"t":"state","round":-1,"first":true,"last":true,"rows":[]})",
          R"({"v":1,"t":"state","round":1.5,"first":true,"last":true,"rows":[]})",
          R"({"v":1,"t":"state","round":1,"first":1,"last":true,"rows":[]})",
          R"({"v":1,"t":"state","round":1,"first":true,"rows":[]})",
          R"({"v":1,"t":"state","round":1,"first":true,"last":true,"rows":{}})",
          R"({"v":1,"t":"state","round":99999999999999999999,"first":true,"last":true,"rows":[]})"}) {
        refused(text);
    }
}

TEST(a_row_of_another_shape_is_refused)
{
    accepted(stateOf(rowText()));
    for (const std::string& row :
         {std::string("{}"), std::string("7"), std::string("[]"), std::string(R"(["shop","room"])"),
          std::string(R"(["shop","room",1])"), std::string(R"(["shop","room",1,[]])"), rowText("7"),
          rowText("\"\""), rowText(R"("shop")", "null"), rowText(R"("shop")", "\"\""),
          rowText(R"("shop")", R"("room")", "-1"), rowText(R"("shop")", R"("room")", "10000001"),
          rowText(R"("shop")", R"("room")", "1.5"), rowText(R"("shop")", R"("room")", "\"1\""),
          rowText(R"("shop")", R"("room")", "1", "{}"), rowText(R"("shop")", R"("room")", "1", "[]", "null"),
          rowText(R"("shop")", R"("room")", "1", "[]", "[]", ",null"),
          rowText(R"("shop")", R"("room")", "1", "[]", "[]", R"(,["e","d","t",1],1)")}) {
        refused(stateOf(row));
    }
    refused(stateOf(rowText() + ",7")); // one of several
}

TEST(a_member_of_another_shape_is_refused)
{
    const auto withMember = [](std::string_view member) {
        return stateOf(rowText(R"("shop")", R"("room")", "1", "[" + std::string(member) + "]"));
    };
    accepted(withMember(R"(["u","{}"])"));
    for (const std::string_view member :
         {"7", R"("u")", "[]", R"(["u"])", R"(["","{}"])", R"([7,"{}"])", R"(["u",{}])", R"(["u","{}",1])",
          R"(["u",""])", R"(["u","{"])", R"(["u","{} {}"])"}) {
        refused(withMember(member));
    }
    for (const std::string_view gone : {"[7]", R"([""])", R"([["u"]])", R"(["u",null])"}) {
        refused(stateOf(rowText(R"("shop")", R"("room")", "1", "[]", gone)));
    }
}

TEST(a_kept_event_of_another_shape_is_refused)
{
    const auto withKept = [](std::string_view kept) {
        return stateOf(rowText(R"("shop")", R"("room")", "1", "[]", "[]", ',' + std::string(kept)));
    };
    accepted(withKept(R"(["e","d","t",0])"));
    for (const std::string_view kept :
         {"[]", R"(["e","d","t"])", R"(["e","d","t",-1])", R"(["e","d","t","1"])", R"(["e","d","t",1.5])",
          R"(["e",{},"t",1])", R"(["e","d","t",1,1])"}) {
        refused(withKept(kept));
    }
}

TEST(a_termination_without_its_names_is_refused)
{
    refused(R"({"v":1,"t":"terminate"})");
    refused(R"({"v":1,"t":"terminate","app":"shop"})");
    refused(R"({"v":1,"t":"terminate","app":"shop","user":7})");
}

// --- bounds

TEST(names_may_be_as_long_as_they_are_and_no_longer)
{
    const auto one = R"("x")";
    accepted(stateOf(rowText(quoted(MaxAppBytes))));
    refused(stateOf(rowText(quoted(MaxAppBytes + 1))));
    accepted(stateOf(rowText(one, quoted(MaxChannelBytes))));
    refused(stateOf(rowText(one, quoted(MaxChannelBytes + 1))));
    const auto member = [&](std::size_t id, std::size_t info) { // a string as JSON has its quotes too
        return stateOf(rowText(one, one, "1", "[[" + quoted(id) + ',' + jsonString(quoted(info - 2)) + "]]"));
    };
    accepted(member(MaxMemberIdBytes, MaxMemberInfoBytes));
    refused(member(MaxMemberIdBytes + 1, MaxMemberInfoBytes));
    refused(member(MaxMemberIdBytes, MaxMemberInfoBytes + 1));
    accepted(stateOf(rowText(one, one, "1", "[]", '[' + quoted(MaxMemberIdBytes) + ']')));
    refused(stateOf(rowText(one, one, "1", "[]", '[' + quoted(MaxMemberIdBytes + 1) + ']')));
    const auto kept = [&](std::size_t event, std::size_t type) {
        return stateOf(
            rowText(one, one, "1", "[]", "[]", ",[" + quoted(event) + R"(,"d",)" + quoted(type) + ",1]"));
    };
    accepted(kept(255, 255));
    refused(kept(256, 255));
    refused(kept(255, 256));
    accepted(terminate(std::string(MaxAppBytes, 'x'), std::string(MaxMemberIdBytes, 'x')));
    refused(terminate(std::string(MaxAppBytes + 1, 'x'), "u"));
    refused(terminate("shop", std::string(MaxMemberIdBytes + 1, 'x')));
}

TEST(rows_and_members_count_together)
{
    const auto rowsOf = [](std::size_t rows, std::size_t members) {
        std::string present, all;
        for (std::size_t i = 0; i < members; ++i) {
            present += (i == 0 ? "" : ",") + std::string(R"(["u","1"])");
        }
        for (std::size_t i = 0; i < rows; ++i) {
            all += i == 0 ? rowText(R"("a")", R"("c")", "1", '[' + present + ']')
                          : ',' + rowText(R"("a")", R"("c")");
        }
        return stateOf(all);
    };
    assert_int_equal(accepted(rowsOf(MaxRows, 0)).rows.size(), MaxRows);
    refused(rowsOf(MaxRows + 1, 0));
    assert_int_equal(accepted(rowsOf(1, MaxRows - 1)).rows[0].present.size(), MaxRows - 1);
    refused(rowsOf(1, MaxRows));
    refused(rowsOf(MaxRows - 10, 11));
}

TEST(a_message_beyond_the_bound_is_not_looked_at)
{
    const std::string text = beat();
    accepted(text + std::string(MaxMessageBytes - text.size(), ' '));
    refused(text + std::string(MaxMessageBytes - text.size() + 1, ' '));
}

TEST(nesting_is_bounded)
{
    refused(stateOf(std::string(100'000, '[')));
    refused(R"({"v":1,"t":"beat","x":[[[[[[[]]]]]]]})");
}

TEST_MAIN()
