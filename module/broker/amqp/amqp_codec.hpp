// AMQP 0-9-1 frames as bytes, by rabbitmq-c's codec without its sockets: amqp_handle_input() decodes,
// amqp_encode_method() and amqp_encode_properties() encode.
//
// Why        rabbitmq-c 0.11 waits on its own socket in many places, some of them for ever (a publish once the receive
//            deadline has passed, see its issues 519, 780 and 788). A stream of our own around its codec cannot.
// Limits     the codec does not check what it encodes: strings that AMQP calls short must be at most 255 bytes here.
#pragma once

#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/framing.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#endif

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

namespace realtime {

inline constexpr std::size_t MaxShortString = 255;
inline constexpr std::uint32_t MinFrameSize = 4096; // AMQP 0-9-1, 4.2.3

inline amqp_bytes_t amqpBytes(std::string_view text)
{
    return {text.size(), const_cast<char*>(text.data())}; // the library's own type knows no const
}

inline std::string_view toView(amqp_bytes_t bytes)
{
    return {static_cast<const char*>(bytes.bytes), bytes.len};
}

// Entries of a table; views, as everything that is encoded.
inline amqp_table_entry_t tableEntry(std::string_view key, std::string_view value)
{
    amqp_table_entry_t entry;
    entry.key = amqpBytes(key);
    entry.value.kind = AMQP_FIELD_KIND_UTF8;
    entry.value.value.bytes = amqpBytes(value);
    return entry;
}

inline amqp_table_entry_t tableEntry(std::string_view key, std::int64_t value)
{
    amqp_table_entry_t entry;
    entry.key = amqpBytes(key);
    entry.value.kind = AMQP_FIELD_KIND_I64;
    entry.value.value.i64 = value;
    return entry;
}

inline amqp_table_entry_t trueEntry(std::string_view key)
{
    amqp_table_entry_t entry;
    entry.key = amqpBytes(key);
    entry.value.kind = AMQP_FIELD_KIND_BOOLEAN;
    entry.value.value.boolean = 1;
    return entry;
}

template <class Method> const Method& decoded(const amqp_method_t& method) // whose `id` says that it is one
{
    return *static_cast<const Method*>(method.decoded);
}

class AmqpDecoder {
public:
    enum class Result { Frame, More, Bad };

    AmqpDecoder(); // throws std::bad_alloc

    // Takes bytes off the front of `input` until a frame is complete (Frame: heartbeats too) or there are no more.
    // The frame's content lives until the next call.
    Result next(std::string_view& input, amqp_frame_t& frame);

    // After connection.tune: larger frames are Bad from now on. False if there is no memory.
    bool setFrameMax(std::uint32_t bytes);

private:
    struct Destroy {
        void operator()(amqp_connection_state_t state) const { amqp_destroy_connection(state); }
    };
    std::unique_ptr<std::remove_pointer_t<amqp_connection_state_t>, Destroy> state_;
};

// Appends frames to a buffer of bytes to be sent.
class AmqpEncoder {
public:
    // False, and nothing appended, if it does not fit into a frame of MinFrameSize (too many or too long names).
    [[nodiscard]] bool method(std::string& out, amqp_channel_t channel, amqp_method_number_t id,
                              void* method);
    [[nodiscard]] bool header(std::string& out, amqp_channel_t channel, amqp_basic_properties_t& properties,
                              std::uint64_t bodySize);
    void body(std::string& out, amqp_channel_t channel, std::string_view body, std::uint32_t frameMax);
    void heartbeat(std::string& out);

private:
    std::array<char, MinFrameSize> scratch_{};
};

} // namespace realtime
