// `consume`: the events of a RabbitMQ queue, printed or put into a SQLite table, each once.
#include "commands.hpp"
#include "consumer.hpp"
#include "errors.hpp"
#include "output.hpp"

#include "broker/sqlite/sqlite_link.hpp"

#include <algorithm>
#include <deque>
#include <thread>
#include <unordered_set>

namespace realtime::cli {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr Option ConsumeOptions[] = {
    {"db", "FILE", "store them in the table events of this SQLite file"},
    {"count", "N", "end after so many events"},
    {"idle", "SECONDS", "end when none has come for so long"},
    {"ca-file", "FILE", "trust these authorities (PEM), for amqps"},
    {"json", nullptr, "print a JSON object for each event"},
    {"raw", nullptr, "print nothing but the data"},
};

constexpr std::size_t MaxBatch =
    500; // events a transaction, and so unacknowledged; less than Consumer::Prefetch
constexpr auto LongestWait = 30'000ms;

// Where events go. They are acknowledged when keep() has returned: from then on they are here.
class Sink {
public:
    virtual ~Sink() = default;
    virtual void keep(const std::deque<Delivery>& batch) = 0;
};

// The same table as nginx's own SQLite store has, by the same code.
class Table final : public Sink, LinkOwner {
public:
    explicit Table(const std::string& path) : link_(config_, serverOf(path), *this) {}

    void keep(const std::deque<Delivery>& batch) override
    {
        for (std::size_t i = 0; i < batch.size();) {
            awaitUp();
            for (std::size_t room = link_.room(); room > 0 && i < batch.size(); --room, ++i) {
                ++waiting_;
                link_.submit(i, batch[i].event);
            }
            while (waiting_ > 0) {
                awaitUp();
            }
        }
    }

private:
    static BrokerServer serverOf(const std::string& path)
    {
        BrokerServer server;
        server.scheme = BrokerServer::Scheme::Sqlite;
        server.path = path;
        return server;
    }

    void awaitUp()
    {
        for (;;) {
            const LinkState state = link_.turn(LinkClock::now());
            if (state == LinkState::Broken) {
                throw std::runtime_error(link_.fault().text);
            }
            const auto wakeAt = link_.interest().wakeAt;
            if (state == LinkState::Up && (waiting_ == 0 || wakeAt <= LinkClock::now())) {
                return;
            }
            std::this_thread::sleep_until(std::min(wakeAt, LinkClock::now() + 10ms)); // another writer's turn
        }
    }

    void onStored(std::uint64_t) override { --waiting_; }
    void onFailed(std::uint64_t) override {} // SQLite refuses no single event
    void onNote(Note::Level, std::string text, std::string_view) override { complain(text); }

    BrokerConfig config_;
    SqliteLink link_;
    std::size_t waiting_ = 0;
};

class Printer final : public Sink {
public:
    explicit Printer(Format format) : format_(format) {}

    void keep(const std::deque<Delivery>& batch) override
    {
        for (const Delivery& delivery : batch) {
            const BrokerEvent& event = delivery.event;
            if (event.messageId.empty() || isNew(event.messageId)) {
                print({event.messageId, event.channel, event.event, event.data}, format_);
            }
        }
    }

private:
    static constexpr std::size_t Remembered = 100'000;

    // RabbitMQ delivers again what it has no acknowledgement of: soon after, so that so many ids are enough.
    bool isNew(const std::string& id)
    {
        if (!seen_.insert(id).second) {
            return false;
        }
        order_.push_back(id);
        if (order_.size() > Remembered) {
            seen_.erase(order_.front());
            order_.pop_front();
        }
        return true;
    }

    Format format_;
    std::unordered_set<std::string> seen_;
    std::deque<std::string> order_;
};

class Consuming {
public:
    explicit Consuming(const Arguments& arguments)
        : server_(parseServer(arguments.operands().front())), queue_(arguments.operands()[1]),
          caFile_(arguments.text("ca-file").value_or("")),
          most_(static_cast<std::uint64_t>(arguments.number("count", 0, 1, 1'000'000'000'000))),
          idle_(arguments.number("idle", 0, 1, 1'000'000)), sink_(sinkOf(arguments)),
          progress_(!arguments.has("db")) // else what is printed shows it
    {
    }

    int run()
    {
        auto pause = 500ms;
        for (bool ever = false; !over_ && !interrupted();) {
            try {
                Consumer consumer(server_, queue_, caFile_);
                ever = true;
                pause = 500ms;
                lastCame_ = Clock::now();
                drain(consumer);
            } catch (const UnreachableError& error) {
                if (!ever) {
                    throw;
                }
                progress_.clear();
                complain(std::string(error.what()) + "; connecting again");
                sleepUnlessInterrupted(pause);
                pause = std::min<std::chrono::milliseconds>(pause * 2, LongestWait);
            }
        }
        return exit_status::Good;
    }

private:
    static BrokerServer parseServer(const std::string& url)
    {
        try {
            BrokerServer server = parseBrokerServer(url);
            if (server.scheme != BrokerServer::Scheme::Sqlite) {
                return server;
            }
        } catch (const std::runtime_error& error) {
            throw UsageError(error.what());
        }
        throw UsageError("an amqp or amqps URL is wanted: a SQLite store can be queried as it is");
    }

    static std::unique_ptr<Sink> sinkOf(const Arguments& arguments)
    {
        if (const auto path = arguments.text("db")) {
            return std::make_unique<Table>(*path);
        }
        return std::make_unique<Printer>(formatOf(arguments));
    }

    // A batch ends when the queue has no more for the moment.
    void drain(Consumer& consumer)
    {
        std::deque<Delivery> batch;
        while (!interrupted() && !over_) {
            const auto delivery = consumer.receive(batch.empty() ? 200ms : 1ms);
            if (delivery) {
                batch.push_back(*delivery);
                lastCame_ = Clock::now();
            }
            const bool last = most_ > 0 && count_ + batch.size() >= most_;
            if (!batch.empty() && (!delivery || last || batch.size() >= MaxBatch)) {
                sink_->keep(batch);
                consumer.acknowledge(batch.back().tag);
                count_ += batch.size();
                progress_.show("events", count_, most_);
                batch.clear();
            }
            over_ = last || (idle_ > 0s && Clock::now() - lastCame_ > idle_);
        }
    }

    BrokerServer server_;
    std::string queue_, caFile_;
    std::uint64_t most_, count_ = 0;
    std::chrono::seconds idle_;
    std::unique_ptr<Sink> sink_;
    Progress progress_;
    Clock::time_point lastCame_;
    bool over_ = false;
};

} // namespace

const Command ConsumeCommand{
    "consume",
    "AMQP-URL QUEUE",
    "the events that a RabbitMQ queue holds: print or store them",
    "AMQP-URL is amqp://USER:PASSWORD@HOST:PORT/VHOST. With --db the events go into a table like that of\n"
    "nginx's own SQLite store; an event that RabbitMQ delivers twice is there once. What is printed or\n"
    "committed is acknowledged, and so removed from the queue.\n",
    ConsumeOptions,
    [](const Arguments& arguments) {
        arguments.expectOperands(2, 2);
        return Consuming(arguments).run();
    }};

} // namespace realtime::cli
