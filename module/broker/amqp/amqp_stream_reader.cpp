#include "broker/amqp/amqp_stream_reader.hpp"

#include "broker/consumer_thread.hpp"

#include <optional>

namespace realtime {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t MaxEvents =
    std::size_t{4} * StreamLink::Prefetch; // of several connections, if the event loop hangs
constexpr std::uint64_t AcknowledgeEvery = StreamLink::Prefetch / 4;
constexpr std::uint64_t MaxStrangers = 64; // events at the beginning that do not say of which life they are

// AmqpStreamReader::Loop::wanted: the number of an event, a time in seconds, or
constexpr std::uint64_t Nothing = ~std::uint64_t{0};
constexpr std::uint64_t TheLast = Nothing - 1;
constexpr std::uint64_t IsTime = std::uint64_t{1} << 63;

std::uint64_t wantedFor(const StreamStart& start)
{
    switch (start.kind) {
    case StreamStart::Kind::Last:
        return TheLast;
    case StreamStart::Kind::Time:
        return static_cast<std::uint64_t>(start.value) | IsTime;
    default:
        return static_cast<std::uint64_t>(start.value); // the first is number 0, or what is left
    }
}

StreamStart startAt(std::uint64_t wanted)
{
    if (wanted == TheLast) {
        return {StreamStart::Kind::Last, 0};
    }
    return {(wanted & IsTime) != 0 ? StreamStart::Kind::Time : StreamStart::Kind::Number,
            static_cast<std::int64_t>(wanted & ~IsTime)};
}

// Tells a lane on which nothing is to come from a RabbitMQ that hangs, or has hung: it answers several probes in a row at once,
// and nothing comes meanwhile.
class Silence {
public:
    using Time = LinkClock::time_point;
    explicit Silence(LinkClock::duration step) : step_(step) {}

    void begin(Time now)
    {
        end();
        probeAt_ = now + step_;
    }
    void end()
    {
        probeAt_ = Time::max();
        asked_ = false;
        answers_ = 0;
    }
    Time probeAt() const { return probeAt_; }
    void probed(Time now)
    {
        probeAt_ = Time::max();
        askedAt_ = now;
        asked_ = true;
    }
    // True: it has lasted.
    bool answered(Time now)
    {
        if (!std::exchange(asked_, false)) {
            return false; // something has come meanwhile
        }
        answers_ = now - askedAt_ < AtOnce ? answers_ + 1 : 0;
        probeAt_ = now + step_;
        return answers_ == Enough;
    }

private:
    static constexpr auto AtOnce = 1s;
    static constexpr int Enough = 3;
    const LinkClock::duration step_;
    Time probeAt_ = Time::max(), askedAt_;
    bool asked_ = false;
    int answers_ = 0;
};

} // namespace

class AmqpStreamReader::Loop final : public ConsumerThread<StreamLink>, public StreamOwner {
public:
    Loop(const BrokerConfig& config, std::string queue, LoopWakeUp& wakeUp)
        : ConsumerThread(config, wakeUp, "stream \"" + queue + '"'), events(MaxEvents), questions(MaxAsked),
          answers(MaxAsked), queue_(std::move(queue))
    {
        start("rt-stream");
    }
    ~Loop() { finish(); }

    // Between the threads; the atomics pair the release of the writer with the acquire of the reader.
    SpscQueue<std::unique_ptr<StreamEvent>> events; // to the event loop
    SpscQueue<StreamQuestion> questions;            // from it
    SpscQueue<StreamAnswer> answers;                // to it
    std::atomic<std::uint64_t> wanted{Nothing};     // the next event to follow with
    std::atomic<std::uint64_t> life{AnyLife};       // of which it is
    std::atomic<std::uint32_t> restart{0};          // counts the beginnings
    std::atomic<std::uint64_t> done{0};
    std::size_t askedFor = 0; // the event loop's: questions without an answer yet

private:
    std::unique_ptr<StreamLink> connect(const BrokerServer& server) override
    {
        receipts_.connected();
        return std::make_unique<StreamLink>(config_, server, queue_, *this);
    }

    void onUp() override { note(Note::Level::Notice, "is read"); }

    void onDown() override
    {
        following_ = false;
        looking_ = false;
        life_.reset();
        lookSilence_.end();
        beginSilence_.end();
    }

