// The border between C++ and nginx's C frames.
#pragma once

#include "nginx/ngx.hpp"

#include <exception>

namespace realtime {

// Runs `body` for a callback that nginx invokes. Nothing gets past it: an exception becomes one error-log line and
// `onError`.
template <class R, class Body> R guard(ngx_log_t* log, R onError, Body&& body) noexcept
{
    try {
        return body();
    } catch (const std::exception& e) {
        ngx_log_error(NGX_LOG_ERR, log, 0, "realtime: %s", e.what());
    } catch (...) {
        ngx_log_error(NGX_LOG_ERR, log, 0, "realtime: unknown exception");
    }
    return onError;
}

// The same for callbacks that return nothing; false if it threw.
template <class Body> bool guardVoid(ngx_log_t* log, Body&& body) noexcept
{
    return guard(log, false, [&] {
        body();
        return true;
    });
}

} // namespace realtime
