// The thread of who reads from RabbitMQ: keeps one link up, with back-off and failover as the publisher's thread does, and
// wakes the event loop for what has come. Links are such as PeerLink.
//
// Thread     the constructor, the destructor, rouse() and what is said to be are the event loop's; all virtual functions
//            are called on the thread.
// Use        a class derived from it calls start() at the end of its constructor and finish() at the beginning of its
//            destructor, since the thread uses all of it.
#pragma once

#include "base/own_fd.hpp"
#include "base/thread/backoff.hpp"
#include "base/thread/note_book.hpp"
#include "base/thread/poll_timeout.hpp"
#include "base/thread/signals_blocked.hpp"
#include "base/thread/spsc_queue.hpp"
#include "broker/link.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <memory>
#include <poll.h>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <sys/eventfd.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>

namespace realtime {

// What the event loop gives back when it is done with a delivery and all before it: the number of the connection, and the
// delivery tag, which each connection counts from 1.
class Receipts {
public:
    void connected()
    {
        ++connection_;
        acknowledged_ = 0;
    }
    std::uint64_t of(std::uint64_t tag) const { return connection_ << TagBits | tag; }
    // The tag to acknowledge now; 0: none of this connection that was not.
    std::uint64_t due(std::uint64_t receipt)
    {
        const std::uint64_t tag = receipt & ((std::uint64_t{1} << TagBits) - 1);
        if (receipt >> TagBits != connection_ || tag <= acknowledged_) {
            return 0;
        }
        acknowledged_ = tag;
        return tag;
    }

private:
    static constexpr unsigned TagBits = 44;
    std::uint64_t connection_ = 0;
    std::uint64_t acknowledged_ = 0;
};

template <class LinkType> class ConsumerThread {
public:
    // Any thread.
    void rouse()
    {
        const std::uint64_t one = 1;
        [[maybe_unused]] const auto written = ::write(wakeFd_.get(), &one, sizeof(one)); // full: awake anyway
    }
    bool up() const { return up_.load(std::memory_order_relaxed); } // for display
    // The event loop's, which calls it before it takes what has come.
    void heard() { told_.exchange(false, std::memory_order_acq_rel); }
    void takeNotes(std::vector<Note>& out)
    {
        Note note;
        while (notes_.pop(note)) {
            out.push_back(std::move(note));
        }
    }

protected:
    using Time = LinkClock::time_point;

    // `who` begins its notes.
    ConsumerThread(const BrokerConfig& config, LoopWakeUp& wakeUp, std::string who)
        : config_(config), wakeUp_(wakeUp), who_(std::move(who)),
          wakeFd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), notes_(MaxNotes), noteBook_([this](Note note) {
              if (notes_.push(std::move(note))) {
                  tell();
              }
          }),
          reconnect_(std::chrono::milliseconds(100), std::chrono::milliseconds(10'000))
    {
        if (wakeFd_.get() < 0) {
            throw std::runtime_error(std::string("eventfd() failed: ") + std::strerror(errno));
        }
    }
    ConsumerThread(const ConsumerThread&) = delete;
    ConsumerThread& operator=(const ConsumerThread&) = delete;
    ~ConsumerThread() = default;

    void start(const char* name)
    {
        const SignalsBlocked blocked;
        try {
            thread_ = std::thread([this, name] {
                pthread_setname_np(pthread_self(), name);
                run();
            });
        } catch (const std::system_error& e) {
            throw std::runtime_error("the thread of " + who_ + " cannot start: " + e.what());
        }
    }

    void finish()
    {
        stopping_.store(true, std::memory_order_release);
        rouse();
        thread_.join();
    }

    virtual std::unique_ptr<LinkType> connect(const BrokerServer& server) = 0;
    virtual void beforeTurn() {} // every turn, whether there is a link or not
    virtual void onUp() = 0;
    virtual void onDown() {} // there was a link, and is none
    virtual Time wakeAt() const { return Time::max(); }

    bool stopping() const { return stopping_.load(std::memory_order_relaxed); }

    LinkType* link()
    {
        return link_ && state_ == LinkState::Up ? link_.get() : nullptr;
    } // null: it is not up

    void tell()
    {
        if (!told_.exchange(true, std::memory_order_acq_rel)) {
            wakeUp_.wake();
        }
    }

    void note(Note::Level level, const std::string& text, std::string_view kind = {})
    {
        noteBook_.add(level, who_ + ", " + config_.servers[server_].display() + ": " + text, LinkClock::now(),
                      kind);
    }

    const BrokerConfig& config_;

private:
    static constexpr std::chrono::milliseconds RefusedRetry{15'000}; // after what only the operator can mend
    static constexpr std::chrono::milliseconds Farewell{250};

    void run()
    {
        while (!stopping_.load(std::memory_order_acquire)) {
            try {
                step(LinkClock::now());
            } catch (const std::exception& e) { // out of memory, in all likelihood: begin anew
                breakLink(LinkClock::now(), {std::string("internal error: ") + e.what(), false});
            }
            sleep(LinkClock::now());
        }
        if (LinkType* const healthy = link(); healthy != nullptr) {
            beforeTurn();
            healthy->close(LinkClock::now() + Farewell);
        }
        up_.store(false, std::memory_order_relaxed);
    }

    void step(Time now)
    {
        if (!link_ && now >= connectAt_) {
            link_ = connect(config_.servers[server_]);
            state_ = LinkState::Connecting;
        }
        beforeTurn();
        if (link_) {
            const auto before = state_;
            state_ = link_->turn(now);
            if (state_ == LinkState::Broken) {
                breakLink(now, link_->fault());
            } else if (state_ == LinkState::Up && before != LinkState::Up) {
                reconnect_.reset();
                noteBook_.flush();
                onUp();
                rouse(); // beforeTurn() may have waited for it
            }
        }
        up_.store(state_ == LinkState::Up, std::memory_order_relaxed);
        summaryAt_ = noteBook_.summarise(now);
    }

    void breakLink(Time now, const LinkFault& fault)
    {
        const bool lasting = fault.lasting;
        note(Note::Level::Error, fault.text);
        link_.reset();
        state_ = LinkState::Broken;
        onDown();
        if (!up_.exchange(false, std::memory_order_relaxed) && server_ + 1 < config_.servers.size()) {
            ++server_;
            connectAt_ = now;
            return;
        }
        server_ = 0;
        connectAt_ = now + (lasting ? reconnect_.jitter(RefusedRetry) : reconnect_.next());
    }

    void sleep(Time now)
    {
        const LinkInterest interest = link_ ? link_->interest() : LinkInterest{};
        const int timeout = pollTimeout(
            now, std::min({summaryAt_, interest.wakeAt, wakeAt(), link_ ? Time::max() : connectAt_}));
        pollfd fds[] = {{wakeFd_.get(), POLLIN, 0}, {interest.fd, interest.events, 0}};
        poll(fds, interest.fd >= 0 ? 2 : 1, timeout);
        if (fds[0].revents != 0) {
            std::uint64_t count = 0;
            [[maybe_unused]] const auto got = ::read(wakeFd_.get(), &count, sizeof(count));
        }
    }

    LoopWakeUp& wakeUp_;
    const std::string who_;
    OwnFd wakeFd_;
    SpscQueue<Note> notes_;
    std::atomic<bool> told_{false}; // exchanges only, see BrokerShared
    std::atomic<bool> up_{false};
    std::atomic<bool> stopping_{false};
    NoteBook noteBook_;
    Backoff reconnect_;
    std::unique_ptr<LinkType> link_;
    LinkState state_ = LinkState::Broken;
    std::size_t server_ = 0;
    Time connectAt_ = Time::min();
    Time summaryAt_ = Time::max();
    std::thread thread_;
};

} // namespace realtime
