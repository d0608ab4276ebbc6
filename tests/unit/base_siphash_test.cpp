#include "base/siphash.hpp"

#include "testing.hpp"

using namespace realtime;

namespace {

// Key and inputs of the reference implementation's test: bytes 0, 1, 2, ...
const SipKey ReferenceKey{0x0706050403020100, 0x0f0e0d0c0b0a0908};

std::string counting(std::size_t bytes)
{
    std::string text;
    for (std::size_t i = 0; i < bytes; ++i) {
        text.push_back(static_cast<char>(i));
    }
    return text;
}

} // namespace

TEST(hashes_equal_the_reference_vectors)
{
    const struct {
        std::size_t bytes;
        std::uint64_t hash;
    } rows[] = {
        {0, 0x726fdb47dd0e0e31},  {1, 0x74f839c593dc67fd},  {2, 0x0d6c8009d9a94f5a}, {3, 0x85676696d7fb7e2d},
        {7, 0xab0200f58b01d137},  {8, 0x93f5f5799a932462},  {9, 0x9e0082df0ba9e4b0}, {15, 0xa129ca6149be45e5},
        {16, 0x3f2acc7f57c29bdb}, {63, 0x958a324ceb064572},
    };
    for (const auto& row : rows) {
        assert_int_equal(SipHash(ReferenceKey).add(counting(row.bytes)).finish(), row.hash);
    }
}

TEST(pieces_hash_as_the_whole)
{
    const std::string text = counting(40);
    const std::uint64_t whole = SipHash(ReferenceKey).add(text).finish();
    for (std::size_t first = 0; first <= text.size(); ++first) {
        for (std::size_t second = first; second <= text.size(); ++second) {
            const std::string_view view(text);
            SipHash hash(ReferenceKey);
            hash.add(view.substr(0, first)).add(view.substr(first, second - first)).add(view.substr(second));
            assert_int_equal(hash.finish(), whole);
        }
    }
}

TEST(a_word_hashes_as_its_eight_bytes)
{
    assert_int_equal(SipHash(ReferenceKey).add("x").add(std::uint64_t{0x0807060504030201}).finish(),
                     SipHash(ReferenceKey).add("x\1\2\3\4\5\6\7\x08").finish());
}

TEST_MAIN()
