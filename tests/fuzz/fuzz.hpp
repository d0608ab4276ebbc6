// What the fuzz targets share. A target defines seeds() and libFuzzer's entry; it is linked with libFuzzer, or with
// replay.cpp, which runs the seeds and a bounded number of changes of them in every test run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

std::vector<std::string> seeds();

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            std::fprintf(stderr, "%s:%d: CHECK(%s)\n", __FILE__, __LINE__, #condition);                      \
            std::abort();                                                                                    \
        }                                                                                                    \
    } while (0)

// Takes values off the fuzzer's bytes; past the end all are 0 or empty.
class Input {
public:
    Input(const std::uint8_t* data, std::size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

    std::uint8_t byte()
    {
        const std::string_view taken = take(1);
        return taken.empty() ? std::uint8_t{0} : static_cast<std::uint8_t>(taken[0]);
    }
    std::string_view take(std::size_t size)
    {
        const std::string_view taken = rest_.substr(0, size);
        rest_.remove_prefix(taken.size());
        return taken;
    }
    // Up to the next line feed, which goes too.
    std::string_view line()
    {
        const std::string_view taken = take(rest_.find('\n'));
        take(1);
        return taken;
    }
    std::string_view rest() { return take(rest_.size()); }
    bool empty() const { return rest_.empty(); }

private:
    std::string_view rest_;
};
