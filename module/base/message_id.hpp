// The identity of a published event, as publishers, subscribers and consumers see it.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace realtime {

// A position in one channel. `epoch` names one life of the channel (unique in its zone, drawn at random per
// zone, so that an id of a forgotten channel never matches its successor); `offset` counts its events from 1.
//
// Text form: "<epoch>-<offset>", the epoch in lower-case base 36, the offset in decimal; at most 34 bytes.
// Offset 0 is legal in `since`: "before the first event".
struct MessageId {
    std::uint64_t epoch = 0;
    std::uint64_t offset = 0;

    // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 sees the 0 that the compiler compares with
    friend auto operator<=>(const MessageId&, const MessageId&) = default;
};

inline constexpr std::size_t MaxMessageIdBytes = 34;

// A publisher's own name for an event: what comes again under the same name is not published again.
inline constexpr std::size_t MaxIdempotencyKeyBytes = 255;

// Writes the text form to `out`, which holds MaxMessageIdBytes; returns its length.
std::size_t formatMessageId(const MessageId& id, char* out);
std::string toString(const MessageId& id);

// Strict: no sign, no space, no overflow, no leading zero but "0" itself, lower case only.
std::optional<MessageId> parseMessageId(std::string_view text);

} // namespace realtime
