#include "nginx/status_feed.hpp"

#include "nginx/outlet.hpp"
#include "nginx/worker.hpp"
#include "node/status_figures.hpp"

#include "wire/sse.hpp"

#include <array>

namespace realtime {

namespace {

constexpr std::uint64_t RetryMs = 1000; // a page that looks is to be back soon after a reload

FramePtr encode(Encoding encoding, std::string_view event, std::string_view data)
{
    FrameBuilder text(data.size() + 64);
    appendSseEvent(text, {}, event, data);
    return encoding == Encoding::SseChunked ? finishChunk(text) : text.finish();
}

std::string figuresOf(Worker& worker)
{
    std::string json = renderJson(takeFigures(worker));
    json.pop_back(); // its line feed
    return json;
}

} // namespace

StatusFeed::StatusFeed(Worker& worker) : worker_(worker), timer_([this] { onTime(); }) {}

void StatusFeed::add(Outlet& outlet, std::string_view greeting)
{
    FrameBuilder retry;
    appendSseRetry(retry, RetryMs);
    outlet.enqueue(outlet.encoding() == Encoding::SseChunked ? finishChunk(retry) : retry.finish(), 0);
    outlet.enqueue(encode(outlet.encoding(), "settings", greeting), 0);
    outlet.enqueue(encode(outlet.encoding(), {}, figuresOf(worker_)), 0);
    if (outlets_.empty()) {
        timer_.after(Interval);
    }
    outlets_.push_back(&outlet);
}

void StatusFeed::forget(Outlet& outlet)
{
    if (std::erase(outlets_, &outlet) != 0 && outlets_.empty()) {
        timer_.cancel();
    }
}

void StatusFeed::onTime()
{
    timer_.after(Interval);
    std::string figures = figuresOf(worker_);
    std::array<FramePtr, EncodingCount> frames;
    for (Outlet* outlet : outlets_) { // a flush ends none of them, not before the turn's end
        FramePtr& frame = frames[static_cast<std::size_t>(outlet->encoding())];
        if (!frame) {
            frame = encode(outlet->encoding(), {}, figures);
        }
        outlet->enqueue(frame, 0);
        outlet->flush();
    }
}

} // namespace realtime
