// The embedded store: one SQLite file that all workers, and whoever queries it, open at the same time.
//
//     events(seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, app, channel, event, content_type, data,
//            published_at, node, user_id, socket_id, routing_key)
//
// `seq` is the order of storing. `data` is TEXT if it is valid UTF-8 without NUL, else BLOB (typeof(data) tells).
// `published_at` is TEXT, UTC, ISO 8601 with milliseconds ("2024-05-01T12:00:00.123Z"): it sorts and compares as text,
// people can read it, and SQLite's date functions take it as it is. What is not known is NULL.
// PRAGMA user_version says the layout: 1.
//
// Durability  WAL with synchronous=FULL: an event is reported stored after its transaction's fsync. One transaction
//             holds all that waits, up to MaxBatch events or MaxBatchBytes.
// Duplicates  an id that is there already is left alone, so sending again after an error is harmless.
// Sharing     another writer's transaction is waited for: briefly within turn(), then again in the next one, for
//             confirmTimeout in all, which is a fault then.
// Faults      any other error (full disk, read-only, I/O, file moved away) breaks the link with a sentence that names
//             the path. Directories are not created: a path that is not there is more likely a mistake.
#pragma once

#include "broker/link.hpp"
#include "broker/sqlite/sqlite_file.hpp"

#include <string>
#include <vector>

namespace realtime {

class SqliteLink final : public Link {
public:
    static constexpr std::size_t MaxBatch = 8'000;
    static constexpr std::size_t MaxBatchBytes = 8 << 20;

    SqliteLink(const BrokerConfig& config, const BrokerServer& server, LinkOwner& owner);

    LinkState turn(LinkClock::time_point now) override;
    const LinkFault& fault() const override { return fault_; }
    LinkInterest interest() const override;
    std::size_t room() const override;
    void submit(std::uint64_t handle, const BrokerEvent& event) override;
    void close(LinkClock::time_point deadline) override;

private:
    enum class Result { Done, Busy, Failed };
    struct Item {
        std::uint64_t handle;
        const BrokerEvent* event;
    };

    Result open();
    Result openFile();
    Result prepareSchema();
    Result prepareStatements();
    Result commitBatch();
    Result insertBatch();
    Result insert(const BrokerEvent& event);
    Result execute(const char* sql);
    Result run(sqlite3_stmt* statement);
    Result check(int code, const char* doing); // Failed: fault_ is set
    Result fail(std::string text);
    bool fileWasMoved();
    LinkState waitForLock(LinkClock::time_point now);

    const BrokerConfig& config_;
    const std::string path_;
    LinkOwner& owner_;
    LinkFault fault_;

    Database db_;
    Statement insert_, begin_, commit_; // after db_: finalized before it is closed
    bool ready_ = false;
    std::vector<Item> batch_;
    std::size_t batchBytes_ = 0;
    LinkClock::time_point busySince_ = LinkClock::time_point::max();
    LinkClock::time_point wakeAt_ = LinkClock::time_point::min();
};

} // namespace realtime
