// `bench`: subscribers and publishers against a server, and what became of each message.
#include "commands.hpp"
#include "errors.hpp"
#include "json.hpp"
#include "output.hpp"
#include "publisher.hpp"
#include "socket.hpp"

#include "base/json_text.hpp"

#include <array>
#include <atomic>
#include <bit>
#include <charconv>
#include <cstdio>
#include <mutex>
#include <thread>

#include <sys/resource.h>
#include <unistd.h>

namespace realtime::cli {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr Option OwnBenchOptions[] = {
    {"subscribers", "N", "connections that listen (default: 100)"},
    {"publishers", "N", "connections that publish, one request at a time each (default: 2)"},
    {"rate", "N", "messages a second, of all publishers together (default: 100)"},
    {"seconds", "N", "for how long (default: 10)"},
    {"size", "BYTES", "of a message (default: 128)"},
    {"json", nullptr, "the result as a JSON object"},
    {"quiet", nullptr, "no progress bar"},
};
constexpr auto BenchOptions = joined(OwnBenchOptions, CredentialOptions, TransportOptions);

constexpr auto Patience = 10s; // for connections, and for the last messages
constexpr std::size_t MaxConnecting = 64;

// --- the messages: "rtbench RUN PUBLISHER SEQUENCE NANOSECONDS ", filled up with dots. No character of it is escaped in
// JSON, so that it is found in every encoding.

constexpr std::string_view Mark = "rtbench ";

struct Ping {
    std::uint64_t run = 0, publisher = 0, sequence = 0, sentNs = 0;
};

std::uint64_t nowNs()
{
    return static_cast<std::uint64_t>(Clock::now().time_since_epoch() / 1ns);
}

std::string encode(const Ping& ping, std::size_t size)
{
    std::string out(Mark);
    for (const std::uint64_t word : {ping.run, ping.publisher, ping.sequence, ping.sentNs}) {
        out += std::to_string(word) + ' ';
    }
    return out.size() < size ? out.append(size - out.size(), '.') : out;
}

bool decode(std::string_view text, Ping& out)
{
    const std::size_t begin = text.find(Mark);
    if (begin == std::string_view::npos) {
        return false;
    }
    const char* at = text.data() + begin + Mark.size();
    const char* end = text.data() + text.size();
    for (std::uint64_t* word : {&out.run, &out.publisher, &out.sequence, &out.sentNs}) {
        const auto result = std::from_chars(at, end, *word);
        if (result.ec != std::errc() || result.ptr == end || *result.ptr != ' ') {
            return false;
        }
        at = result.ptr + 1;
    }
    return true;
}

// --- latencies, in buckets that are at most 1/32 wide ----------------------------------------------------------------

class Histogram {
public:
    void add(std::uint64_t us)
    {
        ++counts_[bucket(us)];
        ++all_;
        most_ = std::max(most_, us);
    }
    std::uint64_t most() const { return most_; }
    std::uint64_t count() const { return all_; }
    // So many microseconds or less it took for this part of all.
    std::uint64_t quantile(double part) const
    {
        auto left = static_cast<std::uint64_t>(part * static_cast<double>(all_));
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            if (counts_[i] > left) {
                return std::min(upperEnd(i), most_);
            }
            left -= counts_[i];
        }
        return most_;
    }

private:
    static constexpr unsigned SubBits = 5;
    static constexpr std::size_t Sub = 1 << SubBits;

    static std::size_t bucket(std::uint64_t us)
    {
        if (us < Sub) {
            return us;
        }
        const auto shift = static_cast<unsigned>(std::bit_width(us)) - SubBits - 1;
        return (shift + 1) * Sub + ((us >> shift) - Sub);
    }
    static std::uint64_t upperEnd(std::size_t bucket)
    {
        if (bucket < Sub) {
            return bucket;
        }
        const std::uint64_t shift = bucket / Sub - 1;
        return ((bucket % Sub + Sub + 1) << shift) - 1;
    }

    std::array<std::uint64_t, std::size_t{64} * Sub> counts_{};
    std::uint64_t all_ = 0, most_ = 0;
};

// --- who listens -----------------------------------------------------------------------------------------------------

struct Tally {
    Histogram latency;
    std::uint64_t received = 0, twice = 0;
    std::uint64_t run = 0;
    std::size_t open = 0, ended = 0;
    std::string lastEnd;
};

