// The files and directories that events are kept in, the spool's and the store's: who may use them, and how they are
// made. They are for the user that the workers run as and for nobody else.
//
// The master looks at them when a configuration is read, mostly as root. What exists is never changed then, neither its
// owner nor its permissions, since the path may be a mistake, or somebody else may have put something there. What is
// missing is made only where nobody but root and this process's user can have chosen the place, and by descriptors, so
// that nothing can be put in its way in between.
//
// Errors  what cannot be used is a FileRefusal; what works only in part, or may be mended later, is a warning. Both are
//         sentences for an operator, and begin with the path.
#pragma once

#include <stdexcept>
#include <string>
#include <sys/types.h>
#include <vector>

namespace realtime {

struct FileRefusal : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// As whom the workers run.
struct FileUser {
    uid_t id = 0;
    std::vector<gid_t> groups;
    std::string name; // for messages
};

FileUser currentFileUser(); // this process's own

enum class IfMissing { Leave, Make };

// `path` is absolute. It has to be a directory of the user's own, no symbolic link. One that is made is 0700. Returns
// warnings.
std::vector<std::string> prepareSpoolDirectory(const std::string& path, const FileUser& user,
                                               IfMissing missing);

// A SQLite file, which is made when the first event comes; its directory is not.
std::vector<std::string> examineStore(const std::string& path, const FileUser& user);

// A file that the workers read themselves, such as a certificate. It exists.
std::vector<std::string> examineReadable(const std::string& path, const FileUser& user);

// Makes an empty file 0600 if there is none; SQLite's -wal, -shm and -journal beside it get the same permissions. Fails
// silently, since whoever opens it next finds out why.
void makeEventFile(const std::string& path);

} // namespace realtime
