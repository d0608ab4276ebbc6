#include "hub/handover_record.hpp"

#include "base/utf8.hpp"

#include <array>
#include <type_traits>

namespace realtime {

namespace {

constexpr std::string_view Magic = "rtho";
constexpr std::size_t MaxZones = 64;
constexpr std::size_t MaxNameBytes = 4096; // of locations and zones

using Kind = HandoverRecord::Kind;

class Writer {
public:
    explicit Writer(std::size_t expected) { out_.reserve(expected); }

    template <class Integer> void number(Integer value)
    {
        static_assert(std::is_unsigned_v<Integer>);
        char bytes[sizeof(Integer)];
        for (char& byte : bytes) {
            byte = static_cast<char>(value & 0xffU);
            value = static_cast<Integer>(value >> (sizeof(Integer) > 1 ? 8U : 0U));
        }
        out_.append(bytes, sizeof(bytes));
    }
    void text(std::string_view text)
    {
        number(static_cast<std::uint32_t>(text.size()));
        out_ += text;
    }
    void flag(bool value) { number(static_cast<std::uint8_t>(value ? 1 : 0)); }
    void bytes(std::string_view bytes) { out_ += bytes; }
    std::string take() { return std::move(out_); }

private:
    std::string out_;
};

// After the first mistake everything reads as empty; ok() tells.
class Reader {
public:
    explicit Reader(std::string_view bytes) : rest_(bytes) {}

