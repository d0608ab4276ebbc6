#include "app/app.hpp"

namespace realtime {

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
    }
    return policy;
}

} // namespace realtime
