#include "node/presence_announcements.hpp"

#include "base/json_text.hpp"
#include "node/node.hpp"

#include <algorithm>

namespace realtime {

PresenceRecord::PresenceRecord(std::int64_t nowMs, std::string_view app, std::string_view channel,
                               std::string_view userId, std::optional<std::string_view> info)
    : data_("{\"user_id\":")
{
    appendJsonString(data_, userId);
    if (info) {
        data_ += ",\"user_info\":";
        data_ += *info;
    }
    data_ += '}';
    record_.app = app;
    record_.channel = channel;
    record_.event = info ? "pusher_internal:member_added" : "pusher_internal:member_removed";
    record_.data = data_;
    record_.userId = userId;
    record_.timeMs = nowMs;
    record_.flags = record_flag::Internal | record_flag::Transient | record_flag::Presence;
}

PresenceAnnouncements::PresenceAnnouncements(Node& node)
    : node_(node), due_(node.loop().task([this] { tellDue(false); }))
{
}

bool PresenceAnnouncements::atOnce(std::uint32_t log, ChannelRef channel) const
{
    const auto pace = paces_.find({log, channel.index});
    return pace == paces_.end() || pace->second.told < TellEach ||
           node_.loop().elapsed(pace->second.since, Pause);
}

void PresenceAnnouncements::changed(std::uint32_t log, ChannelRef channel, Telling telling)
{
    if (telling == Telling::Later) {
        tellIn(log, channel, Pause);
    } else if (telling == Telling::Now) {
        const Pace fresh{node_.loop().ticks(), 0};
        Pace& pace = paces_.try_emplace({log, channel.index}, fresh).first->second;
        if (node_.loop().elapsed(pace.since, Pause)) {
            pace = fresh;
        }
        pace.told++;
        node_.drainSoon();
    }
}

void PresenceAnnouncements::tellIn(std::uint32_t log, ChannelRef channel, Msec ms)
{
    if (!waits_.insert({log, channel.index}).second) {
        return;
    }
    const auto place = waiting_.insert({node_.loop().ticks() + ms, {log, channel}});
    if (place == waiting_.begin()) {
        due_->after(ms);
    }
}

void PresenceAnnouncements::tellDue(bool all)
{
    while (!waiting_.empty() && (all || node_.loop().elapsed(waiting_.begin()->first, 0))) {
        const Waiting one = waiting_.begin()->second;
        waiting_.erase(waiting_.begin());
        waits_.erase({one.log, one.channel.index});
        HubLog& log = node_.hub().log(one.log);
        const auto next = log.log.announceMembers(one.channel, node_.now(), all, *this, *log.wakeUp);
        if (next) {
            tellIn(one.log, one.channel, static_cast<Msec>(*next));
        }
        node_.drainSoon();
    }
    if (!waiting_.empty()) {
        due_->after(std::max<Msec>(waiting_.begin()->first - node_.loop().ticks(), 1));
    }
}

void PresenceAnnouncements::adopt()
{
    for (std::uint32_t i = 0; i < node_.hub().logCount(); i++) {
        for (const ChannelRef& channel : node_.hub().log(i).log.waitingAnnouncements()) {
            tellIn(i, channel, 1);
        }
    }
}

void PresenceAnnouncements::tick()
{
    std::erase_if(paces_, [this](const auto& one) { return node_.loop().elapsed(one.second.since, Pause); });
}

void PresenceAnnouncements::memberAdded(std::string_view app, std::string_view channel,
                                        std::string_view userId, std::string_view info,
                                        NewRecord& announcement)
{
    announcement = announcement_.emplace(node_.now(), app, channel, userId, info).get();
}

void PresenceAnnouncements::memberRemoved(std::string_view app, std::string_view channel,
                                          std::string_view userId, NewRecord& announcement)
{
    announcement = announcement_.emplace(node_.now(), app, channel, userId, std::nullopt).get();
}

} // namespace realtime
