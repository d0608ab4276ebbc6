// Positions in the log as ids that clients keep. A position counts the bytes of all channels, which is nobody's business:
// so it is enciphered, by four rounds of Feistel's network with SipHash as the round function.
#include "log/layout.hpp"
#include "log/ring.hpp"
#include "log/shared_log.hpp"

#include "base/siphash.hpp"

namespace realtime {

using namespace sharedlog;

namespace {

class CutCipher {
public:
    explicit CutCipher(const Memory& memory)
        : key_(memory.header().keys.cuts), epoch_(memory.header().cutEpoch)
    {
    }

    std::uint64_t epoch() const { return epoch_; }

    std::uint64_t encipher(std::uint64_t text) const
    {
        std::uint32_t left = upper(text);
        std::uint32_t right = lower(text);
        for (std::uint64_t round = 0; round < Rounds; ++round) {
            left ^= scramble(round, right);
            std::swap(left, right);
        }
        return join(left, right);
    }

    std::uint64_t decipher(std::uint64_t text) const
    {
        std::uint32_t left = upper(text);
        std::uint32_t right = lower(text);
        for (std::uint64_t round = Rounds; round-- > 0;) {
            std::swap(left, right);
            left ^= scramble(round, right);
        }
        return join(left, right);
    }

private:
    static constexpr std::uint64_t Rounds = 4;

    static std::uint32_t upper(std::uint64_t word) { return static_cast<std::uint32_t>(word >> 32U); }
    static std::uint32_t lower(std::uint64_t word) { return static_cast<std::uint32_t>(word); }
    static std::uint64_t join(std::uint32_t left, std::uint32_t right)
    {
        return std::uint64_t{left} << 32U | right;
    }
    std::uint32_t scramble(std::uint64_t round, std::uint32_t half) const
    {
        return lower(SipHash(key_).add(join(static_cast<std::uint32_t>(round), half)).finish());
    }

    SipKey key_;
    std::uint64_t epoch_;
};

} // namespace

MessageId SharedLog::cutId(LogPosition position) const
{
    const CutCipher cipher{Memory(base_)};
    return {cipher.epoch(), cipher.encipher(position)};
}

std::optional<LogPosition> SharedLog::cutPosition(const MessageId& id) const
{
    const Memory memory(base_);
    const CutCipher cipher(memory);
    if (id.epoch != cipher.epoch()) {
        return std::nullopt;
    }
    const LogPosition position = cipher.decipher(id.offset);
    if (position + 1 < FirstPosition || position >= Ring(memory).head()) {
        return std::nullopt; // never given out
    }
    return position;
}

} // namespace realtime
