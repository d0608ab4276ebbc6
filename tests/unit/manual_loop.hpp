// An event loop that a test turns by hand: time passes when the test says so, and posted work runs in its order. Only helper
// threads, which tell of themselves by a descriptor, are really waited for (until()).
#pragma once

#include "node/event_loop.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

namespace realtime::testing {

class ManualLoop final : public EventLoop {
public:
    std::int64_t nowMs() const override { return StartMs + static_cast<std::int64_t>(ticks_); }
    Msec ticks() const override { return ticks_; }
    bool exiting() const override { return exiting_; }
    void log(const Note& note) override { notes.push_back(note); }
    std::unique_ptr<EventLoop::Task> task(std::function<void()> body) override
    {
        return std::make_unique<ManualTask>(*this, std::move(body));
    }
    std::unique_ptr<EventLoop::Watch> watch(int fd, std::function<void()> body) override
    {
        return std::make_unique<ManualWatch>(*this, fd, std::move(body));
    }

    // What is posted or due, and what descriptors have.
    void turn() { turn(0); }
    void advance(Msec time)
    {
        for (const Msec end = ticks_ + time; ticks_ < end;) {
            ticks_ = std::min(end, ticks_ + Step);
            turn();
        }
    }
    // Turns until it is true, as helper threads bring it about. Long, since it is for failure only.
    void until(const std::function<bool()>& reached)
    {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
        while (!reached()) {
            if (std::chrono::steady_clock::now() > end) {
                throw std::runtime_error("it did not come");
            }
            turn(10);
        }
    }
    void tellToGo() { exiting_ = true; }
    bool logged(std::string_view words) const
    {
        return std::any_of(notes.begin(), notes.end(),
                           [words](const Note& note) { return note.text.find(words) != std::string::npos; });
    }

    std::vector<Note> notes;

private:
    static constexpr std::int64_t StartMs = 1'700'000'000'000;
    static constexpr Msec Step = 20;

    class ManualTask final : public EventLoop::Task {
    public:
        ManualTask(ManualLoop& loop, std::function<void()> body) : loop_(loop), body_(std::move(body))
        {
            loop_.tasks_.push_back(this);
        }
        ~ManualTask() override { std::erase(loop_.tasks_, this); }
        void after(Msec delay, bool) override
        {
            timer_ = true;
            due_ = loop_.ticks_ + delay;
        }
        void atTurnEnd() override { turnEnd_ = true; }
        void inNextTurn() override { nextTurn_ = true; }
        void cancel() override { timer_ = turnEnd_ = nextTurn_ = false; }

    private:
        friend class ManualLoop;
        ManualLoop& loop_;
        std::function<void()> body_;
        bool timer_ = false, turnEnd_ = false, nextTurn_ = false;
        Msec due_ = 0;
    };
    class ManualWatch final : public EventLoop::Watch {
    public:
        ManualWatch(ManualLoop& loop, int fd, std::function<void()> body)
            : loop_(loop), fd_(fd), body_(std::move(body))
        {
            loop_.watches_.push_back(this);
        }
        ~ManualWatch() override { std::erase(loop_.watches_, this); }

    private:
        friend class ManualLoop;
        ManualLoop& loop_;
        int fd_;
        std::function<void()> body_;
    };

    void turn(int waitMs)
    {
        look(waitMs);
        run([](ManualTask& task) { return std::exchange(task.nextTurn_, false); });
        run([this](ManualTask& task) {
            return task.timer_ && elapsed(task.due_, 0) && std::exchange(task.timer_, false);
        });
        while (run([](ManualTask& task) { return std::exchange(task.turnEnd_, false); })) {
        }
    }
    // Each at most once, since it may ask to be run again. False: none was to run.
    template <class Due> bool run(Due&& due)
    {
        std::vector<ManualTask*> ready;
        for (ManualTask* task : tasks_) {
            if (due(*task)) {
                ready.push_back(task);
            }
        }
        for (ManualTask* task : ready) {
            if (std::find(tasks_.begin(), tasks_.end(), task) != tasks_.end()) {
                task->body_();
            }
        }
        return !ready.empty();
    }
    void look(int waitMs)
    {
        std::vector<pollfd> fds;
        for (const ManualWatch* watch : watches_) {
            fds.push_back({watch->fd_, POLLIN, 0});
        }
        const auto watches = watches_;
        if (poll(fds.data(), fds.size(), waitMs) <= 0) {
            return;
        }
        for (std::size_t i = 0; i < fds.size(); ++i) {
            std::uint64_t count = 0;
            if ((fds[i].revents & POLLIN) != 0 && read(fds[i].fd, &count, sizeof(count)) == sizeof(count) &&
                std::find(watches_.begin(), watches_.end(), watches[i]) != watches_.end()) {
                watches[i]->body_();
            }
        }
    }

    Msec ticks_ = 1000;
    bool exiting_ = false;
    std::vector<ManualTask*> tasks_;
    std::vector<ManualWatch*> watches_;
};

} // namespace realtime::testing
