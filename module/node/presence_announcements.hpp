// Tells the subscribers of presence channels who comes and goes: at once where that is calm, else a second later and together.
// What is to be told, and that it agrees with the snapshots, is the log's to say (log/announcing.hpp); here is when, and in
// what words.
//
// Thread     the event loop; one a worker. What waits is told by the worker that has made it wait, or by one that adopts it.
#pragma once

#include "log/shared_log.hpp"
#include "node/event_loop.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace realtime {

class Node;

// That a member has come, or (without `info`, its JSON) gone. Owns what its record points to.
class PresenceRecord {
public:
    PresenceRecord(std::int64_t nowMs, std::string_view app, std::string_view channel,
                   std::string_view userId, std::optional<std::string_view> info);
    PresenceRecord(const PresenceRecord&) = delete;
    PresenceRecord& operator=(const PresenceRecord&) = delete;
    const NewRecord& get() const { return record_; }

private:
    std::string data_;
    NewRecord record_;
};

class PresenceAnnouncements final : private Announcer {
public:
    // So many changes of a channel are told one by one in Pause; more wait and go together.
    static constexpr std::uint32_t TellEach = 64;
    static constexpr Msec Pause = SharedLog::AnnouncePauseMs;

    explicit PresenceAnnouncements(Node& node);

    // May one more change of the channel be told at once?
    bool atOnce(std::uint32_t log, ChannelRef channel) const;
    // What has become of it.
    void changed(std::uint32_t log, ChannelRef channel, Telling telling);
    // A worker is dead that may have had something to tell.
    void adopt();
    // Called now and then.
    void tick();
    // This process ends: tells what waits.
    void tellAll() { tellDue(true); }

private:
    using Place = std::pair<std::uint32_t, std::uint32_t>; // log, index of the channel's entry
    struct Waiting {
        std::uint32_t log;
        ChannelRef channel;
    };
    struct Pace {
        Msec since;
        std::uint32_t told; // in Pause
    };

    void memberAdded(std::string_view app, std::string_view channel, std::string_view userId,
                     std::string_view info, NewRecord& announcement) override;
    void memberRemoved(std::string_view app, std::string_view channel, std::string_view userId,
                       NewRecord& announcement) override;
    void tellIn(std::uint32_t log, ChannelRef channel, Msec ms);
    void tellDue(bool all);

    Node& node_;
    std::multimap<Msec, Waiting> waiting_; // by when it is due
    std::set<Place> waits_;                // the same channels
    std::unique_ptr<EventLoop::Task> due_; // runs while there are any
    std::map<Place, Pace> paces_;
    std::optional<PresenceRecord> announcement_; // what the announcer hands out
};

} // namespace realtime
