#include "broker/amqp/message_assembler.hpp"

#include <charconv>

namespace realtime {

namespace {

const amqp_field_value_t* find(const amqp_basic_properties_t& properties, std::string_view name)
{
    if ((properties._flags & AMQP_BASIC_HEADERS_FLAG) == 0) {
        return nullptr;
    }
    for (int i = 0; i < properties.headers.num_entries; ++i) {
        if (toView(properties.headers.entries[i].key) == name) {
            return &properties.headers.entries[i].value;
        }
    }
    return nullptr;
}

std::string_view textOf(const amqp_basic_properties_t& properties, std::string_view name)
{
    const auto* value = find(properties, name);
    return value != nullptr && value->kind == AMQP_FIELD_KIND_UTF8 ? toView(value->value.bytes)
                                                                   : std::string_view();
}

std::uint64_t numberOf(const amqp_basic_properties_t& properties, std::string_view name)
{
    const auto* value = find(properties, name);
    return value != nullptr && value->kind == AMQP_FIELD_KIND_I64 && value->value.i64 >= 0
               ? static_cast<std::uint64_t>(value->value.i64)
               : 0;
}

template <class Number> std::optional<Number> decimal(std::string_view text)
{
    Number number = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool all = parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
    return !text.empty() && all ? std::optional(number) : std::nullopt;
}

} // namespace

void MessageAssembler::begin(std::uint64_t tag)
{
    message_ = std::make_unique<IncomingMessage>();
    message_->tag = tag;
}

MessageAssembler::Part MessageAssembler::header(const amqp_basic_properties_t& properties,
                                                std::uint64_t bodySize)
{
    const auto given = [&](amqp_flags_t flag, const amqp_bytes_t& value) {
        return (properties._flags & flag) != 0 ? toView(value) : std::string_view();
    };
    message_->messageId = given(AMQP_BASIC_MESSAGE_ID_FLAG, properties.message_id);
    message_->app = given(AMQP_BASIC_APP_ID_FLAG, properties.app_id);
    message_->event = given(AMQP_BASIC_TYPE_FLAG, properties.type);
    message_->contentType = given(AMQP_BASIC_CONTENT_TYPE_FLAG, properties.content_type);
    if ((properties._flags & AMQP_BASIC_TIMESTAMP_FLAG) != 0 && properties.timestamp < UINT32_MAX) {
        message_->timeMs = static_cast<std::int64_t>(properties.timestamp) * 1000;
    }
    message_->node = textOf(properties, "node");
    message_->channel = textOf(properties, "channel");
    message_->userId = textOf(properties, "user_id");
    message_->socketId = textOf(properties, "socket_id");
    message_->number = numberOf(properties, "x-stream-offset");
    message_->worker = decimal<std::uint32_t>(textOf(properties, "worker"));
    message_->life = decimal<std::uint64_t>(textOf(properties, "life")).value_or(0);
    tooLarge_ = bodySize > MaxBody;
    missing_ = bodySize;
    if (!tooLarge_) {
        message_->data.reserve(bodySize);
    }
    return missing_ == 0 ? Part::Complete : Part::More;
}

MessageAssembler::Part MessageAssembler::body(std::string_view piece)
{
    if (piece.size() > missing_) {
        return Part::Bad;
    }
    missing_ -= piece.size();
    if (!tooLarge_) {
        message_->data += piece;
    }
    return missing_ == 0 ? Part::Complete : Part::More;
}

std::unique_ptr<IncomingMessage> MessageAssembler::take()
{
    if (tooLarge_) {
        message_->channel.clear(); // which nobody has: it is acknowledged in its turn, and dropped
    }
    return std::move(message_);
}

} // namespace realtime
