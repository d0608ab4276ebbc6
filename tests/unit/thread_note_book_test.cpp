#include "base/thread/note_book.hpp"

#include "testing.hpp"

using namespace std::chrono_literals;
using realtime::Note;
using realtime::NoteBook;

namespace {

struct Log {
    std::vector<std::string> lines;
    NoteBook book{[this](Note note) { lines.push_back(std::move(note.text)); }};
    NoteBook::Clock::time_point now{1h};

    void add(const char* text, const char* kind = "") { book.add(Note::Level::Warn, text, now, kind); }
};

} // namespace

TEST(the_first_of_a_kind_passes_and_repeats_are_counted_a_minute_long)
{
    Log log;
    log.add("lost");
    log.add("lost");
    log.add("other");
    log.add("lost");
    log.book.summarise(log.now + 59s);
    assert_true((log.lines == std::vector<std::string>{"lost", "other"}));

    log.now += 60s;
    log.book.summarise(log.now);
    assert_int_equal(log.lines.size(), 3);
    assert_text_equal(log.lines[2], "lost (2 more times since)");

    log.book.summarise(log.now + 60s); // quiet: forgotten without a word
    assert_int_equal(log.lines.size(), 3);
    log.add("lost");
    assert_text_equal(log.lines.at(3), "lost");
}

TEST(texts_of_one_kind_count_as_repeats)
{
    Log log;
    log.add("came back: a", "returned");
    log.add("came back: b", "returned");
    log.book.flush();
    assert_true((log.lines == std::vector<std::string>{"came back: a", "came back: a (1 more times since)"}));
}

TEST(flush_makes_the_next_failure_news_again)
{
    Log log;
    log.add("lost");
    log.book.flush();
    log.add("lost");
    assert_true((log.lines == std::vector<std::string>{"lost", "lost"}));
}

TEST(summarise_tells_when_to_come_again)
{
    Log log;
    assert_true(log.book.summarise(log.now) == NoteBook::Clock::time_point::max());
    log.add("lost");
    assert_true(log.book.summarise(log.now) == log.now + NoteBook::Period);
}

TEST(many_kinds_take_bounded_memory_and_still_pass)
{
    Log log;
    for (std::size_t i = 0; i < 3 * NoteBook::MaxKinds; ++i) {
        log.add(std::to_string(i).c_str());
    }
    assert_int_equal(log.lines.size(), 3 * NoteBook::MaxKinds);
}

TEST_MAIN()
