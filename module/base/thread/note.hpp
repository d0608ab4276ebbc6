// What a helper thread tells the event loop: it neither logs nor touches anything of nginx itself.
#pragma once

#include <cstddef>
#include <string>

namespace realtime {

// For the error log: how bad, and a sentence. Repeats are counted and summarised by the thread (note_book.hpp), not repeated.
struct Note {
    enum class Level { Info, Notice, Warn, Error };
    Level level = Level::Info;
    std::string text;
};
inline constexpr std::size_t MaxNotes = 64; // that wait for the event loop; further ones are dropped

// How a helper thread tells the event loop that completions or notes wait. Called on the helper thread.
class LoopWakeUp {
public:
    virtual void wake() = 0;

protected:
    ~LoopWakeUp() = default;
};

} // namespace realtime
