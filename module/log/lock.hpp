// The log's mutex, held for the life of a Lock.
//
// If the last holder died with it, the constructor mends what it left: a record that was published but not yet
// entered in the directory is entered, everything derived is rebuilt, and wake-ups that may have been lost are
// noted in Header::wakeAll. Mending may itself be killed at any instruction and begun anew by the next one. It
// takes some milliseconds in a zone of 64 MiB.
//
// Throws std::runtime_error if the mutex is not a mutex any more (memory scribbled over).
#pragma once

#include "log/layout.hpp"

namespace realtime::sharedlog {

void initialiseMutex(pthread_mutex_t& mutex);

class Lock {
public:
    explicit Lock(Memory memory);
    ~Lock() { unlock(); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

    void unlock();

private:
    pthread_mutex_t* mutex_;
};

} // namespace realtime::sharedlog
