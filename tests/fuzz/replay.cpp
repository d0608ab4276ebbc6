// Runs a fuzz target without libFuzzer: its seeds, all beginnings of them, and pseudo-random changes, the same in
// each run: `PROGRAM TARGET`. `PROGRAM TARGET DIRECTORY` writes the seeds there instead, as a corpus for libFuzzer to
// begin with.
#include "fuzz.hpp"

#include <fstream>

namespace {

constexpr int Changes = 20'000;

void run(const FuzzTarget& target, const std::string& input)
{
    // A copy of exactly this size, so that a sanitizer sees each byte beyond it.
    const std::vector<std::uint8_t> bytes(input.begin(), input.end());
    target.run(bytes.data(), bytes.size());
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

int writeSeeds(const FuzzTarget& target, const std::string& directory)
{
    int number = 0;
    for (const std::string& seed : target.seeds()) {
        std::ofstream(directory + "/seed-" + std::to_string(++number), std::ios::binary) << seed;
    }
    return 0;
}

} // namespace

int main(int argc, char** argv)
{
    const auto found = fuzzTargets().find(argc > 1 ? argv[1] : "");
    if (found == fuzzTargets().end()) {
        std::fprintf(stderr, "usage: %s TARGET [DIRECTORY]; here is:", argv[0]);
        for (const auto& [name, target] : fuzzTargets()) {
            std::fprintf(stderr, " %s", name.c_str());
        }
        std::fprintf(stderr, "\n");
        return 2;
    }
    const FuzzTarget& target = found->second;
    if (argc > 2) {
        return writeSeeds(target, argv[2]);
    }
    const std::vector<std::string> all = target.seeds();
    for (const std::string& seed : all) {
        for (std::size_t size = 0; size <= seed.size(); ++size) {
            run(target, seed.substr(0, size));
        }
    }
    std::uint32_t state = 1;
    for (int i = 0; i < Changes; ++i) {
        std::string input = all[next(state) % all.size()];
        for (std::uint32_t n = next(state) % 4; n <= 4; ++n) {
            change(input, state, all);
        }
        run(target, input);
    }
    return 0;
}
