#include "broker/amqp/amqp_codec.hpp"

#include <algorithm>
#include <new>

namespace realtime {

namespace {

constexpr std::size_t FrameHead = 7, FrameEnd = 1; // 4.2.3: type, channel, size; and the end octet

void putInteger(char* out, std::uint64_t value, std::size_t bytes)
{
    for (std::size_t i = 0; i < bytes; ++i) {
        out[i] = static_cast<char>(value >> (8 * (bytes - 1 - i)));
    }
}

void putFrame(std::string& out, std::uint8_t type, amqp_channel_t channel, std::string_view payload)
{
    char head[FrameHead];
    putInteger(head, type, 1);
    putInteger(head + 1, channel, 2);
    putInteger(head + 3, payload.size(), 4);
    out.append(head, sizeof(head));
    out.append(payload);
    out.push_back(static_cast<char>(AMQP_FRAME_END));
}

} // namespace

AmqpDecoder::AmqpDecoder() : state_(amqp_new_connection())
{
    if (!state_) {
        throw std::bad_alloc();
    }
    // The library first expects a protocol header. Giving it one puts it where frames are decoded (the other way there
    // loses the first frame's eighth byte).
    std::string_view header("AMQP\0\0\x09\x01", 8);
    amqp_frame_t frame;
    next(header, frame);
}

AmqpDecoder::Result AmqpDecoder::next(std::string_view& input, amqp_frame_t& frame)
{
    amqp_maybe_release_buffers(state_.get()); // does nothing in the middle of a frame
    while (!input.empty()) {
        const int used = amqp_handle_input(state_.get(), amqpBytes(input), &frame);
        if (used <= 0) {
            return Result::Bad;
        }
        input.remove_prefix(static_cast<std::size_t>(used));
        if (frame.frame_type != 0) {
            return Result::Frame;
        }
    }
    return Result::More;
}

bool AmqpDecoder::setFrameMax(std::uint32_t bytes)
{
    return amqp_tune_connection(state_.get(), 1, static_cast<int>(bytes), 0) == AMQP_STATUS_OK;
}

bool AmqpEncoder::method(std::string& out, amqp_channel_t channel, amqp_method_number_t id, void* method)
{
    putInteger(scratch_.data(), id, 4);
    const std::size_t room = scratch_.size() - 4 - FrameHead - FrameEnd;
    const int size = amqp_encode_method(id, method, {room, scratch_.data() + 4});
    if (size < 0) {
        return false;
    }
    putFrame(out, AMQP_FRAME_METHOD, channel, {scratch_.data(), static_cast<std::size_t>(size) + 4});
    return true;
}

bool AmqpEncoder::header(std::string& out, amqp_channel_t channel, amqp_basic_properties_t& properties,
                         std::uint64_t bodySize)
{
    constexpr std::size_t Fixed = 12; // class, weight (0), size of the body
    putInteger(scratch_.data(), AMQP_BASIC_CLASS, 2);
    putInteger(scratch_.data() + 2, 0, 2);
    putInteger(scratch_.data() + 4, bodySize, 8);
    const std::size_t room = scratch_.size() - Fixed - FrameHead - FrameEnd;
    const int size = amqp_encode_properties(AMQP_BASIC_CLASS, &properties, {room, scratch_.data() + Fixed});
    if (size < 0) {
        return false;
    }
    putFrame(out, AMQP_FRAME_HEADER, channel, {scratch_.data(), static_cast<std::size_t>(size) + Fixed});
    return true;
}

void AmqpEncoder::body(std::string& out, amqp_channel_t channel, std::string_view body,
                       std::uint32_t frameMax)
{
    const std::size_t most = frameMax - FrameHead - FrameEnd;
    while (!body.empty()) {
        const auto piece = body.substr(0, most);
        putFrame(out, AMQP_FRAME_BODY, channel, piece);
        body.remove_prefix(piece.size());
    }
}

void AmqpEncoder::heartbeat(std::string& out)
{
    putFrame(out, AMQP_FRAME_HEARTBEAT, 0, {});
}

} // namespace realtime
