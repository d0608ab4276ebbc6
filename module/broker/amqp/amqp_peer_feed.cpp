#include "broker/amqp/amqp_peer_feed.hpp"

#include "broker/consumer_thread.hpp"

namespace realtime {

namespace {

constexpr std::size_t MaxMessages =
    std::size_t{4} * PeerLink::Prefetch; // of several connections, if the event loop hangs
constexpr std::size_t MaxSayings = 1024;
// Messages are acknowledged together. Whoever comes next gets again what was not, and knows it by its id.
constexpr std::chrono::milliseconds AcknowledgeAfter{20};
constexpr std::uint64_t AcknowledgeTogether = PeerLink::Prefetch / 4;

} // namespace

class AmqpPeerFeed::Loop final : public ConsumerThread<PeerLink>, public PeerOwner {
public:
    Loop(const BrokerConfig& config, LoopWakeUp& wakeUp)
        : ConsumerThread(config, wakeUp, "cluster"), messages(MaxMessages), sayings(MaxSayings)
    {
        start("rt-cluster");
    }
    ~Loop() { finish(); }

    // Between the threads; `done` pairs the release of the writer with the acquire of the reader.
    SpscQueue<std::unique_ptr<PeerMessage>> messages; // to the event loop
    SpscQueue<std::string> sayings;                   // from it
    std::atomic<std::uint64_t> done{0};

private:
    std::unique_ptr<PeerLink> connect(const BrokerServer& server) override
    {
        receipts_.connected();
        return std::make_unique<PeerLink>(config_, server, *this);
    }

    void onUp() override { note(Note::Level::Notice, "hears the other nodes"); }

    void beforeTurn() override
    {
        acknowledge();
        // What cannot be said now is forgotten: whoever connects tells all anew.
        std::string body;
        while (sayings.pop(body)) {
            if (link() != nullptr) {
                link()->say(body);
            }
        }
    }

    Time wakeAt() const override { return acknowledgeAt_; }

    void onDown() override { acknowledgeAt_ = Time::max(); }

    void acknowledge()
    {
        std::uint64_t receipt = done.load(std::memory_order_acquire);
        if (receipt == handedOver_) { // nothing that came before the node's own is open
            receipt = std::max(receipt, own_);
        }
        const Time now = LinkClock::now();
        const bool many = receipt > acknowledged_ && receipt - acknowledged_ >= AcknowledgeTogether;
        if (link() == nullptr || !(many || now >= acknowledgeAt_ || stopping())) {
            return;
        }
        if (const auto tag = receipts_.due(receipt); tag != 0) {
            link()->acknowledge(tag);
        }
        acknowledged_ = receipt;
        acknowledgeAt_ = receipt < std::max(handedOver_, own_) ? now + AcknowledgeAfter : Time::max();
    }

    void onPeerMessage(std::unique_ptr<PeerMessage> message) override
    {
        if (message->tag != 0) {
            message->receipt = receipts_.of(message->tag);
            acknowledgeAt_ = std::min(acknowledgeAt_, LinkClock::now() + AcknowledgeAfter);
            // The event loop has no use for what this node itself has published.
            if (message->kind == PeerMessage::Kind::Event && message->node == config_.node) {
                own_ = message->receipt;
                return;
            }
            handedOver_ = message->receipt;
        }
        if (!messages.push(std::move(message))) {
            // More connections than one have filled it: not to be lost, so begin anew once there is room.
            throw std::runtime_error("the event loop does not take what other nodes have sent");
        }
        tell();
    }

    void onPeerNote(Note::Level level, std::string text, std::string_view kind) override
    {
        note(level, text, kind);
    }

    Receipts receipts_;
    std::uint64_t handedOver_ = 0, own_ = 0, acknowledged_ = 0; // the last receipts
    Time acknowledgeAt_ = Time::max();
};

AmqpPeerFeed::AmqpPeerFeed(BrokerConfig config, LoopWakeUp& wakeUp)
    : config_(std::move(config)), loop_(std::make_unique<Loop>(config_, wakeUp))
{
}

AmqpPeerFeed::~AmqpPeerFeed() = default;

void AmqpPeerFeed::stop()
{
    loop_.reset();
}

bool AmqpPeerFeed::take(std::vector<std::unique_ptr<PeerMessage>>& out, std::size_t most)
{
    if (!loop_) {
        return false;
    }
    loop_->heard();
    std::unique_ptr<PeerMessage> message;
    for (std::size_t i = 0; i < most; ++i) {
        if (!loop_->messages.pop(message)) {
            return false;
        }
        out.push_back(std::move(message));
    }
    return true;
}

void AmqpPeerFeed::done(std::uint64_t receipt)
{
    if (loop_) {
        loop_->done.store(receipt, std::memory_order_release);
        if (receipt - roused_ >= AcknowledgeTogether) {
            roused_ = receipt;
            loop_->rouse();
        }
    }
}

bool AmqpPeerFeed::say(std::string body)
{
    if (!loop_ || !loop_->sayings.push(std::move(body))) {
        return false;
    }
    loop_->rouse();
    return true;
}

void AmqpPeerFeed::takeNotes(std::vector<Note>& out)
{
    if (loop_) {
        loop_->takeNotes(out);
    }
}

bool AmqpPeerFeed::up() const
{
    return loop_ && loop_->up();
}

} // namespace realtime
