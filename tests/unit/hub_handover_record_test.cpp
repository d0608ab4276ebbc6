// The record of a connection that moves: written and read back, and nothing else taken for one.
#include "hub/handover_record.hpp"

#include "testing.hpp"

using namespace realtime;
using namespace realtime::testing;

namespace {

HandoverRecord full()
{
    HandoverRecord record;
    record.kind = HandoverRecord::Kind::Pusher;
    record.from = {3, 4711, 987654321};
    record.app = "shop";
    record.location = "example.org\n/app/\nrealtime_pusher\nwebsocket\n0";
    record.connectionId = 0x0123456789abcdef;
    record.idleMs = 1234;
    record.zones = {{"main", 3}, {"other", 5}};
    record.channels = {{"room", 0, 77, 5, 0, ""}, {"presence-r\xC3\xB6om", 1, ~0ULL, 9, 8, "alice"}};
    record.publishEvent = "said";
    record.deflate = true;
    record.parser = std::string("\x01\x00\xff", 3);
    record.partialMs = 59'000;
    record.begun = "rest of a frame";
    record.unsent = std::string(100'000, 'u');
    record.authorizeMs = 17;
    record.clientEvents = {9500, 20};
    record.publishes = {1, 1};
    record.allPublishes = {-2'000'000, 3};
    record.subscribes = {-1, 0xffffffff};
    record.history = {8'000'000'000'000, 4};
    record.user = HandoverRecord::User{"alice", "{}", {{"bob", true}, {"carol", false}}, true, false, true};
    return record;
}

} // namespace

TEST(a_record_is_read_as_it_was_written)
{
    for (const HandoverRecord& record : {HandoverRecord{}, full()}) {
        HandoverRecord written = record;
        written.from.slot = 3;
        const auto read = decodeHandover(encodeHandover(written));
        assert_true(read.has_value());
        assert_true(*read == written);
    }
}

TEST(a_record_that_is_cut_or_longer_is_none)
{
    HandoverRecord record = full();
    record.unsent = "short";
    const std::string bytes = encodeHandover(record);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        assert_false(decodeHandover(std::string_view(bytes).substr(0, size)).has_value());
    }
    assert_false(decodeHandover(bytes + '\0').has_value());
}

TEST(another_version_is_not_understood)
{
    std::string bytes = encodeHandover(full());
    bytes[4]++;
    assert_false(decodeHandover(bytes).has_value());
    assert_false(decodeHandover("some other bytes").has_value());
}

TEST(what_points_nowhere_is_refused)
{
    HandoverRecord record = full();
    record.channels[1].zone = 2;
    assert_false(decodeHandover(encodeHandover(record)).has_value());
    record = full();
    record.zones[0].slot = SharedLog::MaxSlots;
    assert_false(decodeHandover(encodeHandover(record)).has_value());
    record = full();
    record.channels[0].name = std::string(MaxChannelBytes + 1, 'c');
    assert_false(decodeHandover(encodeHandover(record)).has_value());
    record = full();
    record.channels[0].name = "\xff";
    assert_false(decodeHandover(encodeHandover(record)).has_value());
    record = full();
    record.app = std::string(MaxAppBytes + 1, 'a');
    assert_false(decodeHandover(encodeHandover(record)).has_value());
    record = full();
    record.user->id.clear();
    assert_false(decodeHandover(encodeHandover(record)).has_value());
}

TEST(a_promise_of_many_elements_is_not_believed)
{
    HandoverRecord record;
    record.from.slot = 0;
    std::string bytes = encodeHandover(record);
    // magic, version, kind, owner, two empty strings, id, idle: the number of zones is next.
    const std::size_t zones = 4 + 4 + 1 + 16 + 4 + 4 + 8 + 4;
    for (std::size_t i = 0; i < 4; ++i) {
        bytes[zones + i] = '\x7f';
    }
    assert_false(decodeHandover(bytes).has_value());
}

TEST_MAIN()
