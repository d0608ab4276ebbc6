#include "base/random.hpp"

#include <cerrno>
#include <sys/random.h>
#include <system_error>

namespace realtime {

void fillRandom(std::span<std::byte> out)
{
    while (!out.empty()) {
        const ssize_t got = getrandom(out.data(), out.size(), 0);
        if (got > 0) {
            out = out.subspan(static_cast<std::size_t>(got));
        } else if (errno != EINTR) {
            throw std::system_error(errno, std::generic_category(), "getrandom");
        }
    }
}

} // namespace realtime
