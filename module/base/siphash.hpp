// SipHash-2-4 (Aumasson, Bernstein, 2012): a 64-bit keyed hash for tables that strangers fill. Without the key
// nobody can choose names that collide.
//
// Text is fed in pieces: add("ab"), add("c") hashes as add("abc"). Where the borders matter, add the lengths too.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace realtime {

struct SipKey {
    std::uint64_t k0 = 0;
    std::uint64_t k1 = 0;
};

class SipHash {
public:
    explicit SipHash(const SipKey& key)
        : v0_(key.k0 ^ 0x736f6d6570736575U), v1_(key.k1 ^ 0x646f72616e646f6dU),
          v2_(key.k0 ^ 0x6c7967656e657261U), v3_(key.k1 ^ 0x7465646279746573U)
    {
    }

    SipHash& add(std::string_view text)
    {
        length_ += text.size();
        while (text.size() >= sizeof(std::uint64_t)) {
            std::uint64_t word = 0;
            std::memcpy(&word, text.data(), sizeof(word));
            feed(word, sizeof(word));
            text.remove_prefix(sizeof(word));
        }
        if (!text.empty()) {
            std::uint64_t word = 0;
            std::memcpy(&word, text.data(), text.size());
            feed(word, text.size());
        }
        return *this;
    }

    SipHash& add(std::uint64_t word)
    {
        length_ += sizeof(word);
        feed(word, sizeof(word));
        return *this;
    }

    // The hash of what was added. Call it once.
    std::uint64_t finish()
    {
        compress(pending_ | (length_ << 56U));
        v2_ ^= 0xffU;
        for (int i = 0; i < 4; ++i) {
            round();
        }
        return v0_ ^ v1_ ^ v2_ ^ v3_;
    }

private:
    // SipHash reads its input as little-endian words; so do the machines that this is built for.
    static_assert(std::endian::native == std::endian::little);

    // Takes the lowest `bytes` bytes of `word` (those above are 0) behind the ones that wait in pending_.
    void feed(std::uint64_t word, std::size_t bytes)
    {
        pending_ |= word << (8 * filled_);
        if (filled_ + bytes < sizeof(word)) {
            filled_ += bytes;
            return;
        }
        compress(pending_);
        pending_ = filled_ == 0 ? 0 : word >> (8 * (sizeof(word) - filled_));
        filled_ = filled_ + bytes - sizeof(word);
    }

    void compress(std::uint64_t word)
    {
        v3_ ^= word;
        round();
        round();
        v0_ ^= word;
    }

    void round()
    {
        v0_ += v1_;
        v1_ = std::rotl(v1_, 13) ^ v0_;
        v0_ = std::rotl(v0_, 32);
        v2_ += v3_;
        v3_ = std::rotl(v3_, 16) ^ v2_;
        v0_ += v3_;
        v3_ = std::rotl(v3_, 21) ^ v0_;
        v2_ += v1_;
        v1_ = std::rotl(v1_, 17) ^ v2_;
        v2_ = std::rotl(v2_, 32);
    }

    std::uint64_t v0_, v1_, v2_, v3_;
    std::uint64_t pending_ = 0; // the lowest filled_ bytes
    std::size_t filled_ = 0;    // 0 to 7
    std::uint64_t length_ = 0;
};

} // namespace realtime
