// The part of SharedLog that knows of other nodes.
#include "log/announcing.hpp"
#include "log/appender.hpp"
#include "log/directory.hpp"
#include "log/layout.hpp"
#include "log/lock.hpp"
#include "log/presence.hpp"
#include "log/shared_log.hpp"
#include "log/step.hpp"

#include <algorithm>
#include <cstring>

namespace realtime {

using namespace sharedlog;

namespace {

bool isPeer(const Slot& slot)
{
    return slot.inUse.load(std::memory_order_relaxed) != 0 &&
           slot.pid.load(std::memory_order_relaxed) == PeerPid;
}

std::string_view nameOf(const Slot& slot)
{
    return {slot.peer, strnlen(slot.peer, sizeof(slot.peer))};
}

std::uint32_t lookUp(Memory memory, std::string_view node)
{
    for (std::uint32_t i = 0; i < memory.plan().slotCount; ++i) {
        if (isPeer(memory.slot(i)) && nameOf(memory.slot(i)) == node) {
            return i;
        }
    }
    return SharedLog::NoSlot;
}

template <class Wanted> std::uint32_t countCells(Memory memory, const Entry& entry, Wanted wanted)
{
    std::uint32_t sum = 0;
    for (std::uint32_t i = entry.firstCell; i != 0; i = memory.cell(i).next) {
        sum += wanted(memory.cell(i).slot) ? memory.cell(i).count : 0;
    }
    return sum;
}

std::uint32_t ownSubscribers(Memory memory, const Entry& entry)
{
    return countCells(memory, entry, [&](std::uint32_t slot) { return !isPeer(memory.slot(slot)); });
}

} // namespace

std::uint64_t SharedLog::identity() const
{
    return Memory(base_).header().identity;
}

bool SharedLog::followSource(bool fresh, std::int64_t nowMs)
{
    const Memory memory(base_);
    const Lock lock(memory);
    Header& header = memory.header();
    const bool lost = fresh && header.followedMs != 0 && nowMs - header.followedMs >= FreshSourceMs;
    if (fresh || header.followedMs == 0) {
        header.followedMs = nowMs;
    }
    return lost;
}

void SharedLog::tear(ChannelRef channel, const NewRecord& notice, WakeUp& wakeUp)
{
    const Memory memory(base_);
    SlotSet sleepers;
    {
        const Lock lock(memory);
        const std::uint32_t entry = Directory(memory).resolve(channel);
        if (entry == 0) {
            return;
        }
        memory.entry(entry).lastOffset++;
        step("torn");
        Appender(memory).appendLocked(notice, entry, NoSlot, sleepers);
    }
    sleepers.wake(wakeUp);
}

// --- slots of other nodes -------------------------------------------------------------------------------------------

std::uint32_t SharedLog::findPeer(std::string_view node) const
{
    const Memory memory(base_);
    const Lock lock(memory);
    return lookUp(memory, node);
}

std::uint32_t SharedLog::claimPeer(std::string_view node, bool& fresh)
{
    const Memory memory(base_);
    const Lock lock(memory);
    const std::uint32_t known = lookUp(memory, node);
    fresh = known == NoSlot;
    if (!fresh || node.empty() || node.size() > MaxPeerBytes) {
        return known;
    }
    for (std::uint32_t i = 0; i < memory.plan().slotCount; ++i) {
        Slot& slot = memory.slot(i);
        if (slot.inUse.load(std::memory_order_relaxed) != 0) {
            continue;
        }
        std::memset(slot.peer, 0, sizeof(slot.peer));
        std::memcpy(slot.peer, node.data(), node.size());
        slot.silence.store(0, std::memory_order_relaxed);
        slot.pid.store(PeerPid, std::memory_order_relaxed);
        slot.startTime.store(++memory.header().peersClaimed, std::memory_order_relaxed);
        slot.asleep.store(0, std::memory_order_seq_cst); // never to be woken
        step("peer filled");
        slot.inUse.store(1, std::memory_order_release);
        return i;
    }
    return NoSlot;
}

void SharedLog::hearPeer(std::uint32_t slot)
{
    Memory(base_).slot(slot).silence.store(0, std::memory_order_relaxed);
}

std::vector<std::string> SharedLog::countBeat(std::uint32_t most)
{
    const Memory memory(base_);
    std::vector<std::string> silent;
    const Lock lock(memory);
    for (std::uint32_t i = 0; i < memory.plan().slotCount; ++i) {
        Slot& slot = memory.slot(i);
        if (isPeer(slot) && slot.silence.fetch_add(1, std::memory_order_relaxed) + 1 >= most) {
            silent.emplace_back(nameOf(slot));
        }
    }
    return silent;
}

std::vector<std::string> SharedLog::peers() const
{
    const Memory memory(base_);
    std::vector<std::string> names;
    const Lock lock(memory);
    for (std::uint32_t i = 0; i < memory.plan().slotCount; ++i) {
        if (isPeer(memory.slot(i))) {
            names.emplace_back(nameOf(memory.slot(i)));
        }
    }
    return names;
}

std::optional<SharedLog::PeerChange>
SharedLog::setPeerSubscribers(std::uint32_t slot, std::string_view app, std::string_view channel,
                              std::uint32_t count, const StreamKey& stream, std::int64_t nowMs)
{
    const Memory memory(base_);
    Directory directory(memory);
    const auto key = directory.key(app, channel, stream);
    if (!key || slot >= slots()) {
        return std::nullopt;
    }
    const Lock lock(memory);
    const std::uint32_t index = count == 0 ? directory.find(*key) : directory.findOrAdd(*key, {nowMs, false});
    if (index == 0) {
        return count == 0 ? std::optional(PeerChange{}) : std::nullopt;
    }
    const Entry& entry = memory.entry(index);
    PeerChange change{{index, entry.epoch}, entry.subscribers, 0};
    const std::uint32_t now = countCells(memory, entry, [slot](std::uint32_t one) { return one == slot; });
    if (now < count && !directory.addSubscriber(index, slot, count - now)) {
        directory.settle(index);
        return std::nullopt;
    }
    change.after = now > count ? directory.removeSubscriber(index, slot, now - count) : entry.subscribers;
    return change;
}

SharedLog::PeerMemberChange SharedLog::setPeerMember(std::uint32_t slot, ChannelRef channel,
                                                     std::string_view userId, std::string_view info,
                                                     bool present, const NewRecord& announcement,
                                                     WakeUp& wakeUp, bool atOnce)
{
    const Memory memory(base_);
    SlotSet sleepers;
    PeerMemberChange change;
    {
        const Lock lock(memory);
        Presence presence(memory);
        Announcing announcing(memory, NoSlot, sleepers);
        const std::uint32_t entry = Directory(memory).resolve(channel);
        std::uint32_t member = entry == 0 ? 0 : presence.find(entry, userId);
        const bool there = member != 0 && presence.connections(member, slot) != 0;
        if (entry == 0 || there == present || slot >= slots() || userId.size() > MaxMemberIdBytes ||
            info.size() > MaxMemberInfoBytes) {
            return change;
        }
        if (present) {
            const bool fresh = member == 0;
            member = fresh ? presence.add(entry, userId, info) : member;
            change.changed = member != 0 && presence.connections(member) == 0;
            if (member == 0 || !presence.connect(member, slot)) {
                if (fresh && member != 0) {
                    presence.forget(member);
                }
                return {};
            }
            if (change.changed) {
                change.telling = announcing.came(member, info, announcement, atOnce);
            }
        } else {
            change.changed = presence.connections(member) == 1;
            if (change.changed) {
                change.telling = announcing.goes(member, announcement, atOnce);
            }
            presence.disconnect(member, slot);
            Directory(memory).settle(entry);
        }
    }
    sleepers.wake(wakeUp);
    return change;
}

std::vector<SharedLog::PeerRow> SharedLog::peerRows(std::uint32_t slot) const
{
    const Memory memory(base_);
    const Presence presence(memory);
    std::vector<PeerRow> rows;
    const Lock lock(memory);
    for (std::uint32_t i = 1; i <= memory.header().cellsTouched; ++i) {
        const Cell& cell = memory.cell(i);
        if (cell.count == 0 || cell.slot != slot) {
            continue;
        }
        const Entry& entry = memory.entry(cell.entry);
        PeerRow& row = rows.emplace_back();
        row.app = Directory::app(memory, entry);
        row.channel = Directory::channel(entry);
        row.subscribers = cell.count;
        for (std::uint32_t m = entry.firstMember; m != 0; m = memory.member(m).next) {
            if (presence.connections(m, slot) != 0) {
                row.members.push_back(presence.userId(m));
            }
        }
    }
    return rows;
}

// A slot may have gone to another process meanwhile: hence the pid.
bool SharedLog::lead(std::uint32_t slot)
{
    const Memory memory(base_);
    const auto mark = [&](std::uint32_t i) {
        const auto pid = static_cast<std::uint32_t>(memory.slot(i).pid.load(std::memory_order_relaxed));
        return std::uint64_t{pid} << 32U | (i + 1);
    };
    const Lock lock(memory);
    std::uint64_t& leader = memory.header().leader;
    const auto holder = static_cast<std::uint32_t>(leader);
    const bool held = holder != 0 && holder <= slots() && slotInUse(holder - 1) && mark(holder - 1) == leader;
    if (!held) {
        leader = mark(slot);
    }
    return leader == mark(slot);
}

void SharedLog::giveUpLead(std::uint32_t slot)
{
    const Memory memory(base_);
    const Lock lock(memory);
    if (static_cast<std::uint32_t>(memory.header().leader) == slot + 1) {
        memory.header().leader = 0;
    }
}

void SharedLog::askForRound(bool kept)
{
    const Memory memory(base_);
    const Lock lock(memory);
    memory.header().roundsAsked++;
    memory.header().keptAsked += kept ? 1 : 0;
}

SharedLog::Asked SharedLog::asked() const
{
    const Memory memory(base_);
    const Lock lock(memory);
    return {memory.header().roundsAsked, memory.header().keptAsked};
}

// --- what this node has ---------------------------------------------------------------------------------------------

std::vector<SharedLog::LocalRow> SharedLog::localRows(std::uint32_t from, std::uint32_t count) const
{
    constexpr std::uint32_t Stretch = 256; // entries looked at under one lock
    const Memory memory(base_);
    std::vector<LocalRow> rows;
    for (std::uint32_t done = 0; done < count; done += Stretch) {
        const Lock lock(memory);
        const std::uint32_t end =
            std::min(from + std::min(done + Stretch, count), memory.header().entriesTouched + 1);
        for (std::uint32_t i = from + done; i < end; ++i) {
            const Entry& entry = memory.entry(i);
            rows.push_back({{i, entry.epoch}, ownSubscribers(memory, entry), entry.memberChanges});
        }
    }
    return rows;
}

std::uint32_t SharedLog::localSubscribers(ChannelRef channel) const
{
    const Memory memory(base_);
    const Lock lock(memory);
    const std::uint32_t entry = Directory(memory).resolve(channel);
    return entry == 0 ? 0 : ownSubscribers(memory, memory.entry(entry));
}

std::vector<Member> SharedLog::localMembers(ChannelRef channel) const
{
    const Memory memory(base_);
    const Presence presence(memory);
    const Lock lock(memory);
    const std::uint32_t entry = Directory(memory).resolve(channel);
    return entry == 0 ? std::vector<Member>() : presence.listOwn(entry);
}

bool SharedLog::channelName(ChannelRef channel, std::string& app, std::string& name) const
{
    const Memory memory(base_);
    const Lock lock(memory);
    const std::uint32_t entry = Directory(memory).resolve(channel);
    if (entry == 0) {
        return false;
    }
    app = Directory::app(memory, memory.entry(entry));
    name = Directory::channel(memory.entry(entry));
    return true;
}

} // namespace realtime
