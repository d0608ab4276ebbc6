// Telling the subscribers of a channel who comes and goes, at a rate that who comes and goes does not set.
//
// An arrival is told at once; a departure not before AnnouncePauseMs have passed since the member was announced. Who is back
// by then has not been away, for all that others know. So one member is told of twice in that time at most, however often it
// joins and leaves; and what is told last is how it stands.
//
// Order      what subscribers were told and the snapshot of who joins agree at every instant: a snapshot holds who was
//            announced (Announced in layout.hpp), not who has a connection.
// Locking    under the log's mutex; the sleepers are to be woken after its release.
// Crash      a departure is announced before it is noted, an arrival noted as uncertain before it is announced: rather
//            twice than never.
#pragma once

#include "log/appender.hpp"
#include "log/presence.hpp"

#include <cstdint>
#include <optional>

namespace realtime::sharedlog {

class Announcing {
public:
    // `self`: the caller's slot, which is not woken.
    Announcing(Memory memory, std::uint32_t self, SlotSet& sleepers)
        : presence_(memory), memory_(memory), self_(self), sleepers_(sleepers)
    {
    }

    // The member has its first connection now. `announcement` is made for it as it came; `timeMs` of it is the time.
    Telling came(std::uint32_t member, std::string_view info, const NewRecord& announcement, bool atOnce);
    // It is about to lose its last one.
    Telling goes(std::uint32_t member, const NewRecord& announcement, bool atOnce);
    // The same, whatever the time: the worker or node is dead that it was connected to.
    void gone(std::uint32_t member, const NewRecord& announcement);

    // Announces what waits in the channel and is due at `nowMs` (`all`: also what is not), `most` of it. Returns how long
    // the next has to wait, 0 if there may be more now; nullopt: nothing waits.
    std::optional<std::int64_t> announceDue(std::uint32_t entry, std::int64_t nowMs, bool all, int most,
                                            Announcer& announcer);
    static bool waits(const MemberRow& row);

private:
    static std::int64_t pauseLeft(const MemberRow& row, std::int64_t nowMs);
    void append(std::uint32_t member, const NewRecord& announcement);
    void tell(std::uint32_t member, std::int64_t nowMs, Announcer& announcer);

    Presence presence_;
    Memory memory_;
    std::uint32_t self_;
    SlotSet& sleepers_;
};

} // namespace realtime::sharedlog
