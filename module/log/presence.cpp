#include "log/presence.hpp"

#include "base/siphash.hpp"
#include "log/step.hpp"

#include <algorithm>
#include <cstring>

namespace realtime::sharedlog {

std::uint64_t Presence::hash(std::string_view userId) const
{
    return SipHash(header_.keys.members).add(userId).finish();
}

std::uint32_t Presence::find(std::uint32_t entry, std::string_view userId) const
{
    const std::uint64_t wanted = hash(userId);
    for (std::uint32_t i = memory_.entry(entry).firstMember; i != 0; i = memory_.member(i).next) {
        const MemberRow& row = memory_.member(i);
        if (row.idHash == wanted && MemberText::of(row.text).idBytes == userId.size() &&
            this->userId(i) == userId) {
            return i;
        }
    }
    return 0;
}

std::uint32_t Presence::add(std::uint32_t entry, std::string_view userId, std::string_view info)
{
    AppRow& app = memory_.appOf(memory_.entry(entry));
    const std::uint32_t index = app.members.full() ? 0 : takeMember();
    if (index == 0) {
        app.refused++;
        return 0;
    }
    MemberRow& row = memory_.member(index);
    const MemberText text{writeBlocks(userId, info, app.blocks), static_cast<std::uint16_t>(userId.size()),
                          static_cast<std::uint16_t>(info.size())};
    if (text.firstBlock == 0) {
        row.next = header_.freeMember;
        header_.freeMember = index;
        app.refused++;
        return 0;
    }
    row.entry = entry;
    row.idHash = hash(userId);
    row.text = text.word();
    row.told = 0;
    row.announced = Announced::No;
    row.announcedMs = 0;
    row.connections = 0;
    row.firstCell = 0;
    step("member filled");
    row.channelEpoch = memory_.entry(entry).epoch;
    step("member alive");
    link(index);
    app.members.used++;
    header_.members++;
    return index;
}

bool Presence::connect(std::uint32_t member, std::uint32_t slot)
{
    MemberRow& row = memory_.member(member);
    AppRow& app = memory_.appOf(memory_.entry(row.entry));
    const std::uint32_t index = cells().findOrAdd(row.firstCell, member, slot, app.memberCells);
    if (index == 0) {
        app.refused++;
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
        cells().remove(row.firstCell, index, memory_.appOf(memory_.entry(row.entry)).memberCells);
    }
    if (--row.connections == 0) {
        memory_.entry(row.entry).members--;
        if (forgettable(member)) {
            forget(member);
        }
    }
}

bool Presence::move(std::uint32_t member, std::uint32_t from, std::uint32_t slot)
{
    MemberRow& row = memory_.member(member);
    Share& share = memory_.appOf(memory_.entry(row.entry)).memberCells;
    return cells().move(row.firstCell, member, from, slot, share).has_value();
}

void Presence::forget(std::uint32_t member)
{
    MemberRow& row = memory_.member(member);
    unlink(member);
    step("member unlinked");
    AppRow& app = memory_.appOf(memory_.entry(row.entry));
    app.members.used--;
    header_.members--;
    row.channelEpoch = 0;
    step("member dead");
    freeBlocks(MemberText::of(row.text).firstBlock, app.blocks);
    row.text = 0;
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
    return read(member).userId;
}

std::string Presence::info(std::uint32_t member) const
{
    return read(member).info;
}

Member Presence::read(std::uint32_t member) const
{
    const std::size_t idBytes = MemberText::of(memory_.member(member).text).idBytes;
    std::string all = text(member);
    std::string info = all.substr(idBytes);
    all.resize(idBytes);
    return {std::move(all), std::move(info)};
}

template <class Wanted> std::vector<Member> Presence::listIf(std::uint32_t entry, Wanted wanted) const
{
    std::vector<Member> members;
    for (std::uint32_t i = memory_.entry(entry).firstMember; i != 0; i = memory_.member(i).next) {
        if (wanted(i)) {
            members.push_back(read(i));
        }
    }
    return members;
}

std::vector<Member> Presence::list(std::uint32_t entry) const
{
    return listIf(entry, [this](std::uint32_t member) { return connections(member) > 0; });
}

std::vector<Member> Presence::listOwn(std::uint32_t entry) const
{
    return listIf(entry, [this](std::uint32_t member) {
        bool own = false;
        for (std::uint32_t cell = memory_.member(member).firstCell; cell != 0;
             cell = memory_.memberCell(cell).next) {
            own |= memory_.slot(memory_.memberCell(cell).slot).pid.load(std::memory_order_relaxed) != PeerPid;
        }
        return own;
    });
}

std::vector<Member> Presence::listAnnounced(std::uint32_t entry, std::uint32_t self) const
{
    return listIf(entry, [this, self](std::uint32_t member) {
        return announced(member) != Announced::No || member == self;
    });
}

bool Presence::forgettable(std::uint32_t member) const
{
    const MemberRow& row = memory_.member(member);
    return row.connections == 0 && row.told == 0 && row.announced == Announced::No;
}

void Presence::setTold(std::uint32_t member, bool told)
{
    memory_.member(member).told = told ? 1 : 0;
    step("member told");
    if (forgettable(member)) {
        forget(member);
    }
}

void Presence::setAnnounced(std::uint32_t member, Announced announced)
{
    memory_.member(member).announced = announced;
    step("member announced");
    if (forgettable(member)) {
        forget(member);
    }
}

// The old blocks are in use until the row leads to the new ones, and nobody's from then on.
bool Presence::setInfo(std::uint32_t member, std::string_view info)
{
    MemberRow& row = memory_.member(member);
    const MemberText before = MemberText::of(row.text);
    MemberText after = before;
    Share& share = memory_.appOf(memory_.entry(row.entry)).blocks;
    after.firstBlock = writeBlocks(userId(member), info, share);
    after.infoBytes = static_cast<std::uint16_t>(info.size());
    if (after.firstBlock == 0) {
        return false;
    }
    step("info written");
    row.text = after.word();
    step("info replaced");
    freeBlocks(before.firstBlock, share);
    return true;
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

std::uint32_t Presence::writeBlocks(std::string_view userId, std::string_view info, Share& share)
{
    std::string text(userId);
    text += info;
    std::uint32_t first = 0;
    std::size_t blocks =
        std::max<std::size_t>((text.size() + sizeof(Block::bytes) - 1) / sizeof(Block::bytes), 1);
    // From the end, so that each finds its successor.
    while (blocks-- > 0) {
        const std::uint32_t index = share.full() ? 0 : takeBlock();
        if (index == 0) {
            freeBlocks(first, share);
            return 0;
        }
        share.used++;
        Block& block = memory_.block(index);
        const std::string_view piece =
            std::string_view(text).substr(blocks * sizeof(Block::bytes), sizeof(Block::bytes));
        std::memcpy(block.bytes, piece.data(), piece.size());
        block.next = first;
        first = index;
    }
    return first;
}

void Presence::freeBlocks(std::uint32_t first, Share& share)
{
    while (first != 0) {
        Block& block = memory_.block(first);
        const std::uint32_t next = block.next;
        block.next = header_.freeBlock;
        header_.freeBlock = first;
        share.used--;
        first = next;
    }
}

std::string Presence::text(std::uint32_t member) const
{
    const MemberText where = MemberText::of(memory_.member(member).text);
    std::string text;
    std::size_t left = std::size_t{where.idBytes} + where.infoBytes;
    text.reserve(left);
    for (std::uint32_t i = where.firstBlock; i != 0 && left > 0; i = memory_.block(i).next) {
        const std::size_t piece = std::min(left, sizeof(Block::bytes));
        text.append(memory_.block(i).bytes, piece);
        left -= piece;
    }
    return text;
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
    header_.members = 0;
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
        if (memory_.member(i).channelEpoch != 0 && forgettable(i)) {
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
            row.text = 0;
            row.next = header_.freeMember;
            header_.freeMember = i;
            continue;
        }
        link(i);
        AppRow& app = memory_.appOf(memory_.entry(row.entry));
        app.members.used++;
        header_.members++;
        for (std::uint32_t block = MemberText::of(row.text).firstBlock;
             block != 0 && block < blocksInUse.size() && !blocksInUse[block];
             block = memory_.block(block).next) {
            blocksInUse[block] = true;
            app.blocks.used++;
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
        Entry& entry = memory_.entry(row.entry);
        entry.members += row.connections == 0 ? 1 : 0;
        memory_.appOf(entry).memberCells.used++;
        cells().put(row.firstCell, i);
        row.connections += cell.count;
    }
}

} // namespace realtime::sharedlog
