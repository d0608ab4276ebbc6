// C++ objects in nginx pools.
#pragma once

#include "nginx/ngx.hpp"

#include <new>
#include <utility>

namespace realtime {

// Constructs T in `pool`; nginx destroys it with the pool, newest first. Throws std::bad_alloc, or what T's
// constructor throws (then nothing is registered).
template <class T, class... Args> T& poolNew(ngx_pool_t* pool, Args&&... args)
{
    static_assert(alignof(T) <= NGX_ALIGNMENT, "ngx_palloc() only word-aligns");
    ngx_pool_cleanup_t* cleanup = ngx_pool_cleanup_add(pool, sizeof(T));
    if (cleanup == nullptr) {
        throw std::bad_alloc();
    }
    auto* object = new (cleanup->data) T(std::forward<Args>(args)...);
    cleanup->handler = [](void* p) { static_cast<T*>(p)->~T(); };
    return *object;
}

// For types without a destructor: no cleanup handler, which would keep a finished request alive.
template <class T> T& poolNewPlain(ngx_pool_t* pool)
{
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= NGX_ALIGNMENT);
    void* memory = ngx_palloc(pool, sizeof(T));
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    return *new (memory) T();
}

} // namespace realtime
