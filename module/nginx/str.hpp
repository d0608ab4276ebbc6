// ngx_str_t and std::string_view.
#pragma once

#include "nginx/ngx.hpp"

#include <cstring>
#include <new>
#include <string>
#include <string_view>

namespace realtime {

inline std::string_view view(const ngx_str_t& s)
{
    return {reinterpret_cast<const char*>(s.data), s.len};
}

// For nginx functions that only read; the bytes must outlive the use.
inline ngx_str_t borrow(std::string_view s)
{
    return {s.size(), reinterpret_cast<u_char*>(const_cast<char*>(s.data()))};
}

inline ngx_str_t copyTo(ngx_pool_t* pool, std::string_view s)
{
    auto* data = static_cast<u_char*>(ngx_pnalloc(pool, s.empty() ? 1 : s.size()));
    if (data == nullptr) {
        throw std::bad_alloc();
    }
    if (!s.empty()) {
        std::memcpy(data, s.data(), s.size());
    }
    return {s.size(), data};
}

// Consumes "name=" at the front of a directive's argument.
inline bool takePrefix(std::string_view& text, std::string_view prefix)
{
    if (!text.starts_with(prefix)) {
        return false;
    }
    text.remove_prefix(prefix.size());
    return true;
}

} // namespace realtime
