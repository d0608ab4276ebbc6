#include "support/check.hpp"

#include <thread>

namespace realtime::testing {

void eventually(const std::function<bool()>& condition, std::string_view what,
                std::chrono::milliseconds patience, const Location& at)
{
    const auto deadline = Clock::now() + patience;
    while (!condition()) {
        if (Clock::now() > deadline) {
            failure(std::string("not in time: ").append(what), at);
        }
        std::this_thread::sleep_for(5ms);
    }
}

} // namespace realtime::testing
