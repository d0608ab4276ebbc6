// Characters of ASCII, whatever the locale, one at a time and eight in a word. Pure functions, any thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace realtime {

constexpr bool isDigit(char c)
{
    return c >= '0' && c <= '9';
}

constexpr char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

constexpr bool isAlnum(char c)
{
    return isDigit(c) || (lower(c) >= 'a' && lower(c) <= 'z');
}

// -1: not a hexadecimal digit
constexpr int hexValue(char c)
{
    if (isDigit(c)) {
        return c - '0';
    }
    return lower(c) >= 'a' && lower(c) <= 'f' ? lower(c) - 'a' + 10 : -1;
}

// Without spaces and tabs around it (RFC 9110 5.6.3, OWS).
constexpr std::string_view trimmed(std::string_view text)
{
    constexpr std::string_view WhiteSpace = " \t";
    const std::size_t from = text.find_first_not_of(WhiteSpace);
    return from == std::string_view::npos ? std::string_view()
                                          : text.substr(from, text.find_last_not_of(WhiteSpace) - from + 1);
}

// Whatever the case.
constexpr bool sameText(std::string_view a, std::string_view b)
{
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](char x, char y) { return lower(x) == lower(y); });
}

// 1 and 0x80 in each byte of a word.
inline constexpr std::uint64_t Ones = 0x0101010101010101;
inline constexpr std::uint64_t HighBits = Ones * 0x80;

} // namespace realtime
