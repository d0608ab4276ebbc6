#include "node/activity.hpp"

#include "node/node.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace realtime {

namespace {

constexpr std::int64_t Interval = 1000; // ms between two looks
constexpr double AverageSeconds = 5;    // what rates are averages of
constexpr double Forgotten = 0.01;      // a second
constexpr std::size_t MaxKept = 1024;   // channels whose rates are remembered
constexpr double RateUnit = 1000;       // rates are noted in thousandths

std::uint64_t pack(std::uint32_t high, std::uint64_t low)
{
    return (std::uint64_t{high} << 32U) | std::min<std::uint64_t>(low, ~0U);
}

// 40 bits of bytes, 24 of seconds.
constexpr unsigned WaitShift = 24;
constexpr std::uint64_t MaxWaitSeconds = (1U << WaitShift) - 1;

std::uint64_t packWait(std::size_t bytes, std::int64_t seconds)
{
    return std::uint64_t{bytes} << WaitShift |
           std::min(static_cast<std::uint64_t>(std::max<std::int64_t>(seconds, 0)), MaxWaitSeconds);
}

std::size_t busyWord(std::size_t row)
{
    return FirstBusyChannelWord + row * BusyChannelWords;
}
std::size_t slowWord(std::size_t row)
{
    return FirstSlowSubscriberWord + row * SlowSubscriberWords;
}

// Text and time of an error, with a digest by which a reader knows that it has not met two writers at work.
struct ErrorRow {
    static constexpr std::size_t TextWords = BrokerErrorWords - 2;
    std::uint64_t timeMs = 0;
    std::array<std::uint64_t, TextWords> text{};

    std::uint64_t digest() const
    {
        std::uint64_t hash = 0xcbf29ce484222325U ^ timeMs; // FNV-1a, a word at a time
        for (std::uint64_t word : text) {
            hash = (hash ^ word) * 0x100000001b3U;
        }
        return hash;
    }
};

} // namespace

// --- noting -----------------------------------------------------------------------------------------------------

void Activity::tick()
{
    std::int64_t now = node_.now();
    if (now - lastMs_ < Interval && now >= lastMs_) {
        return;
    }
    // Nothing is known of the time before the first look.
    double seconds =
        lastMs_ == 0 ? 1.0 : static_cast<double>(std::max<std::int64_t>(now - lastMs_, 1)) / 1000;
    lastMs_ = now;
    rankChannels(seconds);
    noteSlowSubscribers();
    noteBrokerErrors();
}

void Activity::rankChannels(double seconds)
{
    Hub& hub = node_.hub();
    rankings_.resize(hub.logCount());
    for (std::uint32_t i = 0; i < hub.logCount(); i++) {
        HubLog& log = hub.log(i);
        if (log.slot == SharedLog::NoSlot || log.log.firstSlotInUse() != log.slot) {
            rankings_[i].forget(); // it is another worker's task
            continue;
        }
        rankings_[i].look(log.log, seconds);
        rankings_[i].write(Counters(log.log.slotCounters(log.slot)));
    }
}

void Activity::Ranking::forget()
{
    cursor_ = 0;
    channels_.clear();
}

void Activity::Ranking::look(const SharedLog& log, double seconds)
{
    if (cursor_ == 0) {
        cursor_ = log.head();
        return;
    }
    LogPosition from = cursor_;
    log.tally(cursor_, MaxTallied, *this);
    LogPosition head = log.head();
    // A sample, if there was more than it may look at: the channels' shares of the bytes that it has seen.
    double scale = 1;
    if (cursor_ < head && cursor_ > from) {
        scale = static_cast<double>(head - from) / static_cast<double>(cursor_ - from);
    }
    cursor_ = head;
    average(scale, seconds);
}

void Activity::Ranking::count(const ChannelRef& channel, std::uint32_t flags)
{
    if ((flags & (record_flag::Internal | record_flag::Control)) == 0) {
        Channel& known = channels_[channel.epoch];
        known.index = channel.index;
        known.fresh++;
    }
}

void Activity::Ranking::average(double scale, double seconds)
{
    double weight = 1 - std::exp(-seconds / AverageSeconds);
    for (auto& [epoch, channel] : channels_) {
        channel.perSecond += weight * (channel.fresh * scale / seconds - channel.perSecond);
        channel.fresh = 0;
    }
    double least = Forgotten;
    if (channels_.size() > MaxKept) {
        std::vector<double> rates;
        rates.reserve(channels_.size());
        for (const auto& [epoch, channel] : channels_) {
            rates.push_back(channel.perSecond);
        }
        auto last = rates.begin() + MaxKept;
        std::nth_element(rates.begin(), last, rates.end(), std::greater<>());
        least = std::max(least, *last);
    }
    std::erase_if(channels_, [least](const auto& one) { return one.second.perSecond <= least; });
}

void Activity::Ranking::write(Counters slot) const
{
    std::vector<std::pair<std::uint64_t, Channel>> ranked(channels_.begin(), channels_.end());
    std::size_t rows = std::min(ranked.size(), MaxBusyChannels);
    std::partial_sort(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(rows), ranked.end(),
                      [](const auto& a, const auto& b) { return a.second.perSecond > b.second.perSecond; });
    for (std::size_t row = 0; row < MaxBusyChannels; row++) {
        bool used = row < rows;
        slot.set(busyWord(row), used ? ranked[row].first : 0);
        slot.set(busyWord(row) + 1,
                 !used ? 0
                       : pack(ranked[row].second.index, static_cast<std::uint64_t>(std::llround(
                                                            ranked[row].second.perSecond * RateUnit))));
    }
}

