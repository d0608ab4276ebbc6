#include "broker/event_files.hpp"

#include "base/own_fd.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <string_view>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace realtime {

namespace {

constexpr int MaxLinks = 40;

std::string inQuotes(std::string_view text)
{
    return '"' + std::string(text) + '"';
}

[[noreturn]] void refuse(const std::string& path, const std::string& why)
{
    throw FileRefusal(inQuotes(path) + ' ' + why);
}

std::string nameOf(uid_t id)
{
    const passwd* entry = getpwuid(id);
    return entry != nullptr ? inQuotes(entry->pw_name) : "number " + std::to_string(id);
}

enum Access : unsigned { Search = 1, Write = 2, Read = 4 };

// An access control list may allow more than the permissions say.
bool hasAccessList(int fd)
{
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    return getxattr(path.c_str(), "system.posix_acl_access", nullptr, 0) > 0;
}

bool allows(int fd, const struct stat& info, const FileUser& user, unsigned wanted)
{
    if (user.id == 0) {
        return true;
    }
    unsigned shift = 0;
    if (info.st_uid == user.id) {
        shift = 6;
    } else if (std::find(user.groups.begin(), user.groups.end(), info.st_gid) != user.groups.end()) {
        shift = 3;
    }
    return ((info.st_mode >> shift) & wanted) == wanted || hasAccessList(fd);
}

struct stat statusOf(int fd, const std::string& path)
{
    struct stat info {};
    if (fstat(fd, &info) != 0) {
        refuse(path, std::string("cannot be looked at: ") + std::strerror(errno));
    }
    return info;
}

std::deque<std::string> partsOf(std::string_view path)
{
    std::deque<std::string> parts;
    while (!path.empty()) {
        const auto slash = path.find('/');
        if (const auto part = path.substr(0, slash); !part.empty() && part != ".") {
            parts.emplace_back(part);
        }
        path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    }
    return parts;
}

std::string targetOf(int link)
{
    char target[PATH_MAX];
    const ssize_t length = readlinkat(link, "", target, sizeof(target));
    return length > 0 ? std::string(target, static_cast<std::size_t>(length)) : "";
}

// Thrown for a directory on the way that does not exist.
struct MissingDirectory : FileRefusal {
    using FileRefusal::FileRefusal;
};

// Whose symbolic links on the way are followed.
enum class Links { OfAnybody, OfRootAndMe };

// The directory that a path's last part is in. Opened part by part, each as what it is.
class Parent {
public:
    Parent(const std::string& path, const FileUser& user, Links links)
        : path_(path), user_(user), links_(links), parts_(partsOf(path))
    {
        begin();
        if (parts_.empty()) {
            refuse(path, "cannot be used: name something in it");
        }
        while (parts_.size() > 1) {
            const std::string part = parts_.front();
            parts_.pop_front();
            enter(part);
        }
    }

    int fd() const { return fd_.get(); }
    const std::string& name() const { return parts_.front(); }
    const std::string& text() const { return text_; } // "/" for the root
    // The first directory on the way that the user cannot get through; empty: there is none.
    const std::string& barrier() const { return barrier_; }

private:
    void begin() { arrive(OwnFd(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)), "/"); }

    void arrive(OwnFd fd, std::string text)
    {
        fd_ = std::move(fd);
        text_ = std::move(text);
        if (barrier_.empty() && !allows(fd_.get(), statusOf(fd_.get(), text_), user_, Search)) {
            barrier_ = text_;
        }
    }

