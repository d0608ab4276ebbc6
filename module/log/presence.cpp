#include "log/presence.hpp"

#include "base/siphash.hpp"
#include "log/step.hpp"

#include <algorithm>
#include <cstring>

namespace realtime::sharedlog {

std::uint64_t Presence::hash(std::string_view userId) const
{
    const SipKey secret{mix(header_.seed + 5), mix(header_.seed + 6)};
    return SipHash(secret).add(userId).finish();
}

std::uint32_t Presence::find(std::uint32_t entry, std::string_view userId) const
{
    const std::uint64_t wanted = hash(userId);
    for (std::uint32_t i = memory_.entry(entry).firstMember; i != 0; i = memory_.member(i).next) {
        const MemberRow& row = memory_.member(i);
        if (row.idHash == wanted && row.idBytes == userId.size() && this->userId(i) == userId) {
            return i;
        }
    }
    return 0;
}

std::uint32_t Presence::add(std::uint32_t entry, std::string_view userId, std::string_view info)
{
    const std::uint32_t index = takeMember();
    if (index == 0) {
        return 0;
    }
    MemberRow& row = memory_.member(index);
    row.firstBlock = writeBlocks(userId, info);
    if (row.firstBlock == 0) {
        row.next = header_.freeMember;
        header_.freeMember = index;
        return 0;
    }
    row.entry = entry;
    row.idHash = hash(userId);
    row.idBytes = static_cast<std::uint16_t>(userId.size());
    row.infoBytes = static_cast<std::uint16_t>(info.size());
    row.told = 0;
    row.connections = 0;
    row.firstCell = 0;
    step("member filled");
    row.channelEpoch = memory_.entry(entry).epoch;
    step("member alive");
    link(index);
    return index;
}

bool Presence::connect(std::uint32_t member, std::uint32_t slot)
{
    MemberRow& row = memory_.member(member);
    const std::uint32_t index = cells().findOrAdd(row.firstCell, member, slot);
    if (index == 0) {
        return false;
    }
    cells().at(index).count++;
    step("member counted");
    memory_.entry(row.entry).memberChanges++;
    if (row.connections++ == 0) {
        memory_.entry(row.entry).members++;
    }
    return true;
}

void Presence::disconnect(std::uint32_t member, std::uint32_t slot)
{
    MemberRow& row = memory_.member(member);
    const std::uint32_t index = cells().find(row.firstCell, slot);
    if (index == 0) {
        return;
    }
    cells().at(index).count--;
    step("member gone");
    memory_.entry(row.entry).memberChanges++;
    if (cells().at(index).count == 0) {
        cells().remove(row.firstCell, index);
    }
    if (--row.connections == 0) {
        memory_.entry(row.entry).members--;
        if (row.told == 0) {
            forget(member);
        }
    }
}

bool Presence::move(std::uint32_t member, std::uint32_t from, std::uint32_t slot)
{
    return cells().move(memory_.member(member).firstCell, member, from, slot).has_value();
}

void Presence::forget(std::uint32_t member)
{
    MemberRow& row = memory_.member(member);
    unlink(member);
    step("member unlinked");
    row.channelEpoch = 0;
    step("member dead");
    freeBlocks(row.firstBlock);
    row.firstBlock = 0;
    row.next = header_.freeMember;
    header_.freeMember = member;
}

void Presence::forgetAll(std::uint32_t entry)
{
    while (const std::uint32_t member = memory_.entry(entry).firstMember) {
        forget(member);
    }
}

std::uint32_t Presence::connections(std::uint32_t member, std::uint32_t slot) const
{
    const std::uint32_t cell = cells().find(memory_.member(member).firstCell, slot);
    return cell == 0 ? 0 : cells().at(cell).count;
}

std::string Presence::userId(std::uint32_t member) const
{
    const MemberRow& row = memory_.member(member);
    std::string text;
    readBlocks(row, text);
    text.resize(row.idBytes);
    return text;
}

std::vector<Member> Presence::list(std::uint32_t entry) const
{
    std::vector<Member> members;
    for (std::uint32_t i = memory_.entry(entry).firstMember; i != 0; i = memory_.member(i).next) {
        const MemberRow& row = memory_.member(i);
        if (row.connections > 0) {
            std::string text;
            readBlocks(row, text);
            members.push_back({text.substr(0, row.idBytes), text.substr(row.idBytes)});
        }
    }
    return members;
}

std::vector<Member> Presence::listOwn(std::uint32_t entry) const
{
    std::vector<Member> members;
    for (std::uint32_t i = memory_.entry(entry).firstMember; i != 0; i = memory_.member(i).next) {
        const MemberRow& row = memory_.member(i);
        bool own = false;
        for (std::uint32_t cell = row.firstCell; cell != 0; cell = memory_.memberCell(cell).next) {
            own |= memory_.slot(memory_.memberCell(cell).slot).pid.load(std::memory_order_relaxed) != PeerPid;
        }
        if (own) {
            std::string text;
            readBlocks(row, text);
            members.push_back({text.substr(0, row.idBytes), text.substr(row.idBytes)});
        }
    }
    return members;
}

void Presence::setTold(std::uint32_t member, bool told)
{
    MemberRow& row = memory_.member(member);
    row.told = told ? 1 : 0;
    if (!told && row.connections == 0) {
        forget(member);
    }
}

// --- tables -------------------------------------------------------------------------------------------------------

std::uint32_t Presence::takeMember()
{
    if (const std::uint32_t index = header_.freeMember; index != 0) {
        header_.freeMember = memory_.member(index).next;
        return index;
    }
    return header_.membersTouched + 1 < memory_.plan().memberCount ? ++header_.membersTouched : 0;
}

std::uint32_t Presence::takeBlock()
{
    if (const std::uint32_t index = header_.freeBlock; index != 0) {
        header_.freeBlock = memory_.block(index).next;
        return index;
    }
    return header_.blocksTouched + 1 < memory_.plan().blockCount ? ++header_.blocksTouched : 0;
}

std::uint32_t Presence::writeBlocks(std::string_view userId, std::string_view info)
{
    std::string text(userId);
    text += info;
    std::uint32_t first = 0;
    std::size_t blocks =
        std::max<std::size_t>((text.size() + sizeof(Block::bytes) - 1) / sizeof(Block::bytes), 1);
    // From the end, so that each finds its successor.
    while (blocks-- > 0) {
        const std::uint32_t index = takeBlock();
        if (index == 0) {
            freeBlocks(first);
            return 0;
        }
        Block& block = memory_.block(index);
        const std::string_view piece =
            std::string_view(text).substr(blocks * sizeof(Block::bytes), sizeof(Block::bytes));
        std::memcpy(block.bytes, piece.data(), piece.size());
        block.next = first;
        first = index;
    }
    return first;
}

void Presence::freeBlocks(std::uint32_t first)
{
    while (first != 0) {
        Block& block = memory_.block(first);
        const std::uint32_t next = block.next;
        block.next = header_.freeBlock;
        header_.freeBlock = first;
        first = next;
    }
}

void Presence::readBlocks(const MemberRow& row, std::string& into) const
{
    std::size_t left = std::size_t{row.idBytes} + row.infoBytes;
    for (std::uint32_t i = row.firstBlock; i != 0 && left > 0; i = memory_.block(i).next) {
        const std::size_t piece = std::min(left, sizeof(Block::bytes));
        into.append(memory_.block(i).bytes, piece);
        left -= piece;
    }
}

void Presence::link(std::uint32_t member)
{
    MemberRow& row = memory_.member(member);
    Entry& entry = memory_.entry(row.entry);
    row.next = entry.firstMember;
    entry.firstMember = member;
}

void Presence::unlink(std::uint32_t member)
{
    std::uint32_t* link = &memory_.entry(memory_.member(member).entry).firstMember;
    while (*link != member) {
        link = &memory_.member(*link).next;
    }
    *link = memory_.member(member).next;
}

void Presence::rebuild()
{
    header_.freeMember = 0;
    header_.freeMemberCell = 0;
    header_.freeBlock = 0;
    for (std::uint32_t i = 1; i <= header_.entriesTouched; ++i) {
        memory_.entry(i).firstMember = 0;
        memory_.entry(i).members = 0;
        memory_.entry(i).memberChanges++; // perhaps
    }
    std::vector<bool> blocksInUse(std::size_t{header_.blocksTouched} + 1);
    rebuildRows(blocksInUse);
    rebuildCells();
    for (std::uint32_t i = 1; i <= header_.blocksTouched; ++i) {
        if (!blocksInUse[i]) {
            memory_.block(i).next = header_.freeBlock;
            header_.freeBlock = i;
        }
    }
    for (std::uint32_t i = 1; i <= header_.membersTouched; ++i) {
        const MemberRow& row = memory_.member(i);
        if (row.channelEpoch != 0 && row.connections == 0 && row.told == 0) {
            forget(i);
        }
    }
}

void Presence::rebuildRows(std::vector<bool>& blocksInUse)
{
    for (std::uint32_t i = 1; i <= header_.membersTouched; ++i) {
        MemberRow& row = memory_.member(i);
        row.connections = 0;
        row.firstCell = 0;
        const bool valid = row.channelEpoch != 0 && row.entry != 0 && row.entry <= header_.entriesTouched &&
                           memory_.entry(row.entry).epoch == row.channelEpoch;
        if (!valid) {
            row.channelEpoch = 0;
            row.firstBlock = 0;
            row.next = header_.freeMember;
            header_.freeMember = i;
            continue;
        }
        link(i);
        for (std::uint32_t block = row.firstBlock;
             block != 0 && block < blocksInUse.size() && !blocksInUse[block];
             block = memory_.block(block).next) {
            blocksInUse[block] = true;
        }
    }
}

void Presence::rebuildCells()
{
    for (std::uint32_t i = 1; i <= header_.memberCellsTouched; ++i) {
        const Cell& cell = cells().at(i);
        const bool valid = cell.count != 0 && cell.entry != 0 && cell.entry <= header_.membersTouched &&
                           memory_.member(cell.entry).channelEpoch != 0 &&
                           cell.slot < memory_.plan().slotCount;
        if (!valid) {
            cells().discard(i);
            continue;
        }
        MemberRow& row = memory_.member(cell.entry);
        memory_.entry(row.entry).members += row.connections == 0 ? 1 : 0;
        cells().put(row.firstCell, i);
        row.connections += cell.count;
    }
}

} // namespace realtime::sharedlog
