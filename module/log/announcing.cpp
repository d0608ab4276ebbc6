#include "log/announcing.hpp"

#include "log/step.hpp"

#include <algorithm>

namespace realtime::sharedlog {

Telling Announcing::came(std::uint32_t member, std::string_view info, const NewRecord& announcement,
                         bool atOnce)
{
    MemberRow& row = memory_.member(member);
    if (row.announced == Announced::No) {
        if (!atOnce) {
            return Telling::Later;
        }
        presence_.setAnnounced(member, Announced::Changed);
        append(member, announcement);
        row.announcedMs = static_cast<std::uint32_t>(announcement.timeMs);
        presence_.setAnnounced(member, Announced::Yes);
        return Telling::Now;
    }
    // Nobody has been told that it was away. They hear of it only if it is not the same as before.
    if (presence_.info(member) != info) {
        presence_.setAnnounced(member, Announced::Changed);
        presence_.setInfo(member, info);
    }
    return row.announced == Announced::Changed ? Telling::Later : Telling::Nothing;
}

Telling Announcing::goes(std::uint32_t member, const NewRecord& announcement, bool atOnce)
{
    const MemberRow& row = memory_.member(member);
    if (row.announced == Announced::No) {
        return Telling::Nothing; // it comes and goes without a trace
    }
    if (!atOnce || pauseLeft(row, announcement.timeMs) > 0) {
        return Telling::Later;
    }
    gone(member, announcement);
    return Telling::Now;
}

void Announcing::gone(std::uint32_t member, const NewRecord& announcement)
{
    if (memory_.member(member).announced != Announced::No) {
        append(member, announcement);
        presence_.setAnnounced(member, Announced::No);
    }
}

bool Announcing::waits(const MemberRow& row)
{
    return row.announced == Announced::Changed || (row.connections == 0) == (row.announced == Announced::Yes);
}

std::optional<std::int64_t> Announcing::announceDue(std::uint32_t entry, std::int64_t nowMs, bool all,
                                                    int most, Announcer& announcer)
{
    std::optional<std::int64_t> next;
    for (std::uint32_t i = memory_.entry(entry).firstMember; i != 0;) {
        const std::uint32_t member = i;
        const MemberRow& row = memory_.member(member);
        i = row.next;
        if (!waits(row)) {
            continue;
        }
        const std::int64_t left = row.announced == Announced::No || all ? 0 : pauseLeft(row, nowMs);
        if (left > 0) {
            next = std::min(next.value_or(left), left);
        } else if (most-- > 0) {
            tell(member, nowMs, announcer);
        } else {
            return 0;
        }
    }
    return next;
}

void Announcing::tell(std::uint32_t member, std::int64_t nowMs, Announcer& announcer)
{
    MemberRow& row = memory_.member(member);
    const Entry& entry = memory_.entry(row.entry);
    const std::string_view app = Directory::app(memory_, entry);
    const std::string_view channel = Directory::channel(entry);
    const Member who = presence_.read(member);
    const bool here = row.connections > 0;
    NewRecord announcement;
    if (row.announced != Announced::No) {
        announcer.memberRemoved(app, channel, who.userId, announcement);
        append(member, announcement);
    }
    if (here) {
        presence_.setAnnounced(member, Announced::Changed);
        announcer.memberAdded(app, channel, who.userId, who.info, announcement);
        append(member, announcement);
        row.announcedMs = static_cast<std::uint32_t>(nowMs);
    }
    presence_.setAnnounced(member, here ? Announced::Yes : Announced::No);
}

// The clock may have been set: then there is nothing to wait for.
std::int64_t Announcing::pauseLeft(const MemberRow& row, std::int64_t nowMs)
{
    constexpr auto Pause = static_cast<std::uint32_t>(SharedLog::AnnouncePauseMs);
    const std::uint32_t passed = static_cast<std::uint32_t>(nowMs) - row.announcedMs;
    return passed < Pause ? Pause - passed : 0;
}

void Announcing::append(std::uint32_t member, const NewRecord& announcement)
{
    Appender(memory_).appendLocked(announcement, memory_.member(member).entry, self_, sleepers_);
}

} // namespace realtime::sharedlog
