// What strangers see of a log tells nothing of its secrets.
#include "log/shared_log.hpp"

#include "log_testing.hpp"

#include "testing.hpp"

#include <array>
#include <bit>

using namespace realtime;
using namespace realtime::testing;

namespace {

using sharedlog::Header;
using sharedlog::Keys;

std::vector<std::uint64_t> wordsOf(const Keys& keys)
{
    static_assert(sizeof(Keys) % sizeof(std::uint64_t) == 0);
    const auto words = std::bit_cast<std::array<std::uint64_t, sizeof(Keys) / sizeof(std::uint64_t)>>(keys);
    return {words.begin(), words.end()};
}

struct Zone {
    Zone() : mapping(SharedLog::MinimumBytes), log(SharedLog::create(mapping.span(), {4})) {}
    const Header& header() const { return *mapping.as<Header>(); }

    std::uint64_t epochOf(const std::string& channel)
    {
        return log.append(makeRecord(channel, makePayload(1, 8)), SharedLog::NoSlot, wakes).id.epoch;
    }

    SharedMapping mapping;
    SharedLog log;
    Wakes wakes;
};

// The finaliser of splitmix64 and its inverse, which epochs were once computed with.
std::uint64_t mix(std::uint64_t x)
{
    x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31U);
}
std::uint64_t inverse(std::uint64_t odd) // modulo 2^64, by Newton
{
    std::uint64_t result = odd;
    for (int i = 0; i < 6; ++i) {
        result *= 2 - odd * result;
    }
    return result;
}
std::uint64_t unshift(std::uint64_t y, unsigned by)
{
    std::uint64_t x = y;
    for (unsigned i = 0; i < 64 / by; ++i) {
        x = y ^ (x >> by);
    }
    return x;
}
std::uint64_t unmix(std::uint64_t y)
{
    y = unshift(y, 31) * inverse(0x94d049bb133111ebU);
    y = unshift(y, 27) * inverse(0xbf58476d1ce4e5b9U);
    return unshift(y, 30);
}

} // namespace

TEST(each_purpose_of_each_log_has_a_key_of_its_own)
{
    std::set<std::uint64_t> all;
    for (int i = 0; i < 3; ++i) {
        const Zone zone;
        for (const std::uint64_t word : wordsOf(zone.header().keys)) {
            assert_true(word != 0);
            assert_true(all.insert(word).second);
        }
        assert_true(all.insert(zone.log.identity()).second);
    }
}

TEST(epochs_neither_tell_the_next_nor_a_key)
{
    Zone zone;
    const std::vector<std::uint64_t> keys = wordsOf(zone.header().keys);
    std::set<std::uint64_t> seen;
    std::uint64_t last = zone.epochOf("c0");
    for (int i = 1; i < 500; ++i) {
        const std::uint64_t epoch = zone.epochOf("c" + std::to_string(i));
        assert_true(seen.insert(epoch).second);
        for (std::uint64_t near = 0; near < 16; ++near) { // a counter behind an invertible function
            assert_true(mix(unmix(last) + near) != epoch);
            assert_true(mix(unmix(last) - near) != epoch);
            for (const std::uint64_t key : keys) {
                assert_true(unmix(epoch) - near != key && unmix(epoch) + near != key);
                assert_true(epoch - near != key && epoch + near != key);
            }
        }
        last = epoch;
    }
}

TEST(epochs_have_no_bit_in_common)
{
    assert_int_equal(unmix(mix(0x123456789abcdefU)), 0x123456789abcdefU);
    constexpr int Channels = 512;
    Zone zone;
    std::array<int, 64> ones{};
    for (int i = 0; i < Channels; ++i) {
        const std::uint64_t epoch = zone.epochOf("c" + std::to_string(i));
        for (unsigned bit = 0; bit < 64; ++bit) {
            ones[bit] += static_cast<int>(epoch >> bit & 1U);
        }
    }
    for (const int count : ones) { // eight standard deviations on each side
        assert_in_range(count, Channels / 2 - 91, Channels / 2 + 91);
    }
}

TEST(names_that_met_in_one_log_do_not_meet_in_another)
{
    constexpr int Channels = 400;
    Zone first, second;
    const auto bucketsOf = [](Zone& zone) {
        std::map<std::string, std::uint64_t> buckets;
        const sharedlog::Directory directory(sharedlog::Memory(zone.mapping.as<std::byte>()));
        for (int i = 0; i < Channels; ++i) {
            const std::string name = "c" + std::to_string(i);
            buckets[name] = directory.key("app", name)->hash % 16;
        }
        return buckets;
    };
    const auto one = bucketsOf(first);
    const auto other = bucketsOf(second);
    int met = 0;
    for (const auto& [name, bucket] : one) {
        met += other.at(name) == bucket ? 1 : 0;
    }
    assert_in_range(met, 1, Channels / 6); // a sixteenth by chance
}

TEST_MAIN()
