#include "log/lock.hpp"

#include "log/directory.hpp"
#include "log/idempotency.hpp"
#include "log/ring.hpp"
#include "log/step.hpp"
#include "log/wake.hpp"

#include <cerrno>
#include <stdexcept>
#include <string>
#include <system_error>

namespace realtime::sharedlog {

namespace {

// About as long as an append takes. The holder mostly runs on another core and is done by then, which spares both
// sides the futex calls.
constexpr int SpinRounds = 40;

void pauseCpu()
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

int acquire(pthread_mutex_t* mutex)
{
    for (int i = 0; i < SpinRounds; ++i) {
        const int error = pthread_mutex_trylock(mutex);
        if (error != EBUSY) {
            return error;
        }
        for (int pause = 0; pause < 8; ++pause) {
            pauseCpu();
        }
    }
    return pthread_mutex_lock(mutex);
}

// The record that was being published when the holder died: if readers can see it, the directory must know it.
void finishPending(Memory memory)
{
    Header& header = memory.header();
    const Ring ring(memory);
    if (header.pending == 0 || header.pending >= ring.head()) {
        return;
    }
    RecordHeader record;
    if (ring.peek(header.pending, record) != Peek::Record || record.entry >= memory.plan().entryCount) {
        return;
    }
    Entry& entry = memory.entry(record.entry);
    if (entry.epoch == record.epoch && entry.lastOffset <= record.offset) {
        entry.lastOffset = record.offset;
        entry.lastPosition = record.position;
        if ((record.flags & record_flag::Kept) != 0) {
            entry.keptPosition = record.position;
        }
    }
    header.appendedRecords = header.pendingRecords;
    for (std::uint32_t i = 0; i < memory.plan().slotCount; ++i) {
        markForWakeUp(memory.slot(i), record.position);
    }
}

void repair(Memory memory)
{
    Header& header = memory.header();
    step("repair begun");
    finishPending(memory);
    step("pending finished");
    Directory(memory).rebuild();
    step("directory rebuilt");
    IdempotencyTable(memory).dropUnpublished(Ring(memory).head());
    header.wakeAll = 1;
    ++header.recoveries;
    step("repaired");
    header.pending = 0;
}

[[noreturn]] void fail(const char* what, int error)
{
    throw std::runtime_error(std::string("shared log: ") + what + ": " +
                             std::error_code(error, std::generic_category()).message());
}

} // namespace

void initialiseMutex(pthread_mutex_t& mutex)
{
    pthread_mutexattr_t attributes;
    int error = pthread_mutexattr_init(&attributes);
    if (error == 0) {
        error = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        error = error != 0 ? error : pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        error = error != 0 ? error : pthread_mutex_init(&mutex, &attributes);
        pthread_mutexattr_destroy(&attributes);
    }
    if (error != 0) {
        fail("cannot make a robust mutex", error);
    }
}

Lock::Lock(Memory memory) : mutex_(&memory.header().mutex)
{
    step("locking");
    const int error = acquire(mutex_);
    if (error == EOWNERDEAD) {
        // If this process dies here, the next one gets EOWNERDEAD again. ENOTRECOVERABLE would need an unlock
        // without pthread_mutex_consistent(), which does not exist.
        repair(memory);
        pthread_mutex_consistent(mutex_);
    } else if (error != 0) {
        fail("cannot lock", error);
    }
    step("locked");
}

void Lock::unlock()
{
    if (mutex_ != nullptr) {
        step("unlocking");
        pthread_mutex_unlock(mutex_);
        mutex_ = nullptr;
        step("unlocked");
    }
}

} // namespace realtime::sharedlog
