#include "broker/sqlite/sqlite_file.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

namespace realtime {

namespace {

// Why a path cannot be a database, in an operator's words; empty if nothing is wrong with it to the eye. SQLite's own
// message would be "unable to open database file" for most of these.
std::string pathProblem(const std::string& path)
{
    struct stat info {};
    const bool exists = stat(path.c_str(), &info) == 0;
    if (exists && !S_ISREG(info.st_mode)) {
        return S_ISDIR(info.st_mode) ? "it is a directory" : "it is not a regular file";
    }
    for (const auto& file : {path, path + "-wal", path + "-shm"}) {
        if (faccessat(AT_FDCWD, file.c_str(), R_OK | W_OK, AT_EACCESS) != 0 && errno != ENOENT) {
            return file + ": " + std::strerror(errno);
        }
    }
    // The directory must be writable even if the file exists: the write-ahead log is made beside it.
    const auto slash = path.find_last_of('/');
    const std::string directory = slash == 0 ? "/" : path.substr(0, slash);
    if (stat(directory.c_str(), &info) != 0 ||
        faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
        return "directory " + directory + ": " + std::strerror(errno);
    }
    return S_ISDIR(info.st_mode) ? "" : directory + " is not a directory";
}

} // namespace

void CloseDatabase::operator()(sqlite3* db) const
{
    sqlite3_close_v2(db);
}

void FinalizeStatement::operator()(sqlite3_stmt* statement) const
{
    sqlite3_finalize(statement);
}

int bindText(sqlite3_stmt* statement, int column, std::string_view text)
{
    return sqlite3_bind_text64(statement, column, text.data() == nullptr ? "" : text.data(), text.size(),
                               SQLITE_STATIC, SQLITE_UTF8);
}

int bindTextOrNull(sqlite3_stmt* statement, int column, std::string_view text)
{
    return text.empty() ? sqlite3_bind_null(statement, column) : bindText(statement, column, text);
}

std::string_view columnBytes(sqlite3_stmt* statement, int column)
{
    const void* bytes = sqlite3_column_blob(statement, column); // before its length, as SQLite asks
    const int size = sqlite3_column_bytes(statement, column);
    return bytes == nullptr
               ? std::string_view{}
               : std::string_view(static_cast<const char*>(bytes), static_cast<std::size_t>(size));
}

std::string sqliteProblem(sqlite3* db, int code, const std::string& path)
{
    const int primary = code & 0xff;
    const bool unusable = primary == SQLITE_CANTOPEN || primary == SQLITE_READONLY || primary == SQLITE_PERM;
    std::string text = unusable ? pathProblem(path) : "";
    if (text.empty()) {
        const int systemError = db != nullptr ? sqlite3_system_errno(db) : 0;
        text = sqlite3_errstr(code);
        if (systemError != 0 && primary == SQLITE_IOERR) {
            text += std::string(" (") + std::strerror(systemError) + ")";
        }
    }
    return text;
}

} // namespace realtime
