#include "log/apps.hpp"

#include "log/lock.hpp"
#include "log/step.hpp"

#include <algorithm>

namespace realtime::sharedlog {

namespace {

constexpr std::uint32_t MaxWays = IdempotencyWays;

std::uint32_t partOf(std::uint64_t table, std::uint32_t percent)
{
    return static_cast<std::uint32_t>(std::max<std::uint64_t>(table * percent / 100, 1));
}

// Of a table that has `table` places, `each` of them for one of what the quota counts.
std::uint32_t limitOf(const Quota& quota, std::uint64_t table, std::uint64_t each = 1)
{
    const std::uint64_t wanted = quota.count * each;
    return quota.count != 0 ? static_cast<std::uint32_t>(std::min(wanted, table))
                            : partOf(table, quota.percent);
}

// Of cells, each owner needs one for every worker. The tables have two for each: an app that has few owners may have more
// of them, as long as that is little of the table.
std::uint32_t cellLimitOf(const Quota& quota, std::uint64_t table, std::uint64_t each, std::uint64_t slots)
{
    const std::uint64_t few = std::min(std::uint64_t{quota.count} * slots, table / 4);
    return std::max(limitOf(quota, table, each), static_cast<std::uint32_t>(few));
}

} // namespace

std::uint64_t Apps::hash(std::string_view name) const
{
    return SipHash(header_.keys.apps).add(name).finish();
}

std::uint32_t Apps::find(std::string_view name, std::uint64_t hash) const
{
    std::uint32_t index = memory_.appBucket(hash);
    while (index != 0 && Apps::name(memory_.app(index)) != name) {
        index = memory_.app(index).next;
    }
    return index;
}

std::uint32_t Apps::findOrAdd(std::string_view name)
{
    if (header_.lastApp != 0 && Apps::name(memory_.app(header_.lastApp)) == name) {
        return header_.lastApp;
    }
    const std::uint64_t where = hash(name);
    std::uint32_t index = find(name, where);
    if (index == 0) {
        index = takeRow();
        if (index == 0) {
            return 0;
        }
        AppRow& row = memory_.app(index);
        row = {};
        for (Share* share : {&row.channels, &row.cells, &row.members, &row.memberCells, &row.blocks}) {
            share->limit = Unlimited;
        }
        row.repeatWays = MaxWays;
        std::copy(name.begin(), name.end(), row.name);
        row.next = memory_.appBucket(where);
        step("app filled");
        row.nameEnd = static_cast<std::uint32_t>(name.size()) + 1;
        step("app alive");
        memory_.appBucket(where) = index;
    }
    header_.lastApp = index;
    return index;
}

std::uint32_t Apps::takeRow()
{
    if (header_.appsTouched + 1 < memory_.plan().appCount) {
        return ++header_.appsTouched;
    }
    for (std::uint32_t i = 1; i <= header_.appsTouched; ++i) {
        AppRow& row = memory_.app(i);
        if (row.declared == 0 && row.channels.used == 0) {
            unlink(i);
            row.nameEnd = 0;
            step("app dead");
            return i;
        }
    }
    return 0;
}

void Apps::unlink(std::uint32_t index)
{
    const AppRow& row = memory_.app(index);
    if (row.nameEnd == 0) {
        return; // by one who died before it was given a name
    }
    std::uint32_t* link = &memory_.appBucket(hash(name(row)));
    while (*link != index) {
        link = &memory_.app(*link).next;
    }
    *link = row.next;
    header_.lastApp = header_.lastApp == index ? 0 : header_.lastApp;
}

bool Apps::declare(std::span<const AppQuotas> apps)
{
    for (std::uint32_t i = 1; i <= header_.appsTouched; ++i) {
        memory_.app(i).declared = 0;
    }
    for (const AppQuotas& one : apps) {
        const std::uint32_t index = one.app.size() > MaxAppBytes ? 0 : findOrAdd(one.app);
        if (index == 0) {
            return false;
        }
        memory_.app(index).declared = 1;
        setLimits(memory_.app(index), one);
    }
    return true;
}

void Apps::setLimits(AppRow& row, const AppQuotas& quotas) const
{
    const Plan& plan = memory_.plan();
    row.channels.limit = limitOf(quotas.channels, plan.entryCount - 1);
    row.cells.limit = cellLimitOf(quotas.channels, plan.cellCount - 1, CellsPerOwner, plan.slotCount);
    row.members.limit = limitOf(quotas.members, plan.memberCount - 1);
    row.memberCells.limit =
        cellLimitOf(quotas.members, plan.memberCellCount - 1, CellsPerOwner, plan.slotCount);
    row.blocks.limit = limitOf(quotas.members, plan.blockCount - 1, BlocksPerMember);
    const std::uint64_t repeats = std::uint64_t{plan.idempotencySets.front()} * MaxWays;
    const std::uint64_t part = std::uint64_t{limitOf(quotas.repeats, repeats)} * MaxWays;
    row.repeatWays = static_cast<std::uint32_t>((part + repeats - 1) / repeats);
}

void Apps::rebuild()
{
    header_.lastApp = 0;
    std::fill_n(&memory_.appBucket(0), memory_.plan().appBucketCount, 0);
    for (std::uint32_t i = 1; i <= header_.appsTouched; ++i) {
        AppRow& row = memory_.app(i);
        for (Share* share : {&row.channels, &row.cells, &row.members, &row.memberCells, &row.blocks}) {
            share->used = 0;
        }
        row.spare = {};
        row.idle = {};
        if (row.nameEnd != 0) {
            std::uint32_t& bucket = memory_.appBucket(hash(name(row)));
            row.next = bucket;
            bucket = i;
        }
    }
}

} // namespace realtime::sharedlog

namespace realtime {

using namespace sharedlog;

bool SharedLog::declareApps(std::span<const AppQuotas> apps)
{
    const Memory memory(base_);
    const Lock lock(memory);
    return Apps(memory).declare(apps);
}

std::vector<AppUse> SharedLog::appUses() const
{
    const Memory memory(base_);
    const Plan& plan = memory.plan();
    constexpr std::uint32_t Stretch = 64; // rows looked at under one lock
    std::vector<AppUse> uses;
    for (std::uint32_t from = 1; from < plan.appCount; from += Stretch) {
        uses.reserve(uses.size() + Stretch);
        const Lock lock(memory);
        const std::uint32_t end = std::min(from + Stretch, memory.header().appsTouched + 1);
        for (std::uint32_t i = from; i < end; ++i) {
            const AppRow& row = memory.app(i);
            if (row.nameEnd != 0 && (row.declared != 0 || row.channels.used != 0)) {
                uses.push_back({std::string(Apps::name(row)), row.channels.used,
                                std::min(row.channels.limit, plan.entryCount - 1), row.members.used,
                                std::min(row.members.limit, plan.memberCount - 1), row.refused});
            }
        }
        if (end < from + Stretch) {
            break;
        }
    }
    return uses;
}

} // namespace realtime
