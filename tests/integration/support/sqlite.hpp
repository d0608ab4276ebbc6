// Reading the embedded store as anyone would: with SQL.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace realtime::testing {

using Row = std::vector<std::string>; // NULL reads as ""

// Throws on any error but a missing file or table, which reads as no rows.
std::vector<Row> query(const std::filesystem::path& database, const std::string& sql);

} // namespace realtime::testing
