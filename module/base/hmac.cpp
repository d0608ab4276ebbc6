#include "base/hmac.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <limits>
#include <span>
#include <stdexcept>

namespace realtime {

namespace {

const unsigned char* octets(std::string_view text)
{
    static constexpr unsigned char Nothing = 0; // OpenSSL takes a null key for "as before"
    return text.empty() ? &Nothing : reinterpret_cast<const unsigned char*>(text.data());
}

std::string hex(std::span<const std::uint8_t> digest)
{
    constexpr std::string_view Digits = "0123456789abcdef";
    std::string out;
    out.reserve(digest.size() * 2);
    for (const std::uint8_t byte : digest) {
        out += Digits[byte >> 4];
        out += Digits[byte & 15];
    }
    return out;
}

} // namespace

Sha256Digest hmacSha256(std::string_view key, std::string_view text)
{
    Sha256Digest digest;
    unsigned int size = 0;
    if (key.size() > std::numeric_limits<int>::max() ||
        HMAC(EVP_sha256(), octets(key), static_cast<int>(key.size()), octets(text), text.size(),
             digest.data(), &size) == nullptr ||
        size != digest.size()) {
        throw std::runtime_error("OpenSSL can't compute HMAC-SHA256");
    }
    return digest;
}

std::string hmacSha256Hex(std::string_view key, std::string_view text)
{
    return hex(hmacSha256(key, text));
}

std::string md5Hex(std::string_view text)
{
    std::array<std::uint8_t, EVP_MAX_MD_SIZE> digest;
    unsigned int size = 0;
    if (EVP_Digest(octets(text), text.size(), digest.data(), &size, EVP_md5(), nullptr) != 1) {
        throw std::runtime_error("OpenSSL can't compute MD5");
    }
    return hex(std::span(digest).first(size));
}

bool equalInConstantTime(std::string_view a, std::string_view b)
{
    return a.size() == b.size() && CRYPTO_memcmp(octets(a), octets(b), a.size()) == 0;
}

} // namespace realtime
