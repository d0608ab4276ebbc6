#include "broker/peer_feed.hpp"

#include "base/own_fd.hpp"
#include "broker/backoff.hpp"
#include "broker/note_book.hpp"
#include "broker/poll_timeout.hpp"
#include "broker/signals_blocked.hpp"
#include "broker/spsc_queue.hpp"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <exception>
#include <poll.h>
#include <pthread.h>
#include <stdexcept>
#include <sys/eventfd.h>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace realtime {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t MaxMessages = 4 * PeerLink::Prefetch; // of several connections, if the event loop hangs
constexpr std::size_t MaxSayings = 1024;
constexpr auto RefusedRetry = 15'000ms; // after faults that only the operator can mend
constexpr auto Farewell = 250ms;

// A receipt is the number of the connection and the delivery tag, which each connection counts from 1.
constexpr unsigned TagBits = 44;
constexpr std::uint64_t TagMask = (std::uint64_t{1} << TagBits) - 1;

} // namespace

class PeerFeed::Loop final : public PeerOwner {
public:
    Loop(const BrokerConfig& config, BrokerWakeUp& wakeUp)
        : messages(MaxMessages), sayings(MaxSayings), notes(MaxBrokerNotes), config_(config), wakeUp_(wakeUp),
          wakeFd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), noteBook_([this](BrokerNote note) {
              if (notes.push(std::move(note))) {
                  tell();
              }
          }),
          reconnect_(100ms, 10'000ms)
    {
        if (wakeFd_.get() < 0) {
            throw std::runtime_error(std::string("eventfd() failed: ") + std::strerror(errno));
        }
        const SignalsBlocked blocked;
        try {
            thread_ = std::thread([this] {
                pthread_setname_np(pthread_self(), "rt-cluster");
                run();
            });
        } catch (const std::system_error& e) {
            throw std::runtime_error(std::string("the thread of the cluster cannot start: ") + e.what());
        }
    }

    ~Loop()
    {
        stopping_.store(true, std::memory_order_release);
        rouse();
        thread_.join();
    }

    // Any thread.
    void rouse()
    {
        const std::uint64_t one = 1;
        [[maybe_unused]] const auto written = ::write(wakeFd_.get(), &one, sizeof(one)); // full: awake anyway
    }

    // Between the threads. `told` and `done` pair the release of the writer with the acquire of the reader.
    SpscQueue<std::unique_ptr<PeerMessage>> messages; // to the event loop
    SpscQueue<std::string> sayings;                   // from it
    SpscQueue<BrokerNote> notes;
    std::atomic<bool> told{false};
    std::atomic<std::uint64_t> done{0};
    std::atomic<bool> up{false}; // for display: relaxed

private:
    using Time = LinkClock::time_point;

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
        if (link_ && state_ == LinkState::Up) {
            acknowledge();
            link_->close(LinkClock::now() + Farewell);
        }
        up.store(false, std::memory_order_relaxed);
    }

    void step(Time now)
    {
        if (!link_ && now >= connectAt_) {
            ++connection_;
            acknowledged_ = 0;
            link_ = std::make_unique<PeerLink>(config_, config_.servers[server_], *this);
            state_ = LinkState::Connecting;
        }
        if (link_) {
            acknowledge();
            sayAll();
            const auto before = state_;
            state_ = link_->turn(now);
            if (state_ == LinkState::Broken) {
                breakLink(now, link_->fault());
            } else if (state_ == LinkState::Up && before != LinkState::Up) {
                reconnect_.reset();
                noteBook_.flush();
                noteBook_.add(BrokerNote::Level::Notice, named("hears the other nodes"), now);
            }
        } else {
            sayAll();
        }
        up.store(state_ == LinkState::Up, std::memory_order_relaxed);
        summaryAt_ = noteBook_.summarise(now);
    }

    void acknowledge()
    {
        const std::uint64_t receipt = done.load(std::memory_order_acquire);
        const std::uint64_t tag = receipt & TagMask;
        if (receipt >> TagBits == connection_ && tag > acknowledged_ && state_ == LinkState::Up) {
            acknowledged_ = tag;
            link_->acknowledge(tag);
        }
    }

    // What cannot be said now is forgotten: whoever connects tells all anew.
    void sayAll()
    {
        std::string body;
        while (sayings.pop(body)) {
            if (link_ && state_ == LinkState::Up) {
                link_->say(body);
            }
        }
    }

    void breakLink(Time now, const LinkFault& fault)
    {
        const bool lasting = fault.lasting;
        noteBook_.add(BrokerNote::Level::Error, named(fault.text), now);
        link_.reset();
        const bool wasUp = up.exchange(false, std::memory_order_relaxed);
        state_ = LinkState::Broken;
        if (!wasUp && server_ + 1 < config_.servers.size()) {
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
        const int timeout =
            pollTimeout(now, std::min({summaryAt_, interest.wakeAt, link_ ? Time::max() : connectAt_}));
        pollfd fds[] = {{wakeFd_.get(), POLLIN, 0}, {interest.fd, interest.events, 0}};
        poll(fds, interest.fd >= 0 ? 2 : 1, timeout);
        if (fds[0].revents != 0) {
            std::uint64_t count = 0;
            [[maybe_unused]] const auto got = ::read(wakeFd_.get(), &count, sizeof(count));
        }
    }

    void tell()
    {
        if (!told.exchange(true, std::memory_order_acq_rel)) {
            wakeUp_.wake();
        }
    }

    void onPeerMessage(std::unique_ptr<PeerMessage> message) override
    {
        if (message->receipt != 0) {
            message->receipt |= connection_ << TagBits;
        }
        if (!messages.push(std::move(message))) {
            // More connections than one have filled it: not to be lost, so begin anew once there is room.
            throw std::runtime_error("the event loop does not take what other nodes have sent");
        }
        tell();
    }

    void onPeerNote(BrokerNote::Level level, std::string text, std::string_view kind) override
    {
        noteBook_.add(level, named(text), LinkClock::now(), kind);
    }

    std::string named(const std::string& text) const
    {
        return "cluster, " + config_.servers[server_].display() + ": " + text;
    }

    const BrokerConfig& config_;
    BrokerWakeUp& wakeUp_;
    OwnFd wakeFd_;
    NoteBook noteBook_;
    Backoff reconnect_;
    std::unique_ptr<PeerLink> link_;
    LinkState state_ = LinkState::Broken;
    std::size_t server_ = 0;
    Time connectAt_ = Time::min();
    Time summaryAt_ = Time::max();
    std::uint64_t connection_ = 0;
    std::uint64_t acknowledged_ = 0;
    std::atomic<bool> stopping_{false};
    std::thread thread_; // last: it uses all of the above
};

