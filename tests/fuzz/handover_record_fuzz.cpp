// What is read as a record is written the same again: there is one form of each, and no bytes of another.
#include "hub/handover_record.hpp"

#include "fuzz.hpp"

using namespace realtime;

std::vector<std::string> seeds()
{
    HandoverRecord plain;
    plain.from = {1, 2, 3};
    plain.zones = {{"main", 1}};
    plain.channels = {{"room", 0, 5, 6, 0, ""}};
    HandoverRecord pusher = plain;
    pusher.kind = HandoverRecord::Kind::Pusher;
    pusher.app = "shop";
    pusher.channels.push_back({"presence-room", 0, 7, 8, 9, "alice"});
    pusher.begun = "abc";
    pusher.unsent = "defg";
    pusher.clientEvents = {1000, 5};
    pusher.user = HandoverRecord::User{"alice", "{}", {{"bob", true}}, true, true, false};
    return {encodeHandover(plain), encodeHandover(pusher), "rtho", ""};
}

FUZZ_TARGET(handover_record)(const std::uint8_t* data, std::size_t size)
{
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    if (const auto record = decodeHandover(bytes)) {
        CHECK(encodeHandover(*record) == bytes);
        for (const auto& channel : record->channels) {
            CHECK(channel.zone < record->zones.size());
        }
    }
    return 0;
}
