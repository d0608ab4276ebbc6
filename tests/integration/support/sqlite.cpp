#include "support/sqlite.hpp"

#include <memory>
#include <stdexcept>

#include <sqlite3.h>

namespace realtime::testing {
namespace {

struct CloseDatabase {
    void operator()(sqlite3* database) const { sqlite3_close(database); }
};
struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

std::string column(sqlite3_stmt* statement, int index)
{
    const void* bytes = sqlite3_column_blob(statement, index);
    const int size = sqlite3_column_bytes(statement, index);
    return bytes == nullptr ? ""
                            : std::string(static_cast<const char*>(bytes), static_cast<std::size_t>(size));
}

} // namespace

std::vector<Row> query(const std::filesystem::path& database, const std::string& sql)
{
    if (!std::filesystem::exists(database)) {
        return {};
    }
    sqlite3* raw = nullptr;
    const int opened = sqlite3_open_v2(database.c_str(), &raw, SQLITE_OPEN_READWRITE, nullptr);
    const std::unique_ptr<sqlite3, CloseDatabase> connection(raw);
    if (opened != SQLITE_OK) {
        throw std::runtime_error("cannot open " + database.string());
    }
    sqlite3_busy_timeout(raw, 5000);
    sqlite3_stmt* rawStatement = nullptr;
    const int prepared = sqlite3_prepare_v2(raw, sql.c_str(), -1, &rawStatement, nullptr);
    const std::unique_ptr<sqlite3_stmt, Finalize> statement(rawStatement);
    if (prepared != SQLITE_OK) {
        const std::string error = sqlite3_errmsg(raw);
        if (error.find("no such table") != std::string::npos) {
            return {};
        }
        throw std::runtime_error(sql + ": " + error);
    }
    std::vector<Row> rows;
    int step = SQLITE_ROW;
    while ((step = sqlite3_step(rawStatement)) == SQLITE_ROW) {
        Row row;
        for (int i = 0; i < sqlite3_column_count(rawStatement); ++i) {
            row.push_back(column(rawStatement, i));
        }
        rows.push_back(std::move(row));
    }
    if (step != SQLITE_DONE) {
        throw std::runtime_error(sql + ": " + sqlite3_errmsg(raw));
    }
    return rows;
}

} // namespace realtime::testing