class Listener final : SocketHandler {
public:
    struct Target {
        Endpoint endpoint;
        std::string channel;
        Credentials credentials;
        std::size_t publishers;
    };

    Listener(SocketLoop& loop, const Target& target, Tally& tally)
        : target_(target), tally_(tally), next_(target.publishers, 0),
          socket_(loop, target.endpoint, nullptr, *this)
    {
    }

private:
    bool pusher() const { return target_.endpoint.kind == Endpoint::Kind::PusherSocket; }

    void onOpen(const std::string&) override
    {
        if (!pusher()) {
            ready();
        }
    }

    void onMessage(std::string_view text) override
    {
        Ping ping;
        if (decode(text, ping)) {
            count(ping);
        } else if (pusher()) {
            take(Json::parse(text));
        }
    }

    void take(const Json& json)
    {
        const std::string event = json.text("event");
        if (event == "pusher:ping") {
            socket_.send(R"({"event":"pusher:pong","data":{}})");
        } else if (event == "pusher:connection_established") {
            std::string data = "{\"channel\":" + jsonString(target_.channel);
            if (target_.channel.starts_with("private-")) {
                const std::string id = Json::parse(json.text("data")).text("socket_id");
                data += ",\"auth\":" + jsonString(target_.credentials.channelAuth(id, target_.channel, ""));
            }
            socket_.send("{\"event\":\"pusher:subscribe\",\"data\":" + data + "}}");
        } else if (event == "pusher_internal:subscription_succeeded") {
            ready();
        }
    }

    void ready()
    {
        ready_ = true;
        ++tally_.open;
    }

    void count(const Ping& ping)
    {
        if (ping.run != tally_.run || ping.publisher >= next_.size()) {
            return; // of another run
        }
        std::uint64_t& next = next_[ping.publisher];
        if (ping.sequence < next) {
            ++tally_.twice; // or late: in either case not in order
            return;
        }
        next = ping.sequence + 1;
        ++tally_.received;
        tally_.latency.add((nowNs() - ping.sentNs) / 1'000);
    }

    void onEnd(bool, int status, const std::string& why) override
    {
        tally_.open -= ready_ ? 1 : 0;
        ++tally_.ended;
        tally_.lastEnd = (status == 0 ? "" : std::to_string(status) + ' ') + why;
    }

    const Target& target_;
    Tally& tally_;
    std::vector<std::uint64_t> next_; // of each publisher
    bool ready_ = false;
    Socket socket_;
};

// --- who publishes: a thread each, since libcurl waits ---------------------------------------------------------------

class Publishers {
public:
    struct Plan {
        std::size_t publishers;
        double rate; // of all
        std::chrono::seconds time;
        std::size_t size;
        std::uint64_t run;
        std::string channel;
    };

    Publishers(const Plan& plan, const Endpoint& endpoint, const Transport& transport,
               const Credentials& credentials)
    {
        running_ = plan.publishers;
        begin_ = Clock::now();
        for (std::size_t i = 0; i < plan.publishers; ++i) {
            threads_.emplace_back([this, plan, endpoint, transport, credentials, i] {
                try {
                    publish(plan, Publisher(endpoint, transport, credentials), i);
                } catch (const std::exception& error) {
                    note(error.what());
                }
                --running_;
            });
        }
    }
    ~Publishers()
    {
        stop_ = true;
        for (auto& thread : threads_) {
            thread.join();
        }
    }
    Publishers(const Publishers&) = delete;
    Publishers& operator=(const Publishers&) = delete;

    bool running() const { return running_ > 0; }
    std::uint64_t published() const { return published_; }
    std::uint64_t refused() const { return refused_; }
    double seconds() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }
    std::string problem() const
    {
        const std::lock_guard lock(mutex_);
        return problem_;
    }

private:
    void publish(const Plan& plan, Publisher publisher, std::size_t index)
    {
        const auto interval = std::chrono::duration_cast<Clock::duration>(
            std::chrono::duration<double>(static_cast<double>(plan.publishers) / plan.rate));
        Clock::time_point due =
            begin_ + interval * static_cast<long>(index) / static_cast<long>(plan.publishers);
        Ping ping{plan.run, index, 0, 0};
        for (const auto end = begin_ + plan.time; due < end && !stop_; due += interval) {
            std::this_thread::sleep_until(due);
            ping.sentNs = nowNs();
            const HttpAnswer answer = publisher.publish({plan.channel, "", encode(ping, plan.size), "", ""});
            if (answer.good()) {
                ++published_;
                ++ping.sequence; // a refused one was not broadcast, so its number is free
            } else {
                ++refused_;
                note(answer.problem());
            }
        }
    }

