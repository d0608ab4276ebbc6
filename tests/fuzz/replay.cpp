// Runs a fuzz target without libFuzzer: its seeds, all beginnings of them, and pseudo-random changes, the same in
// each run. With a directory as argument it writes the seeds there instead, as a corpus for libFuzzer to begin with.
#include "fuzz.hpp"

#include <fstream>

namespace {

constexpr int Changes = 20'000;

void run(const std::string& input)
{
    // A copy of exactly this size, so that a sanitizer sees each byte beyond it.
    const std::vector<std::uint8_t> bytes(input.begin(), input.end());
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

std::uint32_t next(std::uint32_t& state) // Numerical Recipes' LCG; its high bits are good enough
{
    state = state * 1664525 + 1013904223;
    return state >> 8;
}

void change(std::string& input, std::uint32_t& state, const std::vector<std::string>& all)
{
    const std::size_t at = input.empty() ? 0 : next(state) % input.size();
    switch (next(state) % 5) {
    case 0:
        input.insert(at, 1, static_cast<char>(next(state)));
        break;
    case 1:
        input.erase(at, next(state) % 4);
        break;
    case 2:
        input += all[next(state) % all.size()];
        break;
    case 3:
        input.insert(at, all[next(state) % all.size()]);
        break;
    default:
        if (!input.empty()) {
            input[at] = static_cast<char>(input[at] ^ (1 << next(state) % 8));
        }
    }
}

int writeSeeds(const std::string& directory)
{
    int number = 0;
    for (const std::string& seed : seeds()) {
        std::ofstream(directory + "/seed-" + std::to_string(++number), std::ios::binary) << seed;
    }
    return 0;
}

} // namespace

int main(int argc, char** argv)
{
    if (argc > 1) {
        return writeSeeds(argv[1]);
    }
    const std::vector<std::string> all = seeds();
    for (const std::string& seed : all) {
        for (std::size_t size = 0; size <= seed.size(); ++size) {
            run(seed.substr(0, size));
        }
    }
    std::uint32_t state = 1;
    for (int i = 0; i < Changes; ++i) {
        std::string input = all[next(state) % all.size()];
        for (std::uint32_t n = next(state) % 4; n <= 4; ++n) {
            change(input, state, all);
        }
        run(input);
    }
    return 0;
}
