// What people and scripts see: messages, and how far long work is.
#pragma once

#include "arguments.hpp"

#include <cstddef>
#include <string>
#include <string_view>

namespace realtime::cli {

struct Message {
    std::string id, channel, event, data; // event empty: it has none of its own
};

// Control characters, which a terminal would obey, are written as \n, \x1b and so on. What is no UTF-8 goes the same way.
std::string printable(std::string_view text);

enum class Format {
    People, // channel event: data
    Json, // {"id":…,"channel":…,"event":…,"data":…}, with "encoding":"base64" where data is no UTF-8
    RawData, // the data as it came
};

Format formatOf(const Arguments& arguments); // by --json and --raw

// One line on standard output. Throws std::system_error when nobody reads it any more.
void print(const Message& message, Format format);
void printLine(std::string_view text);
// To standard error, as "realtime: …".
void complain(std::string_view text);

// A bar on standard error that is drawn over itself, a mere count where the end is not known (`all` is 0); nothing if that
// is no terminal.
class Progress {
public:
    explicit Progress(bool quiet);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    void show(std::string_view what, std::size_t done, std::size_t all);
    void clear();

private:
    bool active_;
    std::string shown_;
};

} // namespace realtime::cli
