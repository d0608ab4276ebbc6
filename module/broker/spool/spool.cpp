#include "broker/spool/spool.hpp"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <system_error>

namespace realtime {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t EraseTogether = 4096;
constexpr auto EraseAfter = 200ms;
constexpr int MaxSlots = 4096;
constexpr const char* Suffix = ".spool";

// Broker names may hold any printable character, file names may not.
std::string fileName(const std::string& broker)
{
    std::string out;
    for (const unsigned char c : broker) {
        if (std::isalnum(c) != 0 || c == '-' || c == '_') {
            out += static_cast<char>(c);
        } else {
            char escaped[4];
            std::snprintf(escaped, sizeof(escaped), "%%%02X", c);
            out += escaped;
        }
    }
    return out;
}

} // namespace

Spool::Spool(const SpoolConfig& config, const std::string& broker, SpoolGauges& gauges, NoteSink note)
    : config_(config), prefix_(config.directory + "/" + fileName(broker) + "."), gauges_(gauges),
      note_(std::move(note))
{
}

void Spool::turn(Time now, bool adoptNow)
{
    if (!usable()) {
        if (now >= openAt_) {
            open(now);
        }
        return;
    }
    if (erasures_.size() >= EraseTogether || now >= eraseAt_) {
        flush();
    }
    if (now >= roomAt_ && usable()) {
        roomAt_ = now + RetryAfter;
        if (findRoom(reserve_ + Reserve / 4)) { // not to change its mind with every event that leaves
            recovered();
        }
    }
    if (!usable()) {
        return;
    }
    mayAdopt_ = adoptNow;
    if (adoptNow && now >= adoptAt_) {
        adopt(now);
    }
}

Spool::Time Spool::wakeAt() const
{
    if (!usable()) {
        return openAt_;
    }
    return std::min({eraseAt_, roomAt_, mayAdopt_ ? adoptAt_ : Time::max()});
}

template <class Work> bool Spool::attempt(Work&& work)
{
    try {
        work();
        publish();
        return true;
    } catch (const SpoolError& error) {
        fail(error);
        return false;
    }
}

void Spool::open(Time now)
{
    openAt_ = now + RetryAfter;
    const bool opened = attempt([this] {
        const bool first = !lock_;
        if (first) {
            claim();
        }
        file_.emplace(lock_->path());
        if (first) {
            file_->forgetRefusals();
        }
        nextRow_ = std::max(nextRow_, file_->lastRow() + 1);
        mayHaveMore_ = true;
        if (!told_ && file_->events() > 0) {
            note_(Note::Level::Notice,
                  "the spool " + path() + " holds " + std::to_string(file_->events()) + " events of before");
        }
    });
    if (opened && findRoom(reserve_)) {
        recovered();
    }
}

// What the file can use again counts, but for no more than as much again: the log of writes needs room of its own. That
// holds some pages more than once: it is seen what they give before the answer is no.
bool Spool::findRoom(std::uint64_t needed)
{
    std::uint64_t free = 0;
    bool found = false;
    const auto look = [&] {
        free = file_->freeBytes();
        found = free >= needed || free + std::min(free, file_->reusableBytes()) >= needed;
    };
    const bool looked = attempt([&] {
        look();
        if (!found) {
            file_->settle();
            look();
        }
    });
    if (looked && !found && !std::exchange(low_, true)) {
        roomAt_ = LinkClock::now() + RetryAfter;
        tellFault("its disk is full but for " + std::to_string(free >> 20) + " MB, and " +
                  std::to_string(reserve_ >> 20) + " MB must be left to drain it");
    }
    return looked && found;
}

void Spool::recovered()
{
    low_ = false;
    roomAt_ = Time::max();
    gauges_.failed.store(false, std::memory_order_relaxed);
    if (std::exchange(told_, false)) {
        note_(Note::Level::Notice, "the spool " + path() + " can be written again");
    }
}

void Spool::claim()
{
    for (int slot = 0; slot < MaxSlots && !lock_; ++slot) {
        lock_ = SpoolLock::take(prefix_ + std::to_string(slot) + Suffix);
    }
    if (!lock_) {
        throw SpoolError("all " + std::to_string(MaxSlots) + " files are in use", false);
    }
}

void Spool::fail(const SpoolError& error)
{
    const std::string name = path();
    file_.reset();
    low_ = false; // to be seen when it is open again
    roomAt_ = Time::max();
    if (error.lost && lock_) {
        ++epoch_;
        erasures_.clear();
        eraseAt_ = Time::max();
        inMemory_.clear();
        cursor_ = 0;
        refusedCursor_ = 0;
        const std::string aside = name + ".damaged-" + std::to_string(std::time(nullptr));
        if (std::rename(name.c_str(), aside.c_str()) == 0) {
            std::rename((name + "-wal").c_str(), (aside + "-wal").c_str());
            note_(Note::Level::Error, "the spool " + name + " is damaged and was set aside as " + aside +
                                          ": what waited there is not delivered");
            openAt_ = Time::min();
        } else if (errno == ENOENT) {
            openAt_ = Time::min();
        } else {
            note_(Note::Level::Error,
                  "the spool " + name + " is damaged and cannot be set aside: " + std::strerror(errno));
        }
    }
    tellFault(error.what());
}

void Spool::tellFault(const std::string& what)
{
    gauges_.failed.store(true, std::memory_order_relaxed);
    told_ = true;
    note_(Note::Level::Error, "cannot use the spool " + path() + ": " + what);
}

void Spool::publish()
{
    gauges_.events.store(file_->events(), std::memory_order_relaxed);
    // Ordered before the release of memory by that one's own store (release).
    gauges_.bytes.store(file_->bytes(), std::memory_order_relaxed);
}

