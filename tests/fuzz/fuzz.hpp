// What the fuzz targets share. A target defines seeds() and then
//
//     FUZZ_TARGET(name)(const std::uint8_t* data, std::size_t size) { ...; return 0; }
//
// It is linked with libFuzzer (REALTIME_LIBFUZZER), or with replay.cpp, which runs the seeds and a bounded number of
// changes of them in every test run; several may be one program with that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

struct FuzzTarget {
    std::vector<std::string> (*seeds)();
    int (*run)(const std::uint8_t* data, std::size_t size);
};

inline std::map<std::string, FuzzTarget>& fuzzTargets() // by name
{
    static std::map<std::string, FuzzTarget> all;
    return all;
}

#ifdef REALTIME_LIBFUZZER
#define FUZZ_TARGET(name) extern "C" int LLVMFuzzerTestOneInput
#else
#define FUZZ_TARGET(name)                                                                                    \
    static int name##_run(const std::uint8_t* data, std::size_t size);                                       \
    static const bool name##_added = fuzzTargets().emplace(#name, FuzzTarget{seeds, name##_run}).second;     \
    static int name##_run
#endif

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
