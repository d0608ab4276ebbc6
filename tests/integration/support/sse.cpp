#include "support/sse.hpp"

namespace realtime::testing {
namespace {

HttpRequest streamRequest(HttpRequest request)
{
    request.headers.emplace_back("Accept: text/event-stream");
    return request;
}

HttpRequest requestOf(const std::string& url, const std::vector<std::string>& headers)
{
    HttpRequest request;
    request.url = url;
    request.headers = headers;
    return request;
}

} // namespace

SseClient::SseClient(HttpRequest request) : exchange_(streamRequest(std::move(request)))
{
    const auto deadline = Clock::now() + Patience;
    while (!exchange_.headersReceived() && !exchange_.done()) {
        expect(Clock::now() < deadline, "no head of the event stream in time");
        exchange_.pump(20ms);
    }
}

SseClient::SseClient(const std::string& url, const std::vector<std::string>& headers)
    : SseClient(requestOf(url, headers))
{
}

void SseClient::line(std::string_view text)
{
    if (text.empty()) {
        if (hasData_) {
            current_.data.pop_back(); // the last line's feed
            events_.push_back(current_);
        }
        current_ = {};
        hasData_ = false;
        return;
    }
    const auto colon = text.find(':');
    const std::string_view field = text.substr(0, colon);
    std::string_view value = colon == std::string_view::npos ? "" : text.substr(colon + 1);
    if (value.starts_with(' ')) {
        value.remove_prefix(1);
    }
    if (field.empty()) {
        ++comments_;
    } else if (field == "id") {
        current_.id = value;
    } else if (field == "event") {
        current_.event = value;
    } else if (field == "data") {
        current_.data.append(value).push_back('\n');
        hasData_ = true;
    }
}

// Lines may end in LF, CR LF or CR; a server of ours only sends LF, so a CR here is part of a broken line.
void SseClient::parse()
{
    rest_ += exchange_.response().body;
    exchange_.response().body.clear();
    std::size_t begin = 0;
    for (std::size_t end = 0; (end = rest_.find('\n', begin)) != std::string::npos; begin = end + 1) {
        std::string_view text(rest_.data() + begin, end - begin);
        expect(text.find('\r') == std::string_view::npos, "a carriage return in an event stream");
        line(text);
    }
    rest_.erase(0, begin);
}

SseEvent SseClient::receive(std::chrono::milliseconds patience)
{
    const auto deadline = Clock::now() + patience;
    parse();
    while (events_.empty()) {
        expect(!exchange_.done(), "the event stream has ended: " + exchange_.error());
        expect(Clock::now() < deadline, "no server-sent event in time");
        exchange_.pump(20ms);
        parse();
    }
    SseEvent event = events_.front();
    events_.pop_front();
    return event;
}

bool SseClient::pending()
{
    exchange_.pump(0ms);
    parse();
    return !events_.empty();
}

void SseClient::expectSilence(std::chrono::milliseconds duration)
{
    const auto deadline = Clock::now() + duration;
    do {
        exchange_.pump(10ms);
        parse();
        expect(events_.empty(), "unexpected event: " + (events_.empty() ? "" : events_.front().data));
    } while (Clock::now() < deadline);
}

void SseClient::waitForComment(std::chrono::milliseconds patience)
{
    const auto before = comments_;
    const auto deadline = Clock::now() + patience;
    while (comments_ == before) {
        expect(Clock::now() < deadline && !exchange_.done(), "no comment in time");
        exchange_.pump(20ms);
        parse();
    }
}

bool SseClient::waitForEnd(std::chrono::milliseconds patience)
{
    const auto deadline = Clock::now() + patience;
    while (!exchange_.done() && Clock::now() < deadline) {
        exchange_.pump(20ms);
        parse();
    }
    return exchange_.done();
}

} // namespace realtime::testing