PeerFeed::PeerFeed(BrokerConfig config, BrokerWakeUp& wakeUp)
    : config_(std::move(config)), loop_(std::make_unique<Loop>(config_, wakeUp))
{
}

PeerFeed::~PeerFeed() = default;

void PeerFeed::stop()
{
    loop_.reset();
}

bool PeerFeed::take(std::vector<std::unique_ptr<PeerMessage>>& out, std::size_t most)
{
    if (!loop_) {
        return false;
    }
    loop_->told.exchange(false, std::memory_order_acq_rel);
    std::unique_ptr<PeerMessage> message;
    for (std::size_t i = 0; i < most; ++i) {
        if (!loop_->messages.pop(message)) {
            return false;
        }
        out.push_back(std::move(message));
    }
    return true;
}

void PeerFeed::done(std::uint64_t receipt)
{
    if (loop_) {
        loop_->done.store(receipt, std::memory_order_release);
        loop_->rouse();
    }
}

bool PeerFeed::say(std::string body)
{
    if (!loop_ || !loop_->sayings.push(std::move(body))) {
        return false;
    }
    loop_->rouse();
    return true;
}

void PeerFeed::takeNotes(std::vector<BrokerNote>& out)
{
    BrokerNote note;
    while (loop_ && loop_->notes.pop(note)) {
        out.push_back(std::move(note));
    }
}

bool PeerFeed::up() const
{
    return loop_ && loop_->up.load(std::memory_order_relaxed);
}

} // namespace realtime
