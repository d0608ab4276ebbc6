#include "support/http2.hpp"

namespace realtime::testing {
namespace {

enum Type : unsigned {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    PingFrame,
    GoAway,
    WindowUpdate
};
constexpr unsigned EndStream = 1;
constexpr unsigned Ack = 1;
constexpr unsigned EndHeaders = 4;
constexpr std::uint32_t Cancel = 8;
constexpr std::uint32_t InitialWindow = 65535;

std::string bigEndian(std::uint64_t number, int bytes)
{
    std::string text;
    for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) {
        text += static_cast<char>(number >> static_cast<unsigned>(shift) & 0xFFU);
    }
    return text;
}

std::uint32_t number(std::string_view bytes)
{
    std::uint32_t value = 0;
    for (const char c : bytes) {
        value = value << 8U | static_cast<unsigned char>(c);
    }
    return value;
}

// A header without Huffman's code and without a place in the table.
std::string literal(std::string_view name, std::string_view value)
{
    return std::string(1, '\0')
        .append(bigEndian(name.size(), 1))
        .append(name)
        .append(bigEndian(value.size(), 1))
        .append(value);
}

// nginx begins with the status: one of the table's, or as text.
int statusOf(std::string_view head)
{
    while (!head.empty() && (static_cast<unsigned char>(head.front()) & 0xE0U) == 0x20) { // the table's size
        head.remove_prefix(1);
    }
    const auto first = head.empty() ? 0U : static_cast<unsigned char>(head.front());
    constexpr int Known[] = {200, 204, 206, 304, 400, 404, 500};
    if (first >= 0x88 && first <= 0x8E) {
        return Known[first - 0x88];
    }
    return head.size() < 5 ? 0 : std::stoi(std::string(head.substr(2, 3)));
}

} // namespace

Http2Connection::Http2Connection(std::uint16_t port, const Http2Options& options)
    : socket_(port, options.receiveBuffer)
{
    socket_.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    send(Settings, 0, 0, bigEndian(4, 2) + bigEndian(options.window, 4));
    openWindow(0, 0x3fffffff);
}

void Http2Connection::send(unsigned type, unsigned flags, std::uint32_t stream, std::string_view payload)
{
    socket_.send(bigEndian(payload.size(), 3) + bigEndian(type, 1) + bigEndian(flags, 1) +
                 bigEndian(stream, 4).append(payload));
}

std::uint32_t Http2Connection::request(std::string_view method, std::string_view path,
                                       std::string_view accept, unsigned flags)
{
    const std::uint32_t stream = nextStream_;
    nextStream_ += 2;
    send(Headers, flags | EndHeaders, stream,
         literal(":method", method) + literal(":scheme", "http") + literal(":path", path) +
             literal(":authority", "localhost") + literal("accept", accept));
    return stream;
}

std::uint32_t Http2Connection::get(std::string_view path, std::string_view accept)
{
    return request("GET", path, accept, EndStream);
}

std::uint32_t Http2Connection::post(std::string_view path, std::string_view body)
{
    expect(body.size() <= InitialWindow / 8, "a short body");
    const std::uint32_t stream = request("POST", path, "*/*", 0);
    send(Data, EndStream, stream, body);
    return stream;
}

void Http2Connection::reset(std::uint32_t stream)
{
    send(RstStream, 0, stream, bigEndian(Cancel, 4));
}

void Http2Connection::openWindow(std::uint32_t stream, std::uint32_t bytes)
{
    send(WindowUpdate, 0, stream, bigEndian(bytes, 4));
}

void Http2Connection::ping()
{
    send(PingFrame, 0, 0, "12345678");
}

void Http2Connection::receive(std::chrono::milliseconds patience)
{
    const std::string head = socket_.receiveBytes(9, patience);
    const std::string payload = socket_.receiveBytes(number(head.substr(0, 3)), patience);
    const unsigned flags = static_cast<unsigned char>(head[4]);
    const std::uint32_t id = number(head.substr(5)) & 0x7FFFFFFFU;
    switch (static_cast<unsigned char>(head[3])) {
    case Data:
        streams_[id].body += payload;
        streams_[id].ended = (flags & EndStream) != 0;
        break;
    case Headers:
        streams_[id].status = statusOf(payload);
        streams_[id].ended = (flags & EndStream) != 0;
        break;
    case RstStream:
        streams_[id].reset = !streams_[id].ended;
        break;
    case Settings:
        if ((flags & Ack) == 0) {
            send(Settings, Ack, 0, "");
        }
        break;
    case PingFrame:
        pongs_ += (flags & Ack) != 0 ? 1 : 0;
        break;
    case GoAway:
        goingAway_ = true;
        break;
    default:
        expect(static_cast<unsigned char>(head[3]) == WindowUpdate, "a frame of HTTP/2");
    }
}

bool Http2Connection::receiveAll()
{
    try {
        while (socket_.pending()) {
            receive();
        }
        return true;
    } catch (const PeerGone&) {
        return false;
    }
}

void Http2Connection::receiveToPong()
{
    const std::size_t before = pongs_;
    ping();
    while (pongs_ == before) {
        receive();
    }
}

void Http2Connection::receiveUntil(std::uint32_t stream, std::string_view text)
{
    while (streams_[stream].body.find(text) == std::string::npos) {
        expect(!streams_[stream].over(), "the stream goes on");
        receive();
    }
}

void Http2Connection::receiveToEnd(std::uint32_t stream)
{
    while (!streams_[stream].over()) {
        receive();
    }
}

} // namespace realtime::testing
