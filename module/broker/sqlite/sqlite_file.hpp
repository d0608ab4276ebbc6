// What the two users of SQLite here share: owners of its handles, binding of bytes, and an operator's words for what
// went wrong.
#pragma once

#include <memory>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace realtime {

struct CloseDatabase {
    void operator()(sqlite3* db) const;
};
struct FinalizeStatement {
    void operator()(sqlite3_stmt* statement) const;
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;
using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

// The bytes are not copied: they must live until the statement has been stepped and is bound anew.
int bindText(sqlite3_stmt* statement, int column, std::string_view text);
int bindTextOrNull(sqlite3_stmt* statement, int column, std::string_view text); // empty: NULL

// Bytes of a TEXT or BLOB column of the current row; valid until the next step.
std::string_view columnBytes(sqlite3_stmt* statement, int column);

// Why `code` came of doing something with the file at `path`; `db` may be null.
std::string sqliteProblem(sqlite3* db, int code, const std::string& path);

} // namespace realtime