    void enter(const std::string& part)
    {
        std::string text = (text_ == "/" ? "" : text_) + '/' + part;
        OwnFd next(openat(fd_.get(), part.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
        if (next.get() < 0) {
            const int error = errno;
            const std::string why = inQuotes(path_) + ": " + text + ": " + std::strerror(error);
            if (error == ENOENT) {
                throw MissingDirectory(why);
            }
            throw FileRefusal(why);
        }
        const struct stat info = statusOf(next.get(), text);
        if (S_ISLNK(info.st_mode)) {
            follow(next.get(), info, text);
        } else if (S_ISDIR(info.st_mode)) {
            arrive(std::move(next), std::move(text));
        } else {
            refuse(path_, "cannot be: " + text + " is no directory");
        }
    }

    void follow(int link, const struct stat& info, const std::string& text)
    {
        if (links_ == Links::OfRootAndMe && info.st_uid != 0 && info.st_uid != geteuid()) {
            refuse(path_, "goes through " + text + ", a symbolic link of user " + nameOf(info.st_uid) +
                              ", who could make it lead anywhere");
        }
        const std::string target = targetOf(link);
        if (++followed_ > MaxLinks || target.empty()) {
            refuse(path_, "cannot be followed: " + text);
        }
        const auto parts = partsOf(target);
        parts_.insert(parts_.begin(), parts.begin(), parts.end());
        if (target.front() == '/') {
            begin();
        }
    }

    const std::string path_;
    const FileUser& user_;
    const Links links_;
    std::deque<std::string> parts_;
    OwnFd fd_;
    std::string text_, barrier_;
    int followed_ = 0;
};

void warnOfBarrier(std::vector<std::string>& warnings, const std::string& path, const Parent& parent,
                   const FileUser& user)
{
    if (!parent.barrier().empty()) {
        warnings.push_back(inQuotes(path) + " is out of reach for user " + inQuotes(user.name) +
                           ", as whom the workers run: " + parent.barrier() + " lets nobody else through");
    }
}

// --- the spool --------------------------------------------------------------------------------------------------

bool isEmpty(int directory)
{
    const int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* stream = copy < 0 ? nullptr : fdopendir(copy);
    if (stream == nullptr) {
        if (copy >= 0) {
            close(copy);
        }
        return false;
    }
    bool empty = true;
    while (const dirent* entry = readdir(stream)) {
        empty = empty && (entry->d_name == std::string_view(".") || entry->d_name == std::string_view(".."));
    }
    closedir(stream);
    return empty;
}

// It is given away by its descriptor, when it is seen to be the one that was made.
void makeDirectory(const std::string& path, const Parent& parent, const FileUser& user)
{
    const char* name = parent.name().c_str();
    if (mkdirat(parent.fd(), name, 0700) != 0) {
        if (errno == EEXIST) { // somebody was quicker: it is looked at like any other
            return;
        }
        refuse(path, std::string("cannot be made: ") + std::strerror(errno));
    }
    const OwnFd made(openat(parent.fd(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat info {};
    if (made.get() < 0 || fstat(made.get(), &info) != 0 || info.st_uid != geteuid() ||
        (info.st_mode & 077) != 0 || !isEmpty(made.get())) {
        refuse(path, "was replaced while it was made");
    }
    if (fchmod(made.get(), 0700) != 0 ||
        (info.st_uid != user.id && fchown(made.get(), user.id, static_cast<gid_t>(-1)) != 0)) {
        const int error = errno;
        unlinkat(parent.fd(), name, AT_REMOVEDIR);
        refuse(path, "cannot be given to user " + inQuotes(user.name) + ": " + std::strerror(error));
    }
}

void examineSpool(std::vector<std::string>& warnings, const std::string& path, const struct stat& info,
                  const FileUser& user)
{
    if (S_ISLNK(info.st_mode)) {
        refuse(path, "is a symbolic link: name the directory itself");
    }
    if (!S_ISDIR(info.st_mode)) {
        refuse(path, "is no directory: name one of the spool's own");
    }
    if (info.st_uid != user.id) {
        refuse(path, "belongs to user " + nameOf(info.st_uid) + ", and the workers run as " +
                         inQuotes(user.name) +
                         ": name a directory of theirs, or one that does not exist yet");
    }
    if ((info.st_mode & 0700) != 0700) {
        refuse(path, "cannot be written by its owner: chmod 700 is wanted");
    }
    if ((info.st_mode & 022) != 0) {
        warnings.push_back(inQuotes(path) + " can be written by others: chmod 700 is wanted");
    }
}

} // namespace

FileUser currentFileUser()
{
    FileUser user;
    user.id = geteuid();
    const int count = getgroups(0, nullptr);
    user.groups.resize(static_cast<std::size_t>(std::max(count, 0)));
    if (count > 0 && getgroups(count, user.groups.data()) < 0) {
        user.groups.clear();
    }
    user.groups.push_back(getegid());
    const passwd* entry = getpwuid(user.id);
    user.name = entry != nullptr ? entry->pw_name : std::to_string(user.id);
    return user;
}

std::vector<std::string> prepareSpoolDirectory(const std::string& path, const FileUser& user,
                                               IfMissing missing)
{
    std::vector<std::string> warnings;
    const Parent parent(path, user, Links::OfRootAndMe);
    warnOfBarrier(warnings, path, parent, user);
    for (int attempt = 0; attempt < 2; ++attempt) {
        const OwnFd fd(openat(parent.fd(), parent.name().c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
        if (fd.get() >= 0) {
            examineSpool(warnings, path, statusOf(fd.get(), path), user);
            return warnings;
        }
        if (errno != ENOENT) {
            refuse(path, std::string("cannot be opened: ") + std::strerror(errno));
        }
        if (missing == IfMissing::Leave) {
            if (faccessat(parent.fd(), ".", W_OK | X_OK, AT_EACCESS) != 0) {
                refuse(path, "does not exist, and cannot be made in " + parent.text() + ": " +
                                 std::strerror(errno));
            }
            return warnings;
        }
        makeDirectory(path, parent, user);
    }
    refuse(path, "disappears when it has been made");
}

// --- the store --------------------------------------------------------------------------------------------------

std::vector<std::string> examineStore(const std::string& path, const FileUser& user)
{
    std::vector<std::string> warnings;
    const std::string waits = ": events are refused until that is mended";
    const std::string workers =
        " cannot be written by user " + inQuotes(user.name) + ", as whom the workers run" + waits;
    try {
        const Parent parent(path, user, Links::OfAnybody);
        warnOfBarrier(warnings, path, parent, user);
        if (!allows(parent.fd(), statusOf(parent.fd(), parent.text()), user, Search | Write)) {
            warnings.push_back(inQuotes(path) + ": its directory " + parent.text() + workers);
        }
        const OwnFd fd(openat(parent.fd(), parent.name().c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
        if (fd.get() < 0) {
            return warnings;
        }
        const struct stat info = statusOf(fd.get(), path);
        if (S_ISLNK(info.st_mode)) {
            refuse(path, "is a symbolic link: name the file itself");
        }
        if (S_ISDIR(info.st_mode)) {
            refuse(path, "is a directory: name a file in it, as in sqlite:" + path + "/events.db");
        }
        if (!S_ISREG(info.st_mode)) {
            refuse(path, "is no regular file");
        }
        if (!allows(fd.get(), info, user, Read | Write)) {
            warnings.push_back(inQuotes(path) + workers);
        }
    } catch (const MissingDirectory&) {
        warnings.push_back(inQuotes(path) + ": its directory does not exist" + waits +
                           " (install -d -m 700 -o " + user.name + ' ' + path.substr(0, path.rfind('/')) +
                           ')');
    }
    return warnings;
}

std::vector<std::string> examineReadable(const std::string& path, const FileUser& user)
{
    std::vector<std::string> warnings;
    char file[PATH_MAX]; // certificates are often links to what is elsewhere
    if (realpath(path.c_str(), file) == nullptr) {
        return warnings;
    }
    try {
        const Parent parent(file, user, Links::OfAnybody);
        warnOfBarrier(warnings, path, parent, user);
        const OwnFd fd(openat(parent.fd(), parent.name().c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
        if (fd.get() >= 0 && !allows(fd.get(), statusOf(fd.get(), path), user, Read)) {
            warnings.push_back(inQuotes(path) + " cannot be read by user " + inQuotes(user.name) +
                               ", as whom the workers run");
        }
    } catch (const FileRefusal&) { // whoever reads it says why
    }
    return warnings;
}

void makeEventFile(const std::string& path)
{
    const OwnFd made(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
}

} // namespace realtime
