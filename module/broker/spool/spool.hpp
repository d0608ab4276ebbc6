// The spool of one broker in one process: where events wait durably while their broker is away. It owns one file in
// the spool's directory, and adopts those that nobody owns any more.
//
//     DIRECTORY/NAME.N.spool    of the broker NAME (other than letters, digits, "-" and "_" as %XX); N from 0: a process
//                               takes the first that is free, with what a dead one has left in it
//
// Order      as stored; an adopted file's events follow in their own order.
// Adoption   another file of this broker whose lock can be taken is copied over, piece by piece, and removed. A death in
//            the midst leaves a piece in both, which is delivered twice.
// Failing    no call throws. After an error (read-only, I/O) usable() is false and the file is tried again every
//            RetryAfter. A file that is no database is set aside as PATH.damaged-TIME. When rows are gone with their
//            file, epoch() changes: what the caller keeps of rows is void.
// Full disk  erasing takes SQLite room, too: a disk that the spool had filled could never be drained. So Reserve of it is
//            left free. When it has no more than that, takes() is false while all but store() goes on.
// Thread     the broker's. A call takes as long as the disk does.
#pragma once

#include "broker/link.hpp"
#include "broker/spool/pending_event.hpp"
#include "broker/spool/spool_file.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

namespace realtime {

// Written by the broker's thread, read by the event loop. `bytes` must be up to date before memory is released (see
// BrokerShared): it is what the bound is checked with.
struct SpoolGauges {
    std::atomic<std::uint64_t> events{0}, bytes{0};
    std::atomic<bool> failed{false};
};

class Spool {
public:
    using Time = LinkClock::time_point;
    using Event = std::unique_ptr<PendingEvent>;
    using NoteSink = std::function<void(Note::Level level, const std::string& text)>;

    static constexpr std::size_t MaxBatch = 4096;
    static constexpr std::uint64_t MaxBatchBytes = 8 << 20;
    static constexpr std::chrono::seconds RetryAfter{1};
    static constexpr std::chrono::seconds AdoptEvery{2};
    // A log of writes that is due to be moved into the file (16 MB and a batch), and one of erasing a batch.
    static constexpr std::uint64_t Reserve = 32 << 20;

    Spool(const SpoolConfig& config, const std::string& broker, SpoolGauges& gauges, NoteSink note);

    // Does what is due: opening, erasing, adopting. `adopt`: now is a good time for the latter.
    void turn(Time now, bool adopt);
    Time wakeAt() const;
    bool usable() const { return file_.has_value(); }
    bool takes() const { return usable() && !low_; }
    unsigned epoch() const { return epoch_; }

    // Durable if true: each event then has its row. Those that `stay` in memory are not read back before rewind().
    bool store(const std::vector<PendingEvent*>& events, bool stay, bool refused);
    bool refuse(const std::vector<std::int64_t>& rows);
    void useReserve(); // half of it, from now on: what is not stored now is lost

    // The event is no longer needed. What is due is erased together, by turn().
    void erase(const PendingEvent& event);
    bool flush();

    // The next events in order that are not in memory. Once none came, none will before something is stored or
    // adopted, or rewind().
    std::vector<Event> readNext(std::size_t most);
    bool mayHaveMore() const { return usable() && mayHaveMore_; }
    void rewind(); // nothing of what was read or stayed is in memory any more

    // The next of the refused ones, round and round. Call only while none of them is in memory.
    std::vector<Event> readRefused(std::size_t most);

    std::string path() const { return lock_ ? lock_->path() : config_.directory; }

private:
    template <class Work> bool attempt(Work&& work);
    bool append(const std::vector<PendingEvent*>& events, bool stay, bool refused);
    void open(Time now);
    void claim();
    void fail(const SpoolError& error);
    void tellFault(const std::string& what);
    bool findRoom(std::uint64_t needed);
    void recovered();
    void publish();
    void adopt(Time now);
    bool findOrphan();
    void adoptPiece();
    std::vector<std::string> foreignFiles() const;
    bool holds(std::int64_t row) const { return inMemory_.contains(row); }

    const SpoolConfig& config_;
    const std::string prefix_;
    SpoolGauges& gauges_;
    NoteSink note_;

    std::optional<SpoolLock> lock_; // before file_: released after it is closed
    std::optional<SpoolFile> file_;
    bool told_ = false; // that it fails
    bool low_ = false;  // the disk is too full
    Time roomAt_ = Time::max();
    std::uint64_t reserve_ = Reserve;
    unsigned epoch_ = 0;
    std::int64_t nextRow_ = 1; // never used before by this process, even in another file

    std::int64_t cursor_ = 0, refusedCursor_ = 0;
    bool mayHaveMore_ = true;
    std::unordered_set<std::int64_t> inMemory_; // rows that readNext() passes over
    std::vector<SpoolFile::Entry> erasures_;
    Time eraseAt_ = Time::max();

    std::optional<SpoolLock> orphanLock_;
    std::optional<SpoolFile> orphan_;
    Time openAt_ = Time::min(), adoptAt_ = Time::min();
    bool mayAdopt_ = false; // as turn() was told
};

} // namespace realtime
