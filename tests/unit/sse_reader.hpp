// A reader of event streams that shares no code with the writer, after WHATWG HTML 9.2.6 "Interpreting an event
// stream"; `encoding` is our addition.
#pragma once

#include <string>
#include <vector>

namespace realtime::testing {

struct SseEvent {
    std::string id, type, data, encoding;
};

inline std::vector<SseEvent> readSse(const std::string& stream)
{
    std::vector<SseEvent> events;
    std::string id, type, data, encoding;
    std::size_t at = 0;
    while (at < stream.size()) {
        std::string line;
        while (at < stream.size() && stream[at] != '\r' && stream[at] != '\n') {
            line += stream[at++];
        }
        if (at == stream.size()) {
            break; // an unfinished line is discarded
        }
        at += stream.compare(at, 2, "\r\n") == 0 ? 2 : 1;
        if (line.empty()) {
            if (!data.empty()) {
                data.pop_back();
                events.push_back({id, type.empty() ? "message" : type, data, encoding});
            }
            type.clear();
            data.clear();
            encoding.clear();
            continue;
        }
        const std::size_t colon = line.find(':');
        if (colon == 0) {
            continue;
        }
        const std::string field = line.substr(0, colon);
        std::string value = colon == std::string::npos ? "" : line.substr(colon + 1);
        if (!value.empty() && value[0] == ' ') {
            value.erase(0, 1);
        }
        if (field == "data") {
            data += value + "\n";
        } else if (field == "event") {
            type = value;
        } else if (field == "id" && value.find('\0') == std::string::npos) {
            id = value;
        } else if (field == "encoding") {
            encoding = value;
        }
    }
    return events;
}

} // namespace realtime::testing
