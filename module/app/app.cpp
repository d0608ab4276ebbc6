#include "app/app.hpp"

#include "base/siphash.hpp"
#include "wire/pusher_channel.hpp"

#include <algorithm>

namespace realtime {

namespace {

// Not a secret: all nodes must come to the same.
constexpr SipKey EpochKey{0x6e67696e782d7274, 0x73747265616d2d31};

std::uint64_t epochOf(const StreamRoute& stream, std::string_view app, std::string_view channel)
{
    const std::uint64_t hash =
        SipHash(EpochKey).add(stream.identity).add(app.size()).add(app).add(channel).finish();
    return std::max<std::uint64_t>(hash, 1);
}

} // namespace

ChannelPolicy App::policyOf(std::string_view channel) const
{
    ChannelPolicy policy;
    policy.rule = findRule(rules, channel, policy.captures);
    policy.brokers = &brokers;
    policy.log = log;
    if (policy.rule != nullptr) {
        policy.log = ruleLogs[static_cast<std::size_t>(policy.rule - rules.data())];
        policy.history = policy.rule->history.value_or(HistoryLimit{});
        if (policy.rule->brokersSet) {
            policy.brokers = &policy.rule->brokers;
        }
        if (policy.rule->stream) {
            policy.stream = {policy.rule->stream->identity, epochOf(*policy.rule->stream, id, channel)};
        }
    }
    return policy;
}

bool App::reserves(std::string_view channel) const
{
    return pusher::reservedChannel(channel) && !pusher.credentials.empty();
}

bool App::ordered(std::string_view channel) const
{
    return anyStream && policyOf(channel).stream.identity != 0;
}

} // namespace realtime