void Activity::noteSlowSubscribers()
{
    std::int64_t now = node_.now();
    std::vector<WaitingSubscriber> waiting = node_.hub().waiting(now);
    // What only follows the figures has no channel.
    std::erase_if(waiting, [](const WaitingSubscriber& one) { return !one.subscriber->subscribed(); });
    std::uint64_t bytes = 0;
    for (const WaitingSubscriber& one : waiting) {
        bytes += one.subscriber->waitingBytes();
    }
    node_.counters().set(word(Gauge::SlowSubscribers), waiting.size());
    node_.counters().set(word(Gauge::WaitingBytes), bytes);

    std::sort(waiting.begin(), waiting.end(), [](const WaitingSubscriber& a, const WaitingSubscriber& b) {
        return a.subscriber->waitingBytes() > b.subscriber->waitingBytes();
    });
    for (std::uint32_t i = 0; i < node_.hub().logCount(); i++) {
        if (node_.hub().log(i).slot != SharedLog::NoSlot) {
            listSlowSubscribers(i, waiting, now);
        }
    }
}

// The first of those who follow a channel of this zone.
void Activity::listSlowSubscribers(std::uint32_t zone, std::span<const WaitingSubscriber> waiting,
                                   std::int64_t nowMs)
{
    const HubLog& log = node_.hub().log(zone);
    Counters slot(log.log.slotCounters(log.slot));
    std::size_t row = 0;
    for (const WaitingSubscriber& one : waiting) {
        const LocalChannel& channel = *one.subscriber->subscriptions()->channel;
        if (channel.log != zone || row == MaxSlowSubscribers) {
            continue;
        }
        Gauge transport = node_.transportOf(*one.subscriber);
        slot.set(slowWord(row), channel.ref.epoch);
        slot.set(slowWord(row) + 1, pack(channel.ref.index, word(transport)));
        slot.set(slowWord(row) + 2, packWait(one.subscriber->waitingBytes(), (nowMs - one.sinceMs) / 1000));
        row++;
    }
    for (; row < MaxSlowSubscribers; row++) {
        slot.set(slowWord(row), 0);
    }
}

void Activity::noteBrokerErrors()
{
    Counters shared(node_.hub().log(0).log.retiredCounters());
    const auto& brokers = node_.brokers();
    for (std::size_t i = 0; i < brokers.size() && i < MaxBrokers; i++) {
        const std::string& error = brokers[i].broker->lastError();
        if (error.empty()) {
            continue;
        }
        ErrorRow row;
        row.timeMs = static_cast<std::uint64_t>(node_.now());
        std::memcpy(row.text.data(), error.data(), std::min(error.size(), sizeof(row.text)));
        std::size_t at = FirstBrokerErrorWord + i * BrokerErrorWords;
        shared.set(at, row.timeMs);
        shared.set(at + 1, row.digest());
        for (std::size_t w = 0; w < ErrorRow::TextWords; w++) {
            shared.set(at + 2 + w, row.text[w]);
        }
    }
}

// --- reading ----------------------------------------------------------------------------------------------------

std::vector<BusyChannel> busiestChannels(const SharedLog& log)
{
    std::vector<BusyChannel> channels;
    std::uint32_t first = log.firstSlotInUse();
    if (first == SharedLog::NoSlot) {
        return channels;
    }
    Counters slot(log.slotCounters(first));
    for (std::size_t row = 0; row < MaxBusyChannels; row++) {
        std::uint64_t epoch = slot.get(busyWord(row));
        std::uint64_t packed = slot.get(busyWord(row) + 1);
        auto named = log.named({static_cast<std::uint32_t>(packed >> 32U), epoch});
        if (named) { // not, if it has been forgotten since
            channels.push_back({std::move(named->app), std::move(named->channel),
                                static_cast<double>(packed & ~0U) / RateUnit, named->info.lastOffset,
                                named->info.subscribers});
        }
    }
    return channels;
}

std::vector<SlowSubscriber> slowSubscribers(const SharedLog& log)
{
    std::vector<SlowSubscriber> slow;
    for (std::uint32_t i = 0; i < log.slots(); i++) {
        if (!log.slotInUse(i)) {
            continue;
        }
        Counters slot(log.slotCounters(i));
        for (std::size_t row = 0; row < MaxSlowSubscribers; row++) {
            std::uint64_t packed = slot.get(slowWord(row) + 1);
            auto named = log.named({static_cast<std::uint32_t>(packed >> 32U), slot.get(slowWord(row))});
            if (named) {
                std::uint64_t wait = slot.get(slowWord(row) + 2);
                slow.push_back({std::move(named->app), std::move(named->channel),
                                static_cast<Gauge>(packed & ~0U), log.slotPid(i), wait >> WaitShift,
                                wait & MaxWaitSeconds});
            }
        }
    }
    std::sort(slow.begin(), slow.end(), [](const SlowSubscriber& a, const SlowSubscriber& b) {
        return a.waitingBytes > b.waitingBytes;
    });
    return slow;
}

std::optional<BrokerError> lastBrokerError(const SharedLog& log, std::size_t broker)
{
    Counters shared(log.retiredCounters());
    std::size_t at = FirstBrokerErrorWord + broker * BrokerErrorWords;
    ErrorRow row;
    row.timeMs = shared.get(at);
    for (std::size_t w = 0; w < ErrorRow::TextWords; w++) {
        row.text[w] = shared.get(at + 2 + w);
    }
    if (row.timeMs == 0 || row.digest() != shared.get(at + 1)) {
        return std::nullopt;
    }
    const char* text = reinterpret_cast<const char*>(row.text.data());
    return BrokerError{static_cast<std::int64_t>(row.timeMs),
                       std::string(text, strnlen(text, sizeof(row.text)))};
}

} // namespace realtime
