#include "node/incoming.hpp"

#include "base/utf8.hpp"
#include "wire/pusher_channel.hpp"

#include <algorithm>

namespace realtime {

namespace {

constexpr std::size_t MaxNameBytes = 255; // of an event and a content type, as of AMQP's short strings

// Their names may be longer than those of others.
bool isUserChannel(const IncomingMessage& message)
{
    return pusher::serverToUserId(message.channel) &&
           pusher::checkChannelName(message.channel) == pusher::NameCheck::Ok;
}

} // namespace

bool plainText(std::string_view text, std::size_t most)
{
    return text.size() <= most && validUtf8(text) &&
           std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; });
}

std::optional<Incoming> readIncoming(const NodeConfig& config, const IncomingMessage& message)
{
    const App* app = config.app(message.app);
    const bool valid = app != nullptr && (validChannelName(message.channel) || isUserChannel(message)) &&
                       plainText(message.event, MaxNameBytes) && !message.event.empty() &&
                       plainText(message.contentType, MaxNameBytes) &&
                       plainText(message.userId, MaxMemberIdBytes);
    if (!valid) {
        return std::nullopt;
    }
    Incoming incoming;
    incoming.app = app;
    Publication& publication = incoming.publication;
    publication.door = Door::Node;
    publication.channel = message.channel;
    publication.event = message.event == "message" ? std::string_view() : std::string_view(message.event);
    publication.contentType = message.contentType;
    publication.data = message.data;
    publication.origin = message.socketId;
    publication.userId = message.userId;
    if (pusher::clientEvent(message.event) && pusher::classify(message.channel).allowsClientEvents()) {
        publication.flags = record_flag::Transient;
    }
    if (!mayPublish(*app, publication)) {
        return std::nullopt;
    }
    return incoming;
}

} // namespace realtime
