// One file of the spool: events that wait for their broker, durable, in order.
//
//     spool(seq INTEGER PRIMARY KEY, bytes, refused, time_ms, id, app, channel, event, content_type, routing_key,
//           user_id, socket_id, exchange, data)
//
// `seq` is the order of the events; `refused` is 1 while the broker does not take the event (returned, nacked).
//
// Durability  SQLite, WAL, synchronous=FULL: what append() took survives the machine. A torn write costs the
//             transaction that it tore, whose events were not reported stored.
// Ownership   whoever holds SpoolLock of the path is the only user; SQLite's exclusive locking saves its shared index.
// Thread      the broker's. A call takes as long as the disk does.
// Errors      everything throws SpoolError; the transaction is then undone. Close the file and open it again.
#pragma once

#include "base/own_fd.hpp"
#include "broker/broker.hpp"
#include "broker/spool/pending_event.hpp"
#include "broker/sqlite/sqlite_file.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace realtime {

struct SpoolError : std::runtime_error {
    SpoolError(const std::string& text, bool lostFile) : std::runtime_error(text), lost(lostFile) {}
    bool lost; // the file is no longer there, or is no database: another one has to be begun
};

// The right to use the spool file at `path`: an flock() on PATH.lock, which ends with the process.
class SpoolLock {
public:
    // None if another holds it. Throws SpoolError if the lock file cannot be made.
    static std::optional<SpoolLock> take(const std::string& path);

    // Removes the spool file and the lock file, for a spool that is empty and closed.
    void remove();

    const std::string& path() const { return path_; }

private:
    SpoolLock(OwnFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

    OwnFd fd_;
    std::string path_;
};

class SpoolFile {
public:
    struct Entry {
        std::int64_t row = 0;
        std::uint64_t bytes = 0; // as append() was told
    };

    // Opens or makes it.
    explicit SpoolFile(std::string path);

    // Events that were refused count as new ones: a new start is a new chance.
    void forgetRefusals();

    std::uint64_t events() const { return events_; }
    std::uint64_t bytes() const { return bytes_; }
    std::int64_t lastRow() const { return lastRow_; }

    // Rows count up from `firstRow`, one for each event, in order.
    void append(std::span<PendingEvent* const> events, std::int64_t firstRow, bool refused);
    void erase(std::vector<Entry>& entries); // in any order; sorts them
    void refuse(std::span<const std::int64_t> rows);

    // The first events after a row, at most so many and, past the first, so many bytes.
    std::vector<std::unique_ptr<PendingEvent>> read(std::int64_t after, bool refused, std::size_t maxEvents,
                                                    std::uint64_t maxBytes);

    // Gives the disk its room back if nothing is left.
    void compact();

    // What its disk has left for others than root; more than any disk has where that is not known.
    std::uint64_t freeBytes() const;
    std::uint64_t reusableBytes(); // in the file, of what was erased
    // Moves the log of writes into the file, and gives back its room.
    void settle();

private:
    class Transaction;

    void prepareSchema();
    void execute(const char* sql);
    std::int64_t number(const char* sql);
    Statement prepare(const char* sql);
    void run(Statement& statement);
    void check(int code);
    void bindEvent(const PendingEvent& pending, std::int64_t row, bool refused);

    std::string path_;
    Database db_;
    Statement begin_, commit_, insert_, erase_, refuse_, read_; // after db_: finalized before it is closed
    std::uint64_t events_ = 0, bytes_ = 0, mostBytes_ = 0;
    std::int64_t lastRow_ = 0;
};

} // namespace realtime