bool Spool::store(const std::vector<PendingEvent*>& events, bool stay, bool refused)
{
    return takes() && findRoom(reserve_) && append(events, stay, refused);
}

void Spool::useReserve()
{
    reserve_ = Reserve / 2;
    low_ = false;
}

bool Spool::append(const std::vector<PendingEvent*>& events, bool stay, bool refused)
{
    return attempt([&] {
        file_->append(events, nextRow_, refused);
        for (PendingEvent* event : events) {
            event->row = nextRow_++;
            event->refusedRow = refused;
            if (stay) {
                inMemory_.insert(event->row);
            }
        }
        mayHaveMore_ = mayHaveMore_ || !stay;
    });
}

bool Spool::refuse(const std::vector<std::int64_t>& rows)
{
    return usable() && attempt([&] { file_->refuse(rows); });
}

void Spool::erase(const PendingEvent& event)
{
    inMemory_.insert(event.row); // until it is gone from the file
    erasures_.push_back({event.row, event.bytes});
    if (eraseAt_ == Time::max()) {
        eraseAt_ = LinkClock::now() + EraseAfter;
    }
}

bool Spool::flush()
{
    if (erasures_.empty()) {
        return true;
    }
    return usable() && attempt([this] {
               file_->erase(erasures_);
               for (const auto& entry : erasures_) {
                   inMemory_.erase(entry.row);
               }
               erasures_.clear();
               eraseAt_ = Time::max();
               file_->compact();
           });
}

std::vector<Spool::Event> Spool::readNext(std::size_t most)
{
    std::vector<Event> out;
    if (!mayHaveMore()) {
        return out;
    }
    attempt([&] {
        out = file_->read(cursor_, false, most, MaxBatchBytes);
        mayHaveMore_ = !out.empty();
        if (!out.empty()) {
            cursor_ = out.back()->row;
        }
    });
    std::erase_if(out, [this](const Event& event) { return holds(event->row); });
    return out;
}

void Spool::rewind()
{
    cursor_ = 0;
    refusedCursor_ = 0;
    mayHaveMore_ = true;
    inMemory_.clear();
    for (const auto& entry : erasures_) {
        inMemory_.insert(entry.row);
    }
}

std::vector<Spool::Event> Spool::readRefused(std::size_t most)
{
    std::vector<Event> out;
    if (usable() && flush()) {
        attempt([&] {
            out = file_->read(refusedCursor_, true, most, MaxBatchBytes);
            if (out.empty() && refusedCursor_ != 0) {
                out = file_->read(0, true, most, MaxBatchBytes);
            }
            refusedCursor_ = out.empty() ? 0 : out.back()->row;
        });
    }
    return out;
}

// --- adoption ---------------------------------------------------------------------------------------------------

void Spool::adopt(Time now)
{
    if (!orphan_ && !findOrphan()) {
        adoptAt_ = now + AdoptEvery;
        return;
    }
    if (file_->bytes() > config_.maxBytes / 2) { // no room to take it in; it is as safe where it is
        adoptAt_ = now + AdoptEvery;
        return;
    }
    adoptPiece();
}

bool Spool::findOrphan()
{
    for (const std::string& file : foreignFiles()) {
        try {
            orphanLock_ = SpoolLock::take(file);
            if (orphanLock_) {
                orphan_.emplace(file);
                orphan_->forgetRefusals();
                return true;
            }
        } catch (const SpoolError& error) {
            note_(Note::Level::Warn, "cannot adopt the spool " + file + ": " + error.what());
            orphan_.reset();
            orphanLock_.reset();
        }
    }
    return false;
}

// Stored here before it is erased there.
void Spool::adoptPiece()
{
    std::vector<Event> events;
    try {
        events = orphan_->read(0, false, MaxBatch, MaxBatchBytes);
    } catch (const SpoolError& error) {
        note_(Note::Level::Warn, "cannot adopt the spool " + orphanLock_->path() + ": " + error.what());
        orphan_.reset();
        orphanLock_.reset();
        return;
    }
    std::vector<PendingEvent*> all;
    std::vector<SpoolFile::Entry> entries;
    for (const Event& event : events) {
        entries.push_back({event->row, event->bytes});
        all.push_back(event.get());
    }
    if (events.empty()) {
        orphan_.reset();
        orphanLock_->remove();
        orphanLock_.reset();
    } else if (file_->freeBytes() < Reserve / 2 || !append(all, false, false)) {
        adoptAt_ = LinkClock::now() + AdoptEvery; // the reserve is for this, too: it gives room in the end
    } else {
        try {
            orphan_->erase(entries);
        } catch (const SpoolError&) { // delivered twice, then; not read again here
            orphan_.reset();
            orphanLock_.reset();
        }
        note_(Note::Level::Notice, "adopts events that another process has left in the spool");
    }
}

std::vector<std::string> Spool::foreignFiles() const
{
    std::vector<std::string> out;
    std::error_code error;
    for (std::filesystem::directory_iterator at(config_.directory, error), end; !error && at != end;
         at.increment(error)) {
        const std::string file = config_.directory + "/" + at->path().filename().string();
        if (!file.starts_with(prefix_) || !file.ends_with(Suffix) || file == path()) {
            continue;
        }
        const std::string slot =
            file.substr(prefix_.size(), file.size() - prefix_.size() - std::string_view(Suffix).size());
        if (!slot.empty() &&
            std::all_of(slot.begin(), slot.end(), [](unsigned char c) { return std::isdigit(c) != 0; })) {
            out.push_back(file);
        }
    }
    std::sort(out.begin(), out.end());
    return out;
}

} // namespace realtime
