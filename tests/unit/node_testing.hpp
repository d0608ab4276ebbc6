// Nodes without nginx: each on a loop that is turned by hand, with a zone in memory, and with stores and other nodes in memory
// as well.
#pragma once

#include "base/own_fd.hpp"
#include "log_testing.hpp"
#include "manual_loop.hpp"
#include "node/node.hpp"

#include <deque>
#include <map>
#include <mutex>
#include <sys/eventfd.h>

namespace realtime::testing {

// What RabbitMQ is to a cluster: whatever one node says, all hear, in one order. The tests' own thread.
class Bus {
public:
    class Feed final : public PeerFeed {
    public:
        Feed(Bus& bus, std::string node, LoopWakeUp& wakeUp)
            : bus_(bus), node_(std::move(node)), wakeUp_(wakeUp)
        {
            bus_.feeds_[node_] = this;
        }
        ~Feed() override { bus_.feeds_.erase(node_); }

        bool take(std::vector<std::unique_ptr<PeerMessage>>& out, std::size_t most) override
        {
            for (; most > 0 && !waiting_.empty(); --most) {
                out.push_back(std::move(waiting_.front()));
                waiting_.pop_front();
            }
            return !waiting_.empty();
        }
        void done(std::uint64_t receipt) override { lastDone = receipt; }
        bool say(std::string body) override
        {
            if (refuses) {
                return false;
            }
            PeerMessage message;
            message.kind = PeerMessage::Kind::Control;
            message.node = node_;
            message.data = std::move(body);
            bus_.publish(message);
            return true;
        }
        void takeNotes(std::vector<Note>&) override {}
        bool up() const override { return true; }
        void stop() override { stopped = true; }

        void hear(const PeerMessage& message)
        {
            if (!stopped && !cut) {
                auto copy = std::make_unique<PeerMessage>(message);
                copy->receipt = ++receipts_;
                waiting_.push_back(std::move(copy));
                wakeUp_.wake();
            }
        }

        bool refuses = false; // what is said
        bool cut = false;     // from the others: hears nothing
        bool stopped = false;
        std::uint64_t lastDone = 0;

    private:
        Bus& bus_;
        const std::string node_;
        LoopWakeUp& wakeUp_;
        std::deque<std::unique_ptr<PeerMessage>> waiting_;
        std::uint64_t receipts_ = 0;
    };

    PeerFeedFactory feeds()
    {
        return [this](const BrokerConfig& config, LoopWakeUp& wakeUp) {
            return std::make_unique<Feed>(*this, config.node, wakeUp);
        };
    }
    Feed& feed(const std::string& node) { return *feeds_.at(node); }
    void publish(const PeerMessage& message)
    {
        for (const auto& [node, feed] : feeds_) {
            if (message.kind == PeerMessage::Kind::Control || node != message.node) {
                feed->hear(message);
            }
        }
    }

private:
    std::map<std::string, Feed*> feeds_;
};

// A store that keeps everything in memory. The broker's thread.
class MemoryStore {
public:
    LinkFactory links()
    {
        return [this](const BrokerConfig&, const BrokerServer&, LinkOwner& owner) {
            return std::make_unique<Connection>(*this, owner);
        };
    }
    std::vector<BrokerEvent> events() const
    {
        const std::lock_guard lock(mutex_);
        return events_;
    }

private:
    class Connection final : public Link {
    public:
        Connection(MemoryStore& store, LinkOwner& owner) : store_(store), owner_(owner) {}
        LinkState turn(LinkClock::time_point) override
        {
            for (const std::uint64_t handle : std::exchange(stored_, {})) {
                owner_.onStored(handle);
            }
            return LinkState::Up;
        }
        const LinkFault& fault() const override { return fault_; }
        LinkInterest interest() const override
        {
            return stored_.empty() ? LinkInterest{} : LinkInterest{-1, 0, LinkClock::now()};
        }
        std::size_t room() const override { return 1000; }
        void submit(std::uint64_t handle, const BrokerEvent& event) override
        {
            const std::lock_guard lock(store_.mutex_);
            store_.events_.push_back(event);
            stored_.push_back(handle);
        }
        void close(LinkClock::time_point) override {}

    private:
        MemoryStore& store_;
        LinkOwner& owner_;
        LinkFault fault_;
        std::vector<std::uint64_t> stored_;
    };

    mutable std::mutex mutex_;
    std::vector<BrokerEvent> events_;
};

// What a node has been configured with: an app "shop", all of whose channels go to the broker "events".
struct NodeSetting {
    explicit NodeSetting(const std::string& name)
    {
        broker.name = "events";
        broker.servers.push_back({});
        broker.cluster = true;
        broker.clusterNode = name;
        app.id = "shop";
        app.brokers.push_back({"events", std::nullopt, {}});
        app.pusher.credentials.push_back({"key", "secret"});
    }
    BrokerConfig broker;
    App app;
};

class TestNode final : public Node {
public:
    static constexpr std::size_t ZoneBytes = 2 << 20;

    struct Memory {
        Memory() : mapping(ZoneBytes), log(SharedLog::create(mapping.span(), {8}))
        {
            for (std::uint32_t slot = 0; slot < log.slots(); ++slot) {
                wakeFds.emplace_back(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
                log.setWakeFd(slot, wakeFds.back().get());
            }
        }
        SharedMapping mapping;
        SharedLog log;
        std::vector<OwnFd> wakeFds;
    };

    TestNode(ManualLoop& loop, Memory& memory, const NodeSetting& setting, const NodeLinks& links)
        : Node(loop, configOf(memory, setting), links)
    {
    }
    ~TestNode() override { stop(true); }

    using Node::tick;

private:
    static NodeConfig configOf(Memory& memory, const NodeSetting& setting)
    {
        NodeConfig config;
        config.zones.push_back({"main", memory.mapping.span(), {}});
        config.brokers.push_back(&setting.broker);
        config.apps.push_back(&setting.app);
        return config;
    }
    void delivered() override {}
    Gauge transportOf(const Subscriber&) const override { return Gauge::WebSocket; }
};

} // namespace realtime::testing
