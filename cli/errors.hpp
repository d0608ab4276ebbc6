// What ends a command early; main() turns each into its exit status.
#pragma once

#include <stdexcept>

namespace realtime::cli {

namespace exit_status {
inline constexpr int Good = 0;
inline constexpr int Refused = 1;     // the server said no, or what was asked for went wrong
inline constexpr int Usage = 2;       // the command line makes no sense
inline constexpr int Unreachable = 3; // no connection, no TLS, no such host
inline constexpr int TimedOut = 4;    // --timeout passed before --count messages had come
inline constexpr int Lossy = 5;       // bench: messages were lost, came twice or out of order
} // namespace exit_status

struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct UnreachableError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

} // namespace realtime::cli
