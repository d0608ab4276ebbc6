#include "load/schedule.hpp"

#include <stdexcept>

namespace realtime::bench {

namespace {

double millisecondsSince(Clock::time_point planned)
{
    return std::chrono::duration<double, std::milli>(Clock::now() - planned).count();
}

} // namespace

Schedule::Schedule(const SchedulePlan& plan)
    : interval_(plan.interval), loop_(plan.nap), tally_(plan.publishers),
      publishers_(connectPublishers(loop_, plan.publishAt.port(), plan.publishers)),
      subscribers_(subscribe(loop_, plan.subscribeAt.port(), "/sub/all", plan.subscribers, tally_)),
      planned_(plan.publishers), waiting_(plan.publishers)
{
    tally_.each = [this](const Message& message) {
        deliveries.push_back(millisecondsSince(planned_[message.publisher][message.number - 1]));
    };
}

void Schedule::run(std::size_t count)
{
    publishes.clear();
    deliveries.clear();
    const auto start = Clock::now();
    std::size_t sent = 0;
    loop_.until("all messages are delivered", [&] {
        collect();
        while (sent < count && Clock::now() >= start + sent * interval_ && send(start + sent * interval_)) {
            sent++;
        }
        return publishes.size() == count && deliveries.size() == count * subscribers_.size();
    });
    if (tally_.faults > 0) {
        throw std::runtime_error("messages were lost, doubled or reordered");
    }
}

void Schedule::collect()
{
    for (std::size_t i = 0; i < publishers_.size(); i++) {
        if (waiting_[i] && publishers_[i]->idle()) {
            publishes.push_back(millisecondsSince(planned_[i].back()));
            waiting_[i] = false;
        }
    }
}

// False: all publishers wait for answers.
bool Schedule::send(Clock::time_point planned)
{
    for (std::size_t i = 0; i < publishers_.size(); i++) {
        if (!waiting_[i]) {
            waiting_[i] = true;
            planned_[i].push_back(planned);
            publishers_[i]->post("/pub/all", encode({static_cast<std::uint32_t>(i), planned_[i].size()}));
            return true;
        }
    }
    return false;
}

} // namespace realtime::bench
