#include "broker/spool/spool_file.hpp"

#include "broker/event_files.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace realtime {

namespace {

constexpr std::uint64_t WorthCompacting = 16 << 20;

constexpr const char* SpoolSchema = R"(
CREATE TABLE spool (
    seq          INTEGER PRIMARY KEY,
    bytes        INTEGER NOT NULL,
    refused      INTEGER NOT NULL,
    time_ms      INTEGER NOT NULL,
    id           TEXT NOT NULL,
    app          TEXT,
    channel      TEXT,
    event        TEXT,
    content_type TEXT,
    routing_key  TEXT,
    user_id      TEXT,
    socket_id    TEXT,
    exchange     TEXT,
    data         BLOB
);
CREATE INDEX spool_refused ON spool (seq) WHERE refused = 1;
PRAGMA user_version = 1;
)";

constexpr const char* InsertEvent =
    "INSERT INTO spool (seq, bytes, refused, time_ms, id, app, channel, event, content_type, routing_key, "
    "user_id, "
    "socket_id, exchange, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

constexpr const char* Read = "SELECT seq, bytes, time_ms, id, app, channel, event, content_type, "
                             "routing_key, user_id, socket_id, exchange, "
                             "data "
                             "FROM spool WHERE seq > ?1 AND refused = ?2 ORDER BY seq LIMIT ?3";

bool sameFile(int fd, const std::string& path)
{
    struct stat open {
    }, there{};
    return fstat(fd, &open) == 0 && stat(path.c_str(), &there) == 0 && open.st_dev == there.st_dev &&
           open.st_ino == there.st_ino;
}

} // namespace

// --- the lock ---------------------------------------------------------------------------------------------------