    template <class Integer> Integer number()
    {
        std::string_view bytes = take(sizeof(Integer));
        std::uint64_t value = 0;
        for (std::size_t i = bytes.size(); i-- > 0;) {
            value = value << 8U | static_cast<unsigned char>(bytes[i]);
        }
        return static_cast<Integer>(value);
    }
    std::string text(std::size_t atMost)
    {
        auto size = number<std::uint32_t>();
        require(size <= atMost);
        return std::string(take(size));
    }
    bool flag()
    {
        auto value = number<std::uint8_t>();
        require(value <= 1);
        return value == 1;
    }
    // How many elements of at least `least` bytes each follow.
    std::size_t count(std::size_t least, std::size_t atMost)
    {
        std::size_t n = number<std::uint32_t>();
        require(n <= atMost && n <= rest_.size() / least);
        return ok_ ? n : 0;
    }
    std::string_view take(std::size_t size)
    {
        require(size <= rest_.size());
        if (!ok_) {
            return {};
        }
        std::string_view taken = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return taken;
    }
    void require(bool condition) { ok_ = ok_ && condition; }
    bool ok() const { return ok_; }
    bool atEnd() const { return rest_.empty(); }

private:
    std::string_view rest_;
    bool ok_ = true;
};

constexpr std::size_t Unlimited = MaxHandoverBytes;

// --- parts --------------------------------------------------------------------------------------------------------

void write(Writer& out, const SlotOwner& owner)
{
    out.number(owner.slot);
    out.number(static_cast<std::uint32_t>(owner.pid));
    out.number(owner.startTime);
}

void write(Writer& out, const HandoverRecord::Channel& channel)
{
    out.text(channel.name);
    out.number(channel.zone);
    out.number(channel.epoch);
    out.number(channel.lastOffset);
    out.number(channel.historyUntil);
    out.text(channel.memberId);
}

// In the order in which they are written.
template <class Record> auto ratesOf(Record& record)
{
    return std::array{&record.clientEvents, &record.publishes, &record.allPublishes, &record.subscribes,
                      &record.history};
}

void write(Writer& out, const HandoverRecord::Rate& rate)
{
    out.number(static_cast<std::uint64_t>(rate.milliTokens));
    out.number(rate.ageMs);
}

void write(Writer& out, const HandoverRecord::User& user)
{
    out.text(user.id);
    out.text(user.info);
    out.number(static_cast<std::uint32_t>(user.watched.size()));
    for (const auto& [userId, online] : user.watched) {
        out.text(userId);
        out.flag(online);
    }
    out.flag(user.channelAsked);
    out.flag(user.watchPending);
    out.flag(user.terminated);
}

SlotOwner readOwner(Reader& in)
{
    SlotOwner owner;
    owner.slot = in.number<std::uint32_t>();
    owner.pid = static_cast<std::int32_t>(in.number<std::uint32_t>());
    owner.startTime = in.number<std::uint64_t>();
    in.require(owner.slot < SharedLog::MaxSlots);
    return owner;
}

HandoverRecord::Zone readZone(Reader& in)
{
    HandoverRecord::Zone zone;
    zone.name = in.text(MaxNameBytes);
    zone.slot = in.number<std::uint32_t>();
    in.require(zone.slot < SharedLog::MaxSlots);
    return zone;
}

HandoverRecord::Channel readChannel(Reader& in, std::size_t zones)
{
    HandoverRecord::Channel channel;
    channel.name = in.text(MaxChannelBytes);
    channel.zone = in.number<std::uint32_t>();
    channel.epoch = in.number<std::uint64_t>();
    channel.lastOffset = in.number<std::uint64_t>();
    channel.historyUntil = in.number<std::uint64_t>();
    channel.memberId = in.text(MaxMemberIdBytes);
    in.require(!channel.name.empty() && validUtf8(channel.name) && channel.zone < zones);
    return channel;
}

HandoverRecord::Rate readRate(Reader& in)
{
    HandoverRecord::Rate rate;
    rate.milliTokens = static_cast<std::int64_t>(in.number<std::uint64_t>());
    rate.ageMs = in.number<std::uint32_t>();
    return rate;
}

HandoverRecord::User readUser(Reader& in)
{
    HandoverRecord::User user;
    user.id = in.text(Unlimited);
    user.info = in.text(Unlimited);
    constexpr std::size_t LeastWatched = 5; // a length and a flag
    const std::size_t watched = in.count(LeastWatched, Unlimited);
    for (std::size_t i = 0; i < watched && in.ok(); i++) {
        std::string userId = in.text(Unlimited);
        user.watched[std::move(userId)] = in.flag();
    }
    user.channelAsked = in.flag();
    user.watchPending = in.flag();
    user.terminated = in.flag();
    in.require(!user.id.empty());
    return user;
}

void readLists(Reader& in, HandoverRecord& record)
{
    constexpr std::size_t LeastZone = 8;     // two numbers
    constexpr std::size_t LeastChannel = 36; // two lengths, a zone, three positions
    const std::size_t zones = in.count(LeastZone, MaxZones);
    for (std::size_t i = 0; i < zones && in.ok(); i++) {
        record.zones.push_back(readZone(in));
    }
    const std::size_t channels = in.count(LeastChannel, Unlimited);
    for (std::size_t i = 0; i < channels && in.ok(); i++) {
        record.channels.push_back(readChannel(in, record.zones.size()));
    }
}

} // namespace

// --- the whole ----------------------------------------------------------------------------------------------------

std::string encodeHandover(const HandoverRecord& record)
{
    Writer out(512 + record.begun.size() + record.unsent.size() + record.parser.size());
    out.bytes(Magic);
    out.number(HandoverVersion);
    out.number(static_cast<std::uint8_t>(record.kind));
    write(out, record.from);
    out.text(record.app);
    out.text(record.location);
    out.number(record.connectionId);
    out.number(record.idleMs);
    out.number(static_cast<std::uint32_t>(record.zones.size()));
    for (const auto& zone : record.zones) {
        out.text(zone.name);
        out.number(zone.slot);
    }
    out.number(static_cast<std::uint32_t>(record.channels.size()));
    for (const auto& channel : record.channels) {
        write(out, channel);
    }
    out.text(record.publishEvent);
    out.flag(record.deflate);
    out.text(record.parser);
    out.number(record.partialMs);
    out.text(record.begun);
    out.text(record.unsent);
    out.number(record.authorizeMs);
    for (const auto* rate : ratesOf(record)) {
        write(out, *rate);
    }
    out.flag(record.user.has_value());
    if (record.user) {
        write(out, *record.user);
    }
    return out.take();
}

std::optional<HandoverRecord> decodeHandover(std::string_view bytes)
{
    Reader in(bytes);
    in.require(bytes.size() <= MaxHandoverBytes);
    in.require(in.take(Magic.size()) == Magic);
    in.require(in.number<std::uint32_t>() == HandoverVersion);

    HandoverRecord record;
    auto kind = in.number<std::uint8_t>();
    in.require(kind <= static_cast<std::uint8_t>(Kind::Pusher));
    record.kind = static_cast<Kind>(kind);
    record.from = readOwner(in);
    record.app = in.text(MaxAppBytes);
    record.location = in.text(MaxNameBytes);
    record.connectionId = in.number<std::uint64_t>();
    record.idleMs = in.number<std::uint32_t>();
    readLists(in, record);
    record.publishEvent = in.text(Unlimited);
    record.deflate = in.flag();
    record.parser = in.text(Unlimited);
    record.partialMs = in.number<std::uint32_t>();
    record.begun = in.text(Unlimited);
    record.unsent = in.text(Unlimited);
    record.authorizeMs = in.number<std::uint32_t>();
    for (auto* rate : ratesOf(record)) {
        *rate = readRate(in);
    }
    if (in.flag()) {
        record.user = readUser(in);
    }
    return in.ok() && in.atEnd() ? std::optional(std::move(record)) : std::nullopt;
}

} // namespace realtime
