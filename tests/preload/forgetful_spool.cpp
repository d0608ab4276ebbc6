// A spool that is off, for a module that says nothing of it: preloaded before SQLite, this has files in a directory spool/
// opened in memory. So nginx acknowledges on the strength of a spool which ends with the process. It shows that the fault
// test would notice (tests/integration/fault_test.cpp).
#include <cstring>
#include <dlfcn.h>
#include <sqlite3.h>

extern "C" __attribute__((visibility("default"))) int sqlite3_open_v2(const char* filename, sqlite3** ppDb,
                                                                      int flags, const char* zVfs)
{
    using Open = int (*)(const char*, sqlite3**, int, const char*);
    static const auto open = reinterpret_cast<Open>(dlsym(RTLD_NEXT, "sqlite3_open_v2"));
    return open(std::strstr(filename, "/spool/") == nullptr ? filename : ":memory:", ppDb, flags, zVfs);
}
