#include "log/shared_log.hpp"

#include <algorithm>

namespace realtime {

namespace {

constexpr std::size_t BlockBytes = 64 << 10;

} // namespace

std::byte* RecordArena::allocate(std::size_t bytes)
{
    bytes = (bytes + 7) & ~std::size_t{7};
    while (current_ < blocks_.size() && blocks_[current_].size - blocks_[current_].used < bytes) {
        ++current_;
    }
    if (current_ == blocks_.size()) {
        const std::size_t size = std::max(bytes, BlockBytes);
        // Left uninitialised: it is overwritten at once.
        blocks_.push_back({std::unique_ptr<std::byte[]>(new std::byte[size]), size, 0});
    }
    Block& block = blocks_[current_];
    std::byte* const at = block.bytes.get() + block.used;
    block.used += bytes;
    used_ += bytes;
    return at;
}

void RecordArena::clear()
{
    std::size_t kept = 0;
    const auto beyond = [&kept](Block& block) {
        block.used = 0;
        const bool keep = kept + block.size <= KeptBytes;
        kept += keep ? block.size : 0;
        return !keep;
    };
    blocks_.erase(std::remove_if(blocks_.begin(), blocks_.end(), beyond), blocks_.end());
    current_ = 0;
    used_ = 0;
}

} // namespace realtime
