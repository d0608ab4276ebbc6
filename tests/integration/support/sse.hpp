// A reader of Server-Sent Events (HTML standard, section 9.2) on libcurl.
#pragma once

#include "support/http.hpp"

#include <deque>
#include <string>
#include <vector>

namespace realtime::testing {

struct SseEvent {
    std::string id; // as sent with this event; empty: none was
    std::string event = "message";
    std::string data;
};

class SseClient {
public:
    // Adds "Accept: text/event-stream", connects and waits for the head of the answer, whatever its status.
    explicit SseClient(HttpRequest request);
    explicit SseClient(const std::string& url, const std::vector<std::string>& headers = {});

    const HttpResponse& response() { return exchange_.response(); }
    SseEvent receive(std::chrono::milliseconds patience = Patience);  // throws if none comes
    void expectSilence(std::chrono::milliseconds duration = Silence); // no event; comments do not count
    std::size_t comments() const { return comments_; }
    void waitForComment(std::chrono::milliseconds patience = Patience); // the next one
    bool waitForEnd(std::chrono::milliseconds patience = Patience);     // the server has ended the stream
    bool pending(); // takes in what has come; is there an event to receive()?

private:
    void parse();
    void line(std::string_view text);

    HttpExchange exchange_;
    std::string rest_;
    std::deque<SseEvent> events_;
    SseEvent current_;
    bool hasData_ = false;
    std::size_t comments_ = 0;
};

} // namespace realtime::testing
