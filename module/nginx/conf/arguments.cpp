#include "nginx/conf/arguments.hpp"

#include "wire/accept.hpp"

#include <algorithm>
#include <system_error>
#include <unistd.h>

namespace realtime {

std::string inQuotes(std::string_view text)
{
    return '"' + std::string(text) + '"';
}

std::string listed(std::span<const std::string_view> words)
{
    std::string list;
    for (std::size_t i = 0; i < words.size(); i++) {
        if (i > 0) {
            list += i + 1 == words.size() ? " or " : ", ";
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
        throw ConfError("invalid time " + inQuotes(text));
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

void addOrigins(std::vector<std::string>& origins, Arguments arguments)
{
    for (const ngx_str_t& argument : arguments) {
        if (!validOriginPattern(view(argument))) {
            throw ConfError("invalid origin " + inQuotes(view(argument)));
        }
        origins.emplace_back(view(argument));
    }
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