    void beforeTurn() override
    {
        if (link() == nullptr) {
            return;
        }
        const auto now = LinkClock::now();
        follow(now);
        acknowledge();
        if (!looking_) {
            lookForNext(now);
        }
        probe(StreamLane::Look, lookSilence_, now);
        probe(StreamLane::Begin, beginSilence_, now);
    }

    Time wakeAt() const override { return std::min(lookSilence_.probeAt(), beginSilence_.probeAt()); }

    void probe(StreamLane lane, Silence& silence, Time now)
    {
        if (now >= silence.probeAt()) {
            silence.probed(now);
            link()->probe(lane);
        }
    }

    void follow(Time now)
    {
        const std::uint32_t beginning = restart.load(std::memory_order_acquire);
        const std::uint64_t from = wanted.load(std::memory_order_acquire);
        if ((from != Nothing) == following_ && beginning == beginning_) {
            return;
        }
        beginning_ = beginning;
        following_ = from != Nothing;
        link()->stop(StreamLane::Follow);
        link()->stop(StreamLane::Begin);
        beginSilence_.end();
        if (!following_) {
            return;
        }
        if (life_) {
            begin(from);
            return;
        }
        beginSilence_.begin(now);
        link()->read(StreamLane::Begin, {StreamStart::Kind::First, 0});
    }

    void begin(std::uint64_t from)
    {
        if (*life_ > life.load(std::memory_order_acquire) ||
            life.load(std::memory_order_acquire) == AnyLife) {
            push(StreamEvent::Kind::Found);
            return;
        }
        push(StreamEvent::Kind::Began, startAt(from));
        link()->read(StreamLane::Follow, startAt(from));
    }

    void recognise(const IncomingMessage& first)
    {
        beginSilence_.end();
        if (first.number != 0 && first.life == 0 && first.tag < MaxStrangers) {
            beginSilence_.begin(LinkClock::now());
            link()->acknowledge(StreamLane::Begin, first.tag); // the next may say it
            return;
        }
        link()->stop(StreamLane::Begin);
        life_ = first.number == 0 ? streamLifeOf(first.timeMs) : first.life;
        if (const std::uint64_t from = wanted.load(std::memory_order_acquire); from != Nothing) {
            begin(from);
        }
    }

    void acknowledge()
    {
        if (const auto tag = receipts_.due(done.load(std::memory_order_acquire)); tag != 0) {
            link()->acknowledge(StreamLane::Follow, tag);
        }
    }

    void push(StreamEvent::Kind kind, const StreamStart& start = {})
    {
        auto event = std::make_unique<StreamEvent>();
        event->kind = kind;
        event->start = start;
        event->life = life_.value_or(0);
        push(std::move(event));
    }

    void push(std::unique_ptr<StreamEvent> event)
    {
        if (!events.push(std::move(event))) {
            // More connections than one have filled it: not to be lost, so begin anew once there is room.
            throw std::runtime_error("the event loop does not take what the stream has");
        }
        tell();
    }

    // Goes on with the question of a link that is lost, or takes one.
    void lookForNext(Time now)
    {
        StreamQuestion question;
        if (!question_ && questions.pop(question)) {
            question_ = std::move(question);
        }
        if (!question_) {
            return;
        }
        looking_ = true;
        firstSeen_ = false;
        looked_ = 0;
        answer_ = {question_->ticket, {}, 0, false};
        answerBytes_ = 0;
        lookSilence_.begin(now);
        link()->read(StreamLane::Look, question_->start);
    }

    void onStreamAlive(StreamLane lane) override
    {
        const auto now = LinkClock::now();
        if (lane == StreamLane::Look && lookSilence_.answered(now)) {
            answer_.lost = true; // what is wanted was there once
            finishAnswer(question_->until + 1);
        } else if (lane == StreamLane::Begin && beginSilence_.answered(now)) {
            beginSilence_.end();
            push(StreamEvent::Kind::Empty);
        }
    }

    void onStreamMessage(StreamLane lane, std::unique_ptr<IncomingMessage> message) override
    {
        if (lane == StreamLane::Begin) {
            recognise(*message);
            return;
        }
        if (lane == StreamLane::Follow) {
            auto event = std::make_unique<StreamEvent>();
            event->receipt = receipts_.of(message->tag);
            event->message = std::move(*message);
            push(std::move(event));
            return;
        }
        if (message->tag % AcknowledgeEvery == 0) {
            link()->acknowledge(StreamLane::Look, message->tag);
        }
        lookSilence_.begin(LinkClock::now());
        look(std::move(*message));
    }

