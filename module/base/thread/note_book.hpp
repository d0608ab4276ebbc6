// Keeps the error log readable while something fails again and again: the first note of a kind passes, repeats within
// a minute are counted, and the minute's count follows as one line.
#pragma once

#include "base/thread/note.hpp"

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace realtime {

class NoteBook {
public:
    using Clock = std::chrono::steady_clock;
    using Sink = std::function<void(Note)>;

    static constexpr std::chrono::seconds Period{60};
    static constexpr std::size_t MaxKinds = 32; // further kinds pass unsummarised

    explicit NoteBook(Sink sink) : sink_(std::move(sink)) {}

    // `kind` (empty: the text itself) tells what is a repeat.
    void add(Note::Level level, std::string text, Clock::time_point now, std::string_view kind = {});

    // Writes the summaries that are due; returns when to call again (max: not before the next add()).
    Clock::time_point summarise(Clock::time_point now);

    // Writes all summaries now and forgets: what failed has been mended, so that a new failure is news again.
    void flush();

private:
    struct Entry {
        std::string kind;
        Note note;
        Clock::time_point dueAt;
        std::uint64_t repeats = 0;
    };

    void write(const Entry& entry);

    Sink sink_;
    std::vector<Entry> entries_;
};

} // namespace realtime
