#include "load/message.hpp"

#include <charconv>
#include <cstdio>

namespace realtime::bench {

namespace {

constexpr std::size_t PublisherDigits = 8;
constexpr std::size_t NumberDigits = 16;

template <class Value> bool parse(std::string_view text, Value& value)
{
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    return result.ec == std::errc() && result.ptr == text.data() + text.size();
}

} // namespace

std::string encode(const Message& message)
{
    char head[PublisherDigits + NumberDigits + 1];
    std::snprintf(head, sizeof(head), "%08x%016llx", message.publisher,
                  static_cast<unsigned long long>(message.number));
    std::string text = head;
    text.resize(MessageBytes, 'x');
    return text;
}

std::optional<Message> decode(std::string_view text)
{
    Message message;
    if (text.size() != MessageBytes || !parse(text.substr(0, PublisherDigits), message.publisher) ||
        !parse(text.substr(PublisherDigits, NumberDigits), message.number)) {
        return std::nullopt;
    }
    return message;
}

std::string maskedFrame(std::string_view text)
{
    constexpr unsigned char Mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    std::string frame = "\x81";
    if (text.size() < 126) {
        frame += static_cast<char>(0x80 | text.size());
    } else {
        frame += static_cast<char>(0x80 | 126); // 16 bits of length follow
        frame += static_cast<char>(text.size() >> 8);
        frame += static_cast<char>(text.size() & 0xff);
    }
    frame.append(reinterpret_cast<const char*>(Mask), sizeof(Mask));
    for (std::size_t i = 0; i < text.size(); i++) {
        frame += static_cast<char>(static_cast<unsigned char>(text[i]) ^ Mask[i % 4]);
    }
    return frame;
}

} // namespace realtime::bench
