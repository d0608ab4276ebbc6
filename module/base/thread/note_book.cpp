#include "base/thread/note_book.hpp"

#include <algorithm>

namespace realtime {

void NoteBook::add(Note::Level level, std::string text, Clock::time_point now, std::string_view kind)
{
    const std::string_view sameAs = kind.empty() ? std::string_view(text) : kind;
    for (auto& entry : entries_) {
        if (entry.kind == sameAs) {
            ++entry.repeats;
            return;
        }
    }
    if (entries_.size() < MaxKinds) {
        entries_.push_back({std::string(sameAs), {level, text}, now + Period, 0});
    }
    sink_({level, std::move(text)});
}

NoteBook::Clock::time_point NoteBook::summarise(Clock::time_point now)
{
    auto next = Clock::time_point::max();
    std::erase_if(entries_, [&](Entry& entry) {
        if (entry.dueAt <= now) {
            if (entry.repeats == 0) {
                return true; // quiet for a whole period
            }
            write(entry);
            entry.repeats = 0;
            entry.dueAt = now + Period;
        }
        next = std::min(next, entry.dueAt);
        return false;
    });
    return next;
}

void NoteBook::flush()
{
    for (const auto& entry : entries_) {
        if (entry.repeats > 0) {
            write(entry);
        }
    }
    entries_.clear();
}

void NoteBook::write(const Entry& entry)
{
    sink_({entry.note.level, entry.note.text + " (" + std::to_string(entry.repeats) + " more times since)"});
}

} // namespace realtime
