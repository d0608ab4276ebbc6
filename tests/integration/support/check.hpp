// Checks for integration tests. They throw rather than longjmp, so that destructors run and no nginx is left behind.
#pragma once

#include <chrono>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace realtime::testing {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// How long anything that ought to happen at once may take on a busy machine, sanitizers included. Only failures wait.
inline constexpr std::chrono::milliseconds Patience{60'000};
// How long to watch for something that must not happen.
inline constexpr std::chrono::milliseconds Silence{150};

// Where a check stands. Location by the builtins that it is made of, since clang 14 (clang-tidy) does not know
// libstdc++ 12's.
struct Location {
    std::string_view file;
    int line = 0;

    static constexpr Location current(const char* file = __builtin_FILE(), int line = __builtin_LINE())
    {
        return {file, line};
    }
};

[[noreturn]] inline void failure(std::string_view what, const Location& at)
{
    std::ostringstream text;
    text << at.file.substr(at.file.rfind('/') + 1) << ':' << at.line << ": " << what;
    throw std::runtime_error(text.str());
}

inline void expect(bool condition, std::string_view what, const Location& at = Location::current())
{
    if (!condition) {
        failure(what, at);
    }
}

template <class Actual, class Expected>
void expectEqual(const Actual& actual, const Expected& expected, const Location& at = Location::current())
{
    if (!(actual == expected)) {
        std::ostringstream text;
        text << "got \"" << actual << "\", expected \"" << expected << '"';
        failure(text.str(), at);
    }
}

inline void expectContains(std::string_view text, std::string_view part,
                           const Location& at = Location::current())
{
    if (text.find(part) == std::string_view::npos) {
        failure("no \"" + std::string(part) + "\" in \"" + std::string(text.substr(0, 2000)) + '"', at);
    }
}

inline void expectLacks(std::string_view text, std::string_view part,
                        const Location& at = Location::current())
{
    if (text.find(part) != std::string_view::npos) {
        failure("unexpected \"" + std::string(part) + "\" in \"" + std::string(text.substr(0, 2000)) + '"',
                at);
    }
}

// Asks again and again until it is true; fails after `patience`.
void eventually(const std::function<bool()>& condition, std::string_view what,
                std::chrono::milliseconds patience = Patience, const Location& at = Location::current());

} // namespace realtime::testing
