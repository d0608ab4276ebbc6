#include "feed.hpp"

#include "errors.hpp"
#include "json.hpp"

#include <algorithm>

namespace realtime::cli {

namespace {

using namespace std::chrono_literals;

constexpr auto FirstPause = 500ms;
constexpr auto LongestPause = 30'000ms;

bool lastingStatus(int status)
{
    return status >= 400 && status < 500 && status != 408 && status != 425 && status != 429;
}

} // namespace

Feed::Feed(SocketLoop& loop, FeedOptions options, FeedEvents events)
    : loop_(loop), options_(std::move(options)), events_(std::move(events)), pause_(FirstPause)
{
}

Feed::~Feed() = default;

void Feed::turn()
{
    old_.reset();
    if (connectAt_ && Clock::now() >= *connectAt_) {
        connectAt_.reset();
        socket_ = std::make_unique<Socket>(loop_, target(), subprotocol(), *this);
    }
}

void Feed::deliver(const Message& message)
{
    pause_ = FirstPause;
    events_.message(message);
}

void Feed::end(int status, std::string text)
{
    if (!end_) {
        end_ = End{status, std::move(text)};
    }
    connectAt_.reset();
}

void Feed::onOpen(const std::string& position)
{
    everOpen_ = true;
    opened(position);
}

void Feed::onMessage(std::string_view text)
{
    if (const Json json = Json::parse(text); json && json_is_object(json.get())) {
        take(json);
    }
}

void Feed::onEnd(bool opened, int status, const std::string& why)
{
    old_ = std::move(socket_);
    if (end_) {
        return;
    }
    const std::string words = why.empty() ? "" : ": " + why;
    if (!opened) {
        const std::string text =
            status == 0 ? "no connection" + words : "HTTP status " + std::to_string(status);
        if (lastingStatus(status)) {
            end(exit_status::Refused, text);
        } else if (!everOpen_ || !options_.reconnect) {
            end(exit_status::Unreachable, text);
        } else {
            comeAgain(text, false);
        }
        return;
    }
    // libwebsockets 4.1 has 1002 for every code that it does not know, 1012 for one.
    const std::string text = (status == 1002 ? "closed" : "closed with " + std::to_string(status)) + words;
    if (lasting(status) || !options_.reconnect) {
        end(exit_status::Refused, text);
        return;
    }
    comeAgain(text, status == 1012 || (status >= 4200 && status < 4300)); // the server asks for it
}

// With jitter, so that those who were cut off together do not come back together.
void Feed::comeAgain(const std::string& why, bool soon)
{
    events_.note(why + "; connecting again");
    std::uniform_real_distribution<double> part(soon ? 0.0 : 0.5, 1.0);
    const auto pause = soon ? FirstPause : pause_;
    connectAt_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(pause * part(random_));
    pause_ = std::min<std::chrono::milliseconds>(pause_ * 2, LongestPause);
}

} // namespace realtime::cli
