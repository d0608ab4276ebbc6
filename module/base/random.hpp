// Random bytes that nobody can predict: the kernel's (getrandom).
//
// Thread     any.
// Errors     std::system_error if the kernel has none to give.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>

namespace realtime {

void fillRandom(std::span<std::byte> out);

template <class T> T drawRandom()
{
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    fillRandom(std::as_writable_bytes(std::span(&value, 1)));
    return value;
}

} // namespace realtime
