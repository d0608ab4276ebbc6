// Keyed and plain digests, as signatures of the Pusher protocol need them. OpenSSL does the work.
//
// Thread     pure functions, any thread.
// Errors     std::runtime_error if OpenSSL refuses the digest (MD5 in a FIPS build), std::bad_alloc.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace realtime {

using Sha256Digest = std::array<std::uint8_t, 32>;

// RFC 2104 over SHA-256. An empty key is legal.
Sha256Digest hmacSha256(std::string_view key, std::string_view text);
std::string hmacSha256Hex(std::string_view key, std::string_view text); // 64 lower-case digits

// Not for secrets: the Pusher protocol asks for it as a checksum of request bodies.
std::string md5Hex(std::string_view text); // 32 lower-case digits

// Compares in a time that tells nothing but the lengths.
bool equalInConstantTime(std::string_view a, std::string_view b);

} // namespace realtime