    void note(const std::string& problem)
    {
        const std::lock_guard lock(mutex_);
        problem_ = problem;
    }

    Clock::time_point begin_;
    std::atomic<std::size_t> running_{0};
    std::atomic<std::uint64_t> published_{0}, refused_{0};
    std::atomic<bool> stop_{false};
    mutable std::mutex mutex_;
    std::string problem_;
    std::vector<std::thread> threads_;
};

// --- the run -----------------------------------------------------------------------------------------------------------

class Bench {
public:
    explicit Bench(const Arguments& arguments)
        : subscribers_(number(arguments, "subscribers", 100, 0, 1'000'000)),
          transport_(transportOf(arguments)), loop_(transport_, subscribers_),
          progress_(arguments.has("quiet") || arguments.has("json"))
    {
        const auto& operands = arguments.operands();
        arguments.expectOperands(2, 3);
        target_.endpoint = parseEndpoint(operands[0]);
        publishAt_ = parseEndpoint(operands[1]);
        target_.channel = operands.size() > 2 ? operands[2] : "";
        target_.credentials = credentialsOf(arguments, target_.endpoint);
        const bool needsChannel = target_.endpoint.kind == Endpoint::Kind::PusherSocket ||
                                  target_.endpoint.takesChannel() ||
                                  publishAt_.kind == Endpoint::Kind::PusherApi || publishAt_.takesChannel();
        if (needsChannel == target_.channel.empty()) {
            throw UsageError(needsChannel ? "which channel?" : "both URLs name their channel themselves");
        }
        if (target_.endpoint.kind == Endpoint::Kind::PusherApi) {
            throw UsageError("the first URL is where to subscribe, the second where to publish");
        }
        if (target_.endpoint.kind == Endpoint::Kind::Location) {
            target_.endpoint = target_.endpoint.of(target_.channel);
        }
        plan_.publishers = number(arguments, "publishers", 2, 1, 1'000);
        plan_.rate = static_cast<double>(number(arguments, "rate", 100, 1, 10'000'000));
        plan_.time = std::chrono::seconds(number(arguments, "seconds", 10, 1, 100'000));
        plan_.size = number(arguments, "size", 128, 1, 16 << 20);
        plan_.run = tally_.run = nowNs();
        plan_.channel = target_.channel;
        target_.publishers = plan_.publishers;
    }

    int run(bool json)
    {
        connect();
        publish();
        progress_.clear();
        return json ? reportJson() : reportText();
    }

private:
    static std::size_t number(const Arguments& arguments, const char* name, std::int64_t otherwise,
                              std::int64_t least, std::int64_t most)
    {
        return static_cast<std::size_t>(arguments.number(name, otherwise, least, most));
    }

    void connect()
    {
        rlimit limit{};
        if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
            limit.rlim_cur = limit.rlim_max;
            setrlimit(RLIMIT_NOFILE, &limit);
        }
        listeners_.reserve(subscribers_);
        auto patience = Clock::now() + Patience;
        for (std::size_t open = 0; tally_.open < subscribers_ && !interrupted();) {
            while (listeners_.size() < subscribers_ && listeners_.size() - tally_.open < MaxConnecting) {
                listeners_.push_back(std::make_unique<Listener>(loop_, target_, tally_));
            }
            loop_.turn(20ms);
            progress_.show("connecting", tally_.open, subscribers_);
            if (tally_.ended > 0) {
                throw UnreachableError("after " + std::to_string(tally_.open) +
                                       " connections: " + tally_.lastEnd);
            }
            if (std::exchange(open, tally_.open) != tally_.open) {
                patience = Clock::now() + Patience;
            } else if (Clock::now() > patience) {
                throw UnreachableError("only " + std::to_string(tally_.open) + " subscribers got ready");
            }
        }
    }

    void publish()
    {
        Publishers publishers(plan_, publishAt_, transport_, target_.credentials);
        while (publishers.running() && !interrupted()) {
            loop_.turn(5ms);
            progress_.show("publishing",
                           static_cast<std::size_t>(std::min<double>(
                               publishers.seconds(), static_cast<double>(plan_.time.count()))),
                           static_cast<std::size_t>(plan_.time.count()));
        }
        seconds_ = publishers.seconds();
        auto patience = Clock::now() + 2s;
        for (std::uint64_t received = 0; Clock::now() < patience && !interrupted();) {
            published_ = publishers.published();
            if (tally_.received >= published_ * subscribers_ && !publishers.running()) {
                break;
            }
            loop_.turn(20ms);
            if (std::exchange(received, tally_.received) != tally_.received) {
                patience = Clock::now() + 2s;
            }
        }
        published_ = publishers.published();
        refused_ = publishers.refused();
        problem_ = publishers.problem();
    }

    std::uint64_t lost() const
    {
        const std::uint64_t due = published_ * subscribers_;
        return due > tally_.received ? due - tally_.received : 0;
    }

    int status() const
    {
        if (published_ == 0 || refused_ > 0) {
            return exit_status::Refused;
        }
        return lost() > 0 || tally_.twice > 0 || tally_.ended > 0 ? exit_status::Lossy : exit_status::Good;
    }

    int reportText() const
    {
        std::printf("published   %llu in %.1f s, %.0f/s\n", longs(published_), seconds_,
                    static_cast<double>(published_) / seconds_);
        std::printf("delivered   %llu to %zu subscribers, %.0f/s\n", longs(tally_.received), subscribers_,
                    static_cast<double>(tally_.received) / seconds_);
        if (tally_.latency.count() > 0) {
            const auto ms = [this](double part) {
                return static_cast<double>(tally_.latency.quantile(part)) / 1'000;
            };
            std::printf("latency     p50 %.2f ms, p90 %.2f, p99 %.2f, p99.9 %.2f, most %.2f\n", ms(0.5),
                        ms(0.9), ms(0.99), ms(0.999), static_cast<double>(tally_.latency.most()) / 1'000);
        }
        std::printf("lost        %llu\ntwice       %llu (or out of order)\nrefused     %llu%s\n",
                    longs(lost()), longs(tally_.twice), longs(refused_),
                    problem_.empty() ? "" : (" (" + printable(problem_) + ")").c_str());
        if (tally_.ended > 0) {
            std::printf("cut off     %zu connections (%s)\n", tally_.ended,
                        printable(tally_.lastEnd).c_str());
        }
        return status();
    }

    int reportJson() const
    {
        json_t* latency = json_pack("{s:I, s:I, s:I, s:I, s:I}", "p50", quantile(0.5), "p90", quantile(0.9),
                                    "p99", quantile(0.99), "p999", quantile(0.999), "max",
                                    static_cast<json_int_t>(tally_.latency.most()));
        const Json report(
            json_pack("{s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "published", integer(published_),
                      "seconds", seconds_, "subscribers", integer(subscribers_), "delivered",
                      integer(tally_.received), "lost", integer(lost()), "twice", integer(tally_.twice),
                      "refused", integer(refused_), "cut_off", integer(tally_.ended), "latency_us", latency));
        char* text = json_dumps(report.get(), JSON_COMPACT);
        printLine(text != nullptr ? text : "");
        std::free(text);
        return status();
    }

    static unsigned long long longs(std::uint64_t number) { return number; }
    static json_int_t integer(std::uint64_t number) { return static_cast<json_int_t>(number); }
    json_int_t quantile(double part) const { return integer(tally_.latency.quantile(part)); }

    std::size_t subscribers_;
    Transport transport_;
    Endpoint publishAt_;
    Listener::Target target_;
    Publishers::Plan plan_{};
    Tally tally_;
    SocketLoop loop_; // before the listeners, which must not outlive it
    std::vector<std::unique_ptr<Listener>> listeners_;
    Progress progress_;
    double seconds_ = 0;
    std::uint64_t published_ = 0, refused_ = 0;
    std::string problem_;
};

} // namespace

const Command BenchCommand{
    "bench",
    "SUBSCRIBE-URL PUBLISH-URL [CHANNEL]",
    "many subscribers, some publishers: rate, latency, losses",
    "The URLs are those of `sub` and `pub`, of one channel. Latencies are taken from the moment\n"
    "before the request to the message's arrival, by one clock; this process's own work is in them.\n"
    "Status 5: messages were lost, came twice or out of order, or connections were cut off.\n",
    BenchOptions,
    [](const Arguments& arguments) { return Bench(arguments).run(arguments.has("json")); }};

} // namespace realtime::cli
