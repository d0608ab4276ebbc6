// Blocks every signal but those that report the thread's own faults, for as long as it lives: a thread started
// meanwhile inherits the mask, so that the process's handlers never run on it.
#pragma once

#include <csignal>
#include <initializer_list>
#include <pthread.h>

namespace realtime {

class SignalsBlocked {
public:
    SignalsBlocked()
    {
        sigset_t all;
        sigfillset(&all);
        for (const int fault : {SIGILL, SIGFPE, SIGSEGV, SIGBUS}) {
            sigdelset(&all, fault);
        }
        pthread_sigmask(SIG_BLOCK, &all, &before_);
    }
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

private:
    sigset_t before_{};
};

} // namespace realtime
