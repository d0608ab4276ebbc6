#include "scenario/scenarios.hpp"

#include "load/broker_load.hpp"
#include "load/schedule.hpp"
#include "serve/nginx_server.hpp"

#include "support/files.hpp"

#include <sqlite3.h>

#include <stdexcept>

namespace realtime::bench {

namespace {

constexpr std::size_t Events = 300'000, Bytes = 200;
constexpr std::size_t BareBatch = 500;
constexpr double MostMicroseconds = 10; // an event: 100,000 a second
constexpr double MostMilliseconds = 10;

// What SQLite itself takes: a table of the same columns without an index, one prepared statement, one thread.
class BareSqlite {
public:
    explicit BareSqlite(const std::string& file)
    {
        check(sqlite3_open(file.c_str(), &database_));
        check(sqlite3_exec(
            database_,
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            "CREATE TABLE events (seq INTEGER PRIMARY KEY, id TEXT, app TEXT, channel TEXT, "
            "event TEXT, content_type TEXT, data, published_at TEXT, node TEXT, routing_key TEXT)",
            nullptr, nullptr, nullptr));
        check(sqlite3_prepare_v2(
            database_,
            "INSERT INTO events (id, app, channel, event, content_type, data, published_at, "
            "node, routing_key) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            -1, &insert_, nullptr));
    }
    ~BareSqlite()
    {
        sqlite3_finalize(insert_);
        sqlite3_close(database_);
    }
    BareSqlite(const BareSqlite&) = delete;
    BareSqlite& operator=(const BareSqlite&) = delete;

    double store(std::size_t events, std::size_t bytes)
    {
        const auto start = Clock::now();
        for (std::size_t done = 0; done < events;) {
            check(sqlite3_exec(database_, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr));
            for (std::size_t i = 0; i < BareBatch && done < events; ++i, ++done) {
                insert(makeEvent(done, bytes));
            }
            check(sqlite3_exec(database_, "COMMIT", nullptr, nullptr, nullptr));
        }
        return static_cast<double>(events) / secondsSince(start);
    }

private:
    void check(int status)
    {
        if (status != SQLITE_OK && status != SQLITE_DONE) {
            throw std::runtime_error(std::string("bare SQLite: ") + sqlite3_errmsg(database_));
        }
    }
    void insert(const BrokerEvent& event)
    {
        int column = 0;
        for (const std::string* text : {&event.messageId, &event.app, &event.channel, &event.event,
                                        &event.contentType, &event.data, &time_, &node_, &event.routingKey}) {
            check(sqlite3_bind_text(insert_, ++column, text->data(), static_cast<int>(text->size()),
                                    SQLITE_STATIC));
        }
        check(sqlite3_step(insert_));
        check(sqlite3_reset(insert_));
    }

    const std::string time_ = "2024-01-01T00:00:00.000Z", node_ = "node1";
    sqlite3* database_ = nullptr;
    sqlite3_stmt* insert_ = nullptr;
};

void storing(const Options& options, Report& report)
{
    const Unpinned everywhere;
    const std::size_t events = options.scaled(Events);
    std::vector<Contender> contenders{
        {"bare SQLite, no index",
         [&] {
             const testing::TempDir directory;
             return 1e6 / BareSqlite(directory.path() / "bare.db").store(events, Bytes);
         }},
        {"nginx-realtime",
         [&] {
             const testing::TempDir directory;
             BrokerConfig config;
             config.name = "bench";
             config.node = "node1";
             config.servers = {parseBrokerServer("sqlite:" + (directory.path() / "events.db").string())};
             return 1e6 / storeAll(config, events, Bytes);
         }},
    };
    alternate(contenders, options.rounds());
    const std::string scenario = "stored in SQLite, as they come";
    report.add(scenario, "us", contenders, {});
    report.add({scenario,
                "most, for 100,000 a second",
                median(contenders[1].values),
                "us",
                {},
                {},
                {},
                MostMicroseconds});
}

void answering(const Options& options, Report& report)
{
    const testing::TempDir directory;
    NginxSetup setup = realtimeSetup(options.module);
    setup.http += "realtime_broker events { server sqlite:" + (directory.path() / "events.db").string() +
                  "; }\nrealtime_app default { broker events; }\n";
    setup.server = "location ~ ^/pub/(?<channel>\\w+)$ { realtime_publish $channel ack=stored; }\n"
                   "location ~ ^/sub/(?<channel>\\w+)$ { realtime_subscribe $channel; }\n";
    const NginxServer server(setup);
    Schedule schedule({server, server});
    schedule.run(500);
    Percentiles answers;
    for (int round = 0; round < (options.quick ? 1 : 5); round++) {
        schedule.run(options.quick ? 1000 : 10'000);
        answers.add(schedule.publishes);
    }
    const std::string scenario = "ack=stored, 1,000 a second";
    report.add({scenario, "p50", median(answers.p50), "ms", {}, {}, {}, {}});
    report.add({scenario, "p99", median(answers.p99), "ms", {}, {}, {}, MostMilliseconds});
}

} // namespace

void sqlite(const Options& options, Report& report)
{
    storing(options, report);
    answering(options, report);
}

} // namespace realtime::bench
