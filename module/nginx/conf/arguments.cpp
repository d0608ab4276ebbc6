#include "nginx/conf/arguments.hpp"

#include <algorithm>
#include <numeric>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace realtime {

void warn(ngx_conf_t* cf, const std::string& text)
{
    ngx_conf_log_error(NGX_LOG_WARN, cf, 0, "%s", text.c_str());
}

void warnAt(ngx_conf_t* cf, const std::string& text, const ConfPlace& place)
{
    logAt(NGX_LOG_WARN, cf->log, text, place);
}

void logAt(ngx_uint_t level, ngx_log_t* log, const std::string& text, const ConfPlace& place)
{
    // Not ngx_log_error(): it asks the error log for its level first, which is "error" when all has been read, and then a
    // test of the configuration would not show warnings on the terminal either.
    ngx_log_error_core(level, log, 0, "%s in %V:%ui", text.c_str(), &place.file, place.line);
}

std::string inQuotes(std::string_view text)
{
    return '"' + std::string(text) + '"';
}

std::string joined(std::initializer_list<std::string_view> parts)
{
    std::string text;
    for (const std::string_view part : parts) {
        text += part;
    }
    return text;
}

std::string listed(std::span<const std::string_view> words, std::string_view lastSeparator)
{
    std::string list;
    for (std::size_t i = 0; i < words.size(); i++) {
        if (i > 0) {
            list += i + 1 == words.size() ? lastSeparator : ", ";
        }
        list += words[i];
    }
    return list;
}

std::string parseName(std::string_view name, const char* what)
{
    bool good = !name.empty() && name.size() <= MaxAppBytes &&
                std::all_of(name.begin(), name.end(), [](unsigned char c) { return c > ' ' && c < 0x7f; });
    if (!good) {
        throw ConfError("invalid " + std::string(what) + ' ' + inQuotes(name) +
                        ": 1 to 64 printable characters");
    }
    return std::string(name);
}

std::chrono::milliseconds parseTime(std::string_view text)
{
    ngx_str_t value = borrow(text);
    ngx_int_t ms = ngx_parse_time(&value, 0);
    if (ms == NGX_ERROR) {
        throw ConfError("invalid time " + inQuotes(text) + ": such as 500ms, 30s, 10m or 1d");
    }
    return std::chrono::milliseconds(ms);
}

std::uint32_t parseSeconds(std::string_view text, std::uint32_t least)
{
    if (text == "off" && least == 0) {
        return 0;
    }
    auto seconds = std::chrono::duration_cast<std::chrono::seconds>(parseTime(text)).count();
    if (seconds < std::max<std::int64_t>(least, 1) || seconds > 86400) {
        throw ConfError("invalid time " + inQuotes(text) + ": 1s to 24h");
    }
    return static_cast<std::uint32_t>(seconds);
}

std::uint32_t parseCount(std::string_view text, std::uint32_t most)
{
    ngx_str_t value = borrow(text);
    ngx_int_t n = ngx_atoi(value.data, value.len);
    if (n == NGX_ERROR || n < 1 || n > static_cast<ngx_int_t>(most)) {
        throw ConfError("invalid number " + inQuotes(text) + ": 1 to " + std::to_string(most));
    }
    return static_cast<std::uint32_t>(n);
}

std::uint64_t parseSize(std::string_view text, std::uint64_t least)
{
    ngx_str_t value = borrow(text);
    const off_t size = ngx_parse_offset(&value);
    if (size == NGX_ERROR || static_cast<std::uint64_t>(size) < least) {
        const bool megabytes = least % (1 << 20) == 0;
        throw ConfError("invalid size " + inQuotes(text) + ": at least " +
                        std::to_string(megabytes ? least >> 20 : least) + (megabytes ? "m" : ""));
    }
    return static_cast<std::uint64_t>(size);
}

Rate parseRateParameter(std::string_view value)
{
    auto rate = parseRate(value);
    if (!rate) {
        throw ConfError("invalid parameter " + inQuotes("rate=" + std::string(value)) +
                        ", rate: a number with r/s or r/m, such as 10r/s");
    }
    return *rate;
}

std::size_t editDistance(std::string_view a, std::string_view b)
{
    std::vector<std::size_t> row(b.size() + 1); // of the table of Levenshtein
    std::iota(row.begin(), row.end(), 0);
    for (std::size_t i = 0; i < a.size(); i++) {
        std::size_t diagonal = std::exchange(row[0], i + 1);
        for (std::size_t j = 0; j < b.size(); j++) {
            const std::size_t change = diagonal + (a[i] == b[j] ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({change, row[j] + 1, diagonal + 1});
        }
    }
    return row.back();
}

std::string fullPath(ngx_conf_t* cf, std::string_view path, bool besideConfiguration)
{
    ngx_str_t full = copyTo(cf->pool, std::string(path) + '\0');
    full.len--;
    if (ngx_conf_full_name(cf->cycle, &full, besideConfiguration ? 1 : 0) != NGX_OK) {
        throw std::bad_alloc();
    }
    return std::string(view(full));
}

std::string readableFile(ngx_conf_t* cf, std::string_view path)
{
    std::string name = fullPath(cf, path, true);
    if (access(name.c_str(), R_OK) != 0) {
        throw ConfError("cannot read " + inQuotes(name) + ": " + std::generic_category().message(errno));
    }
    return name;
}

} // namespace realtime
