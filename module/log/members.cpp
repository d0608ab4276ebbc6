// The part of SharedLog that knows who is present, and who was told of it.
#include "log/announcing.hpp"
#include "log/directory.hpp"
#include "log/lock.hpp"
#include "log/presence.hpp"
#include "log/shared_log.hpp"

#include <algorithm>

namespace realtime {

using namespace sharedlog;

namespace {

// Adds one connection; the row is new if the user had none, and others know of none.
MemberStatus addConnection(Memory memory, std::uint32_t entry, std::uint32_t slot, std::string_view userId,
                           std::string_view info, std::uint32_t limit, std::uint32_t& member, bool& first)
{
    Presence presence(memory);
    member = presence.find(entry, userId);
    first = member == 0 || presence.connections(member) == 0;
    if (first && memory.entry(entry).members >= limit) {
        return MemberStatus::LimitReached;
    }
    const bool fresh = member == 0;
    if (fresh) {
        member = presence.add(entry, userId, info);
    }
    if (member == 0) {
        return MemberStatus::NoRoom;
    }
    if (!presence.connect(member, slot)) {
        if (fresh) {
            presence.forget(member);
        }
        return MemberStatus::NoRoom;
    }
    return MemberStatus::Ok;
}

// Announced under one lock: some tenths of a millisecond at most.
constexpr int MostAnnounced = 64;

} // namespace

MemberJoined SharedLog::joinMember(std::uint32_t slot, ChannelRef channel, std::string_view userId,
                                   std::string_view info, std::uint32_t limit, const NewRecord& announcement,
                                   WakeUp& wakeUp, bool atOnce)
{
    const Memory memory(base_);
    MemberJoined joined;
    SlotSet sleepers;
    {
        const Lock lock(memory);
        const std::uint32_t entry = Directory(memory).resolve(channel);
        if (entry == 0 || slot >= memory.plan().slotCount || userId.size() > MaxMemberIdBytes ||
            info.size() > MaxMemberInfoBytes) {
            joined.status = MemberStatus::Gone;
            return joined;
        }
        std::uint32_t member = 0;
        joined.status = addConnection(memory, entry, slot, userId, info, limit, member, joined.first);
        if (joined.status != MemberStatus::Ok) {
            joined.first = false;
            return joined;
        }
        if (joined.first) {
            joined.telling = Announcing(memory, slot, sleepers).came(member, info, announcement, atOnce);
        }
        joined.lastOffset = memory.entry(entry).lastOffset;
        joined.members = Presence(memory).listAnnounced(entry, member);
    }
    sleepers.wake(wakeUp);
    return joined;
}

MemberLeft SharedLog::leaveMember(std::uint32_t slot, ChannelRef channel, std::string_view userId,
                                  const NewRecord& announcement, WakeUp& wakeUp, bool atOnce)
{
    const Memory memory(base_);
    SlotSet sleepers;
    MemberLeft left;
    {
        const Lock lock(memory);
        Presence presence(memory);
        const std::uint32_t entry = Directory(memory).resolve(channel);
        const std::uint32_t member = entry == 0 ? 0 : presence.find(entry, userId);
        if (member == 0 || presence.connections(member, slot) == 0) {
            return left;
        }
        left.last = presence.connections(member) == 1;
        if (left.last) {
            left.telling = Announcing(memory, slot, sleepers).goes(member, announcement, atOnce);
        }
        presence.disconnect(member, slot);
        Directory(memory).settle(entry);
    }
    sleepers.wake(wakeUp);
    return left;
}

std::optional<std::int64_t> SharedLog::announceMembers(ChannelRef channel, std::int64_t nowMs, bool all,
                                                       Announcer& announcer, WakeUp& wakeUp)
{
    const Memory memory(base_);
    std::optional<std::int64_t> next;
    do {
        SlotSet sleepers;
        {
            const Lock lock(memory);
            const std::uint32_t entry = Directory(memory).resolve(channel);
            next = entry == 0 ? std::nullopt
                              : Announcing(memory, NoSlot, sleepers)
                                    .announceDue(entry, nowMs, all, MostAnnounced, announcer);
        }
        sleepers.wake(wakeUp);
    } while (next == 0);
    return next;
}

std::vector<ChannelRef> SharedLog::waitingAnnouncements() const
{
    const Memory memory(base_);
    std::vector<ChannelRef> channels;
    const Lock lock(memory);
    for (std::uint32_t i = 1; i <= memory.header().membersTouched; ++i) {
        const MemberRow& row = memory.member(i);
        const ChannelRef channel{row.entry, row.channelEpoch};
        if (row.channelEpoch != 0 && Announcing::waits(row)) {
            channels.push_back(channel);
        }
    }
    std::sort(channels.begin(), channels.end(),
              [](const ChannelRef& a, const ChannelRef& b) { return a.index < b.index; });
    channels.erase(std::unique(channels.begin(), channels.end()), channels.end());
    return channels;
}

std::vector<Member> SharedLog::members(ChannelRef channel) const
{
    const Memory memory(base_);
    const Lock lock(memory);
    const std::uint32_t entry = Directory(memory).resolve(channel);
    return entry == 0 ? std::vector<Member>() : Presence(memory).list(entry);
}

// --- telling the world once -----------------------------------------------------------------------------------------

bool SharedLog::tellOccupied(ChannelRef channel)
{
    const Memory memory(base_);
    const Lock lock(memory);
    const std::uint32_t entry = Directory(memory).resolve(channel);
    if (entry == 0 || memory.entry(entry).told != 0) {
        return false;
    }
    memory.entry(entry).told = 1;
    return true;
}

bool SharedLog::tellVacated(ChannelRef channel)
{
    const Memory memory(base_);
    const Lock lock(memory);
    const std::uint32_t entry = Directory(memory).resolve(channel);
    if (entry == 0 || memory.entry(entry).told == 0 || memory.entry(entry).subscribers != 0) {
        return false;
    }
    memory.entry(entry).told = 0;
    Directory(memory).settle(entry);
    return true;
}

bool SharedLog::tellMemberAdded(ChannelRef channel, std::string_view userId)
{
    const Memory memory(base_);
    const Lock lock(memory);
    Presence presence(memory);
    const std::uint32_t entry = Directory(memory).resolve(channel);
    const std::uint32_t member = entry == 0 ? 0 : presence.find(entry, userId);
    if (member == 0 || presence.told(member)) {
        return false;
    }
    presence.setTold(member, true);
    return true;
}

bool SharedLog::tellMemberRemoved(ChannelRef channel, std::string_view userId)
{
    const Memory memory(base_);
    const Lock lock(memory);
    Presence presence(memory);
    const std::uint32_t entry = Directory(memory).resolve(channel);
    const std::uint32_t member = entry == 0 ? 0 : presence.find(entry, userId);
    if (member == 0 || !presence.told(member) || presence.connections(member) != 0) {
        return false;
    }
    presence.setTold(member, false); // forgets it
    Directory(memory).settle(entry);
    return true;
}

} // namespace realtime
