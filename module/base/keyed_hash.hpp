// For unordered containers whose keys strangers see or choose: each has a key of its own, so that nobody can make such as
// share a bucket.
#pragma once

#include "base/random.hpp"
#include "base/siphash.hpp"

#include <cstddef>
#include <cstdint>

namespace realtime {

struct KeyedHash {
    SipKey key = drawRandom<SipKey>();
    std::size_t operator()(std::uint64_t word) const { return SipHash(key).add(word).finish(); }
};

} // namespace realtime