    void look(IncomingMessage message)
    {
        if (!question_) {
            return;
        }
        const std::uint64_t number = message.number;
        const bool byNumber = question_->start.kind == StreamStart::Kind::Number;
        const auto first = byNumber ? static_cast<std::uint64_t>(question_->start.value) : 0;
        if (number < first) {
            return;
        }
        answer_.lost |= !std::exchange(firstSeen_, true) && byNumber && number > first;
        if (number > question_->until) {
            finishAnswer(number);
            return;
        }
        if (message.channel == question_->channel && message.app == question_->app) {
            if (message.timeMs >= question_->sinceMs) {
                answerBytes_ += message.data.size();
                answer_.events.push_back(std::move(message));
            } else {
                answer_.lost = true;
            }
        }
        if (number == question_->until || answer_.events.size() >= PartEvents || answerBytes_ >= PartBytes ||
            ++looked_ >= PartLook) {
            finishAnswer(number + 1);
        }
    }

    void finishAnswer(std::uint64_t next)
    {
        answer_.next = next;
        [[maybe_unused]] const bool pushed = answers.push(std::move(answer_)); // as long as MaxAsked
        question_.reset();
        looking_ = false;
        lookSilence_.end();
        link()->stop(StreamLane::Look);
        tell();
        rouse(); // for the next question
    }

    void onStreamNote(Note::Level level, std::string text, std::string_view kind) override
    {
        note(level, text, kind);
    }

    const std::string queue_;
    Receipts receipts_;
    bool following_ = false;
    std::uint32_t beginning_ = 0;
    std::optional<std::uint64_t> life_; // of the stream on this link

    Silence lookSilence_{3s}, beginSilence_{300ms};

    std::optional<StreamQuestion> question_;
    bool looking_ = false;   // it has been sent on this link
    bool firstSeen_ = false; // something has come
    std::size_t looked_ = 0; // events
    StreamAnswer answer_;
    std::size_t answerBytes_ = 0;
};

AmqpStreamReader::AmqpStreamReader(BrokerConfig config, std::string queue, LoopWakeUp& wakeUp)
    : config_(std::move(config)), loop_(std::make_unique<Loop>(config_, std::move(queue), wakeUp))
{
}

AmqpStreamReader::~AmqpStreamReader() = default;

void AmqpStreamReader::follow(const StreamStart& start, std::uint64_t life)
{
    loop_->life.store(life, std::memory_order_release);
    loop_->wanted.store(wantedFor(start), std::memory_order_release);
    loop_->restart.fetch_add(1, std::memory_order_release);
    loop_->rouse();
}

void AmqpStreamReader::expect(std::uint64_t life)
{
    loop_->life.store(life, std::memory_order_release);
}

void AmqpStreamReader::stopFollowing()
{
    loop_->wanted.store(Nothing, std::memory_order_release);
    loop_->rouse();
}

std::unique_ptr<StreamEvent> AmqpStreamReader::take()
{
    loop_->heard();
    std::unique_ptr<StreamEvent> event;
    return loop_->events.pop(event) ? std::move(event) : nullptr;
}

void AmqpStreamReader::done(std::uint64_t receipt, std::uint64_t number)
{
    loop_->done.store(receipt, std::memory_order_release);
    if (loop_->wanted.load(std::memory_order_relaxed) != Nothing) { // only this thread writes it
        loop_->wanted.store(number, std::memory_order_release);
    }
    loop_->rouse();
}

bool AmqpStreamReader::ask(StreamQuestion question)
{
    if (loop_->askedFor >= MaxAsked || !loop_->questions.push(std::move(question))) {
        return false;
    }
    ++loop_->askedFor;
    loop_->rouse();
    return true;
}

void AmqpStreamReader::takeAnswers(std::vector<StreamAnswer>& out)
{
    loop_->heard();
    StreamAnswer answer;
    while (loop_->answers.pop(answer)) {
        --loop_->askedFor;
        out.push_back(std::move(answer));
    }
}

void AmqpStreamReader::takeNotes(std::vector<Note>& out)
{
    loop_->takeNotes(out);
}

} // namespace realtime
