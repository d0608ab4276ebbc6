// An id has one text form: what is read is written the same, and what is written is read the same.
#include "base/message_id.hpp"

#include <algorithm>
#include <cstring>

#include "fuzz.hpp"

using namespace realtime;

std::vector<std::string> seeds()
{
    return {"0-0", "abc123-17", "3w5e11264sgsf-18446744073709551615", "3w5e11264sgsg-1", "00-1", "a-01",
            "-",   "A-1"};
}

FUZZ_TARGET(message_id)(const std::uint8_t* data, std::size_t size)
{
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto id = parseMessageId(text)) {
        CHECK(toString(*id) == text);
    }
    MessageId id;
    std::uint8_t bytes[16] = {};
    std::copy_n(data, std::min(size, sizeof bytes), bytes);
    std::memcpy(&id.epoch, bytes, 8);
    std::memcpy(&id.offset, bytes + 8, 8);
    char out[MaxMessageIdBytes];
    const std::size_t length = formatMessageId(id, out);
    CHECK(length <= sizeof out);
    CHECK(parseMessageId({out, length}) == id);
    return 0;
}
