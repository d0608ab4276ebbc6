#include "log/cells.hpp"

#include "log/step.hpp"

namespace realtime::sharedlog {

std::uint32_t Cells::find(std::uint32_t first, std::uint32_t slot) const
{
    std::uint32_t index = first;
    while (index != 0 && at(index).slot != slot) {
        index = at(index).next;
    }
    return index;
}

std::uint32_t Cells::take()
{
    if (const std::uint32_t index = free_; index != 0) {
        free_ = at(index).next;
        return index;
    }
    return touched_ + 1 < count_ ? ++touched_ : 0;
}

std::uint32_t Cells::add(std::uint32_t& first, std::uint32_t owner, std::uint32_t slot, Share& share)
{
    const std::uint32_t index = take();
    if (index != 0) {
        at(index) = {owner, slot, 0, first};
        step("cell filled");
        first = index;
        share.used++;
    }
    return index;
}

std::uint32_t Cells::findOrAdd(std::uint32_t& first, std::uint32_t owner, std::uint32_t slot, Share& share)
{
    if (const std::uint32_t found = find(first, slot); found != 0) {
        return found;
    }
    return share.full() ? 0 : add(first, owner, slot, share);
}

void Cells::remove(std::uint32_t& first, std::uint32_t index, Share& share)
{
    std::uint32_t* link = &first;
    while (*link != index) {
        link = &at(*link).next;
    }
    *link = at(index).next;
    step("cell unlinked");
    at(index).next = free_;
    free_ = index;
    share.used--;
}

std::optional<std::uint32_t> Cells::move(std::uint32_t& first, std::uint32_t owner, std::uint32_t from,
                                         std::uint32_t slot, Share& share)
{
    const std::uint32_t source = find(first, from);
    if (source == 0 || at(source).count == 0) {
        return std::nullopt;
    }
    std::uint32_t target = find(first, slot);
    target = target == 0 ? add(first, owner, slot, share) : target;
    if (target == 0) {
        return std::nullopt;
    }
    const std::uint32_t before = at(target).count;
    if (target != source) {
        at(target).count++;
        step("counted twice");
        at(source).count--;
        step("moved");
        if (at(source).count == 0) {
            remove(first, source, share);
        }
    }
    return before;
}

void Cells::discard(std::uint32_t index)
{
    at(index).count = 0;
    at(index).next = free_;
    free_ = index;
}

void Cells::put(std::uint32_t& first, std::uint32_t index)
{
    at(index).next = first;
    first = index;
}

} // namespace realtime::sharedlog
