#include "broker/sqlite/sqlite_link.hpp"

#include "base/utf8.hpp"
#include "broker/event_files.hpp"

#include <array>
#include <cstdio>
#include <ctime>
#include <sqlite3.h>
#include <string_view>

namespace realtime {

namespace {

using namespace std::chrono_literals;

constexpr int SchemaVersion = 1;
constexpr auto BusyRetry = 5ms;

constexpr const char* Schema = R"(
CREATE TABLE events (
    seq          INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    app          TEXT,
    channel      TEXT,
    event        TEXT,
    content_type TEXT,
    data,
    published_at TEXT,
    node         TEXT,
    user_id      TEXT,
    socket_id    TEXT,
    routing_key  TEXT
);
CREATE INDEX events_by_channel ON events (channel, published_at);
PRAGMA user_version = 1;
)";

constexpr const char* Insert =
    "INSERT OR IGNORE INTO events (id, app, channel, event, content_type, data, published_at, node, user_id, "
    "socket_id, routing_key) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

// Waits for another writer in small steps, since its transactions last about one fsync; 30 ms in all. What is left is
// the loop's to wait for, so that stopping never hangs on a lock.
int waitBriefly(void*, int attempts)
{
    constexpr long StepsUs[] = {200, 400, 800, 1'500, 2'500, 4'000, 5'000, 5'000, 5'000, 5'000};
    if (attempts >= static_cast<int>(std::size(StepsUs))) {
        return 0;
    }
    const timespec pause{0, StepsUs[attempts] * 1'000};
    nanosleep(&pause, nullptr);
    return 1;
}

using Timestamp = std::array<char, 32>;

std::size_t formatTimestamp(std::int64_t timeMs, Timestamp& out)
{
    const auto milliseconds = ((timeMs % 1000) + 1000) % 1000;
    const auto seconds = static_cast<std::time_t>((timeMs - milliseconds) / 1000);
    std::tm utc{};
    if (gmtime_r(&seconds, &utc) == nullptr) {
        return 0;
    }
    const int length = std::snprintf(out.data(), out.size(), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                                     utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min,
                                     utc.tm_sec, static_cast<int>(milliseconds));
    return length < static_cast<int>(out.size()) ? static_cast<std::size_t>(length) : 0;
}

int bindData(sqlite3_stmt* statement, int column, std::string_view data)
{
    const bool text = data.find('\0') == std::string_view::npos && validUtf8(data);
    return text ? bindText(statement, column, data)
                : sqlite3_bind_blob64(statement, column, data.data(), data.size(), SQLITE_STATIC);
}

} // namespace

SqliteLink::SqliteLink(const BrokerConfig& config, const BrokerServer& server, LinkOwner& owner)
    : config_(config), path_(server.path), owner_(owner)
{
}

LinkState SqliteLink::turn(LinkClock::time_point now)
{
    if (!ready_) {
        switch (open()) {
        case Result::Busy:
            return waitForLock(now);
        case Result::Failed:
            return LinkState::Broken;
        case Result::Done:
            ready_ = true;
            busySince_ = LinkClock::time_point::max();
            return LinkState::Up;
        }
    }
    if (batch_.empty()) {
        return LinkState::Up;
    }
    switch (commitBatch()) {
    case Result::Busy:
        return waitForLock(now);
    case Result::Failed:
        return LinkState::Broken;
    case Result::Done:
        break;
    }
    busySince_ = LinkClock::time_point::max();
    for (const auto& item : batch_) {
        owner_.onStored(item.handle);
    }
    batch_.clear();
    batchBytes_ = 0;
    return LinkState::Up;
}

LinkInterest SqliteLink::interest() const
{
    LinkInterest interest;
    if (!ready_ || !batch_.empty()) {
        interest.wakeAt = wakeAt_;
    }
    return interest;
}

std::size_t SqliteLink::room() const
{
    return ready_ && batchBytes_ < MaxBatchBytes ? MaxBatch - batch_.size() : 0;
}

void SqliteLink::submit(std::uint64_t handle, const BrokerEvent& event)
{
    batch_.push_back({handle, &event});
    batchBytes_ += event.data.size();
}

void SqliteLink::close(LinkClock::time_point)
{
    insert_.reset();
    begin_.reset();
    commit_.reset();
    db_.reset(); // the last one to close the file also moves the WAL into it
}

LinkState SqliteLink::waitForLock(LinkClock::time_point now)
{
    if (busySince_ == LinkClock::time_point::max()) {
        busySince_ = now;
    }
    if (now - busySince_ > config_.confirmTimeout) {
        fail("another process keeps it locked");
        return LinkState::Broken;
    }
    wakeAt_ = LinkClock::now() + BusyRetry;
    return ready_ ? LinkState::Up : LinkState::Connecting;
}

SqliteLink::Result SqliteLink::open()
{
    if (!db_) {
        if (const Result result = openFile(); result != Result::Done) {
            return result;
        }
    }
    if (const Result result = prepareSchema(); result != Result::Done) {
        return result;
    }
    return prepareStatements();
}

SqliteLink::Result SqliteLink::openFile()
{
    makeEventFile(path_);
    sqlite3* db = nullptr;
    // NOMUTEX: this thread is the only user of this connection.
    const int code = sqlite3_open_v2(
        path_.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
    db_.reset(db); // a handle comes with most errors, too
    if (code != SQLITE_OK) {
        return check(code, "open");
    }
    // A file without write permission is opened for reading. Going on would leave a WAL with the same permissions
    // beside it, in the way even when the file's own have been mended.
    if (sqlite3_db_readonly(db, "main") == 1) {
        return check(SQLITE_READONLY, "write");
    }
    sqlite3_busy_handler(db, waitBriefly, nullptr);
    return Result::Done;
}

// Also the proof that the file can be written: the version is written again even if it is right already.
SqliteLink::Result SqliteLink::prepareSchema()
{
    // The log of one checkpoint is 16 MB, since each costs two fsync()s of the file; after a burst, or a long reader, it is cut back to 64 MB.
    for (const char* sql :
         {"PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA wal_autocheckpoint = 4000",
          "PRAGMA journal_size_limit = 67108864", "PRAGMA cache_size = -16000", "BEGIN IMMEDIATE"}) {
        if (const Result result = execute(sql); result != Result::Done) {
            return result;
        }
    }
    int version = 0;
    const auto readVersion = [](void* out, int, char** values, char**) {
        *static_cast<int*>(out) =
            values[0] != nullptr ? std::atoi(values[0]) : 0; // NOLINT(cert-err34-c): an integer
        return 0;
    };
    Result result =
        check(sqlite3_exec(db_.get(), "PRAGMA user_version", readVersion, &version, nullptr), "read");
    if (result == Result::Done && version != 0 && version != SchemaVersion) {
        result = fail("its layout is version " + std::to_string(version) + ", this program knows version " +
                      std::to_string(SchemaVersion));
        fault_.lasting = true;
    }
    if (result == Result::Done) {
        result = execute(version == 0 ? Schema : "PRAGMA user_version = 1");
    }
    if (result == Result::Done) {
        result = execute("COMMIT");
    }
    if (result != Result::Done && sqlite3_get_autocommit(db_.get()) == 0) {
        sqlite3_exec(db_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
    }
    return result;
}

SqliteLink::Result SqliteLink::prepareStatements()
{
    const auto prepare = [this](const char* sql, Statement& out) {
        sqlite3_stmt* statement = nullptr;
        const int code =
            sqlite3_prepare_v3(db_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
        out.reset(statement);
        return check(code, "use");
    };
    for (auto [sql, statement] : {std::pair<const char*, Statement*>{Insert, &insert_},
                                  {"BEGIN IMMEDIATE", &begin_},
                                  {"COMMIT", &commit_}}) {
        if (const Result result = prepare(sql, *statement); result != Result::Done) {
            return result;
        }
    }
    return Result::Done;
}

SqliteLink::Result SqliteLink::commitBatch()
{
    if (fileWasMoved()) {
        return fail("the file was moved away or deleted");
    }
    if (const Result result = run(begin_.get()); result != Result::Done) {
        return result;
    }
    Result result = insertBatch();
    if (result == Result::Done) {
        result = run(commit_.get());
    }
    if (result != Result::Done && sqlite3_get_autocommit(db_.get()) == 0) {
        sqlite3_exec(db_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
    }
    return result;
}

SqliteLink::Result SqliteLink::insertBatch()
{
    for (const auto& item : batch_) {
        if (const Result result = insert(*item.event); result != Result::Done) {
            return result;
        }
    }
    return Result::Done;
}

SqliteLink::Result SqliteLink::insert(const BrokerEvent& event)
{
    sqlite3_stmt* statement = insert_.get();
    Timestamp time;
    const std::string_view publishedAt(time.data(), formatTimestamp(event.timeMs, time));
    for (const int code : {
             bindText(statement, 1, event.messageId),
             bindTextOrNull(statement, 2, event.app),
             bindTextOrNull(statement, 3, event.channel),
             bindTextOrNull(statement, 4, event.event),
             bindTextOrNull(statement, 5, event.contentType),
             bindData(statement, 6, event.data),
             bindTextOrNull(statement, 7, publishedAt),
             bindTextOrNull(statement, 8, event.node.empty() ? config_.node : event.node),
             bindTextOrNull(statement, 9, event.userId),
             bindTextOrNull(statement, 10, event.socketId),
             bindTextOrNull(statement, 11, event.routingKey),
         }) {
        if (code != SQLITE_OK) {
            return check(code, "write");
        }
    }
    return run(statement);
}

SqliteLink::Result SqliteLink::execute(const char* sql)
{
    return check(sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr), "write");
}

SqliteLink::Result SqliteLink::run(sqlite3_stmt* statement)
{
    const int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    return check(code == SQLITE_DONE ? SQLITE_OK : code, "write");
}

SqliteLink::Result SqliteLink::check(int code, const char* doing)
{
    if (code == SQLITE_OK) {
        return Result::Done;
    }
    const int primary = code & 0xff;
    if (primary == SQLITE_BUSY || primary == SQLITE_LOCKED) {
        return Result::Busy;
    }
    return fail(std::string("cannot ") + doing + " it: " + sqliteProblem(db_.get(), code, path_));
}

SqliteLink::Result SqliteLink::fail(std::string text)
{
    fault_.text = std::move(text);
    return Result::Failed;
}

// SQLite itself would go on writing to the deleted file, and everything "stored" there would be gone at its close.
bool SqliteLink::fileWasMoved()
{
    int moved = 0;
    return sqlite3_file_control(db_.get(), "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved != 0;
}

} // namespace realtime