std::optional<SpoolLock> SpoolLock::take(const std::string& path)
{
    const std::string name = path + ".lock";
    for (;;) {
        OwnFd fd(open(name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
        if (fd.get() < 0) {
            throw SpoolError(name + ": " + std::strerror(errno), false);
        }
        if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
            return std::nullopt;
        }
        if (sameFile(fd.get(), name)) { // else its last owner has removed it between open and lock
            return SpoolLock(std::move(fd), path);
        }
    }
}

void SpoolLock::remove()
{
    for (const char* end : {"-wal", "-shm", "", ".lock"}) { // the lock last
        unlink((path_ + end).c_str());
    }
}

// --- the file ---------------------------------------------------------------------------------------------------

// Undone unless committed.
class SpoolFile::Transaction {
public:
    explicit Transaction(SpoolFile& file) : file_(file)
    {
        int moved = 0; // SQLite itself would go on writing to a deleted file
        sqlite3_file_control(file.db_.get(), "main", SQLITE_FCNTL_HAS_MOVED, &moved);
        if (moved != 0) {
            throw SpoolError("the file was moved away or deleted", true);
        }
        file.run(file.begin_);
    }
    ~Transaction()
    {
        if (sqlite3_get_autocommit(file_.db_.get()) == 0) {
            sqlite3_exec(file_.db_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
        }
    }
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;

    void commit() { file_.run(file_.commit_); }

private:
    SpoolFile& file_;
};

SpoolFile::SpoolFile(std::string path) : path_(std::move(path))
{
    makeEventFile(path_);
    sqlite3* db = nullptr;
    const int code = sqlite3_open_v2(
        path_.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
    db_.reset(db); // a handle comes with most errors, too
    check(code);
    if (sqlite3_db_readonly(db, "main") == 1) {
        check(SQLITE_READONLY);
    }
    // The log of one checkpoint: 16 MB; after a burst it is cut back to 64 MB. What is erased is not overwritten at the
    // price of writing it all once more, for which a disk may have no room; Debian's SQLite would.
    for (const char* sql : {"PRAGMA locking_mode = EXCLUSIVE", "PRAGMA journal_mode = WAL",
                            "PRAGMA synchronous = FULL", "PRAGMA wal_autocheckpoint = 4000",
                            "PRAGMA journal_size_limit = 67108864", "PRAGMA secure_delete = FAST"}) {
        execute(sql);
    }
    prepareSchema();
    begin_ = prepare("BEGIN IMMEDIATE");
    commit_ = prepare("COMMIT");
    insert_ = prepare(InsertEvent);
    erase_ = prepare("DELETE FROM spool WHERE seq BETWEEN ?1 AND ?2");
    refuse_ = prepare("UPDATE spool SET refused = 1 WHERE seq = ?1");
    read_ = prepare(Read);
    events_ = static_cast<std::uint64_t>(number("SELECT count(*) FROM spool"));
    bytes_ = static_cast<std::uint64_t>(number("SELECT coalesce(sum(bytes), 0) FROM spool"));
    mostBytes_ = WorthCompacting; // unknown: compact once when it is empty
    lastRow_ = number("SELECT coalesce(max(seq), 0) FROM spool");
}

// Also the proof that the file can be written: the version is written again even if it is right already.
void SpoolFile::prepareSchema()
{
    execute("BEGIN IMMEDIATE");
    const auto version = number("PRAGMA user_version");
    if (version != 0 && version != 1) {
        throw SpoolError(
            "its layout is version " + std::to_string(version) + ", this program knows version 1", false);
    }
    execute(version == 0 ? SpoolSchema : "PRAGMA user_version = 1");
    execute("COMMIT");
}

void SpoolFile::forgetRefusals()
{
    execute("UPDATE spool SET refused = 0 WHERE refused = 1");
}

void SpoolFile::append(std::span<PendingEvent* const> events, std::int64_t firstRow, bool refused)
{
    Transaction transaction(*this);
    std::int64_t row = firstRow;
    std::uint64_t bytes = 0;
    for (const PendingEvent* event : events) {
        bindEvent(*event, row++, refused);
        run(insert_);
        bytes += event->bytes;
    }
    transaction.commit();
    events_ += events.size();
    bytes_ += bytes;
    mostBytes_ = std::max(mostBytes_, bytes_);
    lastRow_ = std::max(lastRow_, row - 1);
}

void SpoolFile::bindEvent(const PendingEvent& pending, std::int64_t row, bool refused)
{
    const BrokerEvent& event = pending.event;
    sqlite3_stmt* insert = insert_.get();
    for (const int code : {
             sqlite3_bind_int64(insert, 1, row),
             sqlite3_bind_int64(insert, 2, static_cast<std::int64_t>(pending.bytes)),
             sqlite3_bind_int(insert, 3, refused ? 1 : 0),
             sqlite3_bind_int64(insert, 4, event.timeMs),
             bindText(insert, 5, event.messageId),
             bindTextOrNull(insert, 6, event.app),
             bindTextOrNull(insert, 7, event.channel),
             bindTextOrNull(insert, 8, event.event),
             bindTextOrNull(insert, 9, event.contentType),
             bindTextOrNull(insert, 10, event.routingKey),
             bindTextOrNull(insert, 11, event.userId),
             bindTextOrNull(insert, 12, event.socketId),
             bindTextOrNull(insert, 13, event.exchange),
             sqlite3_bind_blob64(insert, 14, event.data.data(), event.data.size(), SQLITE_STATIC),
         }) {
        check(code);
    }
}

void SpoolFile::erase(std::vector<Entry>& entries)
{
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.row < b.row; });
    Transaction transaction(*this);
    std::uint64_t bytes = 0;
    for (std::size_t first = 0; first < entries.size();) { // each run of rows by one statement
        std::size_t next = first;
        while (next < entries.size() &&
               entries[next].row == entries[first].row + static_cast<std::int64_t>(next - first)) {
            bytes += entries[next++].bytes;
        }
        check(sqlite3_bind_int64(erase_.get(), 1, entries[first].row));
        check(sqlite3_bind_int64(erase_.get(), 2, entries[next - 1].row));
        run(erase_);
        first = next;
    }
    transaction.commit();
    events_ -= std::min<std::uint64_t>(events_, entries.size());
    bytes_ -= std::min(bytes_, bytes);
}

void SpoolFile::refuse(std::span<const std::int64_t> rows)
{
    Transaction transaction(*this);
    for (const std::int64_t row : rows) {
        check(sqlite3_bind_int64(refuse_.get(), 1, row));
        run(refuse_);
    }
    transaction.commit();
}

std::vector<std::unique_ptr<PendingEvent>> SpoolFile::read(std::int64_t after, bool refused,
                                                           std::size_t maxEvents, std::uint64_t maxBytes)
{
    std::vector<std::unique_ptr<PendingEvent>> out;
    sqlite3_stmt* read = read_.get();
    check(sqlite3_bind_int64(read, 1, after));
    check(sqlite3_bind_int(read, 2, refused ? 1 : 0));
    check(sqlite3_bind_int64(read, 3, static_cast<std::int64_t>(maxEvents)));
    std::uint64_t bytes = 0;
    int code = SQLITE_DONE;
    while ((out.empty() || bytes < maxBytes) && (code = sqlite3_step(read)) == SQLITE_ROW) {
        auto pending = std::make_unique<PendingEvent>();
        pending->row = sqlite3_column_int64(read, 0);
        pending->bytes = static_cast<std::uint64_t>(sqlite3_column_int64(read, 1));
        pending->counted = false;
        pending->refusedRow = refused;
        BrokerEvent& event = pending->event;
        event.timeMs = sqlite3_column_int64(read, 2);
        std::string* const texts[] = {&event.messageId,   &event.app,        &event.channel, &event.event,
                                      &event.contentType, &event.routingKey, &event.userId,  &event.socketId,
                                      &event.exchange,    &event.data};
        int column = 3;
        for (std::string* text : texts) {
            *text = columnBytes(read, column++);
        }
        bytes += pending->bytes;
        out.push_back(std::move(pending));
    }
    sqlite3_reset(read);
    check(code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code);
    return out;
}

void SpoolFile::compact()
{
    if (events_ == 0 && mostBytes_ >= WorthCompacting) {
        mostBytes_ = 0;
        execute("VACUUM");
        settle();
    }
}

std::uint64_t SpoolFile::freeBytes() const
{
    struct statvfs disk {};
    if (statvfs(path_.c_str(), &disk) != 0 || disk.f_blocks == 0) { // 0: without a limit, or it does not say
        return ~std::uint64_t{0};
    }
    return std::uint64_t{disk.f_bavail} * disk.f_frsize;
}

std::uint64_t SpoolFile::reusableBytes()
{
    return static_cast<std::uint64_t>(number("PRAGMA freelist_count") * number("PRAGMA page_size"));
}

void SpoolFile::settle()
{
    execute("PRAGMA wal_checkpoint(TRUNCATE)");
}

void SpoolFile::execute(const char* sql)
{
    check(sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr));
}

std::int64_t SpoolFile::number(const char* sql)
{
    const Statement statement = prepare(sql);
    const int code = sqlite3_step(statement.get());
    check(code == SQLITE_ROW ? SQLITE_OK : code);
    return sqlite3_column_int64(statement.get(), 0);
}

Statement SpoolFile::prepare(const char* sql)
{
    sqlite3_stmt* statement = nullptr;
    const int code = sqlite3_prepare_v3(db_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    Statement owned(statement);
    check(code);
    return owned;
}

void SpoolFile::run(Statement& statement)
{
    const int code = sqlite3_step(statement.get());
    sqlite3_reset(statement.get());
    check(code == SQLITE_DONE ? SQLITE_OK : code);
}

void SpoolFile::check(int code)
{
    if (code != SQLITE_OK) {
        const int primary = code & 0xff;
        throw SpoolError(sqliteProblem(db_.get(), code, path_),
                         primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB);
    }
}

} // namespace realtime
